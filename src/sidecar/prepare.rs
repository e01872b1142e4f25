//! Everything that must be right before a lane may start; `pillion check` stops here, `pillion run` goes on.

mod free_name;

use pillion_shm::{Access, InstrumentEntry, Kind, Lane as LaneName, LockMemory, ModelEntry, SignalTables};

use super::halt::Places;
use super::memory::{self, Reckoned};
use crate::config::{Config, ControlMode, Lane, Lock};
use crate::engine::Runtime;
use crate::error::{Error, Result};
use crate::host::cores::{self, Cores};
use crate::host::hot_threads::{self, Claim};
use crate::hot::book::Limits;
use crate::hot::decode::{Instrument, Instruments};
use crate::hot::features::FeatureSet;
use crate::models::{Candidate, LoadedModel, Model, Serving};
use crate::report::{EngineTried, FeaturesInUse, LaneReport, ModelInUse, hex};

/// A lane that can start: files read, models loaded, checked and warmed.
pub struct Prepared {
    /// Its configuration.
    pub config: Lane,
    /// Name and folder of its regions.
    pub name: LaneName,
    /// CPU of its hot thread.
    pub core: usize,
    /// Feature set.
    pub features: FeatureSet,
    /// Instruments.
    pub instruments: Instruments,
    /// Models in publishing order.
    pub models: Vec<LoadedModel>,
    /// Tables of the signal region: what indices and outputs mean.
    pub tables: Vec<u8>,
    /// What a person should know of the models on these instruments.
    pub remarks: Vec<String>,
    /// Keeps other processes' lanes off its CPU until its hot thread is there; none in `check`.
    pub claim: Option<Claim>,
}

/// Lanes that can start, and what a person should know before they do.
pub struct Ready {
    /// The lanes.
    pub lanes: Vec<Prepared>,
    /// Who else spins on their CPUs.
    pub shared: Vec<String>,
    /// Lanes that a live process holds, with its id: `run` would be refused until it stops. Only `check` has any.
    pub live: Vec<(String, u32)>,
    /// The memory they take.
    pub memory: Reckoned,
}

impl Prepared {
    /// What the lane's report says before it has done anything.
    pub fn blank_report(&self, state_bytes: usize) -> LaneReport {
        let in_use = |m: &LoadedModel| {
            let info = m.engine.info();
            ModelInUse {
                name: m.manifest.name.clone(),
                revision: m.manifest.revision,
                sha256: hex(&m.onnx_sha256),
                engine: info.engine.to_owned(),
                isa: info.isa.clone(),
                runtime: info.runtime.clone(),
                candidates: m.candidates.iter().map(tried).collect(),
            }
        };
        let (set, hash) = (self.features.name().to_owned(), hex(&self.features.hash()));
        LaneReport {
            lane: self.config.name.clone(),
            end: "boot".into(),
            stamps: format!("{:?}", self.config.stamps).to_lowercase(),
            trigger: self.config.trigger.to_string(),
            features: FeaturesInUse { set, hash, columns: self.features.len() },
            models: self.models.iter().map(in_use).collect(),
            onnxruntime_sha256: Runtime::opened().map(|runtime| runtime.sha256().to_owned()),
            core: self.core,
            state_bytes_per_instrument: state_bytes as u64,
            ..LaneReport::default()
        }
    }

    /// Bounds of each book.
    pub fn limits(&self) -> Limits {
        Limits { max_orders: self.config.max_orders, max_levels: self.config.max_levels }
    }
}

fn tried(candidate: &Candidate) -> EngineTried {
    let (agreement, reason) = match &candidate.admitted {
        Ok(agreement) => (Some(agreement), None),
        Err(reason) => (None, Some(reason.clone())),
    };
    EngineTried {
        engine: candidate.engine.to_owned(),
        admitted: agreement.is_some(),
        reason,
        max_abs_err: agreement.map(|a| a.plain_max_abs_err),
        p50_ns: candidate.times.map(|t| t.p50_ns),
        p99_ns: candidate.times.map(|t| t.p99_ns),
        p999_ns: candidate.times.map(|t| t.p999_ns),
        prepare_p99_ns: candidate.times.map(|t| t.prepare_p99_ns).filter(|&ns| ns > 0),
    }
}

