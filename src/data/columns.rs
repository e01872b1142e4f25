//! A table as a Parquet file, row group by row group.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

/// Rows in memory until a row group is written.
const GROUP_ROWS: usize = 1 << 16;

/// A column's values since the last row group. `Option`s are null where they are `None`.
#[derive(Debug)]
pub enum Cells {
    /// UINT_16 or UINT_32, by the number of bits.
    Unsigned(u8, Vec<i32>),
    /// UINT_32.
    MaybeUnsigned(Vec<Option<u32>>),
    /// INT64.
    Long(Vec<i64>),
    /// INT64.
    MaybeLong(Vec<Option<i64>>),
    /// BOOLEAN.
    Flag(Vec<bool>),
    /// FLOAT.
    Float(Vec<f32>),
    /// UTF-8, one of a list, by its place there.
    Name(Arc<[ByteArray]>, Vec<u32>),
}

/// Empty cells of the columns that say which event a row is of: `ts_event`, `publisher_id`, `instrument_id`, `symbol` (one of
/// `symbols`), `sequence` and `record`.
pub fn event_cells(symbols: Arc<[ByteArray]>) -> [Cells; 6] {
    [
        Cells::Long(Vec::new()),
        Cells::Unsigned(16, Vec::new()),
        Cells::Unsigned(32, Vec::new()),
        Cells::Name(symbols, Vec::new()),
        Cells::Unsigned(32, Vec::new()),
        Cells::Long(Vec::new()),
    ]
}

/// A Parquet file being written.
pub struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    /// The columns, in the order of the schema: what writes a row puts a value on each.
    pub cells: Vec<Cells>,
    rows: usize,
}

impl<W: Write + Send> Table<W> {
    /// Writes the head of a file with these columns and key-value metadata.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, name: &str, columns: Vec<(String, Cells)>, facts: Vec<(String, String)>) -> io::Result<Self> {
        let facts = facts.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(io::Error::other)?))
            .set_key_value_metadata(Some(facts))
            .build();
        let schema = schema(name, &columns).map_err(io::Error::other)?;
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(io::Error::other)?;
        Ok(Self { writer, cells: columns.into_iter().map(|(_, cells)| cells).collect(), rows: 0 })
    }

    /// Every column has its value of the row.
    ///
    /// # Errors
    /// When a row group is full and cannot be written.
    pub fn end_row(&mut self) -> io::Result<()> {
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.group().map_err(io::Error::other) } else { Ok(()) }
    }

    /// Writes what is left and the foot, and gives the writer back.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.group().map_err(io::Error::other)?;
        self.writer.into_inner().map_err(io::Error::other)
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let mut group = self.writer.next_row_group()?;
        for cells in &mut self.cells {
            let missing = || ParquetError::General("more columns than the schema has".to_owned());
            cells.write(group.next_column()?.ok_or_else(missing)?)?;
        }
        group.close().map(drop)
    }
}

impl Cells {
    /// Writes the values and forgets them.
    fn write(&mut self, column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match self {
            Cells::Unsigned(_, values) => put::<Int32Type>(column, &std::mem::take(values), None),
            Cells::Long(values) => put::<Int64Type>(column, &std::mem::take(values), None),
            Cells::Flag(values) => put::<BoolType>(column, &std::mem::take(values), None),
            Cells::Float(values) => put::<FloatType>(column, &std::mem::take(values), None),
            Cells::MaybeUnsigned(values) => {
                let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                let values: Vec<i32> = values.drain(..).flatten().map(u32::cast_signed).collect();
                put::<Int32Type>(column, &values, Some(&there))
            }
            Cells::MaybeLong(values) => {
                let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                let values: Vec<i64> = values.drain(..).flatten().collect();
                put::<Int64Type>(column, &values, Some(&there))
            }
            Cells::Name(names, values) => {
                let values: Vec<ByteArray> = values.drain(..).map(|at| names[at as usize].clone()).collect();
                put::<ByteArrayType>(column, &values, None)
            }
        }
    }

    fn kind(&self) -> (Physical, Repetition, Option<LogicalType>) {
        const OPTIONAL: Repetition = Repetition::OPTIONAL;
        const REQUIRED: Repetition = Repetition::REQUIRED;
        let unsigned = |bits: u8| Some(LogicalType::integer(bits.cast_signed(), false));
        match self {
            Cells::Unsigned(bits, _) => (Physical::INT32, REQUIRED, unsigned(*bits)),
            Cells::MaybeUnsigned(_) => (Physical::INT32, OPTIONAL, unsigned(32)),
            Cells::Long(_) => (Physical::INT64, REQUIRED, None),
            Cells::MaybeLong(_) => (Physical::INT64, OPTIONAL, None),
            Cells::Flag(_) => (Physical::BOOLEAN, REQUIRED, None),
            Cells::Float(_) => (Physical::FLOAT, REQUIRED, None),
            Cells::Name(..) => (Physical::BYTE_ARRAY, REQUIRED, Some(LogicalType::String)),
        }
    }
}

fn put<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<(), ParquetError> {
    column.typed::<T>().write_batch(values, there, None)?;
    column.close()
}

fn schema(name: &str, columns: &[(String, Cells)]) -> Result<TypePtr, ParquetError> {
    let field = |(name, cells): &(String, Cells)| {
        let (physical, repetition, logical) = cells.kind();
        let field = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        field.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder(name).with_fields(fields).build().map(Arc::new)
}
