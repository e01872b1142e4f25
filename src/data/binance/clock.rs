//! Times of a capture: the exchange's, in milliseconds or finer, and the capture's own clock, in whatever unit its program
//! wrote it; and a time for events that have none of the exchange's.
//!
//! The capture's unit is the one that puts most lines near the exchange's times, nanoseconds where several do. Without a
//! time of the exchange's, or where none puts them near, it is the unit in which the number is a date of our days.

/// Two clocks that are further apart do not tell the same time.
const NEAR_NS: u64 = 86_400_000_000_000;

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Unit {
    #[default]
    Ns,
    Us,
    Ms,
    S,
}

impl Unit {
    pub const ALL: [Unit; 4] = [Unit::Ns, Unit::Us, Unit::Ms, Unit::S];

    pub fn name(self) -> &'static str {
        ["nanoseconds", "microseconds", "milliseconds", "seconds"][self as usize]
    }

    fn ns(self) -> u128 {
        [1, 1_000, 1_000_000, 1_000_000_000][self as usize]
    }

    /// A time of this unit, given in 1e-9 of it.
    fn read(self, captured: u128) -> Option<u64> {
        u64::try_from(captured.checked_mul(self.ns())? / 1_000_000_000).ok().filter(|&ns| ns != u64::MAX)
    }

    /// The unit in which this is a time between 1973 and 5138; none: nanoseconds.
    fn of_date(captured: u128) -> Unit {
        match captured / 1_000_000_000 {
            100_000_000..100_000_000_000 => Unit::S,
            100_000_000_000..100_000_000_000_000 => Unit::Ms,
            100_000_000_000_000..100_000_000_000_000_000 => Unit::Us,
            _ => Unit::Ns,
        }
    }
}

/// A time of the exchange's in ns, and whether it is finer than milliseconds (`timeUnit=MICROSECOND`); `None` when it is
/// more than ns hold.
pub(super) fn exchange_ns(time: u64) -> Option<(u64, bool)> {
    let by = match time {
        ..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    time.checked_mul(by).filter(|&ns| ns != u64::MAX).map(|ns| (ns, by < 1_000_000))
}

/// Which unit the lines speak for.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    near: [u64; 4],
    by_date: [u64; 4],
    /// Capture and exchange time of the first line that has both.
    first: Option<(u128, u64)>,
}

impl Votes {
    pub fn note(&mut self, captured: u128, event_ns: Option<u64>) {
        self.by_date[Unit::of_date(captured) as usize] += 1;
        let Some(event_ns) = event_ns else { return };
        self.first.get_or_insert((captured, event_ns));
        if let Some(unit) = nearest(captured, event_ns) {
            self.near[unit as usize] += 1;
        }
    }

    pub fn clock(&self) -> Clock {
        let trusted = self.near.iter().any(|&votes| votes > 0);
        let votes = if trusted { &self.near } else { &self.by_date };
        // The finest of those with most votes.
        let unit = Unit::ALL.into_iter().rev().max_by_key(|&unit| votes[unit as usize]).unwrap_or_default();
        let mut clock = Clock { unit, trusted, ..Clock::default() };
        let first = self.first.and_then(|(captured, event_ns)| Some((unit.read(captured)?, event_ns)));
        clock.ahead_ns = first.map_or(0, |(recv_ns, event_ns)| i128::from(event_ns) - i128::from(recv_ns));
        clock
    }
}

/// The finest unit that puts a line near a time.
fn nearest(captured: u128, time_ns: u64) -> Option<Unit> {
    Unit::ALL.into_iter().find(|unit| unit.read(captured).is_some_and(|ns| ns.abs_diff(time_ns) <= NEAR_NS))
}

/// Reads the times of one line after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    pub unit: Unit,
    /// The capture's clock is near the exchange's.
    trusted: bool,
    last_recv_ns: Option<u64>,
    /// Most that the exchange's clock was ahead of the capture's so far, in ns; before it was seen, what it will first be.
    ahead_ns: i128,
    seen: bool,
    latest_ns: u64,
}

impl Clock {
    /// Capture time of a line, in ns; `None` when it is more than ns hold. A line of another unit than the file's shows
    /// by its distance from its event's time, or from the line before.
    pub fn recv_ns(&mut self, captured: u128, event_ns: Option<u64>) -> Option<u64> {
        let usual = self.unit.read(captured);
        let near = event_ns.or(self.last_recv_ns);
        let far = |ns: Option<u64>| near.is_some_and(|near| ns.is_none_or(|ns| ns.abs_diff(near) > NEAR_NS));
        let other = || near.and_then(|near| nearest(captured, near)).and_then(|unit| unit.read(captured));
        let recv_ns = if far(usual) { other().or(usual) } else { usual };
        self.last_recv_ns = recv_ns.or(self.last_recv_ns);
        recv_ns
    }

