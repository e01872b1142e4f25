//! Tick size, size unit, symbol and publisher: stated by a file, a configuration or the data's own definitions, refused where
//! two contradict each other or nobody states them, and guessed only where asked, without a look ahead.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use pillion::cold::data::facts::{FactsArgs, Source};
use pillion::cold::data::merge::{self, Plan};
use pillion::cold::data::{self, DbnWriter, Facts, Feed, FileInfo, Listed, synth};
use pillion::cold::offline::Offline;
use pillion::hot::decode::Instrument;
use pillion::hot::features::FeatureSet;
use pillion_shm::records::{MboMsg, RecordHeader, UNDEF_PRICE, flags, rtype};
use proptest::prelude::*;

/// A cent in 1e-9.
const CENT: i64 = 10_000_000;
/// 2023-11-14 22:13:20 UTC.
const START: u64 = 1_700_000_000_000_000_000;
const DAY: u64 = 86_400_000_000_000;

/// An add that is an event of its own.
fn add(at: u64, publisher: u16, order: (u64, u8), price: i64, size: u32) -> MboMsg {
    let hd = RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: publisher, instrument_id: 1, ts_event: START + at };
    let zero: MboMsg = bytemuck::Zeroable::zeroed();
    let (order_id, side) = order;
    MboMsg { hd, order_id, price, size, flags: flags::LAST, action: b'A', side, ts_recv: START + at, ..zero }
}

fn write(path: &Path, instruments: Vec<Listed>, records: &[MboMsg]) -> PathBuf {
    let info = FileInfo {
        dataset: "XNAS.ITCH".to_owned(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: START,
        end_ns: START + DAY,
        instruments,
    };
    let mut writer = DbnWriter::create(path, &info).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap();
    path.to_owned()
}

fn defined(symbol: &str, id: u32, tick_size: i64, size_unit: f64) -> Listed {
    Instrument { id, publisher: Some(1), symbol: symbol.to_owned(), tick_size, size_unit }.into()
}

/// A bid and an ask two cents apart, and again; with `stub` a bid at a hundredth of a cent between them.
fn quotes(stub: bool) -> Vec<MboMsg> {
    let mut all = vec![add(1, 1, (1, b'B'), 15_000 * CENT, 5), add(2, 1, (2, b'A'), 15_002 * CENT, 5)];
    if stub {
        all.push(add(3, 1, (3, b'B'), CENT / 100, 5));
    }
    all.push(add(4, 1, (4, b'B'), 14_999 * CENT, 5));
    all
}

struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    fn of(text: &str) -> Rows {
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        Rows { columns: lines.next().unwrap(), rows: lines.collect() }
    }

    fn column(&self, name: &str) -> Vec<&str> {
        let at = self.columns.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
        self.rows.iter().map(|row| row[at].as_str()).collect()
    }
}

fn features(file: &Path, more: &[&str]) -> (Rows, String) {
    let out = output(pillion().arg("features").arg(file).args(more));
    assert!(out.status.success(), "{}", stderr(&out));
    (Rows::of(&stdout(&out)), stderr(&out))
}

fn refused(command: &mut std::process::Command, said: &[&str]) {
    let out = output(command);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    for part in said {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

fn args(path: &Path) -> FactsArgs {
    FactsArgs { instruments: Some(path.to_owned()), guess: false }
}

#[test]
fn a_tick_size_that_nobody_states_is_refused_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("plain.dbn"), vec![Listed::named("TEST", 1)], &quotes(false));
    let parts = [
        "nothing states the tick size of TEST (id 1, publisher 1)",
        "--instruments",
        "[[instruments]]\n    id = 1\n    symbol = \"TEST\"\n    tick_size = \"?\"",
        "--guess",
    ];
    refused(pillion().arg("features").arg(&file), &parts);
    let to = folder.path().join("rows.parquet");
    refused(pillion().arg("features").arg(&file).arg("-o").arg(&to), &parts);
    assert!(!to.exists());
    for command in ["replay", "sweep", "lab"] {
        refused(pillion().args([command, "--config", "config/default.toml", "--input"]).arg(&file), &parts);
    }
    // A book is of prices as they are, and needs none.
    let out = output(pillion().arg("book").arg(&file));
    assert!(out.status.success() && stdout(&out).lines().count() == 4, "{}", stderr(&out));
}

