//! The `pillion` command: parses, dispatches, and turns an error into its message and exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pillion::cold::cli;
use pillion_shm::text::{printable, shortened, unprintable};

/// Most characters of a line of a refusal of arguments.
const MOST_OF_LINE: usize = 400;

/// Low-latency tick-to-trade inference sidecar: market ticks in, model signals out, over shared memory.
#[derive(Parser)]
#[command(version, after_help = pillion::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sidecar until it is stopped
    Run(cli::run::RunArgs),
    /// Find everything that `run` would refuse, without running
    Check(cli::run::CheckArgs),
    /// Show what a lane is doing
    Status(cli::status::Args),
    /// Halt, resume or stop a live lane
    Ctl(cli::ctl::Args),
    /// Publish a recording into a lane's tick ring
    Feed(cli::feed::Args),
    /// Replay a recording through a sidecar of its own and report latencies and signals
    Replay(cli::replay::ReplayArgs),
    /// Replay a recording, or synthetic ticks, with the bundled models and say in five lines what was seen
    Demo(cli::demo::Args),
    /// Replay at rising rates until latency breaks a bound: the knee of latency against load
    Sweep(cli::sweep::Args),
    /// Replay in every load model, sweep to the knee, and put it all in one report
    Lab(cli::lab::Args),
    /// Make a page, or HdrHistogram's files, of the JSON of a replay, live run, sweep or lab
    Report(cli::report::Args),
    /// Hold the reports of two replays, or of two live runs, against each other
    #[command(after_help = cli::compare::EXIT_CODES)]
    Compare(cli::compare::Args),
    /// Replay with two binaries in pairs and say whether one is slower, and in which stage
    #[command(after_help = cli::ab::EXIT_CODES)]
    Ab(cli::ab::Args),
    /// Compute a feature set over a recording with the sidecar's own code
    Features(cli::features::Args),
    /// Print the order book after each event of a recording
    Book(cli::book::Args),
    /// Convert market data to DBN
    Convert(cli::convert::Args),
    /// Merge DBN files by time into one stream of many instruments
    Merge(cli::merge::Args),
    /// Write a deterministic synthetic order flow as DBN
    Synth(cli::synth::Args),
    /// Say whether a CPU of this host is fit for a lane, and what to do where it is not
    Doctor(cli::doctor::Args),
    /// Look into an exported model, or make a model directory of it
    Model(cli::model::Args),
    /// List shared-memory regions, or remove those that nobody uses
    Shm(cli::shm::Args),
    /// Become a command that ends with its parent
    #[command(hide = true)]
    ChildOf(cli::child_of::Args),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(refused) => return usage(&refused),
    };
    let is_sidecar = matches!(command, Command::Run(_));
    let done = match command {
        Command::Run(args) => cli::run::run(&args),
        Command::Check(args) => cli::run::check(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::Ctl(args) => cli::ctl::run(&args),
        Command::Feed(args) => cli::feed::run(&args),
        Command::Replay(args) => cli::replay::run(&args),
        Command::Demo(args) => cli::demo::run(&args),
        Command::Sweep(args) => cli::sweep::run(&args),
        Command::Lab(args) => cli::lab::run(&args),
        Command::Report(args) => cli::report::run(&args),
        Command::Compare(args) => cli::compare::run(&args),
        Command::Ab(args) => cli::ab::run(&args),
        Command::Features(args) => cli::features::run(args),
        Command::Book(args) => cli::book::run(args),
        Command::Convert(args) => cli::convert::run(args),
        Command::Merge(args) => cli::merge::run(&args),
        Command::Synth(args) => cli::synth::run(args),
        Command::Doctor(args) => cli::doctor::run(&args),
        Command::Model(args) => cli::model::run(&args),
        Command::Shm(args) => cli::shm::run(&args),
        Command::ChildOf(args) => cli::child_of::run(&args),
    };
    // A sidecar's banner is no product: it runs whether or not anybody reads it.
    let done = done.and_then(|()| if is_sidecar { Ok(()) } else { pillion::stdio::finish() });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pillion::errln!("error: {error}");
            ExitCode::from(error.exit_code)
        }
    }
}

/// What clap says: help and version as they are; a refusal repeats the argument, which may be anything.
fn usage(refused: &clap::Error) -> ExitCode {
    let code = u8::try_from(refused.exit_code()).unwrap_or(pillion::Error::INPUT);
    if refused.use_stderr() {
        let mut text = refused.render().to_string();
        for word in std::env::args_os().map(|word| word.to_string_lossy().into_owned()) {
            // An end of line in it would forge a line.
            if unprintable(&word).is_some() {
                text = text.replace(&word, &printable(&shortened(&word, MOST_OF_LINE / 4)));
            }
        }
        text.lines().for_each(|line| pillion::errln!("{}", shortened(line, MOST_OF_LINE)));
    } else {
        match refused.print() {
            // Whoever read it has seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                pillion::errln!("error: standard output: writing failed: {error}");
                return ExitCode::from(pillion::Error::RUN);
            }
            _ => {}
        }
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_arguments_of_a_command_share_a_name() {
        super::Cli::command().debug_assert();
    }
}
