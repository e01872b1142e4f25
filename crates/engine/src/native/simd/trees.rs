//! What tree ensembles need of the instruction sets: 64 lanes of bytes, and sixteen lanes that read from a table.
//!
//! All of it is exact: comparisons, and sums in one order. So the three instruction sets give the same bytes.

use super::super::portable::Portable;
use super::super::tensor::LANES;
use bytemuck::{Pod, Zeroable};

/// Trees whose bytes stand side by side.
pub(in super::super) const TREES: usize = 64;

/// One test of each of 64 trees: a tree that stands at leaf `first` goes on to leaf `middle` if the value that `column`
/// names is above `threshold`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in super::super) struct Tests {
    pub column: [u8; TREES],
    pub threshold: [i8; TREES],
    pub first: [u8; TREES],
    pub middle: [u8; TREES],
}

/// Values that tests are made on, by column.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ranks(pub [i8; 256]);

/// A node of a walk: left where x ≤ threshold (where they are equal, if `EQUAL` is set), right otherwise; NaN goes left if
/// `NAN_LEFT` is set.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in super::super) struct Node {
    pub threshold: f32,
    /// With the two flags above it.
    pub feature: u32,
    /// The left child; the right one stands behind it.
    pub left: u32,
    /// What the walk ends with, of a leaf.
    pub leaf: u32,
}

/// NaN goes left.
pub(in super::super) const NAN_LEFT: u32 = 1 << 31;
/// Only the very value goes left.
pub(in super::super) const EQUAL: u32 = 1 << 30;
/// The feature's number.
pub(in super::super) const FEATURE: u32 = EQUAL - 1;

/// Operations on lanes of trees.
pub(in super::super) trait Lanes: Copy {
    /// 64 bytes, one for each tree.
    type Bytes: Copy;
    /// Sixteen indices.
    type Ints: Copy;
    /// Sixteen values.
    type Floats: Copy;

    fn no_bytes(self) -> Self::Bytes;
    /// Takes one test: where the trees stand now. Columns are below 16 · `N`, which is 2, 4, 8 or 16.
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: Self::Bytes) -> Self::Bytes;
    /// The bytes times `times`, and `base` added: sixteen lanes each.
    fn widen(self, at: Self::Bytes, times: u32, base: [&[u32; LANES]; 4]) -> [Self::Ints; 4];
    /// How many values are below x.
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize;
    fn ints(self, from: &[u32; LANES]) -> Self::Ints;
    fn indices(self, at: Self::Ints) -> [u32; LANES];
    /// One step of sixteen walks. An index past the end is the last node's, a feature past the end the last one's.
    fn descend(self, nodes: &[Node], x: &[f32], at: Self::Ints) -> Self::Ints;
    /// What walks that have ended there end with.
    fn leaf(self, nodes: &[Node], at: Self::Ints) -> Self::Ints;
    /// `from[at + more]`; an index past the end is the last value's.
    fn gather(self, from: &[f32], at: Self::Ints, more: u32) -> Self::Floats;
    fn no_floats(self) -> Self::Floats;
    fn plus(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Sum of the lanes: halves onto each other.
    fn total(self, a: Self::Floats) -> f32;
}

/// Work on lanes of trees; as [`super::Task`].
pub(in super::super) trait LanesTask {
    fn run<L: Lanes>(self, lanes: L);
}

impl Lanes for Portable {
    type Bytes = [u8; TREES];
    type Ints = [u32; LANES];
    type Floats = [f32; LANES];

    #[inline(always)]
    fn no_bytes(self) -> [u8; TREES] {
        [0; TREES]
    }
    #[inline(always)]
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, mut at: [u8; TREES]) -> [u8; TREES] {
        for (i, at) in at.iter_mut().enumerate() {
            let above = ranks.0[usize::from(tests.column[i])] > tests.threshold[i];
            *at = if above & (*at == tests.first[i]) { tests.middle[i] } else { *at };
        }
        at
    }
    #[inline(always)]
    fn widen(self, at: [u8; TREES], times: u32, base: [&[u32; LANES]; 4]) -> [[u32; LANES]; 4] {
        std::array::from_fn(|q| std::array::from_fn(|i| base[q][i] + u32::from(at[q * LANES + i]) * times))
    }
    #[inline(always)]
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize {
        row.iter().map(|&value| usize::from(value < x)).sum()
    }
    #[inline(always)]
    fn ints(self, from: &[u32; LANES]) -> [u32; LANES] {
        *from
    }
    #[inline(always)]
    fn indices(self, at: [u32; LANES]) -> [u32; LANES] {
        at
    }
    #[inline(always)]
    fn descend(self, nodes: &[Node], x: &[f32], at: [u32; LANES]) -> [u32; LANES] {
        let (last, widest) = (nodes.len() - 1, x.len() - 1);
        at.map(|at| {
            let node = nodes[last.min(at as usize)];
            let value = x[widest.min((node.feature & FEATURE) as usize)];
            let equal = (value >= node.threshold) | (node.feature & EQUAL == 0);
            let left = (value <= node.threshold) & equal | (node.feature & NAN_LEFT != 0) & value.is_nan();
            node.left + u32::from(!left)
        })
    }
    #[inline(always)]
    fn leaf(self, nodes: &[Node], at: [u32; LANES]) -> [u32; LANES] {
        at.map(|at| nodes[(nodes.len() - 1).min(at as usize)].leaf)
    }
    #[inline(always)]
    fn gather(self, from: &[f32], at: [u32; LANES], more: u32) -> [f32; LANES] {
        at.map(|at| from[(from.len() - 1).min((at + more) as usize)])
    }
    #[inline(always)]
    fn no_floats(self) -> [f32; LANES] {
        [0.0; LANES]
    }
    #[inline(always)]
    fn plus(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn total(self, a: [f32; LANES]) -> f32 {
        super::Simd::sum(self, a)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::wide;

#[cfg(target_arch = "x86_64")]
mod x86;
