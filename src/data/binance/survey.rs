//! The first pass: which symbols there are, how fine their sizes and prices are, what their books are made of, and when.

use std::io::BufRead;

use super::clock::{Clock, Votes};
use super::line::{Event, Fault, Line, Quote};
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
    largest_size: u128,
    /// Diffs, and how many of them look like the best levels, whole.
    diffs: u64,
    like_partial: u64,
    /// Snapshots, and the best levels, whole, by their stream's name.
    wholes: u64,
    /// Single trades are in the file, so aggregated ones would tell them again.
    pub trades: bool,
}

impl Found {
    /// The largest power of ten, up to 1, that divides every size; a larger one where the sizes need it and all allow it.
    pub fn size_unit(&self) -> u128 {
        let mut unit = power_of_ten(self.size_step);
        while !self.fits(unit) && self.size_step.is_multiple_of(unit * 10) {
            unit *= 10;
        }
        unit
    }

    /// The smallest power of ten, from `unit` on, in which every size is less than DBN's "no size".
    pub fn fitting_unit(&self, unit: u128) -> u128 {
        let mut fitting = power_of_ten(unit);
        while fitting < unit || !self.fits(fitting) {
            fitting *= 10;
        }
        fitting
    }

    fn fits(&self, unit: u128) -> bool {
        // Rounded up, as a size may be.
        self.largest_size.div_ceil(unit) < u128::from(u32::MAX)
    }

    /// Levels come, beside the best quotes of tickers.
    pub fn depth(&self) -> bool {
        self.diffs > 0 || self.wholes > 0
    }

    /// No diffs come, so each message of levels is the whole book: partial depth streams do not say what they are where
    /// the capture lacks the stream's name, and look like snapshots (spot) or diffs (futures). Beside a snapshot, which nobody
    /// needs there, what looks like diffs is taken for them, unless it looks so for long.
    pub fn wholes_alone(&self) -> bool {
        // Diffs remove levels, and come in any number: a long run of messages of just 5, 10 or 20 a side is none.
        let enough = if self.wholes == 0 { 2 } else { 32 };
        let partial = self.diffs >= enough && self.like_partial == self.diffs;
        let diffs = if partial { 0 } else { self.diffs };
        diffs == 0 && self.depth()
    }

    /// The step that prices go in, as [`super::super::load`] finds it too; of a single price its last decimal.
    pub fn tick_size(&self) -> u128 {
        if self.price_step > 0 { self.price_step } else { power_of_ten(self.first_price.unwrap_or(ONE)) }
    }

    fn price(&mut self, price: u128) {
        let first = *self.first_price.get_or_insert(price);
        self.price_step = gcd(self.price_step, price.abs_diff(first));
    }

    /// Takes what was found of events that say no symbol, and are this one's.
    fn take(&mut self, nameless: &Found) {
        self.size_step = gcd(self.size_step, nameless.size_step);
        nameless.first_price.into_iter().for_each(|price| self.price(price));
        self.price_step = gcd(self.price_step, nameless.price_step);
        self.largest_size = self.largest_size.max(nameless.largest_size);
        self.diffs += nameless.diffs;
        self.like_partial += nameless.like_partial;
        self.wholes += nameless.wholes;
        self.trades |= nameless.trades;
    }

    fn note(&mut self, event: &Event) {
        let (quotes, single): (&[&[Quote]], _) = match event {
            Event::Depth(diff) => (&[&diff.bids, &diff.asks], None),
            Event::Snapshot(whole) | Event::Partial(whole) => (&[&whole.bids, &whole.asks], None),
            Event::Ticker { bid, ask, .. } => (&[&[*bid], &[*ask]], None),
            Event::Trade(trade) => (&[&[(trade.price, trade.size)]], Some(trade.aggregate)),
            Event::Other(_) => (&[], None),
        };
        match event {
            Event::Depth(diff) => {
                self.diffs += 1;
                self.like_partial += u64::from(diff.like_partial());
            }
            Event::Snapshot(_) | Event::Partial(_) => self.wholes += 1,
            _ => {}
        }
        self.trades |= single == Some(false);
        for &(price, size) in quotes.iter().copied().flatten() {
            self.size_step = gcd(self.size_step, size);
            self.largest_size = self.largest_size.max(size);
            self.price(u128::from(price.unsigned_abs()));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In the order of appearance.
    pub symbols: Vec<Found>,
    /// First and last time of any event, by the exchange or else by the capture; `None` without an event.
    pub times_ns: Option<(u64, u64)>,
    pub clock: Clock,
    /// Why the file has nothing to convert, if it has nothing: the first line to blame, and its fault.
    pub fault: Option<(u64, Fault)>,
}

impl Survey {
    /// Reads to the end; lines that are nothing are the second pass's to count. Events without a symbol are `symbol`'s.
    pub fn read<R: BufRead>(lines: &mut Lines<R>, symbol: Option<&str>) -> Result<Survey> {
        let mut survey = Survey::default();
        let (mut nameless, mut votes, mut captured) = (Found::default(), Votes::default(), None);
        let (mut unnamed, mut unknown) = (None, None);
        while let Some(line) = lines.next()? {
            let line = match Line::read(line) {
                Ok(line) => line,
                Err(fault) => {
                    survey.fault.get_or_insert((lines.number, fault));
                    continue;
                }
            };
            if let Event::Other(name) = &line.event {
                let what = || Fault::value(format!("it is an event of kind \"{}\"", name.escape_default()));
                unknown.get_or_insert_with(|| (lines.number, what()));
                continue;
            }
            votes.note(line.captured, line.ts_event_ns);
            widen(&mut captured, line.captured);
            line.ts_event_ns.into_iter().for_each(|time_ns| widen(&mut survey.times_ns, time_ns));
            match line.symbol.or(symbol.map(str::to_owned)) {
                Some(symbol) => survey.of(symbol).note(&line.event),
                None => {
                    unnamed.get_or_insert_with(|| (lines.number, Fault::nameless(&line.event)));
                    nameless.note(&line.event);
                }
            }
        }
        if let [only] = &mut survey.symbols[..] {
            only.take(&nameless);
        }
        survey.fault = unnamed.or(survey.fault).or(unknown);
        survey.clock = votes.clock();
        let mut clock = survey.clock.clone();
        let captured =
            captured.and_then(|(first, last)| Some((clock.recv_ns(first, None)?, clock.recv_ns(last, None)?)));
        survey.times_ns = survey.times_ns.or(captured);
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

fn widen<T: Ord + Copy>(range: &mut Option<(T, T)>, value: T) {
    let (first, last) = range.unwrap_or((value, value));
    *range = Some((first.min(value), last.max(value)));
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
