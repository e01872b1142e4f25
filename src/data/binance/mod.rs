//! Raw captures of Binance's market streams → MBP-10 and trade records of DBN.
//!
//! A capture has a line an event: the local time, a space, and the JSON as it came: `depthUpdate`, `bookTicker`,
//! `trade`, `aggTrade`, an order book snapshot or the best levels of a partial depth stream. Symbols become instruments
//! 1, 2 ... in the order of their appearance.
//!
//! - *Book*: a snapshot and the diffs since, as deep as they go; a ticker that is ahead of the diffs says what the best
//!   quotes are. A record comes after each line that changes the ten best levels. Its fields tell the best-ranked change of
//!   the one side that changed (`A` or `C`, by how much); action `M`, side `N`, no price where both did. Order counts are 0:
//!   Binance does not tell them.
//! - *Whole*: until a snapshot, and again after a diff that begins behind what is known, levels are missing. A snapshot is
//!   whole down to its worst price on each side (the side with fewer levels is all there is): while one of the ten levels
//!   lies behind it, another might be missing there, until the next snapshot. Records are flagged MAYBE_BAD_BOOK till then; at a break an `R` record clears the book first. The snapshot may come before
//!   the diff that breaks; a diff that came before, or an older one, changes nothing, and one that overlaps adds what is
//!   new. A symbol without diffs has a book of its best quotes alone, which is whole.
//! - *Streams of the best 5, 10 or 20 levels* (`depth20`) are the book of a symbol that no diffs come for: each message is
//!   the whole of it. They are known by the stream's name; without one, by the lack of diffs (spot), or by as many levels
//!   on both sides of every message, none of them taken off (futures). Where diffs come, they are counted and left out.
//! - *Trades*: side is the aggressor's (`m` says that the buyer was the maker); trades that are not of the market have none.
//!   Aggregated trades count only where single ones are not captured.
//! - *Units*: tick size and size unit of a symbol are the exchange's to say (`PRICE_FILTER.tickSize` and `LOT_SIZE.stepSize` of
//!   its exchangeInfo); a capture does not. They must be stated, or guessed where that is asked for: the step of the prices seen,
//!   and the largest power of ten, up to 1, that divides every size, or a larger one where they do not fit else. Definition
//!   records ahead of the others carry them.
//! - *Sizes* are integers of the size unit. What is no multiple of it is refused, or with [`Options::round_sizes`] rounded to the
//!   nearest unit, but never to none, and counted.
//! - *Times*: ts_event is the exchange's (`T`, else `E`, in ms or finer), ts_recv the capture's clock, in the unit that
//!   fits (`clock`), which may be behind the exchange's. A record of a book is never earlier than what it contains: its
//!   ts_event is the latest of its symbol's diffs, snapshots and tickers up to there. An event without a time of the
//!   exchange's (spot's tickers and snapshots) gets the latest that it can have: when it was captured, by the exchange's
//!   clock as far as that was seen ahead of the capture's, and no time before that of an earlier line. Records stand in the
//!   order of capture, so that ts_event may go back from a book to a trade and from one symbol to another.

mod clock;
mod decimal;
mod depth;
mod emit;
mod line;
mod lines;
mod payload;
mod second;
mod survey;
mod units;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dbn::Schema;

use super::facts::Facts;
use super::raw::{Oddity, RawFile};
use super::writer::{DbnWriter, FileInfo};
use crate::hot::grid::OffGrid;
use crate::{Error, Result};
use lines::Lines;
use survey::Survey;

use line::Fault;

pub use line::Bad;

/// What records are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Ten best levels a side, and trades.
    #[default]
    Mbp10,
    /// Trades alone.
    Trades,
}

impl Kind {
    /// Every one.
    pub const ALL: [Kind; 2] = [Kind::Mbp10, Kind::Trades];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        ["mbp-10", "trades"][self as usize]
    }

    /// The records that are made, for `--help`.
    pub fn meaning(self) -> &'static str {
        ["Ten best levels a side, and trades", "Trades alone"][self as usize]
    }
}

/// `--size-unit` and `--tick-size`: `0.001` for every symbol, `BTCUSDT=0.001` for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatedUnit {
    symbol: Option<String>,
    /// In 1e-9.
    unit: u64,
}

impl FromStr for StatedUnit {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (symbol, unit) = text.split_once('=').map_or((None, text), |(symbol, unit)| (Some(symbol), unit));
        let unit =
            decimal::parse(unit).and_then(|unit| u64::try_from(unit).ok()).filter(|unit| (1..1 << 63).contains(unit));
        let unit = unit.ok_or_else(|| format!("\"{text}\" is no unit: write 0.001, or BTCUSDT=0.001"))?;
        Ok(Self { symbol: symbol.map(str::to_owned), unit })
    }
}

