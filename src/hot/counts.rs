//! Counted outcomes of the hot path.

use pillion_shm::signal_flags;

use super::Lane;
use super::book::{Applied, Event, NotWhole};
use super::decode::Reject;
use super::grid::OffGrid;
use super::state::State;

/// What happened so far on a lane. Every tick lands in exactly one of rejected or applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Event ends at which the feed had shown fewer levels of its book than the feature set looks at.
    pub shallow: u64,
    /// Levels of a side that it showed at the last of them.
    pub shown: u64,
    /// Times the feed's ring was replaced.
    pub generation_changes: u64,
    /// Records that were published before the lane started.
    pub catching_up: u64,
    /// Signals by flag: cell i counts those with bit i, see [`signal_flags::NAMES`].
    pub flags: [u64; FLAGS],
    /// Instruments whose book is not whole now, by why not: [`NotWhole`].
    pub not_whole: [u64; NotWhole::COUNT],
    /// Times that a book was not whole from then on, by why not; once for each reason that followed another.
    pub became_not_whole: [u64; NotWhole::COUNT],
    /// Records lost since all books were whole.
    pub missed: u64,
}

/// Number of signal flags.
pub const FLAGS: usize = signal_flags::NAMES.len();

impl Counts {
    /// An event end: whether the feed shows as many levels of the book as the feature set looks at.
    #[inline]
    pub fn depth(&mut self, shown: usize, wanted: usize) {
        if shown < wanted {
            self.shallow += 1;
            self.shown = shown as u64;
        }
    }

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

    /// Instruments whose book is not whole now.
    pub fn books_not_whole(&self) -> u64 {
        self.not_whole.iter().sum()
    }

    /// A book was not whole for one reason and is not for another now; `None` stands for a whole book.
    #[cold]
    pub(super) fn book_changed(&mut self, before: Option<NotWhole>, now: Option<NotWhole>) {
        if before == now {
            return;
        }
        if let Some(why) = before {
            self.not_whole[why.index()] -= 1;
        }
        if let Some(why) = now {
            self.not_whole[why.index()] += 1;
            self.became_not_whole[why.index()] += 1;
        }
        if self.books_not_whole() == 0 {
            self.missed = 0;
        }
    }

    /// Counts a signal's flags.
    #[inline]
    pub(super) fn flagged(&mut self, flags: u32) {
        if flags != 0 {
            self.flags.iter_mut().zip(0..).for_each(|(count, bit)| *count += u64::from(flags >> bit & 1));
        }
    }
}

impl Lane {
    /// Ticks whose price is no multiple of their instrument's tick size, over all instruments.
    pub fn off_grid(&self) -> OffGrid {
        let all = self.states.iter().map(State::off_grid);
        all.fold(OffGrid::default(), |a, b| OffGrid { quotes: a.quotes + b.quotes, trades: a.trades + b.trades })
    }
}