/// How the configuration wants a region of `kind` created.
pub fn access(config: &Config, kind: Kind) -> Access {
    let mode = match (kind, config.process.control_mode) {
        (Kind::Ticks, _) => config.feed.shm_mode,
        (Kind::Cnc, ControlMode::Fixed(mode)) => mode,
        _ => config.process.shm_mode,
    };
    let lock = match config.process.lock {
        Lock::Require => LockMemory::Require,
        Lock::Try => LockMemory::Try,
        Lock::No => LockMemory::No,
    };
    Access { mode, gid: u32::try_from(config.process.shm_gid).ok(), lock }
}

/// Checks and loads every lane, to run: the names must be free, and the CPUs are claimed.
///
/// # Errors
/// Whatever keeps a lane from starting.
pub fn to_run(config: &Config) -> Result<Ready> {
    names(config)?.iter().try_for_each(free_name::free)?;
    // As `check` does, before there are threads: their stacks are in the reckoning.
    let memory = before_models(config)?;
    let (Cores { lanes: cpus, shared, .. }, claims) = hot_threads::claim(config)?;
    let lanes = config.lanes.iter().zip(cpus).zip(claims);
    let lanes =
        lanes.map(|((lane, cpu), claim)| Ok(Prepared { claim: Some(claim), ..prepare_lane(config, lane, cpu, cpu)? }));
    Ok(Ready { lanes: lanes.collect::<Result<_>>()?, shared, live: Vec::new(), memory })
}

/// The same without running, and beside live lanes: a name may be held, and nothing is tried on a CPU that a lane spins on.
///
/// # Errors
/// Whatever would keep a lane from starting once those that live have stopped.
pub fn to_check(config: &Config) -> Result<Ready> {
    let holders = names(config)?.iter().map(free_name::holder).collect::<Result<Vec<_>>>()?;
    let live: Vec<_> = config.lanes.iter().map(|l| l.name.clone()).zip(holders).collect();
    let live: Vec<_> = live.into_iter().filter_map(|(lane, holder)| Some((lane, holder?))).collect();
    let others = hot_threads::of_others();
    // Those that would have to stop give their CPUs back.
    let remaining: Vec<_> = others.iter().filter(|t| live.iter().all(|(_, pid)| *pid != t.pid)).cloned().collect();
    let Cores { lanes: cpus, shared, .. } = cores::choose_beside(config, false, &remaining)?;
    let spinning: Vec<_> = others.iter().map(|other| other.cpu).collect();
    cores::stay_off(&spinning);
    let memory = before_models(config)?;
    let quiet = cores::allowed().into_iter().rev().find(|cpu| !spinning.contains(cpu));
    let trial = |cpu: usize| if spinning.contains(&cpu) { quiet.unwrap_or(cpu) } else { cpu };
    let lanes = config.lanes.iter().zip(cpus).map(|(lane, cpu)| prepare_lane(config, lane, cpu, trial(cpu)));
    Ok(Ready { lanes: lanes.collect::<Result<_>>()?, shared, live, memory })
}

fn names(config: &Config) -> Result<Vec<LaneName>> {
    config.lanes.iter().map(|lane| config.place(&lane.name)).collect()
}

/// What must hold before models are loaded, since they take memory.
fn before_models(config: &Config) -> Result<Reckoned> {
    let halts = Places::of_sidecar(&config.process.state_dir);
    for lane in &config.lanes {
        halts.check(&lane.name, &config.process.trust())?;
        FeatureSet::load_trusted(&lane.features, &config.process.trust())?;
        instruments(config, lane)?;
    }
    creatable(config)?;
    let memory = memory::reckon(config)?;
    memory::room_for_regions(&config.process.shm_dir, &memory.need)?;
    Ok(memory)
}

