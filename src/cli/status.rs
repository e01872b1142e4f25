//! `pillion status`: what a lane is doing, read from its regions without disturbing it. Its exit code tells whether every lane
//! that was looked at is alive and well.

mod text;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::monitor::{Lanes, Look};

/// Exit codes, as `--help` prints them.
pub const EXIT_CODES: &str = "Exit codes:
  0    every lane shown is alive, in BOOT, RUN or HALT, and its heartbeat is younger than 5 s
  1    a lane is dead, has failed or stopped, or is silent, or one of several cannot be read: told on standard error;
       without LANE the page of a user who does not count is shown and decides nothing
  2    there is no lane of that name, or none at all, or it may not be read";

/// Arguments of `pillion status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lane name; without it every lane of the directory
    lane: Option<String>,
    /// One JSON object per lane and look
    #[arg(long)]
    pub json: bool,
    /// Look again every second until interrupted
    #[arg(long)]
    watch: bool,
    /// Directory of the regions
    #[arg(long, default_value = "/dev/shm", value_name = "DIR")]
    shm_dir: PathBuf,
    /// Directory of the HALT records; without it the one that each lane has said, or the default
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Looks once, or every second.
pub fn run(args: &Args) -> Result<()> {
    let (mut pause, mut seen) = (Duration::from_millis(200), false);
    loop {
        let looked = round(args, pause);
        if crate::stdio::is_closed() {
            // The reader has gone.
            return Ok(());
        }
        let untold = looked.as_ref().err().filter(|error| !error.told);
        if !args.watch || (untold.is_some() && !seen) {
            return looked;
        }
        seen = true;
        pause = Duration::from_secs(1);
        if let Some(error) = untold {
            // A lane that is between two lives, or was removed, may come back.
            crate::outln!("{}", if args.json { error.to_json() } else { error.to_string() });
            std::thread::sleep(pause);
        }
    }
}

/// One look at every lane; an error where one of them is not well, told or not.
fn round(args: &Args, pause: Duration) -> Result<()> {
    let lanes = Lanes { shm_dir: args.shm_dir.clone(), state_dir: args.state_dir.clone() };
    let names = args.lane.clone().map_or_else(|| lanes.names(), |name| Ok(vec![name]))?;
    let before: Vec<_> = names.iter().map(|name| lanes.before(name)).collect();
    std::thread::sleep(pause);
    if args.watch && !args.json && std::io::stdout().is_terminal() {
        crate::stdio::clear_screen();
    }
    let mut problems = Vec::new();
    for (name, before) in names.iter().zip(before) {
        match before.and_then(|before| lanes.look(name, &before)) {
            Ok(look) => {
                crate::outln!("{}", if args.json { to_json(&look)? } else { text::of(&look) });
                problems.extend(look.problem.map(|problem| (name, problem)));
            }
            Err(error) if args.lane.is_some() => return Err(down(&lanes, name, error)),
            // Of all lanes, a broken one hides no other.
            Err(error) => {
                let error = down(&lanes, name, error);
                if args.json {
                    crate::outln!("{}", error.to_json());
                }
                crate::errln!("lane {name}: {error}");
                // Anybody may leave such a page in `/dev/shm`.
                match lanes.is_strangers(name) {
                    true => {
                        crate::errln!("lane {name}: the page of a user who does not count: the exit code is without it")
                    }
                    false => problems.push((name, "cannot be read, as told above".into())),
                }
            }
        }
    }
    let Some((name, problem)) = problems.first() else { return Ok(()) };
    let (thing, more) = (format!("lane {name}"), problems.len() - 1);
    let more = if more == 0 { String::new() } else { format!("; and {more} more lanes are not well") };
    let mend = "start it with `pillion run`, or see what it printed when it ended";
    Err(Error::run(thing, format!("{problem}{more}"), mend).told())
}

/// The error for a lane that cannot be looked at, with its recorded HALT where it has one.
fn down(lanes: &Lanes, name: &str, error: Error) -> Error {
    let records = lanes.standing(name);
    let halts: String = records.iter().map(|found| format!("; HALT in force {found}")).collect();
    if halts.is_empty() { error } else { Error { problem: format!("{}{halts}", error.problem), ..error } }
}

fn to_json(look: &Look) -> Result<String> {
    serde_json::to_string(look).map_err(|e| Error::run("status", e, "report this as a bug"))
}
