//! The control page of a sidecar: state, heartbeat, counters, stage summaries, and the mailbox for operators.
//!
//! The owner's plain counters are relaxed stores: each is one word and stands for itself. What must be seen together is
//! a seqlock (stages) or ordered by the mailbox's answer (state after a request).

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lane::{Access, Lane, LockMemory};
use crate::layout::{Kind, cnc as at};
use crate::mailbox::{self, ANSWERS, Command, Outcome, Request, Waiting};
use crate::region::{Plan, Predecessor, Region};
use crate::seqlock::{self, Look, RETRIES};
use crate::sync::{AtomicU64, Ordering, Words};
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Stages of [`StageSummary`], in the order of the block.
pub const STAGES: [&str; 7] = ["wait", "decode", "book", "features", "infer", "publish", "tick_to_signal"];

/// How often an operator looks for its answer.
const ANSWER_POLL: Duration = Duration::from_micros(200);
const BODY_WORDS: usize = at::BYTES / 8;

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

type StageBlock = [StageSummary; STAGES.len()];
const STAGE_WORDS: usize = size_of::<StageBlock>() / 8;

/// The sidecar's end of its page; it holds the region's lock for as long as it lives. The hot thread and
/// the cold side share it: each cell has one writer at a time. [`CncOwner::publish_stages`] is the cold side's, and so is
/// all while no hot thread runs; the rest is the hot thread's.
#[derive(Debug)]
pub struct CncOwner {
    page: Page,
    start_halted: bool,
    last_ticket: AtomicU64,
}

impl CncOwner {
    /// Makes the page of `lane` in state BOOT, taking it over from a dead sidecar if need be.
    ///
    /// A HALT in force is carried over; a predecessor of another layout, whose state cannot be read, counts as halted.
    pub fn create(lane: &Lane, clock: &Clock, access: &Access) -> Result<Self> {
        let path = lane.path(Kind::Cnc);
        let plan = Plan {
            path: path.clone(),
            kind: Kind::Cnc,
            clock_id: clock.id(),
            created_ns: clock.now_ns(),
            stride: 0,
            capacity: 0,
            models: 0,
            table: &[],
            body_bytes: at::BYTES,
            access,
        };
        let mut region = Region::build(&plan)?;
        let carry = |old: &Predecessor| old.body_word(&path, at::HALTED).is_none_or(|halted| halted != 0);
        let mut start_halted = false;
        region.install(|region, old| {
            start_halted = old.is_some_and(carry);
            let body = &region.words()[region.body_word()..];
            // Relaxed: nobody has the page before it has its name.
            body[at::HALTED / 8].store(u64::from(start_halted), Ordering::Relaxed);
            body[at::STATE / 8].store(State::Boot as u64, Ordering::Relaxed);
            true
        })?;
        let page = Page::new(region)?;
        Ok(Self { page, start_halted, last_ticket: AtomicU64::new(0) })
    }

    /// Whether a HALT of the predecessor is in force.
    pub fn start_halted(&self) -> bool {
        self.start_halted
    }

    /// Whether a HALT is in force: the predecessor's, or one asked for since.
    pub fn halted(&self) -> bool {
        self.page.load(at::HALTED) != 0
    }

    /// Sets or ends the HALT without changing the state: for requests answered before RUN.
    pub fn set_halted(&self, halted: bool) {
        self.page.store(at::HALTED, u64::from(halted));
    }

    /// Sets the state. HALT stays in force over BOOT, FAIL, STOPPED and restarts, until RUN.
    #[inline]
    pub fn set_state(&self, state: State) {
        match state {
            State::Halt => self.page.store(at::HALTED, 1),
            State::Run => self.page.store(at::HALTED, 0),
            State::Boot | State::Fail | State::Stopped => {}
        }
        self.page.store(at::STATE, state as u64);
    }

    /// The state.
    #[inline]
    pub fn state(&self) -> State {
        self.page.state()
    }

