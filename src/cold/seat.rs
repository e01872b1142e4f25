//! The cold side of one lane: creates its regions, waits for its feed, starts the hot thread, then watches it.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use pillion_shm::Access;
use pillion_shm::BoardWriter;
use pillion_shm::Clock;
use pillion_shm::{CncOwner, State};
use pillion_shm::{From, RingReader, RingSpec, RingWriter};
use pillion_shm::{InstrumentEntry, ModelEntry, SignalTables};
use pillion_shm::{Kind, Lane as LaneName};

use super::cores;
use super::prepare::Prepared;
use super::report::{FeaturesInUse, LaneReport, ModelInUse, Totals};
use crate::error::Result;
use crate::hot::infer::Model;
use crate::hot::publish::Publisher;
use crate::hot::state::State as InstrumentState;
use crate::hot::{self, Parts, StageSet};
use crate::run::{self, Link};

/// Words of a signal record.
const SIGNAL_WORDS: usize = size_of::<pillion_shm::Signal>() / 8;

/// A lane between its regions' creation and its end.
pub struct Seat {
    name: LaneName,
    core: usize,
    clock: Clock,
    access: Access,
    link: Arc<Link>,
    totals: Totals,
    report: LaneReport,
    phase: Phase,
    /// File number of the tick ring in use, so that a look for a new one costs one stat.
    ticks_file: Option<u64>,
}

enum Phase {
    /// Waiting for the feed's tick ring; all but the reader is ready.
    Boot(Box<Waiting>),
    /// The hot thread turns.
    Hot(JoinHandle<hot::Lane>),
    /// Over.
    Done,
}

struct Waiting {
    prepared: Prepared,
    publisher: Publisher,
    states: Vec<InstrumentState>,
}

impl Seat {
    /// Creates the lane's regions and allocates its books and features.
    pub fn new(prepared: Prepared, clock: Clock, access: Access, stop: Arc<AtomicBool>) -> Result<Self> {
        let name = prepared.name.clone();
        let cnc = CncOwner::create(&name, &clock, &access)?;
        let tables = tables(&prepared);
        let spec =
            RingSpec { capacity: prepared.config.signal_slots, record_words: SIGNAL_WORDS, table: tables.to_bytes()? };
        let ring = RingWriter::create(&name, Kind::Signals, &spec, &clock, &access)?;
        let (instruments, models) = (prepared.instruments.len() as u32, prepared.models.len() as u32);
        let board = BoardWriter::create(&name, instruments, models.max(1), &clock, &access)?;
        let mut states: Vec<_> = prepared
            .instruments
            .iter()
            .map(|i| InstrumentState::new(prepared.limits(), &prepared.features, i.tick_size))
            .collect();
        // A book is trusted once a clear or a whole snapshot has been seen, not because nothing was seen yet.
        states.iter_mut().for_each(InstrumentState::gap);
        let report = blank_report(&prepared, states.first().map_or(0, InstrumentState::state_bytes));
        let link = Arc::new(Link::new(cnc, stop));
        drop(link.empty.push(Box::default()));
        let publisher = Publisher::new(ring, board);
        Ok(Self {
            name,
            core: prepared.core,
            clock,
            access,
            link,
            totals: Totals::default(),
            report,
            phase: Phase::Boot(Box::new(Waiting { prepared, publisher, states })),
            ticks_file: None,
        })
    }

    /// Tells the report whether the process's memory is locked.
    pub fn set_locked(&mut self, locked: bool) {
        self.report.locked = locked;
    }

    /// One look at the lane, every few milliseconds. True once it is over.
    pub fn step(&mut self) -> Result<bool> {
        match &self.phase {
            Phase::Boot(_) if self.link.stop.load(Ordering::Relaxed) => self.end_before_start(),
            Phase::Boot(_) => self.boot()?,
            Phase::Hot(thread) if thread.is_finished() => self.finish(),
            Phase::Hot(_) => self.watch()?,
            Phase::Done => {}
        }
        Ok(matches!(self.phase, Phase::Done))
    }

    /// What the lane did; complete once it is over.
    pub fn report(&self) -> &LaneReport {
        &self.report
    }

    /// Lane name.
    pub fn name(&self) -> &str {
        self.name.name()
    }

    /// Whether the hot thread panicked.
    pub fn failed(&self) -> bool {
        self.report.end == "fail"
    }

