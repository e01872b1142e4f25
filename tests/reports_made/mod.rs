//! Replay reports made from the types, with latencies that a test chooses.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use pillion::hot::stamp::STAGE_NAMES;
use pillion::lab::columns::NAMES;
use pillion::lab::stats::Chance;
use pillion::report::{
    Build, FeaturesInUse, Host, Interval, LaneReport, ModelInUse, Reader, ReplayReport, SCHEMA_VERSION, Stage, Verdict,
    buckets,
};

/// Usual latency of a column, ns.
pub fn usual(name: &str) -> u64 {
    match name {
        "wait" => 150,
        "decode" => 30,
        "book" => 90,
        "features" => 200,
        "infer" => 1_800,
        "publish" => 60,
        "tick_to_signal" => 2_330,
        "tick_to_signal_corrected" => 2_400,
        "seen" => 2_600,
        "seen_corrected" => 2_700,
        _ => 70,
    }
}

/// A report of 20 spans with 100 latencies a column each: `ns` of the column's usual one, give or take 5 % by `seed`.
pub fn report(seed: u64, ns: impl Fn(&str, u64) -> u64) -> ReplayReport {
    spans(20, seed, |name, chance| {
        let around = ns(name, usual(name)) as f64;
        (around * (0.95 + 0.1 * chance.unit())).round().max(1.0) as u64
    })
}

/// A report whose every latency is chosen.
pub fn spans(spans: u64, seed: u64, mut latency: impl FnMut(&str, &mut Chance) -> u64) -> ReplayReport {
    let mut chance = Chance::new(seed);
    let mut made = empty();
    for name in NAMES {
        let mut whole = histogram();
        let lane = STAGE_NAMES.contains(&name);
        let intervals = if lane { &mut made.lane.intervals } else { &mut made.reader.intervals };
        intervals.resize(spans as usize, Interval::default());
        for (i, interval) in intervals.iter_mut().enumerate() {
            let mut span = histogram();
            (0..100).for_each(|_| span.record(latency(name, &mut chance)).expect("within 10 s"));
            whole.add(&span).expect("the same bounds");
            (interval.start_ns, interval.end_ns) = (i as u64 * 100_000_000, (i as u64 + 1) * 100_000_000);
            interval.hdr.insert(name.into(), encode(&span));
        }
        let (stages, histograms) = if lane {
            (&mut made.stages, &mut made.lane.histograms)
        } else {
            (&mut made.reader.stages, &mut made.reader.histograms)
        };
        stages.insert(name.into(), Stage::of(&whole));
        histograms.insert(name.into(), buckets(&whole));
    }
    made.lane.stages = made.stages.clone();
    made
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("valid bounds")
}

fn encode(h: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(h, &mut bytes).expect("into memory");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A report of a sound run without a latency.
fn empty() -> ReplayReport {
    let model = ModelInUse {
        name: "mlp-k10".into(),
        revision: 1,
        sha256: "aa11".into(),
        engine: "native".into(),
        isa: "avx2".into(),
        runtime: "pillion 0.1.0".into(),
        candidates: Vec::new(),
    };
    let features = FeaturesInUse { set: "basic".into(), hash: "fea1".into(), columns: 41 };
    let lane = LaneReport {
        lane: "replay-1".into(),
        end: "stopped".into(),
        ticks: 4_000,
        signals: 2_000,
        stamps: "full".into(),
        trigger: "event".into(),
        features,
        models: vec![model.clone()],
        ..LaneReport::default()
    };
    ReplayReport {
        schema_version: SCHEMA_VERSION,
        live: false,
        verdict: Verdict { held: true, reasons: Vec::new() },
        started: "2026-01-02T03:04:05Z".into(),
        ticks: 4_000,
        events: 2_000,
        signals: 2_000,
        gaps: 0,
        lost: 0,
        rejects: 0,
        conflated: 0,
        invalid: 0,
        signals_blake3: "5151".into(),
        signals_lost_by_reader: 0,
        engine: "native".into(),
        host: Host { cpu: "Test CPU".into(), cpus: 2, kernel: "6.1".into(), virtualised: true, isa: "avx2".into() },
        doctor: None,
        build: Build {
            version: "0.1.0".into(),
            revision: "abc123".into(),
            profile: "release".into(),
            target: "x86_64-unknown-linux-gnu".into(),
            rustc: "rustc 1.95.0".into(),
        },
        config: serde_json::json!({"lanes": [{"conflate": false, "batch": 1}]}),
        models: vec![model],
        input: "day.dbn.zst".into(),
        input_blake3: "1234".into(),
        input_ticks: 4_000,
        instruments: Vec::new(),
        out_of_order: 0,
        sorted: false,
        complete: true,
        rate: "20000/s".into(),
        seed: None,
        span_ns: 2_000_000_000,
        ticks_per_second: 20_000.0,
        paced_ticks: 4_000,
        late_ticks: 0,
        max_late_ns: 0,
        stages: Default::default(),
        reader: Reader::default(),
        flood: None,
        lane,
    }
}

/// Writes a report as `replay --json` does.
pub fn write(dir: &Path, name: &str, report: &ReplayReport) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, serde_json::to_vec(report).expect("serialises")).expect("writable");
    path
}
