//! The `pillion` command: parses, dispatches, and turns an error into its message and exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pillion::cli;
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
    /// Show what a lane is doing, and say by the exit code whether it is well
    #[command(after_help = cli::status::EXIT_CODES)]
    Status(cli::status::Args),
    /// Halt, resume or stop a lane; a HALT is recorded, and needs no live one
    Ctl(cli::ctl::Args),
    /// Publish a recording into a lane's tick ring
    Feed(cli::feed::Args),
    /// Replay a recording through a sidecar of its own and report latencies and signals
    Replay(cli::replay::ReplayArgs),
    /// Replay with the bundled models and tell in five lines what was seen
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

impl Command {
    /// Whether its errors go to standard output as JSON too: where JSON goes there, not to a file.
    fn json(&self) -> bool {
        match self {
            Command::Check(args) => args.json,
            Command::Status(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Model(args) => args.json(),
            Command::Shm(args) => args.json(),
            _ => false,
        }
    }
}

/// Commands whose `--json` takes no file.
const SPEAK_JSON: [&str; 5] = ["check", "status", "doctor", "model", "shm"];

fn main() -> ExitCode {
    let command = match pillion::sidecar::kernel_signals::of_every_command().map(|()| Cli::try_parse()) {
        Ok(Ok(cli)) => cli.command,
        Ok(Err(usage)) => return refused(&usage),
        Err(error) => return ended(Err(error), false),
    };
    let is_sidecar = matches!(command, Command::Run(_));
    let json = command.json();
    let done = run(command);
    // A sidecar's banner is no product: it runs whether or not anybody reads it.
    ended(done.and_then(|()| if is_sidecar { Ok(()) } else { pillion::stdio::finish() }), json)
}

/// The exit code, after the error has been told: to people, and to a machine that asked for JSON.
fn ended(done: pillion::Result<()>, json: bool) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    if json && !error.told {
        pillion::outln!("{}", error.to_json());
    }
    pillion::errln!("error: {error}");
    ExitCode::from(error.exit_code)
}

/// Help, version, or arguments that make no sense, in clap's words.
fn refused(usage: &clap::Error) -> ExitCode {
    use std::io::Write;
    let code = usage.exit_code();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let speaks = words.first().is_some_and(|first| SPEAK_JSON.iter().any(|name| *name == first));
    if code != 0 && speaks && words.iter().any(|word| word == "--json") {
        let text = usage.render().to_string();
        let (problem, rest) = text.trim_end().split_once('\n').unwrap_or((text.trim_end(), ""));
        let problem = problem.trim_start_matches("error: ");
        let mend = if rest.trim().is_empty() { "see --help" } else { rest.trim() };
        pillion::outln!("{}", pillion::Error::input("arguments", problem, mend).to_json());
    }
    if code == 0 {
        // Help and the version are their command's product.
        let printed = usage.print().and_then(|()| std::io::stdout().flush());
        return ended(pillion::stdio::written(printed), false);
    }
    tell(&usage.render().to_string());
    ExitCode::from(pillion::Error::INPUT)
}

/// Says a refusal of clap's, which repeats the argument: that may be anything.
fn tell(text: &str) {
    let mut text = text.to_owned();
    for word in std::env::args_os().map(|word| word.to_string_lossy().into_owned()) {
        // An end of line in it would forge a line.
        if unprintable(&word).is_some() {
            text = text.replace(&word, &printable(&shortened(&word, MOST_OF_LINE / 4)));
        }
    }
    text.lines().for_each(|line| pillion::errln!("{}", shortened(line, MOST_OF_LINE)));
}

fn run(command: Command) -> pillion::Result<()> {
    match command {
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
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_arguments_of_a_command_share_a_name() {
        super::Cli::command().debug_assert();
    }
}
