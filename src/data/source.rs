//! The readers below the DBN decoder: one hashes the file's bytes, one watches where records end.

use std::io::{self, Read};

/// Passes bytes on and hashes them.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Hashing<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// Reads what the decoder left and returns the hash of the whole file.
    pub fn finish(&mut self) -> io::Result<[u8; 32]> {
        io::copy(self, &mut io::sink())?;
        Ok(*self.hasher.finalize().as_bytes())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Where in a DBN stream the next byte belongs.
#[derive(Clone, Copy)]
enum At {
    /// In the first 8 bytes: magic, version and the length of the metadata.
    Prelude { have: usize, bytes: [u8; 8] },
    /// In a record or the metadata, with this many bytes to come.
    Inside { left: usize },
    /// Between two records.
    Between,
    /// At a record that says it is this many bytes long, which none can be: nothing is passed on from here.
    Corrupt { length: usize },
    /// The metadata says that it is this many bytes long, which none is.
    Endless { length: usize },
}

/// Longest metadata that is read, in bytes: some 200,000 symbol mappings. The decoder makes room for as much as the first
/// bytes say, up to 4 GiB, before it looks for them.
const MAX_METADATA_BYTES: usize = 1 << 26;

/// Length of a record's header in bytes; a record is no shorter, and a multiple of 8.
const HEADER_BYTES: usize = 16;

/// Passes a DBN stream on and knows whether it ended between two records. The `dbn` decoder takes the end of the file
/// anywhere, and a cut compressed frame, for a normal end; a truncated file must not pass for a whole one. It also
/// trusts that records are aligned, so one whose length is impossible stops here.
pub(super) struct Boundaries<R> {
    inner: R,
    at: At,
    version: u8,
    failure: Option<io::Error>,
}

impl<R: Read> Boundaries<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, at: At::Prelude { have: 0, bytes: [0; 8] }, version: 0, failure: None }
    }

    /// What was wrong with the end of the stream, if anything.
    pub fn broken(&mut self) -> Option<String> {
        if let Some(failure) = self.failure.take() {
            return Some(match failure.kind() {
                io::ErrorKind::UnexpectedEof => "the compressed data ends in the middle of a frame".to_owned(),
                _ => format!("the data cannot be read on: {failure}"),
            });
        }
        match self.at {
            At::Between => None,
            At::Prelude { .. } => Some("the file ends inside its metadata".to_owned()),
            At::Corrupt { length } => Some(format!("corrupt: a record says that it is {length} bytes long")),
            At::Endless { length } => Some(endless(length)),
            At::Inside { left } => Some(format!("the file ends in the middle of a record, {left} bytes short")),
        }
    }

    /// The version that the stream is written in, once its first bytes have passed.
    pub fn version(&self) -> u8 {
        self.version
    }

    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Goes through `bytes` and returns how many of them may be passed on.
    fn walk(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match &mut self.at {
                At::Prelude { have, bytes: prelude } => {
                    prelude[*have] = bytes[done];
                    *have += 1;
                    done += 1;
                    if *have == 8 {
                        self.version = prelude[3];
                        let length = u32::from_le_bytes([prelude[4], prelude[5], prelude[6], prelude[7]]) as usize;
                        self.at = if length > MAX_METADATA_BYTES { At::Endless { length } } else { inside(length) };
                    }
                }
                At::Inside { left } => {
                    let step = (bytes.len() - done).min(*left);
                    self.at = inside(*left - step);
                    done += step;
                }
                At::Between => {
                    let length = usize::from(bytes[done]) * 4;
                    if length < HEADER_BYTES || length % 8 != 0 {
                        self.at = At::Corrupt { length };
                        return done;
                    }
                    self.at = inside(length - 1);
                    done += 1;
                }
                At::Corrupt { .. } | At::Endless { .. } => return done,
            }
        }
        done
    }
}

fn endless(length: usize) -> String {
    format!("corrupt: the metadata says that it is {length} bytes long, at most {MAX_METADATA_BYTES} are read")
}

fn inside(left: usize) -> At {
    if left == 0 { At::Between } else { At::Inside { left } }
}

impl<R: Read> Read for Boundaries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(n) => match (self.walk(&buffer[..n]), self.at) {
                // Not as an end: the decoder has yet to be made, and would make room first.
                (_, At::Endless { length }) => Err(io::Error::new(io::ErrorKind::InvalidData, endless(length))),
                (passed, _) => Ok(passed),
            },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            // Told as an end, so that every whole record before the break is still decoded; `broken` tells the rest.
            Err(e) => {
                self.failure = Some(e);
                Ok(0)
            }
        }
    }
}
