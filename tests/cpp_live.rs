//! C++ feed → real sidecar → C++ reader, three processes, on whole real days: each field of each signal is the one that a
//! Rust reader sees, and all of them are those of the Rust-only replay.

mod common;
#[path = "../shm/tests/common/cxx.rs"]
mod cxx;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use pillion::data::{Feed, limits};
use pillion::hot::decode::Instruments;
use pillion::lab::replay::ReplayReport;
use pillion_shm::{Clock, From, Kind, Lane, Poll, RingReader, Signal, SignalTables, State, signal_flags};

const MODELS: [&str; 2] = ["mlp-k10", "lgbm-k10"];
/// Enough for all signals of a day, so that a reader that the scheduler forgets for a while loses none.
const SIGNAL_SLOTS: usize = 1 << 19;

/// What the replay of `input`, Rust on both sides, says.
fn replay(dir: &Path, input: &Path) -> ReplayReport {
    let models = MODELS.map(|m| format!("{:?}", model(m).display().to_string()));
    let config = config(
        dir,
        &format!("[lane]\nengine = \"ort-cpu\"\nmodels = [{}]\nsignal_slots = {SIGNAL_SLOTS}\n", models.join(", ")),
    );
    let json = dir.join("replay.json");
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config).arg("--input").arg(input).args(["--rate", "max"]);
    command.arg("--instruments").arg(es_instruments());
    let out = output(command.arg("--json").arg(&json));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    serde_json::from_slice(&std::fs::read(json).unwrap()).expect("its own schema")
}

/// The lane of the live run, with the limits that a replay of the same recording takes.
fn live_config(dir: &Path, feed: &Feed) -> PathBuf {
    let needed = limits::needed(feed, &Instruments::new(&feed.instruments).unwrap());
    let most =
        |of: fn(&pillion::hot::book::Limits) -> usize, least: usize| needed.iter().map(of).fold(least, usize::max);
    let (orders, levels) = (most(|l| l.max_orders, 16_384), most(|l| l.max_levels, 2_048));
    let keys = lane_keys("live", feed, &MODELS);
    config(dir, &format!("[lane]\n{keys}max_orders = {orders}\nmax_levels = {levels}\nsignal_slots = {SIGNAL_SLOTS}\n"))
}

/// Every signal of the ring, from the first, and its tables.
fn rust_reader(dir: &Path) -> (Vec<Signal>, SignalTables) {
    let clock = Clock::attach_or_create(dir).unwrap();
    let lane = Lane::in_dir(dir, "live").unwrap();
    let mut reader = RingReader::attach(&lane, Kind::Signals, From::Start, &clock).expect("the signal ring");
    let tables = SignalTables::from_bytes(reader.table()).expect("the tables");
    let (mut signals, mut words) = (Vec::new(), [0; 14]);
    while let Poll::Record { .. } = reader.poll(&mut words) {
        signals.push(Signal::from_words(&words));
    }
    (signals, tables)
}

fn blake3(signals: &[Signal]) -> String {
    let mut hasher = blake3::Hasher::new();
    signals.iter().for_each(|signal| _ = hasher.update(bytemuck::bytes_of(&signal.normalised())));
    hasher.finalize().to_hex().to_string()
}