#[test]
fn a_stub_quote_changes_no_unit() {
    let folder = tempfile::tempdir().unwrap();
    let facts = folder.path().join("facts.toml");
    std::fs::write(&facts, "[[instruments]]\nid = 1\ntick_size = \"0.01\"\n").unwrap();
    for stub in [false, true] {
        let file = write(&folder.path().join(format!("{stub}.dbn")), vec![Listed::named("TEST", 1)], &quotes(stub));
        let (rows, said) = features(&file, &["--instruments", facts.to_str().unwrap()]);
        assert_eq!(rows.column("spread").last(), Some(&"2.0"));
        assert_eq!(rows.column("symbol"), vec!["TEST"; 3 + usize::from(stub)]);
        assert!(said.contains("TEST (id 1, publisher 1): tick size 0.01, size unit 1 ("), "{said}");
        let off = "TEST: prices that are no multiple of the tick size 0.01: 1 of orders or quotes, 0 of trades";
        assert_eq!(said.contains(off), stub, "{said}");
    }
}

#[test]
fn facts_come_from_toml_a_configuration_or_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = write(&at("plain.dbn"), vec![Listed::named("TEST", 1)], &quotes(false));
    let text = |name: &str, text: &str| {
        std::fs::write(at(name), text).unwrap();
        at(name)
    };
    let definitions = write(&at("definitions.dbn"), vec![defined("TEST", 1, 2 * CENT, 0.5)], &[]);
    let given = [
        text("symbol.toml", "[[instruments]]\nsymbol = \"TEST\"\ntick_size = \"0.02\"\nsize_unit = 0.5\n"),
        text("both.toml", "instruments = [{ id = 1, symbol = \"TEST\", tick_size = \"0.02\", size_unit = 0.5 }]\n"),
        text("lane.toml", "[lane]\ninstruments = [{ id = 1, symbol = \"TEST\", tick_size = \"0.02\", size_unit = 0.5 }]\n"),
        text("dated.toml", "[[instruments]]\nid = 1\ntick_size = \"0.02\"\nsize_unit = 0.5\nfrom = 2023-11-14\nto = \"2023-11-15\"\n"),
        definitions,
    ];
    for path in &given {
        let mut feed = data::load(&file).unwrap();
        Facts::from(&args(path)).and_then(|facts| facts.settle(&mut feed)).unwrap();
        let one = &feed.instruments[0];
        assert_eq!((one.tick_size, one.size_unit, one.symbol.as_str()), (2 * CENT, 0.5, "TEST"), "{}", path.display());
        assert_eq!(feed.identities[0].source, Some(Source::Given(path.display().to_string())));
    }
    // Another symbol of that number, another publisher, another day: not this instrument.
    for (name, entry, said) in [
        ("other.toml", "id = 1\nsymbol = \"TSET\"\n", "calls number 1 \"TSET\", the file \"TEST\""),
        ("publisher.toml", "id = 1\npublisher = 2\n", "nothing states"),
        ("later.toml", "id = 1\nfrom = \"2023-11-15\"\n", "nothing states"),
        ("earlier.toml", "id = 1\nto = \"2023-11-14\"\n", "nothing states"),
    ] {
        let path = text(name, &format!("[[instruments]]\n{entry}tick_size = \"0.02\"\n"));
        refused(pillion().arg("features").arg(&file).arg("--instruments").arg(path), &[said]);
    }
    for (name, whole, said) in [
        ("float.toml", "[[instruments]]\nid = 1\ntick_size = 0.02\n", "instrument 1 of the list"),
        ("pasted.toml", "[[instruments]]\nid = 1\ntick_size = \"?\"\n", "tick_size \"?\""),
        ("nobody.toml", "[[instruments]]\ntick_size = \"1\"\n", "has neither id nor symbol"),
        ("unit.toml", "[[instruments]]\nid = 1\ntick_size = \"1\"\nsize_unit = -1.0\n", "size_unit is -1"),
        ("empty.toml", "instruments = []\n", "instruments is no list"),
        ("more.toml", "x = 1\n[[instruments]]\nid = 1\ntick_size = \"1\"\n", "key `x`"),
    ] {
        refused(pillion().arg("features").arg(&file).arg("--instruments").arg(text(name, whole)), &[name, said]);
    }
    refused(pillion().arg("features").arg(&file).args(["--instruments", "no-such.toml"]), &["no-such.toml"]);
}

