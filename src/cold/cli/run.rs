//! `pillion run` and `pillion check`.

use std::path::PathBuf;

use crate::cold::sidecar::ReportTo;
use crate::cold::{banner, config::Config, prepare, sidecar};
use crate::error::{Error, Result};

/// Arguments of `pillion run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file; config/default.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write the run's report as JSON when it ends, and now and then before: 10 s after the start, later every 5 minutes
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
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
    sidecar::serve(&Config::load(&args.config)?, report)
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
}

/// Does all that `run` does before it touches a region, and stops.
pub fn check(args: &CheckArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let prepared = prepare::prepare(&config)?;
    prepare::try_locking(&config, &prepared)?;
    crate::out!("{}", banner::banner(&config, &prepared));
    crate::outln!("ok        `pillion run --config {}` would start", args.config.display());
    Ok(())
}
