//! Whether an engine may stand in for the reference, and which of those that may is the fastest. Cold: at load only.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{Engine, EngineError};

/// Rows of each kind that are tried.
const ROWS: usize = 256;
/// Runs that are timed, in rounds that take turns between the engines.
const ROUNDS: usize = 8;
const RUNS: usize = 250;

/// What rounding alone may cost where large terms cancel, as a share of the largest term.
const ROUNDING: f32 = 4e-7;

/// How near an engine's answer must be: |difference| ≤ `absolute` + `relative` · |reference|, and what rounding costs where
/// large inputs cancel: 4e-7 of the row's largest input, or of the output's largest answer on any row where that is less.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Share of it that does not grow with the value.
    pub absolute: f32,
    /// Share of it that does.
    pub relative: f32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-5, relative: 1e-4 }
    }
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Rows compared.
    pub rows: usize,
    /// Largest absolute difference of finite answers.
    pub max_abs_err: f32,
}

/// Nanoseconds of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
}

/// Holds `candidate` against `reference` on `golden` and on rows made from it: mixed and shaken, far outside, so small that
/// they are denormal, all zero, with infinities and with NaN in them. NaN must come out exactly where the reference has it.
///
/// # Errors
/// The first row on which they differ, or a run that failed, in words.
pub fn compare(
    reference: &mut dyn Engine,
    candidate: &mut dyn Engine,
    golden: &[Vec<f32>],
    tolerance: Tolerance,
) -> Result<Agreement, String> {
    let outputs = reference.info().outputs;
    let trials = trials(golden);
    let mut wants = vec![vec![0.0; outputs]; trials.len()];
    let mut largest = vec![0.0; outputs];
    for (i, (want, (kind, _))) in wants.iter_mut().zip(&trials).enumerate() {
        answer(reference, &trials, i, want).map_err(|error| format!("{kind}: {error}"))?;
        largest.iter_mut().zip(want).for_each(|(largest, want)| *largest = finite(*want).max(*largest));
    }
    let mut got = vec![0.0; outputs];
    let mut agreement = Agreement::default();
    for (n, ((kind, row), want)) in trials.iter().zip(&wants).enumerate() {
        answer(candidate, &trials, n, &mut got).map_err(|error| format!("{kind}: {error}"))?;
        let widest = row.iter().copied().map(finite).fold(0.0, f32::max);
        for (i, (&want, &got)) in want.iter().zip(&got).enumerate() {
            let difference = (want - got).abs();
            let rounding = ROUNDING * widest.min(largest[i]);
            let near = difference <= tolerance.absolute + tolerance.relative * want.abs() + rounding;
            // An infinite answer must be that very infinity: it would swallow any tolerance.
            if !((near && want.is_finite()) || want == got || (want.is_nan() && got.is_nan())) {
                let (own, other) = (candidate.info().engine, reference.info().engine);
                return Err(format!("output {i} of a row that is {kind}: {own} says {got}, {other} {want}"));
            }
            if difference.is_finite() {
                agreement.max_abs_err = agreement.max_abs_err.max(difference);
            }
        }
        agreement.rows += 1;
    }
    Ok(agreement)
}

