//! `pillion features`: the features of a file, computed by the code that runs live.

use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use super::args::one_of;
use super::recording::{self, FactsArgs};
use crate::config::TickSize;
use crate::data::contents::BookSchema;
use crate::data::facts::tell;
use crate::data::output::write_failed;
use crate::data::rows::{CsvSink, Sink};
use crate::data::{self, Feed, OutputFile};
use crate::hot::Trigger;
use crate::hot::decode::Reject;
use crate::hot::features::FeatureSet;
use crate::hot::grid::OffGrid;
use crate::hot::offline::Offline;
use crate::report::table::thousands;
use crate::sidecar::depth;
use crate::{Error, Result};

/// Write one row of features after each event, or after those on which a lane's trigger fires, computed by the very code
/// that runs live.
///
/// Columns: ts_event (ns), publisher_id, instrument_id, symbol, sequence, event (number among the instrument's events), record
/// (number in the file, or in what --sort and --schema make of it: what a signal of a replay has as ring_seq), bid_px_00 and
/// ask_px_00 (1e-9, empty when there is none), warm, then the features of the set. Snapshots give no rows. Rows come in the
/// order of the file's events, or with --sort in that which `replay --sort` plays them in.
///
/// Features count in ticks, so the tick size of each instrument must be stated: by the file's own definition records (as
/// `convert` and `synth` write them), or by --instruments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The .dbn or .dbn.zst file.
    #[arg(required_unless_present_any = ["list", "hash"])]
    pub file: Option<PathBuf>,
    /// A bundled feature set (book, all) or the path of a TOML file.
    #[arg(long, default_value = "book")]
    pub set: String,
    /// Write to this .parquet or .csv file rather than CSV to standard output (`-`).
    #[arg(short, long, conflicts_with_all = ["list", "hash"])]
    pub output: Option<PathBuf>,
    /// Rows of the events on which a lane with this trigger runs its models: event-end, bbo-change, trade, every=N
    #[arg(long, default_value = "event-end", value_name = "TRIGGER", conflicts_with_all = ["list", "hash"])]
    pub trigger: Trigger,
    /// Interleave the instruments by each one's latest ts_event so far; an instrument's events keep their order
    #[arg(long)]
    pub sort: bool,
    /// Which book schema counts, where the file has several of an instrument
    #[arg(long, value_parser = one_of(&BookSchema::ALL, BookSchema::name, BookSchema::meaning))]
    pub schema: Option<BookSchema>,
    /// Print the set: each feature's name, unit, formula, source and value where undefined.
    #[arg(long, conflicts_with = "file")]
    pub list: bool,
    /// Print the hash of the set, which a model names.
    #[arg(long, conflicts_with_all = ["file", "list"])]
    pub hash: bool,
    /// Where tick sizes come from.
    #[command(flatten)]
    pub facts: FactsArgs,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let set = FeatureSet::load(&args.set)?;
    match args.file {
        _ if args.hash => say(&format!("{}\n", set.hash_hex())),
        Some(file) => {
            // Before a day is read.
            let output = args.output.as_deref().filter(|path| *path != Path::new(data::output::STDOUT));
            let format = output.map(Format::of).transpose()?;
            let facts = args.facts.read()?;
            let mut feed = recording::in_order(&file, args.schema, args.sort)?;
            facts.settle(&mut feed)?;
            rows(&feed, &set, args.trigger, output.zip(format))
        }
        None => say(&listing(&set)),
    }
}

fn rows(feed: &Feed, set: &FeatureSet, trigger: Trigger, output: Option<(&Path, Format)>) -> Result<()> {
    tell(feed).iter().for_each(|line| crate::errln!("{line}"));
    depth::of_feed(set, feed).iter().for_each(|line| crate::errln!("warning: {line}"));
    let mut offline = feed.offline(set)?.on(trigger);
    let rows = match output {
        Some((path, format)) => {
            let rows = to_file(path, format, feed, set, &mut offline)?;
            crate::errln!(
                "{rows} rows on {trigger} of {} features ({}, {}) in {}",
                set.len(),
                set.name(),
                set.hash_hex(),
                path.display()
            );
            rows
        }
        None => return to_stdout(feed, set, &mut offline),
    };
    report(feed, &offline, rows);
    Ok(())
}

