//! A book as Parquet: the rows and columns of [`super::book_csv`].

use std::io::{self, Write};

use super::book_csv::{Counts, EVENT_COLUMNS, Row, level_columns, pass};
use super::feed::Feed;
use crate::Result;
use crate::data::columns::{self, Cells, Table};
use crate::data::rows::facts;
use crate::hot::decode::Side;

/// Runs the whole feed through its books and writes a row of `levels` levels after each record with F_LAST: ids, sequence and
/// order counts unsigned, prices INT64 in 1e-9, absent levels null. Key-value metadata are those of [`facts`].
///
/// The outer error is about the feed, the inner one about `out`.
pub fn write(feed: &Feed, levels: usize, out: &mut (impl Write + Send)) -> Result<io::Result<Counts>> {
    let mut table = match Table::new(out, "book", all_columns(feed, levels), facts(feed)) {
        Ok(table) => table,
        Err(error) => return Ok(Err(error)),
    };
    let passed = pass(feed, |event| {
        event_cells(event, &mut table.cells);
        level_cells(event, &mut table.cells[EVENT_COLUMNS.len()..]);
        table.end_row()
    })?;
    Ok(passed.and_then(|counts| table.finish().map(|_| counts)))
}

fn all_columns(feed: &Feed, levels: usize) -> Vec<(String, Cells)> {
    let symbols = feed.instruments.iter().map(|instrument| instrument.symbol.as_str().into()).collect();
    let events = columns::event_cells(symbols);
    let level = |name: String| {
        let count = name.contains("_ct_");
        (name, if count { Cells::MaybeUnsigned(Vec::new()) } else { Cells::MaybeLong(Vec::new()) })
    };
    EVENT_COLUMNS.iter().map(|name| (*name).to_owned()).zip(events).chain(level_columns(levels).map(level)).collect()
}

fn event_cells(row: &Row, cells: &mut [Cells]) {
    for (at, cells) in cells.iter_mut().enumerate().take(EVENT_COLUMNS.len()) {
        match (at, cells) {
            (0, Cells::Long(cells)) => cells.push(row.tick.ts_event.cast_signed()),
            (1, Cells::Unsigned(_, cells)) => cells.push(row.tick.publisher.into()),
            (2, Cells::Unsigned(_, cells)) => cells.push(row.id.cast_signed()),
            (3, Cells::Name(_, cells)) => cells.push(row.instrument as u32),
            (4, Cells::Unsigned(_, cells)) => cells.push(row.tick.sequence.cast_signed()),
            (5, Cells::Long(cells)) => cells.push(row.record.cast_signed()),
            (at, cells) => unreachable!("column {at} holds {cells:?}"),
        }
    }
}

fn level_cells(row: &Row, cells: &mut [Cells]) {
    for (at, cells) in cells.iter_mut().enumerate() {
        let level = row.book.level(Side::BOTH[at / 3 % 2], at / 6);
        match (at % 3, cells) {
            (0, Cells::MaybeLong(cells)) => cells.push(level.map(|level| level.price)),
            (1, Cells::MaybeLong(cells)) => cells.push(level.map(|level| level.size.cast_signed())),
            (2, Cells::MaybeUnsigned(cells)) => cells.push(level.map(|level| level.orders)),
            (at, cells) => unreachable!("column {at} of a level holds {cells:?}"),
        }
    }
}
