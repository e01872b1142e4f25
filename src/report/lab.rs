//! Reports of several runs: every load model, a sweep to the knee, scale curves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::Diagnosis;
use super::{Build, Host, ReplayReport, Stage};

/// What `pillion lab --json` writes and the HTML page shows; a page of a single replay is one of these with one run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LabReport {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What it is about, one line.
    pub title: String,
    /// When it was made, UTC, RFC 3339.
    pub made: String,
    /// Machine.
    pub host: Host,
    /// Its settings, judged.
    #[serde(default)]
    pub doctor: Option<Diagnosis>,
    /// Binary.
    pub build: Build,
    /// The runs, in the order they were made.
    pub runs: Vec<ReplayReport>,
    /// Latency against load.
    #[serde(default)]
    pub sweep: Option<SweepReport>,
    /// Cost against scale, from `make bench`.
    #[serde(default)]
    pub curves: Vec<Curve>,
}

/// What `pillion sweep --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SweepReport {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it began, UTC, RFC 3339.
    pub started: String,
    /// Machine.
    pub host: Host,
    /// Its settings, judged.
    #[serde(default)]
    pub doctor: Option<Diagnosis>,
    /// Binary.
    pub build: Build,
    /// Path of the input.
    pub input: String,
    /// BLAKE3 of the input file's bytes.
    pub input_blake3: String,
    /// Engines in use.
    pub engine: String,
    /// How ticks arrive: `even` or `poisson`.
    pub arrivals: String,
    /// Bound on the 99th percentile of `tick_to_signal_corrected`, ns.
    pub bound_ns: u64,
    /// The steps, by rising rate.
    pub steps: Vec<Step>,
    /// The highest rate that was held within the bound, ticks a second; `None` when even the lowest was not.
    pub knee_per_second: Option<f64>,
    /// Whether a higher rate was tried and the sidecar failed it: else the knee is only a lower bound, because no higher rate was
    /// tried or the feed could not send faster.
    pub knee_is_bracketed: bool,
}

/// One rate of a sweep.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Ticks a second asked for.
    pub asked_per_second: f64,
    /// Ticks a second published.
    pub offered_per_second: f64,
    /// Whether the rate was held, and why not.
    pub verdict: super::Verdict,
    /// Within the bound and held.
    pub within: bool,
    /// `tick_to_signal`, from the publish stamp.
    pub uncorrected: Stage,
    /// `tick_to_signal_corrected`, from when it was due.
    pub corrected: Stage,
    /// `seen_corrected`.
    pub seen: Stage,
    /// Share of the hot thread's time that was spent working, 0 to 1.
    pub utilisation: f64,
    /// Ticks lost.
    pub lost: u64,
}

/// Cost against one dimension of scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// Short name: `instruments`, `features`, `models`, `readers`, `depth`, `orders`.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Whether x is drawn on a logarithmic axis.
    pub x_log: bool,
    /// Whether y is.
    pub y_log: bool,
    /// The lines.
    pub series: Vec<Series>,
    /// What bends the curve, in words, from what was measured.
    pub bends: String,
}

/// A line of a curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, by rising x.
    pub points: Vec<CurvePoint>,
}

/// A point of a curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// Where.
    pub x: f64,
    /// How much: median over rounds.
    pub y: f64,
    /// Least over rounds.
    pub low: f64,
    /// Most over rounds.
    pub high: f64,
    /// Bytes that a tick's turn may touch at this scale, 0 where that is not what changes.
    pub working_set_bytes: u64,
}
