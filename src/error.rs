//! What a person reads when something is refused: the thing, the problem with its value and place, and the mend.

use std::fmt::{self, Display};

use pillion_shm::text::{printable, printable_lines, shortened};

/// Most characters of a thing's name that are printed, and of a problem or mend: a value may be a file's longest line.
const MOST_OF_THING: usize = 300;
const MOST_OF_TEXT: usize = 1_000;

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or a failure, with the process exit code it stands for.
///
/// Printed, it has nothing in it that a terminal would obey, no more than some hundred characters of any value, and every
/// line but its first is indented: whatever stands in a file, it forges no line of ours.
#[derive(Clone, Debug)]
pub struct Error {
    /// File, key, region or device, with its name.
    pub thing: String,
    /// What is wrong with it: the value and the place.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
    /// Process exit code: [`Error::INPUT`] or [`Error::RUN`].
    pub exit_code: u8,
    /// Whether the command's own output says it already, so that a machine need not be told again.
    pub told: bool,
}

/// What a machine that asked for JSON reads: `{"error": {…}}` on one line.
#[derive(serde::Serialize)]
struct AsJson<'a> {
    error: Fields<'a>,
}

#[derive(serde::Serialize)]
struct Fields<'a> {
    thing: &'a str,
    problem: &'a str,
    mend: &'a str,
    exit_code: u8,
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |text: &str| printable_lines(&shortened(text, MOST_OF_TEXT)).replace('\n', "\n    ");
        let thing = shortened(&self.thing, MOST_OF_THING);
        write!(f, "{}: {}\n  mend: {}", printable(&thing), lines(&self.problem), lines(&self.mend))
    }
}

impl std::error::Error for Error {}

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
        let (thing, problem, mend) = (thing.to_string(), problem.to_string(), mend.to_string());
        Self { thing, problem, mend, exit_code, told: false }
    }

    /// The same, said already by what the command has printed.
    #[must_use]
    pub fn told(self) -> Self {
        Self { told: true, ..self }
    }

    /// One line of JSON: `{"error": {"thing", "problem", "mend", "exit_code"}}`.
    pub fn to_json(&self) -> String {
        let Self { thing, problem, mend, exit_code, .. } = self;
        let fields = Fields { thing, problem, mend, exit_code: *exit_code };
        serde_json::to_string(&AsJson { error: fields }).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn no_value_reaches_a_terminal_raw_or_whole() {
        let cell = format!("\u{1b}]0;pwn\u{7}\nOK lane es RUN{}", "x".repeat(2_000_000));
        let error = Error::input(format!("a\nb{cell}"), format!("holds {cell}"), format!("not {cell}"));
        let text = error.to_string();
        assert!(text.len() < 4_000, "{} bytes", text.len());
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
        let forged = text.lines().skip(1).find(|line| !line.starts_with("  "));
        assert_eq!(forged, None, "{text:?}");
        assert!(text.starts_with("a\\u000ab\\u001b]0;pwn"), "{text:?}");
    }
}
