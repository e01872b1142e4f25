//! Comma-separated numbers. A first line with a cell that is no number is the line of names, and so is one that counts 0, 1, 2
//! from 0, or 0 behind an empty cell: pandas heads columns without names so, with and without its index. An empty cell is a NaN.

use std::fs::File;
use std::path::Path;

use ::csv::{Reader, ReaderBuilder, StringRecord};

use super::{As, Head};
use crate::files::{self, BoundedLines};

/// Longest line: far more than the columns of any feature set.
const MOST_OF_LINE: u64 = files::MIB;

pub(super) struct Csv {
    reader: Reader<BoundedLines<File>>,
    record: StringRecord,
    /// The record holds a row that was read with the head.
    pending: bool,
    text: As,
    row: u64,
}

impl Csv {
    pub(super) fn open(path: &Path, text: As) -> Result<(Self, Head), String> {
        let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        let reader = ReaderBuilder::new().has_headers(false).from_reader(BoundedLines::new(file, MOST_OF_LINE));
        let mut csv = Self { reader, record: StringRecord::new(), pending: false, text, row: 0 };
        if !csv.read()? {
            return Err("is empty".into());
        }
        csv.pending = csv.record.iter().all(|cell| number(cell, As::Double).is_some()) && !counted(&csv.record);
        let first: Vec<String> = csv.record.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        let width = first.len();
        let (names, first) = if csv.pending { (None, Some(first)) } else { (Some(first), None) };
        Ok((csv, Head { names, first, width, ..Head::default() }))
    }

    /// The first line is no row but names: before the first piece only.
    pub(super) fn pass_first(&mut self) {
        self.pending = false;
    }

    fn read(&mut self) -> Result<bool, String> {
        self.reader.read_record(&mut self.record).map_err(|error| error.to_string())
    }

    pub(super) fn piece(&mut self, columns: &[usize], most: usize, into: &mut Vec<f64>) -> Result<(), String> {
        for _ in 0..most {
            if !std::mem::take(&mut self.pending) && !self.read()? {
                break;
            }
            for &column in columns {
                // The reader holds every record to the length of the first.
                let cell = self.record.get(column).unwrap_or_default();
                let value = number(cell, self.text);
                into.push(value.ok_or_else(|| format!("row {}: {cell:?} is no number", self.row))?);
            }
            self.row += 1;
        }
        Ok(())
    }
}

/// True for the first line that pandas writes over columns without names. A lone 0 may as well be a row.
fn counted(record: &StringRecord) -> bool {
    let cells: Vec<&str> = record.iter().map(|cell| cell.trim_start_matches('\u{feff}')).collect();
    let counts = |cells: &[&str]| !cells.is_empty() && cells.iter().enumerate().all(|(i, cell)| *cell == i.to_string());
    match cells[..] {
        ["", ref rest @ ..] => counts(rest),
        [_] => false,
        _ => counts(&cells),
    }
}

fn number(cell: &str, text: As) -> Option<f64> {
    match (cell.trim(), text) {
        ("", _) => Some(f64::NAN),
        (cell, As::Single) => cell.parse::<f32>().ok().map(f64::from),
        (cell, As::Double) => cell.parse().ok(),
    }
}
