//! Recurrent layers: LSTM, GRU and plain, a step at a time or over a window.
//!
//! A step's gates are a sum of two products, each of all gates at once: h · U, which can be known before the row, and
//! x · W + b. What comes after is the same for all units of a layer, sixteen at a time.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::Weights;
use super::dense::Dense;
use super::math;
use super::product::Span;
use super::simd::Simd;
use super::tensor::{Block, LANES};

/// What a step makes of its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Gates i, o, f, c.
    Lstm,
    /// Gates z, r, candidate: the reset comes after the product.
    GruAfter,
    /// The same: the product is of what the reset left.
    GruBefore,
    /// One gate.
    Tanh,
    Relu,
}

impl Cell {
    /// Gates of a unit.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::GruAfter | Self::GruBefore => 3,
            Self::Tanh | Self::Relu => 1,
        }
    }

    /// How many of them h · U is known of before the row.
    pub fn own(self) -> usize {
        if self == Self::GruBefore { 2 } else { self.gates() }
    }
}

/// One layer in one direction.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub cell: Cell,
    /// Values of a row of x.
    pub inputs: usize,
    /// Units.
    pub hidden: usize,
    /// x · W + b of all gates.
    pub w: Dense,
    /// h · U of the first gates, + b of a candidate that is reset after it.
    pub u: Dense,
    /// (r h) · U of a candidate that is reset before it.
    pub after: Option<Dense>,
    /// What `u` gives for a state of 0.
    pub own_bias: Vec<f32>,
    /// A gate that is NaN opens as far as it can: ONNX Runtime bounds gates where it adds a bias, and NaN becomes the upper
    /// bound. Else NaN stays.
    pub bounded: bool,
}

/// Whole blocks for `n` values that are read by whole blocks from any value on.
fn readable(n: usize) -> usize {
    n.div_ceil(LANES) + 1
}

impl Layer {
    /// How the weights of its products are stored.
    pub fn forms(&self) -> Vec<Weights> {
        [Some(&self.w), Some(&self.u), self.after.as_ref()].into_iter().flatten().map(Dense::form).collect()
    }

    /// Values of scratch for `rows` rows: h · U, what the reset left and its product, and x · W + b of each row.
    pub fn scratch(&self, rows: usize) -> usize {
        (self.own_blocks() + rows * self.given_blocks() + 1) * LANES
    }

    fn own_blocks(&self) -> usize {
        readable(self.cell.own() * self.hidden) + if self.after.is_some() { 2 * readable(self.hidden) } else { 0 }
    }

    /// Blocks of a row of x · W + b.
    fn given_blocks(&self) -> usize {
        (self.cell.gates() * self.hidden).div_ceil(LANES)
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.w.bytes() + self.u.bytes() + self.after.as_ref().map_or(0, Dense::bytes)
    }

    /// What hangs on the state alone; a state of 0 if there is none.
    #[inline(always)]
    pub fn start<S: Simd>(&self, s: S, h: Option<&[f32]>, scratch: &mut [Block]) {
        match h {
            Some(h) => self.u.run(s, &h[..self.hidden], &mut scratch[..(self.own_bias.len()).div_ceil(LANES)]),
            None => {
                let own: &mut [f32] = bytemuck::cast_slice_mut(scratch);
                own[..self.own_bias.len()].copy_from_slice(&self.own_bias);
            }
        }
    }

    /// The rest of a step: x · W + b, and what h and c become by the gates.
    #[inline(always)]
    pub fn step<S: Simd>(&self, s: S, x: &[f32], scratch: &mut [Block], h: &mut [f32], c: &mut [f32]) {
        let (own, given) = scratch.split_at_mut(self.own_blocks());
        self.w.run(s, &x[..self.inputs], &mut given[..self.given_blocks()]);
        self.advance(s, own, bytemuck::cast_slice(given), h, c);
    }

    /// h and c by the gates of a step. What is past the last unit is computed too, and nobody's.
    #[inline(always)]
    fn advance<S: Simd>(&self, s: S, own: &mut [Block], given: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = self.hidden;
        let (own, left) = own.split_at_mut(readable(self.cell.own() * n));
        let own: &[f32] = bytemuck::cast_slice(own);
        let (h, _) = h.as_chunks_mut::<LANES>();
        let (c, _) = c.as_chunks_mut::<LANES>();
        match self.cell {
            Cell::Lstm => {
                for (b, (h, c)) in h.iter_mut().zip(c).enumerate() {
                    let gates = sum(s, own, given, n, b);
                    let (new, out) = lstm(s, gates, s.load(c), self.bounded);
                    s.store(c, new);
                    s.store(h, out);
                }
            }
            Cell::GruAfter => {
                for (b, h) in h.iter_mut().enumerate() {
                    let [z, r] = sum(s, own, given, n, b);
                    let (own, given) = (at(s, own, 2 * n, b), at(s, given, 2 * n, b));
                    let candidate = s.add(given, s.div(own, one_over_sigmoid(s, r)));
                    let candidate = kept_nan(s, [r], candidate, self.bounded);
                    s.store(h, gru(s, z, candidate, s.load(h), self.bounded));
                }
            }
            Cell::GruBefore => {
                let (left, product) = left.split_at_mut(readable(n));
                for (b, (h, left)) in h.iter().zip(left.iter_mut()).enumerate() {
                    let [_, r] = sum(s, own, given, n, b);
                    let value = s.div(s.load(h), one_over_sigmoid(s, r));
                    s.store(&mut left.0, kept_nan(s, [r], value, self.bounded));
                }
                if let Some(after) = &self.after {
                    let left: &[f32] = bytemuck::cast_slice(left);
                    after.run(s, &left[..n], &mut product[..n.div_ceil(LANES)]);
                }
                for (b, (h, product)) in h.iter_mut().zip(product.iter()).enumerate() {
                    let [z] = sum(s, own, given, n, b);
                    let candidate = s.add(at(s, given, 2 * n, b), s.load(&product.0));
                    s.store(h, gru(s, z, candidate, s.load(h), self.bounded));
                }
            }
            Cell::Tanh => {
                for (b, h) in h.iter_mut().enumerate() {
                    let [x] = sum(s, own, given, n, b);
                    let (top, bottom) = math::tanh_parts(s, x);
                    s.store(h, s.div(top, bottom));
                }
            }
            Cell::Relu => {
                for (b, h) in h.iter_mut().enumerate() {
                    let [x] = sum(s, own, given, n, b);
                    // NaN becomes 0, as in ONNX Runtime: it is the first operand.
                    s.store(h, s.max(x, s.splat(0.0)));
                }
            }
        }
    }
}

