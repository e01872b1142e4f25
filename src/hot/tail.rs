//! Slow ticks: what a turn that took longer than a threshold leaves behind, for the cold side to explain.

use super::stamp::STAGES;

/// Slow ticks that a set keeps between two looks of the cold side; of more, the slowest.
pub const SLOW_KEPT: usize = 512;

/// Something of our own that kept the thread from its ring, between two turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// Nothing yet.
    #[default]
    None,
    /// Housekeeping: counts to the control page.
    Counts,
    /// Housekeeping: a look into the mailbox.
    Mailbox,
    /// Housekeeping: histograms handed over.
    Histograms,
    /// Housekeeping: a look at the ring, or the change to a restarted feed's.
    Ring,
    /// Records were lost: every book and state of the lane was told.
    Gap,
    /// A model did a piece of work ahead of its next row.
    Prepared,
}

/// When it was, ns on the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSpan {
    /// What.
    pub what: Own,
    /// Its start.
    pub begun_ns: u64,
    /// Its end.
    pub ended_ns: u64,
}

/// A tick whose turn ended later after its publish than the threshold allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowTick {
    /// Its number in the tick ring; of a batch, the tick that waited longest.
    pub ring_seq: u64,
    /// Its publish stamp, ns on the host's clock.
    pub tick_ns: u64,
    /// Start of the turn, ns on the host's clock.
    pub begun_ns: u64,
    /// From its publish to its last signal, or to the last stamp of its turn where it made none, ns.
    pub latency_ns: u64,
    /// Spans by stage, ns; sums where a stage came several times, the longest `tick_to_signal`.
    pub stages_ns: [u64; STAGES],
    /// Ticks served before it since the ring was last found empty.
    pub position: u64,
    /// Since the loop's last sign of life before the turn, ns: an idle round or housekeeping, or the start of the turn before.
    pub silent_ns: u64,
    /// The last thing of our own before the turn.
    pub own: OwnSpan,
    /// The idle loop's last hole before the turn: start and end, ns on the host's clock; the same where there was none. A round that
    /// found the ring empty and then stood still has ended before the turn, so `silent_ns` does not show it.
    pub hole_ns: (u64, u64),
}

/// The slowest ticks over the threshold.
#[derive(Clone, Debug)]
pub struct SlowTicks {
    /// Latencies above this are slow, ns. The cold side sets it.
    pub threshold_ns: u64,
    /// Ticks before this one are never slow: a replay sends them ahead of its play. The cold side sets it.
    pub from_seq: u64,
    /// Slow ticks, kept or not.
    pub over: u64,
    kept: Box<[SlowTick; SLOW_KEPT]>,
    /// Latencies of those kept, by themselves: the least is looked for in a few cache lines.
    latencies_ns: Box<[u64; SLOW_KEPT]>,
    len: usize,
    /// Place of the least slow one, once the room is full.
    least: usize,
}

/// Until the cold side knows what is usual, ns.
pub const FIRST_THRESHOLD_NS: u64 = 10_000;

impl Default for SlowTicks {
    fn default() -> Self {
        let kept = Box::new([SlowTick::default(); SLOW_KEPT]);
        let latencies_ns = Box::new([0; SLOW_KEPT]);
        Self { threshold_ns: FIRST_THRESHOLD_NS, from_seq: 0, over: 0, kept, latencies_ns, len: 0, least: 0 }
    }
}

impl SlowTicks {
    /// Keeps a slow tick, in the place of the least slow one where there is no room.
    #[cold]
    pub(crate) fn keep(&mut self, tick: SlowTick) {
        if tick.ring_seq < self.from_seq {
            return;
        }
        self.over += 1;
        if self.len < SLOW_KEPT {
            self.put(self.len, tick);
            self.len += 1;
            if self.len == SLOW_KEPT {
                self.find_least();
            }
        } else if tick.latency_ns > self.latencies_ns[self.least] {
            self.put(self.least, tick);
            self.find_least();
        }
    }

    fn put(&mut self, at: usize, tick: SlowTick) {
        self.kept[at] = tick;
        self.latencies_ns[at] = tick.latency_ns;
    }

    fn find_least(&mut self) {
        let least = self.latencies_ns.iter().copied().min().unwrap_or(0);
        self.least = self.latencies_ns.iter().position(|ns| *ns == least).unwrap_or(0);
    }

    /// Those kept, in no order that matters.
    pub fn kept(&self) -> &[SlowTick] {
        &self.kept[..self.len]
    }

    /// Forgets them; the threshold and the first tick stay.
    pub fn clear(&mut self) {
        (self.over, self.len) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_kept_and_all_are_counted() {
        let mut slow = SlowTicks::default();
        let latency = |i: u64| 1 + (i * 7_919) % 10_007;
        for i in 0..1_000 {
            slow.keep(SlowTick { ring_seq: i, latency_ns: latency(i), ..SlowTick::default() });
        }
        let mut all: Vec<_> = (0..1_000).map(latency).collect();
        all.sort_unstable();
        let mut kept: Vec<_> = slow.kept().iter().map(|t| t.latency_ns).collect();
        kept.sort_unstable();
        assert_eq!((slow.over, kept.as_slice()), (1_000, &all[1_000 - SLOW_KEPT..]));
        slow.clear();
        assert_eq!((slow.over, slow.kept().len(), slow.threshold_ns), (0, 0, FIRST_THRESHOLD_NS));
        slow.from_seq = 7;
        slow.keep(SlowTick { ring_seq: 6, latency_ns: 1, ..SlowTick::default() });
        slow.keep(SlowTick { ring_seq: 7, latency_ns: 1, ..SlowTick::default() });
        assert_eq!((slow.over, slow.kept().len()), (1, 1), "what went ahead of the play is no part of its tail");
    }
}
