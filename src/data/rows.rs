//! Rows of features to a file: CSV, and Parquet where it is built in.

use std::io::{self, Write};

use crate::data::Feed;
use crate::data::facts::used;
use crate::hot::features::FeatureSet;
use crate::hot::offline::Event;

/// Columns before the features.
pub const EVENT_COLUMNS: [&str; 10] = [
    "ts_event",
    "publisher_id",
    "instrument_id",
    "symbol",
    "sequence",
    "event",
    "record",
    "bid_px_00",
    "ask_px_00",
    "warm",
];

/// Where rows go.
pub trait Sink {
    /// Takes one row.
    fn row(&mut self, event: &Event, features: &[f32]) -> io::Result<()>;
}

/// CSV: numbers as the shortest text that reads back to the same bits, an absent price empty, warm as 0 or 1.
#[derive(Debug)]
pub struct CsvSink<W> {
    out: W,
    symbols: Vec<String>,
}

impl<W: Write> CsvSink<W> {
    /// Writes the head row.
    pub fn new(mut out: W, set: &FeatureSet, feed: &Feed) -> io::Result<Self> {
        let names = EVENT_COLUMNS.into_iter().chain(set.names().iter().map(String::as_str));
        writeln!(out, "{}", names.collect::<Vec<_>>().join(","))?;
        Ok(Self { out, symbols: feed.instruments.iter().map(|instrument| csv_text(&instrument.symbol)).collect() })
    }

    /// Flushes, and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn row(&mut self, event: &Event, features: &[f32]) -> io::Result<()> {
        let out = &mut self.out;
        let symbol = &self.symbols[event.instrument as usize];
        write!(out, "{},{},{},{symbol}", event.ts_event, event.publisher_id, event.instrument_id)?;
        write!(out, ",{},{},{}", event.sequence, event.number, event.record)?;
        for level in [event.bid, event.ask] {
            match level {
                Some(level) => write!(out, ",{}", level.price)?,
                None => write!(out, ",")?,
            }
        }
        write!(out, ",{}", u8::from(event.warm))?;
        for value in features {
            // Debug has exponents where Display would write dozens of zeros; both read back exactly.
            write!(out, ",{value:?}")?;
        }
        writeln!(out)
    }
}

/// A text as one cell of CSV: in quotes where it must be, control characters as spaces, so that a row is a line.
pub fn csv_text(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// What a table of a feed's rows says of where they come from: `pillion.version`, `pillion.input_blake3`, and
/// `pillion.instruments`, a JSON list of [`crate::data::facts::InstrumentUsed`].
pub fn facts(feed: &Feed) -> Vec<(String, String)> {
    let instruments = serde_json::to_string(&used(feed)).unwrap_or_default();
    let hash = blake3::Hash::from_bytes(feed.blake3).to_hex().to_string();
    let facts = [
        ("pillion.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("pillion.input_blake3", hash),
        ("pillion.instruments", instruments),
    ];
    facts.map(|(key, value)| (key.to_owned(), value)).into()
}

#[cfg(feature = "parquet")]
pub use with_parquet::ParquetSink;

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::io::{self, Write};

    use super::{EVENT_COLUMNS, Sink, facts};
    use crate::data::Feed;
    use crate::data::columns::{self, Cells, Table};
    use crate::hot::Trigger;
    use crate::hot::features::FeatureSet;
    use crate::hot::offline::Event;

    /// Parquet with zstd: INT64 `ts_event`, `event`, `record`; unsigned `publisher_id`, `instrument_id`, `sequence`; UTF-8
    /// `symbol`; nullable INT64 prices in 1e-9; BOOLEAN `warm`; FLOAT features. Key-value metadata: `pillion.set`,
    /// `pillion.features_hash`, `pillion.features` (the canonical form), `pillion.trigger` and those of [`facts`].
    pub struct ParquetSink<W: Write + Send> {
        table: Table<W>,
    }

    impl<W: Write + Send> ParquetSink<W> {
        /// Writes the head of the file.
        pub fn new(out: W, set: &FeatureSet, trigger: Trigger, feed: &Feed) -> io::Result<Self> {
            let symbols = feed.instruments.iter().map(|instrument| instrument.symbol.as_str().into()).collect();
            let state = [
                Cells::Long(Vec::new()),
                Cells::MaybeLong(Vec::new()),
                Cells::MaybeLong(Vec::new()),
                Cells::Flag(Vec::new()),
            ];
            let events = columns::event_cells(symbols).into_iter().chain(state);
            let events = EVENT_COLUMNS.iter().map(|name| (*name).to_owned()).zip(events);
            let features = set.names().iter().map(|name| (name.clone(), Cells::Float(Vec::new())));
            let own = [
                ("pillion.set", set.name().to_owned()),
                ("pillion.features_hash", set.hash_hex()),
                ("pillion.features", set.canonical()),
                ("pillion.trigger", trigger.to_string()),
            ];
            let own = own.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(facts(feed)).collect();
            Ok(Self { table: Table::new(out, "features", events.chain(features).collect(), own)? })
        }

        /// Writes what is left and the foot, and gives the writer back.
        pub fn finish(self) -> io::Result<W> {
            self.table.finish()
        }
    }

    impl<W: Write + Send> Sink for ParquetSink<W> {
        fn row(&mut self, event: &Event, features: &[f32]) -> io::Result<()> {
            for (at, cells) in self.table.cells.iter_mut().enumerate() {
                match (at, cells) {
                    (0, Cells::Long(cells)) => cells.push(event.ts_event.cast_signed()),
                    (1, Cells::Unsigned(_, cells)) => cells.push(event.publisher_id.into()),
                    (2, Cells::Unsigned(_, cells)) => cells.push(event.instrument_id.cast_signed()),
                    (3, Cells::Name(_, cells)) => cells.push(event.instrument),
                    (4, Cells::Unsigned(_, cells)) => cells.push(event.sequence.cast_signed()),
                    (5, Cells::Long(cells)) => cells.push(event.number.cast_signed()),
                    (6, Cells::Long(cells)) => cells.push(event.record.cast_signed()),
                    (7, Cells::MaybeLong(cells)) => cells.push(event.bid.map(|level| level.price)),
                    (8, Cells::MaybeLong(cells)) => cells.push(event.ask.map(|level| level.price)),
                    (9, Cells::Flag(cells)) => cells.push(event.warm),
                    (at, Cells::Float(cells)) => cells.push(features[at - EVENT_COLUMNS.len()]),
                    (at, cells) => unreachable!("column {at} holds {cells:?}"),
                }
            }
            self.table.end_row()
        }
    }
}
