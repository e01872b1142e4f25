//! `pillion merge`.

use std::path::PathBuf;

use crate::Result;
use crate::cli::progress::Progress;
use crate::data::Facts;
use crate::data::merge::{Options, Plan};
use crate::report::table::thousands;

/// Merge DBN files by ts_event into one file of all their instruments.
///
/// An event counts as of its instrument's latest ts_event so far, so the events of an instrument never change places;
/// of equal times the file named first comes first, and an event's records stay together. A snapshot comes right before
/// the live event that it stands before in its file.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The .dbn or .dbn.zst files, at least two. They are read twice.
    #[arg(required = true, num_args = 2..)]
    pub files: Vec<PathBuf>,
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Number the instruments 1, 2 ... by dataset and symbol, for files that use one id for different instruments.
    #[arg(long)]
    pub renumber: bool,
    /// Interleave the instruments of files that are out of order by each one's latest ts_event so far; such a file's
    /// records are held in memory twice.
    #[arg(long)]
    pub sort: bool,
    /// What states tick size and size unit of the instruments, to be written as definitions: TOML with `[[instruments]]`, a
    /// lane's configuration, or a DBN file of definitions. Those of the files themselves are carried through.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let facts = Facts::read(args.instruments.as_deref(), false)?;
    let plan = Plan::new(&args.files, Options { renumber: args.renumber, sort: args.sort, facts })?;
    let progress = Progress::start(plan.records());
    let written = plan.write(&args.output, &progress.done);
    drop(progress);
    written?;
    crate::outln!(
        "{}: {} records of {} instruments from {} files, {} of them sorted; {} records of other types left out",
        args.output.display(),
        thousands(plan.records()),
        plan.instruments().len(),
        args.files.len(),
        plan.sorted(),
        thousands(plan.skipped()),
    );
    if let Some(mixed) = plan.mixed() {
        crate::errln!(
            "warning: {mixed}: a book is built from one of them, so whoever reads the file must say --schema"
        );
    }
    if plan.within() > 0 {
        crate::errln!(
            "note: {} events are of an earlier ts_event than one before them of their instrument: they stay behind it",
            thousands(plan.within())
        );
    }
    if args.renumber {
        let listed = plan.instruments().iter().map(|listed| &listed.instrument);
        let ids: Vec<_> = listed.map(|instrument| format!("{} {}", instrument.id, instrument.symbol)).collect();
        crate::outln!("instruments: {}", ids.join(", "));
    }
    Ok(())
}
