//! What the victims write, in whatever language, and what their survivors expect.

use crate::common::record;
use pillion_shm::{BoardSpec, RingWriter, STAGES, Signal, StageBlock, StageSummary};
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(30);
/// Slots of the rings: few, so that a kill falls on every side of a wrap-around.
pub const SLOTS: u64 = 4;
/// Records that a ring's victim publishes once it is armed.
pub const BURST: u64 = 6;
/// Signals that a board's victim sets once it is armed.
pub const SETS: u64 = 3;

/// Signal `n`, every word of which tells a torn copy.
pub fn signal(n: u64) -> Signal {
    let mut signal: Signal = bytemuck::Zeroable::zeroed();
    (signal.ring_seq, signal.ts_event, signal.tick_ns, signal.signal_ns) = (n, !n, n ^ 0x5555, n << 7);
    (signal.instrument, signal.revision, signal.flags) = (n as u32, n as u32 + 1, 0);
    signal.outputs = std::array::from_fn(|i| (n * 17 + i as u64) as f32);
    signal.outputs_len = 16;
    signal
}

/// What stands in the cells beside the one that a board writer dies at: this in (0, 1), the next in (1, 0).
pub const NEIGHBOUR: u64 = 1000;

pub fn cells() -> BoardSpec {
    BoardSpec { instruments: 2, models: 2, table: Vec::new() }
}

pub fn publish(ring: &mut RingWriter, count: u64) {
    for _ in 0..count {
        let n = ring.published();
        ring.publish_at(&record(n), n + 7);
    }
}

/// Stages that tell a torn copy.
pub fn stages(n: u64) -> StageBlock {
    let one = |i: u64| StageSummary { count: n, p50: n + i, p90: n, p99: n, p999: n, p9999: n, max: n + i };
    std::array::from_fn(|i| one(i as u64)) as [StageSummary; STAGES.len()]
}
