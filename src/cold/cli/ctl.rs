//! `pillion ctl`: halt, resume or stop a live lane through its mailbox.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pillion_shm::Lane;
use pillion_shm::{CncClient, Command, Outcome};

use crate::error::{Error, Result};

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `pillion ctl`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lane name
    lane: String,
    /// What to do: halt (signals are flagged, nothing tradable), resume, or stop the process
    #[arg(value_enum)]
    order: Order,
    /// Directory of the regions
    #[arg(long, default_value = "/dev/shm", value_name = "DIR")]
    shm_dir: PathBuf,
}

/// A request.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Order {
    /// Keep books and features warm, publish nothing tradable; outlives a restart until resumed
    Halt,
    /// End a halt
    Resume,
    /// End the process
    Stop,
}

/// Asks and waits for the answer.
pub fn run(args: &Args) -> Result<()> {
    let lane = Lane::in_dir(&args.shm_dir, &args.lane)?;
    let mut cnc = CncClient::attach_operator(&lane)?;
    let command = match args.order {
        Order::Halt => Command::Halt,
        Order::Resume => Command::Resume,
        Order::Stop => Command::Stop,
    };
    let (problem, mend) = match cnc.order(command, PATIENCE)? {
        Outcome::Done => ("", ""),
        Outcome::Refused => ("the lane is over; its process only takes stop", "stop it and start it again"),
        Outcome::Unknown => ("the sidecar does not know this order", "use the pillion that the sidecar is"),
    };
    if !problem.is_empty() {
        return Err(Error::run(format!("lane {}", args.lane), problem, mend));
    }
    // A stop is answered when the page says STOPPED; the process lets go of its page a moment later.
    let start = Instant::now();
    while command == Command::Stop && cnc.owner_alive() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
    if command == Command::Stop && cnc.owner_alive() {
        let problem = format!("has not ended {PATIENCE:?} after its stop");
        return Err(Error::run(format!("lane {}", args.lane), problem, format!("look at process {}", cnc.pid())));
    }
    crate::outln!("lane {}: {}", args.lane, cnc.state());
    Ok(())
}