    /// Sets the heartbeat, ns since the epoch.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.page.store(at::HEARTBEAT, now_ns);
    }

    /// Says that this many ticks, lost ones included, are done with since the sidecar started.
    #[inline]
    pub fn set_ticks_consumed(&self, ticks: u64) {
        // Release, the half of a pair with the acquire load in `CncClient::ticks_consumed`: whoever sees the number
        // finds the signals of those ticks published.
        self.page.word(at::TICKS_CONSUMED).store(ticks, Ordering::Release);
    }

    /// Ticks done with and counters as last set: what is left to say for a hot thread that is gone.
    pub fn last_counts(&self) -> (u64, Counters) {
        (self.page.load(at::TICKS_CONSUMED), self.page.counters())
    }

    /// Says which generation of the tick ring is read from now on, and how many ticks were consumed before it.
    pub fn set_ticks_ring(&self, generation: u64, before: u64) {
        self.page.store(at::TICKS_BEFORE, before);
        // Release, the half of a pair with the acquire load in `CncClient::consumed_of`: whoever sees the generation
        // finds what was consumed before it.
        self.page.word(at::TICKS_GENERATION).store(generation, Ordering::Release);
    }

    /// Sets all counters; each is a store of its own.
    #[inline]
    pub fn set_counters(&self, counters: &Counters) {
        let words: [u64; size_of::<Counters>() / 8] = bytemuck::cast(*counters);
        for (i, value) in words.into_iter().enumerate() {
            self.page.store(at::COUNTERS + 8 * i, value);
        }
    }

    /// Publishes the stages' percentiles, in the order of [`STAGES`], to be seen together.
    pub fn publish_stages(&self, stages: &[StageSummary; STAGES.len()]) {
        let words: [u64; STAGE_WORDS] = bytemuck::cast(*stages);
        seqlock::write(self.page.words(at::STAGES, STAGE_WORDS + 1), 1, &words);
    }

    /// The request that waits for an answer: one load when there is none.
    #[inline]
    pub fn poll_mailbox(&self) -> Option<Request> {
        mailbox::poll(self.page.word(at::REQUEST), self.last_ticket.load(Ordering::Relaxed))
    }

    /// Answers `request`. Set the state before: who sees the answer sees that state.
    pub fn answer(&self, request: &Request, outcome: Outcome) {
        mailbox::answer(self.page.words(at::ANSWERS, ANSWERS), request.ticket, outcome);
        // Relaxed: only whoever answers reads it.
        self.last_ticket.store(request.ticket, Ordering::Relaxed);
    }

    /// Life of this name, from 1.
    pub fn generation(&self) -> u64 {
        self.page.region.header().generation
    }

    /// Removes the name and ends the page: for tests and private lanes. A HALT in force is forgotten with it.
    pub fn unlink(self) -> Result<()> {
        self.page.region.unlink()
    }
}

/// A look at a sidecar's page, and with write access its mailbox. `Send`, not `Sync`.
#[derive(Debug)]
pub struct CncClient {
    page: Page,
    not_sync: PhantomData<Cell<()>>,
}

impl CncClient {
    /// Attaches to the page of `lane` for reading.
    pub fn attach(lane: &Lane, clock: &Clock) -> Result<Self> {
        Self::open(lane, clock, false)
    }

    /// Attaches to the page of `lane` as an operator, who may use the mailbox.
    pub fn attach_operator(lane: &Lane, clock: &Clock) -> Result<Self> {
        Self::open(lane, clock, true)
    }

    fn open(lane: &Lane, clock: &Clock, writable: bool) -> Result<Self> {
        let region = Region::attach(&lane.path(Kind::Cnc), Kind::Cnc, Some(clock.id()), writable)?;
        Ok(Self { page: Page::new(region)?, not_sync: PhantomData })
    }

    /// The state that the page says; see [`CncClient::owner_alive`] for whether anyone still keeps it.
    pub fn state(&self) -> State {
        self.page.state()
    }

    /// Whether a HALT is in force, over restarts.
    pub fn halted(&self) -> bool {
        self.page.load(at::HALTED) != 0
    }

    /// The last heartbeat, ns since the epoch; 0 before the first.
    pub fn heartbeat_ns(&self) -> u64 {
        self.page.load(at::HEARTBEAT)
    }

    /// Ticks done with since the sidecar started, lost ones included, over all generations of the feed; their signals are
    /// published.
    #[inline]
    pub fn ticks_consumed(&self) -> u64 {
        // Acquire: the other half is in `CncOwner::set_ticks_consumed`.
        self.page.word(at::TICKS_CONSUMED).load(Ordering::Acquire)
    }

    /// Ticks done with of this generation of the tick ring, lost ones included; 0 until the sidecar reads it.
    #[inline]
    pub fn consumed_of(&self, generation: u64) -> u64 {
        // Acquire: the other half is in `CncOwner::set_ticks_ring`.
        if self.page.word(at::TICKS_GENERATION).load(Ordering::Acquire) != generation {
            return 0;
        }
        self.ticks_consumed().saturating_sub(self.page.load(at::TICKS_BEFORE))
    }

