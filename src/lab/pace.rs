//! When the injector publishes each record: the load models.

use std::fmt;
use std::str::FromStr;

use pillion_shm::records::View;

use crate::data::synth::Random;

/// `--rate`: the load model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the sidecar consumes, without loss.
    Max,
    /// As fast as this thread can publish, whatever is lost.
    Flood,
    /// Ping-pong: the next tick once the one before has been served and its signals read back.
    Closed,
    /// The recording's own times, this many times faster.
    Speed(f64),
    /// Ticks a second, evenly spaced.
    PerSecond(f64),
    /// Ticks a second on average, with independent, exponentially distributed distances.
    Poisson(f64),
    /// This many ticks back to back, so many times a second.
    Burst {
        /// Ticks of a burst.
        ticks: u64,
        /// Bursts a second, evenly spaced.
        per_second: f64,
    },
}

/// Most ticks a second that may be asked for: one a nanosecond.
const MOST_PER_SECOND: f64 = 1e9;

/// Least number in a rate: one a million seconds.
const LEAST: f64 = 1e-6;

/// Forms of a rate, for help and messages.
pub const RATE_FORMS: &str =
    "max, flood, closed, realtime, xN (x200), N/s (50000/s), poisson:N/s or burst:N@M/s (burst:100@50/s)";

impl Rate {
    /// Whether ticks leave at their times, whether or not the sidecar keeps up.
    pub fn open_loop(&self) -> bool {
        !matches!(self, Self::Max | Self::Flood | Self::Closed)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("\"{text}\" is no rate{why}: write {RATE_FORMS}, N and M positive");
        let positive = |n: &str| match n.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0) {
            Some(n) if n < LEAST => Err(bad(" (less than one in eleven days)")),
            n => n.ok_or_else(|| bad("")),
        };
        let a_second = |n: &str| match positive(n)? {
            n if n > MOST_PER_SECOND => Err(bad(" (more than one tick a nanosecond)")),
            n => Ok(n),
        };
        let burst = |rest: &str| {
            let (ticks, bursts) = rest.strip_suffix("/s").and_then(|r| r.split_once('@')).ok_or_else(|| bad(""))?;
            let ticks: u64 = ticks.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad(""))?;
            let per_second = positive(bursts)?;
            a_second(&(ticks as f64 * per_second).to_string())?;
            Ok(Self::Burst { ticks, per_second })
        };
        match text {
            "max" => return Ok(Self::Max),
            "flood" => return Ok(Self::Flood),
            "closed" => return Ok(Self::Closed),
            "realtime" => return Ok(Self::Speed(1.0)),
            _ => {}
        }
        if let Some(n) = text.strip_prefix('x') {
            Ok(Self::Speed(positive(n)?))
        } else if let Some(n) = text.strip_prefix("poisson:") {
            Ok(Self::Poisson(a_second(n.strip_suffix("/s").ok_or_else(|| bad(""))?)?))
        } else if let Some(rest) = text.strip_prefix("burst:") {
            burst(rest)
        } else {
            Ok(Self::PerSecond(a_second(text.strip_suffix("/s").ok_or_else(|| bad(""))?)?))
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Flood => f.write_str("flood"),
            Self::Closed => f.write_str("closed"),
            Self::Speed(1.0) => f.write_str("realtime"),
            Self::Speed(n) => write!(f, "x{n}"),
            Self::PerSecond(n) => write!(f, "{n}/s"),
            Self::Poisson(n) => write!(f, "poisson:{n}/s"),
            Self::Burst { ticks, per_second } => write!(f, "burst:{ticks}@{per_second}/s"),
        }
    }
}

/// Turns a rate into due times.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    random: Random,
    /// Live records before this time of the recording go ahead of the play.
    from_ns: u64,
    /// Clock and recording time of the first live record.
    origin: Option<(u64, u64)>,
    /// The play has begun.
    begun: bool,
    /// Due time of the latest record.
    latest_ns: u64,
    /// Live records asked for.
    live: u64,
    /// Poisson: ns from the origin to the next arrival.
    arrival_ns: f64,
}

