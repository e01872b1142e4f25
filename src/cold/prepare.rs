//! Everything that must be right before a lane may start; `pillion check` stops here, `pillion run` goes on.

use pillion_shm::{Access, Clock, CncClient, Kind, Lane as LaneName, LockMemory};

use super::config::{Config, Lane, Lock};
use super::cores::{self, Cores};
use super::model::{LoadedModel, Model};
use crate::engine::RuntimeConfig;
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
}

impl Prepared {
    /// Bounds of each book.
    pub fn limits(&self) -> Limits {
        Limits { max_orders: self.config.max_orders, max_levels: self.config.max_levels }
    }
}

/// How the configuration wants regions created.
pub fn access(config: &Config) -> Access {
    let lock = match config.process.lock {
        Lock::Require => LockMemory::Require,
        Lock::Try => LockMemory::Try,
        Lock::No => LockMemory::No,
    };
    Access { mode: config.process.shm_mode, gid: u32::try_from(config.process.shm_gid).ok(), lock }
}

/// Checks and loads every lane.
pub fn prepare(config: &Config) -> Result<Vec<Prepared>> {
    let Cores { lanes: cpus, .. } = cores::choose(config, false)?;
    let clock = Clock::attach_or_create(&config.process.shm_dir)?;
    let lanes = config.lanes.iter().zip(cpus);
    let prepared: Vec<_> = lanes.map(|(lane, cpu)| prepare_lane(config, lane, cpu, &clock)).collect::<Result<_>>()?;
    room(config, &prepared)?;
    Ok(prepared)
}

fn prepare_lane(config: &Config, lane: &Lane, core: usize, clock: &Clock) -> Result<Prepared> {
    let name = LaneName::in_dir(&config.process.shm_dir, &lane.name)?;
    let features = FeatureSet::load(&lane.features)?;
    let instruments = instruments(config, lane)?;
    free_name(&name, clock)?;
    let path = &config.process.onnxruntime;
    let runtime = RuntimeConfig { onnxruntime: (!path.as_os_str().is_empty()).then(|| path.clone()) };
    let mut models = Vec::with_capacity(lane.models.len());
    for dir in &lane.models {
        let model = Model::read(dir)?;
        model.manifest().fits(features.name(), features.names(), &features.hash())?;
        models.push(model.start(&runtime)?);
    }
    if models.len() > usize::from(u16::MAX) {
        return Err(Error::input(
            &config.origin,
            format!("lane {:?}: {} models", lane.name, models.len()),
            "name at most 65,535",
        ));
    }
    Ok(Prepared { config: lane.clone(), name, core, features, instruments, models })
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
        .map(|i| Instrument { id: i.id, symbol: i.symbol.clone(), tick_size: i.tick_size.0, size_unit: i.size_unit })
        .collect();
    Instruments::new(&list)
}

/// Refuses a lane whose regions a live sidecar holds.
fn free_name(name: &LaneName, clock: &Clock) -> Result<()> {
    let page = match CncClient::attach(name, clock) {
        Ok(page) if page.owner_alive() => page,
        // Nobody's, a dead sidecar's or another layout's: taken over when the lane starts, or refused there.
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(Error::input(
        name.path(Kind::Cnc).display(),
        format!("is held by the live process {}", page.pid()),
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
    // Slots and cells are 128 bytes; headers, tables and the control page fit the slack.
    let cells = |l: &Prepared| (l.instruments.len() * l.models.len().max(1)) as u64;
    let needed: u64 = lanes.iter().map(|l| (l.config.signal_slots + cells(l)) * 128 + (1 << 16)).sum();
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
