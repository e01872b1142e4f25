//! `pillion compare`: the reports of two replays, or of two live runs, side by side.

mod text;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alike::{self, Allow, Difference};
use super::blocks::{self, Blocks};
use super::columns::{self, Metric, NAMES, Percentile};
use super::load::{self, Loaded};
use super::stats::Range;
use crate::error::{Error, Result};
use crate::report::{Build, Host, ReplayReport, Verdict};

pub use text::{origin, range};

/// Version of what `pillion compare --json` writes.
pub const SCHEMA_VERSION: u32 = 1;

/// Fewest time intervals of a report that carry a verdict: resampling fewer shows too little of a run's noise.
pub const FEWEST_SPANS: usize = 8;

/// Seed of the resampling: the same two files give the same intervals.
const SEED: u64 = 1;

/// What `pillion compare --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What A is.
    pub a: Side,
    /// What B is.
    pub b: Side,
    /// True when both runs published the same signals, stamps aside; null where signals are not hashed, as in live
    /// runs.
    pub same_signals: Option<bool>,
    /// What differs and was allowed to.
    pub differences: Vec<Difference>,
    /// Counts that differ.
    pub counts: Vec<Count>,
    /// Level of the intervals.
    pub level: f64,
    /// Resamples of an interval.
    pub resamples: usize,
    /// Percentiles, in the order of the hot path.
    pub rows: Vec<Row>,
    /// `--bound`, percent.
    pub bound_percent: Option<f64>,
    /// What is over the bound, one a line.
    pub over_bound: Vec<String>,
    /// What could not be held against the bound, one a line: the reports have too few time intervals to tell noise by.
    #[serde(default)]
    pub undecided: Vec<String>,
}

/// A report's origin.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// File.
    pub file: String,
    /// When the run began.
    pub started: String,
    /// A lane of a live run: it held no rate, and its signals are not hashed.
    #[serde(default)]
    pub live: bool,
    /// Whether it held its rate.
    pub verdict: Verdict,
    /// Machine.
    pub host: Host,
    /// Its grade by `pillion doctor`, where the report has one.
    pub grade: Option<String>,
    /// Binary.
    pub build: Build,
    /// BLAKE3 of its signals.
    pub signals_blake3: String,
    /// Signals that its reader lost, which are not in that hash.
    pub signals_lost_by_reader: u64,
}

/// A count that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// Which.
    pub name: String,
    /// In A.
    pub a: u64,
    /// In B.
    pub b: u64,
}

/// A percentile of a stage in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Stage.
    pub stage: String,
    /// `p50`, `p90`, `p99` or `p99.9`.
    pub percentile: String,
    /// In A, ns; `None` where it counted none.
    pub a_ns: Option<u64>,
    /// In B, ns.
    pub b_ns: Option<u64>,
    /// B over A, each at least 1 ns.
    pub ratio: Option<f64>,
    /// Interval of that ratio from the noise within both runs; `None` where a report has fewer than two time intervals.
    pub interval: Option<Range>,
    /// Time intervals with counts, in the report that has fewer.
    #[serde(default)]
    pub spans: usize,
}

/// Reads two reports and compares them. Errors: [`load::pair`], runs that failed, and what differs without being in `allow`.
pub fn compare(
    a: &Path,
    b: &Path,
    lane: Option<&str>,
    allow: &[Allow],
    bound_percent: Option<f64>,
) -> Result<Comparison> {
    let (a, b) = load::pair(a, b, lane)?;
    let (name_a, name_b) = (a.path.display().to_string(), b.path.display().to_string());
    alike::demand_held(&name_a, &a.report, allow)?;
    alike::demand_held(&name_b, &b.report, allow)?;
    let differences = alike::demand((&name_a, &a.report), (&name_b, &b.report), allow)?;
    let mut rows = Vec::new();
    for name in NAMES {
        rows.extend(stage_rows(&a, &b, name)?);
    }
    let mut made = Comparison {
        schema_version: SCHEMA_VERSION,
        a: side(&a),
        b: side(&b),
        same_signals: same_signals(&a.report, &b.report),
        differences,
        counts: counts(&a.report, &b.report),
        level: blocks::LEVEL,
        resamples: blocks::RESAMPLES,
        rows,
        bound_percent,
        over_bound: Vec::new(),
        undecided: Vec::new(),
    };
    if let Some(percent) = bound_percent {
        (made.over_bound, made.undecided) = made.judge(percent)?;
    }
    Ok(made)
}

fn same_signals(a: &ReplayReport, b: &ReplayReport) -> Option<bool> {
    let hashed = !a.signals_blake3.is_empty() && !b.signals_blake3.is_empty();
    hashed.then(|| a.signals_blake3 == b.signals_blake3)
}

