//! `pillion convert binance`.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::one_of;
use super::convert::off_grid;
use crate::Result;
use crate::cli::progress::Progress;
use crate::data::Facts;
use crate::data::binance::{self, Kind, Options, StatedUnit, Summary};
use crate::report::table::thousands;

const DAY_NS: u64 = 86_400_000_000_000;

/// Options of `pillion convert binance`.
#[derive(clap::Args, Debug)]
pub struct Binance {
    /// The capture, plain or gzip: local time (ns, us, ms or s since the epoch), a space and the JSON on each line. It is
    /// read twice.
    pub input: PathBuf,
    /// The file to write; compressed when its name ends in .zst.
    #[arg(short, long)]
    pub output: PathBuf,
    /// What records are made: mbp-10 has trades too.
    #[arg(long, default_value = "mbp-10", value_parser = one_of(&Kind::ALL, Kind::name, Kind::meaning))]
    pub kind: Kind,
    /// What a size of 1 stands for (LOT_SIZE.stepSize of exchangeInfo): 0.001, or BTCUSDT=0.001 for one symbol.
    #[arg(long, value_delimiter = ',')]
    pub size_unit: Vec<StatedUnit>,
    /// Smallest price step (PRICE_FILTER.tickSize of exchangeInfo): 0.1, or BTCUSDT=0.1 for one symbol.
    #[arg(long, value_delimiter = ',')]
    pub tick_size: Vec<StatedUnit>,
    /// What states both by symbol: TOML with `[[instruments]]` (symbol, tick_size, size_unit), a lane's configuration, or a
    /// DBN file of definitions.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
    /// Guess what nothing states from the whole of this file: the step of its prices, and the largest power of ten, up to 1,
    /// that divides its sizes, or a larger one where they do not fit else. The output says that it is a guess: what reads it
    /// wants a statement (exchangeInfo has both units) or its own --guess, which looks at no later price.
    #[arg(long)]
    pub guess: bool,
    /// Round sizes to the nearest unit, but none to 0, instead of refusing what is no multiple of it; says how many.
    #[arg(long)]
    pub round_sizes: bool,
    /// Symbol of events that do not say theirs, as spot's snapshots and partial depth without a stream's name.
    #[arg(long)]
    pub symbol: Option<String>,
}

/// Runs the command.
pub fn run(args: Binance) -> Result<()> {
    let bytes = std::fs::metadata(&args.input).map_or(0, |about| about.len());
    let options = Options {
        kind: args.kind,
        size_units: args.size_unit,
        tick_sizes: args.tick_size,
        facts: Facts::read(args.instruments.as_deref(), false)?,
        guess: args.guess,
        round_sizes: args.round_sizes,
        symbol: args.symbol.map(|symbol| symbol.to_ascii_uppercase()),
    };
    let progress = Progress::bytes(2 * bytes);
    let made = binance::convert_file(&args.input, &args.output, &options, &Arc::clone(&progress.done));
    drop(progress);
    let made = made?;
    crate::outln!(
        "{}: {} records of ten levels, {} trades",
        args.output.display(),
        thousands(made.quotes),
        thousands(made.trades)
    );
    let events: Vec<_> = made.events.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
    crate::outln!("events by name: {}", events.join(", "));
    for unit in made.units.iter().filter(|_| args.kind == Kind::Mbp10) {
        let breaks = match unit.breaks.count {
            0 if unit.wholes_alone => "no diffs: each message of levels is the whole book".to_owned(),
            0 => "no break in its diffs".to_owned(),
            count => format!("{} breaks in its diffs, the first at line {}", thousands(count), unit.breaks.first),
        };
        match unit.whole_from_line {
            Some(line) => crate::outln!("{}: book whole from line {line}, {breaks}", unit.symbol),
            None => {
                let why = "no snapshot that fits its diffs and shows more than ten levels of a side";
                crate::outln!("{}: book never whole ({why}), {breaks}", unit.symbol);
            }
        }
    }
    let guessed = made.units.iter().any(|unit| unit.guessed != [false; 2]);
    let whose = if guessed { "used, and no statement where guessed" } else { "stated in the file" };
    crate::outln!("{whose}; for a lane's configuration:");
    let listed = made.units.iter().map(|unit| {
        let (id, symbol) = (unit.id, &unit.symbol);
        let (tick, size) = (&unit.tick_size, &unit.size_unit);
        format!("{{ id = {id}, symbol = \"{symbol}\", tick_size = \"{tick}\", size_unit = {size} }}")
    });
    crate::outln!("instruments = [{}]", listed.collect::<Vec<_>>().join(", "));
    warn(&made);
    Ok(())
}

