//! Recordings as every command reads them: in one order, with one book schema for an instrument, and with events that end.

mod common;

use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use common::*;
use pillion::data::{self, DbnWriter, Feed, FileInfo, order, synth};
use pillion::hot::decode::Instrument;
use pillion::lab::replay::ReplayReport;
use pillion_shm::State;
use pillion_shm::records::{BidAskPair, MboMsg, Mbp1Msg, MbpMsg, RecordHeader, TradeMsg, UNDEF_PRICE, flags, rtype};
use tempfile::TempDir;

const UNIT: i64 = 1_000_000_000;

fn header<T>(rtype: u8, ts_event: u64) -> RecordHeader {
    let length = (size_of::<T>() / 4) as u8;
    RecordHeader { length, rtype, publisher_id: 1, instrument_id: 1, ts_event }
}

fn order(ts: u64, action: u8, side: u8, order_id: u64, price: i64, size: u32) -> MboMsg {
    let hd = header::<MboMsg>(rtype::MBO, ts);
    let sequence = ts as u32;
    MboMsg { hd, flags: flags::LAST, action, side, order_id, price: price * UNIT, size, sequence, ..Zeroable::zeroed() }
}

fn trade(ts: u64, size: u32) -> TradeMsg {
    let hd = header::<TradeMsg>(rtype::TRADE, ts);
    let (action, side, sequence) = (b'T', b'B', ts as u32);
    TradeMsg { hd, price: 101 * UNIT, size, action, side, flags: flags::LAST, sequence, ..Zeroable::zeroed() }
}

fn quote<const N: usize>(ts: u64, action: u8, size: u32, asks: u32) -> MbpMsg<N> {
    let rtype = if N == 1 { rtype::MBP_1 } else { rtype::MBP_10 };
    let hd = header::<MbpMsg<N>>(rtype, ts);
    let nothing = BidAskPair { bid_px: UNDEF_PRICE, ask_px: UNDEF_PRICE, ..Zeroable::zeroed() };
    let best = BidAskPair { bid_px: 100 * UNIT, ask_px: 101 * UNIT, bid_sz: 5, ask_sz: asks, bid_ct: 1, ask_ct: 1 };
    let mut levels = [nothing; N];
    levels[0] = best;
    MbpMsg { event: TradeMsg { hd, action, ..trade(ts, size) }, levels }
}

/// A recording, written record by record.
struct Recording {
    folder: TempDir,
    path: PathBuf,
    writer: Option<DbnWriter>,
}

impl Recording {
    fn new() -> Recording {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.dbn");
        let test = Instrument { id: 1, publisher: Some(1), symbol: "TEST".to_owned(), tick_size: UNIT, size_unit: 1.0 };
        let instruments = vec![test.into()];
        let info = FileInfo { dataset: "XNAS.ITCH".to_owned(), schema: None, start_ns: 0, end_ns: 1, instruments };
        let writer = Some(DbnWriter::create(&path, &info).unwrap());
        Recording { folder, path, writer }
    }

    fn with<T: Pod>(mut self, record: T) -> Recording {
        self.writer.as_mut().unwrap().write(&record).unwrap();
        self
    }

    fn written(mut self) -> Recording {
        self.writer.take().unwrap().finish().unwrap();
        self
    }

    /// Standard output, standard error and exit code of a command with this file.
    fn run(&self, args: &[&str]) -> (String, String, Option<i32>) {
        let (command, more) = args.split_first().unwrap();
        let done = output(pillion().arg(command).arg(&self.path).args(more));
        (stdout(&done), stderr(&done), done.status.code())
    }

