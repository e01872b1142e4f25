//! `pillion features`: the features of a file, computed by the code that runs live.

use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use super::recording;
use crate::cold::data::contents::BookSchema;
use crate::cold::data::output::write_failed;
use crate::cold::data::{Feed, OutputFile};
use crate::cold::offline::Offline;
use crate::cold::rows::{CsvSink, Sink};
use crate::hot::decode::Reject;
use crate::hot::features::FeatureSet;
use crate::{Error, Result};

/// Write one row of features after each event, computed by the very code that runs live.
///
/// Columns: ts_event (ns), instrument_id, sequence, event (number among the instrument's events), bid_px_00 and ask_px_00
/// (1e-9, empty when there is none), warm, then the features of the set. Snapshots give no rows. Rows come in the order
/// of the file's events, or with --sort in that which `replay --sort` plays them in.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The .dbn or .dbn.zst file.
    #[arg(required_unless_present_any = ["list", "hash"])]
    pub file: Option<PathBuf>,
    /// A bundled feature set (book, all) or the path of a TOML file.
    #[arg(long, default_value = "book")]
    pub set: String,
    /// Write to this .parquet or .csv file rather than CSV to standard output.
    #[arg(short, long, conflicts_with_all = ["list", "hash"])]
    pub output: Option<PathBuf>,
    /// Interleave the instruments by each one's latest ts_event so far; an instrument's events keep their order
    #[arg(long)]
    pub sort: bool,
    /// Which book schema counts, where the file has several of an instrument
    #[arg(long)]
    pub schema: Option<BookSchema>,
    /// Print the set: each feature's name, unit, formula, source and value where undefined.
    #[arg(long, conflicts_with = "file")]
    pub list: bool,
    /// Print the hash of the set, which a model names.
    #[arg(long, conflicts_with_all = ["file", "list"])]
    pub hash: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let set = FeatureSet::load(&args.set)?;
    match args.file {
        _ if args.hash => say(&format!("{}\n", set.hash_hex())),
        Some(file) => {
            // Before a day is read.
            let format = args.output.as_deref().map(Format::of).transpose()?;
            let feed = recording::in_order(&file, args.schema, args.sort)?;
            rows(&feed, &set, args.output.as_deref(), format)
        }
        None => say(&listing(&set)),
    }
}

fn rows(feed: &Feed, set: &FeatureSet, output: Option<&Path>, format: Option<Format>) -> Result<()> {
    let mut offline = Offline::for_feed(feed, set)?;
    let rows = match (output, format) {
        (Some(path), Some(format)) => {
            let rows = to_file(path, format, feed, set, &mut offline)?;
            crate::errln!(
                "{rows} rows of {} features ({}, {}) in {}",
                set.len(),
                set.name(),
                set.hash_hex(),
                path.display()
            );
            rows
        }
        _ => return to_stdout(feed, set, &mut offline),
    };
    report(&offline, rows);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Format> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Format::Csv),
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
}

fn to_file(path: &Path, format: Format, feed: &Feed, set: &FeatureSet, offline: &mut Offline) -> Result<u64> {
    let mut out = OutputFile::create(path)?;
    let written = match format {
        Format::Csv => CsvSink::new(&mut out, set)
            .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows))),
        #[cfg(feature = "parquet")]
        Format::Parquet => crate::cold::rows::ParquetSink::new(&mut out, set, &feed.blake3)
            .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows))),
    };
    let rows = written.map_err(|error| write_failed(path, error))?;
    out.commit()?;
    Ok(rows)
}

fn to_stdout(feed: &Feed, set: &FeatureSet, offline: &mut Offline) -> Result<()> {
    let written = CsvSink::new(BufWriter::new(io::stdout().lock()), set)
        .and_then(|mut sink| pass(feed, offline, &mut sink).and_then(|rows| sink.finish().map(|_| rows)));
    match written {
        Ok(rows) => report(offline, rows),
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
fn report(offline: &Offline, rows: u64) {
    for reject in Reject::ALL {
        let count = offline.rejects()[reject.index()];
        if count > 0 {
            crate::errln!("{}: {count}", reject.name());
        }
    }
    if rows == 0 {
        crate::errln!("no rows: the file has no event outside snapshots");
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
