//! The second pass: each message that concerns orders or trades becomes one event.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pillion_shm::records::UNDEF_PRICE;

use super::super::emit::{Emitter, Trading};
use super::Summary;
use super::message::{Body, Message};
use crate::hot::decode::Side;

/// A resting order. The side is `None` where the order took the place of one that the file never told of.
#[derive(Clone, Copy, Debug)]
struct Order {
    side: Side,
    price: i64,
    shares: u32,
}

/// A stock's order: numbers are the day's, but what one stock does is never another's.
type Id = (u16, u64);

/// The orders that rest now: as much memory as the market has orders, whatever the length of the file.
pub(super) struct Orders {
    resting: HashMap<Id, Order>,
    /// Stocks that have had a clear or an order, by number.
    begun: Vec<bool>,
    /// What was said of stocks' trading, by number.
    standing: HashMap<u16, Standing>,
    /// The side of a hidden order that traded is told.
    hidden_sides: bool,
}

/// What stops a stock from trading: what the regulator or the market says of it, and whether the market is able to.
#[derive(Clone, Copy, Debug)]
struct Standing {
    trading: Trading,
    unable: bool,
}

impl Orders {
    pub fn new(hidden_sides: bool) -> Self {
        Self { resting: HashMap::new(), begun: vec![false; 1 << 16], standing: HashMap::new(), hidden_sides }
    }

    /// What is so of a stock's trading after a word on it; a stock that nobody spoke of trades.
    fn stand(&mut self, locate: u16, word: impl FnOnce(&mut Standing)) -> Trading {
        let standing = self.standing.entry(locate).or_insert(Standing { trading: Trading::On, unable: false });
        word(standing);
        if standing.unable { Trading::Halted } else { standing.trading }
    }

    /// Tells `out` the message's event; false when it is none.
    pub fn step(&mut self, message: &Message, out: &mut Emitter, summary: &mut Summary) -> bool {
        let first = !std::mem::replace(&mut self.begun[usize::from(message.locate)], true);
        let locate = message.locate;
        match message.body {
            Body::Directory { .. } if first => out.push(b'R', Side::None, 0, UNDEF_PRICE, 0),
            // A directory message of later is news of the stock, not of its book.
            Body::Directory { .. } | Body::Told => {
                self.begun[usize::from(locate)] = !first;
                return false;
            }
            Body::Action { trading, .. } => {
                // Status may come before the directory: the book begins with neither of them.
                self.begun[usize::from(locate)] = !first;
                out.status(self.stand(locate, |standing| standing.trading = trading));
            }
            Body::Operational { halted, .. } => {
                self.begun[usize::from(locate)] = !first;
                out.status(self.stand(locate, |standing| standing.unable = halted));
            }
            Body::Add { id, side, shares, price, .. } => {
                self.add((locate, id), Order { side, price, shares }, out, summary);
            }
            Body::Execute { id, shares } => self.execute((locate, id), shares, None, true, out, summary),
            Body::ExecuteAt { id, shares, printable, price } => {
                self.execute((locate, id), shares, Some(price), printable, out, summary);
            }
            Body::Reduce { id, shares } => match self.find((locate, id), summary) {
                Some(order) => self.take((locate, id), order, shares, out, summary),
                None => unlisted(id, shares, out),
            },
            Body::Delete { id } => match self.find((locate, id), summary) {
                Some(order) => self.take((locate, id), order, order.shares, out, summary),
                None => unlisted(id, 0, out),
            },
            Body::Replace { old, new, shares, price } => {
                let side = match self.find((locate, old), summary) {
                    Some(order) => {
                        self.take((locate, old), order, order.shares, out, summary);
                        order.side
                    }
                    None => {
                        unlisted(old, 0, out);
                        Side::None
                    }
                };
                self.add((locate, new), Order { side, price, shares }, out, summary);
            }
            Body::Hidden { side, shares, price, .. } => {
                let aggressor = if self.hidden_sides { side.opposite() } else { Side::None };
                out.push(b'T', aggressor, 0, price, shares);
            }
            // Neither aggressor nor resting order; of no shares, there was no cross.
            Body::Cross { shares: 0, .. } => {}
            Body::Cross { shares, price, .. } => out.push(b'T', Side::None, 0, price, shares),
        }
        true
    }

    /// A new order; one without a side can rest in no book, which is then in doubt.
    fn add(&mut self, id: Id, order: Order, out: &mut Emitter, summary: &mut Summary) {
        if let Some(before) = self.resting.get(&id).copied() {
            summary.duplicates += 1;
            self.take(id, before, before.shares, out, summary);
        }
        self.resting.insert(id, order);
        if order.side == Side::None {
            out.push(b'N', Side::None, id.1, order.price, order.shares);
            out.doubt();
        } else {
            out.push(b'A', order.side, id.1, order.price, order.shares);
        }
    }

    fn execute(
        &mut self,
        id: Id,
        shares: u32,
        price: Option<i64>,
        printable: bool,
        out: &mut Emitter,
        summary: &mut Summary,
    ) {
        let order = self.find(id, summary);
        let side = order.map_or(Side::None, |order| order.side);
        // Without the order, only an execution at another price than its own says what the price was.
        let Some(at) = price.or(order.map(|order| order.price)) else { return unlisted(id.1, shares, out) };
        if printable {
            out.push(b'T', side.opposite(), 0, at, shares);
        }
        if side != Side::None {
            out.push(b'F', side, id.1, at, shares);
        }
        match order {
            Some(order) => self.take(id, order, shares, out, summary),
            None => unlisted(id.1, shares, out),
        }
    }

    fn find(&self, id: Id, summary: &mut Summary) -> Option<Order> {
        let order = self.resting.get(&id).copied();
        summary.unlisted += u64::from(order.is_none());
        summary.sideless += u64::from(order.is_some_and(|order| order.side == Side::None));
        order
    }

    /// Takes shares off a resting order.
    fn take(&mut self, id: Id, order: Order, shares: u32, out: &mut Emitter, summary: &mut Summary) {
        summary.excess += u64::from(shares > order.shares);
        let shares = shares.min(order.shares);
        if order.side == Side::None {
            unlisted(id.1, shares, out);
        } else {
            out.push(b'C', order.side, id.1, order.price, shares);
        }
        if let Entry::Occupied(mut entry) = self.resting.entry(id) {
            entry.get_mut().shares -= shares;
            if entry.get().shares == 0 {
                entry.remove();
            }
        }
    }
}

/// Something happened to an order that no book has: told by its number, without a change, and the book is in doubt.
fn unlisted(id: u64, shares: u32, out: &mut Emitter) {
    out.push(b'N', Side::None, id, UNDEF_PRICE, shares);
    out.doubt();
}