/// How a conversion is done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What records are made.
    pub kind: Kind,
    /// Size units, by flag.
    pub size_units: Vec<StatedUnit>,
    /// Tick sizes, by flag.
    pub tick_sizes: Vec<StatedUnit>,
    /// What is stated of symbols otherwise.
    pub facts: Facts,
    /// Find from the prices and sizes what nobody states.
    pub guess: bool,
    /// Round sizes that are no multiple of the unit, instead of refusing them.
    pub round_sizes: bool,
    /// Symbol, in capitals, of events that do not say theirs: a connection to one stream of spot's depth.
    pub symbol: Option<String>,
}

/// An instrument of the output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Instrument id.
    pub id: u32,
    /// Symbol.
    pub symbol: String,
    /// Smallest price step, as decimal text.
    pub tick_size: String,
    /// What a size of 1 stands for, as decimal text.
    pub size_unit: String,
    /// Which of the two were guessed.
    pub guessed: [bool; 2],
    /// Prices that are no multiple of the tick size.
    pub off_grid: OffGrid,
    /// Sizes that were rounded.
    pub rounded: u64,
    /// No diffs come, so each message of levels was taken for the whole book.
    pub wholes_alone: bool,
    /// Line from which the book is whole; `None` when it never is.
    pub whole_from_line: Option<u64>,
    /// Lines behind that one after which it is not.
    pub in_doubt: u64,
    /// Diffs that did not follow the one before, and the line of the first.
    pub breaks: Oddity,
}

/// What a conversion did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Events by name.
    pub events: BTreeMap<String, u64>,
    /// Records of the best levels.
    pub quotes: u64,
    /// Trade records.
    pub trades: u64,
    /// The instruments.
    pub units: Vec<Unit>,
    /// Lines left out, by reason; the place is a line number.
    pub skipped: BTreeMap<Bad, Oddity>,
    /// What was wrong with the first line of each reason.
    pub reasons: BTreeMap<Bad, String>,
    /// Unit of the capture's clock.
    pub clock_unit: &'static str,
    /// Events without a time of the exchange's; theirs is worked out from the capture's clock.
    pub untimed: u64,
    /// Untimed events whose given time is more than a second behind their capture, since one event was that far ahead
    /// of its own capture.
    pub ahead_of_capture: u64,
    /// Largest distance of such a time behind its capture, ns.
    pub ahead_of_capture_ns: u64,
    /// Events whose time is finer than milliseconds.
    pub fine_times: u64,
    /// Aggregated trades left out, since single ones are captured.
    pub aggregates: u64,
    /// Snapshots of no use when they came: the book was whole, or they are too old for it.
    pub unused_snapshots: u64,
    /// Events whose size is 0: nothing was traded.
    pub empty: u64,
    /// Records with an earlier ts_event than the one before.
    pub backwards: u64,
    /// Most that ts_recv was ahead of ts_event, in ns.
    pub ahead_ns: u64,
    /// Most that ts_recv was behind ts_event, in ns.
    pub behind_ns: u64,
}

/// What [`convert_file`] takes, for messages.
const WANTED: &str = "a raw capture of Binance streams, plain or gzip: local ns, a space and the JSON on each line";

/// Converts a capture to DBN at `output`. `done` grows to twice the bytes of the file.
///
/// # Errors
/// When the file cannot be read to its end or has no event, when a size is no multiple of its unit or too many of them,
/// and when the output cannot be written.
pub fn convert_file(input: &Path, output: &Path, options: &Options, done: &Arc<AtomicU64>) -> Result<Summary> {
    let file = RawFile::find(input, WANTED)?;
    let survey = Survey::read(&mut Lines::new(&file, file.open(done)?), options.symbol.as_deref())?;
    let (Some((start_ns, last_ns)), false) = (survey.times_ns, survey.symbols.is_empty()) else {
        return Err(nothing(&file, survey.fault.as_ref()));
    };
    let units = units::settle(&file, &survey.symbols, (start_ns, last_ns), options)?;
    let info = FileInfo {
        dataset: "BINANCE".to_owned(),
        schema: (options.kind == Kind::Trades).then_some(Schema::Trades),
        start_ns,
        end_ns: last_ns.saturating_add(1),
        instruments: survey
            .symbols
            .iter()
            .zip(&units)
            .zip(1..)
            .map(|((found, unit), id)| unit.listed(found, id))
            .collect(),
    };
    let mut writer = DbnWriter::create(output, &info)?;
    let mut lines = Lines::new(&file, file.open(done)?);
    let summary = second::Pass::new(&survey, &units, options).run(&mut lines, &mut writer)?;
    writer.finish()?;
    Ok(summary)
}

/// Refuses a file without any event, because of the first line that is none.
fn nothing(file: &RawFile, fault: Option<&(u64, Fault)>) -> Error {
    let Some((line, Fault { bad, what })) = fault else { return file.refused("has no line") };
    let mend = match bad {
        Bad::Nameless => "say whose it is with --symbol, as in --symbol BTCUSDT".to_owned(),
        _ => format!("give {WANTED}"),
    };
    let problem = format!("has no event of a known kind with a symbol; {what}");
    Error::input(format!("{}:{line}", file.path().display()), problem, mend)
}
