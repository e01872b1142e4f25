//! Tables of numbers from a file, row by row and in bounded memory: CSV, NPY, and Parquet where it is built in. What a file
//! is its first bytes say, not its name.

mod csv;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Rows in memory at a time.
const PIECE: usize = 4096;
const MEND: &str = "give a CSV, Parquet or NPY file of numbers, a row of the market in each of its rows";

/// An open table; [`Table::select`] says which of its columns rows are made of.
pub(super) struct Table {
    path: PathBuf,
    head: Head,
    source: Source,
    chosen: Vec<usize>,
    piece: Vec<f64>,
    at: usize,
}

/// What is known before the first row.
#[derive(Default)]
pub(super) struct Head {
    /// Names of the columns, where the file has them.
    pub(super) names: Option<Vec<String>>,
    /// Cells of the first line, where a text was read as one without names.
    pub(super) first: Option<Vec<String>>,
    /// Columns.
    pub(super) width: usize,
    /// Rows, where the file says so.
    pub(super) rows: Option<u64>,
    /// Key-value metadata.
    pub(super) facts: BTreeMap<String, String>,
}

enum Source {
    Csv(csv::Csv),
    Npy(npy::Npy),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Parquet>),
}

/// As what the text of a number is read; other files hold numbers already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// The nearest f32, exactly: a row that `pillion features` wrote.
    Single,
    /// The nearest f64.
    Double,
}

impl Table {
    /// Opens it and reads its head.
    ///
    /// # Errors
    /// No regular file; a kind that is not read; a head that contradicts itself.
    pub(super) fn open(path: &Path, text: As) -> Result<Self> {
        let bad = |problem: String| Error::input(path.display(), problem, MEND);
        let failed = |error: std::io::Error| bad(format!("cannot be read: {error}"));
        // It is read more than once: no pipe.
        let meta = std::fs::metadata(path).map_err(failed)?;
        if !meta.is_file() {
            return Err(bad("is no regular file".into()));
        }
        let mut magic = Vec::new();
        File::open(path).and_then(|file| file.take(8).read_to_end(&mut magic)).map_err(failed)?;
        let (source, head) = match &magic[..] {
            [b'P', b'A', b'R', b'1', ..] => parquet_of(path).map_err(bad)?,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
                let (source, head) = npy::Npy::open(path, meta.len()).map_err(bad)?;
                (Source::Npy(source), head)
            }
            [b'P', b'K', 3, 4, ..] => return Err(bad("is an archive (.npz or .zip)".into())),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => return Err(bad("is a Feather or Arrow file".into())),
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(bad("is compressed as a whole".into())),
            _ => {
                let (source, head) = csv::Csv::open(path, text).map_err(bad)?;
                (Source::Csv(source), head)
            }
        };
        let chosen = (0..head.width).collect();
        Ok(Self { path: path.to_owned(), head, source, chosen, piece: Vec::new(), at: 0 })
    }

    /// What stands before the rows.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Takes the first line for names, where [`Head::first`] has one. Before the first row only.
    pub(super) fn take_names(&mut self) {
        if let (Source::Csv(csv), Some(first)) = (&mut self.source, self.head.first.take()) {
            csv.pass_first();
            self.head.names = Some(first);
        }
    }

    /// Rows are these columns from now on, in this order. Before the first row only.
    ///
    /// # Errors
    /// A column that holds no numbers.
    pub(super) fn select(&mut self, columns: Vec<usize>) -> Result<()> {
        #[cfg(feature = "parquet")]
        if let Source::Parquet(parquet) = &self.source {
            columns.iter().try_for_each(|&column| parquet.numeric(column)).map_err(|problem| self.bad(problem))?;
        }
        self.chosen = columns;
        Ok(())
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// A cell that is no number; a file that cannot be read on.
    pub(super) fn row(&mut self) -> Result<Option<&[f64]>> {
        let width = self.chosen.len().max(1);
        if self.at == self.piece.len() {
            self.piece.clear();
            self.at = 0;
            let read = match &mut self.source {
                Source::Csv(csv) => csv.piece(&self.chosen, PIECE, &mut self.piece),
                Source::Npy(npy) => npy.piece(&self.chosen, PIECE, &mut self.piece),
                #[cfg(feature = "parquet")]
                Source::Parquet(parquet) => parquet.piece(&self.chosen, PIECE, &mut self.piece),
            };
            read.map_err(|problem| self.bad(problem))?;
            if self.piece.is_empty() {
                return Ok(None);
            }
        }
        let row = self.at..self.at + width;
        self.at = row.end;
        Ok(Some(&self.piece[row]))
    }

    fn bad(&self, problem: String) -> Error {
        Error::input(self.path.display(), problem, MEND)
    }
}

#[cfg(feature = "parquet")]
fn parquet_of(path: &Path) -> std::result::Result<(Source, Head), String> {
    let (source, head) = parquet::Parquet::open(path)?;
    Ok((Source::Parquet(Box::new(source)), head))
}

#[cfg(not(feature = "parquet"))]
fn parquet_of(_: &Path) -> std::result::Result<(Source, Head), String> {
    Err("is Parquet, which this build does not read: build with --features parquet".into())
}

#[cfg(test)]
mod tests;
