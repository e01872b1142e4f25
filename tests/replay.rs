//! `pillion replay` as its user runs it: two processes, real ticks, the bundled models.

mod common;

use std::path::Path;

use common::*;
use pillion::data;
use pillion::lab::replay::ReplayReport;

fn replay(dir: &Path, config: &Path, input: &Path, rate: &str) -> ReplayReport {
    let json = dir.join(format!("report-{}.json", rate.replace('/', "-")));
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config).arg("--input").arg(input).args(["--rate", rate]);
    command.arg("--instruments").arg(es_instruments());
    let out = output(command.arg("--json").arg(&json));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    assert!(stdout(&out).contains("tick_to_signal"), "the table is printed");
    serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("its own schema")
}

fn two_models(dir: &Path, more: &str) -> std::path::PathBuf {
    let models = [model("mlp-k10"), model("lgbm-k10")].map(|m| format!("{:?}", m.display().to_string()));
    config(dir, &format!("[lane]\nengine = \"ort-cpu\"\nmodels = [{}]\n{more}", models.join(", ")))
}

/// A recording gives the same signals at any speed: the rates of the README on a slice of the ES day, and max twice.
#[test]
fn same_signals_at_any_rate() {
    let (Some(es), true) = (shared(ES), has_onnxruntime()) else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("slice.dbn.zst");
    let slice = slice(&load_settled(es), 20_000, 6_000, &input);
    let config = two_models(dir.path(), "");
    let first = replay(dir.path(), &config, &input, "max");
    assert_eq!((first.ticks, first.gaps, first.rejects, first.conflated), (slice.records, 0, 0, 0));
    assert_eq!(first.signals, 2 * first.events, "two models, one signal each per event");
    assert!(first.events > 3_000, "the slice has live events: {}", first.events);
    assert_eq!(first.signals_lost_by_reader, 0);
    for (stage, count) in
        [("wait", first.ticks), ("decode", first.ticks), ("book", first.ticks), ("features", first.events)]
    {
        assert_eq!(first.stages[stage].count, count, "every tick is counted in {stage}");
    }
    for stage in ["infer", "publish", "tick_to_signal"] {
        assert_eq!(first.stages[stage].count, first.signals, "every signal is counted in {stage}");
    }
    for rate in ["max", "x200", "50000/s"] {
        let again = replay(dir.path(), &config, &input, rate);
        assert_eq!(again.signals_blake3, first.signals_blake3, "at {rate}");
        assert_eq!((again.gaps, again.lost), (0, 0), "at {rate}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|f| !f.to_string_lossy().contains("replay-")), "private regions are removed: {left:?}");
}

/// Relative paths of a configuration mean the same wherever the sidecar's own copy of it lies.
#[test]
fn relative_paths_of_a_configuration() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 1, instruments: 2, events: 500, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    std::os::unix::fs::symlink(model(""), dir.path().join("models")).expect("a link");
    config(dir.path(), "[lane]\nmodels = [\"models/mlp-k10\"]\n");
    let mut command = pillion();
    command.current_dir(dir.path()).env("ORT_DYLIB_PATH", onnxruntime());
    let out =
        output(command.args(["replay", "--config", "config.toml", "--input", "synth.dbn.zst", "--json", "r.json"]));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let report: ReplayReport = serde_json::from_slice(&std::fs::read(dir.path().join("r.json")).unwrap()).unwrap();
    assert!(report.signals == report.events && report.events > 400, "{} events", report.events);
}

/// Stamps change what is measured, never what is said; triggers choose which events are answered.
#[test]
fn stamps_and_triggers() {
    let (Some(es), true) = (shared(ES), has_onnxruntime()) else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("slice.dbn.zst");
    slice(&load_settled(es), 30_000, 3_000, &input);
    let full = replay(dir.path(), &two_models(dir.path(), ""), &input, "max");
    let ends = replay(dir.path(), &two_models(dir.path(), "stamps = \"ends\"\n"), &input, "max");
    assert_eq!(full.signals_blake3, ends.signals_blake3);
    assert_eq!((ends.stages["decode"].count, ends.stages["wait"].count), (0, ends.ticks));
    let every = replay(dir.path(), &two_models(dir.path(), "trigger = \"every=10\"\n"), &input, "max");
    assert_eq!((every.events, every.signals), (full.events, full.events / 10 * 2));
    let trades = replay(dir.path(), &two_models(dir.path(), "trigger = \"trade\"\n"), &input, "max");
    let bbo = replay(dir.path(), &two_models(dir.path(), "trigger = \"bbo-change\"\n"), &input, "max");
    assert!(0 < trades.signals && trades.signals < bbo.signals && bbo.signals < full.signals, "{trades:?} {bbo:?}");
}

/// MBP-10 needs the wide slot, trades have no book: every schema goes through.
#[test]
fn every_schema_replays() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let config = config(dir.path(), "");
    for file in [
        "dbn-es/es-20240701.mbp-1.dbn.zst",
        "dbn-es/es-20240701.trades.dbn.zst",
        "dbn-vectors/test_data.mbp-10.v3.dbn.zst",
    ] {
        let Some(input) = shared(file) else { continue };
        let report = replay(dir.path(), &config, &input, "max");
        let expected = data::load(&input).expect("a good file").records;
        assert_eq!((report.ticks, report.rejects, report.gaps), (expected, 0, 0), "{file}");
        assert!(report.events > 0, "{file}");
    }
}

/// Synthetic flow of many instruments: conflation answers fewer triggers, and says how many it left out.
#[test]
fn conflation_is_counted() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 7, instruments: 16, events: 20_000, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    let report = replay(dir.path(), &two_models(dir.path(), "conflate = true\n"), &input, "max");
    assert_eq!(report.ticks, data::load(&input).unwrap().records);
    assert_eq!((report.gaps, report.rejects), (0, 0));
    assert!(report.conflated > 0, "at rate max there is always a backlog");
    assert_eq!(
        report.signals,
        2 * (report.events - report.conflated),
        "each trigger is answered or counted as conflated"
    );
}
