//! `pillion features` and `pillion book`: what they write reads back to the same bits, and what they refuse leaves nothing.

mod features_common;

use std::path::{Path, PathBuf};

use features_common::streams::{data, es_facts, es_settled};
use pillion::cli::features::{Args, run};
use pillion::hot::features::FeatureSet;
use pillion::hot::offline::Event;

const FILE: &str = "dbn-es/es-20240701.mbp-1.dbn.zst";

fn args(file: &Path, output: &Path) -> Args {
    let (file, output) = (Some(file.to_path_buf()), Some(output.to_path_buf()));
    let trigger = pillion::hot::Trigger::EventEnd;
    Args {
        file,
        set: "book".to_string(),
        trigger,
        output,
        sort: false,
        schema: None,
        list: false,
        hash: false,
        facts: es_facts(),
    }
}

fn rows(file: &Path, set: &FeatureSet) -> Vec<(Event, Vec<f32>)> {
    let feed = es_settled(file);
    let mut offline = feed.offline(set).unwrap();
    let mut rows = Vec::new();
    for record in &feed {
        rows.extend(offline.turn(record).map(|(event, row)| (event, row.to_vec())));
    }
    assert!(rows.len() > 1_000, "{}", rows.len());
    rows
}

#[test]
fn csv_reads_back_to_the_same_bits() {
    let Some(file) = data(FILE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rows.csv");
    run(args(&file, &out)).unwrap();
    let set = FeatureSet::bundled("book").unwrap();
    let mut reader = csv::Reader::from_path(&out).unwrap();
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_string).collect();
    assert_eq!(
        head[..10].join(","),
        "ts_event,publisher_id,instrument_id,symbol,sequence,event,record,bid_px_00,ask_px_00,warm"
    );
    assert_eq!(head[10..], *set.names());
    let mut read = 0;
    for (record, (event, row)) in reader.records().map(Result::unwrap).zip(rows(&file, &set)) {
        let price =
            |level: Option<pillion::hot::book::Level>| level.map_or(String::new(), |level| level.price.to_string());
        let known = [
            event.ts_event.to_string(),
            event.publisher_id.to_string(),
            event.instrument_id.to_string(),
            "ESU4".to_string(),
            event.sequence.to_string(),
            event.number.to_string(),
            event.record.to_string(),
            price(event.bid),
            price(event.ask),
            u8::from(event.warm).to_string(),
        ];
        assert!(record.iter().zip(&known).all(|(a, b)| a == b), "{record:?}");
        assert!(record.iter().skip(10).zip(&row).all(|(a, b)| a.parse::<f32>().unwrap().to_bits() == b.to_bits()));
        read += 1;
    }
    assert_eq!(read, rows(&file, &set).len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside the file");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_reads_back_to_the_same_bits() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use pillion::data::facts::InstrumentUsed;

    let Some(file) = data(FILE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rows.parquet");
    run(args(&file, &out)).unwrap();
    let set = FeatureSet::bundled("book").unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&out).unwrap()).unwrap();
    let facts = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let fact = |key: &str| facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.clone()).unwrap();
    assert_eq!((fact("pillion.set"), fact("pillion.features_hash")), ("book".to_string(), set.hash_hex()));
    assert_eq!(fact("pillion.features"), set.canonical());
    assert_eq!(fact("pillion.input_blake3"), blake3::hash(&std::fs::read(&file).unwrap()).to_hex().to_string());
    let instruments: Vec<InstrumentUsed> = serde_json::from_str(&fact("pillion.instruments")).unwrap();
    let [one] = &instruments[..] else { panic!("{instruments:?}") };
    assert_eq!((one.id, one.symbol.as_str(), one.tick_size.as_str(), one.size_unit), (118, "ESU4", "0.25", 1.0));
    assert!(one.source.ends_with("config/instruments/es.toml"), "{}", one.source);
    assert_eq!((one.publisher, one.levels, one.days[0].as_str()), (1, Some(1), "2024-07-01"));
    assert_eq!(fact("pillion.version"), env!("CARGO_PKG_VERSION"));
    let expected = rows(&file, &set);
    assert_eq!(reader.metadata().file_metadata().num_rows(), expected.len() as i64);
    for (read, (event, row)) in reader.get_row_iter(None).unwrap().map(Result::unwrap).zip(&expected) {
        let fields: Vec<(&String, &Field)> = read.get_column_iter().collect();
        let price =
            |level: Option<pillion::hot::book::Level>| level.map_or(Field::Null, |level| Field::Long(level.price));
        assert_eq!(*fields[0].1, Field::Long(event.ts_event as i64));
        assert_eq!(*fields[1].1, Field::UShort(event.publisher_id));
        assert_eq!(*fields[2].1, Field::UInt(event.instrument_id));
        assert_eq!(*fields[3].1, Field::Str("ESU4".to_string()));
        assert_eq!(*fields[4].1, Field::UInt(event.sequence));
        assert_eq!(*fields[6].1, Field::Long(event.record as i64));
        assert_eq!((fields[7].1, fields[8].1), (&price(event.bid), &price(event.ask)));
        assert_eq!(*fields[9].1, Field::Bool(event.warm));
        for ((name, field), (column, value)) in fields[10..].iter().zip(set.names().iter().zip(row)) {
            let Field::Float(read) = field else { panic!("{name} is {field:?}") };
            assert_eq!((*name, read.to_bits()), (column, value.to_bits()));
        }
    }
}

