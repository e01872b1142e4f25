//! Which CPUs the lanes and the injector use, and pinning to them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::hot_threads::{self, HotThread};
use crate::config::{Config, Core};
use crate::error::{Error, Result};
use crate::report::Host;

/// CPUs of a configuration, all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// CPU of each lane's hot thread, in lane order.
    pub lanes: Vec<usize>,
    /// CPU of the injector, where the command has one.
    pub feed: Option<usize>,
    /// Who else spins on those CPUs: another process's lanes, in words for a person.
    pub shared: Vec<String>,
}

/// CPUs this process may run on, ascending.
pub fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Chooses the CPUs: lanes from the highest down, the injector the lowest, and those that no other process's lane spins on
/// before others.
pub fn choose(config: &Config, with_feed: bool) -> Result<Cores> {
    choose_beside(config, with_feed, &hot_threads::of_others())
}

/// The same beside these hot threads of other processes.
pub fn choose_beside(config: &Config, with_feed: bool, others: &[HotThread]) -> Result<Cores> {
    choose_from(&allowed(), config, with_feed, others)
}

/// "CPU 1 is shared with lane es of process 7" for each of the lanes' CPUs that is.
pub(super) fn shared(config: &Config, lanes: &[usize], others: &[HotThread]) -> Vec<String> {
    let all = config.lanes.iter().zip(lanes).flat_map(|(lane, cpu)| {
        let there = others.iter().filter(move |other| other.cpu == *cpu);
        there.map(move |other| format!("lane {} shares CPU {cpu} with {other}", lane.name))
    });
    all.collect()
}

fn choose_from(allowed: &[usize], config: &Config, with_feed: bool, others: &[HotThread]) -> Result<Cores> {
    let mut taken: Vec<(usize, String)> = Vec::new();
    let fixed = |core: Core, key: String, taken: &mut Vec<(usize, String)>| -> Result<()> {
        let Core::Fixed(cpu) = core else { return Ok(()) };
        if !allowed.contains(&cpu) {
            let problem = format!("{key} = {cpu}: this process may run on CPUs {allowed:?} only");
            return Err(Error::input(&config.origin, problem, "name one of those, or write \"auto\""));
        }
        if let Some((_, other)) = taken.iter().find(|(c, _)| *c == cpu) {
            let problem = format!("{key} = {cpu}: {other} spins on that CPU already");
            return Err(Error::input(&config.origin, problem, "give each spinning thread a CPU of its own"));
        }
        taken.push((cpu, key));
        Ok(())
    };
    if with_feed {
        fixed(config.feed.core, "feed.core".into(), &mut taken)?;
    }
    for lane in &config.lanes {
        fixed(lane.core, format!("lane {:?} core", lane.name), &mut taken)?;
    }
    let mut free: Vec<usize> = allowed.iter().copied().filter(|c| taken.iter().all(|(t, _)| t != c)).collect();
    let busy = |cpu: &usize| others.iter().any(|other| other.cpu == *cpu);
    let needed = config.lanes.len() + usize::from(with_feed);
    let mut auto = |core: Core, lowest: bool| match core {
        Core::Fixed(cpu) => Ok(cpu),
        Core::Auto if free.is_empty() => Err(Error::input(
            &config.origin,
            format!("{needed} spinning threads need {needed} CPUs; this process may run on {allowed:?} only"),
            "run fewer lanes, or allow the process more CPUs",
        )),
        Core::Auto if lowest => Ok(free.remove(free.iter().position(|cpu| !busy(cpu)).unwrap_or(0))),
        Core::Auto => Ok(free.remove(free.iter().rposition(|cpu| !busy(cpu)).unwrap_or(free.len() - 1))),
    };
    // The lanes first: a feed that shares a CPU is late, a lane that does is slow.
    let lanes: Vec<usize> = config.lanes.iter().map(|lane| auto(lane.core, false)).collect::<Result<_>>()?;
    let feed = if with_feed { Some(auto(config.feed.core, true)?) } else { None };
    Ok(Cores { shared: shared(config, &lanes, others), lanes, feed })
}

/// The CPU of a feed that runs by itself: lanes are another process's affair.
pub fn choose_feed(config: &Config) -> Result<usize> {
    let alone = Config { lanes: Vec::new(), ..config.clone() };
    choose(&alone, true)?
        .feed
        .ok_or_else(|| Error::input(&config.origin, "no CPU to run on", "allow the process a CPU"))
}

