//! Step 3, book: one bounded order book per instrument, from order-level (MBO) or level (MBP) records.
//!
//! Nothing is allocated after [`Book::new`]. What does not fit is refused whole, counted and leaves the book degraded:
//! its levels are always exactly the sum of the orders it knows. `T` and `F` records never change the book.
//!
//! Each fact counts once: one schema is a book's source, and a trade that two schemas tell is one trade
//! ([`Book::admit`]).

#![forbid(unsafe_code)]

mod applied;
mod event;
mod levels;
mod orders;
mod schemas;
mod view;
mod whole;

use pillion_shm::records::{BidAskPair, flags};

use super::decode::{Body, Reject, Side, Tick};
use levels::Levels;
use orders::{Order, Orders};
use schemas::Schemas;
use whole::Whole;

pub use applied::Applied;
pub use event::{Event, Flow};
pub use levels::Level;
pub use whole::NotWhole;

/// How much one book may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Resting orders, at least 1.
    pub max_orders: usize,
    /// Price levels per side, at least 1; ten quoted levels always fit.
    pub max_levels: usize,
}

/// What the book is built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Unknown,
    Orders,
    Quotes,
    /// Trades alone so far: there is no book.
    Trades,
}

/// The book of one instrument.
#[derive(Clone, Debug)]
pub struct Book {
    sides: [Levels; 2],
    orders: Orders,
    event: Event,
    /// Numbers the events, so that a fill's mark on an order dies with its event.
    event_number: u32,
    event_over: bool,
    source: Source,
    /// Levels that the latest quote had places for.
    quoted: usize,
    schemas: Schemas,
    trading: bool,
    /// What did not fit since the last clear.
    overflow: Option<NotWhole>,
    whole: Whole,
    /// It began anew since this was last asked: cleared, replaced, or whole again.
    anew: bool,
    /// Something of this, or why it is not whole, may have changed since that was last asked.
    news: bool,
}

impl Book {
    /// An empty, trading, trusted book with all the memory it will ever use.
    pub fn new(limits: Limits) -> Self {
        Self {
            sides: [Levels::new(Side::Bid, limits.max_levels), Levels::new(Side::Ask, limits.max_levels)],
            orders: Orders::new(limits.max_orders),
            event: Event::default(),
            event_number: 1,
            event_over: false,
            source: Source::Unknown,
            quoted: 0,
            schemas: Schemas::default(),
            trading: true,
            overflow: None,
            whole: Whole::NEW,
            anew: false,
            news: false,
        }
    }

    /// Before the first tick of a feed that is read from its first record on: not whole, until a clear or a snapshot, which
    /// may do without one. What the book holds goes when either begins.
    pub fn await_beginning(&mut self, why: NotWhole) {
        self.whole.await_beginning(why);
        self.news = true;
    }

    /// Whether a tick of this book's instrument is its to take: not of another schema than the one that the book is built
    /// from, nor a trade that was told already. To be asked of each tick before [`Book::apply`].
    ///
    /// # Errors
    /// [`Reject::OtherSchema`] and [`Reject::RepeatedTrade`]; the tick is then to be left out.
    #[inline]
    pub fn admit(&mut self, tick: &Tick) -> Result<(), Reject> {
        self.schemas.admit(tick)
    }

    /// The next tick is of another feed, which may have other schemas.
    pub fn forget_schemas(&mut self) {
        self.schemas = Schemas::default();
    }

    /// Takes one tick of this book's instrument.
    #[inline]
    pub fn apply(&mut self, tick: &Tick) -> Applied {
        if let Body::Status { trading } = tick.body {
            self.trading = trading.unwrap_or(self.trading);
            return Applied::Unchanged;
        }
        self.begin(tick);
        let applied = match tick.body {
            Body::Add { side, order_id, price, size } => self.add(Order::new(order_id, side, price, size), side),
            Body::Cancel { order_id, size, .. } => self.cancel(order_id, size),
            Body::Modify { side, order_id, price, size } => self.modify(Order::new(order_id, side, price, size), side),
            Body::Clear => self.clear(tick.is_snapshot()),
            Body::Trade { aggressor, price, size } => self.trade(aggressor, price, size),
            Body::Fill { resting, order_id, size, .. } => self.fill(resting, order_id, size),
            Body::Quotes { levels, action, side, price, size } => self.quotes(levels, action, side, price, size),
            Body::Status { .. } | Body::Nothing => Applied::Unchanged,
        };
        self.end(tick);
        applied
    }

    /// Records of this instrument may have been lost before the next tick.
    pub fn mark_suspect(&mut self, why: NotWhole) {
        self.whole.lost(why);
        self.news = true;
    }