/// Block `b` of the values from `first` on.
#[inline(always)]
fn at<S: Simd>(s: S, values: &[f32], first: usize, b: usize) -> S::V {
    match values[first + b * LANES..].first_chunk() {
        Some(block) => s.load(block),
        None => s.splat(0.0),
    }
}

/// Block `b` of each of the first `G` gates of `n` units.
#[inline(always)]
fn sum<S: Simd, const G: usize>(s: S, own: &[f32], given: &[f32], n: usize, b: usize) -> [S::V; G] {
    let mut gates = [s.splat(0.0); G];
    for (g, gate) in gates.iter_mut().enumerate() {
        *gate = s.add(at(s, given, g * n, b), at(s, own, g * n, b));
    }
    gates
}

/// 1 + e^-x.
#[inline(always)]
fn one_over_sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    s.add(s.splat(1.0), math::exp_within(s, s.neg(x)))
}

/// What a bound makes of NaN.
#[inline(always)]
fn large_if_nan<S: Simd>(s: S, x: S::V) -> S::V {
    s.min(x, s.splat(f32::MAX))
}

/// `value`, but NaN where a gate is NaN that is not bounded.
#[inline(always)]
fn kept_nan<S: Simd, const G: usize>(s: S, gates: [S::V; G], mut value: S::V, bounded: bool) -> S::V {
    if !bounded {
        for gate in gates {
            value = s.if_nan(gate, gate, value);
        }
    }
    value
}

/// c' = σ(f) c + σ(i) tanh g and σ(o) tanh c', each over one denominator: a division takes as long as ten products.
#[inline(always)]
fn lstm<S: Simd>(s: S, [i, o, f, g]: [S::V; 4], c: S::V, bounded: bool) -> (S::V, S::V) {
    let (over_i, over_o, over_f) = (one_over_sigmoid(s, i), one_over_sigmoid(s, o), one_over_sigmoid(s, f));
    let (top, bottom) = math::tanh_parts(s, large_if_nan(s, g));
    let entry = s.mul(over_i, bottom);
    let c = s.div(s.mul_add(c, entry, s.mul(top, over_f)), s.mul(entry, over_f));
    let c = kept_nan(s, [i, f, g], c, bounded);
    let (top, bottom) = math::tanh_parts(s, c);
    (c, kept_nan(s, [o], s.div(top, s.mul(over_o, bottom)), bounded))
}

/// σ(z) h + (1 - σ(z)) tanh n, over one denominator.
#[inline(always)]
fn gru<S: Simd>(s: S, z: S::V, n: S::V, h: S::V, bounded: bool) -> S::V {
    let e = math::exp_within(s, s.neg(z));
    let (top, bottom) = math::tanh_parts(s, large_if_nan(s, n));
    let h = s.div(s.mul_add(e, top, s.mul(h, bottom)), s.mul(s.add(s.splat(1.0), e), bottom));
    kept_nan(s, [z, n], h, bounded)
}

/// A layer over a window.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub layer: Arc<Layer>,
    /// Rows of the window.
    pub rows: usize,
    /// From the newest row to the oldest.
    pub reverse: bool,
    /// Values from one row of y to the next, and the first of them that is this direction's.
    pub stride: usize,
    pub first: usize,
}

impl Sequence {
    /// From x, row behind row, to y (none when empty). `h` and `c` are the first state, 0 if `zero`, and become the last.
    #[inline(always)]
    pub fn run<S: Simd>(
        &self,
        s: S,
        x: &[f32],
        scratch: &mut [Block],
        [h, c]: [&mut [f32]; 2],
        zero: bool,
        y: &mut [f32],
    ) {
        let (layer, rows, n) = (&*self.layer, self.rows, self.layer.hidden);
        let (own, given) = scratch.split_at_mut(layer.own_blocks());
        let blocks = layer.given_blocks();
        // Of all rows at once: they share the weights.
        let span = Span { x: &x[..rows * layer.inputs], apart: layer.inputs, rows, between: 0, alike: false };
        layer.w.rows_of_blocks(s, span, given);
        for step in 0..rows {
            let t = if self.reverse { rows - 1 - step } else { step };
            layer.start(s, if step == 0 && zero { None } else { Some(&*h) }, own);
            layer.advance(s, own, bytemuck::cast_slice(&given[t * blocks..][..blocks + 1]), h, c);
            if !y.is_empty() {
                y[t * self.stride + self.first..][..n].copy_from_slice(&h[..n]);
            }
        }
    }
}
