//! The converter's own book: which orders stand for each of the N levels.

use std::collections::{BTreeMap, HashMap};

use super::super::emit::Emitter;
use super::csv::{BookRow, Message};
use super::{Kind, SYNTHETIC, Summary};
use crate::hot::decode::Side;

/// A level as the orders that the stream has there.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// Ids in the order of arrival; sizes stand in [`Replica::sizes`].
    orders: Vec<u64>,
    size: u64,
}

/// N levels per side, kept equal to the orderbook file.
pub(super) struct Replica {
    /// Levels by rank: the price of asks, the negated price of bids, so that the best comes first on both sides.
    sides: [BTreeMap<i64, Rest>; 2],
    sizes: HashMap<u64, u32>,
    levels: usize,
    next_synthetic: u64,
    /// The side of a hidden order that traded is the venue's word.
    hidden_sides: bool,
}

fn rank(side: Side, price: i64) -> i64 {
    if side == Side::Bid { -price } else { price }
}

impl Replica {
    /// The state after the first message, as a snapshot. Trades of that message are told, its order is named.
    /// `hidden_sides`: whether the side of a hidden order that traded is told.
    pub fn seed(message: &Message, row: &BookRow, hidden_sides: bool, out: &mut Emitter) -> Replica {
        let mut replica = Replica {
            sides: Default::default(),
            sizes: HashMap::new(),
            levels: row.levels(),
            next_synthetic: SYNTHETIC,
            hidden_sides,
        };
        out.snapshot();
        out.push(b'R', Side::None, 0, pillion_shm::records::UNDEF_PRICE, 0);
        match message.kind {
            Kind::Execute | Kind::ExecuteHidden | Kind::Cross => replica.trade(message, out),
            Kind::Halt | Kind::Quoting | Kind::Resume => message.kind.trading().into_iter().for_each(|t| out.status(t)),
            Kind::Add | Kind::Reduce | Kind::Delete => {}
        }
        for side in Side::BOTH {
            for &(price, size) in &row.sides[side as usize] {
                let listed = message.kind == Kind::Add && (message.side, message.price) == (side, price);
                let own = if listed { message.size.min(size) } else { 0 };
                replica.synthetic(side, price, size - own, out);
                if own > 0 {
                    replica.add(side, price, message.order_id, own, out);
                }
            }
        }
        replica
    }

    /// One message and the row after it.
    pub fn step(&mut self, message: &Message, row: &BookRow, out: &mut Emitter, summary: &mut Summary) {
        let mut explained = true;
        match message.kind {
            Kind::Add => {
                if self.sizes.contains_key(&message.order_id) {
                    explained = false;
                } else {
                    self.add(message.side, message.price, message.order_id, message.size, out);
                }
            }
            Kind::Reduce | Kind::Delete | Kind::Execute => explained = self.take(message, out, summary),
            Kind::ExecuteHidden | Kind::Cross => self.trade(message, out),
            Kind::Halt | Kind::Quoting | Kind::Resume => message.kind.trading().into_iter().for_each(|t| out.status(t)),
        }
        debug_assert!(!message.kind.only_tells() || explained);
        for side in Side::BOTH {
            self.drop_beyond(side, out, summary);
            explained &= self.follow(side, &row.sides[side as usize], out, summary);
        }
        if !explained {
            summary.unexplained_at();
        }
    }

    /// A cancel, delete or execution: on the order itself, or on the synthetic one of its level.
    fn take(&mut self, message: &Message, out: &mut Emitter, summary: &mut Summary) -> bool {
        let (side, price, size) = (message.side, message.price, message.size);
        let level = self.sides[side as usize].get(&rank(side, price));
        let here = level.map_or(&[][..], |level| &level.orders);
        let id = if here.contains(&message.order_id) {
            Some(message.order_id)
        } else {
            summary.unlisted += 1;
            here.iter().copied().find(|id| id & SYNTHETIC != 0)
        };
        if message.kind == Kind::Execute {
            self.trade(message, out);
            out.push(b'F', side, id.unwrap_or(message.order_id), price, size);
        }
        let Some(id) = id else { return false };
        let enough = self.sizes[&id] >= size;
        self.cut(side, price, id, size.min(self.sizes[&id]), out);
        enough
    }

