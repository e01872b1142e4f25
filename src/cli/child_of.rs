//! `pillion child-of PID COMMAND…`, hidden: becomes the command, which then ends when its parent does.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::error::{Error, Result};

/// Arguments of `pillion child-of`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The parent
    parent: i32,
    /// What to become
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Becomes the command; returns only where that fails.
pub fn run(args: &Args) -> Result<()> {
    super::run::end_with(args.parent)?;
    let [program, rest @ ..] = args.command.as_slice() else { return Ok(()) };
    // The wish for a signal at the parent's death outlives exec (prctl(2)).
    let error = Command::new(program).args(rest).exec();
    Err(Error::input(program.display(), format!("cannot be executed: {error}"), "give the path of a built pillion"))
}
