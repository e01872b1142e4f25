//! The second pass: events become records.

use std::io::BufRead;

use pillion_shm::records::{BidAskPair, UNDEF_PRICE, flags};

use super::clock::Clock;
use super::depth::{Depth, LEVELS, Outcome, Update};
use super::emit::{self, Stamp};
use super::line::{Diff, Event, Fault, Line, Quote, Trade};
use super::lines::Lines;
use super::survey::Survey;
use super::units::Units;
use super::{Kind, Options, Summary, Unit, decimal};
use crate::data::writer::DbnWriter;
use crate::hot::grid::{Grid, OffGrid};
use crate::{Error, Result};

/// Most names of events that are counted one by one; Binance has some thirty.
const NAMES: usize = 64;

/// A time that far behind its capture is said: the exchange's clock was that far ahead of the capture's once, or that was
/// one wrong time.
const FUTURE_NS: u64 = 1_000_000_000;

/// One symbol on its way through the file.
struct Symbol {
    unit: u128,
    grid: Grid,
    /// A unit in which every size fits, for messages.
    fitting: u128,
    trades: bool,
    /// Each message of levels is the whole book.
    wholes_alone: bool,
    depth: Depth,
    /// The best levels as last written.
    told: [BidAskPair; LEVELS],
    /// Latest ts_event of what the book contains.
    book_ns: u64,
}

pub(super) struct Pass<'a> {
    symbols: Vec<Symbol>,
    options: &'a Options,
    clock: Clock,
    summary: Summary,
    last_ns: u64,
}

impl<'a> Pass<'a> {
    pub fn new(survey: &Survey, units: &[Units], options: &'a Options) -> Self {
        let found = &survey.symbols;
        let symbols = found.iter().zip(units).map(|(found, units)| {
            let (depth, grid, unit) = (Depth::new(!found.depth()), Grid::new(units.tick), units.size);
            let (fitting, wholes_alone) = (found.fitting_unit(unit), found.wholes_alone());
            Symbol { unit, grid, fitting, trades: found.trades, wholes_alone, told: depth.top(), depth, book_ns: 0 }
        });
        let listed = found.iter().zip(units).zip(1..).map(|((found, units), id)| Unit {
            id,
            symbol: found.symbol.clone(),
            tick_size: decimal::text(units.tick.unsigned_abs().into()),
            size_unit: decimal::text(units.size),
            guessed: units.guessed,
            off_grid: OffGrid::default(),
            rounded: 0,
            wholes_alone: found.wholes_alone(),
            whole_from_line: (!found.depth()).then_some(1),
            breaks: Default::default(),
            in_doubt: 0,
        });
        let clock_unit = survey.clock.unit.name();
        let summary = Summary { units: listed.collect(), clock_unit, ..Summary::default() };
        Self { symbols: symbols.collect(), options, clock: survey.clock.clone(), summary, last_ns: 0 }
    }

    pub fn run<R: BufRead>(mut self, lines: &mut Lines<'_, R>, writer: &mut DbnWriter) -> Result<Summary> {
        while let Some(line) = lines.next()? {
            let line = Line::read(line);
            if let Err(fault) = self.line(line, lines, writer)? {
                self.summary.skipped.entry(fault.bad).or_default().note(lines.number);
                self.summary.reasons.entry(fault.bad).or_insert(fault.what);
            }
        }
        Ok(self.summary)
    }

    fn line<R: BufRead>(
        &mut self,
        line: std::result::Result<Line, Fault>,
        lines: &Lines<'_, R>,
        writer: &mut DbnWriter,
    ) -> Result<std::result::Result<(), Fault>> {
        let line = match line {
            Ok(line) => line,
            Err(fault) => return Ok(Err(fault)),
        };
        let at = match line.symbol.as_ref().or(self.options.symbol.as_ref()) {
            Some(symbol) => self.summary.units.iter().position(|unit| unit.symbol == *symbol),
            None => Some(0).filter(|_| self.symbols.len() == 1),
        };
        let told = |at: usize| matches!(line.event, Event::Partial(_)) && !self.symbols[at].wholes_alone;
        let other = matches!(line.event, Event::Other(_)) || at.is_some_and(told);
        self.count(line.event.name());
        if other {
            return Ok(Ok(()));
        }
        let Some(at) = at else {
            return Ok(Err(Fault::nameless(&line.event)));
        };
        let Some(stamp) = self.stamp(at, &line) else {
            return Ok(Err(Fault::value("its capture time is no time")));
        };
        match line.event {
            Event::Trade(trade) => self.trade(at, stamp, &trade, lines, writer)?,
            event if self.options.kind == Kind::Mbp10 => self.book(at, stamp, event, lines, writer)?,
            _ => {}
        }
        Ok(Ok(()))
    }

