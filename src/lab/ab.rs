//! `pillion ab`: two binaries replay the same recording in turns, and paired ratios say whether one is slower.
//!
//! [`session`] is the procedure, over whatever runs the replays; [`child`] runs them as processes. How verdicts are
//! reached, and how often they are wrong, is in [`super::finding`].

pub mod child;
mod judge;
mod session;
mod text;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alike::{Allow, Difference};
use super::columns::Metric;
use super::finding::{Finding, Rule};
use super::stats::Range;
use crate::error::Result;
use crate::report::{Build, Host, ReplayReport, Stages};

pub use session::session;

/// Version of what `pillion ab --json` writes.
pub const SCHEMA_VERSION: u32 = 1;

/// What to run and how to judge it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Binary A, then B.
    pub binaries: [PathBuf; 2],
    /// Configuration of both.
    pub config: PathBuf,
    /// Recording of both.
    pub input: PathBuf,
    /// What states the instruments' units, as `replay --instruments` takes it.
    pub instruments: Option<PathBuf>,
    /// Whether `replay --guess` guesses what nothing states.
    pub guess: bool,
    /// Rate of both, as `replay --rate` takes it.
    pub rate: String,
    /// What is judged; at least one.
    pub metrics: Vec<Metric>,
    /// How.
    pub rule: Rule,
    /// Slower by more than this share is a regression: 0.02 is 2 %.
    pub bound: f64,
    /// Most runs that may fail to hold their rate and be repeated, over the whole session.
    pub max_failed: usize,
    /// What may differ between A's and B's reports.
    pub allow: Vec<Allow>,
    /// Folder that keeps every run's report.
    pub keep: Option<PathBuf>,
}

/// Which binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What B is held against.
    A,
    /// What is judged.
    B,
}

impl Side {
    /// `A` or `B`.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// How a replay ended.
pub enum Ran {
    /// With a report, of a run that held its rate or did not.
    Report(Box<ReplayReport>),
    /// The user wants an end.
    Interrupted,
}

/// Whatever replays with a binary.
pub trait Runner {
    /// One replay. `name` is the run's own, fit for a file name.
    fn run(&mut self, side: Side, name: &str) -> Result<Ran>;
}

/// What `pillion ab --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AbReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it began, UTC, RFC 3339.
    pub started: String,
    /// Binary A.
    pub a: Binary,
    /// Binary B.
    pub b: Binary,
    /// Machine.
    pub host: Host,
    /// Its grade by `pillion doctor`, where A's first report has one.
    pub grade: Option<String>,
    /// Configuration file.
    pub config: String,
    /// Recording.
    pub input: String,
    /// BLAKE3 of its bytes.
    pub input_blake3: String,
    /// Rate.
    pub rate: String,
    /// Engines in use.
    pub engine: String,
    /// Stamps mode: stages are there with `full` only.
    pub stamps: String,
    /// How verdicts are reached.
    pub rule: Rule,
    /// Equivalence margin, percent.
    pub margin_percent: f64,
    /// Level of the intervals.
    pub level: f64,
    /// Resamples of an interval.
    pub resamples: usize,
    /// Numbers of pairs at which a decision could fall.
    pub looks: Vec<usize>,
    /// Slower by more than this is a regression, percent.
    pub bound_percent: f64,
    /// What differs between the first reports and was allowed to.
    pub differences: Vec<Difference>,
    /// Whether every run published the signals of A's first.
    pub same_signals: bool,
    /// Pairs thrown away to warm the machine up.
    pub warm_up_pairs: usize,
    /// Runs that did not hold their rate and were repeated.
    pub failed: Vec<FailedRun>,
    /// The pairs, in the order they were made.
    pub pairs: Vec<Pair>,
    /// What was judged.
    pub metrics: Vec<MetricResult>,
    /// Every percentile of every stage that all runs counted.
    pub stages: Vec<StageResult>,
    /// Metrics that are slower beyond the bound.
    pub regressions: Vec<String>,
    /// Why there are no more pairs.
    pub ended: Ended,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Every metric was decided.
    Decided,
    /// There were as many pairs as allowed.
    Cap,
    /// The user ended it.
    Interrupted,
    /// A run could not be used; the error says why.
    Error,
}

/// One side.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Binary {
    /// Path.
    pub path: String,
    /// What it says it was built from.
    pub build: Build,
    /// BLAKE3 of its first signals.
    pub signals_blake3: String,
}

/// A run that did not hold its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedRun {
    /// Whose.
    pub side: Side,
    /// Name of the run.
    pub run: String,
    /// Why.
    pub reasons: Vec<String>,
}

/// Two runs that are held against each other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// Which went first.
    pub first: Side,
    /// Percentiles of A's run: the lane's stages and the reader's columns.
    pub a: Stages,
    /// Of B's.
    pub b: Stages,
}

/// What the pairs say of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricResult {
    /// `STAGE:PERCENTILE`.
    pub metric: String,
    /// Median over A's runs, ns.
    pub a_ns: f64,
    /// Over B's.
    pub b_ns: f64,
    /// Median of the pairs' ratios, B over A.
    pub ratio: f64,
    /// Its interval; `None` of a single pair. Of fewer than [`super::finding::FEWEST`] pairs its level is lower than stated.
    pub interval: Option<Range>,
    /// Verdict.
    pub finding: Finding,
    /// Stages whose change at the same percentile cannot be noise, largest first: the same way where faster or slower, either
    /// way and beyond the margin where undecided.
    pub changed: Vec<Change>,
}

/// A stage that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Stage.
    pub stage: String,
    /// Percentile.
    pub percentile: String,
    /// Median of the pairs' differences, B less A, ns.
    pub change_ns: f64,
    /// Its interval.
    pub interval: Range,
}

/// A percentile of a stage over all pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// Stage.
    pub stage: String,
    /// Percentile.
    pub percentile: String,
    /// Median over A's runs, ns.
    pub a_ns: f64,
    /// Over B's.
    pub b_ns: f64,
    /// Median of the pairs' ratios.
    pub ratio: f64,
    /// Its interval.
    pub ratio_interval: Option<Range>,
    /// Median of the pairs' differences, B less A, ns.
    pub change_ns: f64,
    /// Its interval.
    pub change_interval: Option<Range>,
}
