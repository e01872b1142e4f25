//! A graph asked on rows of the market, and held against the answers of the estimator that it was exported from. Parity with
//! ONNX Runtime says nothing of an export that is wrong itself.

mod answers;
mod cause;
mod golden;

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::manifest::Expected;
use super::rows_in::{Key, Rows};
use crate::engine::admission::Tolerance;
use crate::engine::makeup::Makeup;
use crate::engine::{Engine, EngineError, Shape};
use crate::error::{Error, Result};
use crate::report::table::thousands;
use answers::Answers;
use golden::Golden;

/// Rows of one run where the graph takes several.
const BATCH: usize = 256;
/// Rows that are shown where many differ.
const SHOWN: usize = 10;
/// Most bytes of windows: one an instrument.
const MOST_BYTES: usize = 1 << 31;

/// What the rows are asked of.
pub(super) struct Asked<'a> {
    /// The file of rows.
    pub(super) rows: &'a Rows,
    /// The estimator's answers to them.
    pub(super) expect: Option<&'a Path>,
    /// The graph's shape.
    pub(super) shape: &'a Shape,
    /// Names of its values.
    pub(super) names: &'a [String],
    /// How far it may be from the estimator.
    pub(super) tolerance: Tolerance,
    /// Whether the largest value is a decision.
    pub(super) decides: bool,
    /// Make-up of the graph.
    pub(super) makeup: Makeup,
    /// True when pillion_export made the graph.
    pub(super) own: bool,
}

/// What it answered.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The file of rows.
    pub rows_of: String,
    /// Rows in it.
    pub rows: u64,
    /// Rows before a window or a state was filled, on which nothing was compared.
    pub unfilled: u64,
    /// Answers with a NaN or an infinity: their signals would be invalid.
    pub not_finite: u64,
    /// What the estimator says of the same rows.
    pub compared: Option<Compared>,
    /// Rows for golden.json.
    #[serde(skip)]
    pub(super) golden: Vec<Vec<f32>>,
}

/// The graph against the estimator.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The file of the estimator's answers.
    pub answers_of: String,
    /// Rows on which both were asked.
    pub rows: u64,
    /// Rows with a value beyond the tolerance.
    pub differ: u64,
    /// Rows on which the largest value is another one.
    pub decisions: u64,
    /// Where the largest absolute difference is.
    pub largest: Option<Difference>,
    /// Where the difference is the largest share of the estimator's answer.
    pub largest_share: Option<Difference>,
    /// The tolerance.
    pub tolerance: Tolerance,
    /// The worst rows, the worst first.
    pub worst: Vec<Difference>,
}

/// One value of one row.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Number of the row in its file, from 0.
    pub row: u64,
    /// Name of the value.
    pub output: String,
    /// What the graph gives.
    pub graph: f64,
    /// What the estimator gives.
    pub estimator: f64,
    /// How far apart they are; infinite where one of them is no number.
    pub difference: f64,
    /// How often the tolerance goes into that.
    #[serde(skip)]
    excess: f64,
}

impl Compared {
    /// What the manifest says of it.
    pub(super) fn expected(&self) -> Expected {
        let largest = self.largest.as_ref().map_or(0.0, |largest| largest.difference);
        Expected { rows: self.rows, differ: self.differ, largest, decisions: self.decisions }
    }

    /// In a sentence.
    pub(super) fn text(&self) -> String {
        let n = thousands;
        let Tolerance { absolute, relative } = self.tolerance;
        let share = 100.0 * self.differ as f64 / self.rows.max(1) as f64;
        let differ = match self.differ {
            0 => "none".into(),
            some => format!("{} ({share:.2} %)", n(some)),
        };
        let mut text = format!(
            "{differ} of {} rows differ from the estimator's answers beyond {absolute:e} + {relative:e} · |answer|",
            n(self.rows)
        );
        if let Some(at) = &self.largest {
            text += &format!(
                "; the largest difference is {:.2e} (row {}, `{}`: the graph {}, the estimator {})",
                at.difference, at.row, at.output, at.graph, at.estimator
            );
        }
        if let Some(at) = self.largest_share.as_ref().filter(|at| at.difference > 0.0) {
            let share = 100.0 * at.difference / at.estimator.abs();
            text += &format!(", the largest share of an answer {share:.2e} % (row {})", at.row);
        }
        text + &format!("; {} decisions differ", n(self.decisions))
    }
}

/// Asks the graph on every row, and the estimator's file where there is one.
///
/// # Errors
/// Files that do not fit each other or the graph; no row with an answer; answers beyond the tolerance.
pub(super) fn ask(asked: &Asked<'_>, engine: &mut dyn Engine) -> Result<Found> {
    let answers = asked.expect.map(|path| Answers::open(path, asked.names, asked.rows.count())).transpose()?;
    let mut ask = Ask::new(asked, engine, answers)?;
    let mut pass = asked.rows.pass()?;
    while let Some(row) = pass.next()? {
        ask.take(row.features, row.key, row.warm)?;
    }
    ask.run()?;
    let found = ask.found()?;
    engine.seat(1);
    Ok(found)
}

