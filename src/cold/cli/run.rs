//! `pillion run` and `pillion check`.

use std::path::PathBuf;

use crate::cold::{banner, config::Config, prepare, sidecar};
use crate::error::Result;

/// Arguments of `pillion run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file; config/default.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write the run's report as JSON when it ends
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the sidecar until it is stopped.
pub fn run(args: &RunArgs) -> Result<()> {
    sidecar::serve(&Config::load(&args.config)?, args.report.as_deref())
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
    print!("{}", banner::banner(&config, &prepared));
    println!("ok        `pillion run --config {}` would start", args.config.display());
    Ok(())
}
