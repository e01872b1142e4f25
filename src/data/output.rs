//! Output files that appear under their name only when they are whole; and what is no such file: standard output, a pipe, a
//! device, which are written in place.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::unnamed::Unnamed;
use crate::{Error, Result, stdio};

/// The kernel's error for opening a pipe without a reader.
const NO_READER: i32 = Errno::NXIO.raw_os_error();

/// Longest wait for a pipe's reader: one script may start both ends.
const READER_COMES: Duration = Duration::from_secs(2);

/// What stands for standard output.
pub const STDOUT: &str = "-";

/// A buffered output. A regular file is written beside its target and renamed over it by [`OutputFile::commit`]; dropped
/// before that, it leaves nothing behind. Standard output (`-`), a pipe or a device is written as it is: it never gets
/// another file's name, and what was written is written.
#[derive(Debug)]
pub struct OutputFile {
    writer: BufWriter<Sink>,
    target: PathBuf,
}

#[derive(Debug)]
enum Sink {
    /// Gets the name of the path when it is whole.
    Beside(Unnamed, PathBuf),
    /// A pipe or a device.
    InPlace(File),
    /// Standard output; none once its reader has seen enough.
    Stdout(Option<File>),
}

/// Whether an output named so is no file that appears whole, but is written in place.
pub fn is_stream(target: &Path) -> bool {
    matches!(place_of(target), Ok(Place::Stdout | Place::Stream))
}

/// What a name stands for.
enum Place {
    Stdout,
    /// A pipe or a device, or a file by a descriptor's name.
    Stream,
    /// A regular file, or none yet, of this name without links.
    File(PathBuf),
}

impl OutputFile {
    /// Opens the temporary file, or the pipe or device; refuses a target that could not be written in the end.
    ///
    /// # Errors
    /// A directory, socket, block device or link that leads nowhere; a folder that cannot be written; standard output that
    /// another output has taken.
    pub fn create(target: impl AsRef<Path>) -> Result<Self> {
        let target = target.as_ref();
        let cannot = |e: io::Error, mend: &str| Error::input(shown(target), format!("cannot be written: {e}"), mend);
        let sink = match place_of(target)? {
            Place::Stdout => {
                Sink::Stdout(Some(stdio::take().map_err(|e| cannot(e, "write one output there, and keep it open"))?))
            }
            Place::Stream => Sink::InPlace(in_place(target).map_err(|e| match e.raw_os_error() {
                Some(NO_READER) => {
                    let problem = "is a pipe that nobody reads";
                    Error::input(target.display(), problem, "start its reader first, or name a file")
                }
                _ => cannot(e, "name a file, or something that this user may write"),
            })?),
            Place::File(path) => Sink::Beside(beside(target, &path)?, path),
        };
        Ok(Self { writer: BufWriter::with_capacity(1 << 16, sink), target: target.to_owned() })
    }

    /// True for standard output, a pipe or a device, which are written in place and once.
    pub fn is_stream(&self) -> bool {
        !matches!(self.writer.get_ref(), Sink::Beside(..))
    }

    /// The name that the file will get, as it was given.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Flushes, syncs and renames: from here on the file is there under its name, whole.
    ///
    /// # Errors
    /// It could not be written; a regular file then leaves nothing behind.
    pub fn commit(self) -> Result<()> {
        let target = self.target;
        let failed = |e: io::Error| write_failed(&target, e);
        match self.writer.into_inner().map_err(|e| failed(e.into_error()))? {
            Sink::Beside(file, path) => {
                file.as_file().sync_data().map_err(failed)?;
                file.persist(&path).map_err(failed)?;
            }
            // A pipe or a device has nothing to sync.
            Sink::InPlace(_) | Sink::Stdout(_) => {}
        }
        Ok(())
    }
}

/// A pipe or a device. A pipe's reader may come a moment later, but is not waited for without end.
fn in_place(target: &Path) -> io::Result<File> {
    let start = Instant::now();
    // At the end of a file that a descriptor stands for: whatever else writes there keeps what it has written.
    let open = || OpenOptions::new().append(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(target);
    let file = loop {
        match open() {
            Err(e) if e.raw_os_error() == Some(NO_READER) && start.elapsed() < READER_COMES => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => break opened?,
        }
    };
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// A temporary file in the folder of `path`; `target` is its name for messages.
fn beside(target: &Path, path: &Path) -> Result<Unnamed> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Unnamed::in_folder(folder).map_err(|e| {
        let mend = format!("name a file in a folder that can be written, not in {}", folder.display());
        Error::input(target.display(), format!("cannot be written: {e}"), mend)
    })
}

fn place_of(target: &Path) -> Result<Place> {
    let refused = |problem: &str, mend: &str| Err(Error::input(target.display(), problem, mend));
    if [STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| target == Path::new(name)) {
        return Ok(Place::Stdout);
    }
    if target.file_name().is_none() {
        return refused("is a directory", "give the name of a file to write");
    }
    let (link, found) = (std::fs::symlink_metadata(target), std::fs::metadata(target));
    let found = match found {
        Ok(found) => found,
        Err(_) if link.is_ok_and(|link| link.is_symlink()) => {
            return refused("is a link that leads nowhere", "remove the link, or name the file that it should lead to");
        }
        // None of this name yet, or a folder that cannot be searched: which of them shows when a file is made.
        Err(_) => return Ok(Place::File(target.to_owned())),
    };
    let kind = found.file_type();
    match () {
        () if kind.is_dir() => refused("is a directory", "give the name of a file to write"),
        () if kind.is_socket() => refused("is a socket", "give the name of a file, a pipe or a character device"),
        () if kind.is_block_device() => {
            refused("is a block device", "give the name of a file, a pipe or a character device")
        }
        () if kind.is_char_device() || kind.is_fifo() || is_descriptor(target) => Ok(Place::Stream),
        // A file beside the one that standard output goes to would take its name, and what is printed would be lost.
        () if is_stdout(&found) => Ok(Place::Stdout),
        // The file that a link leads to is written anew, and the link stays.
        () => Ok(Place::File(std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned()))),
    }
}

fn is_stdout(found: &Metadata) -> bool {
    let same = |out: rustix::fs::Stat| (out.st_dev, out.st_ino) == (found.dev(), found.ino());
    rustix::fs::fstat(io::stdout()).is_ok_and(same)
}

/// Whether the name is that of a descriptor of this process: `/dev/stderr`, `/dev/fd/3`.
fn is_descriptor(target: &Path) -> bool {
    let folders = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];
    let own = target.parent().is_some_and(|parent| folders.iter().any(|folder| parent == Path::new(folder)));
    own || target == Path::new("/dev/stderr")
}

/// A target's name for messages.
fn shown(target: &Path) -> String {
    if target == Path::new(STDOUT) { "standard output".to_owned() } else { target.display().to_string() }
}

/// The error of a write to `target` that failed under way.
pub fn write_failed(target: &Path, e: io::Error) -> Error {
    let left = if is_stream(target) { "what came before has been written" } else { "nothing is left under this name" };
    Error::run(shown(target), format!("writing failed: {e}; {left}"), "check space and permissions")
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Beside(file, _) => file.write(bytes),
            Sink::InPlace(file) => file.write(bytes),
            Sink::Stdout(None) => Ok(bytes.len()),
            Sink::Stdout(open) => match open.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes)) {
                // Whoever read it has seen enough, which is no failure of ours.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    *open = None;
                    Ok(bytes.len())
                }
                done => done,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
