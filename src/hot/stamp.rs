//! Stage stamps: where each nanosecond of a tick went, into HDR histograms. Every tick is counted, none is sampled.

use hdrhistogram::Histogram;
use pillion_shm::Clock;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::tail::{Own, OwnSpan, SlowTick, SlowTicks};

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

/// Rounds of the idle loop that took at least this long are holes, ns: one usually takes some tens.
pub const HOLE_NS: u64 = 1_000;

/// One histogram per stage, 1 ns to 10 s at 2 significant digits (at most 1 % wide), about 28 KiB each; and beside them
/// what explains their tails.
#[derive(Clone, Debug)]
pub struct StageSet {
    stages: [Histogram<u64>; STAGES],
    /// Holes: rounds of the idle loop of [`HOLE_NS`] or more, in which the thread had nothing to do and yet did not come round.
    pub holes: Histogram<u64>,
    /// Slow ticks.
    pub slow: SlowTicks,
    /// Outcomes of the lane up to when the set was handed over.
    pub counts: Counts,
}

impl Default for StageSet {
    fn default() -> Self {
        let empty = Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds");
        Self {
            stages: std::array::from_fn(|_| empty.clone()),
            holes: empty,
            slow: SlowTicks::default(),
            counts: Counts::default(),
        }
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

    /// Empties every histogram, keeping its memory, and forgets slow ticks.
    pub fn clear(&mut self) {
        self.stages.iter_mut().for_each(Histogram::reset);
        self.holes.reset();
        self.slow.clear();
    }
}

/// Spans kept until there is time to count them: those of a turn with five models.
const PENDING: usize = 16;

/// What is known of the turn whose stamps are being counted.
#[derive(Clone, Copy, Default)]
struct TurnNotes {
    ring_seq: u64,
    tick_ns: u64,
    begun_raw: u64,
    position: u64,
    /// The loop's last sign of life before it.
    alive_raw: u64,
    own: (Own, u64, u64),
    stages_ns: [u64; STAGES],
}

/// Reads the clock at stage borders. Spans are kept in a few words and counted once the turn is over, so that the
/// histograms' cache misses delay no signal.
pub(crate) struct Stamper {
    clock: Clock,
    full: bool,
    /// Ticks published before this are history, ns on the host's clock: nobody was there to take them.
    from_ns: u64,
    last_raw: u64,
    started_raw: u64,
    pending: [(Stage, u64); PENDING],
    pending_len: usize,
    turn: TurnNotes,
    /// Turns since the ring was last found empty.
    position: u64,
    alive_raw: u64,
    /// A turn has begun since the last round of the idle loop.
    worked: bool,
    /// [`HOLE_NS`] in counts of the raw clock.
    hole_raw: u64,
    own: (Own, u64, u64),
    /// Start and end of the last hole. No round ends between a turn and its count, so it is the last before that turn.
    hole: (u64, u64),
    set: Box<StageSet>,
}

impl Stamper {
    pub(crate) fn new(clock: Clock, stamps: Stamps) -> Self {
        let now = clock.raw();
        Self {
            clock,
            full: stamps == Stamps::Full,
            from_ns: clock.ns(now),
            last_raw: now,
            started_raw: now,
            pending: [(Stage::Wait, 0); PENDING],
            pending_len: 0,
            turn: TurnNotes::default(),
            position: 0,
            alive_raw: now,
            worked: true,
            hole_raw: clock.raw_span(HOLE_NS),
            own: (Own::None, now, now),
            hole: (now, now),
            set: Box::default(),
        }
    }

    /// What is published from now on is no history.
    pub(crate) fn start(&mut self) {
        self.from_ns = self.clock.now_ns();
    }

    /// Whether a tick with this publish stamp was published before the start.
    #[inline]
    pub(crate) fn is_history(&self, tick_ns: u64) -> bool {
        tick_ns < self.from_ns
    }

    /// Starts a tick's turn. What an earlier turn left to count is counted first: that is part of this tick's wait.
    #[inline]
    pub(crate) fn begin(&mut self, ring_seq: u64, published_ns: u64) {
        self.begin_turn();
        (self.turn.ring_seq, self.turn.tick_ns) = (ring_seq, published_ns);
        // Nobody could have taken a tick of before the start: its wait says nothing of this lane.
        if !self.is_history(published_ns) {
            self.keep(Stage::Wait, self.clock.ns(self.started_raw).saturating_sub(published_ns));
        }
    }

