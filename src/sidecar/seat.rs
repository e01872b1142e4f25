//! The cold side of one lane: creates its regions, waits for its feed, starts the hot thread, then watches it.

mod orders;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, CncOwner, Kind, Lane as LaneName, LockMemory, RingReader, RingSpec,
    RingWriter, Signal, State,
};

use super::depth;
use super::halt::watch::HaltWatch;
use super::prepare::Prepared;
use super::standing::Standing;
use super::tail::TailWatch;
use super::tick_watch::TickWatch;
use super::unended::UnendedWatch;
use crate::error::{Error, Result};
use crate::host::cores;
use crate::host::sampler::LastLook;
use crate::hot::features::FeatureSet;
use crate::hot::infer::Model;
use crate::hot::publish::Publisher;
use crate::hot::run::{self, Link};
use crate::hot::stamp::STAGE_NAMES;
use crate::hot::state::State as InstrumentState;
use crate::hot::{self, Counts, Parts, StageSet};
use crate::report::timeline::Timeline;
use crate::report::{LaneReport, Totals};

/// Words of a signal record.
const SIGNAL_WORDS: usize = size_of::<Signal>() / 8;

/// A lane between its regions' creation and its end.
pub struct Seat {
    name: LaneName,
    core: usize,
    clock: Clock,
    lock: LockMemory,
    link: Arc<Link>,
    totals: Totals,
    timeline: Timeline,
    report: LaneReport,
    /// What the lane had counted when it last handed its histograms over.
    counts: Counts,
    standing: Standing,
    phase: Phase,
    ticks: TickWatch,
    tail: TailWatch,
    /// Ring and board of a lane without models: nobody writes there, and the names stay its own while it lives.
    idle: Option<Publisher>,
    /// A new ring is on its way to the hot thread, or the old one on its way back.
    handing_over: bool,
    /// The set, until it has been said that the feed shows too few levels for it.
    features: Option<FeatureSet>,
    halts: HaltWatch,
    /// Ticket of the RESUME that has the cold side's word and waits for the hot thread.
    resuming: Option<u64>,
    unended: UnendedWatch,
    error: Option<Error>,
    /// Asked to stop after it was over: nobody needs its page any more.
    dismissed: bool,
}

enum Phase {
    /// Waiting for the feed's tick ring; all but the reader is ready.
    Boot(Box<Waiting>),
    /// The hot thread turns.
    Hot(JoinHandle<Result<hot::Lane>>),
    /// Over.
    Done,
}

struct Waiting {
    prepared: Prepared,
    publisher: Publisher,
    states: Vec<InstrumentState>,
}

impl Seat {
    /// Creates the lane's regions, each with the `access` of its kind, and allocates its books and features. A hot thread is
    /// looked at every `sample`, never where that is zero. A HALT that `halts` finds is in force from the start.
    pub fn new(
        prepared: Prepared,
        clock: Clock,
        access: impl Fn(Kind) -> Access,
        stop: Arc<AtomicBool>,
        sample: std::time::Duration,
        mut halts: HaltWatch,
    ) -> Result<Self> {
        let name = prepared.name.clone();
        let cnc = CncOwner::create(&name, &clock, &access(Kind::Cnc))?;
        // After the page has its name: whoever recorded a HALT before is found here, whoever does later finds the page.
        if halts.look(cnc.halted(), false) {
            cnc.set_halted(true);
        }
        let access = access(Kind::Signals);
        let publisher = publisher(&prepared, &clock, &access).inspect_err(|_| remove_regions(&name, cnc.halted()))?;
        let state = |tick_size| InstrumentState::new(prepared.limits(), &prepared.features, tick_size);
        let mut states: Vec<_> = prepared.instruments.iter().map(|i| state(i.tick_size)).collect();
        // A book is trusted once a clear or a whole snapshot has been seen, not because nothing was seen yet.
        states.iter_mut().for_each(InstrumentState::await_beginning);
        let link = Arc::new(Link::new(cnc, stop));
        let tail = TailWatch::new(&prepared, sample);
        link.empty.store(Some(tail.first_set()));
        let state_bytes = states.first().map_or(0, InstrumentState::state_bytes);
        Ok(Self {
            core: prepared.core,
            clock,
            lock: access.lock,
            link,
            totals: Totals::default(),
            timeline: Timeline::new(&STAGE_NAMES, clock.now_ns()),
            report: prepared.blank_report(state_bytes),
            features: Some(prepared.features.clone()),
            counts: Counts::default(),
            standing: Standing::new(name.name(), prepared.instruments.len()),
            tail,
            unended: UnendedWatch::new(&prepared.instruments),
            phase: Phase::Boot(Box::new(Waiting { prepared, publisher, states })),
            ticks: TickWatch::new(name.clone(), clock, access.lock),
            idle: None,
            handing_over: false,
            halts,
            resuming: None,
            error: None,
            dismissed: false,
            name,
        })
    }

