//! How leaves are put together, and what is done with the scores.

use super::super::Refusal;
use super::super::graph::Node as Operator;
use super::super::reduce::Softmax;
use super::super::simd::Simd;

/// How the leaves of all trees become one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    pub fn named(operator: &Operator, name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            other => return Err(operator.refuse(format!("aggregate_function {other} is not taken"))),
        })
    }

    /// What leaves the others as they are.
    pub fn nothing(self) -> f32 {
        match self {
            Self::Sum | Self::Average => 0.0,
            Self::Min => f32::INFINITY,
            Self::Max => f32::NEG_INFINITY,
        }
    }
}

/// What is done with the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Post {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Post {
    pub fn named(operator: &Operator, name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(operator.refuse(format!("post_transform {other} is not taken"))),
        })
    }

    /// In place.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, y: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => y.iter_mut().for_each(|y| *y = 1.0 / (1.0 + (-*y).exp())),
            Self::Softmax => softmax(s, y),
            // Zeros stay zeros and take no part.
            Self::SoftmaxZero => {
                let top = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let power = |y: f32| if y == 0.0 { 0.0 } else { (y - top).exp() };
                let total: f32 = y.iter().map(|&y| power(y)).sum();
                y.iter_mut().for_each(|y| *y = power(*y) / total);
            }
            Self::Probit => y.iter_mut().for_each(|y| *y = probit(*y)),
        }
    }
}

#[inline(always)]
fn softmax<S: Simd>(s: S, y: &mut [f32]) {
    let mut copy = [0.0; 1024];
    let copy = &mut copy[..y.len()];
    copy.copy_from_slice(y);
    Softmax::Plain.run(s, copy, y);
}

/// The standard normal quantile √2 · erf⁻¹(2p - 1), by Winitzki's formula (2008) with a = 0.147, which is what the reference
/// computes: within 2e-3 of the true one.
#[inline(always)]
fn probit(p: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * p - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    // In the reference's order: it cancels near 1/2.
    let root = (-half + (half * half - 1.0 / A * log).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}