/// When a record is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Ahead of the play, as soon as the sidecar has room: snapshots, whose times may lie hours before the first live
    /// record, and whatever comes before the play's start.
    Ahead,
    /// At once, without a due time of its own: a snapshot in the midst of a play that waits for nobody.
    Along,
    /// At this time, ns since the epoch, whether the sidecar keeps up or not.
    At(u64),
    /// As soon as the sidecar has room.
    WithRoom,
    /// At once.
    Now,
    /// Once everything before it has been served.
    Alone,
}

impl Pace {
    /// A pace that starts with the first live record of `from_ns` or later (`ts_event`, ns since the epoch); `seed` makes
    /// the arrivals of `poisson`.
    pub fn new(rate: Rate, seed: u64, from_ns: u64) -> Self {
        Self {
            rate,
            random: Random::new(seed),
            from_ns,
            origin: None,
            begun: false,
            latest_ns: 0,
            live: 0,
            arrival_ns: 0.0,
        }
    }

    /// When `record` is due, given that it is `now_ns`. Records are asked for in order, each once.
    pub fn due(&mut self, record: &[u64], now_ns: u64) -> Due {
        let ts_event = record[1];
        if self.goes_ahead(record) {
            return self.ahead();
        }
        match self.rate {
            Rate::Max => return Due::WithRoom,
            Rate::Flood => return Due::Now,
            Rate::Closed => return Due::Alone,
            _ => {}
        }
        let (clock_origin, event_origin) = *self.origin.get_or_insert((now_ns, ts_event));
        let offset_ns = match self.rate {
            Rate::Speed(times) => ts_event.saturating_sub(event_origin) as f64 / times,
            Rate::PerSecond(n) => self.live as f64 * 1e9 / n,
            Rate::Poisson(n) => self.next_arrival(n),
            Rate::Burst { ticks, per_second } => (self.live / ticks) as f64 * 1e9 / per_second,
            Rate::Max | Rate::Flood | Rate::Closed => 0.0,
        };
        self.live += 1;
        // A record that goes back in time is due with the one before it, not before it was its turn.
        self.latest_ns = self.latest_ns.max(clock_origin.saturating_add(offset_ns as u64));
        Due::At(self.latest_ns)
    }

    /// Whether a record has no due time: a snapshot, or one before the play's start.
    fn goes_ahead(&mut self, record: &[u64]) -> bool {
        if View(record).is_snapshot() {
            return true;
        }
        self.begun |= record[1] >= self.from_ns;
        !self.begun
    }

    fn ahead(&self) -> Due {
        let waits_for_nobody = self.rate.open_loop() || self.rate == Rate::Flood;
        if self.begun && waits_for_nobody { Due::Along } else { Due::Ahead }
    }

    /// This arrival's offset, ns.
    fn next_arrival(&mut self, per_second: f64) -> f64 {
        let here = self.arrival_ns;
        self.arrival_ns += self.random.exponential(1e9 / per_second);
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_shm::records::{MboMsg, RecordHeader, flags, rtype};

    fn record(ts_event: u64, flags: u8) -> [u64; 7] {
        let hd = RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: 1, instrument_id: 1, ts_event };
        let zero: MboMsg = bytemuck::Zeroable::zeroed();
        bytemuck::cast(MboMsg { hd, flags, ..zero })
    }

