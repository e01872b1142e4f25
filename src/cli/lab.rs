//! `pillion lab`: a recording in every load model, a sweep to the knee, and one report of all.

use std::time::Duration;

use super::args::OutputArgs;
use super::replay::{PlayArgs, summary};
use super::sweep::{HEAD, SweepArgs, knee, line};
use crate::config::Config;
use crate::data::Feed;
use crate::error::{Error, Result};
use crate::host::doctor::{self, Diagnosis};
use crate::lab::pace::Rate;
use crate::lab::sweep::sweep;
use crate::report::{Build, Host, LabReport, ReplayReport, SCHEMA_VERSION, SweepReport, now_utc};

/// A run lasts this long at most unless `--for` says otherwise, ns.
const FOR_NS: u64 = 10_000_000_000;

/// A run of the sweep, ns.
const STEP_NS: u64 = 2_000_000_000;

/// How long the host's holes are looked for.
const PROBE: Duration = Duration::from_secs(2);

/// Arguments of `pillion lab`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    play: PlayArgs,
    /// Load models, each a run
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "RATE",
        default_value = "max,flood,closed,realtime,x200,20000/s,poisson:20000/s,burst:100@100/s"
    )]
    rates: Vec<Rate>,
    /// Slots of the tick ring while it is flooded: few enough that a recording can overflow them
    #[arg(long, default_value_t = 4096, value_name = "N")]
    flood_slots: u64,
    /// Leave the sweep out
    #[arg(long)]
    no_sweep: bool,
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    outputs: OutputArgs,
}

/// Runs all of it.
pub fn run(args: &Args) -> Result<()> {
    let (config, feed) = args.play.load()?;
    let flood = flood_config(&config, args.flood_slots)?;
    let open = args.outputs.open()?;
    let mut play = args.play.clone();
    play.for_ns.get_or_insert(FOR_NS);
    let mut runs = Vec::with_capacity(args.rates.len());
    for rate in &args.rates {
        crate::outln!("\n== rate {rate}");
        let config = if *rate == Rate::Flood { &flood } else { &config };
        let report = play.replay(config, &feed, *rate)?;
        crate::out!("{}", summary(&report));
        runs.push(report);
    }
    let core = runs.first().map(|run| run.lane.core);
    let doctor = core.map(|core| doctor::diagnose(core, PROBE));
    let sweep = if args.no_sweep { None } else { Some(knee_of(args, &config, &feed)?) };
    let lab = report(args, runs, doctor, sweep);
    open.write(&lab)
}

/// The sweep, its steps printed as they end.
fn knee_of(args: &Args, config: &Config, feed: &Feed) -> Result<SweepReport> {
    let mut play = args.play.clone();
    play.for_ns.get_or_insert(STEP_NS);
    crate::outln!("\n== sweep\n{HEAD}");
    let report = sweep(
        &args.sweep.plan(),
        config,
        feed,
        |rate| play.replay(config, feed, rate),
        |step| crate::outln!("{}", line(step)),
    )?;
    crate::outln!("{}", knee(&report));
    Ok(report)
}

/// The configuration with the flood's ring.
fn flood_config(config: &Config, slots: u64) -> Result<Config> {
    if !slots.is_power_of_two() || !(64..=1 << 28).contains(&slots) {
        let problem = format!("{slots} is not a power of two from 64 to 2^28");
        return Err(Error::input("--flood-slots", problem, "write for example 4096"));
    }
    let mut flood = config.clone();
    flood.feed.slots = slots;
    Ok(flood)
}

fn report(args: &Args, runs: Vec<ReplayReport>, doctor: Option<Diagnosis>, sweep: Option<SweepReport>) -> LabReport {
    LabReport {
        schema_version: SCHEMA_VERSION,
        title: format!("Latency lab: {}", args.play.input.file_name().unwrap_or_default().display()),
        made: now_utc(),
        host: Host::this(),
        doctor,
        build: Build::this(),
        runs,
        sweep,
        curves: Vec::new(),
    }
}
