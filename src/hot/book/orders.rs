//! The order table: open addressing with linear probing, backward-shift deletion, and no allocation after `new`.

use crate::hot::decode::Side;

/// A resting order, 32 bytes so that none straddles a cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Order {
    pub id: u64,
    pub price: i64,
    pub size: u32,
    /// Quantity filled in event `filled_event`, not yet taken off by the cancel or modify that follows a fill.
    pub filled: u32,
    pub filled_event: u32,
    /// 0 = empty cell, otherwise 1 + side.
    tag: u8,
}

impl Order {
    const EMPTY: Order = Order { id: 0, price: 0, size: 0, filled: 0, filled_event: 0, tag: 0 };

    /// `side` is `Bid` or `Ask`.
    #[inline]
    pub fn new(id: u64, side: Side, price: i64, size: u32) -> Order {
        Order { id, price, size, filled: 0, filled_event: 0, tag: 1 + side as u8 }
    }

    #[inline]
    pub fn side(&self) -> Side {
        if self.tag == 1 { Side::Bid } else { Side::Ask }
    }
}

/// Orders by id. At most `max` of them in at least twice as many cells, so probes stay short and always end.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    cells: Vec<Order>,
    len: usize,
    max: usize,
    shift: u32,
}

impl Orders {
    /// Cells of a table for `max` orders.
    fn cells_for(max: usize) -> usize {
        (max.max(1) * 2).next_power_of_two()
    }

    /// Memory of a table for `max` orders, bytes.
    pub fn bytes_for(max: usize) -> usize {
        Self::cells_for(max) * size_of::<Order>()
    }

    pub fn new(max: usize) -> Self {
        let (max, cells) = (max.max(1), Self::cells_for(max));
        // Written cell by cell, so that every page is there before the first tick.
        Self { cells: vec![Order::EMPTY; cells], len: 0, max, shift: 64 - cells.trailing_zeros() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == self.max
    }

    pub fn bytes(&self) -> usize {
        self.cells.len() * size_of::<Order>()
    }

    /// Cell of the order, to be used before the table changes.
    #[inline]
    pub fn find(&self, id: u64) -> Option<usize> {
        let mask = self.cells.len() - 1;
        let mut at = self.home(id);
        loop {
            let cell = &self.cells[at];
            if cell.tag == 0 {
                return None;
            }
            if cell.id == id {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    pub fn at(&mut self, cell: usize) -> &mut Order {
        &mut self.cells[cell]
    }

    /// Inserts an order whose id is not in the table, which must not be full.
    #[inline]
    pub fn insert(&mut self, order: Order) {
        debug_assert!(!self.is_full() && self.find(order.id).is_none());
        let mask = self.cells.len() - 1;
        let mut at = self.home(order.id);
        while self.cells[at].tag != 0 {
            at = (at + 1) & mask;
        }
        self.cells[at] = order;
        self.len += 1;
    }

    /// Empties a cell and moves later orders of the same run back, so that no tombstones build up.
    #[inline]
    pub fn remove(&mut self, cell: usize) {
        let mask = self.cells.len() - 1;
        let (mut hole, mut at) = (cell, (cell + 1) & mask);
        while self.cells[at].tag != 0 {
            let home = self.home(self.cells[at].id);
            // The order may move into the hole only if the hole is not before its home.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.cells[hole] = Order::EMPTY;
        self.len -= 1;
    }

    pub fn clear(&mut self) {
        if self.len > 0 {
            self.cells.fill(Order::EMPTY);
            self.len = 0;
        }
    }

    #[inline]
    fn home(&self, id: u64) -> usize {
        (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}