    #[test]
    fn rates_read_and_print() {
        let good =
            ["max", "flood", "closed", "realtime", "x200", "50000/s", "x0.5", "poisson:2000/s", "burst:100@50/s"];
        for text in good {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
        let bad =
            ["", "x", "x-1", "0/s", "fast", "xnan", "1/m", "poisson:5", "poisson:0/s", "burst:0@5/s", "burst:5@0/s"];
        for text in bad.into_iter().chain([
            "burst:5/s",
            "burst:1.5@2/s",
            "burst:-1@2/s",
            "2e9/s",
            "1e-300/s",
            "x1e-9",
            "burst:1@1e-9/s",
            "burst:1000000@10000/s",
        ]) {
            assert!(text.parse::<Rate>().unwrap_err().contains("is no rate"), "{text}");
        }
    }

    #[test]
    fn snapshots_are_unpaced_and_the_clock_starts_at_the_first_live_record() {
        let mut pace = Pace::new(Rate::Speed(2.0), 0, 0);
        assert_eq!(pace.due(&record(5, flags::SNAPSHOT), 1_000), Due::Ahead);
        assert_eq!(pace.due(&record(90_000, 0), 2_000), Due::At(2_000));
        assert_eq!(pace.due(&record(90_100, 0), 2_010), Due::At(2_050));
        let mut pace = Pace::new(Rate::PerSecond(1e6), 0, 0);
        assert_eq!(pace.due(&record(7, 0), 500), Due::At(500));
        assert_eq!(pace.due(&record(7, 0), 9_999), Due::At(1_500));
        for (rate, due) in [(Rate::Max, Due::WithRoom), (Rate::Flood, Due::Now), (Rate::Closed, Due::Alone)] {
            assert_eq!(Pace::new(rate, 0, 0).due(&record(7, 0), 500), due);
            assert_eq!(Pace::new(rate, 0, 0).due(&record(7, flags::SNAPSHOT), 500), Due::Ahead);
        }
    }

    #[test]
    fn what_comes_before_the_start_goes_ahead() {
        let mut pace = Pace::new(Rate::Speed(1.0), 0, 1_000);
        assert_eq!(pace.due(&record(999, 0), 5), Due::Ahead);
        assert_eq!(pace.due(&record(1_500, 0), 70), Due::At(70), "the clock starts with the first record of the play");
        assert_eq!(pace.due(&record(1_600, 0), 80), Due::At(170));
    }

    #[test]
    fn a_play_that_has_begun_waits_for_nobody_and_never_goes_back() {
        let mut pace = Pace::new(Rate::Speed(1.0), 0, 1_000);
        assert_eq!(pace.due(&record(1_000, 0), 50), Due::At(50));
        assert_eq!(pace.due(&record(900, 0), 60), Due::At(50), "earlier than the start, yet in the play");
        assert_eq!(pace.due(&record(1_100, 0), 60), Due::At(150));
        assert_eq!(pace.due(&record(1_050, 0), 60), Due::At(150), "back in time: due with the one before");
        assert_eq!(pace.due(&record(5, flags::SNAPSHOT), 70), Due::Along);
        let mut pace = Pace::new(Rate::Max, 0, 0);
        assert_eq!(pace.due(&record(1_000, 0), 50), Due::WithRoom);
        assert_eq!(pace.due(&record(5, flags::SNAPSHOT), 70), Due::Ahead);
    }

    #[test]
    fn a_burst_is_due_at_once_and_the_next_one_period_later() {
        let mut pace = Pace::new(Rate::Burst { ticks: 3, per_second: 1_000.0 }, 0, 0);
        let due: Vec<_> = (0..7).map(|i| pace.due(&record(i, 0), 50)).collect();
        let at = |ns: u64| Due::At(50 + ns);
        let ms = 1_000_000u64;
        assert_eq!(due, [at(0), at(0), at(0), at(ms), at(ms), at(ms), at(2 * ms)]);
    }

    /// An exponential distribution has its mean, and e to the -1 of it beyond the mean; one seed gives one sequence.
    #[test]
    fn poisson_arrivals_are_exponential_and_repeat_with_their_seed() {
        let arrivals = |seed| {
            let mut pace = Pace::new(Rate::Poisson(1e5), seed, 0);
            let at = |due| if let Due::At(ns) = due { ns } else { panic!("{due:?}") };
            (0..100_000).map(|i| at(pace.due(&record(i, 0), 1_000))).collect::<Vec<_>>()
        };
        let one = arrivals(1);
        let gaps: Vec<_> = one.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let beyond = gaps.iter().filter(|gap| **gap > 10_000.0).count() as f64 / gaps.len() as f64;
        assert!((mean - 10_000.0).abs() < 150.0, "{mean}");
        assert!((beyond - (-1f64).exp()).abs() < 0.01, "{beyond}");
        assert_eq!(one, arrivals(1));
        assert_ne!(one, arrivals(2));
    }
}
