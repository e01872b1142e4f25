//! A sidecar beside a feed, as an operator sees them: status, halt, resume, stop, and a feed that is killed.

mod common;

use std::path::Path;

use common::*;
use pillion::data::{self, synth};
use pillion::report::SidecarReport;
use pillion_shm::records::View;
use pillion_shm::{Clock, From, Kind, Lane, Poll, RingReader, Signal, State, signal_flags};

const MODELS: [&str; 1] = ["mlp-k10"];

fn run(config: &Path, report: &Path) -> Running {
    let mut command = pillion();
    Running::start(command.arg("run").arg("--config").arg(config).arg("--report").arg(report))
}

fn feed(config: &Path, lane: &str, input: &Path, rate: &str) -> Running {
    let mut command = pillion();
    command.arg("feed").arg("--config").arg(config).arg("--input").arg(input);
    Running::start(command.args(["--lane", lane, "--rate", rate, "--linger"]))
}

fn ctl(dir: &Path, lane: &str, order: &str) -> std::process::Output {
    let mut command = pillion();
    output(command.args(["ctl", lane, order, "--shm-dir"]).arg(dir))
}

fn status(dir: &Path, lane: &str) -> serde_json::Value {
    let mut command = pillion();
    let out = output(command.args(["status", lane, "--json", "--shm-dir"]).arg(dir));
    assert!(out.status.success(), "{}", stderr(&out));
    serde_json::from_slice(&out.stdout).expect("one JSON object")
}

fn signals(dir: &Path, lane: &str) -> RingReader {
    let clock = Clock::attach_or_create(dir).expect("a clock");
    RingReader::attach(&Lane::in_dir(dir, lane).unwrap(), Kind::Signals, From::Oldest, &clock).expect("the signal ring")
}

fn drain(reader: &mut RingReader, into: &mut Vec<Signal>) {
    let mut words = [0; 14];
    while let Poll::Record { .. } = reader.poll(&mut words) {
        into.push(Signal::from_words(&words));
    }
}

fn synthetic(dir: &Path, events: u64) -> (std::path::PathBuf, data::Feed) {
    let path = dir.join("synth.dbn.zst");
    let plan = synth::Plan { seed: 3, instruments: 3, events, events_per_second: 20_000 };
    synth::write(&path, &plan).expect("writable");
    let feed = data::load(&path).expect("just written");
    (path, feed)
}

/// HALT flags every signal and keeps the board, resume ends it, stop ends the process; a HALT outlives a restart.
#[test]
fn halt_resume_stop() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 400_000);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("live", &recording, &MODELS)));
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "live", State::Boot);
    let ticks = feed(&config, "live", &input, "5000/s");
    let cnc = cnc_of(&mut sidecar, dir.path(), "live", State::Run);
    let mut reader = signals(dir.path(), "live");
    let mut seen = Vec::new();
    wait_for("a tradable signal", || {
        drain(&mut reader, &mut seen);
        seen.iter().any(|s| s.tradable()).then_some(())
    });
    let look = status(dir.path(), "live");
    assert_eq!(
        (look["state"].as_str(), look["alive"].as_bool(), look["feed_alive"].as_bool()),
        (Some("RUN"), Some(true), Some(true))
    );
    assert!(look["ticks_per_second"].as_f64() > Some(0.0), "{look}");
    assert_eq!(look["models"][0]["name"], "mlp-k10");
    wait_for("stage percentiles", || {
        status(dir.path(), "live")["stages"]["infer"]["count"].as_u64().filter(|n| *n > 0)
    });

    assert!(ctl(dir.path(), "live", "halt").status.success());
    assert_eq!(cnc.state(), State::Halt);
    drain(&mut reader, &mut seen);
    seen.clear();
    wait_for("signals while halted", || {
        drain(&mut reader, &mut seen);
        (seen.len() > 10).then_some(())
    });
    assert!(seen.iter().all(|s| s.flags & signal_flags::HALTED != 0 && !s.tradable()), "all are flagged");

    // A second sidecar cannot take the name of a live one.
    let refused = run(&config, &report).finish();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("held by"), "{}", stderr(&refused));

    assert!(ctl(dir.path(), "live", "stop").status.success());
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!((account.lanes[0].gaps, account.lanes[0].rejects), (0, 0));

    let mut again = run(&config, &report);
    let cnc = cnc_of(&mut again, dir.path(), "live", State::Halt);
    assert!(ctl(dir.path(), "live", "resume").status.success());
    assert_eq!(cnc.state(), State::Run);
    drop(ticks);
    // SIGTERM is a clean stop too.
    let pid = rustix::process::Pid::from_raw(again.0.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(again.finish().status.success());
    assert_eq!(cnc.state(), State::Stopped);
}

