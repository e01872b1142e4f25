//! `pillion demo`: a replay with the bundled models, and five lines on what it showed.

use std::path::{Path, PathBuf};

use super::recording::FactsArgs;
use super::replay::{PlayArgs, summary};
use crate::data;
use crate::error::{Error, Result};
use crate::lab::outputs::Outputs;
use crate::lab::pace::Rate;
use crate::lab::replay::ReplayReport;
use crate::report::table::{self, thousands};
use crate::report::{Cause, Stage, TailReport};

/// Arguments of `pillion demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recording to play; without one an order flow is synthesised
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    facts: FactsArgs,
    /// Configuration file with the models to run
    #[arg(long, default_value = "config/demo.toml", value_name = "FILE")]
    config: PathBuf,
    /// Rate, as in `replay`
    #[arg(long, default_value = "50000/s")]
    rate: Rate,
    /// Page to write: every chart and table of the run, in one file that opens offline
    #[arg(long, default_value = "pillion-demo.html", value_name = "FILE")]
    html: PathBuf,
    /// Print the tables of `replay` and two histograms as well
    #[arg(long)]
    full: bool,
}

/// A machine that takes this much of what slow ticks lose is not called quiet.
const QUIET_PERCENT: f64 = 20.0;

/// Replays real or synthetic ticks and says what was seen.
pub fn run(args: &Args) -> Result<()> {
    let outputs = Outputs { html: Some(args.html.clone()), ..Outputs::default() }.open()?;
    let folder = tempfile::tempdir().map_err(|e| Error::input("temporary folder", e, "make TMPDIR writable"))?;
    let input = match &args.input {
        Some(path) => path.clone(),
        None => synthetic(folder.path())?,
    };
    let (config, facts) = (args.config.clone(), args.facts.clone());
    let play = PlayArgs { config, input, seed: 1, from: None, sort: false, schema: None, facts, for_ns: None };
    let (config, feed) = play.load()?;
    let report = play.replay(&config, &feed, args.rate)?;
    outputs.write(&report)?;
    if args.full {
        crate::out!("{}", summary(&report));
        for stage in ["infer", "tick_to_signal"] {
            crate::out!("\n{}", table::histogram(&report.lane, stage));
        }
    }
    crate::out!("\n{}", in_words(&report, args.input.as_deref(), &args.html));
    Ok(())
}

/// The order flow that is played where no recording is named.
fn synthetic(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 1, instruments: 4, events: 150_000, events_per_second: 5_000 };
    data::synth::write(&path, &plan)?;
    Ok(path)
}

/// Five lines for a reader who has never seen a report: what ran, how long it took, whether the machine was quiet, where to
/// look next, and the page.
fn in_words(report: &ReplayReport, input: Option<&Path>, page: &Path) -> String {
    let lines = [
        ("ran", ran(report, input)),
        ("latency", latency(report)),
        ("host", host(report)),
        ("next", next(input)),
        ("page", format!("{} (every chart and table of this run; opens in any browser, offline)", page.display())),
    ];
    lines.map(|(key, text)| format!("{key:<9}{text}\n")).concat()
}

fn ran(report: &ReplayReport, input: Option<&Path>) -> String {
    let what = input.map_or_else(|| "a synthetic order flow".to_owned(), |path| path.display().to_string());
    let models: Vec<_> = report.models.iter().map(|model| format!("{} on {}", model.name, model.engine)).collect();
    let models = if models.is_empty() { "no model".to_owned() } else { models.join(", ") };
    let (ticks, signals) = (thousands(report.ticks), thousands(report.signals));
    let lost = match report.lost {
        0 => "none was lost".to_owned(),
        lost => format!("{} were lost", thousands(lost)),
    };
    let kept = match report.verdict.held {
        true => String::new(),
        false => format!("; the rate was not held: {}", report.verdict.reasons.join("; ")),
    };
    format!("{ticks} ticks of {what} made {signals} signals ({models}) at rate {}; {lost}{kept}", report.rate)
}

