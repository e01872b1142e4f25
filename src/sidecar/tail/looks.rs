//! Looks at the kernel's counts, as evidence: what was counted while something stalled, and has not explained another yet.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use super::evidence::Sign;
use crate::host::sampler::Look;
use crate::hot::stamp::MAX_NS;
use crate::report::{HostTotals, Looks};

/// Spans between looks that are kept: ten seconds at the default period. Slow ticks come within one or two.
const KEPT: usize = 1024;

/// A stall of this length or more may be a switch, ns: the thread's way off its CPU and back takes microseconds.
pub const SWITCH_NS: u64 = 10_000;

/// A stall of this length or more may be a minor fault, ns.
pub const FAULT_NS: u64 = 500;

/// What was counted between two looks. A count may stem from any time between the first one's start and the second one's end.
#[derive(Clone, Copy, Debug)]
struct Between {
    from_ns: u64,
    to_ns: u64,
    left: HostTotals,
}

/// The looks of a run.
pub struct History {
    first: Option<Look>,
    last: Option<Look>,
    /// The last count of each kind that could be read.
    known: HostTotals,
    between: VecDeque<Between>,
    count: u64,
    longest_gap_ns: u64,
    costs_ns: Histogram<u64>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            first: None,
            last: None,
            known: HostTotals::default(),
            between: VecDeque::new(),
            count: 0,
            longest_gap_ns: 0,
            costs_ns: Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds"),
        }
    }
}

impl History {
    /// Adds the next look.
    pub fn add(&mut self, look: Look) {
        if let Some(last) = self.last {
            self.longest_gap_ns = self.longest_gap_ns.max(look.after_ns.saturating_sub(last.before_ns));
            let left = since(&look.counts, &last.counts);
            self.between.push_back(Between { from_ns: last.before_ns, to_ns: look.after_ns, left });
            let over = self.between.len().saturating_sub(KEPT);
            self.between.drain(..over);
        }
        self.count += 1;
        self.costs_ns.saturating_record(look.after_ns.saturating_sub(look.before_ns));
        self.known = zip(&look.counts, &self.known, Option::or);
        self.first.get_or_insert(look);
        self.last = Some(look);
    }

    /// Start of the latest look, ns: what ended before is bracketed. 0 without looks.
    pub fn seen_up_to_ns(&self) -> u64 {
        self.last.map_or(0, |look| look.before_ns)
    }

    /// What was counted around `from_ns..to_ns` and has not explained another stall: at least that much, where only a part could be
    /// read; `None` where nothing could.
    pub fn left(&self, from_ns: u64, to_ns: u64) -> HostTotals {
        let around = self.between.iter().rev().take_while(|b| b.to_ns >= from_ns).filter(|b| b.from_ns <= to_ns);
        around.fold(HostTotals::default(), |sum, b| zip(&sum, &b.left, at_least))
    }

    /// Takes away what explains a stall of `ns` in `from_ns..to_ns`, so that it explains no other.
    pub fn spend(&mut self, from_ns: u64, to_ns: u64, ns: u64, sign: Sign) {
        let one = |kind| u64::from(sign == kind);
        let mut wait = if sign == Sign::Queued { ns } else { 0 };
        // Who was ready to run and did not was taken off.
        let mut involuntary = one(Sign::Involuntary) + one(Sign::Queued);
        let (mut voluntary, mut major, mut minor) =
            (one(Sign::Voluntary), one(Sign::MajorFault), one(Sign::MinorFault));
        // The kernel tells it in steps of 10 ms.
        let mut stolen = if sign == Sign::Stolen { ns.div_ceil(1_000_000) } else { 0 };
        let around = self.between.iter_mut().rev().take_while(|b| b.to_ns >= from_ns).filter(|b| b.from_ns <= to_ns);
        for Between { left, .. } in around {
            take(&mut left.runqueue_wait_ns, &mut wait);
            take(&mut left.voluntary_switches, &mut voluntary);
            take(&mut left.involuntary_switches, &mut involuntary);
            take(&mut left.major_faults, &mut major);
            take(&mut left.minor_faults, &mut minor);
            take(&mut left.steal_ms, &mut stolen);
        }
    }

    /// From the first look to the last one that could read each count.
    pub fn totals(&self) -> HostTotals {
        self.first.map_or(HostTotals::default(), |first| since(&self.known, &first.counts))
    }

