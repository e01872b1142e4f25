//! Which instrument a record is of: publishers share no book, and a number that goes to another instrument begins with nothing.

mod common;
#[path = "common/orders.rs"]
mod orders;

use std::path::{Path, PathBuf};

use bytemuck::Zeroable;
use common::*;
use orders::*;
use pillion::data::merge::{self, Plan};
use pillion::data::{self, Listed};
use pillion_shm::records::{BidAskPair, MboMsg, Mbp1Msg, RecordHeader, UNDEF_PRICE, flags, rtype};

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
    let replay = |lane: &str| -> pillion::lab::replay::ReplayReport {
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
        || -> pillion::lab::replay::ReplayReport { serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap() };
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

/// A record of a file that [`recorded`] writes.
enum Told<'a> {
    /// A definition: publisher, symbol, tick size.
    Definition(u16, &'a str, i64),
    Order(MboMsg),
    Quote(Mbp1Msg),
}

fn recorded(path: &Path, all: &[Told]) -> PathBuf {
    let mut bytes = std::fs::read(write(path, vec![], &[])).unwrap();
    for one in all {
        match one {
            Told::Definition(publisher, symbol, tick) => {
                let mut record = dbn::InstrumentDefMsg { min_price_increment: *tick, ..Default::default() };
                record.hd =
                    dbn::RecordHeader::new::<dbn::InstrumentDefMsg>(dbn::rtype::INSTRUMENT_DEF, *publisher, 1, START);
                record.raw_symbol = dbn::record::str_to_c_chars(symbol).unwrap();
                bytes.extend_from_slice(record.as_ref());
            }
            Told::Order(order) => bytes.extend_from_slice(bytemuck::bytes_of(order)),
            Told::Quote(quote) => bytes.extend_from_slice(bytemuck::bytes_of(quote)),
        }
    }
    std::fs::write(path, bytes).unwrap();
    path.to_owned()
}

/// A bid and an ask ten cents apart.
fn quote(at: u64, publisher: u16) -> Told<'static> {
    let add = add(at, publisher, (1, b'B'), 100 * CENT, 5);
    let hd = RecordHeader { length: 20, rtype: rtype::MBP_1, ..add.hd };
    let mut quote = Mbp1Msg::zeroed();
    (quote.event.hd, quote.event.flags, quote.event.action, quote.event.side) = (hd, flags::LAST, b'A', b'B');
    (quote.event.ts_recv, quote.event.price, quote.event.size) = (add.ts_recv, add.price, add.size);
    quote.levels[0] = BidAskPair { bid_px: 100 * CENT, ask_px: 110 * CENT, bid_sz: 5, ask_sz: 5, bid_ct: 1, ask_ct: 1 };
    Told::Quote(quote)
}

/// Symbol, publisher and tick size of a file's instruments.
fn known(path: &Path) -> Vec<(String, u16, i64)> {
    let feed = data::load(path).unwrap();
    feed.instruments.into_iter().map(|i| (i.symbol, i.publisher.unwrap(), i.tick_size)).collect()
}

/// One publisher's definitions say nothing of what another's number stands for, once that has a definition of its own.
#[test]
fn a_definition_is_its_publishers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.dbn");
    let first = [Told::Definition(41, "A", CENT), Told::Definition(42, "A", CENT), quote(1, 41), quote(2, 42)];
    let all: Vec<_> =
        first.into_iter().chain([Told::Definition(41, "A", 5 * CENT), quote(3, 41), quote(4, 42)]).collect();
    recorded(&path, &all);
    let own = |symbol: &str, publisher, tick| (symbol.to_owned(), publisher, tick);
    assert_eq!(known(&path), [own("A", 41, CENT), own("A", 42, CENT), own("A", 41, 5 * CENT)]);
    let (rows, said) = features(&path, &[]);
    assert_eq!(rows.column("spread"), ["10.0", "10.0", "2.0", "10.0"], "{said}");
    assert_eq!(rows.column("event"), ["0", "0", "0", "1"], "the other venue's instrument goes on");
    let all = [
        Told::Definition(41, "A", CENT),
        Told::Definition(42, "X", 5 * CENT),
        quote(1, 41),
        quote(2, 42),
        Told::Definition(41, "B", 2 * CENT),
        quote(3, 41),
        quote(4, 42),
    ];
    recorded(&path, &all);
    assert_eq!(known(&path), [own("A", 41, CENT), own("X", 42, 5 * CENT), own("B", 41, 2 * CENT)]);
    // The written file keeps the two apart, though the metadata knows one name for a number.
    let plain = folder.path().join("plain.dbn");
    let out = output(pillion().args(["convert", "dbn"]).arg(&path).arg("-o").arg(&plain));
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(known(&plain), [own("A", 41, CENT), own("X", 42, 5 * CENT), own("B", 41, 2 * CENT)]);
    // A publisher without any definition is meant by the only ones there are, and by none of several.
    recorded(&path, &[Told::Definition(41, "A", CENT), quote(1, 41), quote(2, 43)]);
    assert_eq!(known(&path), [own("A", 41, CENT), own("A", 43, CENT)]);
    recorded(
        &path,
        &[
            Told::Definition(41, "A", CENT),
            quote(1, 41),
            quote(2, 43),
            Told::Definition(42, "X", 5 * CENT),
            quote(3, 43),
        ],
    );
    assert_eq!(known(&path), [own("A", 41, CENT), own("1", 43, 0)]);
}

