//! The report of one replay.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::Diagnosis;
use super::{Buckets, Build, Host, LaneReport, ModelInUse, Stages};
use crate::data::facts::InstrumentUsed;

/// The report of one replay; `--json` writes it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReport {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// A lane of a live run (`pillion run --report`), made a run of by `pillion report`: there is no rate to hold, no input, no
    /// hash of signals, and nothing that a feed or a reader of ours measured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Whether the run held its rate.
    pub verdict: Verdict,
    /// When it began, UTC, RFC 3339.
    pub started: String,
    /// Records read by the sidecar.
    pub ticks: u64,
    /// Event ends outside snapshots.
    pub events: u64,
    /// Signals published by the sidecar.
    pub signals: u64,
    /// Times the sidecar was lapped.
    pub gaps: u64,
    /// Records lost to lapping.
    pub lost: u64,
    /// Records refused.
    pub rejects: u64,
    /// Triggers left out by conflation.
    pub conflated: u64,
    /// Signals whose outputs were not finite.
    pub invalid: u64,
    /// BLAKE3 of all signals, stamps and time-dependent flags zeroed, in ring order.
    pub signals_blake3: String,
    /// Signals the reader lost; 0 in a sound run.
    pub signals_lost_by_reader: u64,
    /// Engines in use, each once; "none" without models.
    pub engine: String,
    /// Machine.
    pub host: Host,
    /// What its settings mean for latency; see `pillion doctor`.
    #[serde(default)]
    pub doctor: Option<Diagnosis>,
    /// Binary of the sidecar.
    pub build: Build,
    /// Effective configuration.
    pub config: serde_json::Value,
    /// Models in publishing order.
    pub models: Vec<ModelInUse>,
    /// Path of the input as given.
    pub input: String,
    /// BLAKE3 of the input file's bytes.
    pub input_blake3: String,
    /// Records of the input.
    pub input_ticks: u64,
    /// Its instruments with the units they were played with, and who states those.
    #[serde(default)]
    pub instruments: Vec<InstrumentUsed>,
    /// Events that came behind later ones of other instruments, as they were played; an instrument's events count as of its
    /// latest ts_event so far.
    #[serde(default)]
    pub out_of_order: u64,
    /// Whether `--sort` interleaved the instruments by those times; runs with and without do not compare.
    #[serde(default)]
    pub sorted: bool,
    /// False when `--for` ended the run before the input's end: hashes and counts then speak of a part. Of a live run: when the
    /// report was written while it ran.
    pub complete: bool,
    /// `--rate`.
    pub rate: String,
    /// Seed of the arrival times, for `poisson`.
    #[serde(default)]
    pub seed: Option<u64>,
    /// First publish to last, ns.
    pub span_ns: u64,
    /// Ticks per second of the play: what was sent ahead of it is left out.
    pub ticks_per_second: f64,
    /// Ticks that had a due time: neither snapshots nor sent as there was room.
    pub paced_ticks: u64,
    /// Paced ticks that were published more than 1 ms after they were due.
    pub late_ticks: u64,
    /// Longest such delay, ns.
    pub max_late_ns: u64,
    /// Percentiles per stage.
    pub stages: Stages,
    /// What the feed and the reader of the signals saw.
    pub reader: Reader,
    /// `flood` only: where losses begin.
    #[serde(default)]
    pub flood: Option<Flood>,
    /// The sidecar's own account of the lane, histograms included.
    pub lane: LaneReport,
}

/// Whether a run held its rate; the figures of one that did not speak of a machine that could not follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// True: PASS, false: FAIL.
    pub held: bool,
    /// Why not, one reason a line, with its figure and bound.
    pub reasons: Vec<String>,
}

/// What this side of the rings measured, over paced ticks only (all but snapshots where a rate has no due times): the
/// latencies of their signals by four clocks' ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reader {
    /// By name, each with percentiles. `tick_to_signal`: publish stamp to the signal's stamp. `tick_to_signal_corrected`:
    /// from when the tick was due, so that a stall is charged to every tick it delayed. `seen`: publish stamp to the
    /// moment this reader had the signal. `seen_corrected`: from when it was due. `late`: due to published, every paced tick.
    pub stages: Stages,
    /// Their histograms.
    pub histograms: BTreeMap<String, Buckets>,
    /// The same over time.
    pub intervals: Vec<Interval>,
    /// CPU of the feed and reader, which share a thread: `seen` waits for a publish in hand.
    pub core: usize,
}

impl Reader {
    /// Names of [`Reader::stages`], in the order of reports.
    pub const NAMES: [&'static str; 5] =
        ["tick_to_signal", "tick_to_signal_corrected", "seen", "seen_corrected", "late"];
}

/// A span of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Its start, ns since the epoch on the host's clock.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Stages with counts in it, each as HdrHistogram's V2 compressed encoding in base64 (what .hlog files hold).
    pub hdr: BTreeMap<String, String>,
}

/// What an unpaced feed showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flood {
    /// Slots of the tick ring.
    pub slots: u64,
    /// Ticks a second offered.
    pub offered_per_second: f64,
    /// Ticks a second that the sidecar took meanwhile, lost ones not counted.
    pub taken_per_second: f64,
    /// Most ticks that waited at once, looked at every 16 ticks; the sidecar tells what it took every 32.
    pub deepest_backlog: u64,
    /// Ticks offered before the first loss; `None`: this ring lost none.
    pub first_loss_tick: Option<u64>,
    /// From the first tick to that loss, ns.
    pub first_loss_after_ns: Option<u64>,
    /// For smaller rings: slots, and the tick at which the backlog first exceeded them.
    pub first_over: Vec<(u64, u64)>,
}