/// Every cell of a book in Parquet is the cell of the book in CSV: numbers as numbers, absent levels as nulls.
#[cfg(feature = "parquet")]
#[test]
fn a_book_is_the_same_table_in_both_formats() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("synth.dbn");
    let plan = pillion::data::synth::Plan { seed: 8, instruments: 2, events: 600, events_per_second: 5_000 };
    pillion::data::synth::write(&file, &plan).unwrap();
    // More levels than there are: some are absent.
    let book = |name: &str| {
        let out = folder.path().join(name);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pillion"));
        let done = command.arg("book").arg(&file).args(["--levels", "100", "-o"]).arg(&out).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        out
    };
    let mut csv = csv::Reader::from_path(book("book.csv")).unwrap();
    let head = csv.headers().unwrap().clone();
    let lines: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let table = SerializedFileReader::new(std::fs::File::open(book("book.parquet")).unwrap()).unwrap();
    assert_eq!(table.metadata().file_metadata().num_rows(), lines.len() as i64);
    let (mut nulls, mut unsigned) = (0, 0);
    for (row, line) in table.get_row_iter(None).unwrap().map(Result::unwrap).zip(&lines) {
        assert_eq!(row.get_column_iter().count(), head.len());
        for ((name, field), (column, cell)) in row.get_column_iter().zip(head.iter().zip(line)) {
            let text = match field {
                Field::Null => String::new(),
                Field::Str(text) => text.clone(),
                field => field.to_string(),
            };
            assert_eq!((name.as_str(), text.as_str()), (column, cell));
            nulls += usize::from(matches!(field, Field::Null));
            unsigned += usize::from(matches!(field, Field::UShort(_) | Field::UInt(_)));
        }
    }
    // A publisher, an instrument and a sequence a row, and the order counts of its levels.
    assert!(nulls > 0 && unsigned > 3 * lines.len() && lines.len() > 400, "{nulls} nulls in {} rows", lines.len());
}

/// `--trigger` leaves rows out and changes none: those of a lane with that trigger, with the number of their event.
#[test]
fn a_trigger_writes_the_rows_on_which_it_fires() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("synth.dbn");
    let plan = pillion::data::synth::Plan { seed: 3, instruments: 1, events: 4_000, events_per_second: 5_000 };
    pillion::data::synth::write(&file, &plan).unwrap();
    let lines = |trigger: &str| {
        let out = folder.path().join(format!("{trigger}.csv"));
        run(Args { trigger: trigger.parse().unwrap(), ..args(&file, &out) }).unwrap();
        std::fs::read_to_string(&out).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines("event-end");
    // One instrument: each tenth of its events, the tenth first.
    assert_eq!(lines("every=10"), all.iter().skip(9).step_by(10).cloned().collect::<Vec<_>>());
    // Columns 7 and 8 are the best prices: whenever one has moved there is a row.
    let prices = |line: &String| line.split(',').skip(7).take(2).map(str::to_owned).collect::<Vec<_>>();
    let moved = all.windows(2).filter(|pair| prices(&pair[0]) != prices(&pair[1])).map(|pair| &pair[1]);
    let changes = lines("bbo-change");
    let found: std::collections::HashSet<&String> = changes.iter().collect();
    assert!(moved.clone().count() > 100 && moved.clone().all(|line| found.contains(line)));
    let there: std::collections::HashSet<&String> = all.iter().collect();
    assert!(changes.len() < all.len() && changes.iter().all(|line| there.contains(line)));
}

#[cfg(feature = "parquet")]
#[test]
fn the_trigger_is_in_the_metadata() {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let Some(file) = data(FILE) else { return };
    let folder = tempfile::tempdir().unwrap();
    for trigger in ["event-end", "bbo-change", "trade", "every=7"] {
        let out = folder.path().join("rows.parquet");
        run(Args { trigger: trigger.parse().unwrap(), ..args(&file, &out) }).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&out).unwrap()).unwrap();
        let facts = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let fact = facts.iter().find(|fact| fact.key == "pillion.trigger").and_then(|fact| fact.value.as_deref());
        assert_eq!(fact, Some(trigger));
    }
}

#[test]
fn refusals_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refused = |file: &Path, output: PathBuf, set: &str| {
        let error = run(Args { set: set.to_string(), ..args(file, &output) }).unwrap_err();
        assert_eq!(error.exit_code, pillion::Error::INPUT);
        error.to_string()
    };
    let file = path("no.dbn");
    assert!(
        refused(&file, path("x.txt"), "book").contains("x.txt: says no format\n  mend: name a .parquet or .csv file")
    );
    assert!(refused(&file, path("x.csv"), "book").contains("no.dbn: cannot be opened"));
    assert!(refused(&file, path("x.csv"), "boook").contains("feature set boook: is not a bundled set"));
    std::fs::write(&file, b"DBN\x01 and then nothing").unwrap();
    let said = refused(&file, path("x.csv"), "book");
    assert!(said.contains("no.dbn: "), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
