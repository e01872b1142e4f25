//! A book as CSV: one row after each event, with Databento's column names.

use std::io::{self, Write};

use super::feed::Feed;
use super::limits;
use crate::Result;
use crate::data::rows::csv_text;
use crate::hot::book::{Applied, Book, Level};
use crate::hot::decode::{Instruments, Reject, Side, Tick, decode};

/// What passed while the rows were written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Rows written, the head row not counted.
    pub rows: u64,
    /// Ticks by outcome, in the order of [`Applied::ALL`].
    pub applied: [u64; Applied::COUNT],
    /// Records refused by the decoder, in the order of [`Reject::ALL`].
    pub rejects: [u64; Reject::COUNT],
    /// Rows whose best bid is not below their best ask.
    pub crossed: u64,
}

impl Counts {
    /// Records refused by the decoder, of any kind.
    pub fn rejected(&self) -> u64 {
        self.rejects.iter().sum()
    }
}

/// The book after an event.
pub(super) struct Row<'a> {
    /// Its last record.
    pub tick: &'a Tick<'a>,
    /// Number of that record in the feed, from 0: what a signal of a replay has as `ring_seq`.
    pub record: u64,
    /// Place of the instrument in the feed's list.
    pub instrument: usize,
    /// The venue's number.
    pub id: u32,
    /// Its book.
    pub book: &'a Book,
}

/// Runs the whole feed through its books and gives `each` a row after each record with F_LAST.
///
/// The outer error is about the feed, the inner one `each`'s.
pub(super) fn pass(feed: &Feed, mut each: impl FnMut(&Row) -> io::Result<()>) -> Result<io::Result<Counts>> {
    let instruments = Instruments::new(&feed.instruments)?;
    let mut books: Vec<Book> = limits::needed(feed, &instruments).into_iter().map(Book::new).collect();
    let mut counts = Counts::default();
    for (record, words) in (0..).zip(feed) {
        let admitted = decode(words, &instruments).and_then(|tick| {
            let book = &mut books[tick.instrument as usize];
            book.admit(&tick).map(|()| (tick, book))
        });
        match admitted {
            Err(reject) => counts.rejects[reject.index()] += 1,
            Ok((tick, book)) => {
                let instrument = tick.instrument as usize;
                counts.applied[book.apply(&tick).index()] += 1;
                if tick.is_last() {
                    counts.rows += 1;
                    counts.crossed += u64::from(crossed(book));
                    let row = Row { tick: &tick, record, instrument, id: feed.identities[instrument].id, book };
                    if let Err(e) = each(&row) {
                        return Ok(Err(e));
                    }
                }
            }
        }
    }
    Ok(Ok(counts))
}

/// Runs the whole feed through its books and writes a row of `levels` levels after each record with F_LAST.
///
/// The outer error is about the feed, the inner one about `out`.
pub fn write(feed: &Feed, levels: usize, out: &mut impl Write) -> Result<io::Result<Counts>> {
    let mut line = head(levels).into_bytes();
    let symbols: Vec<_> = feed.instruments.iter().map(|instrument| csv_text(&instrument.symbol)).collect();
    let passed = pass(feed, |event| {
        row(&mut line, event, &symbols[event.instrument], levels);
        if line.len() >= 1 << 16 {
            out.write_all(&line)?;
            line.clear();
        }
        Ok(())
    })?;
    Ok(passed.and_then(|counts| out.write_all(&line).and_then(|()| out.flush()).map(|()| counts)))
}

/// Whether the best bid is at or above the best ask.
pub fn crossed(book: &Book) -> bool {
    matches!((book.best(Side::Bid), book.best(Side::Ask)), (Some(bid), Some(ask)) if bid.price >= ask.price)
}

/// Columns before those of the levels.
pub const EVENT_COLUMNS: [&str; 6] = ["ts_event", "publisher_id", "instrument_id", "symbol", "sequence", "record"];

/// Names of the levels' columns, best first: price, size and order count of the bid, then of the ask.
pub(super) fn level_columns(levels: usize) -> impl Iterator<Item = String> {
    let parts = ["bid_px", "bid_sz", "bid_ct", "ask_px", "ask_sz", "ask_ct"];
    (0..levels).flat_map(move |i| parts.map(|part| format!("{part}_{i:02}")))
}

/// The head row, with its line end.
pub fn head(levels: usize) -> String {
    let columns: Vec<_> = EVENT_COLUMNS.into_iter().map(str::to_owned).chain(level_columns(levels)).collect();
    columns.join(",") + "\n"
}

/// Appends one row, with its line end: prices in 1e-9, absent levels empty.
fn row(line: &mut Vec<u8>, row: &Row, symbol: &str, levels: usize) {
    number(line, row.tick.ts_event);
    for value in [row.tick.publisher.into(), row.id.into()] {
        line.push(b',');
        number(line, value);
    }
    line.push(b',');
    line.extend_from_slice(symbol.as_bytes());
    for value in [row.tick.sequence.into(), row.record] {
        line.push(b',');
        number(line, value);
    }
    for i in 0..levels {
        for side in Side::BOTH {
            level(line, row.book.level(side, i));
        }
    }
    line.push(b'\n');
}

fn level(line: &mut Vec<u8>, level: Option<Level>) {
    let Some(level) = level else { return line.extend_from_slice(b",,,") };
    line.push(b',');
    if level.price < 0 {
        line.push(b'-');
    }
    number(line, level.price.unsigned_abs());
    line.push(b',');
    number(line, level.size);
    line.push(b',');
    number(line, level.orders.into());
}

/// Decimal digits; `write!` would take most of the time of a whole day.
fn number(line: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}