    /// The signed volume of each event by `features`, and what it said.
    fn volumes(&self, more: &[&str]) -> (Vec<String>, String) {
        let set = self.folder.path().join("set.toml");
        let text = "name = \"t\"\nwarmup_events = 0\n[[feature]]\nkind = \"signed_volume\"\n";
        std::fs::write(&set, text).unwrap();
        let set = set.display().to_string();
        let (rows, said, code) = self.run(&[&["features", "--set", &set][..], more].concat());
        assert_eq!(code, Some(0), "{said}");
        let last = |row: &str| row.rsplit(',').next().unwrap().to_owned();
        (rows.lines().skip(1).map(last).collect(), said)
    }
}

fn mixed_book() -> Recording {
    Recording::new()
        .with(order(1, b'A', b'B', 1, 100, 5))
        .with(order(2, b'A', b'B', 2, 99, 2))
        .with(quote::<1>(2, b'A', 2, 7))
        .with(order(3, b'A', b'A', 3, 101, 7))
        .with(quote::<1>(3, b'A', 7, 7))
        .with(order(4, b'C', b'B', 1, 100, 5))
        .with(quote::<1>(4, b'C', 5, 7))
        .written()
}

#[test]
fn a_mix_of_book_schemas_is_refused_by_name_or_chosen_from() {
    let mixed = mixed_book();
    for command in ["book", "features"] {
        let (rows, said, code) = mixed.run(&[command]);
        assert_eq!((code, rows.as_str()), (Some(2), ""), "{command}");
        assert!(said.contains("instrument 1 (TEST) of publisher 1"), "{said}");
        assert!(
            said.contains("mbo (first record 1) and mbp-1 (first record 3)") && said.contains("--schema mbo"),
            "{said}"
        );
        let (_, said, code) = mixed.run(&[command, "--schema", "mbp-10"]);
        assert!(code == Some(2) && said.contains("no such record"), "{said}");
    }
    let (rows, said, _) = mixed.run(&["book", "--levels", "2", "--schema", "mbo"]);
    let rows: Vec<_> = rows.lines().skip(1).collect();
    assert_eq!(rows[2], "3,1,1,TEST,3,2,100000000000,5,1,101000000000,7,1,99000000000,2,1,,,");
    assert_eq!((rows[3], rows.len()), ("4,1,1,TEST,4,3,99000000000,2,1,101000000000,7,1,,,,,,", 4));
    assert!(said.contains("3 records of other book schemas left out"), "{said}");
    let (rows, ..) = mixed.run(&["book", "--levels", "1", "--schema", "mbp-1"]);
    assert_eq!(rows.lines().count(), 1 + 3);
}

/// What is left shows one level, and a set that looks deeper is told so.
#[test]
fn the_chosen_schema_says_how_deep_the_records_are() {
    let mixed = mixed_book();
    let (_, said, _) = mixed.run(&["features", "--set", "book", "--schema", "mbp-1"]);
    assert!(said.contains("TEST: the records show 1 level of a side"), "{said}");
    let (_, said, _) = mixed.run(&["features", "--set", "book", "--schema", "mbo"]);
    assert!(!said.contains("the records show"), "{said}");
}

/// Instruments of one symbol are named once.
#[test]
fn a_symbol_is_named_once_for_what_it_does_not_show() {
    let of = |publisher_id| {
        let quote = quote::<1>(2, b'A', 2, 7);
        Mbp1Msg { event: TradeMsg { hd: RecordHeader { publisher_id, ..quote.event.hd }, ..quote.event }, ..quote }
    };
    let two = Recording::new().with(of(1)).with(of(2)).written();
    let (_, said, _) = two.run(&["features", "--set", "book"]);
    assert!(said.contains("warning: TEST: the records show 1 level of a side"), "{said}");
}

