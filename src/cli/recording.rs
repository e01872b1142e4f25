//! A recording as every command reads it: one book schema for each instrument, in a known order, and what a reader of
//! the result should know is said.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::data::contents::{self, BookSchema};
use crate::data::order::{self, Disorder};
use crate::data::{Facts, Feed, load};
use crate::report::table::thousands;

/// Flags for the source of tick sizes and size units.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FactsArgs {
    /// File that states tick size and size unit of the instruments: TOML with `[[instruments]]` (id, symbol, tick_size,
    /// size_unit; publisher, from, to), a lane's configuration, or a DBN file of definitions
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
    /// Guess a tick size that nothing states, from the prices up to the instrument's first row
    #[arg(long)]
    pub guess: bool,
}

impl FactsArgs {
    /// Reads what states them.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of what `--instruments` takes.
    pub fn read(&self) -> Result<Facts> {
        Facts::read(self.instruments.as_deref(), self.guess)
    }
}

/// Reads a recording whose order across instruments does not matter.
///
/// # Errors
/// When it cannot be read whole, or mixes book schemas and `schema` does not say which counts.
pub fn read(path: &Path, schema: Option<BookSchema>) -> Result<Feed> {
    let feed = load(path)?;
    let contents = contents::of(&feed);
    say_unended(&feed, &contents);
    let (feed, left_out) = contents::one_schema(feed, &contents, schema)?;
    if left_out > 0 {
        crate::errln!("{}: {} records of other book schemas left out", path.display(), thousands(left_out));
    }
    Ok(feed)
}

/// Reads a recording that is played in its order, or with `sort` in that of [`order::sort`]. Says where events come
/// behind later ones.
///
/// # Errors
/// As [`read`].
pub fn in_order(path: &Path, schema: Option<BookSchema>, sort: bool) -> Result<Feed> {
    let feed = read(path, schema)?;
    let order = order::check(&feed);
    if order.within.count > 0 {
        let what = backwards(&order.within, "one before them of their instrument");
        crate::errln!("note: {}: {what}; they stay behind it, with or without --sort", path.display());
    }
    if order.between.count == 0 {
        return Ok(feed);
    }
    let what = backwards(&order.between, "one before them of another instrument, by each one's latest ts_event so far");
    if sort {
        crate::errln!("{}: {what}; sorted", path.display());
        return Ok(order::sort(feed));
    }
    let mend = "in the file's order (--sort interleaves the instruments)";
    crate::errln!("warning: {}: {what}; {mend}", path.display());
    Ok(feed)
}

/// Says which instruments' events never end, and what can be done.
pub fn say_unended(feed: &Feed, contents: &contents::Contents) {
    if let Some(what) = contents::unended(feed, contents) {
        let mend = "`pillion convert dbn FILE -o OUT --mark-last` marks the last record of each ts_event and sequence; \
                    a feed must mark its own";
        crate::errln!("warning: {what}\n  mend: {mend}");
    }
}

fn backwards(disorder: &Disorder, than: &str) -> String {
    let Disorder { record, before_ns, after_ns, count } = *disorder;
    let back_us = (before_ns - after_ns) as f64 / 1e3;
    format!("{} events are earlier than {than}, the first at record {record} by {back_us} us", thousands(count))
}
