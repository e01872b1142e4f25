//! An unpaced feed: how deep the backlog gets, and where losses begin.

use crate::lab::sent::Sent;
use crate::report::{Flood, LaneReport};

/// Ticks between two looks at what the sidecar has consumed: each costs a cache line's way between the CPUs.
const LOOK_EVERY: u64 = 16;

/// Smallest ring told of, slots.
const FEWEST_SLOTS: u64 = 64;

/// Follows the backlog of a flood.
pub(super) struct FloodWatch {
    slots: u64,
    published: u64,
    deepest: u64,
    /// Ring sizes in slots, and the tick at which the backlog first exceeded them.
    first_over: Vec<(u64, Option<u64>)>,
}

impl FloodWatch {
    pub fn new(slots: u64) -> Self {
        let sizes = std::iter::successors(Some(FEWEST_SLOTS), |n| Some(n * 2)).take_while(|n| *n < slots);
        Self { slots, published: 0, deepest: 0, first_over: sizes.map(|n| (n, None)).collect() }
    }

    /// A tick has been published, as part of the play or ahead of it.
    #[inline]
    pub fn published(&mut self, in_play: bool, consumed: impl FnOnce() -> u64) {
        self.published += 1;
        if in_play && self.published.is_multiple_of(LOOK_EVERY) {
            let backlog = self.published.saturating_sub(consumed());
            if backlog > self.deepest {
                self.deeper(backlog);
            }
        }
    }

    fn deeper(&mut self, backlog: u64) {
        self.deepest = backlog;
        for (slots, tick) in &mut self.first_over {
            if backlog > *slots && tick.is_none() {
                *tick = Some(self.published);
            }
        }
    }

    /// What it came to. `served_ns`: from the first flooded tick until the sidecar had served the last.
    pub fn report(&self, sent: &Sent, lane: &LaneReport, served_ns: u64) -> Flood {
        let per_second = |n: u64, ns: u64| n as f64 * 1e9 / ns.max(1) as f64;
        let (flooded, span_ns) = sent.play();
        // A record is lost when the tick that takes its slot is published, a whole ring later.
        let loss = lane.first_lost.map(|lost| lost + self.slots);
        let after = loss.and_then(|tick| sent.after_start_ns(tick));
        Flood {
            slots: self.slots,
            offered_per_second: per_second(flooded, span_ns),
            taken_per_second: per_second(flooded.saturating_sub(lane.lost), served_ns),
            deepest_backlog: self.deepest,
            first_loss_tick: loss,
            first_loss_after_ns: after,
            first_over: self.first_over.iter().filter_map(|(slots, tick)| Some((*slots, (*tick)?))).collect(),
        }
    }
}
