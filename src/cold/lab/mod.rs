//! The latency lab: load models, the truth about tails, comparisons, and reports to keep.

pub mod ab;
pub mod alike;
pub mod blocks;
pub mod columns;
pub mod compare;
pub mod finding;
pub mod hdr;
pub mod hdr_export;
pub mod load;
pub mod outputs;
pub mod page;
pub mod sent;
pub mod start;
pub mod stats;
pub mod sweep;
pub mod timeline;
pub mod verdict;
pub mod worst;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Now, UTC, RFC 3339 to the second.
pub fn now_utc() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_else(|_| "unknown".into())
}
