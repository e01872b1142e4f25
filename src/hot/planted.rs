//! Feature `planted-delay`, for the proof that `pillion ab` finds a regression (`make planted`): never in a build that serves.

use pillion_shm::Clock;

/// What the delay takes at least, ns.
pub const DELAY_NS: u64 = 2_000;

/// Spins for [`DELAY_NS`]; reads the clock, calls nothing of the system.
#[inline(never)]
pub(super) fn delay(clock: &Clock) {
    let start = clock.raw();
    while clock.span_ns(start, clock.raw()) < DELAY_NS {
        std::hint::spin_loop();
    }
}
