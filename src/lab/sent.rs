//! What the feed and the reader of signals saw, charged from when each tick was due.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::lab::signals::Seen;
use crate::report::timeline::{FIRST_SPAN_NS, empty, spread};
use crate::report::{Reader, Stage, buckets};

/// Due and publish times of every tick, by its number in the ring.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// When each was due, ns on the host's clock: its publish stamp where its rate has no due times, 0 where it was sent
    /// ahead of the play.
    due_ns: Vec<u64>,
    /// When each was published.
    sent_ns: Vec<u64>,
}

impl Sent {
    /// Room for this many ticks, there before the play begins.
    pub fn with_room(ticks: usize) -> Self {
        let room = || {
            let mut room = vec![u64::MAX; ticks];
            room.clear();
            room
        };
        Self { due_ns: room(), sent_ns: room() }
    }

    /// The next tick.
    #[inline]
    pub fn push(&mut self, due_ns: u64, sent_ns: u64) {
        self.due_ns.push(due_ns);
        self.sent_ns.push(sent_ns);
    }

    /// When a tick was due; `None` for those ahead of the play, and for numbers that no tick has.
    pub fn due_ns(&self, ring_seq: u64) -> Option<u64> {
        self.due_ns.get(usize::try_from(ring_seq).ok()?).copied().filter(|&due| due > 0)
    }

    /// How late a tick left, ns; 0 for those without a due time.
    pub fn late_ns(&self, ring_seq: u64) -> u64 {
        let Some(due) = self.due_ns(ring_seq) else { return 0 };
        self.sent_ns[ring_seq as usize].saturating_sub(due)
    }

    /// Ticks of the play, and ns from the first one's publish to the last one's.
    pub fn play(&self) -> (u64, u64) {
        let first = self.due_ns.iter().position(|due| *due > 0);
        let last = self.due_ns.iter().rposition(|due| *due > 0);
        let (Some(first), Some(last)) = (first, last) else { return (0, 0) };
        let ticks = self.due_ns[first..=last].iter().filter(|due| **due > 0).count();
        (ticks as u64, self.sent_ns[last] - self.sent_ns[first])
    }

    /// From the play's first publish to a tick's, ns.
    pub fn after_start_ns(&self, ring_seq: u64) -> Option<u64> {
        let first = self.due_ns.iter().position(|due| *due > 0)?;
        self.sent_ns.get(usize::try_from(ring_seq).ok()?)?.checked_sub(self.sent_ns[first])
    }

    /// (when, how late) of every tick of the play.
    fn late(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.due_ns.iter().zip(&self.sent_ns).filter(|(due, _)| **due > 0);
        pairs.map(|(due, sent)| (*sent, sent.saturating_sub(*due)))
    }
}

/// The four latencies of a signal, in the order of [`Reader::NAMES`].
fn latencies(seen: &Seen, due_ns: u64) -> [u64; 4] {
    [
        seen.signal_ns.saturating_sub(seen.tick_ns),
        seen.signal_ns.saturating_sub(due_ns),
        seen.seen_ns.saturating_sub(seen.tick_ns),
        seen.seen_ns.saturating_sub(due_ns),
    ]
}

/// Puts the columns together. `paced`: ticks had due times; else `late` stays empty.
pub fn reader(sent: &Sent, arrivals: &[Seen], paced: bool, core: usize) -> Reader {
    let mut histograms: [Histogram<u64>; Reader::NAMES.len()] = std::array::from_fn(|_| empty());
    let signals = || arrivals.iter().filter_map(|seen| Some((seen, sent.due_ns(seen.ring_seq)?)));
    for (seen, due) in signals() {
        histograms.iter_mut().zip(latencies(seen, due)).for_each(|(h, ns)| h.saturating_record(ns));
    }
    let late = || sent.late().filter(|_| paced);
    late().for_each(|(_, ns)| histograms[4].saturating_record(ns));
    let named = || Reader::NAMES.iter().zip(&histograms).map(|(name, h)| ((*name).to_owned(), h));
    let first = sent.sent_ns.first().copied().unwrap_or(0);
    let last = sent.sent_ns.last().copied().unwrap_or(0);
    // As many spans as a screen has room for.
    let span_ns = FIRST_SPAN_NS.max((last - first) / 400 + 1);
    let points = signals().flat_map(|(seen, due)| {
        let values = Reader::NAMES.into_iter().zip(latencies(seen, due));
        values.map(|(name, ns)| (seen.seen_ns, name, ns))
    });
    let points = points.chain(late().map(|(at, ns)| (at, Reader::NAMES[4], ns)));
    Reader {
        stages: named().map(|(name, h)| (name, Stage::of(h))).collect::<BTreeMap<_, _>>(),
        histograms: named().map(|(name, h)| (name, buckets(h))).collect(),
        intervals: spread(points, first, span_ns),
        core,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hdr::decode;

    /// A feed that stood still for 5 ms: every tick it held back is charged from when it was due, the naive twin's way.
    #[test]
    fn a_stalled_feed_is_charged_to_every_tick_it_delayed() {
        let (mut sent, mut arrivals) = (Sent::with_room(4), Vec::new());
        let us = 1_000u64;
        sent.push(0, 5 * us);
        for i in 0..200u64 {
            let due = 1_000_000 + i * 100 * us;
            // The feed sleeps from tick 50's time on, for 5 ms; then it publishes the 51 ticks that are due, 1 us apart.
            let wake = 1_000_000 + 50 * 100 * us + 5_000 * us;
            let at = if (50..=100).contains(&i) { wake + (i - 50) * us } else { due };
            sent.push(due, at.max(due));
            let signal_ns = at + 3 * us;
            arrivals.push(Seen { ring_seq: i + 1, tick_ns: at, signal_ns, seen_ns: signal_ns + us });
        }
        arrivals.push(Seen { ring_seq: 0, tick_ns: 5 * us, signal_ns: 6 * us, seen_ns: 7 * us });
        let reader = reader(&sent, &arrivals, true, 0);
        let [plain, corrected, seen, seen_corrected, late] = Reader::NAMES.map(|name| reader.stages[name]);
        assert_eq!(
            (plain.count, corrected.count, late.count),
            (200, 200, 200),
            "what went ahead of the play is left out"
        );
        assert!(plain.max_ns <= 3_020 && seen.max_ns <= 4_030, "the publish stamps know nothing of the stall");
        let delayed =
            |ns| (50..=100u64).filter(|i| (150 - i) * 100 * us + (i - 50) * us - 5_000 * us + 3 * us >= ns).count();
        let over = |name: &str, ns: u64| reader.histograms[name].iter().filter(|b| b.0 >= ns).map(|b| b.1).sum::<u64>();
        for ns in [500 * us, 1_000 * us, 2_000 * us, 4_000 * us] {
            let found = over("tick_to_signal_corrected", ns) as i64;
            assert!((found - delayed(ns) as i64).abs() <= 1, "{found} ticks over {ns} ns, not {}", delayed(ns));
        }
        assert!(seen_corrected.max_ns >= 5_000 * us && corrected.max_ns >= 5_000 * us && late.max_ns >= 4_990 * us);
        let counted: u64 = reader.intervals.iter().map(|i| decode(&i.hdr["late"], "late").unwrap().len()).sum();
        assert_eq!(counted, 200);
        assert_eq!((sent.late_ns(0), sent.late_ns(51), sent.due_ns(999)), (0, 5_000 * us, None));
    }
}
