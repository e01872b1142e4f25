//! Hot threads of this host's lanes, of whatever process: a CPU that one of them spins on is taken.
//!
//! Seen are threads named `hot-…` that are pinned to one CPU, in every process that /proc shows. A sidecar that has no feed
//! yet has no hot thread either, so it claims its CPU by a sleeping one of that name.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::cores::{self, Cores};
use crate::config::{Config, Core, Lane};
use crate::error::Result;

/// Start of a hot thread's name; the kernel keeps 15 bytes of it.
pub const PREFIX: &str = "hot-";

/// A hot thread, or a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotThread {
    /// Its process.
    pub pid: u32,
    /// Its lane, as much of the name as the kernel keeps.
    pub lane: String,
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// When its process started, in kernel ticks since boot.
    pub started: u64,
}

impl std::fmt::Display for HotThread {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "lane {} of process {}", self.lane.escape_debug(), self.pid)
    }
}

/// Hot threads of all processes but this one, one a lane.
pub fn of_others() -> Vec<HotThread> {
    let own = std::process::id();
    let mut all = below(Path::new("/proc"));
    all.retain(|thread| thread.pid != own);
    all
}

/// Hot threads of the processes below `proc`.
fn below(proc: &Path) -> Vec<HotThread> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut all: Vec<HotThread> = pids.flat_map(|pid| of_process(proc, pid)).collect();
    all.sort_by(|a, b| (a.cpu, a.pid, &a.lane).cmp(&(b.cpu, b.pid, &b.lane)));
    all.dedup();
    all
}

fn of_process(proc: &Path, pid: u32) -> Vec<HotThread> {
    let process = proc.join(pid.to_string());
    let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let hot = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let lane = name.trim_end().strip_prefix(PREFIX)?.to_owned();
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let cpu = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().parse().ok()?;
        Some(HotThread { pid, lane, cpu, started: started(&process)? })
    };
    tasks.filter_map(hot).collect()
}

/// When the process below `process` started, in kernel ticks since boot.
fn started(process: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name may hold spaces and brackets: fields count from the last bracket, and this is the 22nd.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Of those that hold `cpu`, one that was there first: of two that claim a CPU at once, the younger process gives way.
pub fn elder(others: &[HotThread], cpu: usize) -> Option<&HotThread> {
    let own = (started(Path::new("/proc/self")).unwrap_or(u64::MAX), std::process::id());
    others.iter().find(|other| other.cpu == cpu && (other.started, other.pid) < own)
}

/// Chooses a configuration's CPUs and claims them. Of two processes that choose at once, the younger chooses again.
///
/// # Errors
/// Those of [`cores::choose`]; a CPU that no thread may be pinned to.
pub fn claim(config: &Config) -> Result<(Cores, Vec<Claim>)> {
    let mut cores = cores::choose(config, false)?;
    loop {
        let lanes = || config.lanes.iter().zip(&cores.lanes);
        let claims = lanes().map(|(lane, cpu)| Claim::new(&lane.name, *cpu)).collect::<Result<Vec<_>>>()?;
        let others = of_others();
        let yields = |(lane, cpu): (&Lane, &usize)| lane.core == Core::Auto && elder(&others, *cpu).is_some();
        let again = cores::choose_beside(config, false, &others)?;
        // Where no other CPU is free, a new choice is the old one, and says who is there.
        if again.lanes == cores.lanes || !lanes().any(yields) {
            return Ok((Cores { shared: cores::shared(config, &cores.lanes, &others), ..cores }, claims));
        }
        cores = again;
    }
}

/// A CPU that is claimed until this is dropped.
#[derive(Debug)]
pub struct Claim {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Claim {
    /// Claims `cpu` for `lane`.
    ///
    /// # Errors
    /// No thread may be pinned there.
    pub fn new(lane: &str, cpu: usize) -> Result<Self> {
        let (end, ended) = channel::<()>();
        let (told, tell) = channel();
        let who = format!("lane {lane}");
        let claim = move || {
            let pinned = cores::pin(cpu, &who);
            let stays = pinned.is_ok();
            // The other side waits for this.
            let _ = told.send(pinned);
            if stays {
                // Nothing is ever sent: the wait ends when the claim is dropped.
                let _ = ended.recv();
            }
        };
        let thread = std::thread::Builder::new().name(format!("{PREFIX}{lane}")).spawn(claim);
        let thread = thread.map_err(|e| {
            crate::error::Error::input(
                format!("lane {lane}"),
                format!("no thread can be started: {e}"),
                "raise ulimit -u",
            )
        })?;
        let claim = Self { end: Some(end), thread: Some(thread) };
        tell.recv().unwrap_or(Ok(())).map(|()| claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_seen_until_it_is_dropped() {
        let cpu = cores::allowed()[0];
        let own = || {
            let mut all = below(Path::new("/proc"));
            all.retain(|t| t.pid == std::process::id() && t.lane == "claimed-for");
            all
        };
        let claim = Claim::new("claimed-for-a-test", cpu).expect("an allowed CPU");
        let seen = own();
        assert_eq!((seen.len(), seen[0].cpu), (1, cpu), "{seen:?}");
        assert!(of_others().iter().all(|t| t.lane != "claimed-for"), "a process's own are none of the others");
        drop(claim);
        assert!(own().is_empty());
        assert!(Claim::new("claimed-for-a-test", 4000).is_err());
    }

    #[test]
    fn names_that_only_look_like_it_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let task = |pid: u32, tid: u32, comm: &str, cpus: &str| {
            let path = dir.path().join(format!("{pid}/task/{tid}"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("comm"), comm).unwrap();
            std::fs::write(path.join("status"), format!("Name:\tx\nCpus_allowed_list:\t{cpus}\n")).unwrap();
            let fields: Vec<_> = (3..30).map(|n| (n * 100 + pid).to_string()).collect();
            let stat = format!("{pid} (a) b) S {}", fields[1..].join(" "));
            std::fs::write(dir.path().join(format!("{pid}/stat")), stat).unwrap();
        };
        task(7, 7, "pillion\n", "0-3\n");
        task(7, 8, "hot-es\n", "3\n");
        task(7, 9, "hot-loose\n", "0-3\n");
        task(9, 9, "shot-es\n", "1\n");
        std::fs::create_dir_all(dir.path().join("self/task/1")).unwrap();
        let found = below(dir.path());
        assert_eq!(found, [HotThread { pid: 7, lane: "es".into(), cpu: 3, started: 2207 }]);
    }
}
