//! Columns of a Parquet file, whoever wrote it: plain numbers and booleans, absent ones as NaN.

use std::fs::File;
use std::path::Path;

use ::parquet::basic::{ConvertedType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result as Read};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;

use super::Head;

pub(super) struct Parquet {
    file: SerializedFileReader<File>,
    /// The row group to open next.
    group: usize,
    /// The chosen columns of the open one.
    columns: Vec<Column>,
    /// Rows of it that are left.
    left: u64,
    /// Values of each column, until they stand row by row.
    values: Vec<f64>,
}

struct Column {
    reader: ColumnReader,
    optional: bool,
    unsigned: bool,
}

impl Parquet {
    pub(super) fn open(path: &Path) -> Result<(Self, Head), String> {
        let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        let file = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
        let meta = file.metadata().file_metadata();
        let names: Vec<String> = meta.schema_descr().columns().iter().map(|column| column.path().string()).collect();
        let facts = meta.key_value_metadata().into_iter().flatten();
        let facts = facts.filter_map(|fact| Some((fact.key.clone(), fact.value.clone()?))).collect();
        let head = Head {
            width: names.len(),
            names: Some(names),
            rows: u64::try_from(meta.num_rows()).ok(),
            facts,
            first: None,
        };
        Ok((Self { file, group: 0, columns: Vec::new(), left: 0, values: Vec::new() }, head))
    }

    /// Whether a column is one of numbers.
    pub(super) fn numeric(&self, column: usize) -> Result<(), String> {
        let column = self.file.metadata().file_metadata().schema_descr().column(column);
        let is = |what: &str| Err(format!("column `{}` is {what}, where numbers are taken", column.path().string()));
        if column.path().parts().len() > 1 || column.max_rep_level() > 0 {
            return is("nested");
        }
        if column.converted_type() == ConvertedType::DECIMAL {
            return is("decimal");
        }
        match column.physical_type() {
            Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE => Ok(()),
            other => is(&other.to_string()),
        }
    }

    pub(super) fn piece(&mut self, columns: &[usize], most: usize, into: &mut Vec<f64>) -> Result<(), String> {
        self.read(columns, most, into).map_err(|error| format!("cannot be read on: {error}"))
    }

    fn read(&mut self, columns: &[usize], most: usize, into: &mut Vec<f64>) -> Read<()> {
        while self.left == 0 {
            if self.group == self.file.num_row_groups() {
                return Ok(());
            }
            self.open_group(columns)?;
        }
        let (rows, width) = (self.left.min(most as u64) as usize, columns.len());
        into.resize(rows * width, 0.0);
        for (place, column) in self.columns.iter_mut().enumerate() {
            self.values.clear();
            column.read(rows, &mut self.values)?;
            self.values.iter().enumerate().for_each(|(row, &value)| into[row * width + place] = value);
        }
        self.left -= rows as u64;
        Ok(())
    }

    fn open_group(&mut self, columns: &[usize]) -> Read<()> {
        let group = self.file.get_row_group(self.group)?;
        let schema = self.file.metadata().file_metadata().schema_descr();
        let open = |&at: &usize| Ok(Column::of(group.get_column_reader(at)?, &schema.column(at)));
        self.columns = columns.iter().map(open).collect::<Read<_>>()?;
        self.left = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
        self.group += 1;
        Ok(())
    }
}

impl Column {
    fn of(reader: ColumnReader, column: &ColumnDescriptor) -> Self {
        use ConvertedType::{UINT_8, UINT_16, UINT_32, UINT_64};
        let unsigned = matches!(column.converted_type(), UINT_8 | UINT_16 | UINT_32 | UINT_64);
        Self { reader, optional: column.max_def_level() > 0, unsigned }
    }

    fn read(&mut self, rows: usize, into: &mut Vec<f64>) -> Read<()> {
        let (optional, unsigned) = (self.optional, self.unsigned);
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => values(reader, optional, rows, into, |x| f64::from(u8::from(*x))),
            ColumnReader::Int32ColumnReader(reader) if unsigned => {
                values(reader, optional, rows, into, |x| f64::from(*x as u32))
            }
            ColumnReader::Int32ColumnReader(reader) => values(reader, optional, rows, into, |x| f64::from(*x)),
            ColumnReader::Int64ColumnReader(reader) if unsigned => {
                values(reader, optional, rows, into, |x| *x as u64 as f64)
            }
            ColumnReader::Int64ColumnReader(reader) => values(reader, optional, rows, into, |x| *x as f64),
            ColumnReader::FloatColumnReader(reader) => values(reader, optional, rows, into, |x| f64::from(*x)),
            ColumnReader::DoubleColumnReader(reader) => values(reader, optional, rows, into, |x| *x),
            _ => Err(ParquetError::General("a column is not of numbers".into())),
        }
    }
}

/// The next `rows` values of a column.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    optional: bool,
    rows: usize,
    into: &mut Vec<f64>,
    value: impl Fn(&T::T) -> f64,
) -> Read<()> {
    let (mut there, mut found) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let levels = optional.then_some(&mut there);
        let (records, _, _) = reader.read_records(rows - read, levels, None, &mut found)?;
        if records == 0 {
            return Err(ParquetError::General("a column is shorter than its row group".into()));
        }
        read += records;
    }
    let mut found = found.iter().map(value);
    if optional {
        into.extend(there.iter().map(|&there| if there > 0 { found.next().unwrap_or(f64::NAN) } else { f64::NAN }));
    } else {
        into.extend(found);
    }
    if into.len() == rows {
        Ok(())
    } else {
        Err(ParquetError::General("a column has more or fewer values than rows".into()))
    }
}