/// A lane whose hot thread will be pinned to `core`; its engines are timed on `trial`.
fn prepare_lane(config: &Config, lane: &Lane, core: usize, trial: usize) -> Result<Prepared> {
    let name = config.place(&lane.name)?;
    let trust = config.process.trust();
    let features = FeatureSet::load_trusted(&lane.features, &trust)?;
    let instruments = instruments(config, lane)?;
    let runtime = config.process.runtime();
    let (engine, on_missing, cuda) = (lane.engine, lane.on_missing, lane.cuda());
    let serving = Serving { engine, core: Some(trial), batch: lane.batch, cuda, on_missing };
    let (mut models, mut remarks) = (Vec::with_capacity(lane.models.len()), Vec::new());
    for dir in &lane.models {
        let model = Model::read_trusted(dir, &trust)?;
        model.manifest().fits(features.name(), features.names(), &features.hash())?;
        model.manifest().fits_trigger(lane.trigger)?;
        remarks.extend(model.manifest().fits_units(&lane.name, &instruments)?);
        let mut model = model.start(&runtime, serving)?;
        if lane.conflate && model.engine.info().stateful {
            let problem =
                format!("lane {:?}: conflate = true with `{}`, which carries a state", lane.name, model.manifest.name);
            let mend = "set conflate = false: a run left out would be a step that the state has missed";
            return Err(Error::input(&config.origin, problem, mend));
        }
        model.engine.seat(instruments.len());
        models.push(model);
    }
    if models.len() > usize::from(u16::MAX) {
        return Err(Error::input(
            &config.origin,
            format!("lane {:?}: {} models", lane.name, models.len()),
            "name at most 65,535",
        ));
    }
    let tables = tables(&instruments, &models, &features).to_bytes()?;
    let claim = None;
    Ok(Prepared { config: lane.clone(), name, core, features, instruments, models, tables, remarks, claim })
}

fn instruments(config: &Config, lane: &Lane) -> Result<Instruments> {
    if lane.instruments.is_empty() {
        let problem = format!("lane {:?} has no instruments", lane.name);
        return Err(Error::input(
            &config.origin,
            problem,
            "list them under lane.instruments; `replay` and `demo` take them from the file",
        ));
    }
    let list: Vec<Instrument> = lane
        .instruments
        .iter()
        .map(|i| Instrument {
            id: i.id,
            publisher: i.publisher,
            symbol: i.symbol.clone(),
            tick_size: i.tick_size.0,
            size_unit: i.size_unit,
        })
        .collect();
    Instruments::new(&list)
}

/// What the signal region says of its indices and outputs.
pub fn tables(instruments: &Instruments, models: &[LoadedModel], features: &FeatureSet) -> SignalTables {
    let instrument = |i: &Instrument| InstrumentEntry {
        id: i.id,
        symbol: i.symbol.clone(),
        tick_size: i.tick_size,
        size_unit: i.size_unit,
    };
    let model = |m: &LoadedModel| {
        let info = m.engine.info();
        ModelEntry {
            name: m.manifest.name.clone(),
            revision: m.manifest.revision,
            sha256: m.onnx_sha256,
            features_hash: features.hash(),
            outputs: m.manifest.outputs.clone(),
            meaning: m.manifest.meaning.clone(),
            engine: info.engine.to_owned(),
            isa: info.isa.clone(),
            runtime: info.runtime.clone(),
            horizon_events: m.manifest.horizon_events,
        }
    };
    let instruments = instruments.iter().map(instrument).collect();
    SignalTables { instruments, models: models.iter().map(model).collect() }
}

/// Refuses a folder in which regions could not be made with the rights asked for.
fn creatable(config: &Config) -> Result<()> {
    let (dir, access) = (&config.process.shm_dir, access(config, Kind::Signals));
    let failed = |what: &str, e: &dyn std::fmt::Display, mend: &str| {
        Err(Error::input(dir.display(), format!("regions cannot be {what} here: {e}"), mend))
    };
    let file = match tempfile::tempfile_in(dir) {
        Ok(file) => file,
        Err(e) => {
            return failed("made", &e, "run as a user who may write here, or name another folder in process.shm_dir");
        }
    };
    if let Some(gid) = access.gid
        && let Err(e) = rustix::fs::fchown(&file, None, Some(rustix::fs::Gid::from_raw(gid)))
    {
        return failed(&format!("given to group {gid}"), &e, "name a group of this user in process.shm_gid, or -1");
    }
    Ok(())
}

/// What `lock = "require"` will ask for, tried on what is mapped now: a process that may not lock is refused here. What is
/// mapped later has been reckoned with.
pub fn try_locking(config: &Config) -> Result<()> {
    if config.process.lock == Lock::Require {
        crate::sidecar::lock_memory(config)?;
    }
    Ok(())
}
