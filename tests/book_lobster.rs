//! A converted LOBSTER day stands on its own: the book built from it equals LOBSTER's orderbook file after every event.

#[path = "common/skip.rs"]
mod skip;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use pillion::data::lobster::{self, Options, Summary};
use pillion::data::{Feed, load};
use pillion::hot::book::{Applied, Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};

fn zip(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/lobster").join(name);
    if !path.exists() {
        skip::skip(&format!("{} is not there", path.display()));
    }
    path.exists().then_some(path)
}

fn converted(zip: &Path) -> (Summary, Feed) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.dbn.zst");
    let options = Options { symbol: None, date: None, instrument_id: 42, facts: Default::default() };
    let summary = lobster::convert_file(&[zip.to_owned()], &output, options).unwrap();
    (summary, load(&output).unwrap())
}

/// The orderbook file's rows as columns, read anew: ask price, ask size, bid price, bid size, level by level.
fn rows(zip: &Path) -> Vec<Vec<i64>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let name =
        archive.file_names().find(|n| n.as_ref().unwrap().contains("_orderbook_")).unwrap().unwrap().into_owned();
    let lines = BufReader::new(archive.by_name(&name).unwrap()).lines();
    lines.map(|line| line.unwrap().split(',').map(|f| f.trim().parse().unwrap()).collect()).collect()
}

fn columns(book: &Book, levels: usize) -> Vec<i64> {
    let mut columns = Vec::with_capacity(levels * 4);
    for i in 0..levels {
        for (side, absent) in [(Side::Ask, 9_999_999_999), (Side::Bid, -9_999_999_999)] {
            let level = book.level(side, i);
            columns.push(level.map_or(absent, |level| level.price / 100_000));
            columns.push(level.map_or(0, |level| level.size as i64));
        }
    }
    columns
}

/// Replays the feed and compares every event with its row: (events, mismatches, outcomes).
fn compare(feed: &Feed, rows: &[Vec<i64>], levels: usize) -> (usize, usize, [u64; Applied::COUNT]) {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 4096, max_levels: levels + 1 });
    let (mut events, mut mismatches, mut outcomes) = (0, 0, [0; Applied::COUNT]);
    for record in feed {
        let tick = decode(record, &instruments).unwrap();
        outcomes[book.apply(&tick).index()] += 1;
        if tick.is_last() {
            assert_eq!(tick.sequence as usize, events + 1);
            assert!(!book.suspect() && !book.degraded());
            mismatches += usize::from(columns(&book, levels) != rows[events]);
            events += 1;
        }
    }
    (events, mismatches, outcomes)
}

fn holds(name: &str, symbol: &str, messages: u64, levels: usize) {
    let Some(zip) = zip(name) else { return };
    let (summary, feed) = converted(&zip);
    assert_eq!((summary.messages, summary.levels, summary.unexplained), (messages, levels, 0));
    assert_eq!((feed.records, feed.schema.as_str(), feed.version), (summary.records, "mbo", 3));
    let [instrument] = &feed.instruments[..] else { panic!("one instrument") };
    assert_eq!((instrument.id, instrument.symbol.as_str(), instrument.tick_size), (42, symbol, 10_000_000));

    let rows = rows(&zip);
    let (events, mismatches, outcomes) = compare(&feed, &rows, levels);
    assert_eq!((events as u64, rows.len() as u64, mismatches), (messages, messages, 0));
    for unwanted in [Applied::UnknownCancel, Applied::UnknownModify, Applied::DuplicateAdd, Applied::Overflow] {
        assert_eq!(outcomes[unwanted.index()], 0, "{}", unwanted.name());
    }
}

#[test]
fn goog_equals_its_orderbook_file_on_every_row() {
    holds("LOBSTER_SampleFile_GOOG_2012-06-21_10.zip", "GOOG", 147_916, 10);
}

#[test]
fn aapl_equals_its_orderbook_file_on_every_row() {
    holds("LOBSTER_SampleFile_AAPL_2012-06-21_1.zip", "AAPL", 118_497, 1);
}

#[test]
fn goog_flows_add_up_and_trades_are_lobsters_executions() {
    let Some(zip) = zip("LOBSTER_SampleFile_GOOG_2012-06-21_10.zip") else { return };
    let (_, feed) = converted(&zip);
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 4096, max_levels: 16 });
    let (mut trades, mut filled, mut unknown_fills, mut snapshots) = (0, 0, 0, 0);
    let mut times = Vec::new();
    let mut rests = [0u64; 2];
    for record in &feed {
        let tick = decode(record, &instruments).unwrap();
        unknown_fills += u32::from(book.apply(&tick) == Applied::UnknownFill);
        if tick.is_last() {
            let event = book.event();
            trades += event.trades;
            filled += event.filled.iter().map(|flow| flow.count).sum::<u32>();
            snapshots += u32::from(event.snapshot);
            times.push(tick.ts_event);
            // What rests now is what rested, plus what came, less what went: no share is told twice.
            for side in Side::BOTH {
                let s = side as usize;
                let before = if event.cleared { 0 } else { rests[s] };
                rests[s] = book.top(side).iter().map(|level| level.size).sum();
                assert_eq!(rests[s] + event.cancelled[s].size + event.filled[s].size, before + event.added[s].size);
            }
        }
    }
    // 7,765 visible and 3,913 hidden executions; the first message, an execution, is told by the snapshot.
    assert_eq!((trades, filled, unknown_fills, snapshots), (7_765 + 3_913, 7_764, 0, 1));
    // 34200.015105074 s after midnight in New York, when that was 4 hours behind UTC.
    assert_eq!(times[0], 1_340_285_400_015_105_074);
    assert!(times.windows(2).all(|w| w[0] <= w[1]));
}
