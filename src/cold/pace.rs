//! When the injector publishes each record.

use std::str::FromStr;

use pillion_shm::records::{RecordHeader, flags, rtype};

/// `--rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the sidecar consumes, without loss.
    Max,
    /// The recording's own times, this many times faster.
    Speed(f64),
    /// Ticks a second, evenly spaced.
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no rate: write max, realtime, xN (x200) or N/s (50000/s), N positive");
        let positive = |n: &str| n.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0).ok_or_else(bad);
        match text {
            "max" => Ok(Self::Max),
            "realtime" => Ok(Self::Speed(1.0)),
            _ => match (text.strip_prefix('x'), text.strip_suffix("/s")) {
                (Some(n), _) => Ok(Self::Speed(positive(n)?)),
                (_, Some(n)) => Ok(Self::PerSecond(positive(n)?)),
                _ => Err(bad()),
            },
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Speed(1.0) => f.write_str("realtime"),
            Self::Speed(n) => write!(f, "x{n}"),
            Self::PerSecond(n) => write!(f, "{n}/s"),
        }
    }
}

/// Turns a rate into due times.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    /// Clock and recording time of the first live record.
    origin: Option<(u64, u64)>,
    live: u64,
}

/// When a record is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At this time, ns since the epoch, whether the sidecar keeps up or not.
    At(u64),
    /// As soon as the sidecar has room: at rate max, and for snapshots at any rate, since a snapshot's times may lie
    /// hours before the first live record.
    WithRoom,
}

impl Pace {
    /// A pace that starts with the first live record.
    pub fn new(rate: Rate) -> Self {
        Self { rate, origin: None, live: 0 }
    }

    /// When `record` is due, given that it is `now_ns`. Records are asked for in order, each once.
    pub fn due(&mut self, record: &[u64], now_ns: u64) -> Due {
        if self.rate == Rate::Max || is_snapshot(record) {
            return Due::WithRoom;
        }
        let ts_event = record[1];
        let (clock_origin, event_origin) = *self.origin.get_or_insert((now_ns, ts_event));
        let offset_ns = match self.rate {
            Rate::Speed(times) => ts_event.saturating_sub(event_origin) as f64 / times,
            Rate::PerSecond(n) => self.live as f64 * 1e9 / n,
            Rate::Max => 0.0,
        };
        self.live += 1;
        Due::At(clock_origin.saturating_add(offset_ns as u64))
    }
}

/// Whether a record belongs to a snapshot.
pub fn is_snapshot(record: &[u64]) -> bool {
    let header: &RecordHeader = bytemuck::from_bytes(bytemuck::cast_slice(&record[..2]));
    // `flags` lies at byte 36 of an MBO record and at byte 30 of trades and MBP.
    let at = match header.rtype {
        rtype::MBO => 36,
        rtype::TRADE | rtype::MBP_1 | rtype::MBP_10 => 30,
        _ => return false,
    };
    bytemuck::cast_slice::<u64, u8>(record)[at] & flags::SNAPSHOT != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_shm::records::MboMsg;

    fn record(ts_event: u64, flags: u8) -> [u64; 7] {
        let hd = RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: 1, instrument_id: 1, ts_event };
        let zero: MboMsg = bytemuck::Zeroable::zeroed();
        bytemuck::cast(MboMsg { hd, flags, ..zero })
    }

    #[test]
    fn rates_read_and_print() {
        for text in ["max", "realtime", "x200", "50000/s", "x0.5"] {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
        for text in ["", "x", "x-1", "0/s", "fast", "xnan", "1/m"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("is no rate"), "{text}");
        }
    }

    #[test]
    fn snapshots_are_unpaced_and_the_clock_starts_at_the_first_live_record() {
        let mut pace = Pace::new(Rate::Speed(2.0));
        assert_eq!(pace.due(&record(5, flags::SNAPSHOT), 1_000), Due::WithRoom);
        assert_eq!(pace.due(&record(90_000, 0), 2_000), Due::At(2_000));
        assert_eq!(pace.due(&record(90_100, 0), 2_010), Due::At(2_050));
        let mut pace = Pace::new(Rate::PerSecond(1e6));
        assert_eq!(pace.due(&record(7, 0), 500), Due::At(500));
        assert_eq!(pace.due(&record(7, 0), 9_999), Due::At(1_500));
        assert_eq!(Pace::new(Rate::Max).due(&record(7, 0), 500), Due::WithRoom);
    }
}
