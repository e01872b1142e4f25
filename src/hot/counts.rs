//! Counted outcomes of the hot path.

use super::book::{Applied, Event};
use super::decode::Reject;

/// What happened so far on a lane. Every tick lands in exactly one of rejected or applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub ticks: u64,
    /// Event ends outside snapshots.
    pub events: u64,
    /// The longest event yet, snapshots left out, that went on: its records in the high half, the index of its instrument
    /// in the low one. A very long one is a feed that sets no F_LAST.
    pub longest_open: u64,
    /// Signals published.
    pub signals: u64,
    /// Times that records were lost: lapped, or the ring corrupt.
    pub gaps: u64,
    /// Records lost.
    pub lost: u64,
    /// `ring_seq` of the first record lost to lapping.
    pub first_lost: Option<u64>,
    /// Gaps at which the ring contradicted itself.
    pub corrupt: u64,
    /// Records refused, by [`Reject`].
    pub rejects: [u64; Reject::COUNT],
    /// Book updates by outcome, [`Applied`].
    pub applied: [u64; Applied::COUNT],
    /// Triggers that conflation left out.
    pub conflated: u64,
    /// Signals whose engine failed or gave a non-finite output.
    pub invalid: u64,
    /// Runs that did on the clock what an idle lane would have prepared; see [`super::Lane::tally`].
    pub unprepared: u64,
    /// Times the feed's ring was replaced.
    pub generation_changes: u64,
}

impl Counts {
    /// An instrument's event goes on.
    #[inline]
    pub fn open_event(&mut self, instrument: usize, event: &Event) {
        if !event.snapshot {
            self.longest_open = self.longest_open.max(u64::from(event.ticks) << 32 | instrument as u64);
        }
    }

    /// All refused records.
    pub fn rejected(&self) -> u64 {
        self.rejects.iter().sum()
    }
}
