//! What the feature tests share: streams to run on, a record of what was seen, and the naive twin.
#![allow(dead_code)]

pub mod streams;
pub mod twin;

use pillion::hot::book::{Book, Event, Limits};
use pillion::hot::decode::{Body, Side, Tick};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;

/// The book and the event at one event end, copied out.
#[derive(Clone)]
pub struct Seen {
    pub ts_event: u64,
    /// Best first: price, size, orders.
    pub levels: [Vec<(i64, u64, u32)>; 2],
    pub event: Event,
}

impl Seen {
    pub fn of(ts_event: u64, book: &Book) -> Seen {
        let copy = |side| (0..11).map_while(|i| book.level(side, i)).map(|l| (l.price, l.size, l.orders)).collect();
        Seen { ts_event, levels: [copy(Side::Bid), copy(Side::Ask)], event: *book.event() }
    }
}

/// Everything since the last reset, and the row after each event.
#[derive(Default)]
pub struct Run {
    pub history: Vec<Seen>,
    /// Where in `history` the events since the last reset begin.
    pub start: usize,
    /// For each event: where its reset was, its row, its row before rounding.
    pub rows: Vec<(usize, Vec<f32>, Vec<f64>)>,
}

pub fn limits() -> Limits {
    Limits { max_orders: 1 << 14, max_levels: 1 << 11 }
}

/// Runs ticks of one instrument through the shipped code.
pub fn run<'a>(set: &FeatureSet, tick_size: i64, ticks: impl IntoIterator<Item = Tick<'a>>) -> Run {
    let mut state = State::new(limits(), set, tick_size);
    let mut run = Run::default();
    for tick in ticks {
        state.apply(&tick);
        if matches!(tick.body, Body::Clear | Body::Quotes { action: b'R', .. }) {
            run.start = run.history.len();
        }
        if state.event_end(&tick) {
            run.history.push(Seen::of(tick.ts_event, &state.book));
            let (mut row, mut exact) = (vec![0.0; set.len()], vec![0.0; set.len()]);
            state.features.write(&mut row);
            state.features.write_f64(&mut exact);
            run.rows.push((run.start, row, exact));
        }
    }
    run
}

/// Holds some rows of a run against the twin, all columns; returns how many values were compared.
pub fn hold(set: &FeatureSet, tick_size: i64, run: &Run, events: impl IntoIterator<Item = usize>) -> usize {
    let mut compared = 0;
    for i in events {
        let (start, row, exact) = &run.rows[i];
        let twin = twin::Twin::new(&run.history[*start..=i], tick_size);
        for (c, column) in set.columns().iter().enumerate() {
            let expected = twin.value(column);
            let (name, ours) = (&set.names()[c], exact[c]);
            assert!(row[c].is_finite() && expected.is_finite(), "{name} at event {i}: {} against {expected}", row[c]);
            let room = 1e-9 * expected.abs().max(1.0);
            assert!((ours - expected).abs() <= room, "{name} at event {i}: {ours:e}, the twin has {expected:e}");
            assert_eq!(row[c], ours as f32, "{name} at event {i} is not the f64 value rounded");
            compared += 1;
        }
    }
    compared
}
