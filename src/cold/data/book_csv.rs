//! A book as CSV: one row after each event, with Databento's column names.

use std::io::{self, Write};

use super::feed::Feed;
use super::limits;
use crate::Result;
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

/// Runs the whole feed through its books and writes a row of `levels` levels after each record with F_LAST.
///
/// The outer error is about the feed, the inner one about `out`.
pub fn write(feed: &Feed, levels: usize, out: &mut impl Write) -> Result<io::Result<Counts>> {
    let instruments = Instruments::new(&feed.instruments)?;
    let mut books: Vec<Book> = limits::needed(feed, &instruments).into_iter().map(Book::new).collect();
    let mut counts = Counts::default();
    let mut line = head(levels).into_bytes();
    for record in feed {
        let admitted = decode(record, &instruments).and_then(|tick| {
            let book = &mut books[tick.instrument as usize];
            book.admit(&tick).map(|()| (tick, book))
        });
        match admitted {
            Err(reject) => counts.rejects[reject.index()] += 1,
            Ok((tick, book)) => {
                counts.applied[book.apply(&tick).index()] += 1;
                if tick.is_last() {
                    counts.rows += 1;
                    counts.crossed += u64::from(crossed(book));
                    row(&mut line, &tick, instruments.get(tick.instrument).id, book, levels);
                }
            }
        }
        if line.len() >= 1 << 16 {
            if let Err(e) = out.write_all(&line) {
                return Ok(Err(e));
            }
            line.clear();
        }
    }
    Ok(out.write_all(&line).and_then(|()| out.flush()).map(|()| counts))
}

/// Whether the best bid is at or above the best ask.
pub fn crossed(book: &Book) -> bool {
    matches!((book.best(Side::Bid), book.best(Side::Ask)), (Some(bid), Some(ask)) if bid.price >= ask.price)
}

/// The head row, with its line end.
pub fn head(levels: usize) -> String {
    let mut head = "ts_event,instrument_id,sequence".to_owned();
    for i in 0..levels {
        for side in ["bid", "ask"] {
            head += &format!(",{side}_px_{i:02},{side}_sz_{i:02},{side}_ct_{i:02}");
        }
    }
    head + "\n"
}

/// Appends one row, with its line end: prices in 1e-9, absent levels empty.
pub fn row(line: &mut Vec<u8>, tick: &Tick, instrument_id: u32, book: &Book, levels: usize) {
    number(line, tick.ts_event);
    line.push(b',');
    number(line, instrument_id.into());
    line.push(b',');
    number(line, tick.sequence.into());
    for i in 0..levels {
        for side in Side::BOTH {
            level(line, book.level(side, i));
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
