//! `pillion sweep`: latency against load, up to the knee.

use super::args::{OutputArgs, one_of};
use super::replay::PlayArgs;
use crate::error::Result;
use crate::lab::pace::Rate;
use crate::lab::sweep::{Arrivals, Plan, sweep};
use crate::report::table::thousands;
use crate::report::{Step, SweepReport};

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
    outputs: OutputArgs,
}

/// Rates and bound of a sweep.
#[derive(Clone, Debug, clap::Args)]
pub struct SweepArgs {
    /// Ticks a second to begin with
    #[arg(long, default_value = "10000", value_name = "N", value_parser = rate)]
    min_rate: f64,
    /// Ticks a second never exceeded
    #[arg(long, default_value = "20000000", value_name = "N", value_parser = rate)]
    max_rate: f64,
    /// Factor from one rate to the next
    #[arg(long, default_value = "2", value_name = "X", value_parser = factor)]
    factor: f64,
    /// Rates tried between the last good and the first bad one, each halving their distance
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=20))]
    refine: u32,
    /// Bound on the 99th percentile of tick_to_signal from when a tick was due, microseconds
    #[arg(long, default_value = "50", value_name = "US", value_parser = microseconds)]
    bound_us: u64,
    /// Arrival of ticks: poisson (independent) or even (equal distances)
    #[arg(long, default_value = "poisson", value_parser = one_of(&Arrivals::ALL, Arrivals::name, Arrivals::meaning))]
    arrivals: Arrivals,
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    let n = text.trim_end_matches("/s");
    match format!("{n}/s").parse()? {
        Rate::PerSecond(n) => Ok(n),
        _ => Err(format!("\"{text}\" is no number of ticks a second")),
    }
}

fn factor(text: &str) -> std::result::Result<f64, String> {
    let bad = || format!("\"{text}\" is no factor: write a number from 1.05 to 100");
    text.parse().ok().filter(|x| (1.05..=100.0).contains(x)).ok_or_else(bad)
}

fn microseconds(text: &str) -> std::result::Result<u64, String> {
    let bad = || format!("\"{text}\" is no bound: write whole microseconds from 1 to 10000000");
    text.parse().ok().filter(|us| (1..=10_000_000).contains(us)).ok_or_else(bad)
}

impl SweepArgs {
    /// The sweep that they ask for.
    pub fn plan(&self) -> Plan {
        let Self { min_rate, max_rate, factor, refine, bound_us, arrivals } = *self;
        Plan { min_rate, max_rate, factor, refine, bound_ns: bound_us * 1_000, arrivals }
    }
}

/// Sweeps and prints a line per step.
pub fn run(args: &Args) -> Result<()> {
    let mut play = args.play.clone();
    play.for_ns.get_or_insert(FOR_NS);
    let (config, feed) = play.load()?;
    let open = args.outputs.open()?;
    crate::outln!("{HEAD}");
    let report = sweep(
        &args.sweep.plan(),
        &config,
        &feed,
        |rate| play.replay(&config, &feed, rate),
        |step| crate::outln!("{}", line(step)),
    )?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        assert!(rate("0").is_err() && rate("nan").is_err() && rate("2e9").is_err() && rate("5000").is_ok());
        assert!(factor("1").is_err() && factor("x").is_err() && factor("1.5").is_ok());
        assert!(microseconds("0").is_err() && microseconds("1.5").is_err() && microseconds("50").is_ok());
    }
}