    fn count(&mut self, name: &str) {
        let room = self.summary.events.len() < NAMES || self.summary.events.contains_key(name);
        *self.summary.events.entry(if room { name } else { "of other names" }.to_owned()).or_default() += 1;
    }

    /// The times of a line.
    fn stamp(&mut self, at: usize, line: &Line) -> Option<Stamp> {
        let ts_recv_ns = self.clock.recv_ns(line.captured, line.ts_event_ns)?;
        let ts_event_ns = self.clock.event_ns(ts_recv_ns, line.ts_event_ns);
        self.summary.untimed += u64::from(line.ts_event_ns.is_none());
        if line.ts_event_ns.is_none() && ts_event_ns > ts_recv_ns.saturating_add(FUTURE_NS) {
            self.summary.ahead_of_capture += 1;
            self.summary.ahead_of_capture_ns = self.summary.ahead_of_capture_ns.max(ts_event_ns - ts_recv_ns);
        }
        self.summary.fine_times += u64::from(line.fine);
        if let Some(ts_event_ns) = line.ts_event_ns {
            self.summary.behind_ns = self.summary.behind_ns.max(ts_event_ns.saturating_sub(ts_recv_ns));
            self.summary.ahead_ns = self.summary.ahead_ns.max(ts_recv_ns.saturating_sub(ts_event_ns));
        }
        Some(Stamp { instrument_id: at as u32 + 1, ts_event_ns, ts_recv_ns, sequence: 0 })
    }

    fn trade<R: BufRead>(
        &mut self,
        at: usize,
        stamp: Stamp,
        trade: &Trade,
        lines: &Lines<'_, R>,
        writer: &mut DbnWriter,
    ) -> Result<()> {
        if trade.aggregate && self.symbols[at].trades {
            self.summary.aggregates += 1;
            return Ok(());
        }
        if trade.size == 0 {
            self.summary.empty += 1;
            return Ok(());
        }
        let size = self.size(at, trade.size, lines)?;
        self.summary.trades += 1;
        self.summary.units[at].off_grid.trades += u64::from(!self.symbols[at].grid.holds(trade.price));
        self.order(stamp.ts_event_ns);
        writer.write(&emit::trade(&Stamp { sequence: trade.id as u32, ..stamp }, trade, size))
    }

