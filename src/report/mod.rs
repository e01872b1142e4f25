//! What a run leaves behind: the JSON of `pillion replay`, `lab` and `sweep` and of `pillion run --report`, version
//! [`SCHEMA_VERSION`]. These types are the schema: `pillion report --schema` prints them as JSON Schema.

pub mod hdr;
pub mod host;
mod lab;
mod replay;
mod sidecar;
pub mod table;
mod tail;
pub mod tail_text;
pub mod timeline;

pub use host::Host;
pub use lab::{Curve, CurvePoint, LabReport, Series, Step, SweepReport};
pub use replay::{Flood, Interval, Reader, ReplayReport, Verdict};
pub use sidecar::SidecarReport;
pub use tail::{Cause, HostTotals, Looks, Shares, TailReport, TailTick};

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use pillion_shm::{Counters, StageSummary, signal_flags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hot::book::{Applied, NotWhole};
use crate::hot::decode::Reject;
use crate::hot::grid::OffGrid;
use crate::hot::stamp::{MAX_NS, STAGE_NAMES, STAGES};
use crate::hot::{Counts, StageSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Version of the report's schema; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// Percentiles of one stage, ns; all 0 when `count` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Spans counted.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// 99.99th percentile.
    pub p9999_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

impl Stage {
    /// Percentiles of a histogram.
    pub fn of(h: &Histogram<u64>) -> Self {
        if h.is_empty() {
            return Self::default();
        }
        let at = |q| h.value_at_quantile(q);
        Self {
            count: h.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: h.max(),
        }
    }
}

impl From<Stage> for StageSummary {
    fn from(s: Stage) -> Self {
        Self {
            count: s.count,
            p50: s.p50_ns,
            p90: s.p90_ns,
            p99: s.p99_ns,
            p999: s.p999_ns,
            p9999: s.p9999_ns,
            max: s.max_ns,
        }
    }
}

impl From<StageSummary> for Stage {
    fn from(s: StageSummary) -> Self {
        let StageSummary { count, p50, p90, p99, p999, p9999, max } = s;
        Self { count, p50_ns: p50, p90_ns: p90, p99_ns: p99, p999_ns: p999, p9999_ns: p9999, max_ns: max }
    }
}

/// Non-empty buckets of a histogram, ascending: longest latency of the bucket in ns, and its count.
pub type Buckets = Vec<(u64, u64)>;

/// Stages by name.
pub type Stages = BTreeMap<String, Stage>;

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The non-empty buckets of a histogram.
pub fn buckets(h: &Histogram<u64>) -> Buckets {
    h.iter_recorded().map(|b| (b.value_iterated_to(), b.count_since_last_iteration())).collect()
}

/// All that a lane's stages counted since its start.
#[derive(Clone, Debug)]
pub struct Totals {
    stages: [Histogram<u64>; STAGES],
    /// Turns of ticks of before the start, which no `wait` was counted of.
    history: u64,
}

impl Default for Totals {
    fn default() -> Self {
        let empty = Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds");
        Self { stages: std::array::from_fn(|_| empty.clone()), history: 0 }
    }
}

impl Totals {
    /// Adds a filled set.
    pub fn add(&mut self, set: &StageSet) {
        for (i, total) in self.stages.iter_mut().enumerate() {
            total.add(set.stage(i)).expect("both sides have the same bounds");
        }
        self.history = set.counts.catching_up;
    }

    /// The histograms in stage order.
    pub fn histograms(&self) -> impl Iterator<Item = &Histogram<u64>> {
        self.stages.iter()
    }

    /// The histogram of a stage.
    pub fn stage(&self, stage: usize) -> &Histogram<u64> {
        &self.stages[stage]
    }

    /// Turns that read a tick.
    pub fn turns(&self) -> u64 {
        self.stages[0].len() + self.history
    }

    /// Percentiles in stage order.
    pub fn summaries(&self) -> [StageSummary; STAGES] {
        std::array::from_fn(|i| Stage::of(&self.stages[i]).into())
    }

    /// Non-empty buckets by name: longest latency of the bucket in ns, and its count.
    pub fn buckets(&self) -> BTreeMap<String, Buckets> {
        STAGE_NAMES.iter().zip(&self.stages).map(|(name, h)| ((*name).to_owned(), buckets(h))).collect()
    }

    /// Percentiles by name.
    pub fn stages(&self) -> Stages {
        STAGE_NAMES.iter().zip(&self.stages).map(|(name, h)| ((*name).to_owned(), Stage::of(h))).collect()
    }
}

/// A model in use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelInUse {
    /// Name in its manifest.
    pub name: String,
    /// Revision in its manifest.
    pub revision: u32,
    /// SHA-256 of model.onnx, hex.
    pub sha256: String,
    /// Engine that serves it.
    pub engine: String,
    /// Instruction set of that engine.
    pub isa: String,
    /// Runtime and its version.
    pub runtime: String,
    /// Engines tried at start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<EngineTried>,
}

/// An engine that could have served a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineTried {
    /// Its name.
    pub engine: String,
    /// Whether it may serve.
    pub admitted: bool,
    /// Why it may not: operator and node, or the row on which it differs from ONNX Runtime.
    pub reason: Option<String>,
    /// Largest absolute difference from ONNX Runtime on golden and ordinary rows.
    pub max_abs_err: Option<f32>,
    /// Median of a run at start, ns.
    pub p50_ns: Option<u64>,
    /// 99th percentile, ns.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile, ns.
    pub p999_ns: Option<u64>,
    /// What was prepared between two runs, 99th percentile, ns; only of models with something to prepare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_p99_ns: Option<u64>,
}

