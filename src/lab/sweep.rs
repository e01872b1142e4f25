//! Raising the rate until latency breaks a bound: the knee of latency against load.

use crate::config::Config;
use crate::data::Feed;
use crate::error::{Error, Result};
use crate::lab::pace::Rate;
use crate::report::{Build, Host, ReplayReport, SCHEMA_VERSION, Step, SweepReport, hex, now_utc};

/// How to sweep.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Ticks a second to begin with.
    pub min_rate: f64,
    /// Ticks a second never exceeded.
    pub max_rate: f64,
    /// Factor from one rate to the next, over 1.
    pub factor: f64,
    /// Rates tried between the last good and the first bad one, each halving their distance.
    pub refine: u32,
    /// Bound on the 99th percentile of tick_to_signal from when a tick was due, ns.
    pub bound_ns: u64,
    /// Arrival of ticks.
    pub arrivals: Arrivals,
}

/// How ticks arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Equal distances.
    Even,
    /// Exponentially distributed distances.
    Poisson,
}

impl Arrivals {
    /// Every one.
    pub const ALL: [Arrivals; 2] = [Arrivals::Even, Arrivals::Poisson];

    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        ["even", "poisson"][self as usize]
    }

    /// Description for `--help`.
    pub fn meaning(self) -> &'static str {
        ["Equal distances", "Exponentially distributed distances"][self as usize]
    }
}

impl Plan {
    fn rate(&self, per_second: f64) -> Rate {
        match self.arrivals {
            Arrivals::Even => Rate::PerSecond(per_second),
            Arrivals::Poisson => Rate::Poisson(per_second),
        }
    }
}

/// Runs the sweep: `replay` plays the recording once at a rate, `told` hears of each step.
///
/// # Errors
/// Rates that are out of order, a configuration without models, and whatever `replay` fails with.
pub fn sweep(
    plan: &Plan,
    config: &Config,
    feed: &Feed,
    mut replay: impl FnMut(Rate) -> Result<ReplayReport>,
    mut told: impl FnMut(&Step),
) -> Result<SweepReport> {
    if plan.min_rate > plan.max_rate {
        let problem = format!("--min-rate {} is above --max-rate {}", plan.min_rate, plan.max_rate);
        return Err(Error::input("sweep", problem, "begin at a rate that is not above the last"));
    }
    if config.lanes.iter().all(|lane| lane.models.is_empty()) {
        let mend =
            "name a model in lane.models: a sweep bounds tick_to_signal, and without models there are no signals";
        return Err(Error::input(&config.origin, "no models", mend));
    }
    let (started, mut last) = (now_utc(), None);
    let mut steps = climb(plan, |per_second| {
        let report = replay(plan.rate(per_second))?;
        let step = step(per_second, &report, plan.bound_ns);
        told(&step);
        last = Some(report);
        Ok(step)
    })?;
    steps.sort_by(|a, b| a.asked_per_second.total_cmp(&b.asked_per_second));
    let report = last.expect("a sweep has a step");
    let within = |step: &&Step| step.within;
    Ok(SweepReport {
        schema_version: SCHEMA_VERSION,
        started,
        host: Host::this(),
        doctor: report.doctor,
        build: Build::this(),
        input: report.input,
        input_blake3: hex(&feed.blake3),
        engine: report.engine,
        arrivals: plan.arrivals.name().to_owned(),
        bound_ns: plan.bound_ns,
        knee_per_second: steps.iter().take_while(within).last().map(|step| step.asked_per_second),
        knee_is_bracketed: steps.iter().find(|step| !step.within).is_some_and(|step| !feeds_limit(step)),
        steps,
    })
}

