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

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::memory_limits;
pub use grade::{RULE, below};
pub use host::Roots;
pub use probe::{GapProbe, HOLE_NS, LARGEST_GOOD_NS, LOST_GOOD_PPM};

use host::{Look, Measured};

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It costs latency, or may; the mend says what to do.
    Poor,
    /// It could not be found out: a file is absent, unreadable or not understood, or nothing was measured.
    Unknown,
    /// It is as it should be.
    Good,
}

impl Verdict {
    /// The word that reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Poor => "poor",
            Self::Unknown => "unknown",
            Self::Good => "good",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Stable name, snake_case.
    pub id: String,
    /// How much it counts in the grade: critical, major, minor or info.
    pub weight: String,
    /// What was found, with its unit.
    pub value: String,
    /// What that means.
    pub verdict: Verdict,
    /// Why it matters to a busy-polling thread.
    pub why: String,
    /// What to paste or to add to the kernel's command line, CPU numbers filled in; given for what is good too.
    pub mend: String,
}

/// What the doctor found. Reports carry it, so that a latency is read together with the host it was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// A (fit) to F, by [`RULE`].
    pub grade: String,
    /// The CPU that was asked about.
    pub core: usize,
    /// Every check once, in the order of their list.
    pub checks: Vec<Check>,
    /// What the gap probe measured; `None` where it did not run, and `gap_probe` among the checks says why.
    pub probe: Option<GapProbe>,
}

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