/// Pins the calling thread.
pub fn pin(cpu: usize, who: &str) -> Result<()> {
    // Asked for a number that no CPU can have, the crate panics. A thread may have left the CPU to others and come back to it.
    if cpu < CpuSet::MAX_CPU && core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Ok(());
    }
    let problem = format!("cannot be pinned to CPU {cpu}");
    Err(Error::input(who, problem, format!("name one of the CPUs this process may use: {:?}", allowed())))
}

/// A pin that ends: dropped, it lets the thread back onto the CPUs that it had before.
#[derive(Debug)]
pub struct Pinned {
    before: Option<CpuSet>,
}

impl Pinned {
    /// Pins the calling thread until the guard is dropped, on this thread.
    pub fn to(cpu: usize, who: &str) -> Result<Self> {
        let before = sched_getaffinity(None).ok();
        pin(cpu, who)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The CPUs may have gone meanwhile: the thread then stays where it is, which breaks nothing.
            let _ = sched_setaffinity(None, before);
        }
    }
}

/// Keeps the calling thread, and threads it starts later, off these CPUs if any other is left.
pub fn stay_off(cpus: &[usize]) {
    let mut set = CpuSet::new();
    allowed().into_iter().filter(|c| !cpus.contains(c)).for_each(|c| set.set(c));
    if set.count() > 0 {
        // A container may forbid it; the cold side then shares a CPU, which costs latency and breaks nothing.
        let _ = sched_setaffinity(None, &set);
    }
}

impl Host {
    /// This machine, read from /proc; what cannot be read is "unknown".
    pub fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|l| l.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
        let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
        let isa = ["avx512f", "avx2", "sse4_2", "asimd"].into_iter().find(|f| has(f)).unwrap_or("unknown");
        Self {
            cpu: field("model name").unwrap_or_else(|| "unknown".into()),
            cpus: allowed().len(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            virtualised: has("hypervisor"),
            isa: isa.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "test.toml", std::path::Path::new(".")).expect("valid")
    }

    /// One replay after another must find the CPUs that the first one found.
    #[test]
    fn a_pin_ends_with_its_guard() {
        let before = allowed();
        let guard = Pinned::to(before[0], "test").expect("an allowed CPU");
        assert_eq!(allowed(), before[..1]);
        drop(guard);
        assert_eq!(allowed(), before);
    }

    #[test]
    fn auto_takes_both_ends() {
        let two = config("[[lanes]]\nname = \"a\"\n[[lanes]]\nname = \"b\"\ncore = 6\n");
        let cores = choose_from(&[4, 5, 6, 7], &two, true, &[]).expect("four CPUs");
        assert_eq!(cores, Cores { lanes: vec![7, 6], feed: Some(4), shared: Vec::new() });
    }

    #[test]
    fn auto_keeps_off_other_processes_lanes_while_it_can() {
        let other = |cpu| HotThread { pid: 9, lane: "nq".into(), cpu, started: 1 };
        let chosen = |allowed: &[usize], toml: &str, feed: bool, others: &[usize]| {
            let others: Vec<_> = others.iter().copied().map(other).collect();
            choose_from(allowed, &config(toml), feed, &others).expect("enough CPUs")
        };
        let free = chosen(&[0, 1, 2, 3], "", true, &[3, 0]);
        assert_eq!((free.lanes, free.feed, free.shared.len()), (vec![2], Some(1), 0));
        let taken = chosen(&[0, 1], "", false, &[0, 1]);
        assert_eq!((taken.lanes, taken.feed), (vec![1], None));
        assert_eq!(taken.shared, ["lane main shares CPU 1 with lane nq of process 9"]);
        let fixed = chosen(&[0, 1], "[lane]\ncore = 1\n", false, &[1]);
        assert_eq!((fixed.lanes, fixed.shared.len()), (vec![1], 1), "asked for by number, and said");
    }

    #[test]
    fn refusals_name_the_key_and_the_cpus() {
        let text = |allowed: &[usize], toml: &str| {
            choose_from(allowed, &config(toml), true, &[]).expect_err("refused").to_string()
        };
        assert!(text(&[0, 1], "[lane]\ncore = 9\n").contains("core = 9: this process may run on CPUs [0, 1] only"));
        assert!(text(&[0, 1], "[lane]\ncore = 1\n[feed]\ncore = 1\n").contains("spins on that CPU already"));
        assert!(text(&[0], "").contains("2 spinning threads need 2 CPUs"));
    }
}
