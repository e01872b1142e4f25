//! What a live run says of itself: why its books are not whole, what was only history, and a report that the tools read,
//! also while it runs.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use pillion::data::{self, synth};
use pillion::report::{LabReport, SidecarReport};
use pillion_shm::{BoardReader, Clock, CncClient, From, Kind, Lane, Poll, RingReader, Signal, State, signal_flags};

fn run(config: &Path, report: &Path) -> Running {
    Running::start(pillion().arg("run").arg("--config").arg(config).arg("--report").arg(report))
}

fn feed(config: &Path, lane: &str, input: &Path, rate: &str) -> Running {
    let mut command = pillion();
    command.arg("feed").arg("--config").arg(config).arg("--input").arg(input);
    Running::start(command.args(["--lane", lane, "--rate", rate, "--linger"]))
}

fn stop(dir: &Path, lane: &str, sidecar: Running) -> std::process::Output {
    let out = output(pillion().args(["ctl", lane, "stop", "--shm-dir"]).arg(dir));
    assert!(out.status.success(), "{}", stderr(&out));
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    ended
}

fn account(report: &Path) -> SidecarReport {
    serde_json::from_str(&std::fs::read_to_string(report).expect("written")).expect("its own schema")
}

fn synthetic(dir: &Path, events: u64) -> (PathBuf, data::Feed) {
    let path = dir.join("synth.dbn.zst");
    let plan = synth::Plan { seed: 3, instruments: 3, events, events_per_second: 20_000 };
    synth::write(&path, &plan).expect("writable");
    let feed = data::load(&path).expect("just written");
    (path, feed)
}

fn records(dir: &Path, lane: &str) -> u64 {
    let lane = Lane::in_dir(dir, lane).unwrap();
    let clock = Clock::attach_or_create(dir).unwrap();
    RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).map_or(0, |ring| ring.head())
}

fn signals(dir: &Path, lane: &str) -> Vec<Signal> {
    let clock = Clock::attach_or_create(dir).unwrap();
    let lane = Lane::in_dir(dir, lane).unwrap();
    let mut reader = RingReader::attach(&lane, Kind::Signals, From::Oldest, &clock).expect("the signal ring");
    let (mut words, mut signals) = ([0; 14], Vec::new());
    while let Poll::Record { .. } = reader.poll(&mut words) {
        signals.push(Signal::from_words(&words));
    }
    signals
}

fn consumed(cnc: &CncClient, ticks: u64) {
    wait_for("every tick", || (cnc.ticks_consumed() == ticks).then_some(()));
}

/// The ES day has a snapshot without a clear and without a last record. A feed that plays it again under a live sidecar is
/// trusted as the first one was.
#[test]
fn a_feed_that_restarts_with_its_snapshot_is_trusted() {
    let Some(input) = shared(ES) else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let recording = slice(&load_settled(input), 0, 4_000, &dir.path().join("es.dbn"));
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("again", &recording, &[])));
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "again", State::Boot);
    let first = feed(&config, "again", &dir.path().join("es.dbn"), "max");
    let cnc = cnc_of(&mut sidecar, dir.path(), "again", State::Run);
    consumed(&cnc, recording.records);
    first.kill9();
    let second = feed(&config, "again", &dir.path().join("es.dbn"), "max");
    consumed(&cnc, 2 * recording.records);
    stop(dir.path(), "again", sidecar);
    drop(second);
    let lane = &account(&report).lanes[0];
    assert_eq!((lane.generation_changes, lane.gaps), (1, 0));
    assert!(lane.not_whole.is_empty(), "{:?}", lane.not_whole);
    assert_eq!(lane.became_not_whole, [("feed_restart".to_owned(), 1), ("unseen".to_owned(), 1)].into());
    assert_eq!(lane.book.get("duplicate_add"), None, "the old book does not mix with the snapshot: {:?}", lane.book);
}

/// Lost ticks are said in words, with their number, and so is the end of it.
#[test]
fn a_gap_is_said_with_its_length() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 3_000);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[feed]\nslots = 256\n[lane]\n{}", lane_keys("gap", &recording, &[])));
    let first = feed(&config, "gap", &input, "1000000/s");
    wait_for("the whole recording", || (records(dir.path(), "gap") == recording.records).then_some(()));
    let mut sidecar = run(&config, &report);
    let cnc = cnc_of(&mut sidecar, dir.path(), "gap", State::Run);
    consumed(&cnc, recording.records);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    first.kill9();
    let second = feed(&config, "gap", &input, "max");
    wait_for("the second play", || (cnc.ticks_consumed() >= 2 * recording.records).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let said = stderr(&stop(dir.path(), "gap", sidecar));
    drop(second);
    let lost = recording.records - 256;
    assert!(said.contains(&format!("lane gap: 3 of 3 books are not whole: gap of {lost} ticks")), "{said}");
    assert!(said.contains("lane gap: all 3 books are whole"), "{said}");
    let lane = &account(&report).lanes[0];
    assert_eq!((lane.became_not_whole["gap"], lane.not_whole.len(), lane.missed), (3, 0, 0));
}

