//! What the benchmarks share: arguments, pinning, quantiles, and a line of JSON per figure.
//!
//! Never more than two threads spin on a machine of two CPUs, rounds are short and interleaved, and what counts is the
//! ratio within a round: a shared machine is quiet only in spells.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// Arguments that all binaries take.
pub struct Args {
    /// Interleaved rounds.
    pub rounds: usize,
    /// CPUs to pin to: the writer's, then the readers'.
    pub cores: Vec<usize>,
    json: Option<File>,
}

/// A figure for the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figure<'a> {
    /// What was measured.
    pub name: &'a str,
    /// Its value.
    pub value: f64,
    /// The value's unit.
    pub unit: &'a str,
    /// What the ratio is to; empty without one.
    pub to: &'a str,
    /// Median of the rounds' ratios.
    pub ratio: f64,
    /// Ratio of the quiet rounds (10th percentiles).
    pub quiet: f64,
    /// Ratio of the medians over all rounds.
    pub of_medians: f64,
    /// The aim, for both ratios where there is one and for the value otherwise; none when it is 0.
    pub aim: f64,
    /// Whether the figure should be at least the aim, not at most.
    pub at_least: bool,
}

impl Args {
    /// The command line, with this many rounds unless told.
    pub fn parse(name: &str, rounds: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let usage = format!("{name} [--rounds N] [--cores A,B,...] [--json FILE]");
        let cpus = std::thread::available_parallelism()?.get();
        let mut args = Self { rounds, cores: (0..cpus).collect(), json: None };
        let mut words = std::env::args().skip(1);
        while let Some(arg) = words.next() {
            let value = words.next().ok_or_else(|| format!("{arg} needs a value: {usage}"))?;
            match arg.as_str() {
                "--rounds" => args.rounds = value.parse::<usize>()?.max(1),
                "--cores" => args.cores = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--json" => args.json = Some(OpenOptions::new().create(true).append(true).open(value)?),
                _ => return Err(format!("unknown argument {arg}: {usage}").into()),
            }
        }
        if args.cores.len() < 2 {
            return Err(format!("two CPUs are needed, there are {:?}: {usage}", args.cores).into());
        }
        Ok(args)
    }

    /// Adds a figure to the record.
    pub fn record(&self, figure: &Figure) -> std::io::Result<()> {
        let Some(mut file) = self.json.as_ref() else { return Ok(()) };
        let Figure { name, value, unit, to, ratio, quiet, of_medians, aim, at_least } = *figure;
        let (sense, rounds) = (if at_least { ">=" } else { "<=" }, self.rounds);
        writeln!(
            file,
            r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","to":"{to}","ratio":{ratio:.4},"quiet":{quiet:.4},"of_medians":{of_medians:.4},"aim":{aim},"sense":"{sense}","rounds":{rounds}}}"#
        )
    }
}

/// Pins the calling thread.
pub fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// The value that a share `at` of `values` lies below.
pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * at) as usize]
}

/// Median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Median of the ratios within a round.
pub fn by_rounds(these: &[f64], others: &[f64]) -> f64 {
    median(&these.iter().zip(others).map(|(this, other)| this / other).collect::<Vec<_>>())
}

/// Runs every measurement once a round, in turn, and gives the values of each.
pub fn interleaved<T>(rounds: usize, what: &[T], mut measure: impl FnMut(&T) -> f64) -> Vec<Vec<f64>> {
    let mut values = vec![Vec::with_capacity(rounds); what.len()];
    for _ in 0..rounds {
        for (what, values) in what.iter().zip(&mut values) {
            values.push(measure(what));
        }
    }
    values
}
