//! `pillion doctor`: is this host fit for a pinned thread that polls without pause?
//!
//! Everything is read and nothing is changed. `checks::CHECKS` lists all checks in order; each is a small function in
//! the file of its theme, given a `host::Look` at the host. A file that is absent or cannot be understood makes a check
//! *unknown*, never good. `probe` measures what the checks can only suggest; `grade` sums up; `text` prints.

mod checks;
mod clock;
mod container;
mod cpu;
mod cpus;
mod grade;
mod host;
mod irq;
mod kernel;
mod memory;
mod power;
mod probe;
mod schedule;
pub mod text;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use container::memory_limits;
pub use grade::{RULE, below};
pub use host::Roots;
pub use probe::{HOLE_NS, LARGEST_GOOD_NS, LOST_GOOD_PPM};

pub use crate::report::host::{Check, Diagnosis, GapProbe, Verdict};

use host::{Look, Measured};

/// Looks at everything, and spins on `core` for `probe` in a thread of its own; this takes as long. Zero measures
/// nothing, as [`quick`]. Never fails: what cannot be found out is unknown.
pub fn diagnose(core: usize, probe: Duration) -> Diagnosis {
    let roots = Roots::default();
    match probe.is_zero() {
        true => quick(core),
        false => examine(&roots, core, probe::measure(&roots, core, probe)),
    }
}

/// Looks without waiting: the probe and the checks that need an interval are unknown and say so. Takes milliseconds.
pub fn quick(core: usize) -> Diagnosis {
    examine(&Roots::default(), core, Err("not measured: the probe's time was 0".into()))
}

/// The host below `roots`, with what was measured on it or why nothing was.
fn examine(roots: &Roots, core: usize, measured: Result<Measured, String>) -> Diagnosis {
    let look = Look { roots, core, measured: measured.as_ref().map_err(Clone::clone) };
    let checks: Vec<_> = checks::CHECKS.iter().map(|row| row.check(&look)).collect();
    let probe = measured.ok().map(|m| m.probe);
    Diagnosis { grade: grade::grade(&checks, probe.as_ref()).into(), core, checks, probe }
}
