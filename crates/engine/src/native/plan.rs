//! A model as a straight list of steps over buffers made once: what a run does, and all that it does.

use std::sync::Arc;

use super::Weights;
use super::ahead::Ahead;
use super::dense::Dense;
use super::maps::{Binary, Unary};
use super::memory::Memory;
use super::product::Span;
use super::recurrent::{Layer, Sequence};
use super::reduce::{Norm, Reduce, Softmax};
use super::simd::Simd;
use super::tensor::{Block, Buffer};
use super::trees::Trees;
use crate::seats::Seats;

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
    /// y[i] = x[index[i]] of `n` values, by an index that is computed; NaN where that is no place.
    Pick { x: Slot, n: usize, index: Slot, y: Slot, len: usize },
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
    /// A recurrent layer over a window: its rows to `y`, where anyone reads them, its last state to `h` and `c`. `gates` is
    /// scratch; `initial` is the first state, 0 where there is none.
    Sequence {
        x: Slot,
        y: Option<Slot>,
        gates: Slot,
        h: Slot,
        c: Slot,
        initial: [Option<Slot>; 2],
        sequence: Box<Sequence>,
    },
    /// What a recurrent layer's step owes to the state alone.
    Start { h: Option<Slot>, gates: Slot, layer: Arc<Layer> },
    /// The rest of that step: from the state `from` to the state `to`, which may be the same; 0 where there is none.
    Finish { x: Slot, gates: Slot, from: [Option<Slot>; 2], to: [Slot; 2], layer: Arc<Layer> },
}

/// Where a layer's rows begin in x: in each plane, `rows` of them `apart` values from each other.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub planes: Vec<usize>,
    pub rows: usize,
    pub apart: usize,
    /// From piece to piece of a row, where rows come in pieces.
    pub between: usize,
    /// Whether they are of different instruments, none of which may tell that the others are there.
    pub alike: bool,
}

impl Spread {
    /// Rows without gaps.
    pub fn dense(rows: usize, inputs: usize) -> Self {
        Self { planes: vec![0], rows, apart: inputs, between: 0, alike: false }
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
    /// Some step reads the window by whole blocks, for which it is copied.
    pub copied: bool,
}

impl Plan {
    /// Runs the steps for a seat, after those of `ahead` that are not done yet.
    #[inline(always)]
    pub fn run<S: Simd>(
        &mut self,
        s: S,
        seats: &mut Seats,
        seat: usize,
        mut ahead: Option<&mut Ahead>,
        output: &mut [f32],
    ) {
        if self.copied {
            let window = seats.window(seat);
            self.buffers[self.input].values_mut()[..window.len()].copy_from_slice(window);
        }
        self.read_states(seats, seat);
        if let Some(ahead) = &mut ahead {
            ahead.finish(s, self, seats, seat);
        }
        let window = seats.window(seat);
        let row = ahead.as_ref().map_or(Slot::MAX, |ahead| ahead.row);
        let newest = &window[window.len() - seats.features()..];
        let mut memory = Memory { buffers: &mut self.buffers, input: self.input, window, row, newest };
        for step in &self.steps {
            step.run(s, &mut memory);
        }
        let mut output = output;
        for &(slot, len) in &self.outputs {
            let (values, rest) = output.split_at_mut(len);
            values.copy_from_slice(&memory.values(slot)[..len]);
            output = rest;
        }
        // A state's next value may lie among the input itself.
        let mut at = 0;
        for &(_, next, len) in &self.carried {
            if next == self.input {
                seats.carry_window(seat, at, len);
            } else {
                seats.states_mut(seat)[at..at + len].copy_from_slice(&self.buffers[next].values()[..len]);
            }
            at += len;
        }
        if let Some(ahead) = ahead {
            ahead.ran(self, seats, seat);
        }
    }

    /// The seat's states to their buffers.
    #[inline(always)]
    pub fn read_states(&mut self, seats: &Seats, seat: usize) {
        let mut states = seats.states(seat);
        for &(from, _, len) in &self.carried {
            let (state, rest) = states.split_at(len);
            self.buffers[from].values_mut()[..len].copy_from_slice(state);
            states = rest;
        }
    }

