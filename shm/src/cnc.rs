//! The control page of a sidecar: state, heartbeat, counters, stage summaries, and the mailbox for operators.
//!
//! The words and their orderings are [`crate::page`]'s; here are the region, its owner and its clients.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lane::{Access, Lane, LockMemory};
use crate::layout::{Kind, cnc as at};
use crate::mailbox::{self, Command, Outcome, Request, Waiting};
use crate::page::{Counters, PAGE_WORDS, Page, StageBlock, State};
use crate::region::{Plan, Predecessor, Region};
use crate::sync::{AtomicU64, Ordering, Words};
use crate::trust::Trust;
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often an operator looks for its answer.
const ANSWER_POLL: Duration = Duration::from_micros(200);
/// Time that an operator waits beyond its own limit for a RESUME that the owner has just taken.
const TAKEN_PATIENCE: Duration = Duration::from_secs(1);

/// The sidecar's end of its page; it holds the region's lock for as long as it lives. The hot thread and
/// the cold side share it: each cell has one writer at a time. [`CncOwner::publish_stages`] is the cold side's, and so is
/// all while no hot thread runs; the rest is the hot thread's.
#[derive(Debug)]
pub struct CncOwner {
    page: Page<Region>,
    start_halted: bool,
    last_ticket: AtomicU64,
}

impl CncOwner {
    /// Makes the page of `lane` in state BOOT, taking it over from a dead sidecar if need be.
    ///
    /// A HALT in force is carried over; a predecessor of another layout, whose state cannot be read, counts as halted.
    pub fn create(lane: &Lane, clock: &Clock, access: &Access) -> Result<Self> {
        let path = lane.path(Kind::Cnc);
        clock.check_lane(lane)?;
        let plan = Plan {
            trust: lane.trust(),
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
        let carry = |old: &Predecessor| old.body_word(&path, Kind::Cnc, at::HALTED).is_none_or(|halted| halted != 0);
        let mut start_halted = false;
        region.install(|region, old| {
            start_halted = old.is_some_and(carry);
            let body = &region.words()[region.body_word()..];
            // Relaxed: nobody has the page before it has its name.
            body[at::HALTED / 8].store(u64::from(start_halted), Ordering::Relaxed);
            body[at::STATE / 8].store(State::Boot as u64, Ordering::Relaxed);
            true
        })?;
        let page = page(region)?;
        Ok(Self { page, start_halted, last_ticket: AtomicU64::new(0) })
    }

    /// Whether a HALT of the predecessor is in force.
    pub fn start_halted(&self) -> bool {
        self.start_halted
    }

    /// Whether a HALT is in force: the predecessor's, or one asked for since.
    pub fn halted(&self) -> bool {
        self.page.halted()
    }

    /// Sets or ends the HALT without changing the state: for requests answered before RUN.
    pub fn set_halted(&self, halted: bool) {
        self.page.set_halted(halted);
    }

    /// Sets the state. HALT stays in force over BOOT, FAIL, STOPPED and restarts, until RUN.
    #[inline]
    pub fn set_state(&self, state: State) {
        self.page.set_state(state);
    }

    /// The state.
    #[inline]
    pub fn state(&self) -> State {
        self.page.state()
    }

    /// Sets the heartbeat, ns since the epoch.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.page.beat(now_ns);
    }

    /// Says that this many ticks, lost ones included, are done with since the sidecar started.
    #[inline]
    pub fn set_ticks_consumed(&self, ticks: u64) {
        self.page.set_ticks_consumed(ticks);
    }

    /// Ticks done with and counters as last set: what is left to say for a hot thread that is gone.
    pub fn last_counts(&self) -> (u64, Counters) {
        (self.page.ticks_consumed(), self.page.counters())
    }

    /// Says which generation of the tick ring is read from now on, and how many ticks were consumed before it.
    pub fn set_ticks_ring(&self, generation: u64, before: u64) {
        self.page.set_ticks_ring(generation, before);
    }

    /// Sets all counters; each is a store of its own.
    #[inline]
    pub fn set_counters(&self, counters: &Counters) {
        self.page.set_counters(counters);
    }

    /// Publishes the stages' percentiles, in the order of [`crate::STAGES`], to be seen together.
    pub fn publish_stages(&self, stages: &StageBlock) {
        self.page.set_stages(stages);
    }

    /// The request that waits for an answer: one load when there is none.
    #[inline]
    pub fn poll_mailbox(&self) -> Option<Request> {
        mailbox::poll(self.page.request(), self.last_ticket.load(Ordering::Relaxed))
    }

    /// Takes `request`: ask before a HALT is ended. False for a RESUME that was withdrawn meanwhile, which the next look at
    /// the mailbox finds as a HALT.
    pub fn take(&self, request: &Request) -> bool {
        mailbox::take(self.page.request(), request)
    }

    /// The owner's answer to the request of this ticket, or why there is none.
    ///
    /// # Errors
    /// [`Waiting::Pending`] while the request waits; [`Waiting::Overwritten`] where later answers took its place.
    pub fn answer_to(&self, ticket: u64) -> std::result::Result<Outcome, Waiting> {
        mailbox::answered(self.page.answers(), ticket)
    }