/// Climbs by the factor until a rate is not within the bound twice in a row, since one bad moment of a shared machine is not
/// a knee; then halves the distance, on a logarithmic scale. Of two tries the better one is kept.
fn climb(plan: &Plan, mut run: impl FnMut(f64) -> Result<Step>) -> Result<Vec<Step>> {
    let mut twice = |per_second: f64| -> Result<Step> {
        let first = run(per_second)?;
        if first.within {
            return Ok(first);
        }
        let second = run(per_second)?;
        Ok(if second.within || better(&second, &first) { second } else { first })
    };
    let mut steps = Vec::new();
    let (mut good, mut bad) = (None, None);
    let mut rate = plan.min_rate;
    while rate <= plan.max_rate && bad.is_none() {
        let step = twice(rate)?;
        if step.within {
            good = Some(rate)
        } else {
            bad = Some(rate)
        }
        steps.push(step);
        rate *= plan.factor;
    }
    if let (Some(mut low), Some(mut high)) = (good, bad) {
        for _ in 0..plan.refine {
            let between = (low * high).sqrt();
            let step = twice(between)?;
            if step.within {
                low = between
            } else {
                high = between
            }
            steps.push(step);
        }
    }
    Ok(steps)
}

/// Whether a step failed only because the feed could not send that fast: that is no limit of the sidecar's.
pub fn feeds_limit(step: &Step) -> bool {
    !step.verdict.held && step.verdict.reasons.iter().all(|reason| reason.starts_with("feed:"))
}

fn better(a: &Step, b: &Step) -> bool {
    let worth = |step: &Step| (step.corrected.count > 0, step.verdict.held, std::cmp::Reverse(step.corrected.p99_ns));
    worth(a) > worth(b)
}

fn step(asked_per_second: f64, report: &ReplayReport, bound_ns: u64) -> Step {
    let column = |name: &str| report.reader.stages.get(name).copied().unwrap_or_default();
    let corrected = column("tick_to_signal_corrected");
    let [_, working, ..] = report.lane.regimes_ns;
    let whole: u64 = report.lane.regimes_ns.iter().sum();
    Step {
        asked_per_second,
        offered_per_second: report.ticks_per_second,
        within: report.verdict.held && corrected.count > 0 && corrected.p99_ns <= bound_ns,
        verdict: report.verdict.clone(),
        uncorrected: column("tick_to_signal"),
        corrected,
        seen: column("seen_corrected"),
        utilisation: working as f64 / whole.max(1) as f64,
        lost: report.lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Stage, Verdict};

    fn plan(refine: u32) -> Plan {
        let arrivals = Arrivals::Even;
        Plan { min_rate: 1_000.0, max_rate: 1e6, factor: 2.0, refine, bound_ns: 50_000, arrivals }
    }

    fn made(rate: f64, p99_ns: u64, held: bool) -> Step {
        Step {
            asked_per_second: rate,
            offered_per_second: rate,
            verdict: Verdict { held, reasons: vec![] },
            within: held && p99_ns <= 50_000,
            uncorrected: Stage::default(),
            corrected: Stage { count: 1, p99_ns, ..Stage::default() },
            seen: Stage::default(),
            utilisation: 0.0,
            lost: 0,
        }
    }

    /// A machine that breaks at 37,000 ticks a second is found within the last halving.
    #[test]
    fn the_knee_is_closed_in_on() {
        let steps =
            climb(&plan(6), |rate| Ok(made(rate, if rate < 37_000.0 { 10_000 } else { 90_000 }, true))).unwrap();
        let best = steps.iter().filter(|s| s.within).map(|s| s.asked_per_second).fold(0.0, f64::max);
        assert!((36_000.0..37_000.0).contains(&best), "{best}");
        assert!(steps.iter().all(|s| s.asked_per_second <= 64_000.0), "it never goes on past a bad rate");
    }

    #[test]
    fn one_bad_moment_is_no_knee_and_a_failed_run_is_never_within() {
        let mut tries = 0;
        let steps = climb(&plan(0), |rate| {
            tries += 1;
            let stalled = rate == 8_000.0 && tries == 4;
            Ok(made(rate, if stalled { 900_000 } else { 10_000 }, rate < 64_000.0))
        });
        let steps = steps.unwrap();
        let good: Vec<_> = steps.iter().filter(|s| s.within).map(|s| s.asked_per_second).collect();
        assert_eq!(good, [1e3, 2e3, 4e3, 8e3, 16e3, 32e3]);
        assert!(!steps.last().unwrap().within && steps.len() == 7);
    }
}
