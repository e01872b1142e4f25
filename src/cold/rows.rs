//! Rows of features to a file: CSV, and Parquet where it is built in.

use std::io::{self, Write};

use super::offline::Event;
use crate::hot::features::FeatureSet;

/// Columns before the features.
pub const EVENT_COLUMNS: [&str; 7] =
    ["ts_event", "instrument_id", "sequence", "event", "bid_px_00", "ask_px_00", "warm"];

/// Where rows go.
pub trait Sink {
    /// Takes one row.
    fn row(&mut self, event: &Event, features: &[f32]) -> io::Result<()>;
}

/// CSV: numbers as the shortest text that reads back to the same bits, an absent price empty, warm as 0 or 1.
#[derive(Debug)]
pub struct CsvSink<W> {
    out: W,
}

impl<W: Write> CsvSink<W> {
    /// Writes the head row.
    pub fn new(mut out: W, set: &FeatureSet) -> io::Result<Self> {
        let names = EVENT_COLUMNS.into_iter().chain(set.names().iter().map(String::as_str));
        writeln!(out, "{}", names.collect::<Vec<_>>().join(","))?;
        Ok(Self { out })
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
        write!(out, "{},{},{},{}", event.ts_event, event.instrument_id, event.sequence, event.number)?;
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

#[cfg(feature = "parquet")]
pub use columns::ParquetSink;

#[cfg(feature = "parquet")]
mod columns {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parquet::basic::{Compression, Repetition, Type as Physical, ZstdLevel};
    use parquet::data_type::{BoolType, DataType, FloatType, Int32Type, Int64Type};
    use parquet::errors::ParquetError;
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::types::{Type, TypePtr};

    use super::{EVENT_COLUMNS, Sink};
    use crate::cold::offline::Event;
    use crate::hot::Trigger;
    use crate::hot::book::Level;
    use crate::hot::features::FeatureSet;

    /// Rows in memory until a row group is written.
    const GROUP_ROWS: usize = 1 << 16;

    /// Parquet with zstd: INT64 `ts_event`, `event`; INT32 `instrument_id`, `sequence` (the bits of the unsigned
    /// numbers); nullable INT64 prices in 1e-9; BOOLEAN `warm`; FLOAT features. Key-value metadata: `pillion.set`,
    /// `pillion.features_hash`, `pillion.features` (the canonical form), `pillion.trigger` and `pillion.input_blake3`.
    pub struct ParquetSink<W: Write + Send> {
        writer: SerializedFileWriter<W>,
        events: Vec<Event>,
        features: Vec<Vec<f32>>,
    }

    impl<W: Write + Send> ParquetSink<W> {
        /// Writes the head of the file.
        pub fn new(out: W, set: &FeatureSet, trigger: Trigger, input_blake3: &[u8; 32]) -> io::Result<Self> {
            let facts = [
                ("pillion.set", set.name().to_string()),
                ("pillion.features_hash", set.hash_hex()),
                ("pillion.features", set.canonical()),
                ("pillion.trigger", trigger.to_string()),
                ("pillion.input_blake3", blake3::Hash::from_bytes(*input_blake3).to_hex().to_string()),
            ];
            let facts = facts.into_iter().map(|(key, value)| KeyValue::new(key.to_string(), value)).collect();
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(io_error)?))
                .set_key_value_metadata(Some(facts))
                .build();
            let writer = SerializedFileWriter::new(out, schema(set).map_err(io_error)?, Arc::new(properties));
            Ok(Self { writer: writer.map_err(io_error)?, events: Vec::new(), features: vec![Vec::new(); set.len()] })
        }

        /// Writes what is left and the foot, and gives the writer back.
        pub fn finish(mut self) -> io::Result<W> {
            self.group().map_err(io_error)?;
            self.writer.into_inner().map_err(io_error)
        }

        fn group(&mut self) -> Result<(), ParquetError> {
            if self.events.is_empty() {
                return Ok(());
            }
            let mut group = self.writer.next_row_group()?;
            event_columns(&mut group, &self.events)?;
            for values in &mut self.features {
                column::<FloatType>(&mut group, values, None)?;
                values.clear();
            }
            self.events.clear();
            group.close().map(drop)
        }
    }

    impl<W: Write + Send> Sink for ParquetSink<W> {
        fn row(&mut self, event: &Event, features: &[f32]) -> io::Result<()> {
            self.events.push(*event);
            for (column, value) in self.features.iter_mut().zip(features) {
                column.push(*value);
            }
            if self.events.len() == GROUP_ROWS { self.group().map_err(io_error) } else { Ok(()) }
        }
    }

    fn schema(set: &FeatureSet) -> Result<TypePtr, ParquetError> {
        let physical = |name: &str| match name {
            "instrument_id" | "sequence" => (Physical::INT32, Repetition::REQUIRED),
            "bid_px_00" | "ask_px_00" => (Physical::INT64, Repetition::OPTIONAL),
            "warm" => (Physical::BOOLEAN, Repetition::REQUIRED),
            _ => (Physical::INT64, Repetition::REQUIRED),
        };
        let events = EVENT_COLUMNS.iter().map(|name| (*name, physical(name)));
        let features = set.names().iter().map(|name| (name.as_str(), (Physical::FLOAT, Repetition::REQUIRED)));
        let field = |(name, (physical, repetition)): (&str, _)| {
            Type::primitive_type_builder(name, physical).with_repetition(repetition).build().map(Arc::new)
        };
        let fields = events.chain(features).map(field).collect::<Result<Vec<_>, _>>()?;
        Type::group_type_builder("features").with_fields(fields).build().map(Arc::new)
    }

    fn event_columns<W: Write + Send>(
        group: &mut SerializedRowGroupWriter<'_, W>,
        events: &[Event],
    ) -> Result<(), ParquetError> {
        let int64 = |of: fn(&Event) -> u64| events.iter().map(|e| of(e) as i64).collect::<Vec<_>>();
        let int32 = |of: fn(&Event) -> u32| events.iter().map(|e| of(e) as i32).collect::<Vec<_>>();
        column::<Int64Type>(group, &int64(|e| e.ts_event), None)?;
        column::<Int32Type>(group, &int32(|e| e.instrument_id), None)?;
        column::<Int32Type>(group, &int32(|e| e.sequence), None)?;
        column::<Int64Type>(group, &int64(|e| e.number), None)?;
        let best: [fn(&Event) -> Option<Level>; 2] = [|e| e.bid, |e| e.ask];
        for of in best {
            let there: Vec<i16> = events.iter().map(|e| i16::from(of(e).is_some())).collect();
            let prices: Vec<i64> = events.iter().filter_map(of).map(|level| level.price).collect();
            column::<Int64Type>(group, &prices, Some(&there))?;
        }
        column::<BoolType>(group, &events.iter().map(|e| e.warm).collect::<Vec<_>>(), None)
    }

    fn column<T: DataType>(
        group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
        values: &[T::T],
        there: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("more columns than the schema has".to_string()));
        };
        column.typed::<T>().write_batch(values, there, None)?;
        column.close()
    }

    fn io_error(error: ParquetError) -> io::Error {
        io::Error::other(error)
    }
}
