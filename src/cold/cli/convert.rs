//! `pillion convert`: other formats to DBN.

use std::path::PathBuf;

use crate::Result;
use crate::cold::data::calendar::Date;
use crate::cold::data::lobster;

/// Convert market data of other formats to DBN.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The format to convert from.
    #[command(subcommand)]
    pub from: Format,
}

/// Formats that can be converted.
#[derive(clap::Subcommand, Debug)]
pub enum Format {
    /// LOBSTER message and orderbook files (NASDAQ, lobsterdata.com).
    Lobster(Lobster),
}

/// Options of `pillion convert lobster`.
#[derive(clap::Args, Debug)]
pub struct Lobster {
    /// One zip as LOBSTER makes it, or message.csv and orderbook.csv.
    #[arg(required = true, num_args = 1..=2)]
    pub input: Vec<PathBuf>,
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Symbol; read from LOBSTER's file names when absent.
    #[arg(long)]
    pub symbol: Option<String>,
    /// Day of the data, like 2012-06-21; read from LOBSTER's file names when absent.
    #[arg(long)]
    pub date: Option<Date>,
    /// Instrument id that the records get.
    #[arg(long, default_value_t = 1)]
    pub instrument_id: u32,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let Format::Lobster(args) = args.from;
    let options = lobster::Options { symbol: args.symbol, date: args.date, instrument_id: args.instrument_id };
    let made = lobster::convert_file(&args.input, &args.output, options)?;
    println!(
        "{}: {} messages as {} records, {} levels; {} levels revealed, {} dropped, {} messages on unlisted orders",
        args.output.display(),
        made.messages,
        made.records,
        made.levels,
        made.revealed,
        made.dropped,
        made.unlisted,
    );
    println!("rows that messages do not explain: {}", made.unexplained);
    if made.unexplained > 0 {
        eprintln!(
            "warning: first at line {}; the stream follows the orderbook file there",
            made.first_unexplained_line
        );
    }
    Ok(())
}