    /// Deletes what stands beyond the last level that the file shows.
    fn drop_beyond(&mut self, side: Side, out: &mut Emitter, summary: &mut Summary) {
        while self.sides[side as usize].len() > self.levels {
            let Some((&rank, _)) = self.sides[side as usize].last_key_value() else { return };
            self.remove_level(side, rank, out);
            summary.dropped += 1;
        }
    }

    /// Compares a side with its row and makes it equal. True when all that was needed were levels revealed at the edge.
    fn follow(&mut self, side: Side, row: &[(i64, u32)], out: &mut Emitter, summary: &mut Summary) -> bool {
        let have = self.sides[side as usize].len();
        let equal = have <= row.len()
            && self.sides[side as usize]
                .iter()
                .zip(row)
                .all(|((&r, level), &(price, size))| r == rank(side, price) && level.size == u64::from(size));
        if equal {
            for &(price, size) in &row[have..] {
                self.synthetic(side, price, size, out);
                summary.revealed += 1;
            }
            return true;
        }
        let wrong: Vec<i64> = self.sides[side as usize]
            .iter()
            .filter(|&(&r, level)| !row.iter().any(|&(p, size)| rank(side, p) == r && level.size == u64::from(size)))
            .map(|(&r, _)| r)
            .collect();
        wrong.into_iter().for_each(|r| self.remove_level(side, r, out));
        for &(price, size) in row {
            if !self.sides[side as usize].contains_key(&rank(side, price)) {
                self.synthetic(side, price, size, out);
            }
        }
        false
    }

    fn synthetic(&mut self, side: Side, price: i64, size: u32, out: &mut Emitter) {
        if size > 0 {
            let id = self.next_synthetic;
            self.next_synthetic += 1;
            self.add(side, price, id, size, out);
        }
    }

    fn add(&mut self, side: Side, price: i64, id: u64, size: u32, out: &mut Emitter) {
        let level = self.sides[side as usize].entry(rank(side, price)).or_default();
        level.orders.push(id);
        level.size += u64::from(size);
        self.sizes.insert(id, size);
        out.push(b'A', side, id, price, size);
    }

    /// Takes `size` off an order that rests at `price` with at least that much.
    fn cut(&mut self, side: Side, price: i64, id: u64, size: u32, out: &mut Emitter) {
        out.push(b'C', side, id, price, size);
        let rank = rank(side, price);
        let (Some(level), Some(left)) = (self.sides[side as usize].get_mut(&rank), self.sizes.get_mut(&id)) else {
            return;
        };
        level.size -= u64::from(size);
        *left -= size;
        if *left == 0 {
            level.orders.retain(|&other| other != id);
            self.sizes.remove(&id);
        }
        if level.orders.is_empty() {
            self.sides[side as usize].remove(&rank);
        }
    }

    fn remove_level(&mut self, side: Side, rank: i64, out: &mut Emitter) {
        let price = if side == Side::Bid { -rank } else { rank };
        let orders = self.sides[side as usize].get(&rank).map_or_else(Vec::new, |level| level.orders.clone());
        for id in orders {
            self.cut(side, price, id, self.sizes[&id], out);
        }
    }

    /// The trade as its aggressor made it: LOBSTER gives the resting side, where there is one and it is told. A cross of no
    /// shares is none.
    fn trade(&self, message: &Message, out: &mut Emitter) {
        let told = match message.kind {
            Kind::Cross => false,
            Kind::ExecuteHidden => self.hidden_sides,
            _ => true,
        };
        let aggressor = if told { message.side.opposite() } else { Side::None };
        if message.size > 0 {
            out.push(b'T', aggressor, 0, message.price, message.size);
        }
    }
}