/// One lane's side of a run, written by the sidecar.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LaneReport {
    /// Lane name.
    pub lane: String,
    /// `stopped`; `boot` or `running` in a report written before the end; `fail` when the hot thread panicked (counts are then the control page's last); `refused` when the
    /// feed's ring could not be used.
    pub end: String,
    /// Records read.
    pub ticks: u64,
    /// Event ends outside snapshots.
    pub events: u64,
    /// Signals published.
    pub signals: u64,
    /// Times the sidecar was lapped.
    pub gaps: u64,
    /// Records lost to lapping.
    pub lost: u64,
    /// Records refused.
    pub rejects: u64,
    /// Records refused, by reason; only reasons that occurred.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// Gaps at which the tick ring contradicted itself: somebody scribbled over it.
    #[serde(default)]
    pub corrupt: u64,
    /// Book updates by outcome; only outcomes that occurred.
    pub book: BTreeMap<String, u64>,
    /// Triggers left out by conflation.
    pub conflated: u64,
    /// Invalid signals.
    pub invalid: u64,
    /// Feed restarts noticed.
    pub generation_changes: u64,
    /// Stamps mode.
    pub stamps: String,
    /// Trigger.
    pub trigger: String,
    /// Feature set and its hash.
    pub features: FeaturesInUse,
    /// Models in publishing order.
    pub models: Vec<ModelInUse>,
    /// SHA-256 of the ONNX Runtime library that was loaded, hex; none where no model needed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime_sha256: Option<String>,
    /// CPU of the hot thread.
    pub core: usize,
    /// Whether the process's memory was locked.
    pub locked: bool,
    /// Bytes of book and feature state per instrument.
    pub state_bytes_per_instrument: u64,
    /// The hot thread's time: idle, working, housekeeping, preparing, ns.
    pub regimes_ns: [u64; 4],
    /// Runs that did on the clock what an idle lane would have prepared.
    pub unprepared: u64,
    /// Percentiles per stage.
    pub stages: Stages,
    /// The histograms themselves: per stage its non-empty buckets as [upper bound in ns, count].
    pub histograms: BTreeMap<String, Buckets>,
    /// The same over time: consecutive spans of the run, each with the histograms of what ended in it.
    #[serde(default)]
    pub intervals: Vec<Interval>,
    /// Orders and quotes whose price is no multiple of their instrument's tick size: the tick size is not the venue's.
    #[serde(default)]
    pub off_grid: u64,
    /// Trades at such prices: hidden orders may trade between two ticks.
    #[serde(default)]
    pub off_grid_trades: u64,
    /// Event ends at which the feed had shown fewer levels of the book than the feature set looks at.
    #[serde(default)]
    pub shallow_events: u64,
    /// Where the slowest ticks lost their time.
    #[serde(default)]
    pub tail: TailReport,
    /// Rounds of the idle loop that took 1,000 ns or more, as [upper bound in ns, count]: what the machine does to a loop that has
    /// nothing to do. Its usual round takes some tens.
    #[serde(default)]
    pub holes: Buckets,
    /// `ring_seq` of the first tick that was lost, where any was.
    #[serde(default)]
    pub first_lost: Option<u64>,
    /// Records that were published before the lane started. They are in no `wait` and no `tick_to_signal`.
    #[serde(default)]
    pub catching_up: u64,
    /// Signals by flag; only flags that occurred.
    #[serde(default)]
    pub flags: BTreeMap<String, u64>,
    /// Instruments whose book was not whole at the end, by why not; only reasons that occurred.
    #[serde(default)]
    pub not_whole: BTreeMap<String, u64>,
    /// Times that a book was not whole from then on, by why not, since the start; only reasons that occurred.
    #[serde(default)]
    pub became_not_whole: BTreeMap<String, u64>,
    /// Records lost since all books were whole.
    #[serde(default)]
    pub missed: u64,
}

