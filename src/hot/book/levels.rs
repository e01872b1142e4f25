//! The price levels of one side: a sorted array with the best level at its end, where nearly everything happens.

use pillion_shm::records::{BidAskPair, UNDEF_PRICE};

use crate::hot::decode::Side;

/// A price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Level {
    /// Price in 1e-9.
    pub price: i64,
    /// Quantity at this price, in the instrument's size unit.
    pub size: u64,
    /// Orders at this price.
    pub orders: u32,
}

/// How many levels from the best are looked at one by one before the search turns binary.
const NEAR: usize = 12;

/// There is no room for another level.
#[derive(Debug)]
pub(super) struct Full;

#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Worst first.
    list: Vec<Level>,
    max: usize,
    /// Turns a price into its rank, ascending to the best: 0 keeps bids as they are, −1 reverses asks.
    flip: i64,
}

impl Levels {
    /// Levels that an MBP record may set, whatever `max` says about those built from orders.
    pub const QUOTED: usize = 10;

    /// Memory of a side for `max` levels, bytes.
    pub fn bytes_for(max: usize) -> usize {
        max.max(Self::QUOTED) * size_of::<Level>()
    }

    pub fn new(side: Side, max: usize) -> Self {
        let max = max.max(1);
        // Filled and emptied, so that every page is there before the first tick.
        let mut list = vec![Level::default(); max.max(Self::QUOTED)];
        list.clear();
        Self { list, max, flip: if side == Side::Ask { -1 } else { 0 } }
    }

    #[inline]
    pub fn as_slice(&self) -> &[Level] {
        &self.list
    }

    pub fn clear(&mut self) {
        self.list.clear();
    }

    pub fn bytes(&self) -> usize {
        self.list.capacity() * size_of::<Level>()
    }

    /// Puts an order of `size` at `price`.
    #[inline]
    pub fn add(&mut self, price: i64, size: u32) -> Result<(), Full> {
        match self.search(price) {
            Ok(i) => {
                self.list[i].size += u64::from(size);
                self.list[i].orders += 1;
            }
            Err(_) if self.list.len() >= self.max => return Err(Full),
            Err(i) => self.list.insert(i, Level { price, size: u64::from(size), orders: 1 }),
        }
        Ok(())
    }

    /// Takes `size` off the level, and one order with it when `whole`; an empty level goes.
    #[inline]
    pub fn take(&mut self, price: i64, size: u32, whole: bool) {
        let Ok(i) = self.search(price) else {
            debug_assert!(false, "an order rests at a level that is not there");
            return;
        };
        let level = &mut self.list[i];
        level.size -= u64::from(size);
        level.orders -= u32::from(whole);
        if level.orders == 0 {
            self.list.remove(i);
        }
    }

    /// Sets the quantity of one order of the level from `from` to `to`.
    #[inline]
    pub fn resize(&mut self, price: i64, from: u32, to: u32) {
        if let Ok(i) = self.search(price) {
            let level = &mut self.list[i];
            level.size = level.size - u64::from(from) + u64::from(to);
        }
    }

    /// Replaces everything by this side of quoted levels, which stand best first; absent ones have no price.
    #[inline]
    pub fn quote(&mut self, levels: &[BidAskPair]) {
        self.list.clear();
        let ask = self.flip != 0;
        for pair in levels.iter().take(Self::QUOTED).rev() {
            let (price, size, orders) =
                if ask { (pair.ask_px, pair.ask_sz, pair.ask_ct) } else { (pair.bid_px, pair.bid_sz, pair.bid_ct) };
            if price != UNDEF_PRICE {
                self.list.push(Level { price, size: u64::from(size), orders });
            }
        }
    }

    /// Index of the level, or where it would go.
    #[inline]
    fn search(&self, price: i64) -> Result<usize, usize> {
        let rank = price ^ self.flip;
        let far = self.list.len().saturating_sub(NEAR);
        for i in (far..self.list.len()).rev() {
            let here = self.list[i].price ^ self.flip;
            if here <= rank {
                return if here == rank { Ok(i) } else { Err(i + 1) };
            }
        }
        self.list[..far].binary_search_by_key(&rank, |level| level.price ^ self.flip)
    }
}