    /// Event time of a line. One that has none of the exchange's happened before it was captured: its time is the latest
    /// that it can be, so that nothing is known before it was, and no earlier than that of any line before.
    pub fn event_ns(&mut self, recv_ns: u64, event_ns: Option<u64>) -> u64 {
        let ahead_ns = event_ns.map(|event_ns| i128::from(event_ns) - i128::from(recv_ns));
        let time_ns = event_ns.unwrap_or_else(|| {
            let captured_ns = (i128::from(recv_ns) + self.ahead_ns).clamp(0, i128::from(u64::MAX - 1));
            self.latest_ns.max(captured_ns as u64)
        });
        // A time that is a day off, in a capture whose clock is right, says nothing of the clocks.
        let odd = ahead_ns.is_some_and(|ahead| self.trusted && ahead.unsigned_abs() > u128::from(NEAR_NS));
        if !odd {
            self.latest_ns = self.latest_ns.max(time_ns);
            if let Some(ahead_ns) = ahead_ns {
                self.ahead_ns = if self.seen { self.ahead_ns.max(ahead_ns) } else { ahead_ns };
                self.seen = true;
            }
        }
        time_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u128 = 1_000_000_000;
    /// 2024-08-09 00:00:00 UTC.
    const DAY: u64 = 1_723_161_600_000_000_000;

    #[test]
    fn units_are_told_by_the_exchange_or_the_date() {
        for (unit, by) in [(Unit::Ns, 1), (Unit::Us, 1_000), (Unit::Ms, 1_000_000), (Unit::S, 1_000_000_000)] {
            let captured = u128::from(DAY / by) * SECOND;
            let mut votes = Votes::default();
            votes.note(captured, None);
            assert_eq!(votes.clock().unit, unit);
            votes.note(captured, Some(DAY + 5));
            let mut clock = votes.clock();
            assert_eq!((clock.unit, clock.recv_ns(captured, Some(DAY))), (unit, Some(DAY)));
        }
        // A clock that counts from its machine's start is no date, and far from the exchange's.
        let mut votes = Votes::default();
        votes.note(7 * SECOND, Some(DAY));
        assert_eq!((votes.clock().unit, votes.clock().recv_ns(7 * SECOND, Some(DAY))), (Unit::Ns, Some(7)));
        assert_eq!(exchange_ns(1_723_161_600_000_456), Some((DAY + 456_000, true)));
        assert_eq!(exchange_ns(1_723_161_600_000), Some((DAY, false)));
        assert_eq!((exchange_ns(99_999_999_999_999_999), exchange_ns(u64::MAX)), (None, None));
    }

    #[test]
    fn fractions_of_a_second_are_kept() {
        let captured = decimal_ns("1723161600.000123456");
        let mut votes = Votes::default();
        votes.note(captured, Some(DAY));
        assert_eq!(votes.clock().recv_ns(captured, Some(DAY)), Some(DAY + 123_456));
    }

    fn decimal_ns(text: &str) -> u128 {
        super::super::decimal::parse(text).unwrap()
    }

    #[test]
    fn a_line_in_another_unit_shows() {
        let mut votes = Votes::default();
        let ns = |ns: u64| u128::from(ns) * SECOND;
        (0..3).for_each(|n| votes.note(ns(DAY + n), Some(DAY)));
        votes.note(ns(DAY / 1_000), Some(DAY));
        let mut clock = votes.clock();
        assert_eq!(clock.unit, Unit::Ns);
        assert_eq!(clock.recv_ns(ns(DAY), None), Some(DAY));
        assert_eq!(clock.recv_ns(ns(DAY / 1_000 + 2), None), Some(DAY + 2_000), "near the line before");
    }

    #[test]
    fn an_unknown_time_is_never_early() {
        let mut clock = Votes::default().clock();
        // The capture's clock is 3 behind, then looks as if it were 1 behind because the event took 2 to arrive.
        assert_eq!(clock.event_ns(100, None), 100);
        assert_eq!(clock.event_ns(200, Some(203)), 203);
        assert_eq!(clock.event_ns(210, Some(211)), 211);
        assert_eq!(clock.event_ns(220, None), 223);
        assert_eq!(
            clock.event_ns(215, None),
            223,
            "not before the line before it, though the capture's clock went back"
        );
        assert_eq!(clock.event_ns(300, Some(290)), 290);
    }
}
