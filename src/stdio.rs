//! Standard output and standard error without the panic of `println!`: a closed pipe, a full disk or a missing
//! descriptor must not end a sidecar, nor turn a refusal's exit code into that of a bug.
//!
//! A write that fails is remembered and no later one is tried on that stream; [`finish`] says so once, at the end.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::error::{Error, Result};

/// Why standard output takes no more; none as long as it does.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard output, and nothing once a write has failed.
pub fn out(text: Arguments<'_>) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        let mut stdout = io::stdout().lock();
        *failed = stdout.write_fmt(text).and_then(|()| stdout.flush()).err();
    }
}

/// Writes to standard error. There is no place left to report its failure to.
pub fn err(text: Arguments<'_>) {
    drop(io::stderr().lock().write_fmt(text));
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