#[test]
fn contradictions_are_refused_with_both_values() {
    let dir = shm_dir();
    let at = |name: &str| dir.path().join(name);
    let file = write(&at("defined.dbn"), vec![defined("TEST", 1, CENT, 1.0)], &quotes(false));
    std::fs::write(at("wrong.toml"), "[[instruments]]\nsymbol = \"TEST\"\ntick_size = \"0.05\"\n").unwrap();
    std::fs::write(at("right.toml"), "[[instruments]]\nsymbol = \"TEST\"\ntick_size = \"0.010\"\n").unwrap();
    let said = ["TEST (id 1, publisher 1)", "tick size is 0.05 by ", "and 0.01 by the file's own definition"];
    refused(pillion().arg("features").arg(&file).arg("--instruments").arg(at("wrong.toml")), &said);
    features(&file, &["--instruments", at("right.toml").to_str().unwrap()]);
    for (unit, said) in [
        ("tick_size = \"0.05\"", "tick size is 0.05 by configuration"),
        ("tick_size = \"0.01\", size_unit = 0.001", "size unit is 0.001 by configuration"),
    ] {
        let lane = config(dir.path(), &format!("[lane]\ninstruments = [{{ id = 1, symbol = \"mine\", {unit} }}]\n"));
        refused(pillion().arg("replay").arg("--config").arg(lane).arg("--input").arg(&file), &[said, "the file's own definition"]);
    }
}

#[test]
fn files_that_are_written_state_their_own_units() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    synth::write(at("synth.dbn"), &synth::Plan { seed: 1, instruments: 2, events: 300, events_per_second: 100 }).unwrap();
    let units = |feed: &Feed| -> Vec<_> {
        feed.instruments.iter().map(|i| (i.symbol.clone(), i.tick_size, i.size_unit)).collect()
    };
    let synthetic = data::load(at("synth.dbn")).unwrap();
    assert_eq!(units(&synthetic), [("SYN0001".to_owned(), CENT, 1.0), ("SYN0002".to_owned(), CENT, 1.0)]);
    assert_eq!((synthetic.schema.as_str(), synthetic.skipped), ("mbo", 2), "definitions are no records of the book");
    let other = write(&at("other.dbn"), vec![defined("OTHER", 1, 25 * CENT, 0.001)], &quotes(false));
    let plain = write(&at("plain.dbn"), vec![Listed::named("PLAIN", 1)], &quotes(false));
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"PLAIN\"\ntick_size = \"0.5\"\n").unwrap();
    let facts = Facts::from(&args(&at("facts.toml"))).unwrap();
    let options = merge::Options { renumber: true, facts, ..merge::Options::default() };
    let inputs = [at("synth.dbn"), other.clone(), plain.clone()];
    Plan::new(&inputs, options).unwrap().write(&at("merged.dbn.zst"), &Default::default()).unwrap();
    let merged = data::load(at("merged.dbn.zst")).unwrap();
    let expected = [("SYN0001", CENT, 1.0), ("SYN0002", CENT, 1.0), ("OTHER", 25 * CENT, 0.001), ("PLAIN", 50 * CENT, 1.0)];
    assert_eq!(units(&merged), expected.map(|(symbol, tick, unit)| (symbol.to_owned(), tick, unit)));
    // Without the file the last one's tick size stays open, and is carried so.
    let options = merge::Options { renumber: true, ..merge::Options::default() };
    Plan::new(&inputs, options).unwrap().write(&at("open.dbn"), &Default::default()).unwrap();
    assert_eq!(units(&data::load(at("open.dbn")).unwrap())[3], ("PLAIN".to_owned(), 0, 1.0));
    for (input, given) in [(&other, None), (&plain, Some(at("facts.toml")))] {
        let mut command = pillion();
        command.args(["convert", "dbn"]).arg(input).arg("-o").arg(at("again.dbn"));
        if let Some(given) = given {
            command.arg("--instruments").arg(given);
        }
        let out = output(&mut command);
        assert!(out.status.success(), "{}", stderr(&out));
        let again = data::load(at("again.dbn")).unwrap();
        assert_ne!(again.instruments[0].tick_size, 0);
        assert_eq!(again.records, data::load(input).unwrap().records);
    }
    // Two files that state one instrument differently do not merge into one that states either.
    let finer = write(&at("finer.dbn"), vec![defined("OTHER", 1, CENT, 0.001)], &quotes(false));
    refused(
        pillion().arg("merge").args([&other, &finer]).arg("-o").arg(at("no.dbn")),
        &["finer.dbn", "OTHER: tick size 0.01, size unit 0.001, in a file before it tick size 0.25"],
    );
}

