//! Arguments that several commands take.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::Result;
use crate::lab::outputs::{Opened, Outputs};

/// Parses one of a few names; `--help` lists them, each with what it means.
pub fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
    meaning: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let possible = all.iter().map(|value| PossibleValue::new(name(*value)).help(meaning(*value)));
    PossibleValuesParser::new(possible).map(move |text| {
        let named = all.iter().copied().find(|value| name(*value) == text);
        named.expect("the parser lets nothing but the names through")
    })
}

/// Files that a run is to leave behind.
#[derive(Clone, Debug, clap::Args)]
pub struct OutputArgs {
    /// Write the report as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page that opens offline; - is standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every histogram as .hgrm and every run's intervals as .hlog into this folder, made where it is missing
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

impl OutputArgs {
    /// Opens every target, so that one that cannot be written is refused before the work and not after.
    ///
    /// # Errors
    /// Those of [`Outputs::open`].
    pub fn open(&self) -> Result<Opened> {
        let Self { json, html, hgrm } = self.clone();
        Outputs { json, html, hgrm }.open()
    }
}
