//! Reading a .dbn or .dbn.zst file record by record, for what need not, or cannot, hold it whole.

use std::path::{Path, PathBuf};

use dbn::Schema;
use dbn::decode::DbnMetadata;

use super::feed::{Source, broke_off, keep, open};
use super::identity::{Identities, Identity};
use crate::Result;

/// An open file. Records come in the layouts of DBN version 3 and only those types that [`super::load`] keeps.
pub struct Stream {
    path: PathBuf,
    source: Source,
    who: Identities,
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
        let who = Identities::new(source.metadata());
        Ok(Stream { path, source, who, records: 0, skipped: 0 })
    }

    /// Appends the next record's words to `words`, and tells whose it is, as a place in [`Stream::identities`]; `None` at the
    /// end of a whole file.
    ///
    /// # Errors
    /// When the file is corrupt or breaks off.
    pub fn next(&mut self, words: &mut Vec<u64>) -> Result<Option<usize>> {
        let start = words.len();
        loop {
            let kept = match self.source.decode_ref() {
                Err(e) => Err(format!("corrupt: {e}")),
                Ok(Some(record)) => keep(record, words, &mut self.who),
                Ok(None) => match self.source.get_mut().broken() {
                    Some(problem) => Err(problem),
                    None => return Ok(None),
                },
            };
            match kept {
                Ok(Some(_)) => {
                    self.records += 1;
                    return Ok(Some(self.who.of(&words[start..])));
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

    /// The instruments that have had records so far, in the order of their first ones.
    pub fn identities(&self) -> &[Identity] {
        self.who.list()
    }

    /// Records of types that are left out, as far as read.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}