    /// Answers `request`. Set the state before: who sees the answer sees that state. A RESUME that was withdrawn is answered
    /// as refused, when the HALT in its place is done.
    pub fn answer(&self, request: &Request, outcome: Outcome) {
        let refused = request.withdrawn && outcome == Outcome::Done;
        let outcome = if refused { Outcome::Refused } else { outcome };
        mailbox::answer(self.page.answers(), request.ticket, outcome);
        // Relaxed: only whoever answers reads it.
        self.last_ticket.store(request.ticket, Ordering::Relaxed);
    }

    /// Life of this name, from 1.
    pub fn generation(&self) -> u64 {
        self.page.memory().header().generation
    }

    /// Removes the name and ends the page: for tests and private lanes. A HALT in force is forgotten with it.
    pub fn unlink(self) -> Result<()> {
        self.page.memory().unlink()
    }
}

/// A look at a sidecar's page, and with write access its mailbox. `Send`, not `Sync`.
#[derive(Debug)]
pub struct CncClient {
    page: Page<Region>,
    not_sync: PhantomData<Cell<()>>,
}

impl CncClient {
    /// Attaches to the page of `lane` for reading.
    pub fn attach(lane: &Lane, clock: &Clock) -> Result<Self> {
        Self::open(lane.path(Kind::Cnc), lane.trust(), Some(clock.id()), false)
    }

    /// Attaches to the page of `lane` for reading, whatever clock it is on: its state stands for itself, and ages are
    /// reckoned only if [`CncClient::clock_id`] is that of the clock they are reckoned by.
    pub fn attach_any_clock(lane: &Lane) -> Result<Self> {
        Self::open(lane.path(Kind::Cnc), lane.trust(), None, false)
    }

    /// Attaches to the page of `lane` as an operator, who may give orders. Orders need no clock: whatever became of the
    /// clock's file, a lane can be halted.
    pub fn attach_operator(lane: &Lane) -> Result<Self> {
        Self::open(lane.path(Kind::Cnc), lane.trust(), None, true)
    }

    fn open(path: PathBuf, trust: &Trust, clock_id: Option<u64>, writable: bool) -> Result<Self> {
        let region = Region::attach(&path, Kind::Cnc, clock_id, writable, trust)?;
        Ok(Self { page: page(region)?, not_sync: PhantomData })
    }

    /// The state that the page says; see [`CncClient::owner_alive`] for whether anyone still keeps it.
    pub fn state(&self) -> State {
        self.page.state()
    }

    /// Whether a HALT is in force, over restarts.
    pub fn halted(&self) -> bool {
        self.page.halted()
    }

    /// The last heartbeat, ns since the epoch; 0 before the first.
    pub fn heartbeat_ns(&self) -> u64 {
        self.page.heartbeat_ns()
    }

    /// Ticks done with since the sidecar started, lost ones included, over all generations of the feed; their signals are
    /// published.
    #[inline]
    pub fn ticks_consumed(&self) -> u64 {
        self.page.ticks_consumed()
    }

    /// Ticks done with of this generation of the tick ring, lost ones included; 0 until the sidecar reads it.
    #[inline]
    pub fn consumed_of(&self, generation: u64) -> u64 {
        self.page.consumed_of(generation)
    }

    /// The counters, each as last stored.
    pub fn counters(&self) -> Counters {
        self.page.counters()
    }

    /// The stages' percentiles, in the order of [`crate::STAGES`]; `None` before the first, or from a writer that died in
    /// the middle.
    pub fn stages(&self) -> Option<StageBlock> {
        self.page.stages()
    }

    /// Id of the clock that the page's stamps are on.
    pub fn clock_id(&self) -> u64 {
        self.page.memory().header().clock_id
    }

    /// Process id of the sidecar, in its own pid namespace: for messages.
    pub fn pid(&self) -> u32 {
        self.page.memory().header().owner_pid
    }

    /// When the page was made, ns since the epoch.
    pub fn created_ns(&self) -> u64 {
        self.page.memory().header().created_ns
    }

    /// Life of the name that this client attached to, from 1.
    pub fn generation(&self) -> u64 {
        self.page.memory().header().generation
    }

    /// Whether the sidecar lives: a look at its lock (system call).
    pub fn owner_alive(&self) -> bool {
        self.page.memory().owner_alive()
    }

    /// Whether the name stands for another page now, or for none (system call).
    pub fn superseded(&self) -> bool {
        self.page.memory().successor() || self.page.memory().renamed()
    }

    /// Touches the page, so that it does not fault later, and locks it as asked (system calls).
    pub fn touch_and_lock(&mut self, lock: LockMemory) -> Result<()> {
        self.page.memory_mut().touch_and_lock(lock)
    }

