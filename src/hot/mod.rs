//! The hot path as one straight line: poll, decode, book, features, infer, publish. After start nothing here allocates,
//! locks, logs or calls the system; what goes wrong is a counted outcome. See [`Lane::turn`].

mod backlog;
pub mod book;
pub mod counts;
pub mod decode;
pub mod features;
pub mod grid;
pub mod infer;
pub mod offline;
#[cfg(feature = "planted-delay")]
pub mod planted;
pub mod poll;
pub mod publish;
pub mod run;
pub mod stamp;
pub mod state;
pub mod tail;
pub mod trigger;
mod trust;

use pillion_shm::Clock;
use pillion_shm::signal::{MAX_OUTPUTS, Signal, signal_flags};
use pillion_shm::{Poll, RingReader};

pub use counts::Counts;
pub use stamp::{Stage, StageSet, Stamps};
pub use trigger::Trigger;

use backlog::{Backlog, Cause};
use book::NotWhole;
use decode::{Instruments, decode};
use infer::{Infer, Model, Take};
use poll::Poller;
use publish::Publisher;
use stamp::Stamper;
use state::State;
use tail::Own;
use trigger::TriggerState;

/// What a lane is made of; everything allocated, mapped and warmed before [`Lane::new`].
pub struct Parts {
    /// Reader of the tick ring.
    pub ticks: RingReader,
    /// The lane's instruments.
    pub instruments: Instruments,
    /// One state per instrument, in the order of `instruments`.
    pub states: Vec<State>,
    /// Columns of the feature set.
    pub features: usize,
    /// Levels of a side that the set looks at.
    pub depth: usize,
    /// Models in publishing order.
    pub models: Vec<Model>,
    /// Signal ring and board; `None` runs books and features only.
    pub publisher: Option<Publisher>,
    /// The host's clock.
    pub clock: Clock,
    /// When models run.
    pub trigger: Trigger,
    /// Skip runs under backlog.
    pub conflate: bool,
    /// Most instruments of one run, from 1: those that backlog left waiting go together.
    pub batch: usize,
    /// Stamped stages.
    pub stamps: Stamps,
    /// Over-budget bound on tick_to_signal, 0 for none.
    pub budget_ns: u64,
}

/// One lane's hot side.
pub struct Lane {
    poll: Poller,
    instruments: Instruments,
    states: Box<[State]>,
    triggers: Box<[TriggerState]>,
    infer: Infer,
    publisher: Option<Publisher>,
    stamp: Stamper,
    trigger: Trigger,
    budget_ns: u64,
    depth: usize,
    /// Where runs are conflated: those put off.
    backlog: Option<Backlog>,
    /// Most instruments of a run.
    most: usize,
    /// Instruments of the run in hand, and what caused each.
    batch: Vec<usize>,
    causes: Vec<(Cause, u32)>,
    counts: Counts,
    /// Why each book is not whole, as counted.
    told: Box<[Option<NotWhole>]>,
    halted: bool,
    /// The ring was found corrupt and has not been found sound since.
    corrupted: bool,
}

/// Whether a turn found work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The ring was empty.
    Idle,
    /// A record was read, a loss noticed or conflated runs made up.
    Worked,
    /// The ring was empty, and a model did a piece of work ahead of its next row.
    Prepared,
}

impl Lane {
    /// Puts the parts together. Allocates; nothing after does.
    pub fn new(parts: Parts) -> Self {
        let instruments = parts.states.len();
        let mut lane = Self {
            poll: Poller::new(parts.ticks),
            instruments: parts.instruments,
            triggers: vec![TriggerState::default(); instruments].into(),
            states: parts.states.into(),
            infer: Infer::new(parts.models, parts.features, parts.batch.max(1)),
            publisher: parts.publisher,
            stamp: Stamper::new(parts.clock, parts.stamps),
            trigger: parts.trigger,
            budget_ns: if parts.budget_ns == 0 { u64::MAX } else { parts.budget_ns },
            depth: parts.depth,
            backlog: parts.conflate.then(|| Backlog::new(instruments, parts.features)),
            most: parts.batch.max(1),
            batch: Vec::with_capacity(parts.batch.max(1)),
            causes: Vec::with_capacity(parts.batch.max(1)),
            counts: Counts::default(),
            told: vec![None; instruments].into(),
            halted: false,
            corrupted: false,
        };
        (0..instruments).for_each(|index| lane.tell(index));
        lane
    }

