//! The columns of a replay's report that comparisons speak of: stages, and percentiles of them.

use std::str::FromStr;

use crate::hot::stamp::STAGE_NAMES;
use crate::report::{Interval, ReplayReport, Stage};

/// Names in the order of tables: the lane's stages, then what the reader saw. The reader's own `tick_to_signal` is the
/// lane's over paced ticks only and is left out.
pub const NAMES: [&str; STAGE_NAMES.len() + 4] = [
    STAGE_NAMES[0],
    STAGE_NAMES[1],
    STAGE_NAMES[2],
    STAGE_NAMES[3],
    STAGE_NAMES[4],
    STAGE_NAMES[5],
    STAGE_NAMES[6],
    "tick_to_signal_corrected",
    "seen",
    "seen_corrected",
    "late",
];

/// The steps of a tick's way: what a change of the whole is put down to.
pub const STEPS: [&str; 6] =
    [STAGE_NAMES[0], STAGE_NAMES[1], STAGE_NAMES[2], STAGE_NAMES[3], STAGE_NAMES[4], STAGE_NAMES[5]];

/// A column of [`NAMES`]; `None` where the report has no counts of it.
pub fn stage(r: &ReplayReport, name: &str) -> Option<Stage> {
    let stages = if STAGE_NAMES.contains(&name) { &r.stages } else { &r.reader.stages };
    stages.get(name).copied().filter(|stage| stage.count > 0)
}

/// The same over time.
pub fn intervals<'a>(r: &'a ReplayReport, name: &str) -> &'a [Interval] {
    if STAGE_NAMES.contains(&name) { &r.lane.intervals } else { &r.reader.intervals }
}

/// The percentiles of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Percentile {
    /// Median.
    P50,
    /// 90th.
    P90,
    /// 99th.
    P99,
    /// 99.9th.
    P999,
}

impl Percentile {
    /// All of them, ascending.
    pub const ALL: [Self; 4] = [Self::P50, Self::P90, Self::P99, Self::P999];

    /// As in tables and `--metric`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }

    /// The share of counts at or below it.
    pub fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }

    /// Of a stage, ns.
    pub fn of(self, stage: &Stage) -> u64 {
        match self {
            Self::P50 => stage.p50_ns,
            Self::P90 => stage.p90_ns,
            Self::P99 => stage.p99_ns,
            Self::P999 => stage.p999_ns,
        }
    }
}

/// A percentile of a stage: `tick_to_signal:p99`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Of [`NAMES`].
    pub stage: &'static str,
    /// Which.
    pub percentile: Percentile,
}

impl Metric {
    /// Its value in a report, ns; `None` where the report has no counts of it.
    pub fn of(self, r: &ReplayReport) -> Option<u64> {
        stage(r, self.stage).map(|stage| self.percentile.of(&stage))
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.stage, self.percentile.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(stage, percentile)| {
            let stage = NAMES.into_iter().find(|name| *name == stage)?;
            let percentile = Percentile::ALL.into_iter().find(|p| p.name() == percentile)?;
            Some(Self { stage, percentile })
        });
        parts.ok_or_else(|| {
            format!(
                "\"{text}\" is no metric: write STAGE:PERCENTILE, STAGE one of {}, PERCENTILE one of p50, p90, p99, p99.9",
                NAMES.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Reader;

    #[test]
    fn metrics_read_and_print() {
        for text in ["tick_to_signal:p50", "features:p99.9", "seen_corrected:p90"] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        for text in ["", "tick_to_signal", "p50", "infer:p95", "nothing:p50", "infer:p50:p90"] {
            assert!(text.parse::<Metric>().unwrap_err().contains("is no metric"), "{text}");
        }
    }

    #[test]
    fn every_column_of_a_report_is_there() {
        assert!(NAMES.starts_with(&STAGE_NAMES));
        assert!(Reader::NAMES.iter().all(|name| NAMES.contains(name)));
        assert!(STAGE_NAMES.starts_with(&STEPS) && STAGE_NAMES.len() == STEPS.len() + 1);
    }
}
