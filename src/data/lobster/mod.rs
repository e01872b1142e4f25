//! LOBSTER message and orderbook files → order-level DBN.
//!
//! A LOBSTER message file knows neither the orders that rested before the open nor what happens beyond its N levels, so
//! its orderbook file fills in: the first row becomes a snapshot, a level that a later row reveals at the far edge
//! becomes a synthetic order, and a level pushed beyond N is deleted. The stream stands on its own: a book built from it
//! equals the orderbook file after every event, and each message is exactly one event.
//!
//! The snapshot tells the state after the first message, and takes that message's place as the first event.
//!
//! A definition record ahead of them states the units: the tick size is 0.01 by NASDAQ's rule (Rule 612 of Regulation NMS:
//! a cent at $1 and above), unless something else is stated for the symbol. Prices between two cents, of hidden executions or of
//! orders below $1, are counted.
//!
//! A trade against a hidden order (type 5) has a side until 13 July 2014; since then the venue tells none. A cross
//! (type 6) has none, and changes no level. Times finer than a nanosecond, as floats leave them, are rounded to the
//! nearest, and counted.

mod book;
mod csv;
mod input;

use std::io::BufRead;
use std::path::{Path, PathBuf};

use dbn::Schema;

use super::calendar::Date;
use super::definition::Listed;
use super::emit::{Emitter, Trading, hidden_sides_told, nasdaq};
use super::facts::Facts;
use super::raw::Oddity;
use super::writer::{DbnWriter, FileInfo};
use crate::hot::grid::{Grid, OffGrid};
use crate::{Error, Result};
use book::Replica;
use csv::{BookRow, Lines};
use input::open;

/// A day, in ns.
const DAY_NS: u64 = 86_400_000_000_000;

/// Set on the ids of the orders that stand for what LOBSTER does not list.
pub const SYNTHETIC: u64 = 1 << 63;

/// What the converted stream is about.
#[derive(Clone, Debug)]
pub struct Options {
    /// Symbol; taken from LOBSTER's file names when absent.
    pub symbol: Option<String>,
    /// Day of the files, whose times are seconds after midnight in New York; taken from the names when absent.
    pub date: Option<Date>,
    /// Instrument id that the records get.
    pub instrument_id: u32,
    /// What is stated of the symbol.
    pub facts: Facts,
}

/// What a conversion did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// LOBSTER messages, each one event.
    pub messages: u64,
    /// DBN records.
    pub records: u64,
    /// Price levels per side.
    pub levels: usize,
    /// Levels given a synthetic order because the orderbook file revealed them at its far edge.
    pub revealed: u64,
    /// Levels deleted because they fell beyond the last one.
    pub dropped: u64,
    /// Messages about orders that the stream does not have (they rested before the open, or their level was out of range
    /// when it was last told), booked on the synthetic order of their level.
    pub unlisted: u64,
    /// Rows that messages and edges do not explain; the stream follows the orderbook file all the same.
    pub unexplained: u64,
    /// Line of the first of them, 0 when there is none.
    pub first_unexplained_line: u64,
    /// Tick size that the file states, in 1e-9.
    pub tick_size: i64,
    /// Prices that are no multiple of it.
    pub off_grid: OffGrid,
    /// Times with more decimals than nanoseconds have, rounded to the nearest; the place is the line.
    pub rounded: Oddity,
}

