//! The latency lab: load models, the truth about tails, comparisons, and reports to keep.

pub mod ab;
pub mod alike;
pub mod blocks;
pub mod columns;
pub mod compare;
pub mod finding;
pub mod hdr_export;
pub mod inject;
pub mod load;
pub mod outputs;
pub mod pace;
pub mod page;
pub mod replay;
pub mod sent;
pub mod signals;
pub mod start;
pub mod stats;
pub mod sweep;
pub mod verdict;
pub mod worst;
