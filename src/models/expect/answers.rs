//! The estimator's own answers from a file: a column for each value, by name or in order, a row for each row.

use std::path::{Path, PathBuf};

use super::super::table_in::{As, Table};
use crate::data::rows::EVENT_COLUMNS;
use crate::error::{Error, Result};
use crate::report::table::thousands;

const MEND: &str = "give the predictions of the library that trained the model, for exactly those rows and in their order: a \
                    column for each value (of a classifier of two classes np.column_stack([1 - p, p])), as Parquet, CSV or NPY";

/// An open file of them.
pub(super) struct Answers {
    path: PathBuf,
    table: Table,
    rows: u64,
    read: u64,
    /// Every line of it was read as a row.
    nameless: bool,
}

impl Answers {
    /// Opens it for `rows` rows of these values.
    ///
    /// # Errors
    /// Another number of rows or columns; a column of no numbers.
    pub(super) fn open(path: &Path, names: &[String], rows: u64) -> Result<Self> {
        let mut table = Table::open(path, As::Double)?;
        // Names of classes may be numbers, and a line of them looks like a row.
        if table.head().first.as_ref().is_some_and(|first| first.len() >= names.len() && holds(first, names)) {
            table.take_names();
        }
        let head = table.head();
        let columns = columns(head.names.as_deref(), head.width, names).map_err(|problem| bad(path, problem))?;
        if let Some(found) = head.rows.filter(|&found| found != rows) {
            return Err(bad(path, other_count(found, rows)));
        }
        let nameless = head.names.is_none();
        table.select(columns)?;
        Ok(Self { path: path.to_owned(), table, rows, read: 0, nameless })
    }

    /// Those to the next row.
    ///
    /// # Errors
    /// There are none left, or a cell is no number.
    pub(super) fn next(&mut self) -> Result<&[f64]> {
        self.read += 1;
        let (path, read, rows) = (&self.path, self.read - 1, self.rows);
        self.table.row()?.ok_or_else(|| bad(path, other_count(read, rows)))
    }

    /// The path, once there is no further row.
    ///
    /// # Errors
    /// There is one.
    pub(super) fn end(mut self) -> Result<PathBuf> {
        while self.table.row()?.is_some() {
            self.read += 1;
        }
        if self.read == self.rows {
            return Ok(self.path);
        }
        let problem = other_count(self.read, self.rows);
        if self.nameless && self.read == self.rows + 1 {
            let mend = "write the file without a line of names: to_csv(…, header=False, index=False); or name its columns as the \
                        values are";
            let problem = format!("{problem}; its first line holds numbers, and was read as a row");
            return Err(Error::input(self.path.display(), problem, mend));
        }
        Err(bad(&self.path, problem))
    }
}

fn holds(line: &[String], names: &[String]) -> bool {
    names.iter().all(|name| line.contains(name))
}

fn other_count(found: u64, rows: u64) -> String {
    format!("has {} rows of answers where there are {} rows to answer", thousands(found), thousands(rows))
}

fn bad(path: &Path, problem: String) -> Error {
    Error::input(path.display(), problem, MEND)
}

/// The column of each value.
fn columns(found: Option<&[String]>, width: usize, names: &[String]) -> std::result::Result<Vec<usize>, String> {
    let wanted = format!("the graph gives {} values: {}", names.len(), names.join(", "));
    let Some(found) = found else {
        return if width == names.len() {
            Ok((0..width).collect())
        } else {
            Err(format!("has {width} columns; {wanted}"))
        };
    };
    let by_name = names.iter().map(|name| found.iter().position(|other| other == name)).collect::<Option<Vec<_>>>();
    if let Some(columns) = by_name {
        return Ok(columns);
    }
    // Keys of the rows, and the index that pandas writes, are no answers.
    let key = |name: &str| {
        EVENT_COLUMNS.contains(&name) || ["", "publisher_id"].contains(&name) || name.starts_with("__index_level_")
    };
    let left: Vec<usize> = (0..width).filter(|&column| !key(&found[column])).collect();
    if left.len() == names.len() {
        return Ok(left);
    }
    let left: Vec<&str> = left.into_iter().take(20).map(|column| found[column].as_str()).collect();
    Err(format!("has the columns {}; {wanted}", left.join(", ")))
}
