//! `pillion synth`: a synthetic market data file.

use std::path::PathBuf;

use crate::Result;
use crate::data::synth::{self, Plan};

/// Write a seeded, deterministic order flow of many instruments, with bursts, as order-level DBN.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Same seed, same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of instruments.
    #[arg(long, default_value_t = 8)]
    pub instruments: u32,
    /// Live events over all instruments.
    #[arg(long, default_value_t = 200_000)]
    pub events: u64,
    /// Mean events per second over all instruments.
    #[arg(long, default_value_t = 5_000)]
    pub events_per_second: u32,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let Args { output, seed, instruments, events, events_per_second } = args;
    let made = synth::write(&output, &Plan { seed, instruments, events, events_per_second })?;
    crate::outln!(
        "{}: {} records ({} of snapshots), {} events, {} trades, {} instruments, {:.1} s of market time",
        output.display(),
        made.records,
        made.snapshot_records,
        made.events,
        made.trades,
        instruments,
        made.span_ns as f64 / 1e9,
    );
    Ok(())
}