    /// Whether there may be something new to ask [`Book::take_anew`] and [`Book::not_whole`] since this was last asked.
    #[inline]
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether it began anew since this was last asked: cleared, replaced by a snapshot, or whole again.
    pub(super) fn take_anew(&mut self) -> bool {
        std::mem::take(&mut self.anew)
    }

    #[inline]
    fn begin(&mut self, tick: &Tick) {
        if self.event_over {
            self.event = Event::default();
            self.event_number = self.event_number.wrapping_add(1);
            self.event_over = false;
        }
        self.event.ticks += 1;
        self.event.snapshot |= tick.is_snapshot();
        if tick.is_snapshot() || !self.whole.is_live() {
            self.snapshot_begins_or_ends(tick);
        }
    }

    #[cold]
    fn snapshot_begins_or_ends(&mut self, tick: &Tick) {
        let before = self.whole.why_not();
        match tick.body {
            // A clear says itself what it is; quotes, and trades of a schema of their own, are part of no snapshot.
            Body::Clear | Body::Quotes { .. } => {}
            _ if !tick.is_snapshot() => self.whole.live_comes(),
            Body::Add { .. } | Body::Modify { .. } if self.whole.snapshot_comes(tick.is_last()) => self.empty(),
            Body::Add { .. } | Body::Modify { .. } => {}
            // Trades and notes of a snapshot are part of one, and never its beginning.
            _ => self.whole.snapshot_goes_on(),
        }
        self.tell(before);
    }

    #[inline]
    fn end(&mut self, tick: &Tick) {
        if tick.is_last() {
            self.event_over = true;
            if tick.is_snapshot() && !matches!(tick.body, Body::Quotes { .. }) {
                let before = self.whole.why_not();
                self.whole.snapshot_ended();
                self.tell(before);
            }
        }
        if tick.flags & flags::MAYBE_BAD_BOOK != 0 {
            // Last, so that a record that would mend the book does not when it is itself in doubt.
            self.whole.doubted();
            self.news = true;
        }
    }

    /// Notes what has become of the reason why it was not whole.
    #[inline]
    fn tell(&mut self, before: Option<NotWhole>) {
        if self.whole.why_not() != before {
            self.anew |= !self.suspect();
            self.news = true;
        }
    }

    /// Forgets all orders and levels: a book of orders begins here.
    fn empty(&mut self) {
        self.source = Source::Orders;
        self.orders.clear();
        self.sides.iter_mut().for_each(Levels::clear);
        self.event.cleared = true;
        self.overflow = None;
        (self.anew, self.news) = (true, true);
    }

    #[inline]
    fn add(&mut self, order: Order, side: Side) -> Applied {
        if !self.takes_orders(side) {
            return Applied::Unchanged;
        }
        let known = self.orders.find(order.id);
        if let Some(cell) = known {
            self.take_off(cell);
        }
        self.event.added[side as usize].add(u64::from(order.size));
        let placed = self.place(order, side);
        if known.is_some() && placed == Applied::Changed { Applied::DuplicateAdd } else { placed }
    }

    #[inline]
    fn cancel(&mut self, order_id: u64, size: u32) -> Applied {
        let Some(cell) = self.orders.find(order_id) else { return Applied::UnknownCancel };
        let event_number = self.event_number;
        let order = self.orders.at(cell);
        let taken = size.min(order.size);
        let by_fill = take_filled(order, taken, event_number);
        let (side, price) = (order.side(), order.price);
        order.size -= taken;
        let gone = order.size == 0;
        if taken > by_fill {
            self.event.cancelled[side as usize].add(u64::from(taken - by_fill));
        }
        if gone {
            self.orders.remove(cell);
        }
        self.sides[side as usize].take(price, taken, gone);
        if taken > 0 { Applied::Changed } else { Applied::Unchanged }
    }

    #[inline]
    fn modify(&mut self, new: Order, side: Side) -> Applied {
        if !self.takes_orders(side) {
            return Applied::Unchanged;
        }
        let Some(cell) = self.orders.find(new.id) else { return self.modify_unknown(new, side) };
        let event_number = self.event_number;
        let order = self.orders.at(cell);
        let (from, same_place) = (order.size, order.side() == side && order.price == new.price);
        let lost = from.saturating_sub(new.size);
        let by_fill = if same_place { take_filled(order, lost, event_number) } else { 0 };
        if by_fill == 0 || by_fill < lost {
            self.event.modified[side as usize].add(u64::from(new.size));
        }
        if same_place && new.size > 0 {
            self.orders.at(cell).size = new.size;
            self.sides[side as usize].resize(new.price, from, new.size);
            return if from == new.size { Applied::Unchanged } else { Applied::Changed };
        }
        self.take_off(cell);
        if new.size == 0 { Applied::Changed } else { self.place(new, side) }
    }

