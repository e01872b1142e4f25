//! `pillion ab`.

use std::path::PathBuf;

use super::args::one_of;
use super::compare::percent;
use super::recording::FactsArgs;
use crate::data::OutputFile;
use crate::data::json::write_json;
use crate::error::{Error, Result};
use crate::lab::ab::child::{Children, absolute};
use crate::lab::ab::{Plan, Side, session};
use crate::lab::alike::Allow;
use crate::lab::columns::Metric;
use crate::lab::finding::Rule;

/// Exit codes, as `--help` prints them.
pub const EXIT_CODES: &str =
    "Verdicts: slower or faster when the whole 99 % interval of the ratio lies beyond the margin, no
difference seen when it lies within, else undecided. Fewer than 8 pairs decide nothing; pairs are
looked at a few times, fixed beforehand, and a session that breaks off between decides nothing.
Equal builds are called slower or faster in under 5 % of simulated sessions, for each metric, at the
default numbers of pairs.

Exit codes:
  0  done, whatever the verdicts, unless:
  1  a metric is slower and its whole interval over --bound; signals differ; a run died or could
     not be used; too many runs failed to hold their rate; interrupted
  2  refused: arguments, binaries, or reports that differ in what must be equal";

/// Arguments of `pillion ab`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Binary to hold against
    #[arg(long, value_name = "BIN")]
    a: PathBuf,
    /// Binary that is judged
    #[arg(long, value_name = "BIN")]
    b: PathBuf,
    /// Configuration file of one lane, for both; stamps = "full" lets the stage be named that changed
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Recording, for both
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    facts: FactsArgs,
    /// Rate, as `replay` takes it; one that both hold with room to spare
    #[arg(long, default_value = "20000/s")]
    rate: String,
    /// Pairs, MIN..MAX: the first look is after MIN (but 8 at least), the last after MAX
    #[arg(long, default_value = "8..30", value_name = "MIN..MAX", value_parser = pairs)]
    pairs: (usize, usize),
    /// Fewest pairs, in place of MIN
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    min_pairs: Option<u64>,
    /// Most pairs, in place of MAX
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    max_pairs: Option<u64>,
    /// Differences up to this are none, percent
    #[arg(long, default_value = "2", value_name = "PCT", value_parser = percent)]
    margin: f64,
    /// STAGE:PERCENTILE that is judged; can be repeated
    #[arg(long, value_name = "METRIC", default_values = ["tick_to_signal:p50", "tick_to_signal:p99"])]
    metric: Vec<Metric>,
    /// Slower by more than this is exit code 1, percent; left out: the margin
    #[arg(long, value_name = "PCT", value_parser = percent)]
    bound: Option<f64>,
    /// Seed of the resampling
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most runs that may fail to hold their rate and be repeated, in all
    #[arg(long, default_value_t = 10, value_name = "N")]
    max_failed: usize,
    /// Go on although these differ between A and B
    #[arg(long, value_delimiter = ',', value_name = "WHAT", value_parser = one_of(&Allow::ALL, Allow::name, Allow::meaning))]
    allow: Vec<Allow>,
    /// Keep every run's report in this folder, which must be empty or new
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the session as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs both binaries in pairs and judges.
pub fn run(args: &Args) -> Result<()> {
    let plan = plan(args)?;
    let json = args.json.as_ref().map(OutputFile::create).transpose()?;
    let mut children = Children::new(&plan)?;
    let (report, error) = session(&plan, &mut children, &mut |line| crate::errln!("{line}"))?;
    crate::out!("{}", report.text());
    json.map_or(Ok(()), |file| write_json(file, &report))?;
    if let Some(error) = error {
        return Err(error);
    }
    if report.regressions.is_empty() {
        return Ok(());
    }
    let mend = "look at the stage that grew; --keep DIR keeps every run's report";
    Err(Error::run(format!("B ({})", report.b.path), report.regressions.join("; "), mend))
}

fn plan(args: &Args) -> Result<Plan> {
    let (min, max) = args.pairs;
    let min_pairs = args.min_pairs.map_or(min, |n| n as usize);
    let max_pairs = args.max_pairs.map_or(max.max(min_pairs), |n| n as usize);
    if min_pairs > max_pairs && args.min_pairs.is_some() {
        let problem = format!("--min-pairs {min_pairs} is over the most pairs, {max_pairs}");
        return Err(Error::input("ab", problem, "raise --max-pairs or lower --min-pairs"));
    }
    if !(args.margin > 0.0 && args.margin < 100.0) {
        let problem = format!("--margin {}: no run is within it", args.margin);
        return Err(Error::input("ab", problem, "give a percentage above 0 and below 100"));
    }
    if args.allow.contains(&Allow::Failed) {
        let problem = "--allow failed: runs that did not hold their rate are repeated, never used";
        return Err(Error::input("ab", problem, "lower --rate, or raise --max-failed"));
    }
    Ok(Plan {
        binaries: [absolute(Side::A, &args.a)?, absolute(Side::B, &args.b)?],
        config: args.config.clone(),
        input: args.input.clone(),
        instruments: args.facts.instruments.clone(),
        guess: args.facts.guess,
        rate: args.rate.clone(),
        metrics: args.metric.clone(),
        rule: Rule { margin: args.margin / 100.0, min_pairs: min_pairs.min(max_pairs), max_pairs, seed: args.seed },
        bound: args.bound.unwrap_or(args.margin) / 100.0,
        max_failed: args.max_failed,
        allow: args.allow.clone(),
        keep: args.keep.clone(),
    })
}

/// `MIN..MAX`, or a single number for both.
fn pairs(text: &str) -> std::result::Result<(usize, usize), String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    match (min.parse::<usize>(), max.parse::<usize>()) {
        (Ok(min), Ok(max)) if 1 <= min && min <= max && max <= 1000 => Ok((min, max)),
        _ => Err(format!("\"{text}\" is no number of pairs: write MIN..MAX, such as 8..30, from 1 to 1000")),
    }
}
