//! The leaves that a row comes to, added up: sixteen trees at a time, in one order.

use super::super::simd::trees::Lanes;
use super::super::tensor::LANES;
use super::Ensemble;
use super::grow::Tree;
use super::post::Aggregate;

/// Sixteen trees.
#[derive(Clone, Debug)]
pub(super) struct Quarter {
    /// Where each tree's leaves begin in the values: a row of [`Leaves::width`] for each leaf.
    pub base: [u32; LANES],
    /// The target of each tree, where a leaf has one value.
    targets: [u32; LANES],
    /// Whether all have the same.
    alike: bool,
}

/// Values of all leaves.
#[derive(Clone, Debug)]
pub(super) struct Leaves {
    /// The first row adds nothing: it stands where there is no tree.
    values: Vec<f32>,
    /// Values of a leaf: 1 where each tree has one target, all targets otherwise.
    pub width: usize,
    aggregate: Aggregate,
}

/// Leaves of up to this many values are gathered; longer ones are added row by row.
const GATHERED: usize = 8;

impl Leaves {
    pub fn new(ensemble: &Ensemble) -> Self {
        let single = ensemble.trees.iter().all(|tree| target(ensemble, tree).is_some());
        let width = if single { 1 } else { ensemble.targets };
        let aggregate = ensemble.aggregate;
        Self { values: vec![aggregate.nothing(); width], width, aggregate }
    }

    /// Sixteen trees, or fewer, in their lanes: their leaves' values are laid down.
    pub fn quarter(&mut self, ensemble: &Ensemble, trees: &[Option<usize>]) -> Quarter {
        let (mut base, mut targets) = ([0; LANES], None);
        let mut lanes = [0; LANES];
        for (lane, tree) in trees.iter().enumerate().filter_map(|(lane, tree)| Some((lane, (*tree)?))) {
            let tree = &ensemble.trees[tree];
            base[lane] = self.values.len() as u32;
            lanes[lane] = if self.width == 1 { target(ensemble, tree).unwrap_or(0) } else { 0 };
            targets.get_or_insert(lanes[lane]);
            for &(from, to) in &tree.leaves {
                let row = self.values.len();
                self.values.resize(row + self.width, self.aggregate.nothing());
                for &(target, weight) in &ensemble.weights[from as usize..to as usize] {
                    self.values[row + if self.width == 1 { 0 } else { target as usize }] = weight;
                }
            }
        }
        // A lane without a tree is of any target.
        let first = targets.unwrap_or(0);
        let full = |lane: usize| trees.get(lane).copied().flatten().is_some();
        let alike = (0..LANES).all(|lane| !full(lane) || lanes[lane] == first);
        if alike {
            lanes = [first; LANES];
        }
        Quarter { base, targets: lanes, alike }
    }

    pub fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// The one target of a tree's leaves; any for leaves without a weight; `None` if there are several.
pub(super) fn target(ensemble: &Ensemble, tree: &Tree) -> Option<u32> {
    let mut found = None;
    for &(from, to) in &tree.leaves {
        match &ensemble.weights[from as usize..to as usize] {
            [] => {}
            [(target, _)] if *found.get_or_insert(*target) == *target => {}
            _ => return None,
        }
    }
    Some(found.unwrap_or(0))
}

/// Sums on their way: those of one target stay in lanes until another's come.
pub(super) struct Sums<'a, L: Lanes> {
    leaves: &'a Leaves,
    y: &'a mut [f32],
    lanes: L::Floats,
    target: usize,
}

impl<'a, L: Lanes> Sums<'a, L> {
    /// Scores of nothing; `y` is as long as there are targets.
    #[inline(always)]
    pub fn new(l: L, leaves: &'a Leaves, y: &'a mut [f32]) -> Self {
        y.fill(leaves.aggregate.nothing());
        Self { leaves, y, lanes: l.no_floats(), target: 0 }
    }

    /// Values of a leaf.
    #[inline(always)]
    pub fn width(&self) -> u32 {
        self.leaves.width as u32
    }

    /// Takes the values at `at` of sixteen trees.
    #[inline(always)]
    pub fn add(&mut self, l: L, quarter: &Quarter, at: L::Ints) {
        let Leaves { values, width, aggregate } = self.leaves;
        if matches!(aggregate, Aggregate::Min | Aggregate::Max) {
            return self.extremes(quarter, l.indices(at));
        }
        if *width > GATHERED {
            for at in l.indices(at) {
                self.y.iter_mut().zip(&values[at as usize..]).for_each(|(y, value)| *y += value);
            }
        } else if *width > 1 {
            for (target, y) in self.y.iter_mut().enumerate() {
                *y += l.total(l.gather(values, at, target as u32));
            }
        } else if quarter.alike {
            let target = quarter.targets[0] as usize;
            if target != self.target {
                self.flush(l);
                self.target = target;
            }
            self.lanes = l.plus(self.lanes, l.gather(values, at, 0));
        } else {
            for (at, target) in l.indices(at).into_iter().zip(quarter.targets) {
                self.y[target as usize] += values[at as usize];
            }
        }
    }

    #[inline(always)]
    fn flush(&mut self, l: L) {
        self.y[self.target] += l.total(self.lanes);
        self.lanes = l.no_floats();
    }

    /// Smallest or largest, value by value: rare.
    fn extremes(&mut self, quarter: &Quarter, at: [u32; LANES]) {
        let Leaves { values, width, aggregate } = self.leaves;
        for (at, target) in at.into_iter().zip(quarter.targets) {
            for (j, &value) in values[at as usize..].iter().take(*width).enumerate() {
                let y = &mut self.y[target as usize + j];
                *y = if *aggregate == Aggregate::Min { y.min(value) } else { y.max(value) };
            }
        }
    }

    /// Scores are whole.
    #[inline(always)]
    pub fn end(mut self, l: L) {
        if matches!(self.leaves.aggregate, Aggregate::Min | Aggregate::Max) {
            // No tree had a value for it.
            self.y.iter_mut().filter(|y| y.is_infinite()).for_each(|y| *y = 0.0);
        } else {
            self.flush(l);
        }
    }
}
