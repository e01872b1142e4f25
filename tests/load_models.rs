//! Load models of `pillion replay`, and what it says of a run: two processes, real ticks, facts and counts.

mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use pillion::data;
use pillion::lab::replay::ReplayReport;
use pillion::report::hdr::decode;
use pillion_shm::records::View;

fn command(config: &Path, input: &Path, rate: &str, json: &Path, more: &[&str]) -> Command {
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config).arg("--input").arg(input).arg(format!("--rate={rate}"));
    command.arg("--json").arg(json).args(more);
    command
}

fn replay(dir: &Path, config: &Path, input: &Path, rate: &str, more: &[&str]) -> ReplayReport {
    let json = dir.join("report.json");
    let out = output(&mut command(config, input, rate, &json, more));
    assert!(out.status.success(), "{rate}: {}{}", stdout(&out), stderr(&out));
    serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("its own schema")
}

fn with_model(dir: &Path, more: &str) -> std::path::PathBuf {
    let model = model("mlp-k10").display().to_string();
    config(dir, &format!("{more}[lane]\nengine = \"ort-cpu\"\nmodels = [{model:?}]\n"))
}

/// Every load model publishes every tick, and lossless ones give the same signals; what each measures is complete.
#[test]
fn every_load_model_plays_the_whole_recording() {
    let (Some(es), true) = (shared(ES), has_onnxruntime()) else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("slice.dbn.zst");
    let slice = slice(&load_settled(es), 20_000, 4_000, &input);
    let config = with_model(dir.path(), "");
    let live = slice.iter().filter(|r| !View(r).is_snapshot()).count() as u64;
    let mut hashes = std::collections::BTreeSet::new();
    for rate in ["max", "closed", "20000/s", "poisson:20000/s", "burst:50@500/s", "flood"] {
        let r = replay(dir.path(), &config, &input, rate, &[]);
        assert_eq!((r.ticks, r.input_ticks, r.complete), (slice.records, slice.records, true), "{rate}");
        assert_eq!((r.gaps, r.signals_lost_by_reader), (0, 0), "{rate}: the ring holds the whole slice");
        hashes.insert(r.signals_blake3.clone());
        let open_loop = rate.contains("/s");
        let (paced, late) = (r.paced_ticks, r.reader.stages["late"].count);
        assert_eq!((paced, late), if open_loop { (live, live) } else { (0, 0) }, "{rate}");
        let columns = ["tick_to_signal", "tick_to_signal_corrected", "seen", "seen_corrected"];
        let counts: Vec<_> = columns.iter().map(|c| r.reader.stages[*c].count).collect();
        assert!(counts.iter().all(|&n| n == counts[0] && n > 0 && n <= r.signals), "{rate}: {counts:?}");
        let [plain, corrected, seen] = [columns[0], columns[1], columns[2]].map(|c| r.reader.stages[c]);
        assert!(
            corrected.max_ns >= plain.max_ns && seen.max_ns >= plain.p50_ns,
            "{rate}: due is never after published"
        );
        if !open_loop {
            assert_eq!(plain.p99_ns, corrected.p99_ns, "{rate}: without due times there is nothing to correct");
        }
        let spread: u64 =
            r.reader.intervals.iter().map(|i| i.hdr.get("seen").map_or(0, |h| decode(h, rate).unwrap().len())).sum();
        assert_eq!(spread, seen.count, "{rate}: intervals hold every count once");
        let over_time: u64 =
            r.lane.intervals.iter().map(|i| i.hdr.get("wait").map_or(0, |h| decode(h, rate).unwrap().len())).sum();
        assert_eq!(over_time, r.ticks, "{rate}: so do the lane's");
        assert_eq!(r.flood.is_some(), rate == "flood");
        assert_eq!(r.seed.is_some(), rate.starts_with("poisson"));
    }
    assert_eq!(hashes.len(), 1, "one recording, one engine, one hash");
}