    /// Values of all states.
    pub fn states(&self) -> usize {
        self.carried.iter().map(|(_, _, len)| len).sum()
    }
}

impl Plan {
    /// In few words, which go into a field of 64 bytes, how many layers' weights are not in the form that was asked for, because it does not hold them.
    pub fn kept(&self, form: Weights) -> String {
        let forms = self.steps.iter().flat_map(|step| match step {
            Step::Dense { dense, .. } => vec![dense.form()],
            Step::Sequence { sequence, .. } => sequence.layer.forms(),
            Step::Finish { layer, .. } => layer.forms(),
            _ => Vec::new(),
        });
        let (all, kept) = forms.fold((0, 0), |(all, kept), own| (all + 1, kept + usize::from(own != form)));
        if kept == 0 { String::new() } else { format!(", {kept}/{all} layers f32") }
    }

    /// Bytes of weights that a run reads.
    pub fn weight_bytes(&self) -> usize {
        let bytes = |step: &Step| match step {
            Step::Dense { dense, .. } => dense.bytes(),
            Step::Trees { trees, .. } => trees.bytes(),
            Step::Affine { scale, offset, .. } => (scale.len() + offset.len()) * size_of::<Block>(),
            Step::Sequence { sequence, .. } => sequence.layer.bytes(),
            Step::Finish { layer, .. } => layer.bytes(),
            _ => 0,
        };
        self.steps.iter().map(bytes).sum()
    }
}

impl Step {
    /// Runs one step.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, memory: &mut Memory) {
        match self {
            Self::Sequence { .. } | Self::Start { .. } | Self::Finish { .. } => {
                self.recur_apart(s, memory);
            }
            _ => {
                let target = self.target();
                let mut y = memory.take(target);
                self.write(s, memory, &mut y);
                memory.buffers[target] = y;
            }
        }
    }

    /// The buffer it writes, or the one that others read.
    pub fn target(&self) -> Slot {
        match self {
            Self::Dense { y, .. }
            | Self::Unary { y, .. }
            | Self::Binary { y, .. }
            | Self::Select { y, .. }
            | Self::Affine { y, .. }
            | Self::Gather { y, .. }
            | Self::Pick { y, .. }
            | Self::Place { y, .. }
            | Self::Reduce { y, .. }
            | Self::Softmax { y, .. }
            | Self::Norm { y, .. }
            | Self::MatMul { y, .. }
            | Self::Copy { y, .. }
            | Self::Turn { y, .. }
            | Self::Trees { y, .. } => *y,
            Self::Sequence { h, .. } => *h,
            Self::Start { gates, .. } => *gates,
            Self::Finish { to, .. } => to[0],
        }
    }

    /// Calls `read` with each buffer it reads, and with whether that must be of whole blocks.
    pub fn reads(&self, mut read: impl FnMut(Slot, bool)) {
        match self {
            Self::Unary { x, .. } | Self::Affine { x, .. } => read(*x, true),
            Self::Binary { a, b, .. } => [a, b].into_iter().for_each(|x| read(*x, true)),
            Self::MatMul { a, b, .. } => [a, b].into_iter().for_each(|x| read(*x, false)),
            Self::Pick { x, index, .. } => [x, index].into_iter().for_each(|x| read(*x, false)),
            Self::Select { c, a, b, .. } => [c, a, b].into_iter().for_each(|x| read(*x, false)),
            Self::Dense { x, .. }
            | Self::Gather { x, .. }
            | Self::Place { x, .. }
            | Self::Reduce { x, .. }
            | Self::Softmax { x, .. }
            | Self::Norm { x, .. }
            | Self::Copy { x, .. }
            | Self::Turn { x, .. }
            | Self::Trees { x, .. } => read(*x, false),
            Self::Sequence { x, initial, .. } => {
                initial.iter().flatten().chain([x]).for_each(|x| read(*x, false));
            }
            Self::Start { h, .. } => h.iter().for_each(|h| read(*h, false)),
            Self::Finish { x, gates, from, .. } => {
                from.iter().flatten().chain([x, gates]).for_each(|x| read(*x, false));
            }
        }
    }

    /// Calls `write` with each buffer it writes.
    pub fn writes(&self, mut write: impl FnMut(Slot)) {
        match self {
            Self::Sequence { y, gates, h, c, .. } => y.iter().chain([gates, h, c]).for_each(|y| write(*y)),
            Self::Finish { gates, to, .. } => [*gates, to[0], to[1]].into_iter().for_each(write),
            _ => write(self.target()),
        }
    }

