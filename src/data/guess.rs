//! A tick size from prices, for data of which nobody states one. Only `--guess` gets here.

use pillion_shm::records::UNDEF_PRICE;

use super::feed::Feed;
use crate::Result;
use crate::hot::decode::{Body, Instruments, Tick, decode};

/// Tick size of an instrument that shows fewer than two prices before its first row, in 1e-9: 0.01.
const OF_ONE_PRICE: i64 = 10_000_000;

/// The greatest common divisor of the distances between the prices of the instruments at these places, up to the end of
/// each one's first event outside snapshots: its first row. What comes later has no say, so that rows do not hang on it.
pub(super) fn guess(feed: &Feed, unknown: &[usize]) -> Result<Vec<(usize, i64)>> {
    let instruments = Instruments::new(&feed.instruments)?;
    let mut seen = vec![Seen { over: true, ..Seen::default() }; feed.instruments.len()];
    unknown.iter().for_each(|&at| seen[at].over = false);
    let mut open = unknown.len();
    for record in feed {
        if open == 0 {
            break;
        }
        let Ok(tick) = decode(record, &instruments) else { continue };
        let seen = &mut seen[tick.instrument as usize];
        if !seen.over {
            seen.take(&tick);
            seen.over = tick.is_last() && !tick.is_snapshot() && !matches!(tick.body, Body::Status { .. });
            open -= usize::from(seen.over);
        }
    }
    Ok(unknown.iter().map(|&at| (at, seen[at].tick_size())).collect())
}

/// What an instrument has shown so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    over: bool,
    quotes: Step,
    /// Traded prices count only where no order or level shows one: hidden orders trade off the grid.
    trades: Step,
}

/// Distances to the first price.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    first: Option<i64>,
    divisor: u64,
}

impl Seen {
    fn take(&mut self, tick: &Tick) {
        match tick.body {
            Body::Add { price, .. } | Body::Modify { price, .. } => self.quotes.take(price),
            Body::Trade { price, .. } => self.trades.take(price),
            Body::Quotes { levels: [], price, .. } => self.trades.take(price),
            Body::Quotes { levels, .. } => levels.iter().for_each(|level| {
                self.quotes.take(level.bid_px);
                self.quotes.take(level.ask_px);
            }),
            _ => {}
        }
    }

    fn tick_size(&self) -> i64 {
        let step = if self.quotes.first.is_some() { self.quotes } else { self.trades };
        i64::try_from(step.divisor).ok().filter(|&step| step > 0).unwrap_or(OF_ONE_PRICE)
    }
}

impl Step {
    fn take(&mut self, price: i64) {
        if price != UNDEF_PRICE {
            self.divisor = gcd(self.divisor, price.abs_diff(*self.first.get_or_insert(price)));
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
