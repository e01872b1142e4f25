//! Every feature against its naive twin, on hand-made and random streams.

mod features_common;

use features_common::streams::{CENT, add, cancel, quote_ticks, random_orders, random_quotes, tick};
use features_common::{hold, run};
use pillion::hot::decode::{Body, Side};
use pillion::hot::features::{FeatureSet, Kind};
use pillion_shm::records::{BidAskPair, UNDEF_PRICE};
use proptest::prelude::*;

fn all() -> FeatureSet {
    FeatureSet::bundled("all").unwrap()
}

#[test]
fn the_set_all_has_every_kind() {
    let set = all();
    for kind in Kind::ALL {
        assert!(set.columns().iter().any(|column| column.kind == *kind), "{kind:?} is not in all.toml");
    }
    assert!(Kind::ALL.len() >= 40 && set.len() >= 200, "{} kinds, {} columns", Kind::ALL.len(), set.len());
}

/// First tick, empty sides, an emptied book, equal and backward times, a crossing, trades of each side, a clear.
#[test]
fn edges_of_an_order_book() {
    let s = 1_000_000_000;
    let (bid, ask) = (Side::Bid, Side::Ask);
    let trade = |ts, aggressor, cents: i64, size| tick(ts, Body::Trade { aggressor, price: cents * CENT, size });
    let ticks = vec![
        trade(50 * s, Side::None, 1_003, 7),
        add(50 * s, bid, 1, 1_000, 10),
        cancel(50 * s + 1, bid, 1, 1_000, 10),
        add(50 * s + 1, ask, 2, 1_004, 20),
        add(51 * s, bid, 3, 1_000, 30),
        add(51 * s, bid, 4, 999, 30),
        trade(51 * s, bid, 1_004, 5),
        tick(51 * s, Body::Fill { resting: ask, order_id: 2, price: 1_004 * CENT, size: 5 }),
        cancel(52 * s, ask, 2, 1_004, 5),
        add(40 * s, bid, 5, 1_006, 1),
        trade(52 * s, ask, 1_000, 900),
        tick(52 * s, Body::Modify { side: ask, order_id: 2, price: 1_005 * CENT, size: 2 }),
        cancel(52 * s + 5, ask, 2, 1_005, 2),
        tick(60 * s, Body::Nothing),
        add(4_000 * s, ask, 6, 1_010, 8),
        add(90_000 * s, ask, 7, 1_011, 8),
        tick(90_001 * s, Body::Clear),
        add(90_002 * s, ask, 8, 1_011, 8),
        add(90_002 * s, bid, 9, 1_001, 8),
        add(90_002 * s, bid, 10, 1_002, 8),
    ];
    let set = all();
    let run = run(&set, CENT, ticks);
    assert_eq!(run.rows.len(), 20);
    assert_eq!(hold(&set, CENT, &run, 0..20), 20 * set.len());
}

#[test]
fn a_first_event_with_nothing_in_the_book_is_all_zero() {
    let set = all();
    let run = run(&set, CENT, [tick(123_456_789, Body::Nothing)]);
    for (name, value) in set.names().iter().zip(&run.rows[0].1) {
        assert_eq!(*value, 0.0, "{name}");
    }
}

#[test]
fn prices_at_the_ends_of_their_range_stay_finite() {
    let set = all();
    let wide =
        |bid_px, ask_px| BidAskPair { bid_px, ask_px, bid_sz: u32::MAX - 1, ask_sz: 1, bid_ct: 1, ask_ct: u32::MAX };
    let quotes = [[wide(i64::MIN, UNDEF_PRICE - 1)], [wide(i64::MAX - 1, i64::MIN)], [wide(0, 1)], [wide(-1, 1)]];
    let ticks = quotes.iter().enumerate().map(|(i, levels)| {
        let (side, price) = (Side::Bid, levels[0].ask_px);
        tick(i as u64 * (u64::MAX / 4), Body::Quotes { levels, action: b'T', side, price, size: u32::MAX - 1 })
    });
    for tick_size in [1, CENT, i64::MAX] {
        let run = run(&set, tick_size, ticks.clone());
        assert_eq!(run.rows.len(), 4);
        assert!(run.rows.iter().all(|(_, row, _)| row.iter().all(|x| x.is_finite())));
    }
}

#[test]
fn windows_and_decays_do_not_drift() {
    let set = all();
    let run = run(&set, CENT, random_orders(7, 12_000));
    let last = run.rows.len() - 1;
    hold(&set, CENT, &run, [last - 1, last]);
    // None of the columns agrees with its twin by standing still.
    for (c, name) in set.names().iter().enumerate() {
        let values: std::collections::HashSet<u32> = run.rows.iter().map(|(_, row, _)| row[c].to_bits()).collect();
        assert!(values.len() > 2, "{name} takes {} values", values.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_order_flow(seed: u64, ticks in 1_usize..400) {
        let set = all();
        let run = run(&set, CENT, random_orders(seed, ticks));
        let rows = run.rows.len();
        hold(&set, CENT, &run, (0..rows).filter(|i| i % 29 == 3 || *i < 2 || i + 2 > rows));
    }

    #[test]
    fn random_quoted_levels(seed: u64, rows in 1_usize..200) {
        let set = all();
        let quotes = random_quotes(seed, rows);
        let run = run(&set, CENT, quote_ticks(seed, &quotes));
        prop_assert_eq!(run.rows.len(), rows);
        hold(&set, CENT, &run, (0..rows).filter(|i| i % 29 == 3 || *i < 2 || i + 2 > rows));
    }

    /// No look-ahead: what comes later does not change a row, not by a bit.
    #[test]
    fn rows_do_not_know_the_future(seed: u64, ticks in 2_usize..300, kept in 0.0..1.0) {
        let set = all();
        let whole = random_orders(seed, ticks);
        let cut = (ticks as f64 * kept) as usize;
        let (all_rows, early) = (run(&set, CENT, whole.clone()).rows, run(&set, CENT, whole[..cut].to_vec()).rows);
        for (i, (_, row, _)) in early.iter().enumerate() {
            prop_assert!(row.iter().zip(&all_rows[i].1).all(|(a, b)| a.to_bits() == b.to_bits()), "row {}", i);
        }
    }
}