/// The rows of a feed, each as bits, where what nobody states is guessed.
fn guessed_rows(feed: &mut Feed, set: &FeatureSet) -> Vec<Vec<u32>> {
    Facts::guessing().settle(feed).unwrap();
    let mut driver = Offline::for_feed(feed, set).unwrap();
    let mut rows = Vec::new();
    for record in feed.iter() {
        rows.extend(driver.turn(record).map(|(_, row)| row.iter().map(|x| x.to_bits()).collect()));
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever comes later, at whatever prices, the rows before it are the same bits.
    #[test]
    fn a_guess_looks_at_nothing_later_than_the_row(
        before in prop::collection::vec((0..2_u8, 1_i64..4_000, any::<bool>()), 1..20),
        after in prop::collection::vec((0..2_u8, 1_i64..40_000_000_000, any::<bool>()), 0..20),
        unit in prop::sample::select(vec![CENT, 25 * CENT, CENT / 100]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let set = FeatureSet::bundled("book").unwrap();
        let records = |orders: &[(u8, i64, bool)], first: u64, unit: i64| -> Vec<MboMsg> {
            orders.iter().zip(first..).map(|(&(side, price, last), at)| {
                let record = add(at, 1, (at, b"BA"[usize::from(side)]), price * unit, 5);
                MboMsg { flags: if last { flags::LAST } else { 0 }, ..record }
            }).collect()
        };
        let prefix = records(&before, 1, unit);
        let whole = [prefix.clone(), records(&after, 1_000, 1)].concat();
        let mut short = data::load(write(&folder.path().join("a.dbn"), vec![Listed::named("T", 1)], &prefix)).unwrap();
        let mut long = data::load(write(&folder.path().join("b.dbn"), vec![Listed::named("T", 1)], &whole)).unwrap();
        let (short, long) = (guessed_rows(&mut short, &set), guessed_rows(&mut long, &set));
        prop_assert!(long.len() >= short.len());
        prop_assert_eq!(&long[..short.len()], &short[..]);
    }
}

#[test]
fn a_guess_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("plain.dbn"), vec![Listed::named("TEST", 1)], &quotes(false));
    let (_, said) = features(&file, &["--guess"]);
    assert!(said.contains("warning: TEST (id 1, publisher 1): tick size 0.01 is a GUESS"), "{said}");
    let Some(es) = shared(ES) else { return };
    let mut feed = data::load(es).unwrap();
    Facts::guessing().settle(&mut feed).unwrap();
    assert_eq!((feed.instruments[0].tick_size, &feed.identities[0].source), (25 * CENT, &Some(Source::Guess)));
}

/// Two venues under one number, with the same order ids.
fn two_publishers(folder: &Path) -> PathBuf {
    let records = [
        add(1, 41, (1, b'B'), 10_001 * CENT, 5),
        add(2, 41, (2, b'A'), 10_002 * CENT, 5),
        add(3, 42, (1, b'B'), 9_999 * CENT, 9),
        add(4, 42, (2, b'A'), 10_003 * CENT, 4),
        MboMsg { action: b'C', ..add(5, 41, (1, b'B'), 10_001 * CENT, 5) },
    ];
    write(&folder.join("publishers.dbn"), vec![Listed::named("XYZ", 1)], &records)
}

#[test]
fn publishers_share_no_book() {
    let dir = shm_dir();
    let file = two_publishers(dir.path());
    let out = output(pillion().arg("book").arg(&file).args(["--levels", "1"]));
    let rows = Rows::of(&stdout(&out));
    assert_eq!(rows.column("publisher_id"), ["41", "41", "42", "42", "41"]);
    assert_eq!(rows.column("bid_px_00"), ["100010000000", "100010000000", "99990000000", "99990000000", ""]);
    assert_eq!(rows.column("ask_px_00"), ["", "100020000000", "", "100030000000", "100020000000"]);
    assert_eq!(stderr(&out), "", "no cancel of an order that another venue's book has");
    std::fs::write(dir.path().join("cent.toml"), "[[instruments]]\nid = 1\ntick_size = \"0.01\"\n").unwrap();
    let cent = dir.path().join("cent.toml");
    let (rows, _) = features(&file, &["--instruments", cent.to_str().unwrap()]);
    assert_eq!(rows.column("spread"), ["0.0", "1.0", "0.0", "4.0", "0.0"]);
    assert_eq!(rows.column("event"), ["0", "1", "0", "1", "2"]);
    // A lane that does not say whose records it means is refused before anything runs.
    let vague = config(dir.path(), "[lane]\ninstruments = [{ id = 1, symbol = \"XYZ\", tick_size = \"0.01\" }]\n");
    refused(
        pillion().arg("replay").arg("--config").arg(&vague).arg("--input").arg(&file),
        &["number 1 is used by the publishers [41, 42]", "publisher = N"],
    );
}

