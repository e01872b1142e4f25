//! Reading a .dbn or .dbn.zst file record by record, for what need not, or cannot, hold it whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dbn::Schema;
use dbn::decode::DbnMetadata;

use super::feed::{Source, broke_off, keep, mapped_symbols, open};
use crate::Result;

/// An open file. Records come in the layouts of DBN version 3 and only those types that [`super::load`] keeps.
pub struct Stream {
    path: PathBuf,
    source: Source,
    symbols: BTreeMap<u32, String>,
    records: u64,
    skipped: u64,
}

impl Stream {
    /// Opens the file and reads its metadata.
    ///
    /// # Errors
    /// When it cannot be opened, is no DBN, or of a schema that is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Stream> {
        let path = path.as_ref().to_owned();
        let source = open(&path)?;
        Ok(Stream { path, source, symbols: BTreeMap::new(), records: 0, skipped: 0 })
    }

    /// Appends the next record's words to `words`; false at the end of a whole file.
    ///
    /// # Errors
    /// When the file is corrupt or breaks off.
    pub fn next(&mut self, words: &mut Vec<u64>) -> Result<bool> {
        loop {
            let kept = match self.source.decode_ref() {
                Err(e) => Err(format!("corrupt: {e}")),
                Ok(Some(record)) => keep(record, words, &mut self.symbols),
                Ok(None) => match self.source.get_mut().broken() {
                    Some(problem) => Err(problem),
                    None => return Ok(false),
                },
            };
            match kept {
                Ok(Some(_)) => {
                    self.records += 1;
                    return Ok(true);
                }
                Ok(None) => self.skipped += 1,
                Err(problem) => return Err(broke_off(&self.path, &problem, self.records + self.skipped)),
            }
        }
    }

    /// Dataset code of the file.
    pub fn dataset(&self) -> &str {
        &self.source.metadata().dataset
    }

    /// The one schema of its records, if it names one.
    pub fn schema(&self) -> Option<Schema> {
        self.source.metadata().schema
    }

    /// Symbols by instrument id, as far as read: the metadata's, and those of mapping records.
    pub fn symbols(&self) -> BTreeMap<u32, String> {
        let mut symbols = self.symbols.clone();
        symbols.extend(mapped_symbols(self.source.metadata()));
        symbols
    }

    /// Records of types that are left out, as far as read.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}
