//! The lines of a capture, none of them endless.

use std::io::{BufRead, Read};

use super::super::raw::RawFile;
use crate::{Error, Result};

/// Longest line in bytes; a snapshot of 1,000 levels a side is 50 KB.
const MAX_LINE: u64 = 1 << 24;

pub(super) struct Lines<'a, R> {
    file: &'a RawFile,
    reader: R,
    line: Vec<u8>,
    /// Number of the line that was read last, from 1.
    pub number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub fn new(file: &'a RawFile, reader: R) -> Self {
        Self { file, reader, line: Vec::new(), number: 0 }
    }

    /// The next line without its end, or `None` after the last.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line);
        let read = read.map_err(|e| self.file.broken(&e, format!("{} lines", self.number)))?;
        self.number += 1;
        if read as u64 == MAX_LINE {
            return Err(self.wrong(format!("is longer than {MAX_LINE} bytes"), "give a capture with an event a line"));
        }
        Ok((read > 0).then(|| self.line.trim_ascii_end()))
    }

    /// Refuses the file because of the line that was read last.
    pub fn wrong(&self, problem: String, mend: impl std::fmt::Display) -> Error {
        Error::input(format!("{}:{}", self.file.path().display(), self.number), problem, mend)
    }
}
