//! What a book shows to those who only look.

#![forbid(unsafe_code)]

use super::levels::Levels;
use super::orders::Orders;
use super::{Book, Event, Level, Limits, NotWhole, Side, Source};

impl Book {
    /// Best level of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.top(side).last().copied()
    }

    /// Level `i` of a side, 0 being the best.
    #[inline]
    pub fn level(&self, side: Side, i: usize) -> Option<Level> {
        let levels = self.top(side);
        levels.len().checked_sub(i + 1).map(|at| levels[at])
    }

    /// Number of levels of a side.
    #[inline]
    pub fn depth(&self, side: Side) -> usize {
        self.top(side).len()
    }

    /// Levels of a side, worst first: iterate in reverse to go from the best. Empty for `Side::None`.
    #[inline]
    pub fn top(&self, side: Side) -> &[Level] {
        self.sides.get(side as usize).map_or(&[], Levels::as_slice)
    }

    /// Whether the instrument trades: true until a status record says otherwise.
    #[inline]
    pub fn trading(&self) -> bool {
        self.trading
    }

    /// True when something did not fit since the last clear or the beginning of the last snapshot.
    #[inline]
    pub fn degraded(&self) -> bool {
        self.overflow.is_some()
    }

    /// True when records are known to be missing. Ends, for an order book, at a clear, or at the end of a snapshot that was
    /// seen from its beginning on; for a quoted book, at its next record.
    #[inline]
    pub fn suspect(&self) -> bool {
        self.whole.why_not().is_some()
    }

    /// Why it is not whole: records are missing, or something did not fit; `None` when it is whole.
    #[inline]
    pub fn not_whole(&self) -> Option<NotWhole> {
        self.whole.why_not().or(self.overflow)
    }

    /// True once the book has been built from orders rather than quoted levels.
    #[inline]
    pub fn is_order_book(&self) -> bool {
        self.source == Source::Orders
    }

    /// Levels of a side that the records show: all there are in a book of orders (`usize::MAX`), as many as the latest
    /// record had places for in a quoted one, none where there are trades alone.
    #[inline]
    pub fn shown(&self) -> usize {
        match self.source {
            Source::Quotes => self.quoted,
            Source::Trades => 0,
            Source::Orders | Source::Unknown => usize::MAX,
        }
    }

    /// What happened since the last event end.
    #[inline]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Orders known now.
    #[inline]
    pub fn orders(&self) -> usize {
        self.orders.len()
    }

    /// Memory of a book of these limits in bytes, without making one.
    pub fn bytes_for(limits: Limits) -> usize {
        size_of::<Self>() + Orders::bytes_for(limits.max_orders) + 2 * Levels::bytes_for(limits.max_levels)
    }

    /// Memory of this book in bytes, fixed at [`Book::new`].
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() + self.orders.bytes() + self.sides.iter().map(Levels::bytes).sum::<usize>()
    }
}