/// kill -9 the feed mid-replay, start another on the lane: a new generation is noticed, signals are flagged until each
/// book is whole again, and the lane goes on.
#[test]
fn a_killed_feed_is_replaced() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 400_000);
    // The second feed starts without a snapshot for a while: its books stay suspect until the snapshot comes.
    let late = dir.path().join("late.dbn");
    let live_first = late_snapshot(&recording, &late);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("gap", &recording, &MODELS)));
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "gap", State::Boot);
    let first = feed(&config, "gap", &input, "5000/s");
    let cnc = cnc_of(&mut sidecar, dir.path(), "gap", State::Run);
    let mut reader = signals(dir.path(), "gap");
    let mut seen = Vec::new();
    wait_for("tradable signals", || {
        drain(&mut reader, &mut seen);
        (seen.iter().filter(|s| s.tradable()).count() > 100).then_some(())
    });
    assert!(seen.iter().all(|s| s.flags & signal_flags::AFTER_GAP == 0), "nothing was lost so far");
    first.kill9();
    let consumed = wait_for("the old ring to be drained", || {
        let before = cnc.ticks_consumed();
        std::thread::sleep(std::time::Duration::from_millis(50));
        (before == cnc.ticks_consumed()).then_some(before)
    });
    drain(&mut reader, &mut seen);
    seen.clear();
    let second = feed(&config, "gap", &late, "20000/s");
    wait_for("the new generation", || (cnc.counters().generation_changes == 1).then_some(()));
    wait_for("whole books", || {
        drain(&mut reader, &mut seen);
        seen.iter().any(|s| s.tradable()).then_some(())
    });
    assert!(cnc.ticks_consumed() > consumed + live_first, "it read on");
    let whole_from = seen.iter().position(|s| s.flags & signal_flags::AFTER_GAP == 0).expect("whole again");
    let flagged = &seen[..whole_from];
    assert!(flagged.len() > 10, "signals before the snapshot are flagged: {}", flagged.len());
    assert!(flagged.iter().all(|s| !s.tradable()));
    assert!(flagged.iter().all(|s| s.ring_seq < live_first), "they end with the snapshot");
    assert!(ctl(dir.path(), "gap", "stop").status.success());
    assert!(sidecar.finish().status.success());
    drop(second);
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!((account.lanes[0].generation_changes, account.lanes[0].end.as_str()), (1, "stopped"));
}

/// Writes 2,000 live records, then the snapshot and all the rest; returns how many records come before the snapshot.
fn late_snapshot(recording: &data::Feed, to: &Path) -> u64 {
    let info = data::FileInfo {
        dataset: recording.dataset.clone(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: recording.words[1],
        end_ns: recording.words[1] + 1,
        instruments: recording.listed(),
    };
    let mut writer = data::DbnWriter::create(to, &info).expect("writable");
    let live = || recording.iter().filter(|r| !View(r).is_snapshot());
    let snapshot = recording.iter().filter(|r| View(r).is_snapshot());
    for record in live().take(2_000).chain(snapshot).chain(live()) {
        writer.write_words(record).expect("writable");
    }
    writer.finish().expect("writable");
    2_000
}

/// A feed faster than the sidecar: losses are counted exactly and flagged, and the sum is what was published.
#[test]
fn a_flood_is_counted() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 200_000);
    let report = dir.path().join("report.json");
    let lane = format!("[feed]\nslots = 64\n[lane]\n{}", lane_keys("flood", &recording, &MODELS));
    let config = config(dir.path(), &lane);
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "flood", State::Boot);
    let ticks = feed(&config, "flood", &input, "20000000/s");
    let cnc = cnc_of(&mut sidecar, dir.path(), "flood", State::Run);
    wait_for("every tick to be read or lost", || (cnc.ticks_consumed() == recording.records).then_some(()));
    assert!(ctl(dir.path(), "flood", "stop").status.success());
    assert!(sidecar.finish().status.success());
    drop(ticks);
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let lane = &account.lanes[0];
    assert!(lane.gaps > 0 && lane.lost > 0, "a 64-slot ring is lapped");
    assert_eq!(lane.ticks + lane.lost, recording.records, "each record is read or counted as lost");
}