#[test]
fn a_replay_keeps_publishers_apart() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let file = two_publishers(dir.path());
    let replay = |lane: &str| -> pillion::cold::replay::ReplayReport {
        let (config, json) = (config(dir.path(), lane), dir.path().join("report.json"));
        let mut command = pillion();
        command.arg("replay").arg("--config").arg(config).arg("--input").arg(&file).arg("--json").arg(&json);
        command.arg("--instruments").arg(dir.path().join("cent.toml"));
        let out = output(&mut command);
        assert!(out.status.success(), "{}", stderr(&out));
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
    };
    std::fs::write(dir.path().join("cent.toml"), "[[instruments]]\nid = 1\ntick_size = \"0.01\"\n").unwrap();
    let both = replay("");
    assert_eq!((both.events, both.rejects, both.lane.book.get("unknown_cancel")), (5, 0, None));
    let played: Vec<_> = both.instruments.iter().map(|i| (i.id, i.publisher, i.tick_size.as_str())).collect();
    assert_eq!(played, [(1, 41, "0.01"), (1, 42, "0.01")]);
    let symbols: Vec<_> = both.config["lanes"][0]["instruments"].as_array().unwrap().iter().map(|i| i["symbol"].clone()).collect();
    assert_eq!(symbols, ["XYZ@41", "XYZ@42"], "readers of signals tell them apart");
    let one = replay("[lane]\ninstruments = [{ id = 1, publisher = 42, symbol = \"XYZ\", tick_size = \"0.01\" }]\n");
    assert_eq!((one.events, one.lane.rejects_by_reason["other_publisher"]), (2, 3));
}

/// The recordings of `../shared/faults`, or a word about them.
fn fault(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/faults").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{name} is not in ../shared/faults"));
    None
}

#[test]
fn a_number_that_another_instrument_gets_begins_anew() {
    let dir = shm_dir();
    for name in ["id_reuse.dbn", "id_reuse_cleared.dbn"] {
        let Some(file) = fault(name) else { return };
        let out = output(pillion().arg("book").arg(&file).args(["--levels", "1"]));
        let rows = Rows::of(&stdout(&out));
        let (symbols, bids, asks) = (rows.column("symbol"), rows.column("bid_px_00"), rows.column("ask_px_00"));
        let second = symbols.iter().position(|symbol| *symbol == "BBB").expect("two instruments");
        assert!(symbols[..second].iter().all(|symbol| *symbol == "AAA") && second > 1, "{symbols:?}");
        assert!(symbols[second..].iter().all(|symbol| *symbol == "BBB"), "{symbols:?}");
        assert_eq!(rows.column("instrument_id"), vec!["1"; symbols.len()]);
        assert_eq!((bids[second - 1], asks[second - 1]), ("10000000000", "10250000000"));
        assert_eq!(asks[second], "", "nothing of the other instrument is left");
        assert_eq!(bids.last(), Some(&"200000000000"));
        std::fs::write(dir.path().join("facts.toml"), "[[instruments]]\nid = 1\nsymbol = \"AAA\"\ntick_size = \"0.25\"\n\
            [[instruments]]\nid = 1\nsymbol = \"BBB\"\ntick_size = \"0.01\"\n").unwrap();
        let facts = dir.path().join("facts.toml");
        let (rows, _) = features(&file, &["--instruments", facts.to_str().unwrap()]);
        let spread = rows.column("spread");
        assert_eq!(spread[rows.column("symbol").iter().rposition(|symbol| *symbol == "AAA").unwrap()], "1.0");
        assert!(["25.0", "1.0"].contains(spread.last().unwrap()), "{spread:?}");
        assert!(rows.column("ewma_return_100ms").iter().all(|value| value.parse::<f64>().unwrap().abs() < 1.0));
        refused(
            pillion().arg("feed").arg("--input").arg(&file).args(["--lane", "x"]),
            &["number 1 is AAA first and BBB later", "convert dbn"],
        );
        // The mend: a file in which each has a number of its own.
        let split = dir.path().join("split.dbn");
        let out = output(pillion().args(["convert", "dbn"]).arg(&file).arg("-o").arg(&split).arg("--instruments").arg(&facts));
        assert!(out.status.success(), "{}", stderr(&out));
        let feed = data::load(&split).unwrap();
        let known: Vec<_> = feed.instruments.iter().map(|i| (i.symbol.as_str(), i.tick_size)).collect();
        assert_eq!(known, [("AAA", 25 * CENT), ("BBB", CENT)]);
        assert!(feed.identities.iter().all(|identity| identity.era == 0));
        // Merged under one number they would be one book; each under its own they are not.
        let other = write(&dir.path().join("other.dbn"), vec![Listed::named("CCC", 3)], &quotes(false));
        let mut merge = pillion();
        refused(merge.arg("merge").args([&file, &other]).arg("-o").arg(dir.path().join("m.dbn")), &["instrument id 1 is BBB"]);
        let options = merge::Options { renumber: true, ..merge::Options::default() };
        Plan::new(&[file, other], options).unwrap().write(&dir.path().join("m.dbn"), &Default::default()).unwrap();
        let merged = data::load(dir.path().join("m.dbn")).unwrap();
        let known: Vec<_> = merged.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
        assert_eq!(known, [(1, "AAA"), (2, "BBB"), (3, "CCC")]);
    }
}