/// Runs trial `i`: a window is taken row by row. What one kind of row leaves in a state is not carried into the next, and
/// the golden rows are one run of steps.
fn answer(
    engine: &mut dyn Engine,
    trials: &[(&'static str, Vec<f32>)],
    i: usize,
    output: &mut [f32],
) -> Result<(), EngineError> {
    let (kind, rows) = &trials[i];
    if i == 0 || trials[i - 1].0 != *kind {
        engine.reset(0);
    }
    let width = engine.info().inputs.max(1);
    rows.chunks(width).try_for_each(|row| engine.take(0, row))?;
    engine.infer(&[0], output)
}

/// |x|, and 0 where it is not finite.
fn finite(x: f32) -> f32 {
    if x.is_finite() { x.abs() } else { 0.0 }
}

/// Rows with what they are; the same ones for the same golden rows.
fn trials(golden: &[Vec<f32>]) -> Vec<(&'static str, Vec<f32>)> {
    let mut rng = Pcg64::seed_from_u64(0x0070_696c_6c69_6f6e);
    let mut rows: Vec<_> = golden.iter().map(|row| ("golden", row.clone())).collect();
    let width = golden.first().map_or(0, Vec::len);
    for i in 0..ROWS {
        // Each feature of another golden row, shaken: within or near what the model was trained on.
        let mut row: Vec<f32> = (0..width)
            .map(|f| {
                golden[rng.random_range(0..golden.len())][f] * rng.random_range(0.5..1.5) + rng.random_range(-0.5..0.5)
            })
            .collect();
        let f = rng.random_range(0..width.max(1));
        let kind = match i % 8 {
            0..4 => "ordinary",
            4 => {
                let far = 10_f32.powi(rng.random_range(1..7));
                row.iter_mut().for_each(|x| *x *= far);
                "far outside"
            }
            5 => {
                row.iter_mut().for_each(|x| *x *= 1e-39);
                "denormal"
            }
            6 => {
                row[f] = if i % 16 == 6 { f32::INFINITY } else { f32::NEG_INFINITY };
                "infinite in one feature"
            }
            _ => {
                row[f] = f32::NAN;
                "NaN in one feature"
            }
        };
        rows.push((kind, row));
    }
    rows.push(("all zero", vec![0.0; width]));
    rows.push(("all NaN", vec![f32::NAN; width]));
    rows
}

/// Times each engine on the golden rows, in turns, so that a busy spell falls on all of them.
pub fn time(engines: &mut [&mut dyn Engine], golden: &[Vec<f32>]) -> Vec<Times> {
    let mut samples = vec![Vec::with_capacity(ROUNDS * RUNS); engines.len()];
    for _ in 0..ROUNDS {
        for (engine, samples) in engines.iter_mut().zip(&mut samples) {
            let mut output = vec![0.0; engine.info().outputs];
            let width = engine.info().inputs.max(1);
            let rows = golden.iter().flat_map(|rows| rows.chunks(width));
            for row in rows.cycle().take(RUNS) {
                let begun = Instant::now();
                // A run that fails has failed in `compare` already.
                let _ = std::hint::black_box(engine.run(row, &mut output));
                samples.push(begun.elapsed().as_nanos() as u64);
            }
        }
    }
    samples.into_iter().map(percentiles).collect()
}

fn percentiles(mut samples: Vec<u64>) -> Times {
    samples.sort_unstable();
    let at = |share: f64| samples.get(((samples.len() as f64 * share) as usize).min(samples.len() - 1)).copied();
    let at = |share| at(share).unwrap_or(0);
    Times { p50_ns: at(0.5), p99_ns: at(0.99), p999_ns: at(0.999) }
}

#[cfg(test)]
mod tests {
    use super::{Tolerance, compare};
    use crate::engine::{Engine, EngineError, EngineInfo};

    struct Function(fn(f32) -> f32, EngineInfo, f32);

    impl Engine for Function {
        fn take(&mut self, _: usize, input: &[f32]) -> Result<(), EngineError> {
            self.2 = input[0];
            Ok(())
        }

        fn infer(&mut self, _: &[usize], output: &mut [f32]) -> Result<(), EngineError> {
            output[0] = (self.0)(self.2);
            Ok(())
        }

        fn info(&self) -> &EngineInfo {
            &self.1
        }

        fn seat(&mut self, _: usize) {}

        fn reset(&mut self, _: usize) {}

        fn filled(&self, _: usize) -> bool {
            true
        }
    }

    fn compared(reference: fn(f32) -> f32, candidate: fn(f32) -> f32) -> Result<usize, String> {
        let engine = |f, engine| {
            Function(f, EngineInfo { engine, inputs: 1, outputs: 1, rows: 1, ..EngineInfo::default() }, 0.0)
        };
        let golden: Vec<Vec<f32>> = [-1.0, 0.5, 2.0].map(|x| vec![x]).to_vec();
        let (mut a, mut b) = (engine(reference, "a"), engine(candidate, "b"));
        compare(&mut a, &mut b, &golden, Tolerance::default()).map(|agreement| agreement.rows)
    }

    fn off(x: f32, share: f32) -> f32 {
        if x.is_finite() { x.abs().min(3e6) * share } else { 0.0 }
    }

    #[test]
    fn only_the_same_answers_are_admitted() {
        assert_eq!(compared(|x| x * 3.0, |x| x * 3.0), Ok(3 + 256 + 2));
        // Where terms of the input's size cancel, to 0 in most rows, their rounding is nobody's fault.
        let mostly_0 = |x: f32| if x > 2.5e6 { x } else { 0.0 };
        let rounded = |x: f32| if x > 2.5e6 { x } else { off(x, 2e-7) };
        let careless = |x: f32| if x > 2.5e6 { x } else { off(x, 2e-6) };
        assert!(compared(mostly_0, rounded).is_ok());
        assert!(compared(mostly_0, careless).unwrap_err().contains("far outside"));
        assert!(compared(|x| x, |x| x * 1.001).unwrap_err().contains("golden"));
        // No allowance by the input's size where the answer is a probability.
        let wrong = compared(|x| 1.0 / (1.0 + x * x), |x| (1.0 / (1.0 + x * x)).max(1e-3));
        assert!(wrong.as_ref().is_err_and(|why| why.contains("far outside")), "{wrong:?}");
        // An infinite answer is not near to anything else.
        for other in [|x: f32| x.min(9e30), |x: f32| if x == f32::INFINITY { -x } else { x }] {
            let wrong = compared(|x| x, other);
            assert!(wrong.as_ref().is_err_and(|why| why.contains("infinite in one feature")), "{wrong:?}");
        }
        assert!(compared(|x| x, |x| if x.is_nan() { 0.0 } else { x }).unwrap_err().contains("NaN"));
        assert!(compared(|x| x.max(0.0), |x| if x.is_nan() { x } else { x.max(0.0) }).unwrap_err().contains("NaN"));
    }
}
