//! The seat's hold on its tail: the sampler beside it, and what both gather.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pillion_shm::Clock;

use super::Tail;
use crate::host::sampler::{LastLook, Sampler};
use crate::hot::StageSet;
use crate::hot::run::{Link, Regime};
use crate::report::{Buckets, TailReport, Totals};
use crate::sidecar::prepare::Prepared;

/// A lane's tail while the lane runs.
pub struct TailWatch {
    tail: Tail,
    from_seq: u64,
    period: Duration,
    sampler: Option<Sampler>,
}

impl TailWatch {
    /// For a lane whose hot thread is to be looked at every `period`, or never where that is zero.
    pub fn new(lane: &Prepared, period: Duration) -> Self {
        let tail = Tail::new(lane.config.tail_ns, lane.models.len() as u64, lane.config.stamps);
        Self { tail, from_seq: lane.config.tail_from, period, sampler: None }
    }

    /// Starts to look at the hot thread that will tell its number in `link` and runs on CPU `core`; the last look is for that
    /// thread to ask for.
    pub fn start(&mut self, link: &Arc<Link>, core: usize, clock: Clock, name: &str) -> Option<LastLook> {
        if self.period.is_zero() {
            return None;
        }
        let sampler = self.sampler.insert(Sampler::start(link, core, clock, self.period, name));
        self.tail.await_looks();
        sampler.last_look()
    }

    /// An empty set whose ticks are slow above the threshold that the lane starts with.
    pub fn first_set(&self) -> Box<StageSet> {
        let mut set = Box::<StageSet>::default();
        set.slow.threshold_ns = self.tail.first_threshold_ns();
        set.slow.from_seq = self.from_seq;
        set
    }

    /// Takes a filled set, which `totals` has in it by now, and settles the ticks that looks bracket.
    pub fn take(&mut self, full: &StageSet, totals: &Totals, link: &Link) {
        self.tail.add(full);
        self.looks();
        self.tail.settle(totals, regimes(link));
    }

    /// Above which ticks are slow from now on, ns.
    pub fn threshold_ns(&mut self, totals: &Totals) -> u64 {
        self.tail.threshold_ns(totals)
    }

    /// The lane is over: its tail, and the holes of its idle loop.
    pub fn finish(&mut self, totals: &Totals, link: &Link) -> (TailReport, Buckets) {
        if let Some(sampler) = &mut self.sampler {
            sampler.stop();
        }
        self.looks();
        self.tail.settle_all(totals, regimes(link));
        self.so_far(totals)
    }

    /// The tail of a lane that goes on: ticks that wait for their look are in the count and not yet in the causes.
    pub fn so_far(&self, totals: &Totals) -> (TailReport, Buckets) {
        (self.tail.report(totals, self.period_ms()), self.tail.holes())
    }

    fn period_ms(&self) -> u64 {
        u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX)
    }

    fn looks(&mut self) {
        let looks = self.sampler.iter().flat_map(Sampler::looks);
        looks.for_each(|look| self.tail.look(look));
    }
}

/// ns idle and working.
fn regimes(link: &Link) -> [u64; 2] {
    // Relaxed: statistics, read on their own.
    [Regime::Idle, Regime::Working].map(|regime| link.regimes[regime as usize].load(Ordering::Relaxed))
}