    /// Gives an order to the lane, whether its sidecar lives or not, and waits at most `timeout`. Only an operator may.
    ///
    /// A live sidecar is asked through its mailbox, as [`CncClient::request`] does. Where it is dead, HALT and RESUME are
    /// written on its page, while the dead owner's lock is held: the next sidecar reads the word under that lock, so it either
    /// finds the order or is there already to be asked. It then starts halted, or not. Where a successor has taken the name
    /// over meanwhile, this client goes over to its page.
    ///
    /// # Errors
    /// As [`CncClient::request`]; [`Error::NoOwner`] for STOP alone. [`Error::Absent`] when the page has been removed.
    pub fn order(&mut self, command: Command, timeout: Duration) -> Result<Outcome> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let gone = match self.request(command, left) {
                Err(gone @ Error::NoOwner { .. }) => gone,
                Err(Error::NoAnswer { .. }) => return Err(self.no_answer(command, timeout)),
                other => return other,
            };
            if self.superseded() {
                let old = self.page.memory();
                *self = Self::open(old.path().to_owned(), old.trust(), None, true)?;
                continue;
            }
            if command == Command::Stop {
                return Err(gone);
            }
            if self.set_halted_of_dead(command == Command::Halt)? {
                return Ok(Outcome::Done);
            }
            // Somebody holds the lock: a creator who takes the name over, or a look at it.
            if left.is_zero() {
                return Err(self.no_answer(command, timeout));
            }
            std::thread::sleep(ANSWER_POLL);
        }
    }

    /// Sets or ends the HALT on a dead sidecar's page. False while somebody else holds its lock or has taken the name.
    fn set_halted_of_dead(&self, halted: bool) -> Result<bool> {
        let Some(_lock) = self.page.memory().lock_dead()? else { return Ok(false) };
        if self.superseded() {
            return Ok(false);
        }
        self.page.set_halted(halted);
        Ok(true)
    }

    /// Asks a live sidecar and waits for its answer, at most `timeout`. Only an operator may.
    ///
    /// Several operators may ask at once; each gets the answer to its own request. An operator that gives up may still
    /// be obeyed later, but not with a RESUME: that is withdrawn, and a HALT in its place. So does a HALT with the RESUME of
    /// another operator that waits, which is then refused.
    pub fn request(&self, command: Command, timeout: Duration) -> Result<Outcome> {
        if !self.page.memory().writable() {
            let path = self.page.memory().path().to_owned();
            return Err(Error::Denied {
                path,
                action: "use the mailbox of a page attached for reading, not as an operator,",
                uid: uid(),
                owner: None,
            });
        }
        let mut deadline = Instant::now() + timeout;
        // Nobody answers a claim on a dead owner's page.
        if !self.owner_alive() {
            self.still_there(command, deadline, timeout)?;
        }
        let answers = self.page.answers();
        let (mut ticket, mut last_wait) = (None, command != Command::Resume);
        loop {
            ticket = ticket.or_else(|| mailbox::ask(self.page.request(), answers, command));
            match ticket.map(|ticket| mailbox::answered(answers, ticket)) {
                Some(Ok(outcome)) => return Ok(outcome),
                Some(Err(Waiting::Overwritten)) => {
                    let path = self.page.memory().path().to_owned();
                    return Err(Error::AnswerLost { path, command: format!("{command:?}") });
                }
                Some(Err(Waiting::Pending)) | None => {
                    if let Err(gone) = self.still_there(command, deadline, timeout) {
                        // It may have answered, and ended as asked, between the two looks.
                        match ticket.map(|ticket| mailbox::answered(answers, ticket)) {
                            Some(Ok(outcome)) => return Ok(outcome),
                            Some(Err(Waiting::Overwritten)) => {}
                            Some(Err(Waiting::Pending)) if !last_wait && !self.withdraw(ticket) => {
                                (deadline, last_wait) = (deadline + TAKEN_PATIENCE, true);
                            }
                            Some(Err(Waiting::Pending)) | None => return Err(gone),
                        }
                    }
                }
            }
            std::thread::sleep(ANSWER_POLL);
        }
    }

    /// False where the owner has taken the RESUME: it is about to answer.
    fn withdraw(&self, ticket: Option<u64>) -> bool {
        ticket.is_none_or(|ticket| mailbox::withdraw(self.page.request(), ticket))
    }

    fn still_there(&self, command: Command, deadline: Instant, timeout: Duration) -> Result<()> {
        let path = || self.page.memory().path().to_owned();
        if !self.owner_alive() {
            return Err(Error::NoOwner { path: path(), pid: self.pid() });
        }
        if Instant::now() >= deadline {
            return Err(self.no_answer(command, timeout));
        }
        Ok(())
    }

    fn no_answer(&self, command: Command, timeout: Duration) -> Error {
        let (path, command) = (self.page.memory().path().to_owned(), format!("{command:?}"));
        Error::NoAnswer { path, pid: self.pid(), command, waited_ms: timeout.as_millis() as u64 }
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The page in `region`, if it is whole.
fn page(region: Region) -> Result<Page<Region>> {
    let (first, words) = (region.body_word(), region.words().len());
    let found = format!("a cnc page of {} words, {PAGE_WORDS} needed", words.saturating_sub(first));
    let refused = region.header().unsound(region.path(), &found);
    Page::new(region, first).ok_or(refused)
}
