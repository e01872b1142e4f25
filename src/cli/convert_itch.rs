//! `pillion convert itch`.

use std::path::PathBuf;
use std::sync::Arc;

use super::convert::off_grid;
use crate::Result;
use crate::cli::progress::Progress;
use crate::data::Facts;
use crate::data::calendar::Date;
use crate::data::itch::{self, Options, Summary};
use crate::report::table::thousands;

/// Options of `pillion convert itch`.
#[derive(clap::Args, Debug)]
pub struct Itch {
    /// The file, plain or gzip. It is read twice.
    pub input: PathBuf,
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Day of the data, like 2019-12-30; read from a name like 12302019.NASDAQ_ITCH50.gz when absent.
    #[arg(long)]
    pub date: Option<Date>,
    /// Convert these symbols only. Instrument ids are the file's stock numbers either way.
    #[arg(long, value_delimiter = ',')]
    pub symbols: Vec<String>,
    /// What states tick sizes by symbol, where they are not NASDAQ's 0.01 (Rule 612: a cent at $1 and above): TOML with
    /// `[[instruments]]` (symbol, tick_size), a lane's configuration, or a DBN file of definitions.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Itch) -> Result<()> {
    let bytes = std::fs::metadata(&args.input).map_or(0, |about| about.len());
    let facts = Facts::read(args.instruments.as_deref(), false)?;
    let options = Options { date: args.date, symbols: args.symbols, facts };
    let progress = Progress::bytes(2 * bytes);
    let made = itch::convert_file(&args.input, &args.output, &options, &Arc::clone(&progress.done));
    drop(progress);
    let made = made?;
    crate::outln!(
        "{}: {} events as {} records of {} instruments",
        args.output.display(),
        thousands(made.events),
        thousands(made.records),
        thousands(made.instruments),
    );
    let types: Vec<_> = made.types.iter().map(|(kind, count)| format!("{kind} {}", thousands(*count))).collect();
    crate::outln!("messages by type: {}", types.join(", "));
    crate::outln!("messages on orders from before the file: {}", thousands(made.unlisted));
    crate::outln!(
        "tick size: 0.01 by NASDAQ's rule (Rule 612, at $1 and above), but where --instruments states another"
    );
    off_grid("prices", "stated for their stock", made.off_grid);
    warn(&made);
    Ok(())
}

/// Says on standard error what is not as it should be.
fn warn(made: &Summary) {
    for (bad, skipped) in &made.skipped {
        crate::errln!(
            "warning: {} {} skipped, the first at byte {}",
            thousands(skipped.count),
            bad.name(),
            skipped.first
        );
    }
    if let Some(offset) = made.cut {
        crate::errln!("warning: the file ends inside the frame at byte {offset}: all before it is converted");
    }
    for (count, what) in [
        (made.unlisted, "messages refer to orders from before the file: N records, the book flagged as in doubt"),
        (made.sideless, "messages refer to orders of unknown side, which replaced such orders: likewise"),
        (made.duplicates, "new orders had the number of a resting one, and took its place"),
        (made.excess, "messages took more off an order than it had"),
        (made.backwards, "messages are of an earlier time than the one before"),
        (made.quiet, "stocks without an order or trade are left out"),
    ] {
        if count > 0 {
            crate::errln!("note: {} {what}", thousands(count));
        }
    }
}