#[test]
fn a_replay_plays_each_instrument_that_had_a_number() {
    let Some(file) = fault("id_reuse.dbn") else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let json = dir.path().join("report.json");
    let replay = |lane: &str| {
        let config = config(dir.path(), lane);
        output(pillion().arg("replay").arg("--config").arg(config).arg("--input").arg(&file).args(["--guess", "--json"]).arg(&json))
    };
    let report = || -> pillion::cold::replay::ReplayReport { serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap() };
    assert!(replay("").status.success());
    let both = report();
    let symbols: Vec<_> = both.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
    assert_eq!((symbols, both.events, both.rejects), (vec![(1, "AAA"), (1, "BBB")], 4, 0));
    let out = replay("[lane]\ninstruments = [{ id = 1, symbol = \"BBB\", tick_size = \"0.01\" }]\n");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!((report().events, report().lane.rejects_by_reason["unknown_instrument"]), (2, 2));
    let out = replay("[lane]\ninstruments = [{ id = 1, symbol = \"CCC\", tick_size = \"0.01\" }]\n");
    assert!(stderr(&out).contains("number 1 is AAA, BBB one after the other, the lane calls it CCC"), "{}", stderr(&out));
}

/// Definitions that follow each other: the same again changes nothing, another symbol or tick size is another instrument.
#[test]
fn a_definition_may_take_a_number_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.dbn");
    let definition = |symbol: &str, tick: i64| {
        let mut record = dbn::InstrumentDefMsg { min_price_increment: tick, ..Default::default() };
        record.hd = dbn::RecordHeader::new::<dbn::InstrumentDefMsg>(dbn::rtype::INSTRUMENT_DEF, 1, 1, START);
        record.raw_symbol = dbn::record::str_to_c_chars(symbol).unwrap();
        record
    };
    let mut bytes = std::fs::read(write(&path, vec![], &[])).unwrap();
    let orders = quotes(false);
    for (definition, order) in [("A", CENT), ("A", CENT), ("B", CENT), ("B", UNDEF_PRICE), ("B", 2 * CENT)]
        .map(|(symbol, tick)| definition(symbol, tick))
        .iter()
        .zip([&orders[0], &orders[1], &orders[2], &orders[0], &orders[1]])
    {
        bytes.extend_from_slice(definition.as_ref());
        bytes.extend_from_slice(bytemuck::bytes_of(order));
    }
    std::fs::write(&path, bytes).unwrap();
    let feed = data::load(&path).unwrap();
    let known: Vec<_> = feed.instruments.iter().map(|i| (i.symbol.as_str(), i.tick_size)).collect();
    assert_eq!(known, [("A", CENT), ("B", CENT), ("B", 2 * CENT)]);
    assert_eq!((feed.records, feed.skipped, feed.schema.as_str()), (5, 5, "mbo"));
    let out = output(pillion().arg("book").arg(&path).args(["--levels", "1"]));
    assert_eq!(Rows::of(&stdout(&out)).column("symbol"), ["A", "A", "B", "B", "B"]);
}

