//! Everything that must be right before a lane may start; `pillion check` stops here, `pillion run` goes on.

use pillion_shm::{Access, InstrumentEntry, Kind, Lane as LaneName, LockMemory, ModelEntry, SignalTables};

use super::config::{Config, ControlMode, Lane, Lock};
use super::cores::{self, Cores};
use super::model::{Candidate, LoadedModel, Model, Serving};
use super::report::{EngineTried, FeaturesInUse, LaneReport, ModelInUse, hex};
use crate::engine::Runtime;
use crate::error::{Error, Result};
use crate::hot::book::Limits;
use crate::hot::decode::{Instrument, Instruments};
use crate::hot::features::FeatureSet;

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

/// Checks and loads every lane.
pub fn prepare(config: &Config) -> Result<Vec<Prepared>> {
    let Cores { lanes: cpus, .. } = cores::choose(config, false)?;
    let lanes = config.lanes.iter().zip(cpus);
    creatable(config)?;
    let prepared: Vec<_> = lanes.map(|(lane, cpu)| prepare_lane(config, lane, cpu)).collect::<Result<_>>()?;
    room(config, &prepared)?;
    Ok(prepared)
}

fn prepare_lane(config: &Config, lane: &Lane, core: usize) -> Result<Prepared> {
    let name = config.place(&lane.name)?;
    let trust = config.process.trust();
    let features = FeatureSet::load_trusted(&lane.features, &trust)?;
    let instruments = instruments(config, lane)?;
    free_name(&name)?;
    let runtime = config.process.runtime();
    let (engine, on_missing, cuda) = (lane.engine, lane.on_missing, lane.cuda());
    let serving = Serving { engine, core: Some(core), batch: lane.batch, cuda, on_missing };
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
    Ok(Prepared { config: lane.clone(), name, core, features, instruments, models, tables, remarks })
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

/// Refuses a lane whose regions a live sidecar holds.
fn free_name(name: &LaneName) -> Result<()> {
    use pillion_shm::Error::{Denied, NotARegion, Untrusted};
    let mut held = None;
    for kind in [Kind::Cnc, Kind::Signals, Kind::Board] {
        match name.holder(kind) {
            Ok(Some(holder)) if holder.alive => held = held.or(Some((kind, holder.pid))),
            Err(e @ (NotARegion { .. } | Denied { .. } | Untrusted(_))) => return Err(e.into()),
            // A dead sidecar's, another layout's or nobody's: taken over when the lane starts.
            Ok(_) | Err(_) => {}
        }
    }
    let Some((kind, pid)) = held else { return Ok(()) };
    Err(Error::input(
        name.path(kind).display(),
        format!("is held by the live process {pid}"),
        format!("stop it (`pillion ctl {} stop`) or choose another lane name", name.name()),
    ))
}

/// What `lock = "require"` will ask for, tried on one page: a process that may lock none is refused here.
pub fn try_locking(config: &Config, lanes: &[Prepared]) -> Result<()> {
    if config.process.lock != Lock::Require {
        return Ok(());
    }
    super::sidecar::lock_memory(config)?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let needed: u64 = lanes.iter().map(|l| (l.config.signal_slots + 1024) * 128).sum();
    if limit.is_some_and(|l| l < needed) && !rustix::process::geteuid().is_root() {
        let problem =
            format!("process.lock = \"require\": {needed} bytes of regions exceed the memlock limit {limit:?}");
        return Err(Error::input(&config.origin, problem, "raise it (ulimit -l unlimited) or write lock = \"try\""));
    }
    Ok(())
}

/// Refuses regions that the file system has no room for.
fn room(config: &Config, lanes: &[Prepared]) -> Result<()> {
    let dir = &config.process.shm_dir;
    let stat = rustix::fs::statvfs(dir.as_path()).map_err(|e| {
        Error::input(
            dir.display(),
            format!("cannot be used for regions: {e}"),
            "name a tmpfs folder in process.shm_dir",
        )
    })?;
    let free = stat.f_bavail * stat.f_frsize;
    // Slots and cells are 128 bytes; headers and the control page fit the slack.
    let cells = |l: &Prepared| (l.instruments.len() * l.models.len().max(1)) as u64;
    let needed: u64 =
        lanes.iter().map(|l| (l.config.signal_slots + cells(l)) * 128 + l.tables.len() as u64 + (1 << 16)).sum();
    if needed > free {
        let problem = format!("has {free} bytes free; the lanes' regions need {needed}");
        return Err(Error::input(
            dir.display(),
            problem,
            "make it larger (mount -o remount,size=…) or lower lane.signal_slots",
        ));
    }
    Ok(())
}