/// A flood through a small ring loses, and says exactly from where; it is no failure, and a paced run that loses is one.
#[test]
fn a_flood_finds_the_first_loss() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 3, instruments: 2, events: 60_000, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    let config = config(dir.path(), "[feed]\nslots = 256\n");
    let r = replay(dir.path(), &config, &input, "flood", &["--strict"]);
    let flood = r.flood.as_ref().expect("a flood");
    assert!(r.verdict.held && r.lost > 0 && r.ticks + r.lost == r.input_ticks, "{} of {}", r.lost, r.input_ticks);
    let first = flood.first_loss_tick.expect("a loss");
    assert_eq!(first, r.lane.first_lost.expect("its number") + 256);
    assert!(first >= 256 && first <= r.input_ticks && flood.first_loss_after_ns.is_some(), "{flood:?}");
    assert!(
        flood.deepest_backlog >= 256 - 16 && flood.first_over.iter().all(|(slots, tick)| tick > slots),
        "{flood:?}"
    );
    let json = dir.path().join("fails.json");
    let out = output(&mut command(&config, &input, "900000000/s", &json, &["--strict"]));
    assert_eq!(out.status.code(), Some(1), "{}", stdout(&out));
    assert!(stdout(&out).contains("FAIL") && stderr(&out).contains("mend"), "{}{}", stdout(&out), stderr(&out));
    let failed: ReplayReport = serde_json::from_slice(&std::fs::read(&json).expect("written all the same")).unwrap();
    assert!(!failed.verdict.held && !failed.verdict.reasons.is_empty());
    let out = output(&mut command(&config, &input, "900000000/s", &json, &[]));
    assert_eq!(out.status.code(), Some(0), "without --strict the mark is in the report alone");
}

/// `--for` ends a run early and says that it did.
#[test]
fn a_run_can_be_cut_short() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 3, instruments: 2, events: 20_000, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    let r = replay(dir.path(), &config(dir.path(), ""), &input, "10000/s", &["--for", "0.3"]);
    assert!(!r.complete && r.paced_ticks > 0 && r.paced_ticks <= 3_001, "{}", r.paced_ticks);
    let snapshot = data::load(&input).unwrap().iter().filter(|r| View(r).is_snapshot()).count() as u64;
    assert_eq!(r.ticks, snapshot + r.paced_ticks);
}

/// `--from` sends what comes before ahead of the play: books are whole, and the reader's columns begin where the play does.
#[test]
fn a_play_starts_where_it_is_told() {
    let Some(es) = shared(ES) else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("slice.dbn.zst");
    let slice = slice(&load_settled(es), 500, 4_000, &input);
    let open = 1_703_545_200_000_000_000; // 2023-12-25 23:00 UTC
    let after = slice.iter().filter(|r| !View(r).is_snapshot() && r[1] >= open).count() as u64;
    assert!(after > 1_000 && after < 4_000, "{after}");
    let config = config(dir.path(), "");
    for from in ["23:00:00", "2023-12-25T23:00:00Z"] {
        let r = replay(dir.path(), &config, &input, "100000/s", &["--from", from]);
        assert_eq!((r.ticks, r.paced_ticks, r.gaps), (slice.records, after, 0), "{from}");
        let (first, tail) = (slice.records - after, &r.lane.tail);
        assert!(tail.worst.iter().all(|tick| tick.ring_seq >= first), "{from}: the tail is of the play alone");
        assert!(tail.over <= after, "{from}: {} of {after} over", tail.over);
    }
    let out =
        output(&mut command(&config, &input, "max", &dir.path().join("r.json"), &["--from", "2024-01-01T00:00:00Z"]));
    assert!(out.status.code() == Some(2) && stderr(&out).contains("no record at or after"), "{}", stderr(&out));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dir = shm_dir();
    let config = config(dir.path(), "");
    let input = dir.path().join("none.dbn");
    for rate in ["0/s", "-5/s", "x0", "poisson:fast/s", "burst:0@1/s", "burst:10/s", "2000000000/s", "closed:1", ""] {
        let out = output(&mut command(&config, &input, rate, &dir.path().join("r.json"), &[]));
        assert_eq!(out.status.code(), Some(2), "{rate}");
        assert!(stderr(&out).contains("is no rate"), "{rate}: {}", stderr(&out));
    }
    for time in ["0", "-1", "nan", "soon"] {
        let out = output(&mut command(&config, &input, "max", &dir.path().join("r.json"), &[&format!("--for={time}")]));
        assert_eq!(out.status.code(), Some(2), "{time}");
        assert!(stderr(&out).contains("is no time"), "{time}: {}", stderr(&out));
    }
    assert!(!dir.path().join("r.json").exists());
}
