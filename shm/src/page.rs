//! The words of a control page, over memory that somebody hands in, so that loom checks what ships.
//!
//! Plain counters are relaxed: each is one word and stands for itself. What must be seen together is a seqlock (stages),
//! ordered by the mailbox's answer (state after a request), or one of two named pairs:
//!
//! - **Consumed–Consumed**: release store and acquire load of the ticks consumed. Who sees the number finds the signals
//!   of those ticks published.
//! - **TicksRing–TicksRing**: release store and acquire load of the tick ring's generation. Who sees it finds what was
//!   consumed before that ring.

use crate::crash;
use crate::layout::cnc as at;
use crate::mailbox::ANSWERS;
use crate::seqlock::{self, Look, RETRIES};
use crate::sync::{AtomicU64, Ordering, Site, Words, at as ordered};
use bytemuck::{Pod, Zeroable};

/// Stages of [`StageSummary`], in the order of the block.
pub const STAGES: [&str; 7] = ["wait", "decode", "book", "features", "infer", "publish", "tick_to_signal"];

/// What a sidecar is doing.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Starting, or waiting for its ticks.
    Boot = 1,
    /// Publishing signals.
    Run = 2,
    /// Keeping books and features warm, publishing nothing tradable.
    Halt = 3,
    /// Ended by a fault.
    Fail = 4,
    /// Ended as asked.
    Stopped = 5,
}

impl State {
    pub(crate) fn of(word: u64) -> Self {
        match word {
            1 => State::Boot,
            2 => State::Run,
            3 => State::Halt,
            5 => State::Stopped,
            _ => State::Fail,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            State::Boot => "BOOT",
            State::Run => "RUN",
            State::Halt => "HALT",
            State::Fail => "FAIL",
            State::Stopped => "STOPPED",
        })
    }
}

/// What a sidecar has counted since it started.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counters {
    /// Events: records with F_LAST.
    pub events: u64,
    /// Signals published.
    pub signals: u64,
    /// Times that ticks were lost.
    pub gaps: u64,
    /// Ticks lost.
    pub lost: u64,
    /// Records that could not be decoded.
    pub rejects: u64,
    /// Triggers skipped to catch up.
    pub conflated: u64,
    /// Signals with an output that was not finite.
    pub invalid: u64,
    /// Restarts of the feed noticed.
    pub generation_changes: u64,
}

/// Percentiles of one stage, ns.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct StageSummary {
    /// Values recorded.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// 99.99th percentile.
    pub p9999: u64,
    /// Largest.
    pub max: u64,
}

/// Summaries in the order of [`STAGES`].
pub type StageBlock = [StageSummary; STAGES.len()];
const STAGE_WORDS: usize = size_of::<StageBlock>() / 8;

/// Words of a page.
pub const PAGE_WORDS: usize = at::BYTES / 8;

/// A page whose body starts at word `first` of `memory`.
#[derive(Debug)]
pub struct Page<M> {
    memory: M,
    first: usize,
}

impl<M: Words> Page<M> {
    /// The page at `first`; `None` when the memory ends before it does.
    pub fn new(memory: M, first: usize) -> Option<Self> {
        let end = first.checked_add(PAGE_WORDS)?;
        (end <= memory.words().len()).then_some(Self { memory, first })
    }

