//! The report of a live run: what `pillion run --report` writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Host, LaneReport, Reader, ReplayReport, SCHEMA_VERSION, Verdict};

/// What `pillion run --report FILE` writes: at its end, and now and then before, so that an unclean end leaves the last one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SidecarReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the process began to serve, UTC, RFC 3339.
    #[serde(default)]
    pub started: String,
    /// When this was written, UTC, RFC 3339: the run's end where `ended` says so.
    #[serde(default)]
    pub written: String,
    /// Whether the run had ended; false: written while it ran.
    #[serde(default)]
    pub ended: bool,
    /// Host the sidecar ran on.
    pub host: Host,
    /// Binary that ran.
    pub build: Build,
    /// Effective configuration.
    #[serde(default)]
    pub config: serde_json::Value,
    /// One entry per lane.
    pub lanes: Vec<LaneReport>,
}

impl SidecarReport {
    /// Each lane as a run without a feed and a reader of ours: no rate to hold, no input, no hash of its signals.
    pub fn runs(&self) -> Vec<ReplayReport> {
        self.lanes.iter().map(|lane| self.run(lane)).collect()
    }

    fn run(&self, lane: &LaneReport) -> ReplayReport {
        let span_ns = match (lane.intervals.first(), lane.intervals.last()) {
            (Some(first), Some(last)) => last.end_ns.saturating_sub(first.start_ns),
            _ => 0,
        };
        let mut engines: Vec<_> = lane.models.iter().map(|m| m.engine.clone()).collect();
        engines.dedup();
        ReplayReport {
            schema_version: SCHEMA_VERSION,
            live: true,
            verdict: verdict(lane),
            started: self.started.clone(),
            ticks: lane.ticks,
            events: lane.events,
            signals: lane.signals,
            gaps: lane.gaps,
            lost: lane.lost,
            rejects: lane.rejects,
            conflated: lane.conflated,
            invalid: lane.invalid,
            signals_blake3: String::new(),
            signals_lost_by_reader: 0,
            engine: if engines.is_empty() { "none".into() } else { engines.join("+") },
            host: self.host.clone(),
            doctor: None,
            build: self.build.clone(),
            config: self.config_of(lane),
            models: lane.models.clone(),
            input: String::new(),
            input_blake3: String::new(),
            input_ticks: 0,
            instruments: Vec::new(),
            out_of_order: 0,
            sorted: false,
            complete: self.ended,
            rate: format!("lane {}", lane.lane),
            seed: None,
            span_ns,
            ticks_per_second: lane.ticks as f64 * 1e9 / span_ns.max(1) as f64,
            paced_ticks: 0,
            late_ticks: 0,
            max_late_ns: 0,
            stages: lane.stages.clone(),
            reader: Reader::default(),
            flood: None,
            lane: lane.clone(),
        }
    }

    /// The configuration with this lane alone.
    fn config_of(&self, lane: &LaneReport) -> serde_json::Value {
        let mut config = self.config.clone();
        if let Some(lanes) = config.get_mut("lanes").and_then(serde_json::Value::as_array_mut) {
            lanes.retain(|one| one.get("name").and_then(serde_json::Value::as_str) == Some(&lane.lane));
        }
        config
    }
}

/// A live run holds no rate: all that can be said of it is how it ended.
fn verdict(lane: &LaneReport) -> Verdict {
    match lane.end.as_str() {
        "fail" => Verdict { held: false, reasons: vec!["its hot thread panicked".into()] },
        "refused" => Verdict { held: false, reasons: vec!["its tick ring or its thread was refused".into()] },
        _ => Verdict { held: true, reasons: vec![] },
    }
}
