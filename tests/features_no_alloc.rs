//! Nothing is allocated once the state of an instrument stands.

mod features_common;
#[path = "common/heap.rs"]
mod heap;

use features_common::limits;
use features_common::streams::{CENT, random_orders};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;

#[test]
fn update_write_and_reset_allocate_nothing() {
    for name in ["all", "book"] {
        let set = FeatureSet::bundled(name).unwrap();
        let ticks = random_orders(1, 20_000);
        let (mut state, mut row, mut events) = (State::new(limits(), &set, CENT), vec![0.0; set.len()], 0);
        let bytes = state.state_bytes();
        let before = heap::requests();
        for (i, tick) in ticks.iter().enumerate() {
            state.apply(tick);
            if state.event_end(tick) {
                state.features.write(&mut row);
                events += 1;
            }
            if i == 10_000 {
                state.gap(pillion::hot::book::NotWhole::Gap);
            }
        }
        assert_eq!(heap::requests() - before, 0, "{name}");
        assert_eq!(state.state_bytes(), bytes);
        assert!(events > 14_000, "{events}");
    }
    assert!(heap::requests() > 0, "the counter counts");
}
