//! Counted outcomes of the hot path.

use super::Lane;
use super::book::Applied;
use super::decode::Reject;
use super::grid::OffGrid;
use super::state::State;

/// What happened so far on a lane. Every tick lands in exactly one of rejected or applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub ticks: u64,
    /// Event ends outside snapshots.
    pub events: u64,
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
    /// Event ends at which the feed had shown fewer levels of its book than the feature set looks at.
    pub shallow: u64,
    /// Levels of a side that it showed at the last of them.
    pub shown: u64,
    /// Times the feed's ring was replaced.
    pub generation_changes: u64,
}

impl Counts {
    /// An event end: whether the feed shows as many levels of the book as the feature set looks at.
    #[inline]
    pub fn depth(&mut self, shown: usize, wanted: usize) {
        if shown < wanted {
            self.shallow += 1;
            self.shown = shown as u64;
        }
    }

    /// All refused records.
    pub fn rejected(&self) -> u64 {
        self.rejects.iter().sum()
    }
}

impl Lane {
    /// Ticks whose price is no multiple of their instrument's tick size, over all instruments.
    pub fn off_grid(&self) -> OffGrid {
        let all = self.states.iter().map(State::off_grid);
        all.fold(OffGrid::default(), |a, b| OffGrid { quotes: a.quotes + b.quotes, trades: a.trades + b.trades })
    }
}