/// From the moment a tick is in shared memory to the moment its signal is, in words.
fn latency(report: &ReplayReport) -> String {
    let stage = report.stages.get("tick_to_signal").copied().unwrap_or_default();
    let Stage { count, p50_ns, p99_ns, p999_ns, max_ns, .. } = stage;
    if count == 0 {
        return "no signal was made, so there is no latency to tell (the set may need more events to warm up)".into();
    }
    format!(
        "from tick to signal half of the signals took at most {}, 99 of 100 at most {}, 999 of 1,000 at most {}; the slowest {}",
        span(p50_ns),
        span(p99_ns),
        span(p999_ns),
        span(max_ns)
    )
}

/// Whether the machine left the sidecar alone, as its settings and its tail say.
fn host(report: &ReplayReport) -> String {
    let grade = report.doctor.as_ref().map_or_else(String::new, |doctor| {
        format!("settings grade {} of A (fit) to F on CPU {}; ", doctor.grade, doctor.core)
    });
    format!("{grade}{}", quiet(&report.lane.tail))
}

fn quiet(tail: &TailReport) -> String {
    let all = tail.shares.total_ns();
    if all == 0 {
        return "quiet: no tick was held up beyond the usual".into();
    }
    let percent = |cause| (tail.shares.of(cause) as f64 / all as f64 * 100.0).floor();
    let (host, unknown, ticks) = (percent(Cause::Host), percent(Cause::Unattributed), thousands(tail.over));
    let lost = format!("of what the {ticks} slowest ticks lost, they lost");
    match () {
        () if host >= 50.0 => format!("not quiet: {host} % {lost} to the machine and not to Pillion"),
        () if unknown >= 50.0 => {
            format!("perhaps quiet: {host} % {lost} to the machine, and {unknown} % to no known cause")
        }
        () if host >= QUIET_PERCENT => format!("not all quiet: {host} % {lost} to the machine"),
        () => format!("quiet: {host} % {lost} to the machine"),
    }
}

fn next(input: Option<&Path>) -> String {
    let play = match input {
        Some(_) => "`pillion lab` plays it in every load model",
        None => "`make demo INPUT=FILE.dbn.zst` plays a recording of yours",
    };
    format!(
        "`pillion doctor` says what makes this machine slower than it need be; {play}; --full (FULL=1) prints the tables"
    )
}

/// A latency for people: `859 ns`, `3.2 us`, `12 ms`, `1.3 s`.
fn span(ns: u64) -> String {
    let value = |x: f64, unit: &str| if x < 10.0 { format!("{x:.1} {unit}") } else { format!("{x:.0} {unit}") };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => value(ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => value(ns as f64 / 1e6, "ms"),
        _ => value(ns as f64 / 1e9, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Shares;

    #[test]
    fn spans_have_two_digits_and_a_unit() {
        let words = [0, 999, 1_000, 9_949, 12_400, 999_999, 1_000_000, 204_000_000, 1_292_000_000].map(span);
        assert_eq!(words, ["0 ns", "999 ns", "1.0 us", "9.9 us", "12 us", "1000 us", "1.0 ms", "204 ms", "1.3 s"]);
    }

    #[test]
    fn a_machine_that_took_most_of_the_tail_is_not_quiet() {
        let lost = |shares| TailReport { over: 1_500, shares, ..TailReport::default() };
        let tail = |host_ns, ours_ns| lost(Shares { host_ns, ours_ns, ..Shares::default() });
        assert!(quiet(&tail(0, 0)).starts_with("quiet: no tick"));
        assert!(quiet(&tail(996, 4)).starts_with("not quiet: 99 % of what the 1,500 slowest"));
        assert!(quiet(&tail(1, 9)).starts_with("quiet: 10 %"));
        assert!(quiet(&tail(49, 51)).starts_with("not all quiet: 49 %"));
        let unknown = Shares { host_ns: 1, unattributed_ns: 9, ..Shares::default() };
        assert!(
            quiet(&lost(unknown)).contains("10 % of what") && quiet(&lost(unknown)).contains("90 % to no known cause")
        );
    }
}