/// Rows on their way through the graph.
struct Ask<'a> {
    asked: &'a Asked<'a>,
    engine: &'a mut dyn Engine,
    answers: Option<Answers>,
    seats: HashMap<Key, usize>,
    /// Whether the latest row of each seat was warm.
    warm: Vec<Option<bool>>,
    golden: Golden,
    /// Rows of the run in hand, their numbers and what the estimator said.
    waiting: Vec<(u64, Vec<f32>, Vec<f64>)>,
    outputs: Vec<f32>,
    tally: Tally,
    sample: cause::Sample,
    row: u64,
    unfilled: u64,
    not_finite: u64,
}

#[derive(Default)]
struct Tally {
    rows: u64,
    differ: u64,
    decisions: u64,
    largest: Option<Difference>,
    largest_share: Option<Difference>,
    worst: Vec<Difference>,
}

impl<'a> Ask<'a> {
    fn new(asked: &'a Asked<'a>, engine: &'a mut dyn Engine, answers: Option<Answers>) -> Result<Self> {
        let owners = if asked.of_rows_before() { asked.rows.owners()? } else { Vec::new() };
        let kept = owners.len().saturating_mul(asked.shape.rows * asked.shape.features * size_of::<f32>());
        if kept > MOST_BYTES {
            let problem = format!("has rows of {} instruments, whose windows take {kept} bytes", owners.len());
            return Err(Error::input(asked.rows.path().display(), problem, "give rows of fewer instruments"));
        }
        let seats = if asked.of_rows_before() { owners.len() } else { BATCH };
        engine.seat(seats);
        Ok(Self {
            answers,
            warm: vec![None; seats],
            seats: owners.into_iter().zip(0..).collect(),
            golden: Golden::new(asked.shape, asked.rows.count(), seats),
            waiting: Vec::with_capacity(BATCH),
            outputs: vec![0.0; engine.info().outputs * BATCH],
            tally: Tally::default(),
            sample: cause::Sample::default(),
            row: 0,
            unfilled: 0,
            not_finite: 0,
            asked,
            engine,
        })
    }

    /// One row. Windows and states are run at once, in order; other rows together.
    fn take(&mut self, features: &[f64], key: Key, warm: Option<bool>) -> Result<()> {
        let row: Vec<f32> = features.iter().map(|&value| value as f32).collect();
        let wanted = match &mut self.answers {
            Some(answers) => answers.next()?.to_vec(),
            None => Vec::new(),
        };
        let number = self.row;
        self.row += 1;
        if !self.asked.of_rows_before() {
            self.waiting.push((number, row, wanted));
            return if self.waiting.len() == BATCH { self.run() } else { Ok(()) };
        }
        let seat = self.seats.get(&key).copied().unwrap_or(0);
        // Features that are warm no more have begun anew, and with them what models keep.
        if warm == Some(false) && self.warm[seat] == Some(true) {
            self.engine.reset(seat);
            self.golden.reset(seat);
        }
        self.warm[seat] = warm;
        let n = self.engine.info().outputs;
        let ran = self.engine.take(seat, &row).and_then(|()| self.engine.infer(&[seat], &mut self.outputs[..n]));
        ran.map_err(|error| self.asked.rows.unanswered(number, &error))?;
        let filled = self.engine.filled(seat);
        let outputs = self.outputs[..n].to_vec();
        self.answered(number, seat, &row, &outputs, &wanted, filled);
        Ok(())
    }

    /// Runs the rows that wait.
    fn run(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let n = self.engine.info().outputs;
        for (seat, (number, row, _)) in waiting.iter().enumerate() {
            let taken = self.engine.take(seat, row);
            taken.map_err(|error| self.asked.rows.bad(format!("row {number}: {error}")))?;
        }
        let seats: Vec<usize> = (0..waiting.len()).collect();
        let mut outputs = std::mem::take(&mut self.outputs);
        if !seats.is_empty() {
            let ran = self.engine.infer(&seats, &mut outputs[..n * seats.len()]);
            ran.map_err(|error| self.failed(&waiting, &error, &mut outputs[..n]))?;
        }
        for ((number, row, wanted), got) in waiting.iter().zip(outputs.chunks_exact(n)) {
            self.answered(*number, 0, row, got, wanted, true);
        }
        self.outputs = outputs;
        Ok(())
    }

    /// A run of several rows failed: the first of them that fails alone.
    fn failed(&mut self, waiting: &[(u64, Vec<f32>, Vec<f64>)], error: &EngineError, output: &mut [f32]) -> Error {
        for (seat, (number, ..)) in waiting.iter().enumerate() {
            if let Err(error) = self.engine.infer(&[seat], output) {
                return self.asked.rows.unanswered(*number, &error);
            }
        }
        self.asked.rows.unanswered(waiting[0].0, error)
    }