/// A sidecar that starts behind its feed flags what it says of history, keeps it off the board and out of its percentiles.
#[test]
fn a_late_sidecar_says_what_is_history() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 3_000);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("late", &recording, &["mlp-k10"])));
    let ticks = feed(&config, "late", &input, "1000000/s");
    wait_for("the whole recording", || (records(dir.path(), "late") == recording.records).then_some(()));
    let mut sidecar = run(&config, &report);
    let cnc = cnc_of(&mut sidecar, dir.path(), "late", State::Run);
    consumed(&cnc, recording.records);
    let seen = signals(dir.path(), "late");
    assert!(seen.len() > 1_000 && seen.iter().all(|s| s.flags & signal_flags::CATCHING_UP != 0 && !s.tradable()));
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let board = BoardReader::attach(&Lane::in_dir(dir.path(), "late").unwrap(), &clock).unwrap();
    assert!((0..3).all(|instrument| board.get(instrument, 0).is_none()));
    stop(dir.path(), "late", sidecar);
    drop(ticks);
    let lane = &account(&report).lanes[0];
    assert_eq!((lane.catching_up, lane.flags["catching_up"]), (recording.records, lane.signals));
    assert_eq!((lane.stages["wait"].count, lane.stages["tick_to_signal"].count), (0, 0), "nobody waited for it");
    assert_eq!(lane.stages["decode"].count, recording.records);
    assert!(lane.not_whole.is_empty());
}

/// The report of a live run is read by `report` and `compare`, and there before the end: one of a killed process speaks of
/// what it had done so far.
#[test]
fn a_live_runs_report_is_read_by_the_tools_and_outlives_a_kill() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 400_000);
    let [ended, killed] = ["ended.json", "killed.json"].map(|name| dir.path().join(name));
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("live", &recording, &[])));
    let ticks = feed(&config, "live", &input, "5000/s");
    let mut sidecar = run(&config, &killed);
    cnc_of(&mut sidecar, dir.path(), "live", State::Run);
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|f| !f.unwrap().file_name().to_string_lossy().ends_with(".partial"))
    );
    wait_for("a report of a running lane", || killed.exists().then_some(()));
    sidecar.kill9();
    let so_far = account(&killed);
    assert_eq!((so_far.ended, so_far.lanes[0].end.as_str()), (false, "running"));
    assert!(so_far.lanes[0].ticks > 1_000 && so_far.lanes[0].stages["wait"].count > 0 && !so_far.started.is_empty());
    assert!(so_far.lanes[0].intervals.len() > 10, "{}", so_far.lanes[0].intervals.len());
    let mut sidecar = run(&config, &ended);
    let cnc = cnc_of(&mut sidecar, dir.path(), "live", State::Run);
    let there = records(dir.path(), "live");
    wait_for("ticks of after its start", || (cnc.ticks_consumed() > there + 2_000).then_some(()));
    stop(dir.path(), "live", sidecar);
    drop(ticks);
    let report = account(&ended);
    assert_eq!((report.ended, report.lanes[0].end.as_str()), (true, "stopped"));
    assert_eq!(report.config["lanes"][0]["name"], "live");

    let (page, json, hgrm) = (dir.path().join("page.html"), dir.path().join("lab.json"), dir.path().join("hgrm"));
    let mut command = pillion();
    command.arg("report").arg(&ended).arg(&killed).arg("--html").arg(&page).arg("--json").arg(&json);
    let out = output(command.arg("--hgrm").arg(&hgrm));
    assert!(out.status.success(), "{}", stderr(&out));
    let lab: LabReport = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert!(lab.runs.len() == 2 && lab.runs.iter().all(|run| run.live));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("live lane live") && !html.contains(">PASS<"), "no verdict on a run that held no rate");
    assert!(html.contains("books became not whole") && html.contains("signals by flag"));
    let files: Vec<_> =
        std::fs::read_dir(&hgrm).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        files.iter().any(|f| f == "01-lane-live-wait.hgrm") && files.iter().any(|f| f == "02-lane-live.hlog"),
        "{files:?}"
    );

    let compared = dir.path().join("compared.json");
    let mut command = pillion();
    command.arg("compare").arg(&killed).arg(&ended).arg("--json").arg(&compared);
    let out = output(&mut command);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let made: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&compared).unwrap()).unwrap();
    let stages: Vec<_> = made["rows"].as_array().unwrap().iter().map(|row| row["stage"].as_str().unwrap()).collect();
    assert!(stages.contains(&"wait") && stages.contains(&"book"), "{stages:?}");
    let schema = stdout(&output(pillion().args(["report", "--schema"])));
    assert!(schema.contains("SidecarReport") && schema.contains("became_not_whole"), "the schema has it");
}
