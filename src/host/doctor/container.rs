//! What a container or a hypervisor takes: quotas, allowed CPUs, stolen time.

use std::path::{Component, Path, PathBuf};

use super::checks::{Finding, Found};
use super::cpus::{Cpus, short};
use super::host::{Look, Measured, Roots, number, read};
use super::schedule::CGROUP2;

/// Stolen time below this share is good.
const STOLEN: f64 = 0.001;

/// This process's group below the mount, of the second version (`None`) or of one with a controller of the first.
fn group(look: &Look, controller: Option<&str>) -> Result<PathBuf, String> {
    let text = look.proc("self/cgroup")?;
    let line = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let fits = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|c| c == name),
        };
        fits.then_some(path)
    });
    let path =
        line.ok_or_else(|| format!("/proc/self/cgroup has no group {}", controller.unwrap_or("of version 2")))?;
    // A group outside this namespace is shown with `..`: what can be seen of it is the mount itself.
    let inside = Path::new(path).components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    Ok(if inside { path.trim_start_matches('/').into() } else { PathBuf::new() })
}

/// The group's folder and those above it up to the mount, the nearest first; those that are not there left out.
fn folders(mount: &Path, group: &Path) -> Vec<PathBuf> {
    let all = group.ancestors().map(|at| mount.join(at));
    all.filter(|folder| folder.is_dir()).collect()
}

/// Mounts of a controller of the first version.
fn mounts1(look: &Look, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| look.roots.sys.join("fs/cgroup").join(name)).find(|path| path.is_dir())
}

/// CPUs' worth of time that one group allows: `None` is any.
fn quota2(folder: &Path) -> Result<Option<f64>, String> {
    let Ok(text) = read(&folder.join("cpu.max")) else {
        // A group without the controller, and the root, have no such file and no limit; but that must be seen.
        let controllers = read(&folder.join("cgroup.controllers"))?;
        let root = read(&folder.join("cgroup.type")).is_err();
        let has = controllers.split_whitespace().any(|c| c == "cpu");
        return if root || !has { Ok(None) } else { Err(format!("{} has no cpu.max", folder.display())) };
    };
    let mut words = text.split_whitespace();
    let (quota, period) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let period = number(period, "cpu.max")? as f64;
    match quota {
        "max" if period > 0.0 => Ok(None),
        _ => share(number(quota, "cpu.max")? as f64, period).map(Some),
    }
}

/// The same of the first version.
fn quota1(folder: &Path) -> Result<Option<f64>, String> {
    let of = |name: &str| number(&read(&folder.join(name))?, name);
    match of("cpu.cfs_quota_us")? {
        -1 => Ok(None),
        quota => share(quota as f64, of("cpu.cfs_period_us")? as f64).map(Some),
    }
}

