//! Rows to one value, and rows brought to a common scale.

use super::math;
use super::simd::Simd;
use super::tensor::LANES;

/// What a row becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    SumSquare,
    /// √Σx².
    L2,
    /// Σ|x|.
    L1,
    Prod,
    /// ln Σx.
    LogSum,
    /// ln Σe^x, without overflow.
    LogSumExp,
    /// Place of the largest value, or of the least; of equal ones the first, or the last.
    Place {
        largest: bool,
        last: bool,
    },
}

impl Reduce {
    /// The row's value. NaN when one of the row is.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, row: &[f32]) -> f32 {
        match self {
            Self::Sum => sum(s, row, |_, x| x),
            Self::Mean => sum(s, row, |_, x| x) / row.len() as f32,
            Self::SumSquare => sum(s, row, |s, x| s.mul(x, x)),
            Self::L2 => sum(s, row, |s, x| s.mul(x, x)).sqrt(),
            Self::L1 => sum(s, row, |s, x| s.abs(x)),
            Self::Max => row.iter().fold(f32::NEG_INFINITY, |top, &x| if top > x || top.is_nan() { top } else { x }),
            Self::Min => {
                row.iter().fold(f32::INFINITY, |least, &x| if least < x || least.is_nan() { least } else { x })
            }
            Self::Prod => row.iter().product(),
            Self::LogSum => sum(s, row, |_, x| x).ln(),
            Self::LogSumExp => log_sum_exp(s, row),
            Self::Place { largest, last } => place(row, largest, last),
        }
    }
}

/// The largest value, and the logarithm of what all are in powers of e above it.
#[inline(always)]
fn log_sum_exp<S: Simd>(s: S, row: &[f32]) -> f32 {
    let top = Reduce::Max.run(s, row);
    if !top.is_finite() {
        return top;
    }
    let shift = s.splat(top);
    let mut total = s.splat(0.0);
    for x in row.chunks(LANES) {
        // An absent lane adds e^-∞, at most 1e-38; the total is at least 1.
        let mut lanes = [f32::NEG_INFINITY; LANES];
        lanes[..x.len()].copy_from_slice(x);
        total = s.add(total, math::exp(s, s.sub(s.load(&lanes), shift)));
    }
    s.sum(total).ln() + top
}

/// NaN when one of the row is: a place that is none, where the runtime gives one by chance.
#[inline(always)]
fn place(row: &[f32], largest: bool, last: bool) -> f32 {
    if row.iter().any(|x| x.is_nan()) {
        return f32::NAN;
    }
    let mut best = 0;
    for (i, &x) in row.iter().enumerate().skip(1) {
        let better = if largest { x > row[best] } else { x < row[best] };
        if better || (last && x == row[best]) {
            best = i;
        }
    }
    best as f32
}

/// Σ f(x) over sixteen sums.
#[inline(always)]
fn sum<S: Simd>(s: S, row: &[f32], f: impl Fn(S, S::V) -> S::V) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut total = s.splat(0.0);
    for chunk in chunks {
        total = s.add(total, f(s, s.load(chunk)));
    }
    if !rest.is_empty() {
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        total = s.add(total, f(s, s.load(&last)));
    }
    s.sum(total)
}

/// Forms of softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Softmax {
    /// e^x / Σe^x.
    Plain,
    /// Its logarithm.
    Log,
}

impl Softmax {
    /// One row, shifted by its largest value so that nothing overflows.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, x: &[f32], y: &mut [f32]) {
        let top = s.splat(Reduce::Max.run(s, x));
        let mut total = s.splat(0.0);
        for (x, y) in x.chunks(LANES).zip(y.chunks_mut(LANES)) {
            // An absent lane adds e^-∞, at most 1e-38; the total is at least 1.
            let mut lanes = [f32::NEG_INFINITY; LANES];
            lanes[..x.len()].copy_from_slice(x);
            let shifted = s.sub(s.load(&lanes), top);
            let powers = math::exp(s, shifted);
            total = s.add(total, powers);
            s.store(&mut lanes, if self == Self::Plain { powers } else { shifted });
            y.copy_from_slice(&lanes[..x.len()]);
        }
        let total = s.sum(total);
        match self {
            Self::Plain => y.iter_mut().for_each(|y| *y /= total),
            Self::Log => {
                let log = total.ln();
                y.iter_mut().for_each(|y| *y -= log);
            }
        }
    }
}

/// Layer normalisation of rows.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
    pub epsilon: f32,
}

impl Norm {
    /// Values of a row.
    pub fn n(&self) -> usize {
        self.scale.len()
    }

    /// (x - mean) / √(variance + ε) · scale + bias.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, x: &[f32], y: &mut [f32]) {
        let n = x.len() as f32;
        let mean = sum(s, x, |_, x| x) / n;
        // In two passes: the variance of large values with a small spread survives.
        for (y, x) in y.iter_mut().zip(x) {
            *y = x - mean;
        }
        let variance = sum(s, y, |s, d| s.mul(d, d)) / n;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        for ((y, scale), bias) in y.iter_mut().zip(&self.scale).zip(&self.bias) {
            *y = *y * factor * scale + bias;
        }
    }
}