/// Two lanes in one process, each with its own feed: neither sees the other's ticks.
#[test]
fn two_lanes() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    if pillion::host::cores::allowed().len() < 2 {
        skip("two lanes need two CPUs");
        return;
    }
    let (input, recording) = synthetic(dir.path(), 4_000);
    let other = dir.path().join("other.dbn.zst");
    synth::write(&other, &synth::Plan { seed: 9, instruments: 2, events: 6_000, events_per_second: 20_000 }).unwrap();
    let other_recording = data::load(&other).unwrap();
    let report = dir.path().join("report.json");
    let lanes = format!(
        "[[lanes]]\n{}[[lanes]]\n{}",
        lane_keys("one", &recording, &MODELS),
        lane_keys("two", &other_recording, &["lgbm-k10", "mlp-k10"])
    );
    let config = config(dir.path(), &lanes);
    let mut sidecar = run(&config, &report);
    // Feeds choose a CPU of their own in a configuration of their own: both CPUs carry a lane already.
    let feeds = dir.path().join("feed.toml");
    std::fs::write(&feeds, format!("[process]\nshm_dir = {:?}\n", dir.path().display().to_string())).unwrap();
    let one = feed(&feeds, "one", &input, "20000/s");
    let two = feed(&feeds, "two", &other, "20000/s");
    for (lane, recording) in [("one", &recording), ("two", &other_recording)] {
        let cnc = cnc_of(&mut sidecar, dir.path(), lane, State::Run);
        wait_for("every tick", || (cnc.ticks_consumed() == recording.records).then_some(()));
    }
    let stopped = ctl(dir.path(), "two", "stop");
    assert!(stdout(&stopped).contains("lane two: STOPPED") && stdout(&stopped).contains("stays up with one"));
    // A stop is its own lane's: the other one goes on, and the name is free for another process.
    let first = cnc_of(&mut sidecar, dir.path(), "one", State::Run);
    assert!(first.owner_alive());
    assert!(ctl(dir.path(), "one", "stop").status.success());
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    drop((one, two));
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let counts: Vec<_> = account
        .lanes
        .iter()
        .map(|l| (l.lane.as_str(), l.ticks, l.rejects, l.signals == l.events * l.models.len() as u64))
        .collect();
    assert_eq!(counts, [("one", recording.records, 0, true), ("two", other_recording.records, 0, true)]);
}

/// A ring that cannot be used in place of the feed's is said once; the lane keeps the ring it has, and the process lives.
#[test]
fn a_foreign_ring_does_not_end_a_lane() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 100_000);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("foreign", &recording, &[])));
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "foreign", State::Boot);
    let ticks = feed(&config, "foreign", &input, "5000/s");
    let cnc = cnc_of(&mut sidecar, dir.path(), "foreign", State::Run);
    let junk = dir.path().join("junk");
    std::fs::write(&junk, vec![7u8; 4096]).unwrap();
    std::fs::rename(&junk, dir.path().join("pillion.foreign.ticks")).unwrap();
    let then = cnc.ticks_consumed();
    wait_for("ticks of the ring it has", || (cnc.ticks_consumed() > then + 1_000).then_some(()));
    assert_eq!((cnc.state(), cnc.counters().generation_changes), (State::Run, 0));
    assert!(ctl(dir.path(), "foreign", "stop").status.success());
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("a new tick ring cannot be used"), "{}", stderr(&ended));
    drop(ticks);
}

/// A sidecar that comes late counts what it came too late for, and trusts no book until a snapshot.
#[test]
fn what_was_overwritten_before_the_start_is_counted() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 3_000);
    let report = dir.path().join("report.json");
    let lane = format!("[feed]\nslots = 256\n[lane]\n{}", lane_keys("late", &recording, &[]));
    let config = config(dir.path(), &lane);
    let ticks = feed(&config, "late", &input, "1000000/s");
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let lane = Lane::in_dir(dir.path(), "late").unwrap();
    wait_for("the whole recording", || {
        let reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).ok()?;
        (reader.head() == recording.records).then_some(())
    });
    let mut sidecar = run(&config, &report);
    let cnc = cnc_of(&mut sidecar, dir.path(), "late", State::Run);
    wait_for("what is left of it", || (cnc.ticks_consumed() == recording.records).then_some(()));
    assert!(ctl(dir.path(), "late", "stop").status.success());
    assert!(sidecar.finish().status.success());
    drop(ticks);
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let lane = &account.lanes[0];
    assert_eq!((lane.gaps, lane.ticks, lane.lost), (1, 256, recording.records - 256));
    assert!(lane.regimes_ns[..3].iter().all(|ns| *ns > 0), "idle, working, housekeeping: {:?}", lane.regimes_ns);
}

