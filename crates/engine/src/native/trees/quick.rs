//! Trees of up to 256 leaves, 64 side by side: byte by byte, every test of every tree, and no walk.
//!
//! A tree stands at a leaf, at first the leftmost. Its tests come in the order of a walk that goes left first; one that
//! begins at the leaf where the tree stands, and does not hold, moves it to the first leaf on its right. A test off the
//! row's way never begins there: its leaves are left of it already, or right of what the row still can come to. So after all
//! tests the tree stands at the row's leaf. This is QuickScorer (Lucchese et al., SIGIR 2015) with a position in place of its
//! bit vector: four bytes a test, one step for 64 trees, and up to four such groups in flight.

use super::super::simd::trees::{Lanes, Ranks, TREES, Tests};
use super::super::tensor::LANES;
use super::Ensemble;
use super::grow::{Test, Tree};
use super::leaves::{self, Leaves, Quarter, Sums};
use super::rank::{Columns, Thresholds, comparisons};

/// Most leaves of a tree.
pub(super) const MOST_LEAVES: usize = 256;
/// Most columns: a column's number is a byte.
const MOST_COLUMNS: usize = 256;
/// Columns that one permute picks from; more are worth it only where they save ranks.
const FEW_COLUMNS: usize = 64;
/// Groups in flight.
const GROUPS: usize = 4;

/// Up to four groups of 64 trees.
#[derive(Clone, Debug)]
struct Flight {
    groups: usize,
    /// Tests of the groups in turn.
    tests: Vec<Tests>,
    quarters: Vec<[Quarter; 4]>,
}

/// Trees that are ranked together.
#[derive(Clone, Debug)]
struct Section {
    columns: Columns,
    flights: Vec<Flight>,
}

/// Trees to be looked at all at once.
#[derive(Clone, Debug)]
pub(super) struct Quick {
    sections: Vec<Section>,
}

/// Comparisons that a tree is made of.
pub(super) fn tests(tree: &Tree) -> usize {
    tree.splits.len() + tree.splits.iter().filter(|split| split.test == Test::Equal).count()
}

impl Quick {
    /// Lays `trees` out, by their numbers; gives back those that need too many columns.
    pub fn new(ensemble: &Ensemble, mut trees: Vec<usize>, leaves: &mut Leaves) -> (Self, Vec<usize>) {
        // Groups of like size waste the fewest steps.
        trees.sort_by_key(|&tree| (std::cmp::Reverse(tests(&ensemble.trees[tree])), tree));
        let (mut quick, mut left) = (Self { sections: Vec::new() }, Vec::new());
        let (mut thresholds, mut together) = (Thresholds::default(), Vec::new());
        for tree in trees {
            let splits = &ensemble.trees[tree].splits;
            let most = if together.len() < GROUPS * TREES { MOST_COLUMNS } else { FEW_COLUMNS };
            if !thresholds.add(splits, most) {
                quick.section(ensemble, std::mem::take(&mut thresholds), std::mem::take(&mut together), leaves);
                if !thresholds.add(splits, MOST_COLUMNS) {
                    left.push(tree);
                    continue;
                }
            }
            together.push(tree);
        }
        quick.section(ensemble, thresholds, together, leaves);
        (quick, left)
    }

    fn section(&mut self, ensemble: &Ensemble, thresholds: Thresholds, trees: Vec<usize>, leaves: &mut Leaves) {
        if trees.is_empty() {
            return;
        }
        let columns = Columns::new(thresholds);
        let flights = trees.chunks(GROUPS * TREES).map(|trees| Flight::new(ensemble, &columns, trees, leaves));
        let flights = flights.collect();
        self.sections.push(Section { columns, flights });
    }

    pub fn bytes(&self) -> usize {
        let flight = |flight: &Flight| size_of_val(&flight.tests[..]) + size_of_val(&flight.quarters[..]);
        let section = |section: &Section| section.columns.bytes() + section.flights.iter().map(flight).sum::<usize>();
        self.sections.iter().map(section).sum()
    }

    /// One row.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, l: L, x: &[f32], sums: &mut Sums<'_, L>) {
        let mut ranks = Ranks([0; MOST_COLUMNS]);
        for section in &self.sections {
            section.columns.run(l, x, &mut ranks);
            for flight in &section.flights {
                match section.columns.len() {
                    0..=32 => flight.run::<L, 2>(l, &ranks, sums),
                    33..=64 => flight.run::<L, 4>(l, &ranks, sums),
                    65..=128 => flight.run::<L, 8>(l, &ranks, sums),
                    _ => flight.run::<L, 16>(l, &ranks, sums),
                }
            }
        }
    }
}

impl Flight {
    fn new(ensemble: &Ensemble, columns: &Columns, trees: &[usize], leaves: &mut Leaves) -> Self {
        let groups = trees.len().div_ceil(TREES);
        let steps = trees.iter().map(|&tree| tests(&ensemble.trees[tree])).max().unwrap_or(0);
        // Nothing has a rank above the highest.
        let none = Tests { column: [0; TREES], threshold: [i8::MAX; TREES], first: [0; TREES], middle: [0; TREES] };
        let mut tests = vec![none; steps * groups];
        // Trees of one target side by side, so that their leaves can be added in lanes.
        let mut trees = trees.to_vec();
        trees.sort_by_key(|&tree| (leaves::target(ensemble, &ensemble.trees[tree]), tree));
        for (i, &tree) in trees.iter().enumerate() {
            let (group, lane) = (i / TREES, i % TREES);
            let splits = &ensemble.trees[tree].splits;
            let all = splits.iter().flat_map(|split| comparisons(split).map(move |comparison| (split, comparison)));
            for (step, (split, comparison)) in all.enumerate() {
                let test = &mut tests[step * groups + group];
                (test.column[lane], test.threshold[lane]) = columns.place(comparison);
                (test.first[lane], test.middle[lane]) = (split.first as u8, split.middle as u8);
            }
        }
        let lane = |i: usize| trees.get(i).copied();
        let quarter = |i: usize| -> Vec<Option<usize>> { (i * LANES..(i + 1) * LANES).map(lane).collect() };
        let four = |group: usize| std::array::from_fn(|q| leaves.quarter(ensemble, &quarter(group * 4 + q)));
        Self { groups, tests, quarters: (0..groups).map(four).collect() }
    }

    #[inline(always)]
    fn run<L: Lanes, const N: usize>(&self, l: L, ranks: &Ranks, sums: &mut Sums<'_, L>) {
        match self.groups {
            1 => self.fly::<L, N, 1>(l, ranks, sums),
            2 => self.fly::<L, N, 2>(l, ranks, sums),
            3 => self.fly::<L, N, 3>(l, ranks, sums),
            _ => self.fly::<L, N, GROUPS>(l, ranks, sums),
        }
    }

    #[inline(always)]
    fn fly<L: Lanes, const N: usize, const G: usize>(&self, l: L, ranks: &Ranks, sums: &mut Sums<'_, L>) {
        let mut at = [l.no_bytes(); G];
        let (steps, _) = self.tests.as_chunks::<G>();
        for tests in steps {
            for g in 0..G {
                at[g] = l.jump::<N>(ranks, &tests[g], at[g]);
            }
        }
        for (at, quarters) in at.into_iter().zip(&self.quarters) {
            let base = [&quarters[0].base, &quarters[1].base, &quarters[2].base, &quarters[3].base];
            let at = l.widen(at, sums.width(), base);
            for (at, quarter) in at.into_iter().zip(quarters) {
                sums.add(l, quarter, at);
            }
        }
    }
}
