//! Standard output and standard error without the panic of `println!`: a closed pipe, a full disk or a missing
//! descriptor must not end a sidecar, nor turn a refusal's exit code into that of a bug.
//!
//! A write that fails is remembered and no later one is tried on that stream; [`finish`] says so once, at the end.
//!
//! What is printed for people holds names of other people's making. Whatever in it would steer a terminal is written as JSON
//! writes it, so that a line of JSON means the same as before. Once a product has [taken](take) standard output, words for people
//! go to standard error.

use std::fmt::{self, Arguments, Write as _};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pillion_shm::text::printable_lines;

use crate::error::{Error, Result};

/// Why standard output takes no more; none as long as it does.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

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

/// Takes what steers a terminal out of a text on its way.
struct Plain<W>(W, io::Result<()>);

impl<W: Write> fmt::Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.1 = self.0.write_all(printable_lines(text).as_bytes());
        if self.1.is_ok() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn write_plain(to: impl Write, text: Arguments<'_>) -> io::Result<()> {
    let mut plain = Plain(to, Ok(()));
    match plain.write_fmt(text) {
        Ok(()) => plain.0.flush(),
        Err(_) => plain.1.and(Err(io::Error::other("a text could not be made"))),
    }
}

/// Writes to standard output, and nothing once a write has failed.
pub fn out(text: Arguments<'_>) {
    if TAKEN.load(Ordering::Relaxed) {
        return err(text);
    }
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = write_plain(io::stdout().lock(), text).err();
    }
}

/// Clears a terminal's screen before the next look at what is watched.
pub fn clear_screen() {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        let mut stdout = io::stdout().lock();
        *failed = stdout.write_all(b"\x1b[2J\x1b[H").and_then(|()| stdout.flush()).err();
    }
}

/// Writes to standard error. There is no place left to report its failure to.
pub fn err(text: Arguments<'_>) {
    drop(write_plain(io::stderr().lock(), text));
}

/// The end of a command whose product is its standard output.
///
/// # Errors
/// It could not be written whole. A reader that closed its pipe has seen enough, which is no error.
pub fn finish() -> Result<()> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::run(
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
