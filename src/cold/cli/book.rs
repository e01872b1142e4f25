//! `pillion book`: the book after each event, as CSV.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::recording;
use crate::cold::data::OutputFile;
use crate::cold::data::book_csv::{self, Counts};
use crate::cold::data::contents::BookSchema;
use crate::cold::data::output::write_failed;
use crate::hot::book::Applied;
use crate::hot::decode::Reject;
use crate::{Error, Result};

/// Print one CSV row after each event (each record with F_LAST).
///
/// Columns are Databento's: ts_event,instrument_id,sequence,bid_px_00,bid_sz_00,bid_ct_00,ask_px_00,... Prices are
/// integers in 1e-9; an absent level is empty.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The .dbn or .dbn.zst file.
    pub file: PathBuf,
    /// Price levels per side.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub levels: u8,
    /// Which book schema counts, where the file has several of an instrument.
    #[arg(long)]
    pub schema: Option<BookSchema>,
    /// Write to this file rather than to standard output.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let feed = recording::read(&args.file, args.schema)?;
    let levels = usize::from(args.levels);
    let counts = match &args.output {
        Some(path) => {
            let mut out = OutputFile::create(path)?;
            let counts = book_csv::write(&feed, levels, &mut out)?.map_err(|e| write_failed(path, e))?;
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
