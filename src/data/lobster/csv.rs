//! The rows of the two CSV files of a LOBSTER day.

use std::io::{BufRead, Read};

use pillion_shm::text::Shown;

use super::Kind;
use crate::hot::decode::Side;
use crate::{Error, Result};

/// One row of a message file.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub(super) after_midnight_ns: u64,
    /// The file's time is finer than that, and was rounded.
    pub(super) rounded: bool,
    pub(super) kind: Kind,
    pub(super) order_id: u64,
    pub(super) size: u32,
    /// In 1e-9.
    pub(super) price: i64,
    /// Of the resting order.
    pub(super) side: Side,
}

/// One row of an orderbook file: levels best first, absent ones left out.
#[derive(Clone, Debug, Default)]
pub struct BookRow {
    pub(super) sides: [Vec<(i64, u32)>; 2],
    levels: usize,
}

impl BookRow {
    /// Levels per side that the file has columns for.
    pub fn levels(&self) -> usize {
        self.levels
    }
}

/// The lines of a CSV file, with name and number for messages.
pub struct Lines<R> {
    reader: R,
    name: String,
    line: Vec<u8>,
    number: u64,
}

impl<R> Lines<R> {
    /// Name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<R: BufRead> Lines<R> {
    /// Reads from `reader`, and calls it `name` in errors.
    pub fn new(name: impl Into<String>, reader: R) -> Self {
        Self { reader, name: name.into(), line: Vec::new(), number: 0 }
    }

    /// Error about the column (counted from 1) of the current line that should hold `what`.
    pub(super) fn wrong(&self, column: usize, what: &str) -> Error {
        let value = self.line.split(|&b| b == b',').nth(column - 1).map(String::from_utf8_lossy);
        let problem = match value {
            Some(value) => format!("column {column} is \"{}\", which is not a {what}", Shown(value.trim())),
            None => format!("column {column} is missing; it should hold a {what}"),
        };
        Error::input(format!("{}:{}", self.name, self.number), problem, "repair the line or fetch the file again")
    }

