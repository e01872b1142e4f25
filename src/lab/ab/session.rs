//! The procedure: a pair to warm up, then pairs in turns, A first and B first alternately, until all is decided.

use super::super::alike::{self, Allow};
use super::super::columns::{self, NAMES};
use super::super::finding::{Finding, LEVEL, RESAMPLES};
use super::judge;
use super::{AbReport, Binary, Ended, FailedRun, Pair, Plan, Ran, Runner, SCHEMA_VERSION, Side};
use crate::error::{Error, Result};
use crate::report::{ReplayReport, Stages};

/// Runs a session; `progress` gets a line a pair. An error before both binaries have replayed once is an error alone;
/// after that the report of what there is comes with the error that ended it, if one did.
pub fn session(
    plan: &Plan,
    runner: &mut impl Runner,
    progress: &mut dyn FnMut(&str),
) -> Result<(AbReport, Option<Error>)> {
    let mut session = Session { plan, runner, first: None, failed: Vec::new(), same_signals: true };
    progress("warming up with a pair that is thrown away");
    let warm = session.warm_up()?;
    let mut report = session.report(&warm)?;
    let looks = plan.rule.looks();
    let (ended, error) = loop {
        let number = report.pairs.len() + 1;
        match session.pair(number) {
            Ok(Some(pair)) => report.pairs.push(pair),
            Ok(None) => break (Ended::Interrupted, Some(interrupted(report.pairs.len()))),
            Err(error) => break (Ended::Error, Some(error)),
        }
        progress(&super::text::progress(plan, &report.pairs));
        if looks.contains(&number) && judge::decided(&report.pairs, &plan.metrics, &plan.rule) {
            break (Ended::Decided, None);
        }
        if number >= plan.rule.max_pairs {
            break (Ended::Cap, None);
        }
    };
    report.ended = ended;
    report.failed = session.failed;
    report.same_signals = session.same_signals;
    report.stages = judge::stages(&report.pairs, &plan.rule);
    report.metrics = judge::metrics(&report.pairs, &plan.metrics, &report.stages, &plan.rule);
    // Pairs are judged at the looks alone: a verdict wherever a session happens to break off is a look too many.
    if !looks.contains(&report.pairs.len()) {
        report.metrics.iter_mut().for_each(|metric| metric.finding = Finding::Undecided);
    }
    report.regressions = judge::regressions(&report.metrics, plan.bound);
    Ok((report, error))
}

fn interrupted(pairs: usize) -> Error {
    Error::run("ab", format!("interrupted after {pairs} pairs"), "start it again, or read what these pairs say")
}

struct Session<'a, R> {
    plan: &'a Plan,
    runner: &'a mut R,
    /// A's first report: every other must be like it.
    first: Option<Box<ReplayReport>>,
    failed: Vec<FailedRun>,
    same_signals: bool,
}

