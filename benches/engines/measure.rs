//! Runs timed one by one, in rounds that take turns between the engines.

use std::hint::black_box;

use pillion::engine::Engine;

/// Rows that the runs go through.
pub const ROWS: usize = 512;
/// Fewest runs of a round.
const RUNS: usize = 100;

/// The time stamp counter, and what two reads of it cost.
pub struct Clock {
    clock: quanta::Clock,
    cost: f64,
}

impl Clock {
    pub fn new() -> Self {
        let mut clock = Self { clock: quanta::Clock::new(), cost: 0.0 };
        let mut costs: Vec<f64> = (0..20_000).map(|_| clock.timed(|| ())).collect();
        clock.cost = quantile(&mut costs, 0.5);
        clock
    }

    /// Nanoseconds of the two reads around nothing.
    pub fn cost_ns(&self) -> f64 {
        self.cost
    }

    /// Nanoseconds of `work`, without those of the reads.
    fn timed(&self, work: impl FnOnce()) -> f64 {
        let begun = self.clock.raw();
        work();
        let ended = self.clock.raw();
        (self.clock.delta_as_nanos(begun, ended) as f64 - self.cost).max(0.0)
    }
}

/// An engine with one of its options, ready for its turn.
pub struct Turn {
    pub name: String,
    pub engine: Box<dyn Engine>,
    /// Instruments in one run.
    pub seats: usize,
    /// Bytes of weights that a run reads, where the engine says.
    pub weight_bytes: Option<usize>,
    /// Whether [`Engine::prepare`] is called until it has nothing left, between runs.
    pub prepares: bool,
    /// [`ROWS`] rows behind one another.
    pub rows: Vec<f32>,
}

/// Nanoseconds for a row, of the quietest round.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Median of what is done between runs.
    pub ahead: Option<f64>,
    medians: Vec<f64>,
}

impl Figures {
    /// How many times the reference's run is as long: the median of the rounds.
    pub fn ratio_to(&self, reference: &Self) -> f64 {
        let mut ratios: Vec<f64> =
            reference.medians.iter().zip(&self.medians).map(|(theirs, own)| theirs / own).collect();
        quantile(&mut ratios, 0.5)
    }
}

/// Each engine once a round, `ns` long and at least [`RUNS`] runs, after a round that is not counted.
pub fn interleaved(turns: &mut [Turn], clock: &Clock, (rounds, ns): (usize, u64)) -> Vec<Figures> {
    let mut figures = vec![Figures::default(); turns.len()];
    let mut samples = Vec::new();
    let runs: Vec<usize> = turns.iter_mut().map(|turn| runs_in(turn, clock, ns)).collect();
    for _ in 0..rounds {
        for ((turn, &runs), figures) in turns.iter_mut().zip(&runs).zip(&mut figures) {
            samples.clear();
            let ahead = round(turn, clock, runs, &mut samples);
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| quantile(&mut samples, share) / turn.seats as f64);
            figures.medians.push(p50);
            if figures.medians.len() == 1 || p50 * p99 < figures.p50 * figures.p99 {
                (figures.p50, figures.p99, figures.p999, figures.ahead) = (p50, p99, p999, ahead);
            }
        }
    }
    figures
}

/// How many runs fill a round.
fn runs_in(turn: &mut Turn, clock: &Clock, ns: u64) -> usize {
    let mut samples = Vec::new();
    let ahead = round(turn, clock, RUNS, &mut samples).unwrap_or(0.0);
    let each = quantile(&mut samples, 0.5) + ahead + 2.0 * clock.cost_ns();
    ((ns as f64 / each.max(1.0)) as usize).max(RUNS)
}

/// So many runs, timed one by one; the median of the preparation between them, where there is one.
fn round(turn: &mut Turn, clock: &Clock, runs: usize, samples: &mut Vec<f64>) -> Option<f64> {
    let width = turn.engine.info().inputs;
    let seats: Vec<usize> = (0..turn.seats).collect();
    let mut outputs = vec![0.0; turn.engine.info().outputs * turn.seats];
    let mut ahead = Vec::new();
    let mut rows = turn.rows.chunks_exact(width).cycle();
    for _ in 0..runs {
        let engine = &mut turn.engine;
        samples.push(clock.timed(|| {
            for (&seat, row) in seats.iter().zip(&mut rows) {
                // A run that fails has failed when the case was made.
                let _ = engine.take(seat, black_box(row));
            }
            let _ = engine.infer(&seats, &mut outputs);
            black_box(&outputs);
        }));
        if turn.prepares {
            ahead.push(clock.timed(|| while engine.prepare() {}));
        }
    }
    turn.prepares.then(|| quantile(&mut ahead, 0.5))
}

/// The value that this share of the samples lies below.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
