//! `pillion book`: the book after each event, as CSV or Parquet.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::args::one_of;
use super::features::Format;
use super::recording;
use crate::data::book_csv::{self, Counts};
#[cfg(feature = "parquet")]
use crate::data::book_parquet;
use crate::data::contents::BookSchema;
use crate::data::output::write_failed;
use crate::data::{self, Facts, OutputFile};
use crate::hot::book::Applied;
use crate::hot::decode::Reject;
use crate::{Error, Result};

/// Print one row after each event (each record with F_LAST): CSV, or Parquet into a .parquet file.
///
/// Columns: ts_event,publisher_id,instrument_id,symbol,sequence,record (number in the file, or in what --schema leaves of
/// it), then Databento's bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,... Prices are integers in 1e-9; an absent level is empty.
/// Each publisher's instrument has a book of its own, and a number that another instrument gets on another day begins with
/// an empty one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The .dbn or .dbn.zst file.
    pub file: PathBuf,
    /// Price levels per side.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub levels: u8,
    /// Which book schema counts, where the file has several of an instrument.
    #[arg(long, value_parser = one_of(&BookSchema::ALL, BookSchema::name, BookSchema::meaning))]
    pub schema: Option<BookSchema>,
    /// Write to this .csv or .parquet file rather than CSV to standard output (`-`).
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Where units come from; prices here are in 1e-9 and need none, so what nothing states stays open.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let format = args.output.as_deref().map_or(Ok(Format::Csv), Format::of_book)?;
    let facts = Facts::read(args.instruments.as_deref(), false)?;
    let mut feed = recording::read(&args.file, args.schema)?;
    facts.lay_on(&mut feed.instruments, &mut feed.identities)?;
    let levels = usize::from(args.levels);
    let counts = match args.output.as_ref().filter(|path| *path != Path::new(data::output::STDOUT)) {
        Some(path) => {
            let mut out = OutputFile::create(path)?;
            let written = match format {
                Format::Csv => book_csv::write(&feed, levels, &mut out)?,
                #[cfg(feature = "parquet")]
                Format::Parquet => book_parquet::write(&feed, levels, &mut out)?,
            };
            let counts = written.map_err(|e| write_failed(path, e))?;
            out.commit()?;
            counts
        }
        None => match book_csv::write(&feed, levels, &mut io::stdout().lock())? {
            Ok(counts) => counts,
            // Whoever read the rows has seen enough.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => {
                return Err(Error::run("standard output", format!("writing failed: {e}"), "write to a file with -o"));
            }
        },
    };
    report(&counts);
    Ok(())
}

/// Says on standard error what a reader of the rows should know, and nothing when all is plain.
fn report(counts: &Counts) {
    let told = [Applied::UnknownCancel, Applied::UnknownModify, Applied::UnknownFill, Applied::DuplicateAdd];
    let outcomes = told.iter().map(|outcome| (outcome.name(), counts.applied[outcome.index()]));
    let rejects = Reject::ALL.iter().map(|reject| (reject.name(), counts.rejects[reject.index()]));
    for (name, count) in outcomes.chain(rejects).chain([("crossed_rows", counts.crossed)]) {
        if count > 0 {
            crate::errln!("{name}: {count}");
        }
    }
}