/// New units of the same instrument hold from where its book begins anew; where its orders rest on, no unit does.
#[test]
fn units_that_change_take_no_book_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.dbn");
    let own = |tick| ("A".to_owned(), 1, tick);
    let bid = |at, id, cents| Told::Order(add(at, 1, (id, b'B'), cents * CENT, 5));
    let clear = || Told::Order(MboMsg { action: b'R', side: b'N', price: UNDEF_PRICE, ..add(3, 1, (0, b'N'), 0, 0) });
    let best = || {
        let out = output(pillion().arg("book").arg(&path).args(["--levels", "1"]));
        assert_eq!(stderr(&out), "");
        Rows::of(&stdout(&out)).column("bid_px_00").last().unwrap().parse::<i64>().unwrap() / CENT
    };
    let change = || [Told::Definition(1, "A", 5 * CENT), bid(1, 1, 100), Told::Definition(1, "A", CENT)];
    // Day by day, as venues do it: the second begins with a clear.
    recorded(&path, &change().into_iter().chain([clear(), bid(4, 2, 97)]).collect::<Vec<_>>());
    assert_eq!((known(&path), best()), (vec![own(5 * CENT), own(CENT)], 97));
    features(&path, &[]);
    // In session.
    recorded(&path, &change().into_iter().chain([bid(3, 2, 99), clear(), bid(5, 2, 97)]).collect::<Vec<_>>());
    assert_eq!(known(&path), [own(5 * CENT), own(CENT)]);
    recorded(&path, &change().into_iter().chain([bid(3, 2, 99)]).collect::<Vec<_>>());
    assert_eq!((known(&path), best()), (vec![own(5 * CENT)], 100), "the best bid rests on");
    let to = folder.path().join("to.dbn");
    let said = ["tick size of A (id 1, publisher 1) changes from 0.05 to 0.01", "cut the recording"];
    refused(pillion().arg("features").arg(&path), &said);
    refused(pillion().args(["convert", "dbn"]).arg(&path).arg("-o").arg(&to), &said);
    // A replay counts in units too, its lane's own list included.
    let lane = "[lane]\ninstruments = [{ id = 1, symbol = \"A\", tick_size = \"0.05\" }]\n";
    for lane in ["", lane] {
        let config = config(folder.path(), lane);
        refused(pillion().arg("replay").arg("--config").arg(config).arg("--input").arg(&path), &said);
    }
    refused(pillion().arg("merge").args([&path, &path]).arg("-o").arg(&to), &said);
    // A file of quotes has no orders that rest: each unit holds for its own, and numbers of their own keep them apart.
    let quotes = recorded(
        &folder.path().join("quotes.dbn"),
        &[Told::Definition(1, "A", 5 * CENT), quote(1, 1), Told::Definition(1, "A", CENT), quote(2, 1)],
    );
    let other = write(&folder.path().join("other.dbn"), vec![defined("B", 2, CENT, 1.0)], &[]);
    let merge = || {
        let mut command = pillion();
        command.arg("merge").args([&quotes, &other]).arg("-o").arg(&to);
        command
    };
    refused(&mut merge(), &["quotes.dbn", "its number 1 stands for several instruments", "--renumber"]);
    let out = output(merge().arg("--renumber"));
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(known(&to), [own(5 * CENT), own(CENT)]);
    // A definition that is taken back, or says the same again, changes nothing.
    recorded(
        &path,
        &[
            Told::Definition(1, "A", CENT),
            bid(1, 1, 100),
            Told::Definition(1, "A", 5 * CENT),
            Told::Definition(1, "A", CENT),
            bid(3, 2, 99),
        ],
    );
    assert_eq!((known(&path), best()), (vec![own(CENT)], 100));
    features(&path, &[]);
}

