//! `pillion sweep`: latency against load, up to the knee.

use super::replay::PlayArgs;
use crate::cold::lab::outputs::Outputs;
use crate::cold::lab::sweep::{SweepArgs, sweep};
use crate::cold::report::{Step, SweepReport};
use crate::cold::table::thousands;
use crate::error::Result;

/// A run of a sweep lasts this long unless `--for` says otherwise, ns.
const FOR_NS: u64 = 2_000_000_000;

/// Arguments of `pillion sweep`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    play: PlayArgs,
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    outputs: Outputs,
}

/// Sweeps and prints a line per step.
pub fn run(args: &Args) -> Result<()> {
    let mut play = args.play.clone();
    play.for_ns.get_or_insert(FOR_NS);
    let (config, feed) = play.load()?;
    let open = args.outputs.open()?;
    crate::outln!("{HEAD}");
    let report = sweep(&play, &args.sweep, &config, &feed, |step| crate::outln!("{}", line(step)))?;
    crate::outln!("{}", knee(&report));
    open.write(&report)
}

/// Head of the lines of steps.
pub const HEAD: &str =
    "     ticks/s  verdict      p50 us   p99 us p99.9 us   max us  seen p99     busy   (from when each tick was due)";

/// A step for people.
pub fn line(step: &Step) -> String {
    let us = |ns: u64| format!("{:>8.1}", ns as f64 / 1e3);
    let verdict = match (step.verdict.held, step.within) {
        (true, true) => "PASS",
        (true, false) => "over",
        (false, _) => "FAIL",
    };
    let c = &step.corrected;
    format!(
        "{:>12}  {verdict:<8} {} {} {} {} {:>9} {:>7.1} %",
        thousands(step.asked_per_second as u64),
        us(c.p50_ns),
        us(c.p99_ns),
        us(c.p999_ns),
        us(c.max_ns),
        us(step.seen.p99_ns).trim_start(),
        step.utilisation * 100.0
    )
}

/// The knee in words.
pub fn knee(report: &SweepReport) -> String {
    let bound = report.bound_ns / 1_000;
    match (report.knee_per_second, report.knee_is_bracketed) {
        (Some(knee), true) => format!("knee: {} ticks/s within p99 <= {bound} us", thousands(knee as u64)),
        (Some(knee), false) => {
            format!("no knee up to {} ticks/s: p99 stayed within {bound} us", thousands(knee as u64))
        }
        (None, _) => format!("not even the lowest rate stayed within p99 <= {bound} us"),
    }
}