/// Says on standard error what is not as it should be.
fn warn(made: &Summary) {
    for unit in &made.units {
        let what = match unit.guessed {
            [false, false] => continue,
            [true, true] => format!("tick size {} and size unit {} are GUESSES", unit.tick_size, unit.size_unit),
            [true, false] => format!("tick size {} is a GUESS", unit.tick_size),
            [false, true] => format!("size unit {} is a GUESS", unit.size_unit),
        };
        crate::errln!(
            "warning: {}: {what} from the whole of this file, and no statement: who reads it needs --instruments, or --guess",
            unit.symbol
        );
    }
    for unit in made.units.iter().filter(|unit| unit.in_doubt > 0) {
        crate::errln!(
            "warning: {}: after {} lines the book was not whole again: updates were missing, or its ten levels reached behind \
             the worst price of its snapshot (ask for 1,000 levels, and again from time to time)",
            unit.symbol,
            thousands(unit.in_doubt)
        );
    }
    for unit in &made.units {
        off_grid(&unit.symbol, &unit.tick_size, unit.off_grid);
        if unit.rounded > 0 {
            let (rounded, size) = (thousands(unit.rounded), &unit.size_unit);
            crate::errln!("warning: {}: {rounded} sizes are rounded to the size unit {size}", unit.symbol);
        }
    }
    for (bad, skipped) in &made.skipped {
        crate::errln!(
            "warning: {} {} left out, the first at line {}: {}",
            thousands(skipped.count),
            bad.name(),
            skipped.first,
            made.reasons.get(bad).map_or("", String::as_str)
        );
    }
    for (count, what) in [
        (made.aggregates, "aggregated trades left out, since the single ones are there"),
        (made.unused_snapshots, "snapshots of no use: the book was whole, or they do not meet its diffs"),
        (made.empty, "trades of no size left out"),
        (made.fine_times, "times of the exchange are finer than milliseconds"),
        (
            made.untimed,
            "events without a time of the exchange's: theirs is that of their capture, by the exchange's clock",
        ),
        (made.backwards, "records have an earlier ts_event than the one before: they stand in the order of capture"),
    ] {
        if count > 0 {
            crate::errln!("note: {} {what}", thousands(count));
        }
    }
    if made.ahead_of_capture > 0 {
        crate::errln!(
            "warning: {} events without a time of the exchange's are stamped up to {:.1} s after their capture, since one event \
             was captured that long before the exchange's time of it: a step of the capture's clock moves all that follow",
            thousands(made.ahead_of_capture),
            made.ahead_of_capture_ns as f64 / 1e9
        );
    }
    if made.clock_unit != "nanoseconds" {
        crate::errln!("note: the capture's clock is in {}", made.clock_unit);
    }
    if made.behind_ns.max(made.ahead_ns) > DAY_NS {
        let days = thousands(made.behind_ns.max(made.ahead_ns) / DAY_NS);
        crate::errln!(
            "warning: the capture's clock is up to {days} days from the exchange's: ts_recv is not to be trusted"
        );
    }
    if made.behind_ns > 0 {
        let ms = thousands(made.behind_ns / 1_000_000);
        crate::errln!(
            "note: the capture's clock is up to {ms} ms behind the exchange's: ts_recv < ts_event there, both are kept"
        );
    }
}