/// Merging makes such a file of two that are none: it is said.
#[test]
fn a_merge_that_mixes_says_so() {
    let orders = Recording::new().with(order(1, b'A', b'B', 1, 100, 5)).written();
    let quotes = Recording::new().with(quote::<1>(2, b'A', 2, 7)).written();
    let to = orders.folder.path().join("both.dbn").display().to_string();
    let merge = |other: &Recording| {
        let done = output(pillion().arg("merge").args([&orders.path, &other.path]).args(["-o", &to]));
        assert!(done.status.success(), "{}", stderr(&done));
        stderr(&done)
    };
    let said = merge(&quotes);
    assert!(said.contains("instrument 1 of publisher 1 comes as mbo and mbp-1"), "{said}");
    assert_eq!(merge(&Recording::new().with(trade(2, 3)).written()), "");
}

/// A live lane cannot refuse the stream: the first book schema is the book's, records of others are counted.
#[test]
fn a_lane_takes_the_first_book_schema() {
    let mixed = mixed_book();
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let lane = "[lane]\nname = \"a\"\ninstruments = [{ id = 1, symbol = \"TEST\", tick_size = \"1\" }]\n";
    let config = config(dir.path(), lane);
    let report = dir.path().join("report.json");
    let mut command = pillion();
    let sidecar = Running::start(command.arg("run").arg("--config").arg(&config).arg("--report").arg(&report));
    // As a feed of one's own would, which nobody stops from mixing.
    let lane = pillion_shm::Lane::in_dir(dir.path(), "a").unwrap();
    let clock = pillion_shm::Clock::attach_or_create(dir.path()).unwrap();
    let spec = pillion_shm::RingSpec { capacity: 64, record_words: 14, table: Vec::new() };
    let access = pillion_shm::Access { lock: pillion_shm::LockMemory::No, ..Default::default() };
    let mut ring = pillion_shm::RingWriter::create(&lane, pillion_shm::Kind::Ticks, &spec, &clock, &access).unwrap();
    data::load(&mixed.path).unwrap().iter().for_each(|record| {
        ring.publish(record);
    });
    let cnc = cnc_in(dir.path(), "a", State::Run);
    wait_for("all seven ticks", || (cnc.consumed_of(ring.generation()) == 7).then_some(()));
    let out = output(pillion().args(["ctl", "a", "stop", "--shm-dir"]).arg(dir.path()));
    assert!(out.status.success(), "{}", stderr(&out));
    let out = sidecar.finish();
    assert!(out.status.success(), "{}", stderr(&out));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let counts = &report["lanes"][0];
    assert_eq!(counts["rejects_by_reason"], serde_json::json!({ "other_schema": 3 }), "{counts}");
    assert_eq!((&counts["events"], &counts["ticks"]), (&4.into(), &7.into()));
}

/// One trade of 3, told by the book's schema and by the trades schema, in either order, is one trade of 3.
#[test]
fn a_trade_of_two_schemas_counts_once() {
    let (before, ten, after) = (quote::<10>(1, b'A', 5, 5), quote::<10>(2, b'T', 3, 5), quote::<10>(2, b'C', 3, 2));
    let book_first = Recording::new().with(before).with(ten).with(trade(2, 3)).with(after).written();
    let (volumes, said) = book_first.volumes(&[]);
    assert_eq!(volumes, ["0.0", "3.0", "0.0"]);
    assert!(said.contains("repeated_trade: 1"), "{said}");
    let trade_first = Recording::new().with(before).with(trade(2, 3)).with(ten).with(after).written();
    assert_eq!(trade_first.volumes(&[]).0, ["0.0", "3.0", "0.0", "0.0"], "the levels behind it still come");
    let one: Mbp1Msg = quote::<1>(2, b'T', 3, 5);
    let quoted = Recording::new().with(quote::<1>(1, b'A', 5, 5)).with(one).with(trade(2, 3)).written();
    assert_eq!(quoted.volumes(&[]).0, ["0.0", "3.0"]);
    let mut orders = Recording::new().with(order(1, b'A', b'A', 1, 101, 5)).with(order(2, b'T', b'B', 0, 101, 3));
    orders = orders.with(trade(2, 3)).with(order(2, b'C', b'A', 1, 101, 3)).with(trade(5, 2)).written();
    assert_eq!(orders.volumes(&[]).0, ["0.0", "3.0", "0.0", "2.0"], "a trade that only one tells counts too");
    // Binance's books tell no trades: all are the trades schema's.
    let alone = Recording::new().with(quote::<10>(1, b'A', 5, 5)).with(trade(2, 3)).with(trade(2, 3)).written();
    assert_eq!(alone.volumes(&[]).0, ["0.0", "3.0", "3.0"]);
}

