//! Stage stamps: where each nanosecond of a tick went, into HDR histograms. Every tick is counted, none is sampled.

use hdrhistogram::Histogram;
use pillion_shm::Clock;
use serde::{Deserialize, Serialize};

/// Number of stages.
pub const STAGES: usize = STAGE_NAMES.len();

/// Names of the stages, in the order of the hot path; reports use them as keys.
pub use pillion_shm::STAGES as STAGE_NAMES;

/// A stage of the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Slot's publish stamp to the start of its turn; every tick.
    Wait,
    /// Bytes to event; every tick.
    Decode,
    /// Book update; every accepted tick.
    Book,
    /// Feature update and, when a trigger fires, the feature vector; every event end.
    Features,
    /// One model's run; every signal.
    Infer,
    /// Signal record to ring and board; every signal.
    Publish,
    /// Publish stamp of the event's last record to the publish stamp of the signal; every signal.
    TickToSignal,
}

/// `stamps` of a lane's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stamps {
    /// Every stage is stamped.
    Full,
    /// Only the start of a turn and the publish: `wait` and `tick_to_signal`.
    Ends,
}

/// Longest latency a histogram holds, ns; longer ones count as this.
pub const MAX_NS: u64 = 10_000_000_000;

/// One histogram per stage, 1 ns to 10 s at 2 significant digits (at most 1 % wide), about 28 KiB each.
#[derive(Clone, Debug)]
pub struct StageSet {
    stages: [Histogram<u64>; STAGES],
}

impl Default for StageSet {
    fn default() -> Self {
        let empty = Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds");
        Self { stages: std::array::from_fn(|_| empty.clone()) }
    }
}

impl StageSet {
    /// Counts one span.
    #[inline]
    pub fn record(&mut self, stage: Stage, ns: u64) {
        self.stages[stage as usize].saturating_record(ns);
    }

    /// The histogram of a stage.
    pub fn stage(&self, stage: usize) -> &Histogram<u64> {
        &self.stages[stage]
    }

    /// Empties every histogram, keeping its memory.
    pub fn clear(&mut self) {
        self.stages.iter_mut().for_each(Histogram::reset);
    }
}

/// Spans kept until there is time to count them: those of a turn with five models.
const PENDING: usize = 16;

/// Reads the clock at stage borders. Spans are kept in a few words and counted once the turn is over, so that the
/// histograms' cache misses delay no signal.
pub(crate) struct Stamper {
    clock: Clock,
    full: bool,
    last_raw: u64,
    started_raw: u64,
    pending: [(Stage, u64); PENDING],
    pending_len: usize,
    set: Box<StageSet>,
}

impl Stamper {
    pub(crate) fn new(clock: Clock, stamps: Stamps) -> Self {
        let now = clock.raw();
        let pending = [(Stage::Wait, 0); PENDING];
        let full = stamps == Stamps::Full;
        Self { clock, full, last_raw: now, started_raw: now, pending, pending_len: 0, set: Box::default() }
    }

    /// Starts a tick's turn. What an earlier turn left to count is counted first: that is part of this tick's wait.
    #[inline]
    pub(crate) fn begin(&mut self, published_ns: u64) {
        self.count();
        self.started_raw = self.clock.raw();
        self.last_raw = self.started_raw;
        self.keep(Stage::Wait, self.clock.ns(self.started_raw).saturating_sub(published_ns));
    }

    /// Starts a turn that has no record of its own.
    pub(crate) fn begin_without_record(&mut self) {
        self.started_raw = self.clock.raw();
        self.last_raw = self.started_raw;
    }

    /// Ends a stage; the next begins here.
    #[inline]
    pub(crate) fn mark(&mut self, stage: Stage) {
        if self.full {
            let now = self.clock.raw();
            self.keep(stage, self.clock.span_ns(self.last_raw, now));
            self.last_raw = now;
        }
    }

    /// Notes one signal's whole way.
    #[inline]
    pub(crate) fn signal(&mut self, tick_ns: u64, signal_ns: u64) {
        self.keep(Stage::TickToSignal, signal_ns.saturating_sub(tick_ns));
    }

    #[inline]
    fn keep(&mut self, stage: Stage, ns: u64) {
        if self.pending_len == PENDING {
            self.count();
        }
        self.pending[self.pending_len] = (stage, ns);
        self.pending_len += 1;
    }

    /// Counts what is kept: for when there is time.
    #[inline]
    pub(crate) fn count(&mut self) {
        for &(stage, ns) in &self.pending[..self.pending_len] {
            self.set.record(stage, ns);
        }
        self.pending_len = 0;
    }

    /// Gives the filled histograms away for empty ones.
    pub(crate) fn swap(&mut self, empty: Box<StageSet>) -> Box<StageSet> {
        self.count();
        std::mem::replace(&mut self.set, empty)
    }

    /// Raw stamp of the current turn's start.
    #[inline]
    pub(crate) fn started_raw(&self) -> u64 {
        self.started_raw
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}
