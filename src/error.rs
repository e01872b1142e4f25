//! What a person reads when something is refused: the thing, the problem with its value and place, and the mend.

use std::fmt::Display;

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or a failure, with the process exit code it stands for.
#[derive(Debug, thiserror::Error)]
#[error("{thing}: {problem}\n  mend: {mend}")]
pub struct Error {
    /// File, key, region or device, with its name.
    pub thing: String,
    /// What is wrong with it: the value and the place.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
    /// Process exit code: [`Error::INPUT`] or [`Error::RUN`].
    pub exit_code: u8,
}

impl Error {
    /// Exit code: the run itself failed (a sidecar died, ticks were lost where none may be).
    pub const RUN: u8 = 1;
    /// Exit code: refused before doing anything (bad config, file, model or environment).
    pub const INPUT: u8 = 2;

    /// Refused input, configuration or environment (exit code 2).
    pub fn input(thing: impl Display, problem: impl Display, mend: impl Display) -> Self {
        Self::new(Self::INPUT, thing, problem, mend)
    }

    /// A run that started and failed (exit code 1).
    pub fn run(thing: impl Display, problem: impl Display, mend: impl Display) -> Self {
        Self::new(Self::RUN, thing, problem, mend)
    }

    fn new(exit_code: u8, thing: impl Display, problem: impl Display, mend: impl Display) -> Self {
        Self { thing: thing.to_string(), problem: problem.to_string(), mend: mend.to_string(), exit_code }
    }
}

impl From<pillion_shm::Error> for Error {
    fn from(e: pillion_shm::Error) -> Self {
        use pillion_shm::Error::{AnswerLost, NoAnswer, NoOwner};
        let text = e.to_string();
        let (problem, mend) = text.split_once("; mend: ").unwrap_or((&text, "see shm/README.md"));
        match e {
            // Something that ran has gone or does not answer.
            NoAnswer { .. } | NoOwner { .. } | AnswerLost { .. } => Self::run("shared memory", problem, mend),
            _ => Self::input("shared memory", problem, mend),
        }
    }
}
