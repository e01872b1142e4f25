//! The second pass: events become records.

use std::io::BufRead;

use pillion_shm::records::{BidAskPair, UNDEF_PRICE, flags};

use super::depth::{Depth, LEVELS, Outcome, Update};
use super::emit::{self, Stamp};
use super::line::{Bad, Diff, Event, Line, Quote, Trade};
use super::lines::Lines;
use super::survey::Found;
use super::units::Units;
use super::{Kind, Options, Summary, Unit, decimal};
use crate::Result;
use crate::cold::data::writer::DbnWriter;
use crate::hot::grid::{Grid, OffGrid};

/// Most names of events that are counted one by one; Binance has some thirty.
const NAMES: usize = 64;

/// One symbol on its way through the file.
struct Symbol {
    unit: u128,
    grid: Grid,
    trades: bool,
    depth: Depth,
    /// The best levels as last written.
    told: [BidAskPair; LEVELS],
    last_event_ns: Option<u64>,
    /// Latest ts_event of what the book contains.
    book_ns: u64,
}

pub(super) struct Pass {
    symbols: Vec<Symbol>,
    kind: Kind,
    round: bool,
    summary: Summary,
    last_ns: u64,
}

impl Pass {
    pub fn new(found: &[Found], units: &[Units], options: &Options) -> Self {
        let symbols = found.iter().zip(units).map(|(found, units)| {
            let (depth, grid) = (Depth::new(!found.depth), Grid::new(units.tick));
            let (unit, trades) = (units.size, found.trades);
            Symbol { unit, grid, trades, told: depth.top(), depth, last_event_ns: None, book_ns: 0 }
        });
        let listed = found.iter().zip(units).zip(1..).map(|((found, units), id)| Unit {
            id,
            symbol: found.symbol.clone(),
            tick_size: decimal::text(units.tick.unsigned_abs().into()),
            size_unit: decimal::text(units.size),
            guessed: units.guessed,
            off_grid: OffGrid::default(),
            rounded: 0,
            whole_from_line: (!found.depth).then_some(1),
            breaks: Default::default(),
        });
        let summary = Summary { units: listed.collect(), ..Summary::default() };
        let (kind, round) = (options.kind, options.round_sizes);
        Self { symbols: symbols.collect(), kind, round, summary, last_ns: 0 }
    }

    pub fn run<R: BufRead>(mut self, lines: &mut Lines<'_, R>, writer: &mut DbnWriter) -> Result<Summary> {
        while let Some(line) = lines.next()? {
            let line = Line::read(line);
            if let Err(bad) = self.line(line, lines, writer)? {
                self.summary.skipped.entry(bad).or_default().note(lines.number);
            }
        }
        Ok(self.summary)
    }

    fn line<R: BufRead>(
        &mut self,
        line: std::result::Result<Line, Bad>,
        lines: &Lines<'_, R>,
        writer: &mut DbnWriter,
    ) -> Result<std::result::Result<(), Bad>> {
        let line = match line {
            Ok(line) => line,
            Err(bad) => return Ok(Err(bad)),
        };
        let room = self.summary.events.len() < NAMES || self.summary.events.contains_key(line.event.name());
        let name = if room { line.event.name() } else { "of other names" };
        *self.summary.events.entry(name.to_owned()).or_default() += 1;
        if matches!(line.event, Event::Other(_)) {
            return Ok(Ok(()));
        }
        let at = match &line.symbol {
            Some(symbol) => self.summary.units.iter().position(|unit| unit.symbol == *symbol),
            None => Some(0).filter(|_| self.symbols.len() == 1),
        };
        let Some(at) = at else { return Ok(Err(Bad::Nameless)) };
        let Some(ts_event_ns) = line.ts_event_ns.or(self.symbols[at].last_event_ns) else {
            return Ok(Err(Bad::Timeless));
        };
        self.symbols[at].last_event_ns = Some(ts_event_ns);
        let stamp = Stamp { instrument_id: at as u32 + 1, ts_event_ns, ts_recv_ns: line.ts_recv_ns, sequence: 0 };
        self.summary.behind_ns = self.summary.behind_ns.max(ts_event_ns.saturating_sub(line.ts_recv_ns));
        match line.event {
            Event::Trade(trade) => self.trade(at, stamp, &trade, lines, writer)?,
            event if self.kind == Kind::Mbp10 => self.book(at, stamp, event, lines, writer)?,
            _ => {}
        }
        Ok(Ok(()))
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
        let snapshot = matches!(event, Event::Snapshot { .. });
        let (number, outcome) = match event {
            Event::Depth(diff) => {
                let update = self.update(at, diff, lines)?;
                (update.diff.last, self.symbols[at].depth.diff(update))
            }
            Event::Snapshot { last, bids, asks } => {
                let update = self.update(at, Diff { last, bids, asks, ..Diff::default() }, lines)?;
                (last, self.symbols[at].depth.snapshot(update))
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
            Outcome::Whole => {
                unit.whole_from_line.get_or_insert(lines.number);
            }
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
        let doubt = if symbol.depth.whole() { 0 } else { flags::MAYBE_BAD_BOOK };
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
        let mut sized = |quotes: Vec<Quote>| -> Result<Vec<_>> {
            quotes.into_iter().map(|(price, size)| Ok((price, self.size(at, size, lines)?))).collect()
        };
        let (bids, asks) = (std::mem::take(&mut diff.bids), std::mem::take(&mut diff.asks));
        Ok(Update { bids: sized(bids)?, asks: sized(asks)?, diff })
    }

    /// A size in units: exactly, or, where that is asked for, rounded to the nearest, but never to nothing.
    fn size<R: BufRead>(&mut self, at: usize, size: u128, lines: &Lines<'_, R>) -> Result<u32> {
        let (unit, symbol) = (self.symbols[at].unit, &self.summary.units[at].symbol);
        let of = || format!("size {} of {symbol}", decimal::text(size));
        let rounds = !size.is_multiple_of(unit);
        if rounds && !self.round {
            let problem = format!("{} is no multiple of the size unit {}", of(), decimal::text(unit));
            return Err(lines.wrong(problem, "state a finer size unit, or let --round-sizes round to the nearest"));
        }
        let units = if rounds { ((size + unit / 2) / unit).max(1) } else { size / unit };
        let Some(units) = u32::try_from(units).ok().filter(|&units| units < u32::MAX) else {
            let problem = format!("{} is more than DBN's 4,294,967,294 units of {}", of(), decimal::text(unit));
            let coarser = decimal::text(coarser(unit, size));
            let mend = format!("state a coarser unit, --size-unit {symbol}={coarser}, with --round-sizes");
            return Err(lines.wrong(problem, mend));
        };
        self.summary.units[at].rounded += u64::from(rounds);
        Ok(units)
    }
}

/// The unit, coarser by the smallest power of ten with which `size` fits.
fn coarser(mut unit: u128, size: u128) -> u128 {
    while size / unit >= u128::from(u32::MAX) - 1 {
        unit *= 10;
    }
    unit
}
