//! Recurrent layers: LSTM, GRU and plain, a step at a time or over a window.
//!
//! All gates of a step lie in one row of values, gate behind gate: the bias, to which x · W and h · U are added, each in one
//! product of all gates. What a step does after that is the same for all units of a layer, sixteen at a time.

mod packed;

use super::math;
use super::simd::Simd;
use super::tensor::{Buffer, LANES};
pub(super) use packed::{Form, Packed};

/// What a step makes of its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Gates i, o, f, c.
    Lstm,
    /// Gates h · U of the candidate, z, r, x · W of the candidate: the reset comes after the product.
    GruAfter,
    /// Gates z, r, candidate: the product is of what the reset left.
    GruBefore,
    /// One gate.
    Tanh,
    Relu,
}

impl Cell {
    /// Gates of a unit, as they lie in the row.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm | Self::GruAfter => 4,
            Self::GruBefore => 3,
            Self::Tanh | Self::Relu => 1,
        }
    }

    /// The first gate that x · W is added to, and how many they are.
    pub fn given(self) -> (usize, usize) {
        match self {
            Self::GruAfter => (1, 3),
            _ => (0, self.gates()),
        }
    }

    /// How many gates h · U is added to, from the first on.
    pub fn own(self) -> usize {
        match self {
            Self::GruAfter => 3,
            Self::GruBefore => 2,
            _ => self.gates(),
        }
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
    /// x · W.
    pub w: Packed,
    /// h · U.
    pub u: Packed,
    /// (r · h) · U of [`Cell::GruBefore`]'s candidate.
    pub after: Option<Packed>,
    /// All gates' biases, and whole blocks behind them.
    pub bias: Buffer,
}

impl Layer {
    /// Values that a row of gates needs: products end in whole blocks, and are read by whole blocks from any value on.
    pub fn stride(&self) -> usize {
        let spare = if self.after.is_some() { 1 } else { 0 };
        ((self.cell.gates() + spare) * self.hidden).next_multiple_of(LANES) + 3 * LANES
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        let after = self.after.as_ref().map_or(0, Packed::bytes);
        self.w.bytes() + self.u.bytes() + after + size_of_val(&self.bias.0[..])
    }

    /// What hangs on the state alone: gates = bias + h · U.
    #[inline(always)]
    pub fn start<S: Simd>(&self, s: S, h: Option<&[f32]>, gates: &mut [f32]) {
        let bias = self.bias.values();
        gates[..bias.len()].copy_from_slice(bias);
        if let Some(h) = h {
            self.u.add(s, h, gates);
        }
    }

    /// The rest of a step: gates += x · W, and what h and c become by them.
    #[inline(always)]
    pub fn step<S: Simd>(&self, s: S, x: &[f32], gates: &mut [f32], h: &mut [f32], c: &mut [f32]) {
        let (first, _) = self.cell.given();
        self.w.add(s, x, &mut gates[first * self.hidden..]);
        self.advance(s, gates, h, c);
    }

    /// h and c by the gates of a step.
    #[inline(always)]
    fn advance<S: Simd>(&self, s: S, gates: &mut [f32], h: &mut [f32], c: &mut [f32]) {
        let n = self.hidden;
        let (h_blocks, _) = h.as_chunks_mut::<LANES>();
        let (c_blocks, _) = c.as_chunks_mut::<LANES>();
        match self.cell {
            Cell::Lstm => {
                for (b, (h, c)) in h_blocks.iter_mut().zip(c_blocks).enumerate() {
                    let [i, o, f, g] = at(s, gates, n, b);
                    let (new, out) = lstm(s, [i, o, f, g], s.load(c));
                    s.store(c, new);
                    s.store(h, out);
                }
            }
            Cell::GruAfter => {
                for (b, h) in h_blocks.iter_mut().enumerate() {
                    let [own, z, r, given] = at(s, gates, n, b);
                    let reset = s.div(own, one_over_sigmoid(s, r));
                    s.store(h, gru(s, z, s.add(given, reset), s.load(h)));
                }
            }
            Cell::GruBefore => {
                let (gates, left) = gates.split_at_mut((3 * n).next_multiple_of(LANES) + LANES);
                for (b, (h, left)) in h_blocks.iter().zip(left.as_chunks_mut::<LANES>().0).enumerate() {
                    let [_, r] = at(s, gates, n, b);
                    s.store(left, s.div(s.load(h), one_over_sigmoid(s, r)));
                }
                if let Some(after) = &self.after {
                    after.add(s, left, &mut gates[2 * n..]);
                }
                for (b, h) in h_blocks.iter_mut().enumerate() {
                    let [z, _, candidate] = at(s, gates, n, b);
                    s.store(h, gru(s, z, candidate, s.load(h)));
                }
            }
            Cell::Tanh => {
                for (b, h) in h_blocks.iter_mut().enumerate() {
                    let [x] = at(s, gates, n, b);
                    let (top, bottom) = math::tanh_parts(s, x);
                    s.store(h, s.div(top, bottom));
                }
            }
            Cell::Relu => {
                for (b, h) in h_blocks.iter_mut().enumerate() {
                    let [x] = at(s, gates, n, b);
                    // NaN becomes 0, as in ONNX Runtime: it is the first operand.
                    s.store(h, s.max(x, s.splat(0.0)));
                }
            }
        }
    }
}

