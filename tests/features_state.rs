//! When features restart, and which ticks are events.

mod features_common;

use features_common::limits;
use features_common::streams::{CENT, add, tick};
use pillion::hot::book::NotWhole;
use pillion::hot::decode::{Body, Side, Tick};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;
use pillion_shm::records::flags;

const SET: &str = "name = \"t\"\nwarmup_events = 2\n[[feature]]\nkind = \"add_intensity\"\nhalf_life_events = 5\n\
                   [[feature]]\nkind = \"mid\"\n";

fn state() -> (State, Vec<f32>) {
    let set = FeatureSet::parse(SET, "t.toml").unwrap();
    (State::new(limits(), &set, CENT), vec![0.0; set.len()])
}

fn take(state: &mut State, tick: Tick) -> bool {
    state.apply(&tick);
    state.event_end(&tick)
}

fn snapshot(body: Body<'static>, last: bool) -> Tick<'static> {
    let flags = flags::SNAPSHOT | if last { flags::LAST } else { 0 };
    Tick { flags, ..tick(1, body) }
}

#[test]
fn snapshots_status_and_open_events_do_not_count() {
    let (mut state, mut row) = state();
    assert!(!take(&mut state, snapshot(Body::Clear, false)));
    assert!(!take(&mut state, snapshot(Body::Add { side: Side::Bid, order_id: 1, price: 100 * CENT, size: 1 }, false)));
    assert!(!take(&mut state, snapshot(Body::Add { side: Side::Ask, order_id: 2, price: 102 * CENT, size: 1 }, true)));
    state.features.write(&mut row);
    assert_eq!(row, [0.0; 3]);
    assert!(!take(&mut state, Tick { flags: 0, ..add(2, Side::Bid, 3, 100, 5) }));
    assert!(take(&mut state, add(2, Side::Bid, 4, 100, 5)));
    assert!(!take(&mut state, tick(3, Body::Status { trading: Some(true) })), "a status record is no event");
    state.features.write(&mut row);
    let gain = 1.0 - 0.5_f64.powf(0.2);
    assert_eq!(row, [(2.0 * gain) as f32, 0.0, 101.0]);
    assert!(!state.features.warm());
    assert!(take(&mut state, add(5, Side::Bid, 5, 100, 5)));
    assert!(state.features.warm());
}

#[test]
fn features_restart_at_a_clear_at_a_gap_and_when_the_book_is_whole_again() {
    let (mut state, mut row) = state();
    for order in 0..5 {
        take(&mut state, add(order, Side::Bid, order, 100, 1));
    }
    assert!(state.features.warm());
    state.gap(NotWhole::Gap);
    assert!(state.book.suspect() && !state.features.warm());
    for order in 5..9 {
        take(&mut state, add(order, Side::Bid, order, 100, 1));
    }
    assert!(state.features.warm() && state.book.suspect(), "events count while the book is suspect");
    take(&mut state, snapshot(Body::Clear, false));
    take(&mut state, snapshot(Body::Add { side: Side::Bid, order_id: 1, price: 100 * CENT, size: 1 }, true));
    assert!(!state.features.warm() && !state.book.suspect());
    state.features.write(&mut row);
    assert_eq!(row, [0.0; 3]);
    take(&mut state, add(10, Side::Bid, 20, 100, 1));
    take(&mut state, add(10, Side::Bid, 21, 100, 1));
    assert!(state.features.warm());
    take(&mut state, Tick { flags: 0, ..tick(11, Body::Clear) });
    assert!(!state.features.warm());
}

#[test]
fn a_restart_leaves_nothing_behind() {
    let set = FeatureSet::bundled("all").unwrap();
    let later =
        || features_common::streams::random_orders(11, 600).into_iter().filter(|t| !matches!(t.body, Body::Clear));
    let rows = |before: usize| {
        let mut state = State::new(limits(), &set, CENT);
        for tick in features_common::streams::random_orders(10, before) {
            take(&mut state, tick);
        }
        state.book = pillion::hot::book::Book::new(limits());
        state.features.reset();
        let mut rows = Vec::new();
        for tick in later() {
            if take(&mut state, tick) {
                let mut row = vec![0.0; set.len()];
                state.features.write(&mut row);
                rows.push(row.iter().map(|x: &f32| x.to_bits()).collect::<Vec<_>>());
            }
        }
        rows
    };
    assert!(rows(0) == rows(3_000));
}

/// An event that is earlier than the one before it takes no time: features of time stand still until the feed catches up.
#[test]
fn an_event_from_the_past_takes_no_time() {
    let set = FeatureSet::bundled("all").unwrap();
    let rows = |times: [u64; 5]| {
        let (mut state, mut row) = (State::new(limits(), &set, CENT), vec![0.0; set.len()]);
        let mut rows = Vec::new();
        for (order, time) in times.into_iter().enumerate() {
            let side = if order % 2 == 0 { Side::Bid } else { Side::Ask };
            let price = if order % 2 == 0 { 100 } else { 102 + order as i64 };
            assert!(take(&mut state, add(time, side, order as u64, price, 5)));
            state.features.write(&mut row);
            rows.push(row.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        rows
    };
    let second = 1_000_000_000;
    assert!(rows([5, 9, 4, 7, 12].map(|s| s * second)) == rows([5, 9, 9, 9, 12].map(|s| s * second)));
    assert!(rows([5, 9, 9, 9, 12].map(|s| s * second)) != rows([5, 9, 9, 10, 12].map(|s| s * second)));
}