/// Names of a request are not the venue's: a contract that was the second month and became the first is one instrument.
#[test]
fn a_continuous_name_splits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("continuous.dbn");
    let date = |day| time::Date::from_calendar_date(2023, time::Month::November, day).unwrap();
    let mapping = |name: &str, from, to| dbn::SymbolMapping {
        raw_symbol: name.to_owned(),
        intervals: vec![dbn::MappingInterval { start_date: date(from), end_date: date(to), symbol: "1".to_owned() }],
    };
    let mut metadata = dbn::Metadata::builder()
        .dataset("GLBX.MDP3")
        .schema(Some(dbn::Schema::Mbo))
        .start(START)
        .stype_in(Some(dbn::SType::Continuous))
        .stype_out(dbn::SType::InstrumentId)
        .build();
    metadata.mappings = vec![mapping("ES.c.1", 14, 15), mapping("ES.c.0", 15, 16)];
    let mut bytes = Vec::new();
    dbn::encode::dbn::MetadataEncoder::new(&mut bytes).encode(&metadata).unwrap();
    let orders = [add(1, 1, (1, b'B'), 10 * CENT, 5), add(DAY, 1, (2, b'A'), 11 * CENT, 5)];
    orders.iter().for_each(|order| bytes.extend_from_slice(bytemuck::bytes_of(order)));
    std::fs::write(&path, bytes).unwrap();
    let feed = data::load(&path).unwrap();
    let known: Vec<_> = feed.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
    assert_eq!(known, [(1, "ES.c.0")]);
}

#[test]
fn an_itch_stub_leaves_the_venues_tick() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let message = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
    let order = |id: u64, side: u8, price: u32| {
        let mut body = vec![b'A', 0, 7, 0, 0];
        body.extend_from_slice(&(34_200_000_000_000_u64 + id).to_be_bytes()[2..]);
        body.extend_from_slice(&id.to_be_bytes());
        body.push(side);
        body.extend_from_slice(&100_u32.to_be_bytes());
        body.extend_from_slice(b"AAPL    ");
        body.extend_from_slice(&price.to_be_bytes());
        message(&body)
    };
    let bytes = [order(1, b'B', 1_500_000), order(2, b'S', 1_500_200), order(3, b'B', 1), order(4, b'B', 1_499_900)].concat();
    std::fs::write(at("stub_20191230.itch"), bytes).unwrap();
    let convert = |more: &[&str]| {
        let mut command = pillion();
        command.args(["convert", "itch"]).arg(at("stub_20191230.itch")).arg("-o").arg(at("out.dbn")).args(more);
        let out = output(&mut command);
        assert!(out.status.success(), "{}", stderr(&out));
        (stdout(&out), stderr(&out), data::load(at("out.dbn")).unwrap().instruments[0].tick_size)
    };
    let (said, noted, tick) = convert(&[]);
    assert_eq!(tick, CENT);
    assert!(said.contains("Rule 612"), "{said}");
    assert!(noted.contains("1 of orders or quotes, 0 of trades"), "{noted}");
    assert_eq!(features(&at("out.dbn"), &[]).0.column("spread").last(), Some(&"2.0"));
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"AAPL\"\ntick_size = \"0.0001\"\n").unwrap();
    assert_eq!(convert(&["--instruments", at("facts.toml").to_str().unwrap()]).2, CENT / 100);
}

