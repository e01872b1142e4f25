//! `pillion compare`.

use std::path::PathBuf;

use super::args::one_of;
use crate::data::OutputFile;
use crate::data::json::write_json;
use crate::error::{Error, Result};
use crate::lab::alike::Allow;
use crate::lab::compare::compare;

/// Exit codes, as `--help` prints them.
pub const EXIT_CODES: &str = "Exit codes:
  0  compared; nothing is shown to be over --bound, or it is undecided: a report has too few time intervals to tell noise by
  1  B is over --bound
  2  refused: a file is no report, a run failed, or the reports differ in what must be equal";

/// Arguments of `pillion compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Report of `pillion replay --json`, or of `pillion run --report`
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The one to hold against it
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// Lane to compare, where reports of live runs have several
    #[arg(long, value_name = "NAME")]
    lane: Option<String>,
    /// Compare although these differ, or a run failed
    #[arg(long, value_delimiter = ',', value_name = "WHAT", value_parser = one_of(&Allow::ALL, Allow::name, Allow::meaning))]
    allow: Vec<Allow>,
    /// Exit with 1 when B's tick_to_signal p50 or p99 (corrected where there) is over A's by more percent than this, the whole 95 % interval of the ratio included; with fewer than 8 time intervals in a report it is undecided
    #[arg(long, value_name = "PCT", value_parser = percent)]
    bound: Option<f64>,
    /// Write the comparison as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Compares and prints the table.
pub fn run(args: &Args) -> Result<()> {
    if args.allow.contains(&Allow::Signals) {
        let problem = "--allow signals: compare says whether signals differ and refuses nothing for it";
        return Err(Error::input("compare", problem, "leave it out"));
    }
    let json = args.json.as_ref().map(OutputFile::create).transpose()?;
    let comparison = compare(&args.a, &args.b, args.lane.as_deref(), &args.allow, args.bound)?;
    crate::out!("{}", comparison.text());
    json.map_or(Ok(()), |file| write_json(file, &comparison))?;
    comparison.verdict()
}

/// A share in percent: from 0, below 1,000.
pub fn percent(text: &str) -> std::result::Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let good = |n: &f64| (0.0..1000.0).contains(n);
    number
        .parse()
        .ok()
        .filter(good)
        .ok_or_else(|| format!("\"{text}\" is no percentage from 0 to below 1000, such as 5"))
}