impl<R: Runner> Session<'_, R> {
    /// First reports of both, checked for what a comparison needs.
    fn warm_up(&mut self) -> Result<[Box<ReplayReport>; 2]> {
        let mut run = |side| self.held(side, "warm-up")?.ok_or_else(|| interrupted(0));
        let both = [run(Side::A)?, run(Side::B)?];
        for (side, report) in [Side::A, Side::B].into_iter().zip(&both) {
            if let Some(metric) = self.plan.metrics.iter().find(|metric| metric.of(report).is_none()) {
                let counted: Vec<_> = NAMES.into_iter().filter(|name| columns::stage(report, name).is_some()).collect();
                let problem = format!("--metric {metric}: its report counts none; it has {}", counted.join(", "));
                let mend = "replay with at least one model and stamps = \"full\", or name another metric";
                return Err(Error::input(self.name(side), problem, mend));
            }
        }
        Ok(both)
    }

    fn name(&self, side: Side) -> String {
        format!("{} ({})", side.name(), self.plan.binaries[side as usize].display())
    }

    /// A pair; odd ones begin with A. `None` when interrupted.
    fn pair(&mut self, number: usize) -> Result<Option<Pair>> {
        let order = if number % 2 == 1 { [Side::A, Side::B] } else { [Side::B, Side::A] };
        let mut stages = [Stages::new(), Stages::new()];
        for side in order {
            let Some(report) = self.held(side, &format!("pair-{number:02}"))? else { return Ok(None) };
            stages[side as usize] = all_stages(&report);
        }
        let [a, b] = stages;
        Ok(Some(Pair { first: order[0], a, b }))
    }

    /// A run that held its rate: those that did not are repeated and never used. `None` when interrupted.
    fn held(&mut self, side: Side, of: &str) -> Result<Option<Box<ReplayReport>>> {
        for attempt in 1.. {
            let name = format!("{of}-{}-run-{attempt}", side.name().to_lowercase());
            let Ran::Report(report) = self.runner.run(side, &name)? else { return Ok(None) };
            self.check(side, &report)?;
            if report.verdict.held {
                return Ok(Some(report));
            }
            self.failed.push(FailedRun { side, run: name, reasons: report.verdict.reasons.clone() });
            if self.failed.len() > self.plan.max_failed {
                break;
            }
        }
        let reasons = self.failed.last().map_or(String::new(), |run| run.reasons.join("; "));
        let problem = format!(
            "{} runs did not hold their rate, more than --max-failed {}; the last: {reasons}",
            self.failed.len(),
            self.plan.max_failed
        );
        Err(Error::run(self.name(side), problem, "lower --rate, quieten the machine, or raise --max-failed"))
    }

    /// Every run must be like A's first, its signals included.
    fn check(&mut self, side: Side, report: &ReplayReport) -> Result<()> {
        let first = self.first.get_or_insert_with(|| Box::new(report.clone()));
        let first_name = format!("A ({})", self.plan.binaries[0].display());
        let name = format!("{} ({})", side.name(), self.plan.binaries[side as usize].display());
        alike::demand((&first_name, first), (&name, report), &self.plan.allow)?;
        if report.signals_blake3 == first.signals_blake3 || !report.verdict.held {
            return Ok(());
        }
        self.same_signals = false;
        if self.plan.allow.contains(&Allow::Signals) {
            return Ok(());
        }
        let problem = format!(
            "its signals are not those of {first_name}: BLAKE3 {}, there {}; the two do not compute the same",
            report.signals_blake3, first.signals_blake3
        );
        Err(Error::run(name, problem, "find out why first, or say --allow signals to compare their speed nevertheless"))
    }

    /// A report without pairs yet.
    fn report(&self, [a, b]: &[Box<ReplayReport>; 2]) -> Result<AbReport> {
        let (plan, rule) = (self.plan, self.plan.rule);
        let binary = |side: Side, r: &ReplayReport| Binary {
            path: plan.binaries[side as usize].display().to_string(),
            build: r.build.clone(),
            signals_blake3: r.signals_blake3.clone(),
        };
        Ok(AbReport {
            schema_version: SCHEMA_VERSION,
            started: crate::report::now_utc(),
            a: binary(Side::A, a),
            b: binary(Side::B, b),
            host: a.host.clone(),
            grade: a.doctor.as_ref().map(|d| d.grade.clone()),
            config: plan.config.display().to_string(),
            input: plan.input.display().to_string(),
            input_blake3: a.input_blake3.clone(),
            rate: a.rate.clone(),
            engine: a.engine.clone(),
            stamps: a.lane.stamps.clone(),
            rule,
            margin_percent: rule.margin * 100.0,
            level: LEVEL,
            resamples: RESAMPLES,
            looks: rule.looks(),
            bound_percent: plan.bound * 100.0,
            differences: alike::differences(a, b),
            same_signals: true,
            warm_up_pairs: 1,
            failed: Vec::new(),
            pairs: Vec::new(),
            metrics: Vec::new(),
            stages: Vec::new(),
            regressions: Vec::new(),
            ended: Ended::Cap,
        })
    }
}

/// The lane's stages and the reader's columns of a report, as far as it counted them.
fn all_stages(r: &ReplayReport) -> Stages {
    NAMES.into_iter().filter_map(|name| Some((name.to_owned(), columns::stage(r, name)?))).collect()
}