    /// The lane turns from now on: what was published before is history, and flagged so.
    pub fn start(&mut self) {
        self.stamp.start();
    }

    /// One turn: at most one record, all the way to its signals.
    #[inline]
    pub fn turn(&mut self) -> Turn {
        let (ring_seq, tick_ns) = match self.poll.poll() {
            Poll::Record { ring_seq, stamp_ns } => (ring_seq, stamp_ns),
            Poll::Empty => return self.caught_up(),
            Poll::Lost(records) => return self.gap(records),
            Poll::Corrupt => return self.corrupt(),
        };
        self.stamp.begin(ring_seq, tick_ns);
        self.counts.ticks += 1;
        self.counts.catching_up += u64::from(self.stamp.is_history(tick_ns));
        let decoded = decode(self.poll.record(), &self.instruments);
        self.stamp.mark(Stage::Decode);
        let tick = match decoded {
            Ok(tick) => tick,
            Err(reject) => {
                self.counts.rejects[reject.index()] += 1;
                return Turn::Worked;
            }
        };
        let (index, ts_event) = (tick.instrument as usize, tick.ts_event);
        let state = &mut self.states[index];
        if let Err(reject) = state.admit(&tick) {
            self.counts.rejects[reject.index()] += 1;
            return Turn::Worked;
        }
        self.counts.applied[state.apply(&tick).index()] += 1;
        self.stamp.mark(Stage::Book);
        let ended = state.event_end(&tick);
        if state.take_news() {
            self.news(index);
        }
        if !ended {
            self.counts.open_event(index, self.states[index].book.event());
            return Turn::Worked;
        }
        self.counts.events += 1;
        let state = &self.states[index];
        self.counts.depth(state.book.shown(), self.depth);
        let fires = self.infer.len() > 0 && self.triggers[index].fires(self.trigger, &state.book);
        if fires {
            state.features.write(&mut self.infer.vector);
            #[cfg(feature = "planted-delay")]
            planted::delay(self.stamp.clock());
        }
        self.stamp.mark(Stage::Features);
        if fires {
            let cause = Cause { ring_seq, tick_ns, ts_event };
            if let Some(why) = self.now_or_later(index, cause) {
                self.infer.take(index, Take::All);
                self.batch.push(index);
                self.causes.push((cause, why));
                self.signals();
            } else if self.infer.windows() {
                self.infer.take(index, Take::Windows);
            }
        }
        Turn::Worked
    }

    /// Infer and publish, once per model, for each instrument of the batch. Signals go out by instrument in the order of
    /// the batch, and by model in the order of the configuration.
    #[inline]
    fn signals(&mut self) {
        // One instrument, as without backlog: each model's signal goes out before the next model runs.
        if let ([index], [(cause, why)]) = (&self.batch[..], &self.causes[..]) {
            let (index, cause, why) = (*index, *cause, *why);
            for slot in 0..self.infer.len() {
                self.infer.run(slot, &[index]);
                self.stamp.mark(Stage::Infer);
                self.signal(slot, 0, index, cause, why);
            }
        } else {
            for slot in 0..self.infer.len() {
                self.infer.run(slot, &self.batch);
                self.stamp.mark(Stage::Infer);
            }
            for at in 0..self.batch.len() {
                let (index, (cause, why)) = (self.batch[at], self.causes[at]);
                (0..self.infer.len()).for_each(|slot| self.signal(slot, at, index, cause, why));
            }
        }
        self.batch.clear();
        self.causes.clear();
    }

    /// Publishes what model `slot` said to the instrument in place `at` of the batch.
    #[inline]
    fn signal(&mut self, slot: usize, at: usize, index: usize, cause: Cause, why: u32) {
        let mut flags = why | self.state_flags(index);
        let run = self.infer.result(slot, at, index);
        flags |= if run.valid { 0 } else { signal_flags::INVALID };
        flags |= if run.filled { 0 } else { signal_flags::WARMING };
        let mut outputs = [0.0; MAX_OUTPUTS];
        outputs[..run.outputs.len()].copy_from_slice(run.outputs);
        let mut signal = Signal {
            ring_seq: cause.ring_seq,
            ts_event: cause.ts_event,
            tick_ns: cause.tick_ns,
            signal_ns: 0,
            instrument: index as u32,
            model: slot as u16,
            outputs_len: run.outputs.len() as u16,
            revision: run.revision,
            flags,
            outputs,
        };
        self.counts.invalid += u64::from(!run.valid);
        if self.stamp.is_history(cause.tick_ns) {
            signal.flags |= signal_flags::CATCHING_UP;
        }
        signal.signal_ns = self.stamp.clock().now_ns();
        if signal.signal_ns.saturating_sub(cause.tick_ns) > self.budget_ns {
            signal.flags |= signal_flags::OVER_BUDGET;
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.publish(&signal);
        }
        self.counts.signals += 1;
        self.counts.flagged(signal.flags);
        self.stamp.signal(cause.ring_seq, cause.tick_ns, signal.signal_ns);
        self.stamp.mark(Stage::Publish);
    }

