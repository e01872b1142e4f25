//! `pillion convert`: other formats to DBN, and DBN files to plain ones of version 3.

use std::path::PathBuf;

use crate::Result;
use crate::config::TickSize;
use crate::data::calendar::Date;
use crate::data::facts::tell;
use crate::data::{self, DbnWriter, Facts, FileInfo, contents, lobster};
use crate::hot::grid::OffGrid;
use crate::report::table::thousands;

/// Convert market data of other formats to DBN, or a DBN file to a plain one.
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
    /// A NASDAQ TotalView-ITCH 5.0 file, plain or gzip.
    Itch(super::convert_itch::Itch),
    /// A raw capture of Binance's market streams, plain or gzip.
    Binance(super::convert_binance::Binance),
    /// A DBN file of version 1 to 3, compressed or not, to one of version 3: plain, for readers without Zstandard.
    Dbn(Dbn),
}

/// Options of `pillion convert dbn`.
#[derive(clap::Args, Debug)]
pub struct Dbn {
    /// The file to read: .dbn or .dbn.zst.
    pub input: PathBuf,
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// What states tick size and size unit of the instruments, to be written as definitions: TOML with `[[instruments]]`, a
    /// lane's configuration, or a DBN file of definitions. Those of the file itself are carried through.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
    /// Mark the last record of each event of instruments of which no record has F_LAST: an event is then the records of
    /// one ts_event and one sequence.
    #[arg(long)]
    pub mark_last: bool,
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
    /// What states the symbol's tick size, where it is not NASDAQ's 0.01 (Rule 612: a cent at $1 and above): TOML with
    /// `[[instruments]]` (symbol, tick_size), a lane's configuration, or a DBN file of definitions.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    match args.from {
        Format::Lobster(args) => run_lobster(args),
        Format::Itch(args) => super::convert_itch::run(args),
        Format::Binance(args) => super::convert_binance::run(args),
        Format::Dbn(args) => run_dbn(&args),
    }
}

fn run_dbn(args: &Dbn) -> Result<()> {
    let facts = Facts::read(args.instruments.as_deref(), false)?;
    let mut feed = data::load(&args.input)?;
    facts.lay_on_steady(&mut feed)?;
    let contents = contents::of(&feed);
    if args.mark_last {
        let events = contents::mark_last(&mut feed, &contents);
        crate::outln!("{} records marked as the last of their events", thousands(events));
    } else {
        super::recording::say_unended(&feed, &contents);
    }
    let times = || feed.iter().map(|record| record[1]);
    let info = FileInfo {
        dataset: feed.dataset.clone(),
        schema: feed.schema.parse().ok(),
        start_ns: times().min().unwrap_or(0),
        end_ns: times().max().unwrap_or(0).saturating_add(1),
        instruments: feed.listed(),
    };
    let mut writer = DbnWriter::create(&args.output, &info)?;
    feed.iter().try_for_each(|record| writer.write_words(record))?;
    writer.finish()?;
    crate::outln!(
        "{}: {} {} records of {} as DBN version 3 (it was {}); {} of other types left out",
        args.output.display(),
        thousands(feed.records),
        feed.schema,
        feed.dataset,
        feed.version,
        thousands(feed.skipped),
    );
    tell(&feed).iter().for_each(|line| crate::outln!("{line}"));
    Ok(())
}

/// Says how many prices of a conversion are no multiple of the tick size it states.
pub(super) fn off_grid(what: &str, tick_size: &str, off: OffGrid) {
    if off != OffGrid::default() {
        let (quotes, trades) = (thousands(off.quotes), thousands(off.trades));
        crate::errln!(
            "note: {what}: no multiple of the tick size {tick_size}: {quotes} of orders or quotes, {trades} of trades"
        );
    }
}

fn run_lobster(args: Lobster) -> Result<()> {
    let facts = Facts::read(args.instruments.as_deref(), false)?;
    let options = lobster::Options { symbol: args.symbol, date: args.date, instrument_id: args.instrument_id, facts };
    let made = lobster::convert_file(&args.input, &args.output, options)?;
    crate::outln!(
        "{}: {} messages as {} records, {} levels; {} levels revealed, {} dropped, {} messages on unlisted orders",
        args.output.display(),
        made.messages,
        made.records,
        made.levels,
        made.revealed,
        made.dropped,
        made.unlisted,
    );
    let tick = TickSize(made.tick_size).text();
    let rule = if tick == "0.01" { " by NASDAQ's rule (Rule 612, at $1 and above)" } else { "" };
    crate::outln!("tick size: {tick}{rule}");
    off_grid("prices", &tick, made.off_grid);
    crate::outln!("rows that messages do not explain: {}", made.unexplained);
    if made.unexplained > 0 {
        crate::errln!(
            "warning: first at line {}; the stream follows the orderbook file there",
            made.first_unexplained_line
        );
    }
    if made.rounded.count > 0 {
        crate::errln!(
            "note: {} times have more than nine decimals and are rounded to the nearest ns, the first at line {}",
            thousands(made.rounded.count),
            made.rounded.first
        );
    }
    Ok(())
}
