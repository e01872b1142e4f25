//! The CME ES day: what is known of it must come out.

#[path = "common/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};

use pillion::data::book_csv::{self, crossed};
use pillion::data::{Feed, load};
use pillion::hot::book::{Applied, Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};

fn es(name: &str) -> Option<Feed> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/dbn-es").join(name);
    if !path.exists() {
        skip::skip(&format!("{} is not there", path.display()));
        return None;
    }
    Some(load(path).unwrap())
}

/// 2023-12-25T23:00:00Z, when trading opens.
const OPEN_NS: u64 = 1_703_545_200_000_000_000;

#[test]
fn the_day_has_its_known_counts() {
    let Some(feed) = es("esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    assert_eq!(
        (feed.records, feed.version, feed.schema.as_str(), feed.dataset.as_str()),
        (68_792, 1, "mbo", "GLBX.MDP3")
    );
    assert_eq!((feed.instruments.len(), feed.max_record_words), (1, 7));
    // The file has no definitions: what nothing states is not known.
    assert_eq!((feed.instruments[0].id, feed.instruments[0].tick_size), (17_077, 0));
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 16_384, max_levels: 4_096 });
    let (mut snapshot, mut live, mut crossed_open, mut after_open) = (0, 0, 0, 0);
    let mut outcomes = [0u64; Applied::COUNT];
    for record in &feed {
        let tick = decode(record, &instruments).unwrap();
        *if tick.is_snapshot() { &mut snapshot } else { &mut live } += 1;
        outcomes[book.apply(&tick).index()] += 1;
        if tick.is_last() && tick.ts_event >= OPEN_NS {
            after_open += 1;
            crossed_open += u32::from(crossed(&book));
        }
    }
    assert_eq!((snapshot, live, crossed_open), (8_725, 60_067, 0));
    assert!(after_open > 10_000);
    let count = |outcome: Applied| outcomes[outcome.index()];
    assert_eq!((count(Applied::UnknownCancel), count(Applied::UnknownModify), count(Applied::UnknownFill)), (0, 0, 7));
    assert_eq!((count(Applied::DuplicateAdd), count(Applied::Overflow), book.degraded()), (0, 0, false));
}

#[test]
fn a_small_book_degrades_and_stays_whole() {
    let Some(feed) = es("esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let limits = Limits { max_orders: 500, max_levels: 64 };
    let mut book = Book::new(limits);
    let bytes = book.state_bytes();
    let mut overflows = 0;
    for record in &feed {
        overflows += u32::from(book.apply(&decode(record, &instruments).unwrap()) == Applied::Overflow);
        assert!(book.orders() <= limits.max_orders);
        let counted: u32 = Side::BOTH.iter().flat_map(|&side| book.top(side)).map(|level| level.orders).sum();
        assert_eq!(counted as usize, book.orders());
    }
    assert!(overflows > 0 && book.degraded());
    assert!(Side::BOTH.iter().all(|&side| book.depth(side) <= limits.max_levels));
    assert_eq!(book.state_bytes(), bytes);
}

#[test]
fn level_files_drive_the_book_too() {
    for (name, has_levels) in [("es-20240701.mbp-1.dbn.zst", true), ("es-20240701.trades.dbn.zst", false)] {
        let Some(feed) = es(name) else { return };
        let instruments = Instruments::new(&feed.instruments).unwrap();
        let mut book = Book::new(Limits { max_orders: 1, max_levels: 1 });
        let mut events = 0;
        for record in &feed {
            let tick = decode(record, &instruments).unwrap();
            book.apply(&tick);
            events += u64::from(tick.is_last());
            assert_eq!(book.best(Side::Bid).is_some(), has_levels);
            assert!(!book.is_order_book() && !crossed(&book));
        }
        assert!(events > 100, "{name}: {events}");
    }
}

#[test]
fn rows_have_databentos_columns_and_leave_absent_levels_empty() {
    let Some(feed) = es("es-20240701.mbp-1.dbn.zst") else { return };
    let mut out = Vec::new();
    let counts = book_csv::write(&feed, 2, &mut out).unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "ts_event,publisher_id,instrument_id,symbol,sequence,record,bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,ask_sz_00,ask_ct_00,\
         bid_px_01,bid_sz_01,bid_ct_01,ask_px_01,ask_sz_01,ask_ct_01"
    );
    assert_eq!(
        lines.next_back().unwrap(),
        "1719878519824330531,1,118,ESU4,9064213,2287,5529000000000,24,17,5529250000000,6,4,,,,,,"
    );
    assert_eq!((text.lines().count() as u64, counts.rejected(), counts.crossed), (counts.rows + 1, 0, 0));
}

#[test]
fn a_book_is_printed_without_overflow_however_deep_it_is() {
    let Some(feed) = es("esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let mut out = Vec::new();
    let counts = book_csv::write(&feed, 1, &mut out).unwrap().unwrap();
    assert_eq!((counts.applied[Applied::Overflow.index()], counts.rejected()), (0, 0));
    let lasts = feed.iter().filter(|record| record[4].to_le_bytes()[4] & 128 != 0).count() as u64;
    assert_eq!((counts.rows, out.iter().filter(|&&b| b == b'\n').count() as u64), (lasts, lasts + 1));
}