/// Block `b` of each of the first `G` gates of `n` units.
#[inline(always)]
fn at<S: Simd, const G: usize>(s: S, gates: &[f32], n: usize, b: usize) -> [S::V; G] {
    let mut blocks = [s.splat(0.0); G];
    for g in 0..G {
        if let Some(block) = gates[g * n + b * LANES..].first_chunk() {
            blocks[g] = s.load(block);
        }
    }
    blocks
}

/// 1 + e^-x.
#[inline(always)]
fn one_over_sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    s.add(s.splat(1.0), math::exp_within(s, s.neg(x)))
}

/// A gate that is NaN opens as far as it can, as in ONNX Runtime, which bounds gates so that NaN becomes the upper bound.
#[inline(always)]
fn large_if_nan<S: Simd>(s: S, x: S::V) -> S::V {
    s.min(x, s.splat(f32::MAX))
}

/// c' = σ(f) c + σ(i) tanh g and σ(o) tanh c', each over one denominator: a division takes as long as ten products.
#[inline(always)]
fn lstm<S: Simd>(s: S, [i, o, f, g]: [S::V; 4], c: S::V) -> (S::V, S::V) {
    let (i, o, f) = (one_over_sigmoid(s, i), one_over_sigmoid(s, o), one_over_sigmoid(s, f));
    let (top, bottom) = math::tanh_parts(s, large_if_nan(s, g));
    let entry = s.mul(i, bottom);
    let c = s.div(s.mul_add(c, entry, s.mul(top, f)), s.mul(entry, f));
    let (top, bottom) = math::tanh_parts(s, c);
    (c, s.div(top, s.mul(o, bottom)))
}

/// σ(z) h + (1 - σ(z)) tanh n, over one denominator.
#[inline(always)]
fn gru<S: Simd>(s: S, z: S::V, n: S::V, h: S::V) -> S::V {
    let e = math::exp_within(s, s.neg(z));
    let (top, bottom) = math::tanh_parts(s, large_if_nan(s, n));
    s.div(s.mul_add(e, top, s.mul(h, bottom)), s.mul(s.add(s.splat(1.0), e), bottom))
}

/// A layer over a window.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub layer: std::sync::Arc<Layer>,
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
    pub fn run<S: Simd>(&self, s: S, x: &[f32], gates: &mut [f32], [h, c]: [&mut [f32]; 2], zero: bool, y: &mut [f32]) {
        let (layer, n, stride) = (&*self.layer, self.layer.hidden, self.layer.stride());
        let (first, _) = layer.cell.given();
        let bias = layer.bias.values();
        let gates = &mut gates[..self.rows * stride];
        // x · W of all rows at once: their weights are read once for four rows.
        layer.w.rows(s, &x[..self.rows * layer.inputs], &bias[first * n..], &mut gates[first * n..], stride);
        for step in 0..self.rows {
            let t = if self.reverse { self.rows - 1 - step } else { step };
            let gates = &mut gates[t * stride..][..stride];
            gates[..first * n].copy_from_slice(&bias[..first * n]);
            if step > 0 || !zero {
                layer.u.add(s, h, gates);
            }
            layer.advance(s, gates, h, c);
            if !y.is_empty() {
                y[t * self.stride + self.first..][..n].copy_from_slice(&h[..n]);
            }
        }
    }
}
