//! A host as reports hold it: what the machine is, and what `pillion doctor` found of its settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine, as far as results depend on it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// CPU model.
    pub cpu: String,
    /// CPUs this process may use.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// True when the CPU says that it is virtual.
    pub virtualised: bool,
    /// Widest vector instructions found.
    pub isa: String,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The finding costs latency, or may; the mend says what to do.
    Poor,
    /// Nothing could be found out: a file is absent, unreadable or not understood, or nothing was measured.
    Unknown,
    /// The finding is as it should be.
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
    /// Weight of the check in the grade: critical, major, minor or info.
    pub weight: String,
    /// The finding, with its unit.
    pub value: String,
    /// Meaning of the finding.
    pub verdict: Verdict,
    /// Why it matters to a busy-polling thread.
    pub why: String,
    /// Text to paste, or to add to the kernel's command line, CPU numbers filled in; given for good findings too.
    pub mend: String,
}

/// The doctor's findings. Reports carry them, so that a latency is read together with the host it was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// A (fit) to F, by the rule that `pillion doctor` prints.
    pub grade: String,
    /// The CPU that was asked about.
    pub core: usize,
    /// Every check once, in the order of their list.
    pub checks: Vec<Check>,
    /// Measurements of the gap probe; null where it did not run, and `gap_probe` among the checks says why.
    pub probe: Option<GapProbe>,
}

/// Measurements of a thread that spins on the CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapProbe {
    /// Time spent spinning, ns.
    pub span_ns: u64,
    /// Reads of the counter in that time.
    pub reads: u64,
    /// Mean step outside holes, ns: what one read and the loop around it cost.
    pub step_ns: f64,
    /// Longest step between two reads, ns.
    pub largest_hole_ns: u64,
    /// Steps longer than 1 µs.
    pub above_1us: u64,
    /// Steps longer than 5 µs.
    pub above_5us: u64,
    /// Steps longer than 10 µs.
    pub above_10us: u64,
    /// Steps longer than 50 µs.
    pub above_50us: u64,
    /// Steps longer than 100 µs.
    pub above_100us: u64,
    /// Steps longer than 1 ms.
    pub above_1000us: u64,
    /// Time lost in steps longer than 1 µs, ns.
    pub lost_ns: u64,
    /// Time lost in steps longer than 1 µs, parts per million of the span.
    pub lost_ppm: f64,
    /// Times the kernel gave the CPU to another thread; `None` where /proc does not say.
    pub preempted: Option<u64>,
    /// Steps of 250 ns and more as [upper bound in ns, count], two digits exact.
    pub histogram: Vec<(u64, u64)>,
}
