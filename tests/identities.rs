//! Which instrument a record is of: publishers share no book, and a number that goes to another instrument begins with nothing.

mod common;
#[path = "common/orders.rs"]
mod orders;

use std::path::{Path, PathBuf};

use common::*;
use orders::*;
use pillion::cold::data::merge::{self, Plan};
use pillion::cold::data::{self, Listed};
use pillion_shm::records::{MboMsg, UNDEF_PRICE};

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
    let symbols: Vec<_> =
        both.config["lanes"][0]["instruments"].as_array().unwrap().iter().map(|i| i["symbol"].clone()).collect();
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
        std::fs::write(
            dir.path().join("facts.toml"),
            "[[instruments]]\nid = 1\nsymbol = \"AAA\"\ntick_size = \"0.25\"\n\
            [[instruments]]\nid = 1\nsymbol = \"BBB\"\ntick_size = \"0.01\"\n",
        )
        .unwrap();
        let facts = dir.path().join("facts.toml");
        let (rows, _) = features(&file, &["--instruments", facts.to_str().unwrap()]);
        let spread = rows.column("spread");
        assert_eq!(spread[rows.column("symbol").iter().rposition(|symbol| *symbol == "AAA").unwrap()], "1.0");
        assert!(["25.0", "1.0"].contains(spread.last().unwrap()), "{spread:?}");
        let returns = rows.columns.iter().find(|column| column.starts_with("ewma_return")).expect("of the set");
        assert!(rows.column(returns).iter().all(|value| value.parse::<f64>().unwrap().abs() < 1.0), "{returns}");
        refused(
            pillion().arg("feed").arg("--input").arg(&file).args(["--lane", "x"]),
            &["number 1 is AAA first and BBB later", "convert dbn"],
        );
        // The mend: a file in which each has a number of its own.
        let split = dir.path().join("split.dbn");
        let out = output(
            pillion().args(["convert", "dbn"]).arg(&file).arg("-o").arg(&split).arg("--instruments").arg(&facts),
        );
        assert!(out.status.success(), "{}", stderr(&out));
        let feed = data::load(&split).unwrap();
        let known: Vec<_> = feed.instruments.iter().map(|i| (i.symbol.as_str(), i.tick_size)).collect();
        assert_eq!(known, [("AAA", 25 * CENT), ("BBB", CENT)]);
        assert!(feed.identities.iter().all(|identity| identity.era == 0));
        // Merged under one number they would be one book; each under its own they are not.
        let other = write(&dir.path().join("other.dbn"), vec![Listed::named("CCC", 1)], &quotes(false));
        let mut merge = pillion();
        refused(
            merge.arg("merge").args([&file, &other]).arg("-o").arg(dir.path().join("m.dbn")),
            &["instrument id 1 is BBB"],
        );
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
        output(
            pillion()
                .arg("replay")
                .arg("--config")
                .arg(config)
                .arg("--input")
                .arg(&file)
                .args(["--guess", "--json"])
                .arg(&json),
        )
    };
    let report =
        || -> pillion::cold::replay::ReplayReport { serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap() };
    assert!(replay("").status.success());
    let both = report();
    let symbols: Vec<_> = both.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
    assert_eq!((symbols, both.events, both.rejects), (vec![(1, "AAA"), (1, "BBB")], 4, 0));
    let out = replay("[lane]\ninstruments = [{ id = 1, symbol = \"BBB\", tick_size = \"0.01\" }]\n");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!((report().events, report().lane.rejects_by_reason["unknown_instrument"]), (2, 2));
    let out = replay("[lane]\ninstruments = [{ id = 1, symbol = \"CCC\", tick_size = \"0.01\" }]\n");
    assert!(
        stderr(&out).contains("number 1 is AAA, BBB one after the other, the lane calls it CCC"),
        "{}",
        stderr(&out)
    );
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
