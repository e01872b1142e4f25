//! The kernel's counts as signs of the host, and in words.

use super::looks::{FAULT_NS, SWITCH_NS};
use crate::report::HostTotals;
use crate::report::table::thousands;

/// A stall that fewer than this many ns of waiting for a CPU can explain is none of the scheduler's.
const QUEUED_NS: u64 = 1_000;

/// What the kernel counted that explains a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The thread was ready to run for half of it or more, and did not.
    Queued,
    /// It gave its CPU up: SIGSTOP does that.
    Voluntary,
    /// It was taken off its CPU.
    Involuntary,
    /// It waited for a disk.
    MajorFault,
    /// The hypervisor ran others.
    Stolen,
    /// A page had to be mapped.
    MinorFault,
}

impl Sign {
    /// The strongest that explains a stall of `ns`, if one does. What could not be read explains nothing.
    pub fn of(ns: u64, counts: &HostTotals) -> Option<Self> {
        let some = |count: Option<u64>| count.unwrap_or(0) > 0;
        let queued = ns >= QUEUED_NS && counts.runqueue_wait_ns.unwrap_or(0) >= ns.div_ceil(2);
        let long = ns >= SWITCH_NS;
        let signs = [
            (queued, Self::Queued),
            (long && some(counts.voluntary_switches), Self::Voluntary),
            (long && some(counts.involuntary_switches), Self::Involuntary),
            (long && some(counts.major_faults), Self::MajorFault),
            (long && some(counts.steal_ms), Self::Stolen),
            (ns >= FAULT_NS && some(counts.minor_faults), Self::MinorFault),
        ];
        signs.into_iter().find_map(|(seen, sign)| seen.then_some(sign))
    }
}

/// Whether anything interrupted the CPU.
pub fn interrupted(counts: &HostTotals) -> bool {
    let kinds = [counts.timer_ticks, counts.interrupts, counts.tlb_shootdowns, counts.ipis];
    kinds.into_iter().flatten().any(|count| count > 0)
}

/// ": 1 voluntary switch, ..." of what was counted; nothing where nothing was.
pub fn counted(counts: &HostTotals) -> String {
    let list = listed(counts);
    if list.is_empty() { String::new() } else { format!(": {} around it", list.join(", ")) }
}

/// Counts above 0 in words, strongest first.
pub fn listed(counts: &HostTotals) -> Vec<String> {
    let named = |count: Option<u64>, one: &str, many: &str| match count {
        None | Some(0) => None,
        Some(1) => Some(format!("1 {one}")),
        Some(n) => Some(format!("{n} {many}")),
    };
    let waited = counts.runqueue_wait_ns.filter(|ns| *ns >= QUEUED_NS);
    [
        waited.map(|ns| format!("{} us ready and not running", us(ns))),
        named(counts.voluntary_switches, "voluntary switch", "voluntary switches"),
        named(counts.involuntary_switches, "involuntary switch", "involuntary switches"),
        named(counts.steal_ms, "ms stolen", "ms stolen"),
        named(counts.major_faults, "major fault", "major faults"),
        named(counts.minor_faults, "minor fault", "minor faults"),
        named(counts.timer_ticks, "timer tick", "timer ticks"),
        named(counts.interrupts, "device interrupt", "device interrupts"),
        named(counts.tlb_shootdowns, "TLB shootdown", "TLB shootdowns"),
        named(counts.ipis, "other IPI", "other IPIs"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// ns as µs: with a decimal below 10.
pub fn us(ns: u64) -> String {
    if ns < 10_000 { format!("{:.1}", ns as f64 / 1e3) } else { thousands(ns / 1000) }
}
