//! Nothing is allocated once the state of an instrument stands.

mod features_common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use features_common::limits;
use features_common::streams::{CENT, random_orders};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes on to the system's allocator unchanged; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn update_write_and_reset_allocate_nothing() {
    for name in ["all", "book"] {
        let set = FeatureSet::bundled(name).unwrap();
        let ticks = random_orders(1, 20_000);
        let (mut state, mut row, mut events) = (State::new(limits(), &set, CENT), vec![0.0; set.len()], 0);
        let bytes = state.state_bytes();
        let before = ALLOCATIONS.with(Cell::get);
        for (i, tick) in ticks.iter().enumerate() {
            state.apply(tick);
            if state.event_end(tick) {
                state.features.write(&mut row);
                events += 1;
            }
            if i == 10_000 {
                state.gap();
            }
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{name}");
        assert_eq!(state.state_bytes(), bytes);
        assert!(events > 14_000, "{events}");
    }
    assert!(ALLOCATIONS.with(Cell::get) > 0, "the counter counts");
}
