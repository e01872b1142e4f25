//! The kernel of x · W: what dense nets, recurrent cells and convolutions spend their time in.
//!
//! Outputs go in panels of up to eight registers. A panel's weights lie in the order they are read: for each pair of inputs,
//! the panel's registers side by side. A panel of fewer than eight splits the inputs between several sums, so that eight
//! chains of multiply-adds are in flight and none waits for the one before. Several rows share each weight that is read,
//! with every sum in the order that a single row has: a row's answer does not hang on which rows came with it.
#![forbid(unsafe_code)]

use super::dense::Activation;
use super::simd::{Simd, Task};
use super::tensor::{Block, LANES};
use super::weights::Pair;

/// Rows of x: row i begins at i · `apart`; the pieces it is made of are `between` values from each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub x: &'a [f32],
    pub apart: usize,
    pub rows: usize,
    pub between: usize,
    /// Whether each row's sums are added up in the order that a row alone has. Rows of one instrument need not be, and take
    /// less time so.
    pub alike: bool,
}

impl<'a> Span<'a> {
    /// One row in one piece.
    #[inline(always)]
    pub fn row(x: &'a [f32]) -> Self {
        Self { x, apart: x.len(), rows: 1, between: 0, alike: true }
    }
}

/// First block and width of each panel: eights, then what is left as 4, 2, 1.
pub(super) fn panels(blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = blocks - first;
        let width = [8, 4, 2, 1].into_iter().find(|&width| width <= left)?;
        first += width;
        Some((first - width, width))
    })
}

/// A matrix of weights, and what is done to its sums.
#[derive(Clone, Copy)]
pub(super) struct Product<'a, U> {
    pub inputs: usize,
    /// Inputs of each piece of a row: all, or an even number.
    pub piece: usize,
    pub weights: &'a [U],
    /// Factors of the sums, where the form has them.
    pub scales: &'a [Block],
    pub start: &'a [Block],
    /// Applied here if it is a quick one.
    pub activation: Activation,
    /// Factor and summand of each output, last of all.
    pub after: Option<&'a [Vec<Block>; 2]>,
}

impl<U: Pair> Product<'_, U> {
    /// Rows of y are `width` values apart.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, span: Span<'_>, y: &mut [f32], width: usize) {
        let few = if S::MANY { 4 } else { 3 };
        let most = if S::MANY { 8 } else { 3 };
        let quick = if span.alike { 0 } else { span.rows - span.rows % most };
        if quick > 0 {
            s.call(Rows::<_, false> { product: self, span: Span { rows: quick, ..span }, y: &mut *y, width });
        }
        let many = span.rows - (span.rows - quick) % few;
        if many > quick {
            let span = Span { x: &span.x[quick * span.apart..], rows: many - quick, ..span };
            s.call(Rows::<_, true> { product: self, span, y: &mut y[quick * width..], width });
        }
        for row in many..span.rows {
            let x = &span.x[row * span.apart..];
            let y = &mut y[row * width..][..width];
            // A row in one piece is spared the loop over pieces.
            if self.piece == self.inputs {
                s.call(Row::<_, false> { product: self, x, between: 0, y });
            } else {
                s.call(Row::<_, true> { product: self, x, between: span.between, y });
            }
        }
    }

    /// First block, width and weights of each panel.
    #[inline(always)]
    fn panels(&self) -> impl Iterator<Item = (usize, usize, &[U])> {
        let mut rest = self.weights;
        let pairs = self.inputs.div_ceil(2);
        panels(self.start.len()).map(move |(first, width)| {
            let (weights, other) = rest.split_at(width * pairs);
            rest = other;
            (first, width, weights)
        })
    }

    /// What the sums of the registers from `first` on begin with.
    #[inline(always)]
    fn begin<S: Simd, const P: usize, const C: usize>(&self, s: S, first: usize) -> [[S::V; P]; C] {
        let mut sums = [[s.splat(0.0); P]; C];
        if !U::SCALED {
            let start = &self.start[first..first + P];
            for p in 0..P {
                sums[0][p] = s.load(&start[p].0);
            }
        }
        sums
    }

    /// Adds the sums up and leaves the outputs in a row of y.
    #[inline(always)]
    fn end<S: Simd, const P: usize, const C: usize>(
        &self,
        s: S,
        mut sums: [[S::V; P]; C],
        first: usize,
        y: &mut [f32],
    ) {
        fold(s, &mut sums);
        let y = &mut y[first * LANES..];
        if y.len() >= P * LANES {
            let y = y.as_chunks_mut::<LANES>().0;
            for p in 0..P {
                s.store(&mut y[p], self.output(s, sums[0][p], first + p));
            }
        } else {
            for (p, y) in y.chunks_mut(LANES).enumerate().take(P) {
                s.store_part(y, self.output(s, sums[0][p], first + p));
            }
        }
    }

    #[inline(always)]
    fn output<S: Simd>(&self, s: S, sum: S::V, block: usize) -> S::V {
        let sum =
            if U::SCALED { s.mul_add(sum, s.load(&self.scales[block].0), s.load(&self.start[block].0)) } else { sum };
        let value = self.activation.quick(s, sum);
        match self.after {
            Some([scale, offset]) => s.mul_add(value, s.load(&scale[block].0), s.load(&offset[block].0)),
            None => value,
        }
    }
}