/// Feature set in use.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FeaturesInUse {
    /// Name of the set.
    pub set: String,
    /// Its hash, hex.
    pub hash: String,
    /// Its number of columns.
    pub columns: usize,
}

impl LaneReport {
    /// Copies in what the hot thread's time went into so far.
    pub fn set_regimes(&mut self, link: &crate::hot::run::Link) {
        for (ns, cell) in self.regimes_ns.iter_mut().zip(&link.regimes) {
            // Relaxed: statistics, read on their own.
            *ns = cell.load(std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Copies in what the control page last said, where the lane itself is gone.
    pub fn set_counters(&mut self, consumed: u64, c: &Counters) {
        self.ticks = consumed.saturating_sub(c.lost);
        (self.events, self.signals, self.gaps, self.lost) = (c.events, c.signals, c.gaps, c.lost);
        (self.rejects, self.conflated, self.invalid) = (c.rejects, c.conflated, c.invalid);
        self.generation_changes = c.generation_changes;
    }

    /// Copies the counted outcomes in.
    pub fn set_counts(&mut self, counts: &Counts) {
        fn named<const N: usize>(names: [&str; N], counts: &[u64; N]) -> BTreeMap<String, u64> {
            names.into_iter().map(String::from).zip(counts.iter().copied()).filter(|(_, n)| *n > 0).collect()
        }
        self.ticks = counts.ticks;
        self.events = counts.events;
        self.signals = counts.signals;
        self.gaps = counts.gaps;
        self.lost = counts.lost;
        self.first_lost = counts.first_lost;
        self.corrupt = counts.corrupt;
        self.rejects = counts.rejected();
        self.rejects_by_reason = named(Reject::ALL.map(Reject::name), &counts.rejects);
        self.book = named(Applied::ALL.map(Applied::name), &counts.applied);
        self.conflated = counts.conflated;
        self.unprepared = counts.unprepared;
        self.invalid = counts.invalid;
        self.generation_changes = counts.generation_changes;
        self.shallow_events = counts.shallow;
        self.catching_up = counts.catching_up;
        self.flags = named(signal_flags::NAMES, &counts.flags);
        self.not_whole = named(NotWhole::ALL.map(NotWhole::name), &counts.not_whole);
        self.became_not_whole = named(NotWhole::ALL.map(NotWhole::name), &counts.became_not_whole);
        self.missed = counts.missed;
    }

    /// Copies in how many prices were off the grid.
    pub fn set_off_grid(&mut self, off: OffGrid) {
        (self.off_grid, self.off_grid_trades) = (off.quotes, off.trades);
    }
}

/// The binary.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    /// Package version.
    pub version: String,
    /// git revision, "-dirty" when the tree was changed.
    pub revision: String,
    /// Cargo profile: debug or release.
    pub profile: String,
    /// Target triple.
    pub target: String,
    /// Compiler.
    pub rustc: String,
}

impl Build {
    /// This binary.
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: env!("PILLION_REVISION").into(),
            profile: env!("PILLION_PROFILE").into(),
            target: env!("PILLION_TARGET").into(),
            rustc: env!("PILLION_RUSTC").into(),
        }
    }
}

/// Now, UTC, RFC 3339 to the second.
pub fn now_utc() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_else(|_| "unknown".into())
}