fn endless() -> Recording {
    let open = |record: MboMsg| MboMsg { flags: 0, ..record };
    Recording::new()
        .with(open(order(1, b'R', b'N', 0, 0, 0)))
        .with(open(order(2, b'A', b'B', 1, 100, 5)))
        .with(open(order(2, b'A', b'B', 2, 99, 5)))
        .with(open(order(3, b'A', b'A', 3, 101, 7)))
        .written()
}

#[test]
fn a_stream_without_f_last_is_said_and_can_be_mended() {
    let stream = endless();
    let told = |said: &str| {
        assert!(said.contains("none of the 4 records of instrument 1 (TEST) of publisher 1 has F_LAST"), "{said}");
        assert!(said.contains("convert dbn FILE -o OUT --mark-last"), "{said}");
    };
    for command in ["book", "features"] {
        let (rows, said, code) = stream.run(&[command]);
        assert_eq!((rows.lines().count(), code), (1, Some(0)), "{command}");
        told(&said);
    }
    let to = stream.folder.path().join("mended.dbn").display().to_string();
    let convert = |more: &[&str]| {
        let input = stream.path.display().to_string();
        let done = output(pillion().args(["convert", "dbn", &input, "-o", &to]).args(more));
        assert!(done.status.success(), "{}", stderr(&done));
        (stdout(&done), stderr(&done))
    };
    told(&convert(&[]).1);
    let (said, warned) = convert(&["--mark-last"]);
    assert!(said.contains("3 records marked as the last of their events") && warned.is_empty(), "{said}{warned}");
    let rows = stdout(&output(pillion().args(["book", &to, "--levels", "2"])));
    let rows: Vec<_> = rows.lines().skip(1).collect();
    assert_eq!((rows.len(), rows[1]), (3, "2,1,1,TEST,2,2,100000000000,5,1,,,,99000000000,5,1,,,"));
    // A snapshot's last record ends it, and events that end are left as they are.
    let snapshot = |record: MboMsg, last: u8| MboMsg { flags: flags::SNAPSHOT | last, ..record };
    let whole = Recording::new()
        .with(snapshot(order(1, b'A', b'B', 1, 100, 5), 0))
        .with(snapshot(order(2, b'A', b'B', 2, 99, 5), 0))
        .with(order(9, b'A', b'A', 3, 101, 7))
        .written();
    let (_, said, _) = whole.run(&["book"]);
    assert_eq!(said, "", "events end, and a snapshot without an end is usual");
}

/// The sidecar cannot know the whole stream: it says so once an event has gone on for long.
#[test]
fn a_feed_without_f_last_is_said_once() {
    let mut stream = Recording::new();
    for n in 0..3_000u64 {
        stream = stream.with(MboMsg { flags: 0, ..order(n + 1, b'A', b'B', n + 1, 100, 1) });
    }
    let stream = stream.written();
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let lane = "[lane]\nname = \"a\"\ninstruments = [{ id = 1, symbol = \"TEST\", tick_size = \"1\" }]\n";
    let config = config(dir.path(), lane);
    let mut command = pillion();
    let sidecar = Running::start(command.arg("run").arg("--config").arg(&config));
    let mut command = pillion();
    command.arg("feed").arg("--config").arg(&config).arg("--input").arg(&stream.path);
    let feed = Running::start(command.args(["--lane", "a", "--rate", "100000/s", "--linger"]));
    let cnc = cnc_in(dir.path(), "a", State::Run);
    wait_for("the ticks", || (cnc.ticks_consumed() >= 3_000).then_some(()));
    // The cold side looks every few milliseconds; many looks later it has said it once.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(output(pillion().args(["ctl", "a", "stop", "--shm-dir"]).arg(dir.path())).status.success());
    let said = stderr(&sidecar.finish());
    feed.kill9();
    assert_eq!(said.matches("their event has not ended").count(), 1, "{said}");
    assert!(
        said.contains("lane a: ") && said.contains("instrument 1 (TEST)") && said.contains("F_LAST (128"),
        "{said}"
    );
}

