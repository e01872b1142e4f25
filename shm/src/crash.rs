//! Where a process may die: with the feature `crash`, `point` kills it (SIGKILL) at the N-th point it passes, N from
//! `PILLION_CRASH_AT`. Without the feature, in every build that ships, a point is nothing at all.

#[cfg(not(feature = "crash"))]
#[inline(always)]
pub(crate) const fn point(_where: &'static str) {}

#[cfg(feature = "crash")]
pub(crate) use on::point;
#[cfg(feature = "crash")]
pub use on::{arm, passed};

#[cfg(feature = "crash")]
mod on {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    static ARMED: AtomicBool = AtomicBool::new(false);
    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// From here on points count.
    pub fn arm() {
        ARMED.store(true, Ordering::Relaxed);
    }

    /// Points passed since [`arm`]: how many places there are to die at, when none was asked for.
    pub fn passed() -> u64 {
        PASSED.load(Ordering::Relaxed)
    }

    /// A place to die at, after the store or the system call before it. Says which on standard error first.
    pub(crate) fn point(place: &'static str) {
        if !ARMED.load(Ordering::Relaxed) {
            return;
        }
        let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if Some(passed) == deadly() {
            eprintln!("crash point {passed}: {place}");
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    fn deadly() -> Option<u64> {
        static AT: OnceLock<Option<u64>> = OnceLock::new();
        *AT.get_or_init(|| std::env::var("PILLION_CRASH_AT").ok()?.parse().ok())
    }
}