    /// A HALT that was asked for before the lane started.
    pub fn halt(&self) {
        self.link.cnc.set_halted(true);
    }

    /// The lane's name.
    pub fn lane(&self) -> &str {
        self.name.name()
    }

    /// Whether a HALT is in force, and the records of it.
    pub fn halted(&self) -> Option<Vec<super::halt::Recorded>> {
        self.link.cnc.halted().then(|| self.halts.standing())
    }

    /// Whether the lane is over and its page is no longer needed: it stopped as asked, or was asked to after it failed.
    pub fn may_let_go(&self) -> bool {
        matches!(self.phase, Phase::Done) && (self.dismissed || self.error.is_none())
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Tells the report whether the process's memory is locked.
    pub fn set_locked(&mut self, locked: bool) {
        self.report.locked = locked;
    }

    /// One look at the lane, every few milliseconds. True once it is over.
    pub fn step(&mut self) -> bool {
        match &self.phase {
            Phase::Boot(_) if self.link.stopping() => self.end_before_start(State::Stopped, "stopped"),
            Phase::Boot(_) => self.boot(),
            Phase::Hot(thread) if thread.is_finished() => self.finish(),
            Phase::Hot(_) => self.watch(),
            Phase::Done => {
                self.answer();
                self.obey();
            }
        }
        matches!(self.phase, Phase::Done)
    }

    /// What the lane did: all of it once it is over, else so far.
    pub fn report(&self) -> LaneReport {
        let mut report = self.report.clone();
        if matches!(self.phase, Phase::Hot(_)) {
            report.end = "running".into();
            report.set_counts(&self.counts);
            let mut timeline = self.timeline.clone();
            (report.tail, report.holes) = self.tail.so_far(&self.totals);
            self.measured(&mut report, &mut timeline);
        }
        report
    }

    /// Fills in what was measured up to now.
    fn measured(&self, report: &mut LaneReport, timeline: &mut Timeline) {
        report.stages = self.totals.stages();
        report.histograms = self.totals.buckets();
        timeline.end_span(self.clock.now_ns(), self.totals.histograms());
        report.intervals = timeline.intervals();
        report.set_regimes(&self.link);
    }

    /// Why the lane failed, if it did: a run that started, so exit code 1.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Takes the regions of a process that will not start after all away again; a HALT in force stays.
    pub fn remove_regions(&self) {
        remove_regions(&self.name, self.link.cnc.halted());
    }

    fn boot(&mut self) {
        self.link.cnc.beat(self.clock.now_ns());
        self.answer();
        self.obey();
        match self.ticks.first() {
            Ok(None) => {}
            Ok(Some(ticks)) => self.start(ticks),
            Err(error) => {
                self.end_before_start(State::Fail, "refused");
                self.fail(error);
            }
        }
    }

    /// The feed is there: the hot thread starts.
    fn start(&mut self, ticks: RingReader) {
        // Again: a HALT recorded since the last look must not be preceded by a signal.
        if self.halts.look(self.link.cnc.halted(), false) {
            self.link.cnc.set_halted(true);
        }
        let Phase::Boot(waiting) = std::mem::replace(&mut self.phase, Phase::Done) else { return };
        let Waiting { prepared, publisher, states } = *waiting;
        self.timeline = Timeline::new(&STAGE_NAMES, self.clock.now_ns());
        let model = |m: crate::models::LoadedModel| Model { engine: m.engine, revision: m.manifest.revision };
        let models: Vec<_> = prepared.models.into_iter().map(model).collect();
        let (publishes, idle) = if models.is_empty() { (None, Some(publisher)) } else { (Some(publisher), None) };
        self.idle = idle;
        let parts = Parts {
            ticks,
            features: prepared.features.len(),
            depth: prepared.features.depth(),
            instruments: prepared.instruments,
            states,
            publisher: publishes,
            models,
            clock: self.clock,
            trigger: prepared.config.trigger,
            conflate: prepared.config.conflate,
            batch: prepared.config.batch,
            stamps: prepared.config.stamps,
            budget_ns: prepared.config.budget_ns,
        };
        let lock = if self.report.locked { self.lock } else { LockMemory::No };
        let look = self.tail.start(&self.link, self.core, self.clock, self.name.name());
        let first = self.tail.first_set();
        self.phase = Phase::Hot(spawn_hot(parts, self.core, lock, &self.link, self.name.name(), first, look));
    }

    fn watch(&mut self) {
        self.watch_halts();
        if let Some(mut full) = self.link.full.take() {
            self.take(&full);
            full.clear();
            full.slow.threshold_ns = self.tail.threshold_ns(&self.totals);
            self.link.empty.store(Some(full));
            let now = self.clock.now_ns();
            if self.timeline.due(now) {
                self.timeline.end_span(now, self.totals.histograms());
            }
            self.link.cnc.publish_stages(&self.totals.summaries());
            if let Some(line) = self.standing.look(&self.counts, Instant::now()) {
                crate::errln!("{line}");
            }
        }
        self.say_shallow();
        self.unended.look(&self.link, self.name.name());
        if self.link.old_ticks.take().is_some() {
            self.handing_over = false;
        }
        if !self.handing_over
            && let Some(reader) = self.ticks.next()
        {
            self.link.next_ticks.store(Some(Box::new(reader)));
            self.handing_over = true;
        }
    }

    /// Says once that the feed shows fewer levels than the features look at.
    fn say_shallow(&mut self) {
        // Relaxed: a statistic.
        let shown = self.link.shown.load(Ordering::Relaxed);
        let Some(set) = self.features.take_if(|_| shown != u64::MAX) else { return };
        if let Some(what) = depth::too_shallow(&set, shown as usize) {
            let names: Vec<_> = self.report.models.iter().map(|model| model.name.as_str()).collect();
            let models = if names.is_empty() { String::new() } else { format!("; models: {}", names.join(", ")) };
            crate::errln!("warning: lane {}: {what}{models}", self.name.name());
        }
    }

    fn take(&mut self, full: &StageSet) {
        self.counts = full.counts;
        self.totals.add(full);
        self.tail.take(full, &self.totals, &self.link);
    }

    /// The hot thread has ended: counts what was left in its hands.
    fn finish(&mut self) {
        let Phase::Hot(thread) = std::mem::replace(&mut self.phase, Phase::Done) else { return };
        self.end_hot(thread);
        // A stop that the hot thread left for now, when the page shows it.
        self.answer();
        self.last_look();
    }

    /// A HALT that came since the look before outlives the lane as well: on its page and on disk.
    fn last_look(&mut self) {
        if self.halts.look(self.link.cnc.halted(), false) {
            self.link.cnc.set_halted(true);
        }
    }

    fn end_hot(&mut self, thread: JoinHandle<Result<hot::Lane>>) {
        if let Some(full) = self.link.full.take() {
            self.take(&full);
        }
        match thread.join() {
            Ok(Ok(mut lane)) => {
                self.take(&lane.swap_stages(Box::<StageSet>::default()));
                self.report.set_counts(lane.counts());
                self.report.set_off_grid(lane.off_grid());
                self.say_shallow();
                self.report.end = "stopped".into();
                self.link.cnc.set_state(State::Stopped);
            }
            Ok(Err(refused)) => {
                self.report.end = "refused".into();
                self.link.cnc.set_state(State::Fail);
                self.fail(refused);
            }
            Err(_) => {
                self.report.set_counts(&self.counts);
                let (consumed, counters) = self.link.cnc.last_counts();
                self.report.set_counters(consumed, &counters);
                self.report.end = "fail".into();
                self.link.cnc.set_state(State::Fail);
                let mend = "the panic's message stands above; report it with the report file and the tick recording";
                let thing = format!("lane {}", self.name.name());
                self.fail(Error::run(thing, "its hot thread panicked; state is FAIL", mend));
            }
        }
        self.link.cnc.publish_stages(&self.totals.summaries());
        let mut report = std::mem::take(&mut self.report);
        (report.tail, report.holes) = self.tail.finish(&self.totals, &self.link);
        let mut timeline = self.timeline.clone();
        self.measured(&mut report, &mut timeline);
        self.report = report;
    }

    /// The lane had started, whatever the error would have been before that: exit code 1.
    fn fail(&mut self, error: Error) {
        self.error = Some(Error { exit_code: Error::RUN, ..error });
    }

    fn end_before_start(&mut self, state: State, end: &str) {
        self.phase = Phase::Done;
        self.report.end = end.into();
        self.report.stages = self.totals.stages();
        self.link.cnc.set_state(state);
        self.answer();
        self.last_look();
    }
}

/// Creates the signal ring and the board.
fn publisher(prepared: &Prepared, clock: &Clock, access: &Access) -> Result<Publisher> {
    let (name, table) = (&prepared.name, prepared.tables.clone());
    let spec = RingSpec { capacity: prepared.config.signal_slots, record_words: SIGNAL_WORDS, table };
    let ring = RingWriter::create(name, Kind::Signals, &spec, clock, access)?;
    let (instruments, models) = (prepared.instruments.len() as u32, prepared.models.len().max(1) as u32);
    let spec = BoardSpec { instruments, models, table: prepared.tables.clone() };
    Ok(Publisher::new(ring, BoardWriter::create(name, &spec, clock, access)?))
}

/// Starts the pinned thread, which fills `first` to begin with. It returns the lane when told to stop and unwinds on a panic.
fn spawn_hot(
    parts: Parts,
    core: usize,
    lock: LockMemory,
    link: &Arc<Link>,
    name: &str,
    first: Box<StageSet>,
    look: Option<LastLook>,
) -> JoinHandle<Result<hot::Lane>> {
    let (who, link) = (format!("lane {name}"), Arc::clone(link));
    let hot = move || {
        cores::pin(core, &who)?;
        let mut lane = hot::Lane::new(parts);
        lane.swap_stages(first);
        lock_thread(lock, &who)?;
        // Release: whoever looks at the thread finds it set up.
        link.tid.store(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), Ordering::Release);
        run::run(&mut lane, &link);
        if let Some(look) = look {
            look.ask();
        }
        Ok(lane)
    };
    std::thread::Builder::new().name(format!("hot-{name}")).spawn(hot).expect("the system starts a thread")
}

/// Locks what is mapped now: the hot thread's stack, and what its lane has just allocated.
fn lock_thread(lock: LockMemory, who: &str) -> Result<()> {
    if lock == LockMemory::No {
        return Ok(());
    }
    match rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT) {
        Err(e) if lock == LockMemory::Require => {
            let problem = format!("lock = \"require\", and its memory cannot be locked: {e}");
            Err(Error::input(who, problem, "raise the memlock limit (ulimit -l unlimited) or write lock = \"try\""))
        }
        _ => Ok(()),
    }
}

/// Removes a lane's regions, which this process made and still holds.
fn remove_regions(name: &LaneName, halted: bool) {
    let kept = |kind: &Kind| *kind == Kind::Cnc && halted;
    for kind in [Kind::Signals, Kind::Board, Kind::Cnc].into_iter().filter(|k| !kept(k)) {
        // Not made yet, perhaps: nothing to mend.
        let _ = std::fs::remove_file(name.path(kind));
    }
    let _ = std::fs::remove_file(super::halt::note(name.dir(), name.name()));
}