    fn boot(&mut self) -> Result<()> {
        self.link.cnc.beat(self.clock.now_ns());
        self.answer_while_waiting();
        let Some(ticks) = self.attach_ticks()? else { return Ok(()) };
        let Phase::Boot(waiting) = std::mem::replace(&mut self.phase, Phase::Done) else { return Ok(()) };
        let Waiting { prepared, publisher, states } = *waiting;
        let models: Vec<_> =
            prepared.models.into_iter().map(|m| Model { engine: m.engine, revision: m.manifest.revision }).collect();
        let parts = Parts {
            ticks,
            features: prepared.features.len(),
            instruments: prepared.instruments,
            states,
            publisher: (!models.is_empty()).then_some(publisher),
            models,
            clock: self.clock,
            trigger: prepared.config.trigger,
            conflate: prepared.config.conflate,
            stamps: prepared.config.stamps,
            budget_ns: prepared.config.budget_ns,
        };
        let lane = hot::Lane::new(parts);
        if self.report.locked {
            // What the lane has just allocated; a failure leaves it to be paged in by its first use.
            let _ = rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT);
        }
        self.phase = Phase::Hot(spawn_hot(lane, self.core, Arc::clone(&self.link), self.name.name()));
        Ok(())
    }

    /// Before the hot thread runs, the cold side answers the mailbox.
    fn answer_while_waiting(&self) {
        use pillion_shm::{Command, Outcome};
        let Some(request) = self.link.cnc.poll_mailbox() else { return };
        match request.command {
            Some(Command::Halt) => self.link.cnc.set_halted(true),
            Some(Command::Resume) => self.link.cnc.set_halted(false),
            Some(Command::Stop) => self.link.stop.store(true, Ordering::Relaxed),
            None => return self.link.cnc.answer(&request, Outcome::Unknown),
        }
        self.link.cnc.answer(&request, Outcome::Done);
    }

    /// The feed's ring, whole from its start: a ring that was lapped before shows as a counted gap. A ring whose
    /// feed is dead is a past run's and is left alone.
    fn attach_ticks(&mut self) -> Result<Option<RingReader>> {
        let file = std::fs::metadata(self.name.path(Kind::Ticks)).ok().map(|m| m.ino());
        if file.is_none() || file == self.ticks_file {
            return Ok(None);
        }
        let mut reader = match RingReader::attach(&self.name, Kind::Ticks, From::Oldest, &self.clock) {
            Ok(reader) => reader,
            Err(pillion_shm::Error::Absent { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if !reader.owner_alive() {
            return Ok(None);
        }
        reader.touch_and_lock(self.access.lock)?;
        self.ticks_file = file;
        Ok(Some(reader))
    }

    fn watch(&mut self) -> Result<()> {
        if let Some(mut full) = self.link.full.pop() {
            self.totals.add(&full);
            full.clear();
            drop(self.link.empty.push(full));
            self.link.cnc.publish_stages(&self.totals.summaries());
        }
        drop(self.link.old_ticks.pop());
        if self.link.next_ticks.is_empty()
            && let Some(reader) = self.attach_ticks()?
        {
            drop(self.link.next_ticks.push(reader));
        }
        Ok(())
    }

    /// The hot thread has ended: counts what was left in its hands.
    fn finish(&mut self) {
        let Phase::Hot(thread) = std::mem::replace(&mut self.phase, Phase::Done) else { return };
        if let Some(full) = self.link.full.pop() {
            self.totals.add(&full);
        }
        match thread.join() {
            Ok(mut lane) => {
                self.totals.add(&lane.swap_stages(Box::<StageSet>::default()));
                self.report.set_counts(lane.counts());
                self.report.end = "stopped".into();
                self.link.cnc.set_state(State::Stopped);
            }
            Err(_) => {
                self.report.end = "fail".into();
                self.link.cnc.set_state(State::Fail);
            }
        }
        self.link.cnc.publish_stages(&self.totals.summaries());
        self.report.stages = self.totals.stages();
        self.report.histograms = self.totals.buckets();
        for (ns, cell) in self.report.regimes_ns.iter_mut().zip(&self.link.regimes) {
            *ns = cell.load(Ordering::Relaxed);
        }
    }

    fn end_before_start(&mut self) {
        self.phase = Phase::Done;
        self.report.end = "stopped".into();
        self.report.stages = self.totals.stages();
        self.link.cnc.set_state(State::Stopped);
    }
}

/// Starts the pinned thread. It returns the lane when told to stop and unwinds on a panic.
fn spawn_hot(mut lane: hot::Lane, core: usize, link: Arc<Link>, name: &str) -> JoinHandle<hot::Lane> {
    let name = name.to_owned();
    std::thread::Builder::new()
        .name(format!("hot-{name}"))
        .spawn(move || {
            if let Err(e) = cores::pin(core, &format!("lane {name}")) {
                panic!("{e}");
            }
            run::run(&mut lane, &link);
            lane
        })
        .expect("the system starts a thread")
}

fn tables(prepared: &Prepared) -> SignalTables {
    let instruments = prepared.instruments.iter().map(|i| InstrumentEntry {
        id: i.id,
        symbol: i.symbol.clone(),
        tick_size: i.tick_size,
        size_unit: i.size_unit,
    });
    let models = prepared.models.iter().map(|m| {
        let info = m.engine.info();
        ModelEntry {
            name: m.manifest.name.clone(),
            revision: m.manifest.revision,
            sha256: m.onnx_sha256,
            features_hash: prepared.features.hash(),
            outputs: m.manifest.outputs.clone(),
            meaning: m.manifest.meaning.clone(),
            engine: info.engine.to_owned(),
            isa: info.isa.clone(),
            runtime: info.runtime.clone(),
        }
    });
    SignalTables { instruments: instruments.collect(), models: models.collect() }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn blank_report(prepared: &Prepared, state_bytes: usize) -> LaneReport {
    let models = prepared.models.iter().map(|m| {
        let info = m.engine.info();
        ModelInUse {
            name: m.manifest.name.clone(),
            revision: m.manifest.revision,
            sha256: hex(&m.onnx_sha256),
            engine: info.engine.to_owned(),
            isa: info.isa.clone(),
            runtime: info.runtime.clone(),
        }
    });
    LaneReport {
        lane: prepared.config.name.clone(),
        end: "boot".into(),
        stamps: format!("{:?}", prepared.config.stamps).to_lowercase(),
        trigger: prepared.config.trigger.to_string(),
        features: FeaturesInUse {
            set: prepared.features.name().to_owned(),
            hash: hex(&prepared.features.hash()),
            columns: prepared.features.len(),
        },
        models: models.collect(),
        core: prepared.core,
        state_bytes_per_instrument: state_bytes as u64,
        ..LaneReport::default()
    }
}