/// All panels on one row.
struct Row<'a, U, const PIECES: bool> {
    product: Product<'a, U>,
    x: &'a [f32],
    between: usize,
    y: &'a mut [f32],
}

impl<U: Pair, const PIECES: bool> Task for Row<'_, U, PIECES> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { product, x, between, y } = self;
        for (first, width, weights) in product.panels() {
            // With sixteen registers of eight lanes, half a panel at a time; the sums are the same on each machine.
            match (width, S::MANY) {
                (8, true) => product.row::<S, 8, 8, 1, PIECES>(s, (x, between), weights, first, y),
                (4, true) => product.row::<S, 4, 4, 2, PIECES>(s, (x, between), weights, first, y),
                (2, true) => product.row::<S, 2, 2, 4, PIECES>(s, (x, between), weights, first, y),
                (_, true) => product.row::<S, 1, 1, 8, PIECES>(s, (x, between), weights, first, y),
                (8, false) => product.row::<S, 8, 4, 1, PIECES>(s, (x, between), weights, first, y),
                (4, false) => product.row::<S, 4, 2, 2, PIECES>(s, (x, between), weights, first, y),
                (2, false) => product.row::<S, 2, 1, 4, PIECES>(s, (x, between), weights, first, y),
                (_, false) => product.row::<S, 1, 1, 8, PIECES>(s, (x, between), weights, first, y),
            }
        }
    }
}

impl<U: Pair> Product<'_, U> {
    /// A panel of `W` registers, `P` at a time, the inputs dealt out to `C` sums.
    #[inline(always)]
    fn row<S: Simd, const W: usize, const P: usize, const C: usize, const PIECES: bool>(
        &self,
        s: S,
        (x, between): (&[f32], usize),
        weights: &[U],
        first: usize,
        y: &mut [f32],
    ) {
        for at in (0..W).step_by(P) {
            let mut sums: [[[S::V; P]; C]; 1] = [self.begin(s, first + at)];
            if PIECES {
                let pieces = weights.chunks_exact(self.piece.div_ceil(2) * W);
                for (i, weights) in pieces.enumerate() {
                    row_piece::<S, U, W, P, C>(s, &x[i * between..][..self.piece], weights, at, &mut sums);
                }
            } else {
                row_piece::<S, U, W, P, C>(s, &x[..self.inputs], weights, at, &mut sums);
            }
            let [sums] = sums;
            self.end(s, sums, first + at, y);
        }
    }
}

/// Adds a piece of a row, times its weights, to the sums of the panel's registers from `at` on.
#[inline(always)]
fn row_piece<S: Simd, U: Pair, const W: usize, const P: usize, const C: usize>(
    s: S,
    x: &[f32],
    weights: &[U],
    at: usize,
    sums: &mut [[[S::V; P]; C]; 1],
) {
    let group = C.div_ceil(2);
    let (groups, rest) = x.split_at(x.len() / (2 * group) * (2 * group));
    let (weights, rest_weights) = weights.split_at(groups.len() / 2 * W);
    for (x, weights) in groups.chunks_exact(2 * group).zip(weights.chunks_exact(group * W)) {
        let pairs = x.as_chunks().0;
        for j in 0..group {
            multiply(s, [&pairs[j]], &weights[j * W + at..][..P], 2 * j, sums);
        }
    }
    if !rest.is_empty() {
        // A known number of times: sums of a computed number would not stay in registers.
        for j in 0..group {
            if let Some(&x) = rest.get(2 * j) {
                let pair = [x, rest.get(2 * j + 1).copied().unwrap_or(0.0)];
                multiply(s, [&pair], &rest_weights[j * W + at..][..P], 2 * j, sums);
            }
        }
    }
}

/// All panels on rows by fours or eights, or by threes where registers are few.
struct Rows<'a, U, const ALIKE: bool> {
    product: Product<'a, U>,
    span: Span<'a>,
    y: &'a mut [f32],
    /// Values from a row of y to the next.
    width: usize,
}