    fn answered(&mut self, number: u64, seat: usize, row: &[f32], got: &[f32], wanted: &[f64], filled: bool) {
        let finite = got.iter().all(|value| value.is_finite());
        self.golden.see(number, seat, row, filled && finite);
        if !filled {
            self.unfilled += 1;
            return;
        }
        self.not_finite += u64::from(!finite);
        if self.answers.is_some() {
            let got: Vec<f64> = got.iter().map(|&value| f64::from(value)).collect();
            let differs = self.tally.count(self.asked, number, &got, wanted);
            self.sample.see(number, &got, wanted, differs, row.contains(&0.0));
        }
    }

    fn found(self) -> Result<Found> {
        let Asked { rows, tolerance, .. } = *self.asked;
        let asked = self.row - self.unfilled;
        if asked == 0 {
            let length = self.asked.shape.warmup;
            return Err(rows.bad(format!("has no {length} rows of one instrument behind each other")));
        }
        if self.not_finite == asked {
            let problem = format!("the graph answers each of {} rows with a NaN or an infinity", thousands(asked));
            let mend = "its weights or its scaling overflow on real rows: look at the export, and at what the rows are scaled by";
            return Err(Error::input(rows.path().display(), problem, mend));
        }
        let compared = self.answers.map(|answers| answers.end().map(|path| self.tally.compared(&path, tolerance)));
        let compared = compared.transpose()?;
        if let Some(compared) = compared.as_ref().filter(|compared| compared.differ > 0) {
            return Err(refusal(compared, &self.sample, self.asked));
        }
        let golden = self.golden.rows().map_err(|problem| rows.bad(problem))?;
        let (rows_of, not_finite) = (rows.path().display().to_string(), self.not_finite);
        Ok(Found { rows_of, rows: self.row, unfilled: self.unfilled, not_finite, compared, golden })
    }
}

impl Asked<'_> {
    /// Whether an answer hangs on rows before its own.
    fn of_rows_before(&self) -> bool {
        self.shape.rows > 1 || !self.shape.states.is_empty()
    }
}

impl Tally {
    /// Counts a row; whether it is beyond the tolerance.
    fn count(&mut self, asked: &Asked<'_>, row: u64, got: &[f64], wanted: &[f64]) -> bool {
        let Tolerance { absolute, relative } = asked.tolerance;
        self.rows += 1;
        self.decisions += u64::from(asked.decides && largest_of(got) != largest_of(wanted));
        let mut worst: Option<Difference> = None;
        for ((&graph, &estimator), output) in got.iter().zip(wanted).zip(asked.names) {
            // The same infinity, and NaN where the estimator has it, are the same answer.
            let same = graph == estimator || (graph.is_nan() && estimator.is_nan());
            let apart = (graph - estimator).abs();
            let difference = if same {
                0.0
            } else if apart.is_nan() {
                f64::INFINITY
            } else {
                apart
            };
            let allowed = f64::from(absolute) + f64::from(relative) * estimator.abs();
            let excess = if same {
                0.0
            } else if allowed.is_finite() {
                difference / allowed
            } else {
                f64::INFINITY
            };
            let here = Difference { row, output: output.clone(), graph, estimator, difference, excess };
            let share = |at: &Difference| if at.estimator == 0.0 { 0.0 } else { at.difference / at.estimator.abs() };
            keep_larger(&mut self.largest, &here, |at| at.difference);
            keep_larger(&mut self.largest_share, &here, share);
            keep_larger(&mut worst, &here, |at| at.excess);
        }
        let Some(worst) = worst.filter(|worst| worst.excess > 1.0) else { return false };
        self.differ += 1;
        let place = self.worst.partition_point(|other| other.excess >= worst.excess);
        if place < SHOWN {
            self.worst.insert(place, worst);
            self.worst.truncate(SHOWN);
        }
        true
    }

    fn compared(self, answers: &Path, tolerance: Tolerance) -> Compared {
        let Self { rows, differ, decisions, largest, largest_share, worst } = self;
        let answers_of = answers.display().to_string();
        Compared { answers_of, rows, differ, decisions, largest, largest_share, tolerance, worst }
    }
}

fn keep_larger(kept: &mut Option<Difference>, here: &Difference, of: impl Fn(&Difference) -> f64) {
    if kept.as_ref().is_none_or(|kept| of(here) > of(kept)) {
        *kept = Some(here.clone());
    }
}

/// The place of the largest value, the first of equal ones.
fn largest_of(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if value.total_cmp(&values[best]).is_gt() {
            best = at;
        }
    }
    best
}

fn refusal(compared: &Compared, sample: &cause::Sample, asked: &Asked<'_>) -> Error {
    let cause = sample.cause(compared, asked);
    let mut rows = vec![["row", "output", "graph", "estimator", "difference"].map(str::to_owned).to_vec()];
    rows.extend(compared.worst.iter().map(|at| {
        let number = |value: f64| format!("{value}");
        vec![
            at.row.to_string(),
            at.output.clone(),
            number(at.graph),
            number(at.estimator),
            format!("{:.2e}", at.difference),
        ]
    }));
    let table = crate::report::table::columns(&rows);
    let table: String = table.lines().map(|line| format!("\n    {line}")).collect();
    let problem = format!("{}\n  {}\n  the worst rows, counted from 0:{table}", compared.text(), cause.text);
    Error::input(&compared.answers_of, problem, cause.mend)
}