    /// The counters, each as last stored.
    pub fn counters(&self) -> Counters {
        self.page.counters()
    }

    /// The stages' percentiles, in the order of [`STAGES`]; `None` before the first, or from a writer that died in
    /// the middle.
    pub fn stages(&self) -> Option<[StageSummary; STAGES.len()]> {
        let mut words = [0; STAGE_WORDS];
        match seqlock::read(self.page.words(at::STAGES, STAGE_WORDS + 1), 1, &mut words, RETRIES) {
            Look::Value => Some(bytemuck::cast(words)),
            Look::Never | Look::Busy => None,
        }
    }

    /// Process id of the sidecar, in its own pid namespace: for messages.
    pub fn pid(&self) -> u32 {
        self.page.region.header().owner_pid
    }

    /// When the page was made, ns since the epoch.
    pub fn created_ns(&self) -> u64 {
        self.page.region.header().created_ns
    }

    /// Life of the name that this client attached to, from 1.
    pub fn generation(&self) -> u64 {
        self.page.region.header().generation
    }

    /// Whether the sidecar lives: a look at its lock (system call).
    pub fn owner_alive(&self) -> bool {
        self.page.region.owner_alive()
    }

    /// Whether the name stands for another page now, or for none (system call).
    pub fn superseded(&self) -> bool {
        self.page.region.successor() || self.page.region.renamed()
    }

    /// Touches the page, so that it does not fault later, and locks it as asked (system calls).
    pub fn touch_and_lock(&mut self, lock: LockMemory) -> Result<()> {
        self.page.region.touch_and_lock(lock)
    }

    /// Asks the sidecar and waits for its answer, at most `timeout`. Only an operator may.
    ///
    /// Several operators may ask at once; each gets the answer to its own request. An operator that gives up may still
    /// be obeyed later.
    pub fn request(&self, command: Command, timeout: Duration) -> Result<Outcome> {
        if !self.page.region.writable() {
            let path = self.page.region.path().to_owned();
            return Err(Error::Denied {
                path,
                action: "use the mailbox of a page attached for reading, not as an operator,",
                uid: uid(),
            });
        }
        let deadline = Instant::now() + timeout;
        let answers = self.page.words(at::ANSWERS, ANSWERS);
        let mut ticket = None;
        loop {
            ticket = ticket.or_else(|| mailbox::ask(self.page.word(at::REQUEST), answers, command));
            match ticket.map(|ticket| mailbox::answered(answers, ticket)) {
                Some(Ok(outcome)) => return Ok(outcome),
                Some(Err(Waiting::Overwritten)) => {
                    let path = self.page.region.path().to_owned();
                    return Err(Error::AnswerLost { path, command: format!("{command:?}") });
                }
                Some(Err(Waiting::Pending)) | None => self.still_there(command, deadline, timeout)?,
            }
            std::thread::sleep(ANSWER_POLL);
        }
    }

    fn still_there(&self, command: Command, deadline: Instant, timeout: Duration) -> Result<()> {
        let path = || self.page.region.path().to_owned();
        if !self.owner_alive() {
            return Err(Error::NoOwner { path: path(), pid: self.pid() });
        }
        if Instant::now() >= deadline {
            let (command, waited_ms) = (format!("{command:?}"), timeout.as_millis() as u64);
            return Err(Error::NoAnswer { path: path(), pid: self.pid(), command, waited_ms });
        }
        Ok(())
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The body of a cnc region, known to be whole.
#[derive(Debug)]
struct Page {
    region: Region,
}

impl Page {
    fn new(region: Region) -> Result<Self> {
        let words = region.words().len() - region.body_word();
        if words < BODY_WORDS {
            let found = format!("a cnc page of {words} words, {BODY_WORDS} needed");
            return Err(Error::NotARegion { path: region.path().to_owned(), found });
        }
        Ok(Self { region })
    }

    #[inline]
    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let start = self.region.body_word() + offset / 8;
        &self.region.words()[start..start + count]
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.words(offset, 1)[0]
    }

    #[inline]
    fn store(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Relaxed);
    }

    #[inline]
    fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    fn counters(&self) -> Counters {
        let words: [u64; size_of::<Counters>() / 8] = std::array::from_fn(|i| self.load(at::COUNTERS + 8 * i));
        bytemuck::cast(words)
    }

    fn state(&self) -> State {
        State::of(self.load(at::STATE))
    }
}
