//! How much memory a configuration's lanes will take, and how much this process may have: reckoned before anything is
//! allocated, since a process whose allocator or whose host runs out is killed, and refuses nothing.

use pillion_shm::Trust;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::config::{Config, Lane, Lock};
use crate::error::{Error, Result};
use crate::host::doctor::{Roots, memory_limits};
use crate::hot::book::{Book, Limits};
use crate::hot::features::{FeatureSet, Features};
use crate::models::Model;
use crate::report::table::bytes as text;

/// Histograms, tail, timeline and threads of a lane.
const OF_A_LANE: u64 = 8 << 20;
/// ONNX Runtime with its first session.
const OF_A_RUNTIME: u64 = 40 << 20;
/// A model in memory, as a multiple of its file: the file itself, ONNX Runtime's copy, packed weights, our own kernels'.
const OF_A_MODEL: u64 = 4;
/// Header, control page and slack of a lane's regions.
const OF_REGIONS: u64 = 1 << 16;
/// Bit of CAP_IPC_LOCK.
const CAP_IPC_LOCK: u32 = 14;

/// What the lanes will take, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Books at their limits: `max_orders` and `max_levels` of every instrument.
    pub books: u64,
    /// Feature state of every instrument.
    pub features: u64,
    /// Windows that models keep of every instrument.
    pub windows: u64,
    /// Models and the runtime, roughly.
    pub models: u64,
    /// Histograms, tail, threads, roughly.
    pub rest: u64,
    /// Signal rings, boards and control pages, in `process.shm_dir`.
    pub regions: u64,
}

/// Something that bounds a process's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// What it leaves, bytes.
    pub free: u64,
    /// What to do where that is too little.
    #[serde(skip)]
    mend: &'static str,
}

impl Need {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.own().saturating_add(self.regions)
    }

    /// Without the regions.
    fn own(&self) -> u64 {
        [self.books, self.features, self.windows, self.models, self.rest].into_iter().fold(0, u64::saturating_add)
    }

    /// What the lanes of a configuration take.
    ///
    /// # Errors
    /// A feature set or a manifest cannot be read.
    pub fn of(config: &Config) -> Result<Self> {
        let mut all = Self::default();
        for lane in &config.lanes {
            all.add(lane, &config.process.trust())?;
        }
        let any_model = config.lanes.iter().any(|lane| !lane.models.is_empty());
        all.models = all.models.saturating_add(if any_model { OF_A_RUNTIME } else { 0 });
        Ok(all)
    }

    fn add(&mut self, lane: &Lane, trust: &Trust) -> Result<()> {
        let set = FeatureSet::load_trusted(&lane.features, trust)?;
        let instruments = lane.instruments.len() as u64;
        let limits = Limits { max_orders: lane.max_orders, max_levels: lane.max_levels };
        let times = |bytes: usize| instruments.saturating_mul(bytes as u64);
        self.books = self.books.saturating_add(times(Book::bytes_for(limits)));
        self.features = self.features.saturating_add(times(Features::new(&set, 1).state_bytes()));
        for dir in &lane.models {
            let shape = Model::read_trusted(dir, trust)?.manifest().shape();
            let copies = if shape.rows == 1 { 1 } else { 2 };
            let row = shape.features.saturating_mul(size_of::<f32>());
            self.windows = self.windows.saturating_add(times(row.saturating_mul(shape.rows).saturating_mul(copies)));
            let file = std::fs::metadata(dir.join("model.onnx")).map_or(0, |m| m.len());
            self.models = self.models.saturating_add(file.saturating_mul(OF_A_MODEL));
        }
        self.rest = self.rest.saturating_add(OF_A_LANE);
        self.regions = self.regions.saturating_add(regions(lane));
        Ok(())
    }
}

/// A lane's signal ring, board, tables and control page: slots and cells are 128 bytes.
fn regions(lane: &Lane) -> u64 {
    let cells = lane.instruments.len().saturating_mul(lane.models.len().max(1)) as u64;
    // An instrument's row and a model's in the tables.
    let tables = (lane.instruments.len() * 64 + lane.models.len() * 4096) as u64;
    lane.signal_slots.saturating_add(cells).saturating_mul(128).saturating_add(tables + OF_REGIONS)
}

/// What the lanes need and each bound that was held against it, for the banner and `check`.
#[derive(Clone, Debug, Serialize)]
pub struct Reckoned {
    /// What the lanes take.
    pub need: Need,
    /// What this process may still have; those without a limit are left out.
    pub bounds: Vec<Bound>,
}

impl std::fmt::Display for Reckoned {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let n = &self.need;
        write!(f, "{}: books {}, features {}", text(n.total()), text(n.books), text(n.features))?;
        if n.windows > 0 {
            write!(f, ", windows {}", text(n.windows))?;
        }
        write!(f, ", models about {}, regions {}, rest {}", text(n.models), text(n.regions), text(n.rest))?;
        let least = self.bounds.iter().min_by_key(|bound| bound.free);
        least.map_or(Ok(()), |least| write!(f, "; {} leaves {}", least.name, text(least.free)))
    }
}

/// Holds what the lanes will take against what this process may have.
///
/// # Errors
/// It is too much for a bound, which is named with both figures; nothing has been allocated yet.
pub fn reckon(config: &Config) -> Result<Reckoned> {
    let need = Need::of(config)?;
    let bounds = bounds(config, &Roots::default());
    if let Some(bound) = bounds.iter().find(|bound| need.total() > bound.free) {
        let n = &need;
        let problem = format!(
            "the lanes need {} of memory (books {}, features {}, windows {}, models about {}, regions {}); {} leaves {}",
            text(n.total()),
            text(n.books),
            text(n.features),
            text(n.windows),
            text(n.models),
            text(n.regions),
            bound.name,
            text(bound.free)
        );
        let mend = format!("lower lane.max_orders, lane.max_levels or the number of instruments, or {}", bound.mend);
        return Err(Error::input(&config.origin, problem, mend));
    }
    Ok(Reckoned { need, bounds })
}

