//! Standard output and standard error without the panic of `println!`: a closed pipe, a full disk or a missing
//! descriptor must not end a sidecar, nor turn a refusal's exit code into that of a bug. A sidecar does not even wait for
//! whoever reads what it prints: see [`never_wait`].
//!
//! A write that fails is remembered and no later one is tried on standard output; [`finish`] says so once, at the end.
//!
//! What is printed for people holds names of other people's making. Whatever in it would steer a terminal is written as JSON
//! writes it, so that a line of JSON means the same as before. Once a product has [taken](take) standard output, words for people
//! go to standard error.

use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pillion_shm::text::printable_lines;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Error, Result};

/// Why standard output takes no more; none as long as it does.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);
/// Whether a write that would wait is left out.
static IMPATIENT: AtomicBool = AtomicBool::new(false);

/// A pipe that poll calls writable takes so many bytes without waiting.
const PIECE: usize = 4096;
/// How long an impatient write waits for its reader, ms.
const PATIENCE_MS: i64 = 50;

/// From now on, what is printed is left out where its reader does not take it: a pipe that is full because nobody reads it,
/// or a terminal that was stopped. For sidecars, whose cold side must not stand still.
pub fn never_wait() {
    IMPATIENT.store(true, Ordering::Relaxed);
}

/// Whether standard output belongs to a product alone.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Standard output for one product, `-o -`: from here on [`out`] writes to standard error.
///
/// # Errors
/// It is taken already, or it is closed.
pub fn take() -> io::Result<File> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("it is taken by another output"));
    }
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Where a child's standard output goes that speaks to people: where ours does.
#[must_use]
pub fn for_people() -> Stdio {
    let taken = TAKEN.load(Ordering::Relaxed);
    let stderr = if taken { io::stderr().as_fd().try_clone_to_owned().ok() } else { None };
    stderr.map_or_else(if taken { Stdio::null } else { Stdio::inherit }, Stdio::from)
}

/// A text without what steers a terminal.
fn plain(text: Arguments<'_>) -> String {
    printable_lines(&text.to_string()).to_string()
}

/// Writes in one piece, so that lines of several processes do not mix; an impatient process leaves out what nobody takes.
fn write(to: &mut (impl Write + AsFd), text: &str) -> io::Result<()> {
    match IMPATIENT.load(Ordering::Relaxed) {
        true => in_pieces(to, text),
        false => to.write_all(text.as_bytes()).and_then(|()| to.flush()),
    }
}

/// Writes to standard output, and nothing once a write has failed.
pub fn out(text: Arguments<'_>) {
    if TAKEN.load(Ordering::Relaxed) {
        return err(text);
    }
    raw(&plain(text));
}

fn raw(text: &str) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write(&mut io::stdout().lock(), text).err();
    }
}

/// Clears a terminal's screen before the next look at what is watched.
pub fn clear_screen() {
    raw("\x1b[2J\x1b[H");
}

/// Writes to standard error. There is no place left to report its failure to.
pub fn err(text: Arguments<'_>) {
    let _ = write(&mut io::stderr().lock(), &plain(text));
}

/// Writes as long as the reader takes it, and leaves out the rest of a text whose reader does not.
fn in_pieces(to: &mut (impl Write + AsFd), text: &str) -> io::Result<()> {
    for piece in text.as_bytes().chunks(PIECE) {
        if !takes_more(to) {
            return Ok(());
        }
        to.write_all(piece)?;
        to.flush()?;
    }
    Ok(())
}

/// Whether a write of [`PIECE`] bytes returns at once. What poll cannot tell is left to the write.
fn takes_more(to: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(to, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 0, tv_nsec: PATIENCE_MS * 1_000_000 };
    !matches!(poll(&mut fds, Some(&patience)), Ok(0))
}

/// Whether standard output takes no more: a command that goes on for its sake may end.
pub fn is_closed() -> bool {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// The end of a command whose product is its standard output.
///
/// # Errors
/// It could not be written whole. A reader that closed its pipe has seen enough, which is no error.
pub fn finish() -> Result<()> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => written(Err(error)),
        None => Ok(()),
    }
}

/// How a write to standard output went that did not come through here.
///
/// # Errors
/// It failed, and not because its reader has seen enough.
pub fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::run(
            "standard output",
            format!("writing failed: {error}"),
            "write to a file on a disk with room",
        )),
        _ => Ok(()),
    }
}

/// `println!` that cannot panic; see [`stdio`](crate::stdio).
#[macro_export]
macro_rules! outln {
    () => { $crate::stdio::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::stdio::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// `print!` that cannot panic.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::stdio::out(format_args!($($text)*)) };
}

/// `eprintln!` that cannot panic.
#[macro_export]
macro_rules! errln {
    () => { $crate::stdio::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::stdio::err(format_args!("{}\n", format_args!($($text)*))) };
}

/// `eprint!` that cannot panic.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::stdio::err(format_args!($($text)*)) };
}
