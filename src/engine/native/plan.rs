//! A model as a straight list of steps over buffers made once: what a run does, and all that it does.

use super::dense::Dense;
use super::maps::{Binary, Unary};
use super::product::Span;
use super::reduce::{Norm, Reduce, Softmax};
use super::simd::Simd;
use super::tensor::{Block, Buffer, LANES};
use super::trees::Trees;
use crate::engine::seats::Seats;

/// Number of a buffer.
pub(super) type Slot = usize;

/// An index that reads the pad value.
pub(super) const PAD: u32 = u32::MAX;

/// One step. Buffers are read and written from their first value on.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Rows of x to rows without gaps.
    Dense { x: Slot, y: Slot, rows: Spread, dense: Box<Dense> },
    /// Copies runs of values: from where in x, to where in y, how many. The rest of y keeps what the plan began with.
    Copy { x: Slot, y: Slot, runs: Vec<[usize; 3]> },
    /// `rows` rows of `n` values to columns.
    Turn { x: Slot, y: Slot, rows: usize, n: usize },
    /// y = f(x), `len` values.
    Unary { x: Slot, y: Slot, len: usize, f: Unary },
    /// y = f(a, b), each of `len` values.
    Binary { a: Slot, b: Slot, y: Slot, len: usize, f: Binary },
    /// y = a where c is 1, b where it is 0; each of `len` values.
    Select { c: Slot, a: Slot, b: Slot, y: Slot, len: usize },
    /// y = x · scale + offset, value by value: constants in place.
    Affine { x: Slot, y: Slot, scale: Vec<Block>, offset: Vec<Block> },
    /// y[i] = x[index[i]], or `pad`: every way of moving values about.
    Gather { x: Slot, y: Slot, index: Vec<u32>, pad: f32 },
    /// Copies x behind `at` in y: one piece of a concatenation.
    Place { x: Slot, y: Slot, at: usize, len: usize },
    /// Rows of `n` values to one value each.
    Reduce { x: Slot, y: Slot, rows: usize, n: usize, f: Reduce },
    /// Softmax of each row.
    Softmax { x: Slot, y: Slot, rows: usize, n: usize, f: Softmax },
    /// Each row brought to mean 0 and variance 1, then scaled and shifted.
    Norm { x: Slot, y: Slot, rows: usize, norm: Box<Norm> },
    /// Row-major matrices: y[m, n] = a[m, k] · b[k, n], `batch` times.
    MatMul { a: Slot, b: Slot, y: Slot, batch: usize, m: usize, k: usize, n: usize },
    /// Ensemble of trees on one row.
    Trees { x: Slot, y: Slot, trees: Box<Trees> },
}

/// Where a layer's rows begin in x: in each plane, `rows` of them `apart` values from each other.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub planes: Vec<usize>,
    pub rows: usize,
    pub apart: usize,
    /// From piece to piece of a row, where rows come in pieces.
    pub between: usize,
}

impl Spread {
    /// Rows without gaps.
    pub fn dense(rows: usize, inputs: usize) -> Self {
        Self { planes: vec![0], rows, apart: inputs, between: 0 }
    }

    /// Whether it is one row in one piece.
    pub fn is_one(&self) -> bool {
        self.rows == 1 && self.planes.len() == 1 && self.between == 0
    }
}

/// A compiled model.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
    pub buffers: Vec<Buffer>,
    pub input: Slot,
    /// Buffers of the published outputs, one behind the other, and their lengths.
    pub outputs: Vec<(Slot, usize)>,
    /// For each state the buffer it is read from, the one its next value is in, and its length.
    pub carried: Vec<(Slot, Slot, usize)>,
}

impl Plan {
    /// Runs the steps for a seat.
    #[inline(always)]
    pub fn run<S: Simd>(&mut self, s: S, seats: &mut Seats, seat: usize, output: &mut [f32]) {
        let Self { steps, buffers, .. } = self;
        let window = seats.window(seat);
        buffers[self.input].values_mut()[..window.len()].copy_from_slice(window);
        let mut states = seats.states(seat);
        for &(from, _, len) in &self.carried {
            let (state, rest) = states.split_at(len);
            buffers[from].values_mut()[..len].copy_from_slice(state);
            states = rest;
        }
        for step in steps.iter() {
            step.run(s, buffers);
        }
        let mut states = seats.states_mut(seat);
        for &(_, next, len) in &self.carried {
            let (state, rest) = states.split_at_mut(len);
            state.copy_from_slice(&buffers[next].values()[..len]);
            states = rest;
        }
        let mut output = output;
        for &(slot, len) in &self.outputs {
            let (values, rest) = output.split_at_mut(len);
            values.copy_from_slice(&buffers[slot].values()[..len]);
            output = rest;
        }
    }

    /// Values of all states.
    pub fn states(&self) -> usize {
        self.carried.iter().map(|(_, _, len)| len).sum()
    }
}

impl Plan {
    /// Bytes of weights that a run reads.
    pub fn weight_bytes(&self) -> usize {
        let bytes = |step: &Step| match step {
            Step::Dense { dense, .. } => dense.bytes(),
            Step::Trees { trees, .. } => trees.bytes(),
            Step::Affine { scale, offset, .. } => (scale.len() + offset.len()) * size_of::<Block>(),
            _ => 0,
        };
        self.steps.iter().map(bytes).sum()
    }
}