/// What the control groups' memory limits leave this process, bytes, by name; nothing where none limits or can be read.
pub fn memory_limits(roots: &Roots) -> Vec<(String, u64)> {
    let look = Look { roots, core: 0, measured: Err(String::new()) };
    let first = group(&look, Some("memory")).ok().zip(mounts1(&look, &["memory"]));
    let second =
        || Some((group(&look, None).ok()?, CGROUP2.iter().map(|at| roots.sys.join(at)).find(|at| at.is_dir())?));
    let old = first.is_some();
    let Some((group, mount)) = first.or_else(second) else { return Vec::new() };
    let files: &[&str] = if old { &["memory.limit_in_bytes"] } else { &["memory.max", "memory.high"] };
    let (usage, cache) =
        if old { ("memory.usage_in_bytes", "total_inactive_file") } else { ("memory.current", "inactive_file") };
    let mut limits = Vec::new();
    for folder in folders(&mount, &group) {
        let bytes = |name: &str| read(&folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let used = bytes(usage).unwrap_or(0).saturating_sub(of_stat(&folder, cache));
        let name = folder.strip_prefix(&mount).unwrap_or(&folder).display().to_string();
        for file in files {
            // Version 1 says "none" by a number that no machine has.
            let limit = bytes(file).filter(|&limit| limit < u64::MAX / 4);
            limits
                .extend(limit.map(|limit| (format!("the control group {name} ({file})"), limit.saturating_sub(used))));
        }
    }
    limits
}

/// A line of a group's memory.stat, bytes: file pages that the kernel takes back first.
fn of_stat(folder: &Path, name: &str) -> u64 {
    let text = read(&folder.join("memory.stat")).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn share(quota: f64, period: f64) -> Result<f64, String> {
    let share = quota / period;
    if quota > 0.0 && period > 0.0 { Ok(share) } else { Err(format!("a quota of {quota} us in {period} us")) }
}

pub(super) fn cpu_quota(look: &Look) -> Found {
    let first = group(look, Some("cpu")).and_then(|group| {
        let mount = mounts1(look, &["cpu,cpuacct", "cpu"]).ok_or("/sys/fs/cgroup has no cpu")?;
        Ok((folders(&mount, &group), quota1 as fn(&Path) -> _))
    });
    let (folders, quota) = match first {
        Ok(found) => found,
        Err(_) => {
            let group = group(look, None)?;
            let mount =
                CGROUP2.iter().map(|at| look.roots.sys.join(at)).find(|at| at.join("cgroup.controllers").exists());
            let mount = mount.ok_or("/sys/fs/cgroup has no cgroup.controllers")?;
            (folders(&mount, &group), quota2 as fn(&Path) -> _)
        }
    };
    if folders.is_empty() {
        return Err("/sys/fs/cgroup does not have this process's group".into());
    }
    let limits = folders.iter().map(|folder| quota(folder)).collect::<Result<Vec<_>, _>>()?;
    let least = limits.into_iter().flatten().reduce(f64::min);
    Ok(match least {
        None => Finding::of(true, "none"),
        Some(cpus) => Finding::of(false, format!("{cpus:.2} CPUs' time")),
    })
}

pub(super) fn cpuset(look: &Look) -> Found {
    let allowed = look.status("Cpus_allowed_list")?;
    let allowed = Cpus::list(&allowed, None)?;
    if allowed.0.is_empty() {
        return Err("/proc/self/status allows no CPU".into());
    }
    let in_group = |folder: &Path| {
        let names = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
        names.iter().find_map(|name| Cpus::list(&read(&folder.join(name)).ok()?, None).ok())
    };
    let first = group(look, Some("cpuset")).ok().zip(mounts1(look, &["cpuset"]));
    let second = || Some((group(look, None).ok()?, look.roots.sys.join(CGROUP2[0])));
    let folders = first.or_else(second).map(|(group, mount)| folders(&mount, &group)).unwrap_or_default();
    let group = folders.iter().find_map(|folder| in_group(folder)).filter(|cpus| !cpus.0.is_empty());
    let partition = folders.first().and_then(|folder| read(&folder.join("cpuset.cpus.partition")).ok());
    let partition = partition.map_or(String::new(), |kind| format!(", partition {}", short(&kind)));
    let told = group.as_ref().map_or("its group does not say".into(), |cpus| format!("its group {cpus}"));
    let good = allowed.has(look.core) && group.is_none_or(|cpus| cpus.has(look.core));
    Ok(Finding::of(good, format!("this process may use {allowed}, {told}{partition}")))
}

/// How a CPU spent an interval, in shares of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    pub(super) idle: f64,
    pub(super) stolen: f64,
    /// Kernel ticks of 10 ms that were counted.
    pub(super) ticks: u64,
}

/// How `cpu` spent the probe's time, from /proc/stat before and after.
pub(super) fn spent(measured: &Measured, cpu: usize) -> Result<Spent, String> {
    let counts = |text: &str| -> Option<Vec<u64>> {
        let name = format!("cpu{cpu}");
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
        // user nice system idle iowait irq softirq steal; guest time is in user time already.
        let counts: Vec<_> = line.split_whitespace().skip(1).take(8).map_while(|n| n.parse().ok()).collect();
        (counts.len() == 8).then_some(counts)
    };
    let both = counts(&measured.before.stat).zip(counts(&measured.after.stat));
    let (before, after) = both.ok_or_else(|| format!("/proc/stat has no counts of CPU {cpu}"))?;
    let passed: Vec<_> = after.iter().zip(&before).map(|(now, then)| now.saturating_sub(*then)).collect();
    let ticks = passed.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
    if ticks == 0 {
        return Err(format!("/proc/stat counted no time of CPU {cpu} during the probe"));
    }
    let share = |n: u64| n as f64 / ticks as f64;
    Ok(Spent { idle: share(passed[3].saturating_add(passed[4])), stolen: share(passed[7]), ticks })
}

pub(super) fn steal(look: &Look) -> Found {
    let spent = spent(look.measured.as_ref().map_err(Clone::clone)?, look.core)?;
    let value = format!("{:.2} % of {} kernel ticks", 100.0 * spent.stolen, spent.ticks);
    Ok(Finding::of(spent.stolen < STOLEN, value))
}