/// What a table is written as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Format> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Format::Csv),
            // A pipe or a device may have any name.
            None if data::output::is_stream(path) => Ok(Format::Csv),
            #[cfg(feature = "parquet")]
            Some("parquet") => Ok(Format::Parquet),
            #[cfg(not(feature = "parquet"))]
            Some("parquet") => Err(Error::input(
                path.display(),
                "this build writes no Parquet",
                "build with --features parquet, or name a .csv file",
            )),
            _ => Err(Error::input(path.display(), "says no format", "name a .parquet or .csv file")),
        }
    }

    /// Of a book's file: CSV also where the name has no ending.
    pub fn of_book(path: &Path) -> Result<Format> {
        if path.extension().is_none() { Ok(Format::Csv) } else { Format::of(path) }
    }
}

fn to_file(path: &Path, format: Format, feed: &Feed, set: &FeatureSet, offline: &mut Offline) -> Result<u64> {
    let mut out = OutputFile::create(path)?;
    let written = match format {
        Format::Csv => CsvSink::new(&mut out, set, feed)
            .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows))),
        #[cfg(feature = "parquet")]
        Format::Parquet => crate::data::rows::ParquetSink::new(&mut out, set, offline.trigger(), feed)
            .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows))),
    };
    let rows = written.map_err(|error| write_failed(path, error))?;
    out.commit()?;
    Ok(rows)
}

fn to_stdout(feed: &Feed, set: &FeatureSet, offline: &mut Offline) -> Result<()> {
    let written = CsvSink::new(BufWriter::new(io::stdout().lock()), set, feed)
        .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows)));
    match written {
        Ok(rows) => report(feed, offline, rows),
        // Whoever read the rows has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            return Err(Error::run("standard output", format!("writing failed: {error}"), "write to a file with -o"));
        }
    }
    Ok(())
}

fn pass(feed: &Feed, offline: &mut Offline, sink: &mut impl Sink) -> io::Result<u64> {
    let mut rows = 0;
    for record in feed {
        if let Some((event, features)) = offline.turn(record) {
            sink.row(&event, features)?;
            rows += 1;
        }
    }
    Ok(rows)
}

/// Says on standard error what a reader of the rows should know, and nothing when all is plain.
fn report(feed: &Feed, offline: &Offline, rows: u64) {
    off_grid(feed, offline);
    for reject in Reject::ALL {
        let count = offline.rejects()[reject.index()];
        if count > 0 {
            crate::errln!("{}: {count}", reject.name());
        }
    }
    if rows == 0 {
        crate::errln!("no rows: the file has no event outside snapshots on which {} fires", offline.trigger());
    }
}

fn off_grid(feed: &Feed, offline: &Offline) {
    for (instrument, off) in
        feed.instruments.iter().zip(offline.off_grid()).filter(|(_, off)| *off != OffGrid::default())
    {
        let (symbol, tick) = (&instrument.symbol, TickSize(instrument.tick_size).text());
        let (quotes, trades) = (thousands(off.quotes), thousands(off.trades));
        crate::errln!(
            "{symbol}: prices that are no multiple of the tick size {tick}: {quotes} of orders or quotes, {trades} of trades"
        );
    }
}

fn listing(set: &FeatureSet) -> String {
    let mut text = format!(
        "set {} · {} features · warm after {} events · hash {}\n",
        set.name(),
        set.len(),
        set.warmup_events(),
        set.hash_hex()
    );
    let mut last = None;
    for (column, name) in set.columns().iter().zip(set.names()) {
        let spec = column.kind.spec();
        if last != Some(column.kind) {
            last = Some(column.kind);
            text += &format!("\n{}\n  formula    {}\n  source     {}\n", spec.name, spec.formula, spec.source);
            text += &format!("  undefined  {}\n", spec.undefined);
        }
        text += &format!("  · {name:<32} {}\n", column.unit());
    }
    text
}

fn say(text: &str) -> Result<()> {
    match io::Write::write_all(&mut io::stdout().lock(), text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::run("standard output", error, "check where it goes"))
        }
        _ => Ok(()),
    }
}
