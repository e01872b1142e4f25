//! Where the slowest ticks of a run lost their time: to the machine, to ticks before them, to the model or to ourselves. Ticks
//! come in with each set of histograms and are settled once the kernel's counts after them are known; memory is bounded.

pub mod evidence;
pub mod judge;
pub mod looks;
pub mod spans;
pub mod usual;
mod watch;

pub use watch::TailWatch;

use hdrhistogram::Histogram;

use crate::host::sampler::Look;
use crate::hot::stamp::{MAX_NS, STAGE_NAMES, Stage};
use crate::hot::tail::{FIRST_THRESHOLD_NS, SlowTick};
use crate::hot::{StageSet, Stamps};
use crate::report::{Buckets, Cause, Shares, TailReport, TailTick, Totals, buckets};

use judge::{Judge, Judged};
use looks::History;
use spans::Spans;
use usual::{Interruptions, SlowTurns, Usual, ended_ns};

/// Slow ticks told of in full, the slowest.
pub const WORST: usize = 200;

/// Slow ticks that may wait for the look after their end; of more, the oldest are settled without.
const PENDING: usize = 4096;

/// Ticks from which on a 99th percentile is one.
const ENOUGH: u64 = 1_000;

/// No threshold is lower, ns: below it a stamp's own cost counts.
pub const LEAST_THRESHOLD_NS: u64 = 1_000;

/// A lane's tail as it gathers.
pub struct Tail {
    /// `tail_ns`.
    fixed_ns: u64,
    models: u64,
    stamps: Stamps,
    /// Somebody looks at the kernel's counts.
    looked_at: bool,
    threshold_ns: u64,
    history: History,
    spans: Spans,
    turns: SlowTurns,
    holes: Histogram<u64>,
    pending: Vec<SlowTick>,
    over: u64,
    kept: u64,
    ticks: [u64; Cause::ALL.len()],
    shares: Shares,
    worst: Vec<TailTick>,
}

impl Tail {
    /// Of a lane with so many models. `tail_ns` 0 follows the run's 99th percentile.
    pub fn new(tail_ns: u64, models: u64, stamps: Stamps) -> Self {
        Self {
            fixed_ns: tail_ns,
            models,
            stamps,
            looked_at: false,
            threshold_ns: if tail_ns == 0 { FIRST_THRESHOLD_NS } else { tail_ns.max(LEAST_THRESHOLD_NS) },
            history: History::default(),
            spans: Spans::default(),
            turns: SlowTurns::default(),
            holes: Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds"),
            pending: Vec::new(),
            over: 0,
            kept: 0,
            ticks: [0; Cause::ALL.len()],
            shares: Shares::default(),
            worst: Vec::with_capacity(WORST),
        }
    }

    /// Looks will come: ticks wait for the one after their end.
    pub fn await_looks(&mut self) {
        self.looked_at = true;
    }

    /// The threshold to start with, ns.
    pub fn first_threshold_ns(&self) -> u64 {
        self.threshold_ns
    }

    /// The threshold from now on, ns: fixed, or the 99th percentile of `tick_to_signal`, of `wait` where nothing is published.
    pub fn threshold_ns(&mut self, totals: &Totals) -> u64 {
        let signals = totals.stage(Stage::TickToSignal as usize);
        let of = if signals.is_empty() { totals.stage(Stage::Wait as usize) } else { signals };
        if self.fixed_ns == 0 && of.len() >= ENOUGH {
            self.threshold_ns = of.value_at_quantile(0.99).max(LEAST_THRESHOLD_NS);
        }
        self.threshold_ns
    }

    /// Adds the next look.
    pub fn look(&mut self, look: Look) {
        self.history.add(look);
    }

    /// Takes the slow ticks and holes of a filled set.
    pub fn add(&mut self, set: &StageSet) {
        self.holes.add(&set.holes).expect("both sides have the same bounds");
        let kept = set.slow.kept();
        self.over += set.slow.over;
        self.kept += kept.len() as u64;
        self.pending.extend_from_slice(kept);
    }