    fn next(&mut self) -> Result<bool> {
        self.line.clear();
        self.number += 1;
        let read = self.reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.line).map_err(|e| {
            let good = self.number - 1;
            let problem = format!("cannot be read on: {e}; {good} rows before that are good");
            Error::input(format!("{}:{}", self.name, self.number), problem, "fetch the file again")
        })?;
        if read as u64 > MAX_LINE {
            let problem = format!("is longer than {MAX_LINE} bytes");
            return Err(Error::input(format!("{}:{}", self.name, self.number), problem, "fetch the file again"));
        }
        while self.line.last().is_some_and(|b| b.is_ascii_whitespace()) {
            self.line.pop();
        }
        Ok(read > 0)
    }

    /// The next message, or `None` at the end of the file.
    pub(super) fn message(&mut self) -> Result<Option<Message>> {
        if !self.next()? {
            return Ok(None);
        }
        let mut fields = self.line.split(|&b| b == b',');
        let mut field = || fields.next().unwrap_or(b"");
        let (time, kind, id, size, price, side) = (field(), field(), field(), field(), field(), field());
        let (after_midnight_ns, rounded) =
            seconds(time).ok_or_else(|| self.wrong(1, "time in seconds after midnight"))?;
        let price = integer(price).ok_or_else(|| self.wrong(5, "price in 0.0001"))?;
        let kind = kind_of(kind, price).ok_or_else(|| self.wrong(2, "message type of 1 to 7"))?;
        let order_id = integer(id).and_then(|id| match u64::try_from(id) {
            // Crosses say which one they are of: -1 the opening's, to -4.
            Err(_) => kind.only_tells().then_some(0),
            own => own.ok(),
        });
        let order_id = order_id.ok_or_else(|| self.wrong(3, "order id"))?;
        let size = integer(size).and_then(|size| u32::try_from(size).ok()).filter(|&size| size < u32::MAX);
        let size = size.ok_or_else(|| self.wrong(4, "number of shares"))?;
        let side = match side {
            b"1" => Side::Bid,
            b"-1" => Side::Ask,
            b"0" if kind.only_tells() => Side::None,
            _ => return Err(self.wrong(6, "direction of 1 or -1")),
        };
        let price = price.checked_mul(PRICE_SCALE).filter(|&p| p != i64::MAX).ok_or_else(|| self.wrong(5, "price"))?;
        if !matches!(kind, Kind::Cross | Kind::Halt | Kind::Quoting | Kind::Resume) && size == 0 {
            return Err(self.wrong(4, "number of shares of at least 1"));
        }
        Ok(Some(Message { after_midnight_ns, rounded, kind, order_id, size, price, side }))
    }

    /// Reads to the end and tells whether any message is about trading status.
    pub(super) fn any_status(&mut self) -> Result<bool> {
        while self.next()? {
            if self.line.split(|&b| b == b',').nth(1) == Some(b"7") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the next row into `row`; false at the end of the file.
    pub(super) fn row(&mut self, row: &mut BookRow) -> Result<bool> {
        if !self.next()? {
            return Ok(false);
        }
        row.sides.iter_mut().for_each(Vec::clear);
        let mut columns = 0;
        let mut price = 0;
        for (i, field) in self.line.split(|&b| b == b',').enumerate() {
            columns = i + 1;
            let value = integer(field).ok_or_else(|| self.wrong(i + 1, "price in 0.0001 or number of shares"))?;
            if i % 2 == 0 {
                price = value;
            } else if price.unsigned_abs() < ABSENT {
                let size = u32::try_from(value).ok().filter(|&size| size > 0 && size < u32::MAX);
                let size = size.ok_or_else(|| self.wrong(i + 1, "number of shares of at least 1"))?;
                let side = if i % 4 == 1 { Side::Ask } else { Side::Bid };
                row.sides[side as usize].push((price * PRICE_SCALE, size));
            }
        }
        if columns % 4 != 0 || (row.levels != 0 && columns != row.levels * 4) {
            let expected = if row.levels == 0 { "a multiple of 4".to_owned() } else { (row.levels * 4).to_string() };
            let problem = format!("has {columns} columns where {expected} are expected");
            return Err(Error::input(format!("{}:{}", self.name, self.number), problem, "fetch the file again"));
        }
        row.levels = columns / 4;
        let [bids, asks] = &row.sides;
        if !bids.windows(2).all(|w| w[1].0 < w[0].0) || !asks.windows(2).all(|w| w[1].0 > w[0].0) {
            let at = format!("{}:{}", self.name, self.number);
            return Err(Error::input(at, "has price levels that are not best first", "fetch the file again"));
        }
        Ok(true)
    }
}

/// Longest line in bytes: a row of 10,000 levels is shorter.
const MAX_LINE: u64 = 1 << 20;
/// LOBSTER prices are in 1e-4, DBN's in 1e-9.
const PRICE_SCALE: i64 = 100_000;
/// Absolute price of a level that is not there.
const ABSENT: u64 = 9_999_999_999;

fn kind_of(field: &[u8], price: i64) -> Option<Kind> {
    Some(match field {
        b"1" => Kind::Add,
        b"2" => Kind::Reduce,
        b"3" => Kind::Delete,
        b"4" => Kind::Execute,
        b"5" => Kind::ExecuteHidden,
        b"6" => Kind::Cross,
        b"7" => match price {
            -1 => Kind::Halt,
            0 => Kind::Quoting,
            1 => Kind::Resume,
            _ => return None,
        },
        _ => return None,
    })
}

fn integer(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// Seconds, in ns, and whether that had to be rounded: a file that has been through floats may have more than nine
/// decimals, of which the nearest ns is meant. Never through a float here: 34200.015105074 has no f64.
fn seconds(field: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(field).ok()?.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let (kept, finer) = decimals.split_at(decimals.len().min(9));
    let ns = if kept.is_empty() { 0 } else { kept.parse::<u64>().ok()? * 10u64.pow(9 - kept.len() as u32) };
    let up = u64::from(finer.as_bytes().first().is_some_and(|&digit| digit >= b'5'));
    let whole = whole.parse::<u64>().ok().filter(|&s| s < 86_400)?;
    Some((whole * 1_000_000_000 + ns + up, finer.bytes().any(|digit| digit != b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        for (text, ns, rounded) in [
            ("34200.015105074", 34_200_015_105_074, false),
            ("34200.05990197", 34_200_059_901_970, false),
            ("34200", 34_200_000_000_000, false),
            ("34200.", 34_200_000_000_000, false),
            ("34200.0151050740", 34_200_015_105_074, false),
            ("34200.015105073996", 34_200_015_105_074, true),
            ("43002.632812672004", 43_002_632_812_672, true),
            ("1.0000000001", 1_000_000_000, true),
            ("1.0000000005", 1_000_000_001, true),
            ("34200.99999999999999", 34_201_000_000_000, true),
        ] {
            assert_eq!(seconds(text.as_bytes()), Some((ns, rounded)), "{text}");
        }
        for bad in [&b""[..], b"-1", b".", b".5", b"1e4", b"3.42e4", b"NaN", b"1.2.3", b"1. 5", b"86400"] {
            assert_eq!(seconds(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
