//! Whether prices are multiples of the tick size: one multiplication instead of a division, since every tick is asked.

#![forbid(unsafe_code)]

use super::decode::{Body, Tick};
use pillion_shm::records::UNDEF_PRICE;

/// The multiples of one tick size.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Inverse of the tick size's odd part, modulo 2^64.
    inverse: u64,
    /// Twos in the tick size.
    twos: u32,
    /// Largest quotient of a multiple.
    most: u64,
}

impl Grid {
    /// The multiples of `tick_size`, in 1e-9; of a tick size that nobody has stated (0 or less) every price is one.
    pub fn new(tick_size: i64) -> Self {
        let Some(tick) = u64::try_from(tick_size).ok().filter(|&tick| tick > 0) else {
            return Self { inverse: 0, twos: 0, most: u64::MAX };
        };
        let (twos, odd) = (tick.trailing_zeros(), tick >> tick.trailing_zeros());
        // Newton's iteration doubles the bits that are right: an odd number is its own inverse in 3 bits, so 5 rounds do.
        let inverse =
            (0..5).fold(odd, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))));
        Self { inverse, twos, most: u64::MAX / tick }
    }

    /// True when the price is a multiple of the tick size. Granlund and Montgomery (1994): an exact quotient is small, any
    /// other wraps to a large number.
    #[inline]
    pub fn holds(&self, price: i64) -> bool {
        price.unsigned_abs().wrapping_mul(self.inverse).rotate_right(self.twos) <= self.most
    }
}

/// How many ticks told a price off the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OffGrid {
    /// Orders, and quotes by their best levels: the tick size is another than the venue's.
    pub quotes: u64,
    /// Trades and fills: hidden orders may trade between two ticks.
    pub trades: u64,
}

impl OffGrid {
    /// Counts a tick.
    #[inline]
    pub fn count(&mut self, grid: &Grid, tick: &Tick) {
        match tick.body {
            Body::Add { price, .. } | Body::Modify { price, .. } => self.quotes += u64::from(!grid.holds(price)),
            Body::Trade { price, .. } | Body::Fill { price, .. } => self.trades += u64::from(!grid.holds(price)),
            Body::Quotes { levels, action, price, .. } => {
                let off = |price: i64| price != UNDEF_PRICE && !grid.holds(price);
                self.quotes += u64::from(levels.first().is_some_and(|best| off(best.bid_px) || off(best.ask_px)));
                self.trades += u64::from(matches!(action, b'T' | b'F') && off(price));
            }
            Body::Cancel { .. } | Body::Clear | Body::Status { .. } | Body::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_exactly_the_multiples(tick in 1_i64.., price: i64, times in -1_000_000_i64..1_000_000) {
            let grid = Grid::new(tick);
            prop_assert_eq!(grid.holds(price), price % tick == 0);
            prop_assert!(times.checked_mul(tick).is_none_or(|multiple| grid.holds(multiple)));
        }

        #[test]
        fn holds_the_multiples_of_usual_ticks(at in 0_usize..6, price in -2_000_000_000_000_i64..2_000_000_000_000) {
            let tick = [10_000_000, 250_000_000, 100_000, 1_000_000_000, 15_625_000, 1][at];
            prop_assert_eq!(Grid::new(tick).holds(price), price % tick == 0);
        }
    }

    #[test]
    fn the_ends() {
        for tick in [1, 2, 3, 10_000_000, i64::MAX - 1, i64::MAX] {
            for price in [0, 1, -1, tick, -tick, i64::MAX, i64::MIN, i64::MIN + 1] {
                assert_eq!(
                    Grid::new(tick).holds(price),
                    i128::from(price) % i128::from(tick) == 0,
                    "{price} of {tick}"
                );
            }
        }
        assert!([0, -5].iter().all(|&unknown| Grid::new(unknown).holds(7)));
    }
}
