//! Sums over the last n events, exact because they are of integers.

use super::plan::{RingSpec, WindowSpec};

/// Values beyond this are held at it, so that n × Σ x² over the longest window fits `i128`.
pub const MAX_VALUE: i64 = 1 << 50;

/// The last values of one source.
#[derive(Clone, Debug)]
pub struct Ring {
    values: Box<[i64]>,
}

impl Ring {
    pub fn new(spec: &RingSpec) -> Self {
        Self { values: vec![0; spec.capacity].into_boxed_slice() }
    }

    /// The value of event number `event`, counted from 0 at the reset.
    #[inline]
    pub fn at(&self, event: u64) -> i64 {
        self.values[event as usize & (self.values.len() - 1)]
    }

    #[inline]
    pub fn set(&mut self, event: u64, value: i64) {
        let mask = self.values.len() - 1;
        self.values[event as usize & mask] = value;
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.values)
    }
}

/// Σ x and Σ x² of the last events of one ring.
#[derive(Clone, Debug)]
pub struct Window {
    ring: u16,
    events: u32,
    squared: bool,
    pub sum: i128,
    pub squares: i128,
}

impl Window {
    pub fn new(spec: &WindowSpec) -> Self {
        Self { ring: spec.ring, events: spec.events, squared: spec.squares, sum: 0, squares: 0 }
    }

    /// Takes in event number `event`, which is in the ring already, and lets go of the one that left the window.
    #[inline]
    pub fn slide(&mut self, rings: &[Ring], event: u64) {
        let ring = &rings[usize::from(self.ring)];
        let new = i128::from(ring.at(event));
        let old = match event.checked_sub(u64::from(self.events)) {
            Some(left) => i128::from(ring.at(left)),
            None => 0,
        };
        self.sum += new - old;
        if self.squared {
            self.squares += (new - old) * (new + old);
        }
    }

    pub fn clear(&mut self) {
        (self.sum, self.squares) = (0, 0);
    }

    /// Standard score of the value of the last event among the `seen` events since the reset, or those of the window.
    pub fn zscore(&self, rings: &[Ring], seen: u64) -> f64 {
        let Some(last) = seen.checked_sub(1) else { return 0.0 };
        let n = i128::from(seen.min(u64::from(self.events)));
        let spread = n * self.squares - self.sum * self.sum;
        if spread <= 0 {
            return 0.0;
        }
        let x = i128::from(rings[usize::from(self.ring)].at(last));
        (n * x - self.sum) as f64 / (spread as f64).sqrt()
    }
}
