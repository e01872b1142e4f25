//! How long engines take.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::engine::Engine;

/// Rounds, which take turns between the engines.
const ROUNDS: usize = 8;
/// Runs of a round that are not timed: the engine before has had the caches.
const UNTIMED: usize = 4;
/// An engine's runs together take about this long at most, and are never fewer than [`FEWEST`] a round.
const LONGEST: Duration = Duration::from_secs(2);
const FEWEST: usize = 16;

/// Nanoseconds of a run, each with one read of the clock in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// What [`Engine::prepare`] did between two runs, the 99th percentile; 0 where there is nothing to prepare.
    pub prepare_p99_ns: u64,
}

/// Times each engine on the golden rows, in turns, so that a busy spell falls on all of them: `runs` runs each or, of a slow
/// model, as many as fit two seconds. A run is a row taken and its answer: a window slides by one row, a state goes on by one
/// step. All that can be prepared is prepared between runs, and timed for itself.
pub fn time(engines: &mut [&mut dyn Engine], golden: &[Vec<f32>], runs: usize) -> Vec<Times> {
    let mut samples = vec![Samples::default(); engines.len()];
    let each: Vec<usize> = engines.iter_mut().map(|engine| runs_a_round(*engine, golden, runs)).collect();
    for round in 0..ROUNDS {
        for ((engine, samples), &each) in engines.iter_mut().zip(&mut samples).zip(&each) {
            samples.take(*engine, golden, each, round);
        }
    }
    samples.into_iter().map(Samples::times).collect()
}

/// The first runs say how many are in reach; those of a window also fill it.
fn runs_a_round(engine: &mut dyn Engine, golden: &[Vec<f32>], runs: usize) -> usize {
    let mut output = vec![0.0; engine.info().outputs];
    let (width, rows) = (engine.info().inputs.max(1), engine.info().rows);
    for row in golden.iter().flat_map(|rows| rows.chunks(width)).cycle().take(rows) {
        let _ = engine.take(0, row);
    }
    let begun = Instant::now();
    for _ in 0..UNTIMED {
        let _ = black_box(engine.infer(&[0], &mut output));
    }
    let one = begun.elapsed() / UNTIMED as u32;
    let fit = LONGEST.as_nanos() / one.as_nanos().max(1);
    (runs / ROUNDS).min(fit as usize / ROUNDS).max(FEWEST)
}

#[derive(Clone, Default)]
struct Samples {
    runs: Vec<u64>,
    prepared: Vec<u64>,
}

impl Samples {
    fn take(&mut self, engine: &mut dyn Engine, golden: &[Vec<f32>], runs: usize, round: usize) {
        let mut output = vec![0.0; engine.info().outputs];
        let width = engine.info().inputs.max(1);
        let rows = golden.iter().flat_map(|rows| rows.chunks(width)).cycle().skip(round * runs % golden.len().max(1));
        for (i, row) in rows.take(UNTIMED + runs).enumerate() {
            let begun = Instant::now();
            let anything = engine.prepare();
            while engine.prepare() {}
            let prepared = begun.elapsed();
            let begun = Instant::now();
            // A run that fails has failed in the comparison already.
            let _ = black_box(engine.run(row, &mut output));
            let ran = begun.elapsed();
            if i >= UNTIMED {
                self.runs.push(ran.as_nanos() as u64);
                self.prepared.extend(anything.then_some(prepared.as_nanos() as u64));
            }
        }
    }

    fn times(mut self) -> Times {
        self.runs.sort_unstable();
        self.prepared.sort_unstable();
        let at = |sorted: &[u64], share: f64| {
            let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(place).copied().unwrap_or(0)
        };
        Times {
            p50_ns: at(&self.runs, 0.5),
            p99_ns: at(&self.runs, 0.99),
            p999_ns: at(&self.runs, 0.999),
            prepare_p99_ns: at(&self.prepared, 0.99),
        }
    }
}