    #[inline(always)]
    fn write<S: Simd>(&self, s: S, from: &Memory, y: &mut Buffer) {
        match self {
            Self::Dense { x, rows, dense, .. } if rows.is_one() => {
                dense.run(s, &from.values(*x)[..dense.inputs], &mut y.0)
            }
            Self::Dense { x, rows, dense, .. } => {
                let (x, y) = (from.values(*x), y.values_mut());
                let &Spread { rows: n, apart, between, alike, ref planes } = rows;
                for (y, &start) in y.chunks_exact_mut(n * dense.outputs).zip(planes) {
                    dense.rows(s, Span { x: &x[start..], apart, rows: n, between, alike }, y);
                }
            }
            Self::Copy { x, runs, .. } => {
                let (x, y) = (from.values(*x), y.values_mut());
                for &[at, to, len] in runs {
                    y[to..to + len].copy_from_slice(&x[at..at + len]);
                }
            }
            Self::Turn { x, rows, n, .. } => {
                let x = &from.values(*x)[..rows * n];
                for (i, y) in y.values_mut().chunks_exact_mut(*rows).enumerate().take(*n) {
                    y.iter_mut().zip(x[i..].iter().step_by(*n)).for_each(|(y, x)| *y = *x);
                }
            }
            Self::Unary { x, len, f, .. } => f.run(s, from.blocks(*x, *len), &mut y.0),
            Self::Binary { a, b, len, f, .. } => {
                f.run(s, from.blocks(*a, *len), from.blocks(*b, *len), &mut y.0);
            }
            Self::Select { c, a, b, len, .. } => {
                let (c, a, b) = (from.values(*c), from.values(*a), from.values(*b));
                for (i, y) in y.values_mut()[..*len].iter_mut().enumerate() {
                    *y = if c[i] != 0.0 { a[i] } else { b[i] };
                }
            }
            Self::Affine { x, scale, offset, .. } => {
                for (((y, x), scale), offset) in y.0.iter_mut().zip(&from.buffers[*x].0).zip(scale).zip(offset) {
                    s.store(&mut y.0, s.mul_add(s.load(&x.0), s.load(&scale.0), s.load(&offset.0)));
                }
            }
            Self::Gather { x, index, pad, .. } => gather(from.values(*x), index, *pad, y.values_mut()),
            Self::Pick { x, n, index, len, .. } => {
                let (x, index) = (&from.values(*x)[..*n], from.values(*index));
                for (y, &i) in y.values_mut()[..*len].iter_mut().zip(index) {
                    let place = if i >= 0.0 { x.get(i as usize) } else { None };
                    *y = place.copied().unwrap_or(f32::NAN);
                }
            }
            Self::Place { x, at, len, .. } => {
                y.values_mut()[*at..at + len].copy_from_slice(&from.values(*x)[..*len]);
            }
            Self::Reduce { x, rows, n, f, .. } => {
                let x = &from.values(*x)[..rows * n];
                for (y, row) in y.values_mut().iter_mut().zip(x.chunks_exact(*n)) {
                    *y = f.run(s, row);
                }
            }
            Self::Softmax { x, rows, n, f, .. } => {
                let (x, y) = (&from.values(*x)[..rows * n], y.values_mut());
                for (y, x) in y.chunks_exact_mut(*n).zip(x.chunks_exact(*n)) {
                    f.run(s, x, y);
                }
            }
            Self::Norm { x, rows, norm, .. } => {
                let n = norm.n();
                let (x, y) = (&from.values(*x)[..rows * n], y.values_mut());
                for (y, x) in y.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                    norm.run(s, x, y);
                }
            }
            Self::MatMul { a, b, batch, m, k, n, .. } => {
                let (a, b, y) = (from.values(*a), from.values(*b), y.values_mut());
                for i in 0..*batch {
                    mat_mul([*m, *k, *n], &a[i * m * k..][..m * k], &b[i * k * n..][..k * n], &mut y[i * m * n..]);
                }
            }
            Self::Trees { x, trees, .. } => trees.run(s, from.values(*x), y.values_mut()),
            Self::Sequence { .. } | Self::Start { .. } | Self::Finish { .. } => {}
        }
    }
}

#[inline(always)]
pub(super) fn gather(x: &[f32], index: &[u32], pad: f32, y: &mut [f32]) {
    for (y, &i) in y.iter_mut().zip(index) {
        *y = if i == PAD { pad } else { x[i as usize] };
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