    fn book<R: BufRead>(
        &mut self,
        at: usize,
        mut stamp: Stamp,
        event: Event,
        lines: &Lines<'_, R>,
        writer: &mut DbnWriter,
    ) -> Result<()> {
        let snapshot = matches!(event, Event::Snapshot(_));
        let (number, outcome) = match event {
            Event::Depth(diff) => {
                let update = self.update(at, diff, lines)?;
                let symbol = &mut self.symbols[at];
                let last = update.diff.last;
                (last, if symbol.wholes_alone { symbol.depth.replace(update) } else { symbol.depth.diff(update) })
            }
            Event::Snapshot(whole) | Event::Partial(whole) => {
                let update = self.update(at, whole, lines)?;
                let symbol = &mut self.symbols[at];
                let last = update.diff.last;
                (last, if symbol.wholes_alone { symbol.depth.replace(update) } else { symbol.depth.snapshot(update) })
            }
            Event::Ticker { update, bid, ask } => {
                let bid = (bid.0, self.size(at, bid.1, lines)?);
                let ask = (ask.0, self.size(at, ask.1, lines)?);
                (update, self.symbols[at].depth.ticker(update, bid, ask))
            }
            Event::Trade(_) | Event::Other(_) => return Ok(()),
        };
        stamp.sequence = number as u32;
        // Streams overtake each other: a record earlier than what it contains would, sorted by ts_event, look ahead.
        let symbol = &mut self.symbols[at];
        symbol.book_ns = symbol.book_ns.max(stamp.ts_event_ns);
        stamp.ts_event_ns = symbol.book_ns;
        let unit = &mut self.summary.units[at];
        match outcome {
            Outcome::Broken => {
                unit.breaks.note(lines.number);
                let clear = emit::clear(&stamp);
                self.symbols[at].told = clear.levels;
                self.write(&clear, writer)?;
            }
            Outcome::Unused => self.summary.unused_snapshots += u64::from(snapshot),
            Outcome::Taken => {}
        }
        let symbol = &mut self.symbols[at];
        let whole = symbol.depth.whole();
        let doubt = if whole { 0 } else { flags::MAYBE_BAD_BOOK };
        self.summary.units[at].in_doubt += u64::from(!whole && self.summary.units[at].whole_from_line.is_some());
        if whole {
            self.summary.units[at].whole_from_line.get_or_insert(lines.number);
        }
        let top = symbol.depth.top();
        if let Some(message) = emit::quotes(&stamp, &symbol.told, &top, doubt) {
            symbol.told = top;
            let off = |price: i64| price != UNDEF_PRICE && !symbol.grid.holds(price);
            self.summary.units[at].off_grid.quotes += u64::from(off(top[0].bid_px) || off(top[0].ask_px));
            self.write(&message, writer)?;
        }
        Ok(())
    }

    fn write(&mut self, message: &pillion_shm::records::Mbp10Msg, writer: &mut DbnWriter) -> Result<()> {
        self.summary.quotes += 1;
        self.order(message.event.hd.ts_event);
        writer.write(message)
    }

    fn order(&mut self, ts_event_ns: u64) {
        self.summary.backwards += u64::from(ts_event_ns < self.last_ns);
        self.last_ns = ts_event_ns;
    }

    fn update<R: BufRead>(&mut self, at: usize, mut diff: Diff, lines: &Lines<'_, R>) -> Result<Update> {
        let (bids, asks) = (std::mem::take(&mut diff.bids), std::mem::take(&mut diff.asks));
        let mut sized = |quotes: Vec<Quote>| -> Result<Vec<_>> {
            quotes.into_iter().map(|(price, size)| Ok((price, self.size(at, size, lines)?))).collect()
        };
        Ok(Update { bids: sized(bids)?, asks: sized(asks)?, diff })
    }

    /// A size in units: exactly; to the nearest where that is asked for, but never to none; or not at all.
    fn size<R: BufRead>(&mut self, at: usize, size: u128, lines: &Lines<'_, R>) -> Result<u32> {
        let unit = self.symbols[at].unit;
        let exact = size.is_multiple_of(unit);
        if !exact && !self.options.round_sizes {
            let symbol = &self.summary.units[at].symbol;
            let (size, unit) = (decimal::text(size), decimal::text(unit));
            let problem = format!("size {size} of {symbol} is no multiple of the size unit {unit}");
            let mend = "state a finer size unit, or let --round-sizes round to the nearest";
            return Err(lines.wrong(problem, mend));
        }
        let units = if exact { size / unit } else { ((size + unit / 2) / unit).max(1) };
        let fits = u32::try_from(units).ok().filter(|&units| units < u32::MAX);
        let units = fits.ok_or_else(|| self.too_large(at, size, lines))?;
        self.summary.units[at].rounded += u64::from(!exact);
        Ok(units)
    }

    fn too_large<R: BufRead>(&self, at: usize, size: u128, lines: &Lines<'_, R>) -> Error {
        let (symbol, name) = (&self.symbols[at], &self.summary.units[at].symbol);
        let (size, unit, fitting) = (decimal::text(size), decimal::text(symbol.unit), decimal::text(symbol.fitting));
        let problem = format!("size {size} of {name} is more than DBN's 4,294,967,294 units of {unit}");
        let also = if self.options.facts.is_empty() {
            ""
        } else {
            ", and that size_unit in --instruments where it states one"
        };
        let mend = format!(
            "give --size-unit {name}={fitting} --round-sizes{also}: every size fits then, and each that is rounded is counted"
        );
        lines.wrong(problem, mend)
    }
}