/// A capture time that is flagged bad, or undefined, decides nothing.
#[test]
fn a_bad_capture_time_names_no_instrument() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.dbn");
    let days = [("AAA", 14, 15), ("BBB", 15, 16)];
    let order = |at, id| add(at, 1, (id, b'B'), 10 * CENT, 5);
    let bad = MboMsg { flags: flags::LAST | flags::BAD_TS_RECV, ts_recv: START + 30 * DAY, ..order(2, 2) };
    let none = MboMsg { ts_recv: u64::MAX, flags: flags::SNAPSHOT, ..order(0, 3) };
    let none = MboMsg { hd: RecordHeader { ts_event: u64::MAX, ..none.hd }, ..none };
    named_by_days(&path, dbn::SType::RawSymbol, &days, &[none, order(1, 1), bad, order(3, 4)]);
    let feed = data::load(&path).unwrap();
    assert_eq!(feed.instruments.iter().map(|i| i.symbol.as_str()).collect::<Vec<_>>(), ["AAA"]);
    assert_eq!(feed.identities[0].span_ns, (START + 1, START + 3));
    // A day's snapshot, as Databento writes it: what it is captured at is not exact, and its orders may be days old.
    let midnight = START / DAY * DAY + DAY;
    let old = MboMsg { flags: flags::SNAPSHOT | flags::BAD_TS_RECV, ts_recv: midnight, ..order(2, 5) };
    let next = MboMsg { ts_recv: midnight + 9, ..add(DAY, 1, (6, b'B'), 10 * CENT, 5) };
    named_by_days(&path, dbn::SType::RawSymbol, &days, &[order(1, 1), old, old, next]);
    let feed = data::load(&path).unwrap();
    let told: Vec<_> =
        feed.instruments.iter().zip(&feed.identities).map(|(i, one)| (&*i.symbol, one.span_ns)).collect();
    assert_eq!(told[0], ("AAA", (START + 1, START + 1)));
    assert_eq!((told[1].0, told[1].1.0, told.len()), ("BBB", midnight, 2), "the snapshot is the next day's");
}

/// Definitions that follow each other: the same again changes nothing, another symbol is another instrument.
#[test]
fn a_definition_may_take_a_number_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("definitions.dbn");
    let orders = quotes(false);
    let all = [("A", CENT), ("A", CENT), ("B", CENT), ("B", UNDEF_PRICE), ("B", CENT)]
        .into_iter()
        .zip([orders[0], orders[1], orders[2], orders[0], orders[1]])
        .flat_map(|((symbol, tick), order)| [Told::Definition(1, symbol, tick), Told::Order(order)]);
    recorded(&path, &all.collect::<Vec<_>>());
    let feed = data::load(&path).unwrap();
    let known: Vec<_> = feed.instruments.iter().map(|i| (i.symbol.as_str(), i.tick_size)).collect();
    assert_eq!(known, [("A", CENT), ("B", CENT)]);
    assert_eq!((feed.records, feed.skipped, feed.schema.as_str()), (5, 5, "mbo"));
    let out = output(pillion().arg("book").arg(&path).args(["--levels", "1"]));
    assert_eq!(Rows::of(&stdout(&out)).column("symbol"), ["A", "A", "B", "B", "B"]);
}

/// Names of a request are not the venue's: a contract that was the second month and became the first is one instrument.
#[test]
fn a_continuous_name_splits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("continuous.dbn");
    let orders = [add(1, 1, (1, b'B'), 10 * CENT, 5), add(DAY, 1, (2, b'A'), 11 * CENT, 5)];
    named_by_days(&path, dbn::SType::Continuous, &[("ES.c.1", 14, 15), ("ES.c.0", 15, 16)], &orders);
    let feed = data::load(&path).unwrap();
    let known: Vec<_> = feed.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
    assert_eq!(known, [(1, "ES.c.0")]);
}
