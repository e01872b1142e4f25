//! Tick size and size unit of each symbol: stated, or guessed where that is asked for.

use super::super::definition::Listed;
use super::super::facts::{Fact, Source, Wanted};
use super::super::raw::RawFile;
use super::survey::Found;
use super::{Options, StatedUnit, decimal};
use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// 1 in 1e-9.
const ONE: f64 = 1e9;

/// What holds for one symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// In 1e-9.
    pub tick: i64,
    /// In 1e-9.
    pub size: u128,
    /// Which of the two nobody has stated.
    pub guessed: [bool; 2],
}

impl Units {
    /// The file's statement of its instrument. A guessed tick size is left open: a reader of the file may guess it from
    /// the prices before a row. The size unit is the one that the records count in, stated or guessed.
    pub fn listed(&self, found: &Found, id: u32) -> Listed {
        let size_unit = decimal::text(self.size).parse().unwrap_or(1.0);
        let [tick_guessed, guessed] = self.guessed;
        let tick_size = if tick_guessed { 0 } else { self.tick };
        let symbol = found.symbol.clone();
        let instrument = Instrument { id, publisher: Some(0), symbol, tick_size, size_unit };
        Listed { instrument, depth: None, guessed }
    }
}

/// The units of each symbol.
///
/// # Errors
/// A flag that names no symbol of the file, statements that contradict each other, and a symbol without one.
pub(super) fn settle(file: &RawFile, all: &[Found], span_ns: (u64, u64), options: &Options) -> Result<Vec<Units>> {
    for (flag, given) in [("--size-unit", &options.size_units), ("--tick-size", &options.tick_sizes)] {
        let stranger = given.iter().filter_map(|unit| unit.symbol.as_deref());
        if let Some(stranger) = stranger.clone().find(|symbol| !all.iter().any(|found| found.symbol == *symbol)) {
            let known: Vec<_> = all.iter().map(|found| found.symbol.as_str()).collect();
            let problem = format!("{flag} names \"{stranger}\", which the file does not have");
            return Err(Error::input(file.path().display(), problem, format!("name one of {}", known.join(", "))));
        }
    }
    let stated = all.iter().map(|found| stated(found, span_ns, options)).collect::<Result<Vec<_>>>()?;
    let lacks = |(tick, size): &(Option<i64>, Option<u128>)| tick.is_none() || size.is_none();
    if !options.guess && stated.iter().any(lacks) {
        let lacking = all.iter().zip(&stated).filter(|(_, stated)| lacks(stated)).map(|(found, _)| found);
        return Err(unstated(file, &lacking.collect::<Vec<_>>()));
    }
    let units = |(found, (tick, size)): (&Found, (Option<i64>, Option<u128>))| Units {
        tick: tick.unwrap_or_else(|| i64::try_from(found.tick_size()).unwrap_or(i64::MAX)),
        size: size.unwrap_or_else(|| found.size_unit()),
        guessed: [tick.is_none(), size.is_none()],
    };
    Ok(all.iter().zip(stated).map(units).collect())
}

/// What flags and files say of a symbol: flags by themselves, since each says one of the two.
fn stated(found: &Found, span_ns: (u64, u64), options: &Options) -> Result<(Option<i64>, Option<u128>)> {
    let symbol = &found.symbol;
    let wanted = Wanted { id: None, publisher: None, symbol: Some(symbol), reused: false, span_ns };
    let fact = options.facts.one(symbol, wanted, None)?;
    let tick = flag(&options.tick_sizes, symbol);
    let size = flag(&options.size_units, symbol);
    if let Some(fact) = &fact {
        // The flag's value against the file's, by the check that every pair of statements goes through.
        let by_flag = Fact {
            source: Source::Given("the flag".to_owned()),
            tick_size: tick.map_or(fact.tick_size, u64::cast_signed),
            size_unit: size.map(|size| size as f64 / ONE),
        };
        options.facts.one(symbol, wanted, Some(by_flag))?;
    }
    let tick = tick.map(u64::cast_signed).or(fact.as_ref().map(|fact| fact.tick_size));
    let listed = fact.and_then(|fact| fact.size_unit).map(|unit| (unit * ONE).round() as u128).filter(|&unit| unit > 0);
    Ok((tick, size.map(u128::from).or(listed)))
}

/// The flag's value of a symbol: its own before the one for all.
fn flag(given: &[StatedUnit], symbol: &str) -> Option<u64> {
    let named = given.iter().rev().find(|unit| unit.symbol.as_deref() == Some(symbol));
    named.or_else(|| given.iter().rev().find(|unit| unit.symbol.is_none())).map(|unit| unit.unit)
}

fn unstated(file: &RawFile, lacking: &[&Found]) -> Error {
    let names: Vec<_> = lacking.iter().map(|found| found.symbol.as_str()).collect();
    let problem = format!("nothing states tick size and size unit of {}, and a capture does not", names.join(", "));
    let entry = |name: &&str| {
        format!("    [[instruments]]\n    symbol = \"{name}\"\n    tick_size = \"?\"\n    size_unit = \"?\"")
    };
    let entries: Vec<_> = names.iter().take(12).map(entry).collect();
    let mend = format!(
        "give them with --tick-size and --size-unit (0.1, or {}=0.1), or with --instruments and a file of PRICE_FILTER.tickSize \
         and LOT_SIZE.stepSize of the exchange's exchangeInfo:\n{}\n  or let --guess guess them from this file's prices and sizes",
        names[0],
        entries.join("\n")
    );
    Error::input(file.path().display(), problem, mend)
}
