//! The best levels of both sides, read from the book once per event.

use crate::hot::book::{Book, Level};
use crate::hot::decode::Side;

/// Most levels that features look at.
pub const MAX_LEVELS: usize = 10;

/// Key of an absent level: worse than any price.
const ABSENT: f64 = f64::NEG_INFINITY;

/// One side. A key is a price in 1e-9 that is better the greater it is: the price of a bid, minus the price of an ask.
/// `f64` holds prices to 9e6 exactly, and coarser ones as long as their ticks are; it has no overflow to guard against.
#[derive(Clone, Debug)]
pub struct ViewSide {
    pub keys: [f64; MAX_LEVELS],
    pub sizes: [f64; MAX_LEVELS],
    pub counts: [f64; MAX_LEVELS],
    pub levels: usize,
}

impl ViewSide {
    const EMPTY: ViewSide =
        ViewSide { keys: [ABSENT; MAX_LEVELS], sizes: [0.0; MAX_LEVELS], counts: [0.0; MAX_LEVELS], levels: 0 };

    #[inline]
    fn load(&mut self, worst_first: &[Level], sign: f64, depth: usize) {
        let had = self.levels;
        self.levels = worst_first.len().min(depth).min(MAX_LEVELS);
        let best_first = worst_first[worst_first.len() - self.levels..].iter().rev();
        let cells = self.keys.iter_mut().zip(&mut self.sizes).zip(&mut self.counts);
        for (level, ((key, units), count)) in best_first.zip(cells) {
            (*key, *units, *count) = (level.price as f64 * sign, size(level.size), f64::from(level.orders));
        }
        for i in self.levels..had {
            (self.keys[i], self.sizes[i], self.counts[i]) = (ABSENT, 0.0, 0.0);
        }
    }

    /// What level `i` gained by the order flow between two views (Cont, Kukanov and Stoikov's e, of one side).
    #[inline]
    pub fn flow(&self, before: &ViewSide, i: usize) -> f64 {
        let (key, old) = (self.keys[i], before.keys[i]);
        let gained = if key >= old { self.sizes[i] } else { 0.0 };
        let lost = if key <= old { before.sizes[i] } else { 0.0 };
        gained - lost
    }
}

/// A quantity; through `i64`, from which processors convert in one step, and which sums of `u32` sizes do not fill.
#[inline]
pub fn size(units: u64) -> f64 {
    units.cast_signed() as f64
}

/// Both sides, indexed by `Side`.
#[derive(Clone, Debug)]
pub struct View {
    pub sides: [ViewSide; 2],
}

impl View {
    pub const EMPTY: View = View { sides: [ViewSide::EMPTY, ViewSide::EMPTY] };

    #[inline]
    pub fn load(&mut self, book: &Book, depth: usize) {
        let [bid, ask] = &mut self.sides;
        bid.load(book.top(Side::Bid), 1.0, depth);
        ask.load(book.top(Side::Ask), -1.0, depth);
    }

    #[inline]
    pub fn two_sided(&self) -> bool {
        self.sides[0].levels > 0 && self.sides[1].levels > 0
    }

    /// Twice the mid in 1e-9, when both sides have a level.
    #[inline]
    pub fn mid2(&self) -> f64 {
        self.sides[0].keys[0] - self.sides[1].keys[0]
    }

    /// Spread in 1e-9, when both sides have a level.
    #[inline]
    pub fn spread(&self) -> f64 {
        -self.sides[0].keys[0] - self.sides[1].keys[0]
    }

    /// Twice the distance of level `i` of side `s` from the mid in 1e-9, positive away from the other side; there must
    /// be a mid and the level.
    #[inline]
    pub fn outward(&self, s: usize, i: usize) -> f64 {
        let mid2 = self.mid2();
        (if s == 0 { mid2 } else { -mid2 }) - 2.0 * self.sides[s].keys[i]
    }
}