    /// Flags that come from the instrument's state, not from the run.
    fn state_flags(&self, index: usize) -> u32 {
        let state = &self.states[index];
        let when = |on: bool, flag: u32| if on { flag } else { 0 };
        when(!state.features.warm(), signal_flags::WARMING)
            | when(state.book.not_whole().is_some(), signal_flags::AFTER_GAP)
            | when(self.halted || !state.book.trading(), signal_flags::HALTED)
    }

    /// The flags of a trigger that is answered now; `None` when under backlog it is put off. Whichever comes later, or
    /// now, stands for the one that was waiting: that one is counted as conflated.
    #[inline]
    fn now_or_later(&mut self, index: usize, cause: Cause) -> Option<u32> {
        let flags = if self.backlog.is_some() { self.state_flags(index) } else { 0 };
        let Some(backlog) = &mut self.backlog else { return Some(0) };
        self.counts.conflated += u64::from(backlog.leave_out(index));
        if !self.poll.behind() {
            return Some(backlog.take_flag(index));
        }
        backlog.put_off(index, cause, flags, &self.infer.vector);
        None
    }

    /// The ring is empty: count the stamps of the turn before, make up a batch of conflated runs, do what models can do
    /// before their next row, or report idleness.
    #[inline]
    fn caught_up(&mut self) -> Turn {
        self.stamp.caught_up();
        if self.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty()) {
            self.make_up();
            return Turn::Worked;
        }
        if self.infer.prepare() { Turn::Prepared } else { Turn::Idle }
    }

    /// Runs that were put off, a batch of them, each with the row of its own trigger.
    fn make_up(&mut self) {
        let Some(backlog) = &mut self.backlog else { return };
        self.stamp.begin_without_record();
        while self.batch.len() < self.most
            && let Some(run) = backlog.next()
        {
            self.infer.vector.copy_from_slice(run.row);
            self.infer.take(run.index, Take::Others);
            self.batch.push(run.index);
            self.causes.push((run.cause, run.flags));
        }
        // Whoever waited may have been answered since.
        if !self.batch.is_empty() {
            self.signals();
        }
    }

    /// A round of the idle loop has ended.
    #[inline]
    pub fn alive(&mut self, now_raw: u64) {
        self.stamp.alive(now_raw);
    }

    /// The loop has done something of our own between two turns.
    #[inline]
    pub fn own(&mut self, what: Own, begun_raw: u64, ended_raw: u64) {
        self.stamp.own(what, begun_raw, ended_raw);
    }

    /// Whether the ring still has something to read.
    pub fn has_tick(&self) -> bool {
        self.poll.pending()
    }

    /// Generation of the tick ring being read.
    pub fn ticks_generation(&self) -> u64 {
        self.poll.generation()
    }

    /// Halted lanes keep books, features and models warm and flag every signal.
    pub fn set_halted(&mut self, halted: bool) {
        self.halted = halted;
    }

    /// Whether the lane is halted.
    pub fn halted(&self) -> bool {
        self.halted
    }

    /// Outcomes so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Brings those outcomes up to date that engines count by themselves.
    pub fn tally(&mut self) {
        self.counts.unprepared = self.infer.unprepared();
    }

    /// The feature vector of the latest trigger.
    pub fn vector(&self) -> &[f32] {
        &self.infer.vector
    }

    /// Gives the filled histograms away for empty ones, with the outcomes so far.
    pub fn swap_stages(&mut self, empty: Box<StageSet>) -> Box<StageSet> {
        self.tally();
        let mut full = self.stamp.swap(empty);
        full.counts = self.counts;
        full
    }

    /// The host's clock.
    pub fn clock(&self) -> Clock {
        *self.stamp.clock()
    }

    /// Raw stamp of the latest turn that read a record.
    #[inline]
    pub fn turn_started_raw(&self) -> u64 {
        self.stamp.started_raw()
    }
}