    /// Settles those ticks whose end the looks have passed, against the run so far; `regimes_ns` is the hot thread's time idle
    /// and working.
    pub fn settle(&mut self, totals: &Totals, regimes_ns: [u64; 2]) {
        if !self.looked_at {
            return self.settle_all(totals, regimes_ns);
        }
        self.pending.sort_by_key(|tick| tick.begun_ns);
        let seen_up_to_ns = self.history.seen_up_to_ns();
        let bracketed = self.pending.partition_point(|tick| ended_ns(tick) < seen_up_to_ns);
        self.settle_first(bracketed.max(self.pending.len().saturating_sub(PENDING)), totals, regimes_ns);
    }

    /// Settles what is left: no look will come any more.
    pub fn settle_all(&mut self, totals: &Totals, regimes_ns: [u64; 2]) {
        self.pending.sort_by_key(|tick| tick.begun_ns);
        self.settle_first(self.pending.len(), totals, regimes_ns);
    }

    fn settle_first(&mut self, count: usize, totals: &Totals, regimes_ns: [u64; 2]) {
        if count == 0 {
            return;
        }
        let ready: Vec<_> = self.pending.drain(..count).collect();
        let usual = Usual::of(totals, self.models);
        let judged = Judge {
            usual,
            stamps: self.stamps,
            interruptions: Interruptions::of(&self.holes, totals, &usual, regimes_ns),
            history: &mut self.history,
            spans: &mut self.spans,
            turns: &mut self.turns,
            mean_turn_ns: regimes_ns[1] / totals.turns().max(1),
        }
        .judge(&ready);
        ready.iter().zip(judged).for_each(|(tick, judged)| self.count(tick, judged));
    }

    fn count(&mut self, tick: &SlowTick, judged: Judged) {
        // One that lost nothing beyond the usual lost it to nothing.
        let lost = judged.shares.total_ns() > 0;
        for (cause, ticks) in Cause::ALL.into_iter().zip(&mut self.ticks) {
            *ticks += u64::from(lost && cause == judged.cause);
            let sum = self.shares.of_mut(cause);
            *sum = sum.saturating_add(judged.shares.of(cause));
        }
        if self.worst.len() < WORST {
            return self.worst.push(tail_tick(tick, judged));
        }
        if let Some(least) = self.worst.iter_mut().min_by_key(|other| other.latency_ns)
            && tick.latency_ns > least.latency_ns
        {
            *least = tail_tick(tick, judged);
        }
    }

    /// What is settled, against the run's medians.
    pub fn report(&self, totals: &Totals, period_ms: u64) -> TailReport {
        let mut worst = self.worst.clone();
        worst.sort_by_key(|tick| std::cmp::Reverse(tick.latency_ns));
        TailReport {
            threshold_ns: self.threshold_ns,
            over: self.over,
            not_kept: self.over.saturating_sub(self.kept),
            ticks: Cause::ALL.into_iter().map(|cause| cause.name().to_owned()).zip(self.ticks).collect(),
            shares: self.shares,
            worst,
            usual: totals.stages(),
            host: self.history.totals(),
            looks: self.history.account(period_ms),
        }
    }

    /// Rounds of the idle loop that took 1,000 ns or more.
    pub fn holes(&self) -> Buckets {
        buckets(&self.holes)
    }
}

fn tail_tick(tick: &SlowTick, judged: Judged) -> TailTick {
    let stages = STAGE_NAMES.iter().zip(tick.stages_ns).filter(|(_, ns)| *ns > 0);
    TailTick {
        ring_seq: tick.ring_seq,
        tick_ns: tick.tick_ns,
        latency_ns: tick.latency_ns,
        late_ns: 0,
        stages_ns: stages.map(|(name, ns)| ((*name).to_owned(), ns)).collect(),
        position: tick.position,
        silent_ns: tick.silent_ns,
        cause: judged.cause,
        shares: judged.shares,
        evidence: judged.evidence,
    }
}

#[cfg(test)]
mod tests;
