//! NASDAQ TotalView-ITCH 5.0 files → order-level DBN.
//!
//! Each message about orders or trades of a converted stock is one event; its records end with F_LAST. Instrument ids are
//! the file's own stock numbers (`stock locate`, which change from day to day).
//!
//! | message | records |
//! |---|---|
//! | R | `R`, the first time, before any order: the book is empty. Later ones none |
//! | H, h | a status record, and `N`: a stock trades when neither the trading action nor, on Nasdaq itself, an operational halt stops it |
//! | A, F | `A` |
//! | E, C | `T` (the aggressor's side), `F`, `C`; no `T` where a C is not printable, at the C's own price |
//! | X, D | `C` |
//! | U | `C` of the old order, `A` of the new one, which goes to the end of its level |
//! | P | `T`, with the aggressor's side until 13 July 2014; since then the file tells none |
//! | Q | `T` without a side; a cross of no shares is `N` |
//! | others | none; they are counted |
//!
//! A file that begins in the middle of a day refers to orders that it never told of. Such a message is passed on as an `N`
//! record with the order's number and, where the message says it, the quantity; the book that lacks the order is flagged
//! MAYBE_BAD_BOOK. An order that replaces one of them has no known side (a U does not repeat it), so it is an `N` too.
//! An execution of such orders is a `T` without a side, where the price is known.
//!
//! Definition records ahead of all others state each stock's tick size: 0.01 by the venue's rule (Rule 612 of Regulation NMS:
//! a cent at $1 and above), unless something else is stated for the symbol. Orders between two cents are counted: stocks
//! below $1 have finer steps, and stub quotes stand at any price.
//!
//! The file is read twice, first for the symbols: DBN's metadata comes first and names them. Keeping the records in memory
//! or on the disk until the end would cost gigabytes for a day; a second pass costs time.
//!
//! A compressed file that breaks off is not converted in part. A plain file may end inside a frame: all before it is
//! converted, and it is said.

mod frames;
mod message;
mod name;
mod orders;
mod survey;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dbn::Schema;

use super::calendar::Date;
use super::definition::Listed;
use super::emit::{Emitter, hidden_sides_told, nasdaq};
use super::facts::Facts;
use super::raw::{Oddity, RawFile};
use super::writer::{DbnWriter, FileInfo};
use crate::hot::grid::{Grid, OffGrid};
use crate::{Error, Result};
use frames::{Frame, Frames};
use orders::Orders;
use survey::{Survey, bytes_in};

pub use message::{Bad, TYPES};

/// What is converted, and of which day.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Day of the file, whose times count from midnight in New York; taken from the name when absent.
    pub date: Option<Date>,
    /// Symbols to convert; all when empty.
    pub symbols: Vec<String>,
    /// What is stated of symbols.
    pub facts: Facts,
}

/// What a conversion did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Messages of the file by type.
    pub types: BTreeMap<char, u64>,
    /// Events written: messages about the converted stocks that have records.
    pub events: u64,
    /// DBN records.
    pub records: u64,
    /// Stocks converted.
    pub instruments: u64,
    /// Stocks left out because the file has neither an order nor a trade of them.
    pub quiet: u64,
    /// Messages about orders that the file never told of: they rested before it began.
    pub unlisted: u64,
    /// Messages about orders that took the place of such ones, so that their side is not known.
    pub sideless: u64,
    /// New orders with the number of one that rests; they took its place.
    pub duplicates: u64,
    /// Messages that took more off an order than there was; what there was is gone.
    pub excess: u64,
    /// Messages of an earlier time than the one before.
    pub backwards: u64,
    /// Frames skipped, by reason; the place is the byte offset of the frame's length in the unpacked file.
    pub skipped: BTreeMap<Bad, Oddity>,
    /// Byte offset of the frame that the file ends in, if it does.
    pub cut: Option<u64>,
    /// Prices that are no multiple of the tick size that the output states for their stock.
    pub off_grid: OffGrid,
}

/// What [`convert_file`] takes, for messages.
const WANTED: &str = "a NASDAQ TotalView-ITCH 5.0 file, plain or gzip, with a two-byte length before each message";

/// Converts a file to DBN at `output`. `done` grows to twice the bytes of the file.
///
/// # Errors
/// When the file cannot be read to its end, holds nothing to convert, or names no day; and when the output cannot be written.
pub fn convert_file(input: &Path, output: &Path, options: &Options, done: &Arc<AtomicU64>) -> Result<Summary> {
    let file = RawFile::find(input, WANTED)?;
    let date = options.date.or_else(|| name::date(input)).ok_or_else(|| {
        Error::input(input.display(), "the name does not tell the date", "give it with --date, like --date 2019-12-30")
    })?;
    let survey = Survey::read(&file, &mut Frames::new(file.open(done)?))?;
    let chosen = survey.choose(&file, &options.symbols)?;
    let midnight_ns = date.new_york_midnight_ns();
    let noon_ns = midnight_ns + 43_200_000_000_000;
    let stock = |(symbol, id)| nasdaq(symbol, id, noon_ns, &options.facts).map(Listed::from);
    let listed = chosen.symbols.into_iter().map(stock).collect::<Result<Vec<_>>>()?;
    // By number, as `chosen.by_locate`.
    let mut grids = vec![Grid::new(0); 1 << 16];
    listed.iter().for_each(|l| grids[l.instrument.id as usize] = Grid::new(l.instrument.tick_size));
    let info = FileInfo {
        dataset: "XNAS.ITCH".to_owned(),
        schema: (!chosen.status).then_some(Schema::Mbo),
        start_ns: midnight_ns,
        end_ns: midnight_ns + 86_400_000_000_000,
        instruments: listed,
    };
    let mut writer = DbnWriter::create(output, &info)?;
    let (instruments, quiet) = (info.instruments.len() as u64, chosen.quiet);
    let mut frames = Frames::new(file.open(done)?);
    let orders = Orders::new(hidden_sides_told(date));
    let mut summary = events(&file, &mut frames, (&chosen.by_locate, &grids), orders, midnight_ns, &mut writer)?;
    (summary.instruments, summary.quiet, summary.records) = (instruments, quiet, writer.records());
    writer.finish()?;
    Ok(summary)
}

/// The second pass: writes the events of the chosen stocks and counts the rest.
fn events<R: BufRead>(
    file: &RawFile,
    frames: &mut Frames<R>,
    (chosen, grids): (&[bool], &[Grid]),
    mut orders: Orders,
    midnight_ns: u64,
    writer: &mut DbnWriter,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let (mut emitter, mut last_ns) = (Emitter::new(0, Grid::new(0)), 0);
    while let Some(frame) = frames.next().map_err(|e| file.broken(&e, bytes_in(frames.offset)))? {
        let message = match frame {
            Frame::Message(message) => message,
            Frame::Bad(bad) => {
                summary.skipped.entry(bad).or_default().note(frames.offset);
                continue;
            }
            Frame::Cut => {
                summary.cut = Some(frames.offset);
                break;
            }
        };
        *summary.types.entry(char::from(frames.kind())).or_default() += 1;
        summary.backwards += u64::from(message.time_ns < last_ns);
        last_ns = message.time_ns;
        if !chosen[usize::from(message.locate)] {
            continue;
        }
        emitter.begin(midnight_ns + message.time_ns, frames.number as u32);
        emitter.of(u32::from(message.locate), grids[usize::from(message.locate)]);
        if orders.step(&message, &mut emitter, &mut summary) {
            emitter.end(writer)?;
            summary.events += 1;
        }
    }
    summary.off_grid = emitter.off_grid;
    Ok(summary)
}