/// A feed at the sidecar's pace ends with an error when the sidecar does.
#[test]
fn a_feed_says_when_its_sidecar_is_gone() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 400_000);
    let report = dir.path().join("report.json");
    // Stops early: a lane that is never read on stands for one that died.
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("peer", &recording, &[])));
    let mut sidecar = run(&config, &report);
    cnc_of(&mut sidecar, dir.path(), "peer", State::Boot);
    let pid = rustix::process::Pid::from_raw(sidecar.0.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let ticks = feed(&config, "peer", &input, "max");
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let lane = Lane::in_dir(dir.path(), "peer").unwrap();
    wait_for("a full window", || {
        let reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).ok()?;
        (reader.head() > 0).then_some(())
    });
    sidecar.kill9();
    let ended = ticks.finish();
    assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("the sidecar that set its pace is gone"), "{}", stderr(&ended));
}

/// Signals and the rows of `features` meet under one key: the number of the record that ended the event.
#[test]
fn rows_and_signals_share_a_key() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recording) = synthetic(dir.path(), 4_000);
    let rows = dir.path().join("rows.csv");
    let out = output(pillion().arg("features").arg(&input).arg("-o").arg(&rows));
    assert!(out.status.success(), "{}", stderr(&out));
    let mut reader = csv::Reader::from_path(&rows).unwrap();
    let head = reader.headers().unwrap().clone();
    let at = |name: &str| head.iter().position(|column| column == name).unwrap();
    let (record, ts_event, symbol) = (at("record"), at("ts_event"), at("symbol"));
    let number = |text: &str| text.parse::<u64>().unwrap();
    let rows = reader.records().map(|row| row.unwrap());
    let rows: Vec<_> = rows.map(|row| (number(&row[record]), number(&row[ts_event]), row[symbol].to_owned())).collect();
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("key", &recording, &MODELS)));
    let mut sidecar = run(&config, &dir.path().join("report.json"));
    cnc_of(&mut sidecar, dir.path(), "key", State::Boot);
    let ticks = feed(&config, "key", &input, "max");
    cnc_of(&mut sidecar, dir.path(), "key", State::Run);
    let mut reader = signals(dir.path(), "key");
    let mut seen = Vec::new();
    wait_for("every signal", || {
        drain(&mut reader, &mut seen);
        (seen.len() >= rows.len()).then_some(())
    });
    let symbols: Vec<_> = recording.instruments.iter().map(|i| i.symbol.clone()).collect();
    let keys: Vec<_> = seen.iter().map(|s| (s.ring_seq, s.ts_event, symbols[s.instrument as usize].clone())).collect();
    assert!(keys == rows, "{} signals, {} rows", keys.len(), rows.len());
    assert!(ctl(dir.path(), "key", "stop").status.success());
    assert!(sidecar.finish().status.success());
    drop(ticks);
}

/// Records of another publisher than the lane's, named or the first one's, are counted and touch no book.
#[test]
fn another_publishers_records_are_rejected() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (_, recording) = synthetic(dir.path(), 500);
    let mixed = dir.path().join("mixed.dbn");
    let info = data::FileInfo {
        dataset: recording.dataset.clone(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: recording.words[1],
        end_ns: recording.words[1] + 1,
        instruments: recording.listed(),
    };
    let mut writer = data::DbnWriter::create(&mixed, &info).expect("writable");
    for record in &recording {
        writer.write_words(record).expect("writable");
        let mut other = record.to_vec();
        other[0] |= 7 << 16;
        writer.write_words(&other).expect("writable");
    }
    writer.finish().expect("writable");
    for (n, (publisher, expected)) in [("", 0_u64), ("publisher = 7, ", 7)].into_iter().enumerate() {
        let lane = format!("pub{n}");
        let keys = lane_keys(&lane, &recording, &[]).replace("{ id", &format!("{{ {publisher}id"));
        let config = config(dir.path(), &format!("[lane]\n{keys}"));
        let report = dir.path().join(format!("{lane}.json"));
        let mut sidecar = run(&config, &report);
        cnc_of(&mut sidecar, dir.path(), &lane, State::Boot);
        let ticks = feed(&config, &lane, &mixed, "max");
        let cnc = cnc_of(&mut sidecar, dir.path(), &lane, State::Run);
        wait_for("every tick", || (cnc.ticks_consumed() == 2 * recording.records).then_some(()));
        assert!(ctl(dir.path(), &lane, "stop").status.success());
        assert!(sidecar.finish().status.success());
        drop(ticks);
        let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        let lane = &account.lanes[0];
        assert_eq!(lane.rejects_by_reason["other_publisher"], recording.records, "publisher {expected} alone is taken");
        assert_eq!(lane.book.get("duplicate_add"), None, "no order came twice to a book");
    }
}
