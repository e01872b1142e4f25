//! Book and features of one instrument: what the hot path and the offline driver both move on, the same way.

#![forbid(unsafe_code)]

use super::book::{Applied, Book, Limits, NotWhole};
use super::decode::{Body, Reject, Tick};
use super::features::{FeatureSet, Features};
use super::grid::{Grid, OffGrid};

/// No publisher yet: no `u16`.
const NOBODY: u32 = u32::MAX;

/// State of one instrument.
#[derive(Clone, Debug)]
pub struct State {
    /// Its book.
    pub book: Book,
    /// Its features.
    pub features: Features,
    restarted: bool,
    /// Whose records these are: the first one's.
    publisher: u32,
    grid: Grid,
    off_grid: OffGrid,
    news: bool,
}

impl State {
    /// An empty book and features that have seen nothing; `tick_size` in 1e-9 of price.
    pub fn new(limits: Limits, set: &FeatureSet, tick_size: i64) -> Self {
        Self {
            book: Book::new(limits),
            features: Features::new(set, tick_size),
            restarted: false,
            news: false,
            publisher: NOBODY,
            grid: Grid::new(tick_size),
            off_grid: OffGrid::default(),
        }
    }

    /// Whether a tick of this instrument is its to take, to be asked of each before [`State::apply`]: of the publisher whose
    /// records these are, and of what its book takes ([`Book::admit`]).
    ///
    /// # Errors
    /// [`Reject::OtherPublisher`], [`Reject::OtherSchema`] and [`Reject::RepeatedTrade`]; the tick is then to be left out.
    #[inline]
    pub fn admit(&mut self, tick: &Tick) -> Result<(), Reject> {
        // Another publisher's record says nothing of this one's schemas.
        if !self.is_of(tick.publisher) {
            return Err(Reject::OtherPublisher);
        }
        self.book.admit(tick)
    }

    /// Whether a tick of this publisher belongs here: the first one's publisher is the instrument's, since two publishers'
    /// orders make no book.
    #[inline]
    fn is_of(&mut self, publisher: u16) -> bool {
        self.publisher == u32::from(publisher) || self.belongs_to_nobody(publisher)
    }

    #[cold]
    fn belongs_to_nobody(&mut self, publisher: u16) -> bool {
        let free = self.publisher == NOBODY;
        if free {
            self.publisher = publisher.into();
        }
        free
    }

    /// Ticks so far whose price is no multiple of the tick size.
    pub fn off_grid(&self) -> OffGrid {
        self.off_grid
    }

    /// Step 3: the book takes the tick. Features restart at a clear, at the beginning of a snapshot that replaces the book, and
    /// once a book that missed records is whole again.
    #[inline]
    pub fn apply(&mut self, tick: &Tick) -> Applied {
        self.off_grid.count(&self.grid, tick);
        let applied = self.book.apply(tick);
        if self.book.take_news() {
            self.hear();
        }
        applied
    }

    #[cold]
    fn hear(&mut self) {
        self.news = true;
        if self.book.take_anew() {
            self.features.reset();
            self.restarted = true;
        }
    }

    /// Whether the features may have restarted, or the book's wholeness may have changed, since this was last asked.
    #[inline]
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether the features have restarted since this was last asked: what models keep of earlier rows must too.
    #[inline]
    pub fn restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    /// Step 4: true when an event has just ended, and the features have taken it. Snapshots and status records are no
    /// events.
    #[inline]
    pub fn event_end(&mut self, tick: &Tick) -> bool {
        if !tick.is_last() || self.book.event().snapshot || matches!(tick.body, Body::Status { .. }) {
            return false;
        }
        self.features.update(tick.ts_event, &self.book);
        true
    }

    /// Before the first tick: not trusted because nothing was seen yet, but from a clear or a whole snapshot on.
    pub fn await_beginning(&mut self) {
        self.book.await_beginning(NotWhole::Unseen);
    }

    /// The feed restarted and is read from its first record on: as before the first tick, and the features restart.
    pub fn feed_restart(&mut self) {
        self.book.await_beginning(NotWhole::FeedRestart);
        self.features.reset();
    }

    /// Records may have been lost: the book is suspect until it is rebuilt, and the features restart.
    pub fn gap(&mut self, why: NotWhole) {
        self.book.mark_suspect(why);
        self.features.reset();
    }

    /// Memory of one instrument in bytes, fixed at [`State::new`].
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Book>() - size_of::<Features>()
            + self.book.state_bytes()
            + self.features.state_bytes()
    }
}
