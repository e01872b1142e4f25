//! The features of real days: against the twin, without look-ahead, and the same through the offline driver.

mod features_common;

use features_common::streams::{data, es_day, es_settled, goog_day};
use features_common::{Run, hold, run};
use pillion::data::Feed;
use pillion::hot::decode::{Instruments, decode};
use pillion::hot::features::FeatureSet;

fn run_feed(set: &FeatureSet, feed: &Feed, records: usize) -> Run {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let ticks: Vec<_> = feed.iter().take(records).map(|record| decode(record, &instruments).unwrap()).collect();
    run(set, feed.instruments[0].tick_size, ticks)
}

/// The first events, and a few from all over.
fn sample(rows: usize, few: usize) -> impl Iterator<Item = usize> {
    (0..3).chain((1..=few).map(move |i| i * (rows - 1) / few))
}

#[test]
fn goog_day_equals_the_twin() {
    let Some(feed) = goog_day() else { return };
    let set = FeatureSet::bundled("all").unwrap();
    let run = run_feed(&set, &feed, usize::MAX);
    // The first of LOBSTER's 147,916 messages is the snapshot.
    assert_eq!(run.rows.len(), 147_915);
    assert_eq!(hold(&set, feed.instruments[0].tick_size, &run, sample(20_000, 12)), 15 * set.len());
    hold(&set, feed.instruments[0].tick_size, &run, [147_914]);
}

#[test]
fn es_day_equals_the_twin() {
    let Some(feed) = es_day() else { return };
    let set = FeatureSet::bundled("all").unwrap();
    let run = run_feed(&set, &feed, usize::MAX);
    assert!(run.rows.len() > 40_000, "{}", run.rows.len());
    hold(&set, feed.instruments[0].tick_size, &run, sample(run.rows.len(), 5));
}

#[test]
fn other_schemas_equal_the_twin() {
    let set = FeatureSet::bundled("all").unwrap();
    for (path, rows) in [("dbn-es/es-20240701.mbp-1.dbn.zst", 2_288), ("dbn-es/es-20240701.trades.dbn.zst", 120)] {
        let Some(path) = data(path) else { return };
        let feed = es_settled(&path);
        let run = run_feed(&set, &feed, usize::MAX);
        assert!(!run.rows.is_empty() && run.rows.len() <= rows, "{} rows", run.rows.len());
        hold(&set, feed.instruments[0].tick_size, &run, sample(run.rows.len(), 20));
    }
}

/// No look-ahead on the real day: the rows of its first part are the same bytes when the rest never comes.
#[test]
fn a_cut_day_has_the_same_rows() {
    let Some(feed) = es_day() else { return };
    let set = FeatureSet::bundled("book").unwrap();
    let rows = |records: usize| {
        let mut offline = feed.offline(&set).unwrap();
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for record in feed.iter().take(records) {
            rows.extend(offline.turn(record).map(|(_, row)| row.iter().map(|x| x.to_bits()).collect()));
        }
        rows
    };
    let whole = rows(usize::MAX);
    for records in [8_726, 12_345, 40_000] {
        let cut = rows(records);
        assert!(cut[..] == whole[..cut.len()], "{records}");
    }
}

/// The offline driver is the state that runs live and nothing else.
#[test]
fn offline_is_the_live_state() {
    let Some(feed) = es_day() else { return };
    let set = FeatureSet::bundled("book").unwrap();
    let live = run_feed(&set, &feed, 20_000);
    let mut offline = feed.offline(&set).unwrap();
    let mut number = 0;
    for record in feed.iter().take(20_000) {
        let Some((event, row)) = offline.turn(record) else { continue };
        assert_eq!(event.number as usize, number);
        assert!(row.iter().zip(&live.rows[number].1).all(|(a, b)| a.to_bits() == b.to_bits()), "event {number}");
        assert_eq!(event.warm, number as u64 + 1 >= set.warmup_events());
        assert_eq!(event.bid.map(|level| level.price), live.history[number].levels[0].first().map(|level| level.0));
        number += 1;
    }
    assert_eq!(number, live.rows.len());
    assert_eq!(offline.rejects().iter().sum::<u64>(), 0);
}
