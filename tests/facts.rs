//! Tick size and size unit: stated by a file, a configuration or the data's own definitions, refused where two contradict each
//! other or nobody states them, and guessed only where asked, without a look ahead.

mod common;
#[path = "common/orders.rs"]
mod orders;

use std::path::Path;

use common::*;
use orders::*;
use pillion::data::facts::Source;
use pillion::data::merge::{self, Plan};
use pillion::data::{self, Facts, Feed, Listed, synth};
use pillion::hot::decode::Instrument;
use pillion::hot::features::FeatureSet;
use pillion_shm::records::{MboMsg, flags};
use proptest::prelude::*;

fn stated(path: &Path) -> pillion::Result<Facts> {
    Facts::read(Some(path), false)
}

#[test]
fn a_tick_size_that_nobody_states_is_refused_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("plain.dbn"), vec![Listed::named("TEST", 1)], &quotes(false));
    let parts = [
        "nothing states the tick size of TEST (id 1, publisher 1)",
        "--instruments",
        "[[instruments]]\n        id = 1\n        symbol = \"TEST\"\n        tick_size = \"?\"",
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
        text(
            "lane.toml",
            "[lane]\ninstruments = [{ id = 1, symbol = \"TEST\", tick_size = \"0.02\", size_unit = 0.5 }]\n",
        ),
        text(
            "dated.toml",
            "[[instruments]]\nid = 1\ntick_size = \"0.02\"\nsize_unit = 0.5\nfrom = 2023-11-14\nto = \"2023-11-15\"\n",
        ),
        definitions,
    ];
    for path in &given {
        let mut feed = data::load(&file).unwrap();
        stated(path).and_then(|facts| facts.settle(&mut feed)).unwrap();
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

/// Statements with days cannot be chosen from where a recording runs over both.
#[test]
fn days_that_a_recording_runs_over_have_a_mend_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let records = [add(1, 1, (1, b'B'), 100 * CENT, 5), add(DAY, 1, (2, b'A'), 101 * CENT, 5)];
    let file = write(&at("session.dbn"), vec![Listed::named("TEST", 1)], &records);
    let dated = "[[instruments]]\nsymbol = \"TEST\"\ntick_size = \"0.25\"\nto = \"2023-11-15\"\n\
                 [[instruments]]\nsymbol = \"TEST\"\ntick_size = \"0.01\"\nfrom = 2023-11-15\n";
    std::fs::write(at("dated.toml"), dated).unwrap();
    let said = ["tick size is 0.25 by", "and 0.01 by", "runs over the days of both", "without from and to"];
    refused(pillion().arg("features").arg(&file).arg("--instruments").arg(at("dated.toml")), &said);
}

/// Definitions of a file beside the recording hold from their own time on: a session does not change at midnight.
#[test]
fn definitions_hold_from_their_time_and_not_from_midnight() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut bytes = std::fs::read(write(&at("definitions.dbn"), vec![], &[])).unwrap();
    for (time, cents) in [(0, 25), (1_000, 1)] {
        let mut record = dbn::InstrumentDefMsg { min_price_increment: cents * CENT, ..Default::default() };
        record.hd = dbn::RecordHeader::new::<dbn::InstrumentDefMsg>(dbn::rtype::INSTRUMENT_DEF, 1, 1, START + time);
        (record.ts_recv, record.raw_symbol) = (START + time, dbn::record::str_to_c_chars("TEST").unwrap());
        bytes.extend_from_slice(record.as_ref());
    }
    std::fs::write(at("definitions.dbn"), bytes).unwrap();
    for (name, first, tick) in [("before.dbn", 10, 25 * CENT), ("after.dbn", 2_000, CENT)] {
        let records = [add(first, 1, (1, b'B'), 100 * CENT, 5), add(first + 5, 1, (2, b'A'), 125 * CENT, 5)];
        let mut feed = data::load(write(&at(name), vec![Listed::named("TEST", 1)], &records)).unwrap();
        stated(&at("definitions.dbn")).and_then(|facts| facts.settle(&mut feed)).unwrap();
        assert_eq!(feed.instruments[0].tick_size, tick, "{name}");
    }
}