/// Every bound that can be read; what cannot be is no reason to refuse.
fn bounds(config: &Config, roots: &Roots) -> Vec<Bound> {
    let status = std::fs::read_to_string(roots.proc.join("self/status")).unwrap_or_default();
    let meminfo = std::fs::read_to_string(roots.proc.join("meminfo")).unwrap_or_default();
    let mut bounds = Vec::new();
    let mut add = |name: &str, free: Option<u64>, mend| {
        bounds.extend(free.map(|free| Bound { name: name.to_owned(), free, mend }));
    };
    // Books are written at start, so swap would serve nobody who locks his memory.
    let swap = if config.process.lock == Lock::No { kib(&meminfo, "SwapFree").unwrap_or(0) } else { 0 };
    let available = kib(&meminfo, "MemAvailable").map(|bytes| bytes.saturating_add(swap));
    add("the host (MemAvailable)", available, "free memory on this host");
    let under =
        |limit: Resource, used: &str| Some(getrlimit(limit).current?.saturating_sub(kib(&status, used).unwrap_or(0)));
    add("the address space limit (RLIMIT_AS)", under(Resource::As, "VmSize"), "raise it (ulimit -v, LimitAS=)");
    add("the data limit (RLIMIT_DATA)", under(Resource::Data, "VmData"), "raise it (ulimit -d, LimitDATA=)");
    if config.process.lock == Lock::Require && !may_lock(&status) {
        let mend = "raise it (ulimit -l unlimited, LimitMEMLOCK=infinity), or write lock = \"try\"";
        add("the lock limit (RLIMIT_MEMLOCK)", under(Resource::Memlock, "VmSize"), mend);
    }
    for (name, free) in memory_limits(roots) {
        add(&name, Some(free), "raise the control group's limit (MemoryMax=, docker -m)");
    }
    bounds
}

/// A field of /proc/meminfo or /proc/self/status, bytes.
fn kib(file: &str, name: &str) -> Option<u64> {
    let value = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether this process may lock beyond its limit.
fn may_lock(status: &str) -> bool {
    let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    caps.and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok()).is_some_and(|caps| caps >> CAP_IPC_LOCK & 1 == 1)
}

/// Whether the file system of the regions has room for them.
///
/// # Errors
/// It has not, or it cannot be asked.
pub fn room_for_regions(dir: &Path, need: &Need) -> Result<()> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| {
        let mend = "name a tmpfs folder in process.shm_dir";
        Error::input(dir.display(), format!("cannot be used for regions: {e}"), mend)
    })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if need.regions <= free {
        return Ok(());
    }
    let problem = format!("has {free} bytes free; the lanes' regions need {}", need.regions);
    Err(Error::input(dir.display(), problem, "make it larger (mount -o remount,size=…) or lower lane.signal_slots"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "test.toml", Path::new(".")).expect("valid")
    }

    fn of(instruments: usize, keys: &str) -> Need {
        let rows: Vec<_> =
            (1..=instruments).map(|id| format!("{{ id = {id}, symbol = \"S{id}\", tick_size = \"0.01\" }}")).collect();
        Need::of(&config(&format!("[lane]\n{keys}instruments = [{}]\n", rows.join(", ")))).expect("readable")
    }

    #[test]
    fn books_are_what_a_book_takes_times_the_instruments() {
        let one = Book::new(Limits { max_orders: 16384, max_levels: 2048 }).state_bytes() as u64;
        assert_eq!(of(3, "").books, 3 * one);
        assert!(of(1, "max_orders = 100000\n").books > 4 * of(1, "").books);
        assert_eq!(of(1, "signal_slots = 131072\n").regions - of(1, "").regions, 65_536 * 128);
        // A window model's rows of every instrument.
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mlp-k10");
        let with = of(2, &format!("models = [{:?}]\n", dir.display().to_string()));
        assert!(with.models > OF_A_RUNTIME && with.windows > 0, "{with:?}");
    }

    #[test]
    fn control_groups_of_both_versions_bound_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let roots = Roots { proc: dir.path().join("proc"), sys: dir.path().join("sys"), dev: "/dev".into() };
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        write("sys/fs/cgroup/a/memory.max", "1000\n");
        write("sys/fs/cgroup/a/memory.current", "300\n");
        write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(memory_limits(&roots), [("the control group a (memory.max)".to_owned(), 800)]);
        write("sys/fs/cgroup/a/b/memory.high", "500\n");
        write("sys/fs/cgroup/a/b/memory.current", "200\n");
        let found = memory_limits(&roots);
        assert!(found.contains(&("the control group a/b (memory.high)".to_owned(), 300)), "{found:?}");

        write("proc/self/cgroup", "5:cpu,cpuacct:/x\n3:memory:/x\n0::/\n");
        write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000\n");
        write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "500\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_limits(&roots), [("the control group x (memory.limit_in_bytes)".to_owned(), 1500)]);
    }

    #[test]
    fn the_kernels_words_read() {
        assert_eq!(kib("MemFree: 3 kB\nMemAvailable:   12 kB\n", "MemAvailable"), Some(12 * 1024));
        assert!(may_lock("CapEff:\t0000000000004000\n") && !may_lock("CapEff:\t0000000000000000\n"));
    }
}