/// Converts one zip, or a message and an orderbook file, to a DBN file at `output`.
pub fn convert_file(input: &[PathBuf], output: &Path, options: Options) -> Result<Summary> {
    let inputs = open(input)?;
    let missing = |what: &str, flag: &str| {
        let problem = format!("the file names do not tell the {what}");
        Error::input("LOBSTER input", problem, format!("give it with {flag}"))
    };
    let symbol = options.symbol.or(inputs.names.symbol.clone()).ok_or_else(|| missing("symbol", "--symbol"))?;
    let date = options.date.or(inputs.names.date).ok_or_else(|| missing("date", "--date"))?;
    let (halts, depth) = inputs.read(|messages, books| {
        let mut first = BookRow::default();
        let depth = books.row(&mut first)?.then(|| first.levels()).filter(|&levels| levels > 0);
        Ok((messages.any_status()?, depth))
    })?;
    let midnight_ns = date.new_york_midnight_ns();
    let instrument = nasdaq(symbol, options.instrument_id, midnight_ns + DAY_NS / 2, &options.facts)?;
    let tick_size = instrument.tick_size;
    let day = Day { midnight_ns, hidden_sides: hidden_sides_told(date) };
    let info = FileInfo {
        dataset: "XNAS.ITCH".to_owned(),
        schema: (!halts).then_some(Schema::Mbo),
        start_ns: midnight_ns,
        end_ns: midnight_ns + DAY_NS,
        instruments: vec![Listed { instrument, depth, guessed: false }],
    };
    let mut writer = DbnWriter::create(output, &info)?;
    let emitter = Emitter::new(options.instrument_id, Grid::new(tick_size));
    let mut summary = inputs.read(|messages, books| convert(messages, books, &day, emitter, &mut writer))?;
    summary.tick_size = tick_size;
    writer.finish()?;
    Ok(summary)
}

/// What the day of the files decides.
struct Day {
    /// In New York, ns since the epoch.
    midnight_ns: u64,
    /// The side of a hidden order that traded is told.
    hidden_sides: bool,
}

/// Converts message by message, holding no more than one row of each file.
fn convert<M: BufRead, B: BufRead>(
    messages: &mut Lines<M>,
    books: &mut Lines<B>,
    day: &Day,
    mut emitter: Emitter,
    writer: &mut DbnWriter,
) -> Result<Summary> {
    let mut row = BookRow::default();
    let mut summary = Summary::default();
    let mut replica: Option<Replica> = None;
    while let Some(message) = messages.message()? {
        if !books.row(&mut row)? {
            return Err(unequal(books, messages, summary.messages));
        }
        if message.rounded {
            summary.rounded.note(summary.messages + 1);
        }
        emitter.begin(day.midnight_ns + message.after_midnight_ns, summary.messages as u32 + 1);
        match &mut replica {
            None => replica = Some(Replica::seed(&message, &row, day.hidden_sides, &mut emitter)),
            Some(replica) => replica.step(&message, &row, &mut emitter, &mut summary),
        }
        summary.messages += 1;
        emitter.end(writer)?;
    }
    if summary.messages == 0 {
        return Err(Error::input(
            messages.name(),
            "has no messages",
            "give a LOBSTER message file with at least one row",
        ));
    }
    if books.row(&mut row)? {
        return Err(unequal(messages, books, summary.messages));
    }
    summary.levels = row.levels();
    summary.off_grid = emitter.off_grid;
    summary.records = writer.records();
    Ok(summary)
}

fn unequal<S, L>(shorter: &Lines<S>, longer: &Lines<L>, rows: u64) -> Error {
    let problem = format!("ends after {rows} rows, but {} goes on", longer.name());
    Error::input(shorter.name(), problem, "give both files of one LOBSTER day whole: they have a row for each message")
}

impl Summary {
    fn unexplained_at(&mut self) {
        if self.unexplained == 0 {
            self.first_unexplained_line = self.messages + 1;
        }
        self.unexplained += 1;
    }
}

/// Kinds of LOBSTER messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Add,
    Reduce,
    Delete,
    Execute,
    ExecuteHidden,
    Cross,
    Halt,
    Quoting,
    Resume,
}

impl Kind {
    /// True for messages that leave the visible book as it is.
    fn only_tells(self) -> bool {
        !matches!(self, Kind::Add | Kind::Reduce | Kind::Delete | Kind::Execute)
    }

    /// What a message of this kind says of trading, if anything.
    fn trading(self) -> Option<Trading> {
        match self {
            Kind::Halt => Some(Trading::Halted),
            Kind::Quoting => Some(Trading::Quoting),
            Kind::Resume => Some(Trading::On),
            _ => None,
        }
    }
}
