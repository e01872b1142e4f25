//! The slowest ticks of a run, and what each lost its time to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Stages;

/// What a tick lost most of its time to, beyond what a median tick takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The machine: the thread was not running (descheduled, stopped, in a fault, its CPU stolen), or the feed's was not.
    Host,
    /// Ticks that came before it and were served at their usual speed.
    Backlog,
    /// The model's run, with no sign of the host.
    Model,
    /// Pillion's own steps, housekeeping included, with no sign of the host.
    Ours,
    /// None of these could be shown.
    Unattributed,
}

impl Cause {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Host, Self::Backlog, Self::Model, Self::Ours, Self::Unattributed];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Backlog => "backlog",
            Self::Model => "model",
            Self::Ours => "ours",
            Self::Unattributed => "unattributed",
        }
    }
}

/// ns of a tick's latency, or of many ticks', by cause. What a median tick takes too is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shares {
    /// [`Cause::Host`].
    pub host_ns: u64,
    /// [`Cause::Backlog`].
    pub backlog_ns: u64,
    /// [`Cause::Model`].
    pub model_ns: u64,
    /// [`Cause::Ours`].
    pub ours_ns: u64,
    /// [`Cause::Unattributed`].
    pub unattributed_ns: u64,
}

impl Shares {
    /// ns of one cause.
    pub fn of(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Host => self.host_ns,
            Cause::Backlog => self.backlog_ns,
            Cause::Model => self.model_ns,
            Cause::Ours => self.ours_ns,
            Cause::Unattributed => self.unattributed_ns,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, cause: Cause) -> &mut u64 {
        match cause {
            Cause::Host => &mut self.host_ns,
            Cause::Backlog => &mut self.backlog_ns,
            Cause::Model => &mut self.model_ns,
            Cause::Ours => &mut self.ours_ns,
            Cause::Unattributed => &mut self.unattributed_ns,
        }
    }

    /// ns of all causes.
    pub fn total_ns(&self) -> u64 {
        Cause::ALL.into_iter().map(|cause| self.of(cause)).fold(0, u64::saturating_add)
    }
}

/// A slow tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailTick {
    /// Its number in the tick ring.
    pub ring_seq: u64,
    /// Its publish stamp, ns since the epoch on the host's clock.
    pub tick_ns: u64,
    /// From there to its last signal, or to the end of its turn where it made none, ns.
    pub latency_ns: u64,
    /// How long before its publish it was due, ns: the feed was late. 0 where nobody kept due times.
    #[serde(default)]
    pub late_ns: u64,
    /// Its stages, ns; with several models, sums over them. Only `wait` and `tick_to_signal` with `stamps = "ends"`.
    pub stages_ns: BTreeMap<String, u64>,
    /// Ticks served before it since the lane last found its ring empty: the depth of the backlog it stood in.
    pub position: u64,
    /// From the last sign of life of the idle loop to the start of its turn, ns: some tens where the thread ran all along.
    pub silent_ns: u64,
    /// What it lost most of its time to.
    pub cause: Cause,
    /// Its time by cause.
    pub shares: Shares,
    /// What the cause rests on, for people.
    pub evidence: Vec<String>,
}

/// What the kernel counted for the hot thread and its CPU over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostTotals {
    /// Times the thread gave its CPU up, SIGSTOP among them; `None`, here and below: could not be read.
    pub voluntary_switches: Option<u64>,
    /// Times it was taken off its CPU.
    pub involuntary_switches: Option<u64>,
    /// Page faults served from memory.
    pub minor_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_faults: Option<u64>,
    /// Local timer interrupts on its CPU.
    pub timer_ticks: Option<u64>,
    /// Device interrupts on its CPU.
    pub interrupts: Option<u64>,
    /// TLB shootdowns received by its CPU.
    pub tlb_shootdowns: Option<u64>,
    /// Other interprocessor interrupts on its CPU (rescheduling, function calls; kernels count most shootdowns here too).
    pub ipis: Option<u64>,
    /// Time the hypervisor gave its CPU to others, ms, in steps of 10.
    pub steal_ms: Option<u64>,
    /// Time it was ready to run and did not, ns.
    pub runqueue_wait_ns: Option<u64>,
}

/// How the sampler looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Looks {
    /// Aim for the time between two looks, ms; 0: nobody looked, and only what the hot thread saw itself counts.
    pub period_ms: u64,
    /// Looks taken.
    pub count: u64,
    /// Longest time between two, ns: evidence is no finer than that.
    pub longest_gap_ns: u64,
    /// Median time that a look took, ns, away from the hot thread's CPU where there is another.
    pub cost_ns: u64,
}

/// The tail of a lane's run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailReport {
    /// Ticks slower than this are its tail, ns. With `tail_ns = 0` ("auto") it follows the run's 99th percentile; this is its last value.
    pub threshold_ns: u64,
    /// Ticks over the threshold of their time.
    pub over: u64,
    /// Of these, ticks of which nothing more is known: more came between two looks of the cold side than there was room for.
    pub not_kept: u64,
    /// Kept ticks by cause. Those that lost nothing beyond the usual are under none.
    pub ticks: BTreeMap<String, u64>,
    /// Their time by cause.
    pub shares: Shares,
    /// The slowest of them, slowest first.
    pub worst: Vec<TailTick>,
    /// Percentiles of the stages that the excess is measured against, ns.
    #[serde(default)]
    pub usual: Stages,
    /// What the kernel counted meanwhile.
    pub host: HostTotals,
    /// How it was asked.
    pub looks: Looks,
}
