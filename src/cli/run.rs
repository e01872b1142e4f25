//! `pillion run` and `pillion check`.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::sidecar;
use crate::sidecar::memory::Reckoned;
use crate::sidecar::prepare::Ready;
use crate::sidecar::{Asked, ReportTo};
use crate::sidecar::{banner, halt, prepare};

/// Arguments of `pillion run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file; config/default.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write the run's report as JSON when it ends, at SIGUSR1, and now and then: 10 s after the start, later every 5 minutes
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Come up halted: `pillion ctl LANE resume` ends it
    #[arg(long)]
    halted: bool,
    /// End when this parent does: a replay's sidecar must not outlive it
    #[arg(long, hide = true, value_name = "PID")]
    child_of: Option<i32>,
}

/// Runs the sidecar until it is stopped.
pub fn run(args: &RunArgs) -> Result<()> {
    if let Some(parent) = args.child_of {
        end_with(parent)?;
    }
    // A replay's sidecar shares a CPU with its feed, which a report would hold up.
    let meanwhile = args.child_of.is_none();
    let report = args.report.as_deref().map(|file| ReportTo { file, meanwhile });
    let halted = args.halted.then_some("started with run --halted");
    sidecar::serve(&Config::load(&args.config)?, Asked { report, halted, say: |text| crate::out!("{text}") })
}

/// Asks for SIGTERM at the parent's death; an error where the parent is gone already.
pub(super) fn end_with(parent: i32) -> Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let failed = |e: &dyn std::fmt::Display| {
        Error::run("parent process", e, "start it from a process that stays, or without asking for this")
    };
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|e| failed(&e))?;
    // It may have died before the signal was asked for.
    match getppid() {
        Some(pid) if pid.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(failed(&format!("{parent} is gone"))),
    }
}

/// Arguments of `pillion check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Checked<'a> {
    /// `run` would start, once the lanes that live have stopped.
    ok: bool,
    lanes: Vec<CheckedLane<'a>>,
    /// Who else spins on the lanes' CPUs.
    shared_cpus: &'a [String],
    memory: &'a Reckoned,
}

#[derive(Serialize)]
struct CheckedLane<'a> {
    lane: &'a str,
    core: usize,
    /// The process that holds the lane now: `run` would be refused until it stops.
    held_by: Option<u32>,
    /// Whether a HALT is recorded, so that the lane would come up halted.
    halt_recorded: bool,
    models: Vec<String>,
}

/// Does all that `run` does before it touches a region, and stops. Lanes that live are left alone.
pub fn check(args: &CheckArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let ready = prepare::to_check(&config)?;
    prepare::try_locking(&config)?;
    let places = halt::Places::of_sidecar(&config.process.state_dir);
    if args.json {
        let checked = checked(&ready, &places);
        let text = serde_json::to_string(&checked).map_err(|e| Error::run("check", e, "report this as a bug"))?;
        crate::outln!("{text}");
        return Ok(());
    }
    crate::out!("{}", banner::banner(&config, &ready));
    for lane in &ready.lanes {
        for found in places.find(&lane.config.name).unwrap_or_default() {
            crate::outln!("halt      lane {} would come up halted: HALT in force {found}", lane.config.name);
        }
    }
    for (lane, pid) in &ready.live {
        crate::outln!("live      lane {lane} is held by process {pid}: `run` would be refused until that stops");
    }
    let when = if ready.live.is_empty() { "" } else { " then" };
    crate::outln!("ok        `pillion run --config {}` would start{when}", args.config.display());
    Ok(())
}

fn checked<'a>(ready: &'a Ready, places: &halt::Places) -> Checked<'a> {
    let lane = |lane: &'a prepare::Prepared| {
        let name = lane.config.name.as_str();
        CheckedLane {
            lane: name,
            core: lane.core,
            held_by: ready.live.iter().find(|(live, _)| live == name).map(|(_, pid)| *pid),
            halt_recorded: places.find(name).is_ok_and(|found| !found.is_empty()),
            models: lane.models.iter().map(|m| format!("{} r{}", m.manifest.name, m.manifest.revision)).collect(),
        }
    };
    Checked {
        ok: true,
        lanes: ready.lanes.iter().map(lane).collect(),
        shared_cpus: &ready.shared,
        memory: &ready.memory,
    }
}