impl Step {
    /// Runs one step.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, buffers: &mut [Buffer]) {
        let target = self.target();
        // Its own while it is written: a step never reads what it writes.
        let mut y = std::mem::take(&mut buffers[target]);
        self.write(s, buffers, &mut y);
        buffers[target] = y;
    }

    /// The buffer it writes.
    pub fn target(&self) -> Slot {
        match self {
            Self::Dense { y, .. }
            | Self::Unary { y, .. }
            | Self::Binary { y, .. }
            | Self::Select { y, .. }
            | Self::Affine { y, .. }
            | Self::Gather { y, .. }
            | Self::Place { y, .. }
            | Self::Reduce { y, .. }
            | Self::Softmax { y, .. }
            | Self::Norm { y, .. }
            | Self::MatMul { y, .. }
            | Self::Copy { y, .. }
            | Self::Turn { y, .. }
            | Self::Trees { y, .. } => *y,
        }
    }

    #[inline(always)]
    fn write<S: Simd>(&self, s: S, from: &[Buffer], y: &mut Buffer) {
        match self {
            Self::Dense { x, rows, dense, .. } if rows.is_one() => {
                dense.run(s, &from[*x].values()[..dense.inputs], &mut y.0)
            }
            Self::Dense { x, rows, dense, .. } => {
                let (x, y) = (from[*x].values(), y.values_mut());
                let &Spread { rows: n, apart, between, ref planes } = rows;
                for (y, &start) in y.chunks_exact_mut(n * dense.outputs).zip(planes) {
                    dense.rows(s, Span { x: &x[start..], apart, rows: n, between }, y);
                }
            }
            Self::Copy { x, runs, .. } => {
                let (x, y) = (from[*x].values(), y.values_mut());
                for &[at, to, len] in runs {
                    y[to..to + len].copy_from_slice(&x[at..at + len]);
                }
            }
            Self::Turn { x, rows, n, .. } => {
                let x = &from[*x].values()[..rows * n];
                for (i, y) in y.values_mut().chunks_exact_mut(*rows).enumerate().take(*n) {
                    y.iter_mut().zip(x[i..].iter().step_by(*n)).for_each(|(y, x)| *y = *x);
                }
            }
            Self::Unary { x, len, f, .. } => f.run(s, &from[*x].0[..len.div_ceil(LANES)], &mut y.0),
            Self::Binary { a, b, len, f, .. } => {
                let blocks = len.div_ceil(LANES);
                f.run(s, &from[*a].0[..blocks], &from[*b].0[..blocks], &mut y.0);
            }
            Self::Select { c, a, b, len, .. } => {
                let (c, a, b) = (from[*c].values(), from[*a].values(), from[*b].values());
                for (i, y) in y.values_mut()[..*len].iter_mut().enumerate() {
                    *y = if c[i] != 0.0 { a[i] } else { b[i] };
                }
            }
            Self::Affine { x, scale, offset, .. } => {
                for (((y, x), scale), offset) in y.0.iter_mut().zip(&from[*x].0).zip(scale).zip(offset) {
                    s.store(&mut y.0, s.mul_add(s.load(&x.0), s.load(&scale.0), s.load(&offset.0)));
                }
            }
            Self::Gather { x, index, pad, .. } => {
                let x = from[*x].values();
                for (y, &i) in y.values_mut().iter_mut().zip(index) {
                    *y = if i == PAD { *pad } else { x[i as usize] };
                }
            }
            Self::Place { x, at, len, .. } => {
                y.values_mut()[*at..at + len].copy_from_slice(&from[*x].values()[..*len]);
            }
            Self::Reduce { x, rows, n, f, .. } => {
                let x = &from[*x].values()[..rows * n];
                for (y, row) in y.values_mut().iter_mut().zip(x.chunks_exact(*n)) {
                    *y = f.run(s, row);
                }
            }
            Self::Softmax { x, rows, n, f, .. } => {
                let (x, y) = (&from[*x].values()[..rows * n], y.values_mut());
                for (y, x) in y.chunks_exact_mut(*n).zip(x.chunks_exact(*n)) {
                    f.run(s, x, y);
                }
            }
            Self::Norm { x, rows, norm, .. } => {
                let n = norm.n();
                let (x, y) = (&from[*x].values()[..rows * n], y.values_mut());
                for (y, x) in y.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                    norm.run(s, x, y);
                }
            }
            Self::MatMul { a, b, batch, m, k, n, .. } => {
                let (a, b, y) = (from[*a].values(), from[*b].values(), y.values_mut());
                for i in 0..*batch {
                    mat_mul([*m, *k, *n], &a[i * m * k..][..m * k], &b[i * k * n..][..k * n], &mut y[i * m * n..]);
                }
            }
            Self::Trees { x, trees, .. } => trees.run(s, from[*x].values(), y.values_mut()),
        }
    }
}

/// Small matrices between activations, as in attention: rows of y as sums of rows of b.
#[inline(always)]
fn mat_mul([m, k, n]: [usize; 3], a: &[f32], b: &[f32], y: &mut [f32]) {
    for (y, a) in y.chunks_exact_mut(n).take(m).zip(a.chunks_exact(k)) {
        y.fill(0.0);
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            for (y, &b) in y.iter_mut().zip(b) {
                *y += a * b;
            }
        }
    }
}
