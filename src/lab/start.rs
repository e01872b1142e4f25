//! Where in a recording a play starts.

use std::str::FromStr;

use pillion_shm::records::View;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::data::Feed;
use crate::error::{Error, Result};

const DAY_NS: u64 = 86_400_000_000_000;

/// `--from`: an instant, or a time of the recording's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayStart {
    /// ns since the epoch.
    At(u64),
    /// ns after midnight UTC: the first such time that is not before the first live record.
    TimeOfDay(u64),
}

impl FromStr for PlayStart {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || format!("\"{text}\" is no time: write 23:00, 23:00:00 or 2023-12-25T23:00:00Z");
        if text.contains('T') {
            let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
            return u64::try_from(at.unix_timestamp_nanos()).map(Self::At).map_err(|_| bad());
        }
        let parts: Vec<&str> = text.split(':').collect();
        let part = |i: usize, below: u64| match parts.get(i) {
            Some(p) if p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit()) => p.parse().ok().filter(|n| *n < below),
            None if i == 2 => Some(0),
            _ => None,
        };
        match (parts.len(), part(0, 24), part(1, 60), part(2, 60)) {
            (2 | 3, Some(h), Some(m), Some(s)) => Ok(Self::TimeOfDay(((h * 60 + m) * 60 + s) * 1_000_000_000)),
            _ => Err(bad()),
        }
    }
}

impl PlayStart {
    /// The instant in a recording; refused when nothing comes at or after it.
    pub fn in_feed(self, feed: &Feed) -> Result<u64> {
        let live = || feed.iter().filter(|record| !View(record).is_snapshot()).map(|record| record[1]);
        let first = live().next().unwrap_or(0);
        let at = match self {
            Self::At(ns) => ns,
            Self::TimeOfDay(ns) => {
                let same_day = (first - first % DAY_NS).saturating_add(ns);
                if same_day < first { same_day.saturating_add(DAY_NS) } else { same_day }
            }
        };
        if live().all(|ts_event| ts_event < at) {
            let last = live().max().unwrap_or(0);
            let problem = format!("no record at or after --from {}: the last is of {}", text(at), text(last));
            return Err(Error::input(feed.path.display(), problem, "name a time within the recording"));
        }
        Ok(at)
    }
}

/// ns since the epoch as RFC 3339.
fn text(ns: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns)).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ns} ns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read() {
        let hour = 3_600_000_000_000;
        assert_eq!("23:00".parse(), Ok(PlayStart::TimeOfDay(23 * hour)));
        assert_eq!("00:00:07".parse(), Ok(PlayStart::TimeOfDay(7_000_000_000)));
        assert_eq!("1970-01-01T01:00:00Z".parse(), Ok(PlayStart::At(hour)));
        for text in
            ["", "23", "24:00", "1:00", "10:60", "10:00:00:00", "2023-13-01T00:00:00Z", "1960-01-01T00:00:00Z", "+1:00"]
        {
            assert!(text.parse::<PlayStart>().unwrap_err().contains("is no time"), "{text}");
        }
    }
}