/// Names of a request are not looked at, nor a number alone where it stands for several: what to write says what counts.
#[test]
fn an_entry_that_nearly_means_an_instrument_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let orders = [add(1, 1, (1, b'B'), 100 * CENT, 5), add(DAY, 1, (2, b'B'), 101 * CENT, 5)];
    let features = |list: &str| {
        std::fs::write(at("list.toml"), list).unwrap();
        let mut command = pillion();
        command.arg("features").arg(at("r.dbn")).arg("--instruments").arg(at("list.toml"));
        command
    };
    named_by_days(&at("r.dbn"), dbn::SType::Continuous, &[("ES.c.0", 14, 16)], &orders);
    let said = ["has the symbol \"ES.c.0\"", "its id counts, 1", "id = 1 # ES.c.0\n        tick_size"];
    refused(&mut features("[[instruments]]\nsymbol = \"ES.c.0\"\ntick_size = \"0.25\"\n"), &said);
    named_by_days(&at("r.dbn"), dbn::SType::RawSymbol, &[("AAA", 14, 15), ("BBB", 15, 16)], &orders);
    let said = ["has number 1, which stands for several instruments here", "symbol = \"BBB\""];
    refused(&mut features("[[instruments]]\nid = 1\ntick_size = \"0.25\"\n"), &said);
    let days = "[[instruments]]\nid = 1\ntick_size = \"0.25\"\nto = 2023-11-15\n\
                [[instruments]]\nid = 1\ntick_size = \"0.01\"\nfrom = 2023-11-15\n";
    assert!(output(&mut features(days)).status.success());
}

/// A list may come through a pipe, as text or as definitions, which a number may have at several publishers; and belongs
/// to whom a configuration must.
#[test]
fn a_list_comes_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = write(&at("plain.dbn"), vec![Listed::named("TEST", 1)], &quotes(false));
    let two = |publisher, tick: i64| {
        let instrument =
            Instrument { publisher: Some(publisher), tick_size: tick, ..defined("TEST", 1, tick, 1.0).instrument };
        Listed::from(instrument)
    };
    let definitions = write(&at("definitions.dbn"), vec![two(1, CENT), two(2, 5 * CENT)], &[]);
    std::fs::write(at("list.toml"), "[[instruments]]\nid = 1\ntick_size = \"0.01\"\nsize_unit = \"0.5\"\n").unwrap();
    for (list, said) in
        [(&at("list.toml"), "tick size 0.01, size unit 0.5 ("), (&definitions, "tick size 0.01, size unit 1 (")]
    {
        let mut command = pillion();
        command.arg("features").arg(&file).args(["--instruments", "/dev/stdin"]);
        let mut child = Running::start(command.stdin(std::process::Stdio::piped()));
        std::io::Write::write_all(&mut child.0.stdin.take().unwrap(), &std::fs::read(list).unwrap()).unwrap();
        let out = child.finish();
        assert!(out.status.success() && stderr(&out).contains(said), "{}", stderr(&out));
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(at("list.toml"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let said = ["list.toml", "is not trusted"];
    refused(pillion().arg("features").arg(&file).arg("--instruments").arg(at("list.toml")), &said);
    std::fs::set_permissions(&definitions, std::fs::Permissions::from_mode(0o666)).unwrap();
    features(&file, &["--instruments", definitions.to_str().unwrap()]);
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
        refused(
            pillion().arg("replay").arg("--config").arg(lane).arg("--input").arg(&file),
            &[said, "the file's own definition"],
        );
    }
}

#[test]
fn files_that_are_written_state_their_own_units() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    synth::write(at("synth.dbn"), &synth::Plan { seed: 1, instruments: 2, events: 300, events_per_second: 100 })
        .unwrap();
    let units = |feed: &Feed| -> Vec<_> {
        feed.instruments.iter().map(|i| (i.symbol.clone(), i.tick_size, i.size_unit)).collect()
    };
    let synthetic = data::load(at("synth.dbn")).unwrap();
    assert_eq!(units(&synthetic), [("SYN0001".to_owned(), CENT, 1.0), ("SYN0002".to_owned(), CENT, 1.0)]);
    assert_eq!((synthetic.schema.as_str(), synthetic.skipped), ("mbo", 2), "definitions are no records of the book");
    let other = write(&at("other.dbn"), vec![defined("OTHER", 1, 25 * CENT, 0.001)], &quotes(false));
    let plain = write(&at("plain.dbn"), vec![Listed::named("PLAIN", 1)], &quotes(false));
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"PLAIN\"\ntick_size = \"0.5\"\n").unwrap();
    let facts = stated(&at("facts.toml")).unwrap();
    let options = merge::Options { renumber: true, facts, ..merge::Options::default() };
    let inputs = [at("synth.dbn"), other.clone(), plain.clone()];
    Plan::new(&inputs, options).unwrap().write(&at("merged.dbn.zst"), &Default::default()).unwrap();
    let merged = data::load(at("merged.dbn.zst")).unwrap();
    let expected =
        [("SYN0001", CENT, 1.0), ("SYN0002", CENT, 1.0), ("OTHER", 25 * CENT, 0.001), ("PLAIN", 50 * CENT, 1.0)];
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
    let mut driver = feed.offline(set).unwrap();
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
