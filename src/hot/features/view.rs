//! The best levels of both sides, read from the book once per event.

use crate::hot::book::{Book, Level};
use crate::hot::decode::Side;

/// Most levels that features look at.
pub const MAX_LEVELS: usize = 10;

/// Prices are held within this, so that their sums and differences fit `i64`: about ±1.15e9 in price units.
const MAX_PRICE: i64 = 1 << 60;
/// Key of an absent level: worse than any price.
const ABSENT: i64 = i64::MIN;

/// One side. A key is a price that is better the greater it is: the price of a bid, minus the price of an ask.
#[derive(Clone, Debug)]
pub struct ViewSide {
    pub keys: [i64; MAX_LEVELS],
    pub sizes: [f64; MAX_LEVELS],
    pub counts: [f64; MAX_LEVELS],
    pub levels: usize,
}

impl ViewSide {
    const EMPTY: ViewSide =
        ViewSide { keys: [ABSENT; MAX_LEVELS], sizes: [0.0; MAX_LEVELS], counts: [0.0; MAX_LEVELS], levels: 0 };

    #[inline]
    fn load(&mut self, worst_first: &[Level], sign: i64, depth: usize) {
        let had = self.levels;
        self.levels = worst_first.len().min(depth);
        for (i, level) in worst_first.iter().rev().take(depth.min(MAX_LEVELS)).enumerate() {
            self.keys[i] = sign * level.price.clamp(-MAX_PRICE, MAX_PRICE);
            self.sizes[i] = level.size as f64;
            self.counts[i] = f64::from(level.orders);
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
        bid.load(book.top(Side::Bid), 1, depth);
        ask.load(book.top(Side::Ask), -1, depth);
    }

    #[inline]
    pub fn two_sided(&self) -> bool {
        self.sides[0].levels > 0 && self.sides[1].levels > 0
    }

    /// Twice the mid in 1e-9, when both sides have a level.
    #[inline]
    pub fn mid2(&self) -> i64 {
        self.sides[0].keys[0] - self.sides[1].keys[0]
    }

    /// Spread in 1e-9, when both sides have a level.
    #[inline]
    pub fn spread(&self) -> i64 {
        -self.sides[0].keys[0] - self.sides[1].keys[0]
    }
}

/// Running sums over the levels of both sides: entry k is of levels 1..=k, entry 0 is 0.
pub struct Shape {
    pub sizes: [[f64; MAX_LEVELS + 1]; 2],
    pub counts: [[f64; MAX_LEVELS + 1]; 2],
    /// Σ size × distance from the mid in ticks.
    pub moments: [[f64; MAX_LEVELS + 1]; 2],
    /// Σ distance × running size, and Σ distance².
    pub slopes: [[(f64, f64); MAX_LEVELS + 1]; 2],
}

impl Shape {
    /// Sums of `view`; those over distances only where `distances` (they need a mid and cost as much again).
    #[inline]
    pub fn of(view: &View, depth: usize, distances: bool, half_ticks: f64) -> Shape {
        const ZERO: [[f64; MAX_LEVELS + 1]; 2] = [[0.0; MAX_LEVELS + 1]; 2];
        let mut shape = Shape { sizes: ZERO, counts: ZERO, moments: ZERO, slopes: [[(0.0, 0.0); MAX_LEVELS + 1]; 2] };
        for (s, side) in view.sides.iter().enumerate() {
            for i in 0..depth.min(MAX_LEVELS) {
                shape.sizes[s][i + 1] = shape.sizes[s][i] + side.sizes[i];
                shape.counts[s][i + 1] = shape.counts[s][i] + side.counts[i];
            }
        }
        if distances && view.two_sided() {
            (0..2).for_each(|s| shape.add_distances(view, s, depth.min(MAX_LEVELS), half_ticks));
        }
        shape
    }

    fn add_distances(&mut self, view: &View, s: usize, depth: usize, half_ticks: f64) {
        let side = &view.sides[s];
        for i in 0..depth {
            let (mut moment, mut slope) = (self.moments[s][i], self.slopes[s][i]);
            if i < side.levels {
                let distance = outward(view, s, i) as f64 * half_ticks;
                moment += side.sizes[i] * distance;
                slope = (slope.0 + distance * self.sizes[s][i + 1], slope.1 + distance * distance);
            }
            (self.moments[s][i + 1], self.slopes[s][i + 1]) = (moment, slope);
        }
    }
}

/// Twice the distance of a level from the mid in 1e-9, positive away from the other side, in a view with a mid.
#[inline]
pub fn outward(view: &View, s: usize, i: usize) -> i64 {
    let mid2 = view.mid2();
    (if s == 0 { mid2 } else { -mid2 }) - 2 * view.sides[s].keys[i]
}