    /// How they were taken, aiming at one every `period_ms`.
    pub fn account(&self, period_ms: u64) -> Looks {
        let cost_ns = if self.costs_ns.is_empty() { 0 } else { self.costs_ns.value_at_quantile(0.5) };
        Looks { period_ms, count: self.count, longest_gap_ns: self.longest_gap_ns, cost_ns }
    }
}

fn take(count: &mut Option<u64>, want: &mut u64) {
    if let Some(count) = count {
        let taken = (*count).min(*want);
        *count -= taken;
        *want -= taken;
    }
}

/// Two counts of which one may be unknown.
fn at_least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.zip(b).map(|(a, b)| a.saturating_add(b)).or(a).or(b)
}

/// A count that fell is not the same count: a CPU was plugged anew, or 32 bits ran over.
fn since(later: &HostTotals, earlier: &HostTotals) -> HostTotals {
    zip(later, earlier, |later, earlier| later?.checked_sub(earlier?))
}

fn zip(a: &HostTotals, b: &HostTotals, f: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> HostTotals {
    HostTotals {
        voluntary_switches: f(a.voluntary_switches, b.voluntary_switches),
        involuntary_switches: f(a.involuntary_switches, b.involuntary_switches),
        minor_faults: f(a.minor_faults, b.minor_faults),
        major_faults: f(a.major_faults, b.major_faults),
        timer_ticks: f(a.timer_ticks, b.timer_ticks),
        interrupts: f(a.interrupts, b.interrupts),
        tlb_shootdowns: f(a.tlb_shootdowns, b.tlb_shootdowns),
        ipis: f(a.ipis, b.ipis),
        steal_ms: f(a.steal_ms, b.steal_ms),
        runqueue_wait_ns: f(a.runqueue_wait_ns, b.runqueue_wait_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_ns: u64, voluntary: Option<u64>, wait: Option<u64>) -> Look {
        let counts = HostTotals { voluntary_switches: voluntary, runqueue_wait_ns: wait, ..HostTotals::default() };
        Look { before_ns: at_ns, after_ns: at_ns + 10, counts }
    }

    #[test]
    fn counts_around_a_stall_are_spent_once() {
        let mut history = History::default();
        for (at, voluntary, wait) in [(0, 5, 100), (1000, 5, 100), (2000, 7, 60_100), (3000, 8, 60_100)] {
            history.add(look(at, Some(voluntary), Some(wait)));
        }
        let at = |history: &History, from, to| {
            let left = history.left(from, to);
            (left.voluntary_switches, left.runqueue_wait_ns)
        };
        assert_eq!(at(&history, 100, 200), (Some(0), Some(0)));
        assert_eq!(at(&history, 1500, 1600), (Some(2), Some(60_000)));
        assert_eq!(at(&history, 1500, 2500), (Some(3), Some(60_000)), "over two looks");
        assert_eq!(at(&history, 1005, 1006), (Some(2), Some(60_000)), "while a look was taken: before or after it");
        assert_eq!(at(&history, 3500, 3600), (None, None), "no look since");
        history.spend(1500, 1600, 50_000, Sign::Queued);
        assert_eq!(at(&history, 1500, 1600), (Some(2), Some(10_000)));
        history.spend(1500, 2500, 50_000, Sign::Voluntary);
        assert_eq!(at(&history, 1500, 2500), (Some(2), Some(10_000)), "one of three");
        assert_eq!((history.totals().voluntary_switches, history.totals().minor_faults), (Some(3), None));
        let looks = Looks { period_ms: 7, count: 4, longest_gap_ns: 1010, cost_ns: 10 };
        assert_eq!((history.account(7), history.seen_up_to_ns()), (looks, 3000));
    }

    #[test]
    fn the_last_known_counts_make_the_totals() {
        let mut history = History::default();
        assert_eq!((history.totals(), history.account(0)), (HostTotals::default(), Looks::default()));
        history.add(look(0, Some(5), None));
        history.add(look(1000, Some(9), Some(70)));
        history.add(look(2000, None, Some(50)));
        assert_eq!(history.totals().voluntary_switches, Some(4), "its thread had ended at the last look");
        assert_eq!(history.totals().runqueue_wait_ns, None, "unknown at first");
        assert_eq!(history.left(1500, 1500), HostTotals::default(), "unknown, and fallen");
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        (0..5_000).for_each(|i| history.add(look(i * 100, Some(i), None)));
        assert_eq!((history.between.len(), history.count), (KEPT, 5_000));
    }
}