/// Instrument after instrument, as files are joined: out of order between them, in order within each.
fn instrument_by_instrument(folder: &Path) -> (PathBuf, PathBuf) {
    let synthetic = folder.join("synth.dbn");
    let plan = synth::Plan { seed: 5, instruments: 3, events: 3_000, events_per_second: 5_000 };
    synth::write(&synthetic, &plan).unwrap();
    let feed = data::load(&synthetic).unwrap();
    let write = |name: &str, records: &[&[u64]]| {
        let path = folder.join(name);
        let instruments = feed.listed();
        let info = FileInfo { dataset: feed.dataset.clone(), schema: None, start_ns: 0, end_ns: 1, instruments };
        let mut writer = DbnWriter::create(&path, &info).unwrap();
        records.iter().for_each(|record| writer.write_words(record).unwrap());
        writer.finish().unwrap();
        path
    };
    let mut apart: Vec<&[u64]> = feed.iter().collect();
    apart.sort_by_key(|record| record[0] >> 32);
    let joined = write("joined.dbn", &apart);
    let sorted: Feed = order::sort(data::load(&joined).unwrap());
    let in_order = write("in_order.dbn", &sorted.iter().collect::<Vec<_>>());
    (joined, in_order)
}

/// `features` and `replay` order a recording by the same function: rows and signals are those of the file in that order.
#[test]
fn features_and_replay_sort_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (joined, in_order) = instrument_by_instrument(folder.path());
    let rows = |path: &Path, more: &[&str]| {
        let done = output(pillion().arg("features").arg(path).args(more));
        assert!(done.status.success(), "{}", stderr(&done));
        (stdout(&done), stderr(&done))
    };
    let (sorted, said) = rows(&joined, &["--sort"]);
    assert!(
        said.contains("of another instrument, by each one's latest ts_event so far") && said.contains("; sorted"),
        "{said}"
    );
    let (expected, quiet) = rows(&in_order, &[]);
    assert!(sorted == expected && sorted.lines().count() > 3_000 && !quiet.contains("warning"), "{quiet}");
    let (unsorted, said) = rows(&joined, &[]);
    assert!(unsorted != expected && said.contains("warning: ") && said.contains("--sort interleaves"), "{said}");
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let models = format!("[lane]\nengine = \"ort-cpu\"\nmodels = [{:?}]\n", model("mlp-k10").display().to_string());
    let config = config(dir.path(), &models);
    let replay = |input: &Path, more: &[&str]| -> ReplayReport {
        let json = dir.path().join("r.json");
        let mut command = pillion();
        command
            .arg("replay")
            .arg("--config")
            .arg(&config)
            .arg("--input")
            .arg(input)
            .args(more)
            .arg("--json")
            .arg(&json);
        let done = output(&mut command);
        assert!(done.status.success(), "{}", stderr(&done));
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
    };
    let (one, other) = (replay(&joined, &["--sort"]), replay(&in_order, &[]));
    assert_eq!(one.signals_blake3, other.signals_blake3);
    assert_eq!((one.sorted, one.out_of_order, other.out_of_order), (true, 0, 0));
    assert_eq!(one.events as usize, sorted.lines().count() - 1, "a row for each event");
    assert!(replay(&joined, &[]).out_of_order > 0);
}