impl<U: Pair, const ALIKE: bool> Task for Rows<'_, U, ALIKE> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let product = self.product;
        for (first, width, weights) in product.panels() {
            match (width, S::MANY, ALIKE) {
                (8, true, _) => self.panel::<S, 8, 4, 1, 4>(s, weights, first),
                // As many sums as `Row` has.
                (4, true, true) => self.panel::<S, 4, 2, 2, 4>(s, weights, first),
                (2, true, true) => self.panel::<S, 2, 1, 4, 4>(s, weights, first),
                (_, true, true) => self.panel::<S, 1, 1, 8, 2>(s, weights, first),
                // Rows enough are chains enough.
                (4, true, false) => self.panel::<S, 4, 4, 1, 4>(s, weights, first),
                (2, true, false) => self.panel::<S, 2, 2, 1, 8>(s, weights, first),
                (_, true, false) => self.panel::<S, 1, 1, 1, 8>(s, weights, first),
                (8, false, _) => self.panel::<S, 8, 2, 1, 3>(s, weights, first),
                (4, false, _) => self.panel::<S, 4, 1, 2, 3>(s, weights, first),
                (2, false, _) => self.panel::<S, 2, 1, 4, 1>(s, weights, first),
                (_, false, _) => self.panel::<S, 1, 1, 8, 1>(s, weights, first),
            }
        }
    }
}

impl<U: Pair, const ALIKE: bool> Rows<'_, U, ALIKE> {
    /// A panel of `W` registers: `P` of them for `R` rows at a time, the inputs dealt out to `C` sums.
    #[inline(always)]
    fn panel<S: Simd, const W: usize, const P: usize, const C: usize, const R: usize>(
        &mut self,
        s: S,
        weights: &[U],
        first: usize,
    ) {
        for at in (0..W).step_by(P) {
            for row in (0..self.span.rows).step_by(R) {
                let sums = self.tile::<S, W, P, C, R>(s, weights, [first, at, row]);
                for (r, sums) in sums.into_iter().enumerate() {
                    let y = &mut self.y[(row + r) * self.width..][..self.width];
                    self.product.end(s, sums, first + at, y);
                }
            }
        }
    }

    /// The sums of `P` registers, from `at` on in the panel, for the `R` rows from `row` on.
    #[inline(always)]
    fn tile<S: Simd, const W: usize, const P: usize, const C: usize, const R: usize>(
        &self,
        s: S,
        weights: &[U],
        [first, at, row]: [usize; 3],
    ) -> [[[S::V; P]; C]; R] {
        let (piece, span) = (self.product.piece, self.span);
        let mut sums = [self.product.begin(s, first + at); R];
        let group = C.div_ceil(2);
        let whole = piece / 2 / group * group;
        for (i, weights) in weights.chunks_exact(piece.div_ceil(2) * W).enumerate() {
            let begin = row * span.apart + i * span.between;
            let mut x: [&[f32]; R] = [&[]; R];
            let mut pairs: [&[[f32; 2]]; R] = [&[]; R];
            // Loops, where a closure would become a call.
            for r in 0..R {
                x[r] = &span.x[begin + r * span.apart..][..piece];
                pairs[r] = x[r].as_chunks().0;
            }
            let (weights, rest) = weights.split_at(whole * W);
            for (g, weights) in weights.chunks_exact(group * W).enumerate() {
                for j in 0..group {
                    let mut x = [&[0.0; 2]; R];
                    for r in 0..R {
                        x[r] = &pairs[r][g * group + j];
                    }
                    multiply(s, x, &weights[j * W + at..][..P], 2 * j, &mut sums);
                }
            }
            if !rest.is_empty() {
                for j in 0..group {
                    let i = 2 * (whole + j);
                    if i < piece {
                        let x: [[f32; 2]; R] =
                            std::array::from_fn(|r| [x[r][i], x[r].get(i + 1).copied().unwrap_or(0.0)]);
                        multiply(s, x.each_ref(), &rest[j * W + at..][..P], 2 * j, &mut sums);
                    }
                }
            }
        }
        sums
    }
}

/// Adds a pair of inputs of each row, times their weights, to the sums numbered `c` and `c` + 1.
#[inline(always)]
fn multiply<S: Simd, U: Pair, const P: usize, const C: usize, const R: usize>(
    s: S,
    x: [&[f32; 2]; R],
    weights: &[U],
    c: usize,
    sums: &mut [[[S::V; P]; C]; R],
) {
    for p in 0..P {
        let [even, odd] = weights[p].widen(s);
        for r in 0..R {
            sums[r][c % C][p] = s.mul_add(s.splat(x[r][0]), even, sums[r][c % C][p]);
            sums[r][(c + 1) % C][p] = s.mul_add(s.splat(x[r][1]), odd, sums[r][(c + 1) % C][p]);
        }
    }
}

/// Adds the sums up into the first.
#[inline(always)]
fn fold<S: Simd, const P: usize, const C: usize>(s: S, sums: &mut [[S::V; P]; C]) {
    let mut width = C;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            for (low, high) in low.iter_mut().zip(high) {
                *low = s.add(*low, *high);
            }
        }
    }
}
