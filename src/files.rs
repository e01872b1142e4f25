//! Small files that are read whole: none longer than it may be, and, where what stands in them decides what the process
//! does, none that somebody who does not count could have written.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use pillion_shm::trust::{Distrust, Trust};

use crate::error::Error;

/// One mebibyte, bytes.
pub const MIB: u64 = 1 << 20;
/// Most that a device other than a terminal may give: `/dev/zero` never ends.
const MOST_OF_DEVICE: u64 = MIB;

/// Why a file was not read.
#[derive(Debug)]
pub struct Unread {
    /// What is wrong with it.
    problem: String,
    /// What to do, where only this problem's mend helps.
    mend: Option<String>,
}

impl Unread {
    /// As a refusal of `thing`, with `mend` where the problem has none of its own.
    pub fn refuse(self, thing: impl Display, mend: impl Display) -> Error {
        let mend = self.mend.unwrap_or_else(|| mend.to_string());
        Error::input(thing, self.problem, mend)
    }

    fn plain(problem: impl Display) -> Self {
        Self { problem: problem.to_string(), mend: None }
    }

    fn cannot(error: &io::Error) -> Self {
        Self::plain(format_args!("cannot be read: {error}"))
    }
}

impl Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.mend {
            Some(mend) => write!(f, "{} ({mend})", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// [`Distrust`] of `path` or of what lies on the way to it.
pub fn distrusted(path: &Path, distrust: Distrust) -> Unread {
    match distrust {
        Distrust::Refused { path: at, found, mend } => {
            let of = if at == path { String::new() } else { format!("{} ", at.display()) };
            Unread { problem: format!("{of}is not trusted: {found}"), mend: Some(mend) }
        }
        Distrust::Io { source, .. } => Unread::cannot(&source),
        other => Unread::plain(other),
    }
}

/// The bytes of the file at `path`, at most `most` of them. Anybody may have written it.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let file = File::open(path).map_err(|error| Unread::cannot(&error))?;
    read_open(file, most)
}

/// The same of a file that only those who count may have written: see [`Trust`]. A pipe will do if it is one's own, as
/// `/dev/stdin` and `<(…)` are.
///
/// # Errors
/// Those of [`read`]; an owner or a mode that is not in order, of the file or of a directory on the way.
pub fn read_trusted(path: &Path, trust: &Trust, most: u64) -> Result<Vec<u8>, Unread> {
    let plain = std::fs::metadata(path).map_err(|error| Unread::cannot(&error))?;
    let file = if streams(&plain) { open_stream(path, &plain, trust)? } else { open_trusted(path, trust)? };
    read_open(file, most)
}

/// [`read_trusted`] as text.
///
/// # Errors
/// Those of [`read_trusted`]; bytes that are no UTF-8.
pub fn read_trusted_text(path: &Path, trust: &Trust, most: u64) -> Result<String, Unread> {
    let bytes = read_trusted(path, trust, most)?;
    String::from_utf8(bytes).map_err(|error| Unread::plain(format_args!("is no text: {}", error.utf8_error())))
}

/// Opens a regular file that only those who count may have written.
///
/// # Errors
/// It cannot be opened; an owner or a mode that is not in order.
pub fn open_trusted(path: &Path, trust: &Trust) -> Result<File, Unread> {
    trust.open(path).map_err(|distrust| distrusted(path, distrust))
}

/// What has no content of its own but passes on what somebody gives: a pipe, a terminal, another device.
fn streams(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_fifo() || kind.is_char_device()
}

/// A pipe without a name (whoever started this process gave it the descriptor) or a named one or a device.
fn open_stream(path: &Path, found: &Metadata, trust: &Trust) -> Result<File, Unread> {
    // One without a name leads nowhere, as `/proc/self/fd/0 -> pipe:[4711]` does.
    if path.canonicalize().is_ok() {
        trust.check_way(path).map_err(|distrust| distrusted(path, distrust))?;
    }
    // Before it is opened, which waits for somebody at the other end, and again for what was opened.
    check_stream(found, trust)?;
    let file = File::open(path).map_err(|error| Unread::cannot(&error))?;
    check_stream(&file.metadata().map_err(|error| Unread::cannot(&error))?, trust)?;
    Ok(file)
}

fn check_stream(metadata: &Metadata, trust: &Trust) -> Result<(), Unread> {
    let pipe = metadata.file_type().is_fifo();
    let what = if pipe { "a pipe" } else { "a device" };
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let problem = match () {
        () if !trust.counts(uid) => format!("is not trusted: it is {what} of uid {uid}"),
        // Writing to a device changes nothing of what it gives; a pipe gives what its writers write.
        () if pipe && mode & 0o022 != 0 => {
            format!("is not trusted: it is {what} of uid {uid} that others may write, mode {mode:04o}")
        }
        () => return Ok(()),
    };
    Err(Unread { problem, mend: Some("give it through a pipe of your own, or as a file of your own".to_owned()) })
}

/// The bytes of an open file, at most `most` of them.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read_open(file: File, most: u64) -> Result<Vec<u8>, Unread> {
    let metadata = file.metadata().map_err(|error| Unread::cannot(&error))?;
    let device = metadata.file_type().is_char_device() && !rustix::termios::isatty(&file);
    let most = if device { most.min(MOST_OF_DEVICE) } else { most };
    let too_long = |found: String| {
        let whose = if device { "a device" } else { "such a file" };
        Unread::plain(format_args!("{found}, and at most {most} of {whose} are read"))
    };
    if metadata.is_file() && metadata.len() > most {
        return Err(too_long(format!("has {} bytes", metadata.len())));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| Unread::cannot(&error))?;
    if bytes.len() as u64 > most { Err(too_long("has more bytes".into())) } else { Ok(bytes) }
}

/// Passes on a text whose lines are no longer than `most` bytes, for readers that would hold any line whole.
#[derive(Debug)]
pub struct BoundedLines<R> {
    inner: R,
    most: u64,
    /// Bytes since the last end of a line.
    since: u64,
}

impl<R: Read> BoundedLines<R> {
    /// Lines of `inner`.
    pub fn new(inner: R, most: u64) -> Self {
        Self { inner, most, since: 0 }
    }
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        for line in buffer[..read].split_inclusive(|&byte| byte == b'\n') {
            self.since += line.len() as u64;
            if self.since > self.most {
                return Err(io::Error::other(format!("a line is longer than {} bytes", self.most)));
            }
            if line.ends_with(b"\n") {
                self.since = 0;
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [b'x'; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [b'x'; 10]);
        assert!(read(&path, 9).unwrap_err().to_string().contains("has 10 bytes, and at most 9"));
        // What says it has no length may have any.
        let zero = read(Path::new("/dev/zero"), 1 << 40).unwrap_err().to_string();
        assert!(zero.contains("at most 1048576 of a device"), "{zero}");
        assert!(read(Path::new("/dev/null"), 9).unwrap().is_empty());
        assert!(read_trusted(Path::new("/dev/null"), &Trust::own(), 9).unwrap().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_not_read_on() {
        let text = |most: u64| {
            let mut text = String::new();
            BoundedLines::new(&b"four\nfive5\n"[..], most).read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(text(6).unwrap(), "four\nfive5\n");
        assert!(text(5).unwrap_err().to_string().contains("a line is longer than 5 bytes"));
    }
}
