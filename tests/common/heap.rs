//! A global allocator that counts what each thread asks of the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations, reallocations and frees of the calling thread so far.
pub fn requests() -> u64 {
    REQUESTS.with(Cell::get)
}

fn count() {
    // A thread that is ending has no cell any more, and nobody reads it.
    let _ = REQUESTS.try_with(|n| n.set(n.get() + 1));
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a const-initialised cell only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;