    /// Starts a turn that has no record of its own; its signals say which ticks it answers.
    pub(crate) fn begin_without_record(&mut self) {
        self.begin_turn();
        (self.turn.ring_seq, self.turn.tick_ns) = (0, u64::MAX);
    }

    #[inline]
    fn begin_turn(&mut self) {
        self.count();
        let now = self.clock.raw();
        (self.started_raw, self.last_raw) = (now, now);
        self.turn.begun_raw = now;
        self.turn.position = self.position;
        self.turn.alive_raw = self.alive_raw;
        self.turn.own = self.own;
        self.position += 1;
        self.alive_raw = now;
        self.worked = true;
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
    pub(crate) fn signal(&mut self, ring_seq: u64, tick_ns: u64, signal_ns: u64) {
        if tick_ns < self.turn.tick_ns {
            (self.turn.ring_seq, self.turn.tick_ns) = (ring_seq, tick_ns);
        }
        if !self.is_history(tick_ns) {
            self.keep(Stage::TickToSignal, signal_ns.saturating_sub(tick_ns));
        }
    }

    #[inline]
    fn keep(&mut self, stage: Stage, ns: u64) {
        if self.pending_len == PENDING {
            self.count_pending();
        }
        self.pending[self.pending_len] = (stage, ns);
        self.pending_len += 1;
    }

    #[inline]
    fn count_pending(&mut self) {
        for &(stage, ns) in &self.pending[..self.pending_len] {
            self.set.record(stage, ns);
            let sum = &mut self.turn.stages_ns[stage as usize];
            *sum = if stage == Stage::TickToSignal { ns.max(*sum) } else { *sum + ns };
        }
        self.pending_len = 0;
    }

    /// Counts the turn that is over, if it is not counted yet: for when there is time.
    #[inline]
    pub(crate) fn count(&mut self) {
        if self.pending_len == 0 {
            return;
        }
        self.count_pending();
        let [stages @ .., whole] = self.turn.stages_ns;
        let latency_ns = if whole > 0 { whole } else { stages.iter().sum() };
        if latency_ns > self.set.slow.threshold_ns && !self.is_history(self.turn.tick_ns) {
            self.keep_slow(latency_ns);
        }
        self.turn.stages_ns = [0; STAGES];
    }

    #[cold]
    fn keep_slow(&mut self, latency_ns: u64) {
        let (turn, clock) = (&self.turn, &self.clock);
        let (what, begun_raw, ended_raw) = turn.own;
        let hole_ns = (clock.ns(self.hole.0), clock.ns(self.hole.1));
        self.set.slow.keep(SlowTick {
            ring_seq: turn.ring_seq,
            tick_ns: turn.tick_ns,
            begun_ns: clock.ns(turn.begun_raw),
            latency_ns,
            stages_ns: turn.stages_ns,
            position: turn.position,
            silent_ns: clock.span_ns(turn.alive_raw, turn.begun_raw),
            own: OwnSpan { what, begun_ns: clock.ns(begun_raw), ended_ns: clock.ns(ended_raw) },
            hole_ns,
        });
    }

    /// The ring was found empty: whoever comes next has nobody before it.
    #[inline]
    pub(crate) fn caught_up(&mut self) {
        self.count();
        self.position = 0;
    }

    /// A round of the idle loop has ended at `now_raw`.
    #[inline]
    pub(crate) fn alive(&mut self, now_raw: u64) {
        let round_raw = now_raw.saturating_sub(self.alive_raw);
        // The first round after a turn has the turn in it.
        if !std::mem::take(&mut self.worked) && round_raw >= self.hole_raw {
            self.hole(self.alive_raw, now_raw);
        }
        self.alive_raw = now_raw;
    }

    #[cold]
    fn hole(&mut self, begun_raw: u64, ended_raw: u64) {
        self.hole = (begun_raw, ended_raw);
        self.set.holes.saturating_record(self.clock.span_ns(begun_raw, ended_raw));
    }

    /// Something of our own kept the thread from its ring.
    #[inline]
    pub(crate) fn own(&mut self, what: Own, begun_raw: u64, ended_raw: u64) {
        self.own = (what, begun_raw, ended_raw);
        self.alive_raw = ended_raw;
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