fn side(loaded: &Loaded) -> Side {
    let r = &loaded.report;
    Side {
        file: loaded.path.display().to_string(),
        started: r.started.clone(),
        live: r.live,
        verdict: r.verdict.clone(),
        host: r.host.clone(),
        grade: r.doctor.as_ref().map(|d| d.grade.clone()),
        build: r.build.clone(),
        signals_blake3: r.signals_blake3.clone(),
        signals_lost_by_reader: r.signals_lost_by_reader,
    }
}

fn counts(a: &ReplayReport, b: &ReplayReport) -> Vec<Count> {
    let of = |r: &ReplayReport| {
        [
            ("ticks", r.ticks),
            ("events", r.events),
            ("signals", r.signals),
            ("gaps", r.gaps),
            ("lost", r.lost),
            ("rejects", r.rejects),
            ("conflated", r.conflated),
            ("invalid", r.invalid),
            ("late_ticks", r.late_ticks),
        ]
    };
    let both = of(a).into_iter().zip(of(b));
    both.filter(|(a, b)| a != b).map(|((name, a), (_, b))| Count { name: name.into(), a, b }).collect()
}

/// The percentiles of one stage; none where neither report counted it.
fn stage_rows(a: &Loaded, b: &Loaded, name: &'static str) -> Result<Vec<Row>> {
    let (in_a, in_b) = (columns::stage(&a.report, name), columns::stage(&b.report, name));
    if in_a.is_none() && in_b.is_none() {
        return Ok(Vec::new());
    }
    let (intervals, spans) = if in_a.is_some() && in_b.is_some() {
        let quantiles = Percentile::ALL.map(Percentile::quantile);
        let (a, b) = (decode(a, name)?, decode(b, name)?);
        (blocks::ratios(&a, &b, quantiles, SEED), a.filled().min(b.filled()))
    } else {
        ([None; 4], 0)
    };
    let row = |(percentile, interval): (Percentile, Option<Range>)| {
        let (a_ns, b_ns) = (in_a.map(|s| percentile.of(&s)), in_b.map(|s| percentile.of(&s)));
        let ratio = a_ns.zip(b_ns).map(|(a, b)| ratio(a, b));
        Row { stage: name.into(), percentile: percentile.name().into(), a_ns, b_ns, ratio, interval, spans }
    };
    Ok(Percentile::ALL.into_iter().zip(intervals).map(row).collect())
}

/// B over A; what is below the clock's step counts as 1 ns.
pub(super) fn ratio(a_ns: u64, b_ns: u64) -> f64 {
    b_ns.max(1) as f64 / a_ns.max(1) as f64
}

fn decode(loaded: &Loaded, stage: &str) -> Result<Blocks> {
    Blocks::decode(columns::intervals(&loaded.report, stage), stage)
        .map_err(|e| Error::input(loaded.path.display(), e, "replay again: the file was changed after it was written"))
}

impl Comparison {
    fn row(&self, metric: Metric) -> Option<&Row> {
        self.rows.iter().find(|r| r.stage == metric.stage && r.percentile == metric.percentile.name())
    }

    /// What is over the bound, and what is undecided: p50 and p99 of `tick_to_signal_corrected`, or of `tick_to_signal` where a
    /// report has no due times. Over is a percentile whose ratio is above the bound and whose interval lies above it whole. Where
    /// there are fewer than [`FEWEST_SPANS`] time intervals the noise is not known, and so neither is anything else. An error
    /// where neither report has signals: there is nothing to hold against the bound.
    fn judge(&self, percent: f64) -> Result<(Vec<String>, Vec<String>)> {
        let of = |stage| [Percentile::P50, Percentile::P99].map(|percentile| self.row(Metric { stage, percentile }));
        let both = |rows: &[Option<&Row>; 2]| rows.iter().all(|row| row.is_some_and(|row| row.ratio.is_some()));
        let stages = ["tick_to_signal_corrected", "tick_to_signal"];
        let Some(rows) = stages.into_iter().map(of).find(both) else {
            let problem = "cannot be held against --bound: there is no tick_to_signal in both reports";
            return Err(Error::input(&self.b.file, problem, "replay with at least one model"));
        };
        let limit = 1.0 + percent / 100.0;
        let known = |row: &&Row| row.interval.filter(|_| row.spans >= FEWEST_SPANS);
        let over = |row: &&Row| known(row).is_some_and(|range| range.low > limit) && row.ratio > Some(limit);
        let said = |rows: Vec<&Row>| rows.into_iter().map(|row| text::held_against(row, percent)).collect();
        let rows: Vec<&Row> = rows.into_iter().flatten().collect();
        let (over, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(over);
        Ok((said(over), said(rest.into_iter().filter(|row| known(row).is_none()).collect())))
    }

    /// An error where something is over the bound.
    pub fn verdict(&self) -> Result<()> {
        if self.over_bound.is_empty() {
            return Ok(());
        }
        let mend = "look at the stage that grew; `pillion ab` with both binaries tells a regression from noise";
        Err(Error::run(&self.b.file, self.over_bound.join("; "), mend))
    }
}