#[test]
fn a_capture_of_binance_states_no_units() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let trade = |n: u64, price: &str, size: &str| {
        format!("{n}000000000 {{\"stream\":\"x@trade\",\"data\":{{\"e\":\"trade\",\"E\":{n}000,\"T\":{n}000,\"s\":\"PEPEUSDT\",\
                 \"t\":{n},\"p\":\"{price}\",\"q\":\"{size}\",\"X\":\"MARKET\",\"m\":true}}}}")
    };
    std::fs::write(at("capture"), [trade(1, "1.5", "12345678901"), trade(2, "1.75", "3")].join("\n")).unwrap();
    let convert = |more: &[&str]| {
        let mut command = pillion();
        command.args(["convert", "binance"]).arg(at("capture")).arg("-o").arg(at("out.dbn")).args(more);
        output(&mut command)
    };
    let fails = |more: &[&str], said: &[&str]| {
        let out = convert(more);
        let text = stderr(&out);
        assert!(out.status.code() == Some(2) && said.iter().all(|part| text.contains(part)), "{text}");
        assert!(!at("out.dbn").exists());
    };
    fails(&[], &["nothing states tick size and size unit of PEPEUSDT", "--tick-size", "--guess", "symbol = \"PEPEUSDT\""]);
    fails(&["--tick-size", "0.25"], &["nothing states tick size and size unit"]);
    // The mends that are named work, one after the other.
    let stated = ["--tick-size", "0.25", "--size-unit", "1"];
    fails(&stated, &["size 12345678901 of PEPEUSDT is more than", "--size-unit PEPEUSDT=10, with --round-sizes"]);
    fails(&["--tick-size", "0.25", "--size-unit", "PEPEUSDT=10"], &["size 3 of PEPEUSDT is no multiple", "--round-sizes"]);
    let out = convert(&["--tick-size", "0.25", "--size-unit", "PEPEUSDT=10", "--round-sizes"]);
    assert!(out.status.success() && stderr(&out).contains("2 sizes are rounded to the size unit 10"), "{}", stderr(&out));
    let feed = data::load(at("out.dbn")).unwrap();
    assert_eq!((feed.instruments[0].tick_size, feed.instruments[0].size_unit), (25 * CENT, 10.0));
    let sizes: Vec<u32> = feed.iter().map(|record| record[3] as u32).collect();
    assert_eq!(sizes, [1_234_567_890, 1], "to the nearest, and never to nothing");
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"PEPEUSDT\"\ntick_size = \"0.5\"\nsize_unit = 10.0\n").unwrap();
    let facts = at("facts.toml");
    let facts = ["--instruments", facts.to_str().unwrap(), "--round-sizes"];
    let out = convert(&facts);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("PEPEUSDT: no multiple of the tick size 0.5: 0 of orders or quotes, 1 of trades"));
    let out = convert(&[&facts[..], &["--tick-size", "0.25"]].concat());
    assert!(stderr(&out).contains("tick size is 0.5 by ") && stderr(&out).contains("0.25 by the flag"), "{}", stderr(&out));
    let out = convert(&["--guess", "--size-unit", "10", "--round-sizes"]);
    assert!(stderr(&out).contains("warning: PEPEUSDT: tick size 0.25 is a GUESS"), "{}", stderr(&out));
}

#[test]
fn depth_that_the_records_do_not_show_is_said_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let es = es_instruments();
    let es = ["--instruments", es.to_str().unwrap()];
    for (file, said) in [
        ("dbn-es/es-20240701.mbp-1.dbn.zst", "ESU4: the records show 1 level of a side, and "),
        ("dbn-es/es-20240701.trades.dbn.zst", "ESU4: the records show no levels (trades alone), and "),
    ] {
        let Some(file) = shared(file) else { return };
        let (_, text) = features(&file, &es);
        assert!(text.contains(said) && text.contains("columns of set `book` look at more"), "{text}");
    }
    let (message, book) = (folder.path().join("message.csv"), folder.path().join("orderbook.csv"));
    std::fs::write(&message, "34200.1,1,1,5,1000000,1\n34200.2,1,2,5,1000200,-1\n").unwrap();
    std::fs::write(&book, "9999999999,0,1000000,5\n1000200,5,1000000,5\n").unwrap();
    let to = folder.path().join("one.dbn");
    let mut command = pillion();
    command.args(["convert", "lobster"]).args([&message, &book]).arg("-o").arg(&to);
    let out = output(command.args(["--symbol", "ONE", "--date", "2012-06-21"]));
    assert!(out.status.success() && stdout(&out).contains("tick size: 0.01 by NASDAQ's rule"), "{}", stderr(&out));
    let (rows, text) = features(&to, &[]);
    assert!(text.contains("ONE: the records show 1 level of a side") && text.contains("imbalance_5"), "{text}");
    assert_eq!(rows.column("spread"), ["2.0"]);
    let Some(deep) = shared("dbn-vectors/test_data.mbp-10.v3.dbn.zst") else { return };
    assert!(!features(&deep, &es).1.contains("levels of a side"));
}

#[test]
fn a_lane_says_that_its_feed_shows_too_few_levels() {
    let Some(input) = shared("dbn-es/es-20240701.mbp-1.dbn.zst") else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let json = dir.path().join("report.json");
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config(dir.path(), "")).arg("--input").arg(input).arg("--json").arg(&json);
    let out = output(command.arg("--instruments").arg(es_instruments()));
    let text = stderr(&out);
    assert!(out.status.success() && text.contains("the records show 1 level of a side"), "{text}");
    let report: pillion::cold::replay::ReplayReport = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(report.events > 0 && report.lane.shallow_events == report.events, "{} events", report.events);
}