/// What the C++ reader must have told of the tables, by the recording, the models' manifests as they stand in their files,
/// and what the replay said of the engine: no shared memory has a part in it.
fn told(feed: &Feed, report: &ReplayReport) -> String {
    let mut text = String::new();
    for i in &feed.instruments {
        text += &format!("instrument {} {} {} {}\n", i.id, i.symbol, i.tick_size, i.size_unit);
    }
    assert_eq!(report.models.len(), MODELS.len());
    for (name, used) in MODELS.iter().zip(&report.models) {
        let manifest = std::fs::read_to_string(model(name).join("manifest.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let word = |key: &str| manifest[key].as_str().unwrap_or_else(|| panic!("{key} of {name}"));
        assert_eq!((*name, used.name.as_str(), used.sha256.as_str()), (word("name"), *name, word("onnx_sha256")));
        text += &format!("model {name} {}\n  sha256 {}\n", manifest["revision"], used.sha256);
        text += &format!("  features {}\n", word("features_hash"));
        for output in manifest["outputs"].as_array().unwrap() {
            text += &format!("  output {}\n", output.as_str().unwrap());
        }
        text += &format!("  meaning {}\n  horizon {}\n", word("meaning"), manifest["horizon_events"]);
        text += &format!("  runs on {}, {}, {}\n", used.engine, used.isa, used.runtime);
    }
    text
}

/// The board's cells in order: the last signal of each instrument and model that the ring had, but for those that never
/// reach it.
fn last_values(signals: &[Signal], tables: &SignalTables) -> Vec<Signal> {
    let of = |i: usize, m: usize| {
        let hidden = signal_flags::INVALID | signal_flags::HALTED | signal_flags::CATCHING_UP;
        let is = |s: &&Signal| (s.instrument as usize, usize::from(s.model)) == (i, m) && s.flags & hidden == 0;
        signals.iter().rev().find(is)
    };
    let models = 0..tables.models.len();
    (0..tables.instruments.len()).flat_map(|i| models.clone().filter_map(move |m| of(i, m).copied())).collect()
}

/// The three processes on `input`, a plain .dbn file.
fn day(input: &Path, compiler: &cxx::Compiler) {
    let dir = shm_dir();
    let (feed_program, reader_program) =
        (compiler.build("examples/feed.cpp", &[]), compiler.build("tests/cpp/live_reader.cpp", &[]));
    let recording = load_settled(input);
    let expected = replay(dir.path(), input);
    assert_eq!((expected.ticks, expected.gaps, expected.rejects), (recording.records, 0, 0));

    let config = live_config(dir.path(), &recording);
    let report = dir.path().join("report.json");
    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(config).arg("--report").arg(report));
    cnc_of(&mut sidecar, dir.path(), "live", State::Boot);
    let read_back = dir.path().join("signals.bin");
    let reader = Running::start(Command::new(reader_program).arg(dir.path()).arg("live").arg(&read_back));
    let feed = Running::start(
        Command::new(feed_program)
            .arg(input)
            .args(["--lane", "live", "--rate", "max", "--lossless"])
            .arg("--dir")
            .arg(dir.path()),
    );
    let fed = feed.finish();
    assert!(fed.status.success(), "{}{}", stdout(&fed), stderr(&fed));
    let ticks = pillion::report::table::thousands(recording.records);
    for words in
        [format!("published  {ticks} records"), format!("consumed   {ticks} by the sidecar"), "lost 0 ticks".into()]
    {
        assert!(stdout(&fed).contains(&words), "no {words:?} in\n{}", stdout(&fed));
    }
    let stopped = output(pillion().args(["ctl", "live", "stop", "--shm-dir"]).arg(dir.path()));
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    let read = reader.finish();
    assert!(read.status.success(), "{}", stderr(&read));

    let (signals, tables) = rust_reader(dir.path());
    let bytes = std::fs::read(&read_back).unwrap();
    let theirs: Vec<Signal> = bytes.chunks_exact(size_of::<Signal>()).map(bytemuck::pod_read_unaligned).collect();
    let (ring, board) = theirs.split_at(signals.len().min(theirs.len()));
    if let Some(i) = (0..ring.len()).find(|&i| bytemuck::bytes_of(&ring[i]) != bytemuck::bytes_of(&signals[i])) {
        panic!("signal {i}: C++ has {:?}, Rust {:?}", ring[i], signals[i]);
    }
    assert_eq!(signals.len() as u64, expected.signals);
    assert_eq!(board, last_values(&signals, &tables), "the board's cells");
    let counts = format!(
        "signals {0} lost 0 cells {1} published {0} consumed {2}\n",
        signals.len(),
        board.len(),
        recording.records
    );
    assert_eq!(stdout(&read), told(&recording, &expected) + &counts);
    assert_eq!(blake3(ring), expected.signals_blake3, "C++ on both sides and Rust on both sides say the same");
}

/// Converts by `pillion convert`, and runs the day.
fn converted(format: &str, file: &str, compiler: Option<cxx::Compiler>) {
    let (Some(file), Some(compiler), true) = (shared(file), compiler, has_onnxruntime()) else { return };
    let (_guard, folder) = (one_at_a_time(), tempfile::tempdir().unwrap());
    let plain = folder.path().join("day.dbn");
    let out = output(pillion().args(["convert", format]).arg(file).arg("-o").arg(&plain));
    assert!(out.status.success(), "{}", stderr(&out));
    day(&plain, &compiler);
}

#[test]
fn the_es_day() {
    converted("dbn", ES, cxx::compiler());
}

#[test]
fn the_goog_day() {
    converted("lobster", "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip", cxx::clang());
}