    /// The memory it is in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory it is in, to lock it.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let start = self.first + offset / 8;
        &self.memory.words()[start..start + count]
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.words(offset, 1)[0]
    }

    #[inline]
    fn store(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Relaxed);
        crash::point("page: store");
    }

    #[inline]
    fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// The state.
    #[inline]
    pub fn state(&self) -> State {
        State::of(self.load(at::STATE))
    }

    /// Sets the state; HALT is in force from HALT until RUN, over all others.
    #[inline]
    pub fn set_state(&self, state: State) {
        match state {
            State::Halt => self.set_halted(true),
            State::Run => self.set_halted(false),
            State::Boot | State::Fail | State::Stopped => {}
        }
        self.store(at::STATE, state as u64);
    }

    /// Whether a HALT is in force.
    #[inline]
    pub fn halted(&self) -> bool {
        self.load(at::HALTED) != 0
    }

    /// Sets or ends the HALT, not the state.
    #[inline]
    pub fn set_halted(&self, halted: bool) {
        self.store(at::HALTED, u64::from(halted));
    }

    /// The last heartbeat, ns since the epoch; 0 before the first.
    #[inline]
    pub fn heartbeat_ns(&self) -> u64 {
        self.load(at::HEARTBEAT)
    }

    /// Sets the heartbeat.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.store(at::HEARTBEAT, now_ns);
    }

    /// Ticks done with since the start, lost ones included.
    #[inline]
    pub fn ticks_consumed(&self) -> u64 {
        // Consumed–Consumed, second half.
        self.word(at::TICKS_CONSUMED).load(ordered(Site::ConsumedLoad, Ordering::Acquire))
    }

    /// Says that so many ticks are done with.
    #[inline]
    pub fn set_ticks_consumed(&self, ticks: u64) {
        // Consumed–Consumed, first half.
        self.word(at::TICKS_CONSUMED).store(ticks, ordered(Site::ConsumedStore, Ordering::Release));
        crash::point("page: consumed");
    }

    /// Ticks done with of this generation of the tick ring; 0 until it is read.
    #[inline]
    pub fn consumed_of(&self, generation: u64) -> u64 {
        // TicksRing–TicksRing, second half.
        if self.word(at::TICKS_GENERATION).load(ordered(Site::TicksRingLoad, Ordering::Acquire)) != generation {
            return 0;
        }
        self.ticks_consumed().saturating_sub(self.load(at::TICKS_BEFORE))
    }

    /// Says which generation of the tick ring is read from now on, and how many ticks were consumed before it.
    pub fn set_ticks_ring(&self, generation: u64, before: u64) {
        self.store(at::TICKS_BEFORE, before);
        // TicksRing–TicksRing, first half.
        self.word(at::TICKS_GENERATION).store(generation, ordered(Site::TicksRingStore, Ordering::Release));
        crash::point("page: generation of ticks");
    }

    /// The counters, each as last stored.
    pub fn counters(&self) -> Counters {
        let words: [u64; size_of::<Counters>() / 8] = std::array::from_fn(|i| self.load(at::COUNTERS + 8 * i));
        bytemuck::cast(words)
    }

    /// Sets all counters; each is a store of its own.
    #[inline]
    pub fn set_counters(&self, counters: &Counters) {
        let words: [u64; size_of::<Counters>() / 8] = bytemuck::cast(*counters);
        for (i, value) in words.into_iter().enumerate() {
            self.store(at::COUNTERS + 8 * i, value);
        }
    }

    /// The stages' percentiles; `None` before the first, or from a writer that died in the middle.
    pub fn stages(&self) -> Option<StageBlock> {
        let mut words = [0; STAGE_WORDS];
        match seqlock::read(self.words(at::STAGES, STAGE_WORDS + 1), 1, &mut words, RETRIES) {
            Look::Value => Some(bytemuck::cast(words)),
            Look::Never | Look::Busy => None,
        }
    }

    /// Sets the stages' percentiles, to be seen together.
    pub fn set_stages(&self, stages: &StageBlock) {
        let words: [u64; STAGE_WORDS] = bytemuck::cast(*stages);
        seqlock::write(self.words(at::STAGES, STAGE_WORDS + 1), 1, &words);
    }

    /// The mailbox's request word.
    #[inline]
    pub fn request(&self) -> &AtomicU64 {
        self.word(at::REQUEST)
    }

    /// The mailbox's answers.
    pub fn answers(&self) -> &[AtomicU64] {
        self.words(at::ANSWERS, ANSWERS)
    }
}