    fn modify_unknown(&mut self, new: Order, side: Side) -> Applied {
        if new.size == 0 {
            return Applied::UnknownModify;
        }
        self.event.added[side as usize].add(u64::from(new.size));
        match self.place(new, side) {
            Applied::Changed => Applied::UnknownModify,
            refused => refused,
        }
    }

    fn clear(&mut self, snapshot: bool) -> Applied {
        let empty = self.sides.iter().all(|side| side.as_slice().is_empty());
        self.empty();
        self.whole.clear(snapshot);
        if empty { Applied::Unchanged } else { Applied::Changed }
    }

    #[inline]
    fn trade(&mut self, aggressor: Side, price: i64, size: u32) -> Applied {
        if self.schemas.repeated() {
            return Applied::Unchanged;
        }
        let event = &mut self.event;
        event.trades += 1;
        event.volume += u64::from(size);
        event.notional += i128::from(price) * i128::from(size);
        match aggressor {
            Side::Bid => event.buy_volume += u64::from(size),
            Side::Ask => event.sell_volume += u64::from(size),
            Side::None => {}
        }
        Applied::Unchanged
    }

    #[inline]
    fn fill(&mut self, resting: Side, order_id: u64, size: u32) -> Applied {
        if let Some(flow) = self.event.filled.get_mut(resting as usize) {
            flow.add(u64::from(size));
        }
        let Some(cell) = self.orders.find(order_id) else { return Applied::UnknownFill };
        let event_number = self.event_number;
        let order = self.orders.at(cell);
        let before = if order.filled_event == event_number { order.filled } else { 0 };
        order.filled = before.saturating_add(size);
        order.filled_event = event_number;
        Applied::Unchanged
    }

    #[inline]
    fn quotes(&mut self, levels: &[BidAskPair], action: u8, side: Side, price: i64, size: u32) -> Applied {
        if action == b'T' {
            self.trade(side, price, size);
        } else if let Some(s) = Some(side as usize).filter(|&s| s < 2) {
            let event = &mut self.event;
            let flow = match action {
                b'A' => Some(&mut event.added[s]),
                b'C' => Some(&mut event.cancelled[s]),
                b'M' => Some(&mut event.modified[s]),
                b'F' => Some(&mut event.filled[s]),
                _ => None,
            };
            flow.into_iter().for_each(|flow| flow.add(u64::from(size)));
        }
        if action == b'R' {
            (self.event.cleared, self.anew, self.news) = (true, true, true);
        }
        let before = self.whole.why_not();
        if levels.is_empty() {
            // The trades schema says nothing about the book, and mends nothing but its own gap.
            if matches!(self.source, Source::Unknown | Source::Trades) {
                self.source = Source::Trades;
                self.whole.said_whole();
                self.tell(before);
            }
            return Applied::Unchanged;
        }
        if self.source == Source::Orders {
            self.orders.clear();
        }
        self.source = Source::Quotes;
        self.quoted = levels.len();
        self.news |= self.overflow.take().is_some();
        self.whole.quoted();
        self.tell(before);
        self.sides.iter_mut().for_each(|side| side.quote(levels));
        Applied::Changed
    }

    /// Ready for an order of `side`: levels that came as quotes make way for those of orders. Orders that follow other
    /// records without a clear are some of a book, not the whole of it.
    #[inline]
    fn takes_orders(&mut self, side: Side) -> bool {
        if self.source != Source::Orders {
            self.sides.iter_mut().for_each(Levels::clear);
            if self.source != Source::Unknown {
                self.whole.mixed();
                self.news = true;
            }
            self.source = Source::Orders;
        }
        side != Side::None
    }

    /// Puts a new order in, or refuses it whole.
    #[inline]
    fn place(&mut self, order: Order, side: Side) -> Applied {
        let refused = if self.orders.is_full() {
            NotWhole::OrdersOverflow
        } else if self.sides[side as usize].add(order.price, order.size).is_err() {
            NotWhole::LevelsOverflow
        } else {
            self.orders.insert(order);
            return Applied::Changed;
        };
        self.news |= self.overflow.replace(refused).is_none();
        Applied::Overflow
    }

    #[inline]
    fn take_off(&mut self, cell: usize) {
        let order = *self.orders.at(cell);
        self.orders.remove(cell);
        self.sides[order.side() as usize].take(order.price, order.size, true);
    }
}

/// How much of `taken` is what fills of this event had announced; that much of the announcement is used up.
#[inline]
fn take_filled(order: &mut Order, taken: u32, event_number: u32) -> u32 {
    if order.filled_event != event_number {
        return 0;
    }
    let by_fill = taken.min(order.filled);
    order.filled -= by_fill;
    by_fill
}

#[cfg(test)]
mod tests;
