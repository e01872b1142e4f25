//! Values as ranks among the thresholds that they are compared with: a test of floats becomes one of bytes, exactly.
//!
//! x > t[i] holds if and only if more than i of the sorted thresholds t are below x. A column is one feature with up to 255
//! thresholds; a feature with more has several. NaN is the least or the greatest rank of a column, so tests that send it
//! left and tests that send it right have columns of their own. Tests for equality use a second column, of -x.

use std::collections::HashMap;

use super::super::simd::trees::{Lanes, Ranks};
use super::super::tensor::LANES;
use super::grow::{Split, Test};

/// Most thresholds of a column.
const MOST: usize = 255;

/// What a column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    feature: u32,
    negated: bool,
    nan_left: bool,
}

/// The comparisons that a test is made of: right if one of them says "above".
pub(super) fn comparisons(split: &Split) -> impl Iterator<Item = (Key, f32)> {
    let key = |negated| Key { feature: split.feature, negated, nan_left: split.nan_left };
    // Zeros of both signs are one threshold.
    let (threshold, minus) = (split.threshold + 0.0, 0.0 - split.threshold);
    let equal = (split.test == Test::Equal).then(|| (key(true), minus));
    std::iter::once((key(false), threshold)).chain(equal)
}

/// An order of floats, none of them NaN, as one of integers.
fn ordered(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// Thresholds in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Thresholds {
    by_key: HashMap<Key, std::collections::BTreeMap<i32, f32>>,
    columns: usize,
}

impl Thresholds {
    /// Adds those of a tree if there are then no more than `most` columns.
    pub fn add(&mut self, splits: &[Split], most: usize) -> bool {
        let mut added = Vec::new();
        for (key, threshold) in splits.iter().flat_map(comparisons) {
            let of_key = self.by_key.entry(key).or_default();
            if of_key.insert(ordered(threshold), threshold).is_none() {
                self.columns += usize::from(of_key.len() % MOST == 1);
                added.push((key, threshold));
            }
        }
        if self.columns <= most {
            return true;
        }
        for (key, threshold) in added {
            let of_key = self.by_key.entry(key).or_default();
            self.columns -= usize::from(of_key.len() % MOST == 1);
            of_key.remove(&ordered(threshold));
        }
        false
    }
}

#[derive(Clone, Debug)]
struct Column {
    feature: u32,
    /// Sign bit that x is multiplied with.
    sign: u32,
    /// Its rows: first the last value of each other, then those.
    first: u32,
    /// Rank of NaN.
    nan: i8,
}

/// Columns of thresholds.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    rows: Vec<[f32; LANES]>,
    places: HashMap<Key, (usize, Vec<i32>)>,
}

impl Columns {
    pub fn new(thresholds: Thresholds) -> Self {
        let mut made = Self { columns: Vec::new(), rows: Vec::new(), places: HashMap::new() };
        let mut keys: Vec<_> = thresholds.by_key.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        keys.sort_by_key(|(key, _)| *key);
        for (key, values) in keys {
            made.places.insert(key, (made.columns.len(), values.keys().copied().collect()));
            let values: Vec<f32> = values.into_values().collect();
            values.chunks(MOST).for_each(|values| made.column(key, values));
        }
        made
    }

    fn column(&mut self, key: Key, values: &[f32]) {
        let nan = if key.nan_left { i8::MIN } else { i8::MAX };
        let sign = if key.negated { 1 << 31 } else { 0 };
        self.columns.push(Column { feature: key.feature, sign, first: self.rows.len() as u32, nan });
        // Nothing is above the infinities past the end; one at least stands there.
        let rows = values.len() / LANES + 1;
        let value = |i: usize| values.get(i).copied().unwrap_or(f32::INFINITY);
        self.rows
            .push(std::array::from_fn(|row| if row < rows { value(row * LANES + LANES - 1) } else { f32::INFINITY }));
        self.rows.extend((0..rows).map(|row| std::array::from_fn(|i| value(row * LANES + i))));
    }

    /// The column of a comparison, and the rank that it asks for more than.
    pub fn place(&self, (key, threshold): (Key, f32)) -> (u8, i8) {
        let (first, values) = &self.places[&key];
        let i = values.partition_point(|&value| value < ordered(threshold));
        ((first + i / MOST) as u8, byte(i % MOST))
    }

    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Bytes of the rows that one run reads.
    pub fn bytes(&self) -> usize {
        self.columns.len() * (size_of::<Column>() + 2 * LANES * size_of::<f32>())
    }

    /// Ranks of a row in all columns.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, l: L, x: &[f32], ranks: &mut Ranks) {
        for (column, rank) in self.columns.iter().zip(&mut ranks.0) {
            let x = f32::from_bits(x[column.feature as usize].to_bits() ^ column.sign);
            let rows = &self.rows[column.first as usize..];
            let row = l.count_below(&rows[0], x);
            let below = row * LANES + l.count_below(&rows[1 + row], x);
            *rank = if x.is_nan() { column.nan } else { byte(below) };
        }
    }
}

/// 0 to 255 in the order of signed bytes.
#[inline(always)]
fn byte(rank: usize) -> i8 {
    (rank as u8 ^ 0x80) as i8
}
