//! Input files of other formats than DBN: plain or gzip, told by their first bytes whatever they are called.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// First bytes of a gzip member.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const BUFFER_BYTES: usize = 1 << 16;

/// A file that can be opened again and again: a converter that must know every symbol before it writes reads twice.
#[derive(Clone, Debug)]
pub struct RawFile {
    path: PathBuf,
    /// What should be given instead, for messages.
    wanted: &'static str,
}

impl RawFile {
    /// Looks at the file; `wanted` says what should be given, for messages.
    ///
    /// # Errors
    /// When it is missing, empty, a folder, or a pipe or device, which could not be read twice.
    pub fn find(path: &Path, wanted: &'static str) -> Result<Self> {
        let refuse = |problem: String| Err(Error::input(path.display(), problem, format!("give {wanted}")));
        match std::fs::metadata(path) {
            Err(e) => refuse(format!("cannot be opened: {e}")),
            Ok(about) if about.is_dir() => refuse("is a directory".to_owned()),
            Ok(about) if !about.is_file() => refuse("is no regular file, and it has to be read twice".to_owned()),
            Ok(about) if about.len() == 0 => refuse("the file is empty".to_owned()),
            Ok(_) => Ok(Self { path: path.to_owned(), wanted }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content from the first byte on. `done` grows by the bytes of the file itself that have been read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, done: &Arc<AtomicU64>) -> Result<Box<dyn BufRead>> {
        let file = File::open(&self.path).map_err(|e| self.refused(format!("cannot be opened: {e}")))?;
        let counted = Counted { inner: file, done: Arc::clone(done) };
        let mut source = BufReader::with_capacity(BUFFER_BYTES, counted);
        let start = source.fill_buf().map_err(|e| self.refused(format!("cannot be read: {e}")))?;
        Ok(match start.starts_with(&GZIP_MAGIC) {
            true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(source))),
            false => Box::new(source),
        })
    }

    /// Refuses the file because of `problem`.
    pub fn refused(&self, problem: impl std::fmt::Display) -> Error {
        Error::input(self.path.display(), problem, format!("give {}", self.wanted))
    }

    /// Refuses it because reading failed after `good` (such as "byte 12 of its content"): a compressed file that breaks
    /// off is not converted in part. That a plain one does is for its format to tell.
    pub fn broken(&self, e: &io::Error, good: impl std::fmt::Display) -> Error {
        let problem = match e.kind() {
            io::ErrorKind::UnexpectedEof => format!("the compressed data ends in the middle, after {good}"),
            _ => format!("cannot be read on after {good}: {e}"),
        };
        Error::input(
            self.path.display(),
            problem,
            "fetch the file again: a compressed file that breaks off is not converted in part",
        )
    }
}

/// Passes bytes on and counts them for a progress bar.
struct Counted {
    inner: File,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Something odd in the input: how often, and where first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Oddity {
    /// How many.
    pub count: u64,
    /// Place of the first: a byte offset or a line number, as its owner says; 0 when there is none.
    pub first: u64,
}

impl Oddity {
    /// One more, at `place`.
    pub fn note(&mut self, place: u64) {
        if self.count == 0 {
            self.first = place;
        }
        self.count += 1;
    }
}
