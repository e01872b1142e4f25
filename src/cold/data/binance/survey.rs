//! The first pass: which symbols there are, how fine their sizes and prices are, and when.

use std::io::BufRead;

use super::line::{Event, Line, Quote};
use super::lines::Lines;
use crate::Result;

/// 1 in 1e-9.
const ONE: u128 = 1_000_000_000;

/// What the file has of one symbol.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub symbol: String,
    /// Greatest common divisor of all sizes, in 1e-9; 0 when there is none.
    pub size_step: u128,
    /// The same of the distances between prices.
    price_step: u128,
    first_price: Option<u128>,
    pub depth: bool,
    /// Single trades are in the file, so aggregated ones would tell them again.
    pub trades: bool,
}

impl Found {
    /// The largest power of ten, up to 1, that divides every size.
    pub fn size_unit(&self) -> u128 {
        power_of_ten(self.size_step)
    }

    /// The step that prices go in, as [`super::super::load`] finds it too; of a single price its last decimal.
    pub fn tick_size(&self) -> u128 {
        if self.price_step > 0 { self.price_step } else { power_of_ten(self.first_price.unwrap_or(ONE)) }
    }

    fn price(&mut self, price: u128) {
        let first = *self.first_price.get_or_insert(price);
        self.price_step = gcd(self.price_step, price.abs_diff(first));
    }

    fn note(&mut self, event: &Event) {
        let (quotes, single): (&[&[Quote]], _) = match event {
            Event::Depth(diff) => (&[&diff.bids, &diff.asks], None),
            Event::Snapshot { bids, asks, .. } => (&[bids, asks], None),
            Event::Ticker { bid, ask, .. } => (&[&[*bid], &[*ask]], None),
            Event::Trade(trade) => (&[&[(trade.price, trade.size)]], Some(trade.aggregate)),
            Event::Other(_) => (&[], None),
        };
        self.depth |= matches!(event, Event::Depth(_) | Event::Snapshot { .. });
        self.trades |= single == Some(false);
        for &(price, size) in quotes.iter().copied().flatten() {
            self.size_step = gcd(self.size_step, size);
            self.price(u128::from(price.unsigned_abs()));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In the order of appearance.
    pub symbols: Vec<Found>,
    /// First and last time of any event.
    pub times_ns: Option<(u64, u64)>,
}

impl Survey {
    /// Reads to the end; lines that are nothing are the second pass's to count.
    pub fn read<R: BufRead>(lines: &mut Lines<R>) -> Result<Survey> {
        let mut survey = Survey::default();
        let mut nameless = Found::default();
        while let Some(line) = lines.next()? {
            let Ok(line) = Line::read(line) else { continue };
            if matches!(line.event, Event::Other(_)) {
                continue;
            }
            if let Some(time_ns) = line.ts_event_ns {
                let (first, last) = survey.times_ns.unwrap_or((time_ns, time_ns));
                survey.times_ns = Some((first.min(time_ns), last.max(time_ns)));
            }
            match line.symbol {
                Some(symbol) => survey.of(symbol).note(&line.event),
                None => nameless.note(&line.event),
            }
        }
        if let [only] = &mut survey.symbols[..] {
            only.size_step = gcd(only.size_step, nameless.size_step);
            nameless.first_price.into_iter().for_each(|price| only.price(price));
            only.price_step = gcd(only.price_step, nameless.price_step);
            only.depth |= nameless.depth;
        }
        Ok(survey)
    }

    fn of(&mut self, symbol: String) -> &mut Found {
        let at = self.symbols.iter().position(|found| found.symbol == symbol).unwrap_or_else(|| {
            self.symbols.push(Found { symbol, ..Found::default() });
            self.symbols.len() - 1
        });
        &mut self.symbols[at]
    }
}

/// The largest power of ten, up to 1, that divides `value`.
fn power_of_ten(value: u128) -> u128 {
    let mut unit = ONE;
    while !value.is_multiple_of(unit) {
        unit /= 10;
    }
    unit
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
