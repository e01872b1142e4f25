//! Ensembles of decision trees on one row.
//!
//! `read` checks the file's lists, `grow` turns them into trees of one form, `quick` and `walk` lay those out, and `leaves`
//! adds up what a row comes to. Which layout a tree gets hangs on its shape alone, so that the sums have one order.

mod grow;
mod leaves;
mod post;
mod quick;
mod rank;
mod read;
mod walk;

use super::Refusal;
use super::graph::Node as Operator;
use super::simd::Simd;
use super::simd::trees::{Lanes, LanesTask};
use leaves::{Leaves, Sums};
use post::Aggregate;
pub(super) use post::Post;
use quick::Quick;
use read::Ensemble;
pub(super) use read::classes;
use walk::Walk;

/// An ensemble, compiled.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    quick: Quick,
    walk: Walk,
    leaves: Leaves,
    pub targets: usize,
    base: Vec<f32>,
    /// What a sum is divided by.
    divisor: f32,
    pub post: Post,
    /// Features that a row has at least.
    pub features: usize,
    /// Labels of a classifier; 0 otherwise.
    pub classes: usize,
    /// Whether no leaf is below 0: then the runtime takes one score of two classes for a probability.
    pub all_at_least_0: bool,
}

impl Trees {
    /// Compiles `ml.TreeEnsembleRegressor`, `ml.TreeEnsembleClassifier` or `ml.TreeEnsemble`.
    pub fn new(operator: &Operator) -> Result<Self, Refusal> {
        let ensemble = Ensemble::read(operator)?;
        if ensemble.classes == 2 && ensemble.targets == 2 && !ensemble.always_scores(1) {
            // It would take the row for one of one score.
            return Err(operator.refuse("some rows get no score for the second of its two classes"));
        }
        let features = ensemble.trees.iter().flat_map(|tree| &tree.splits).map(|split| split.feature as usize + 1);
        // A row of no features is still looked at once.
        let features = features.max().unwrap_or(0).max(1);
        let divisor = if ensemble.aggregate == Aggregate::Average { ensemble.trees.len() as f32 } else { 1.0 };
        let mut leaves = Leaves::new(&ensemble);
        let (fast, slow) = choose(&ensemble);
        let (quick, left) = Quick::new(&ensemble, fast, &mut leaves);
        let walk = Walk::new(&ensemble, [slow, left].concat(), &mut leaves);
        let base = if ensemble.base.is_empty() { vec![0.0; ensemble.targets] } else { ensemble.base };
        let all_at_least_0 = ensemble.weights.iter().all(|&(_, weight)| weight >= 0.0);
        let Ensemble { targets, post, classes, .. } = ensemble;
        Ok(Self { quick, walk, leaves, targets, base, divisor, post, features, classes, all_at_least_0 })
    }

    /// Bytes that a run may touch.
    pub fn bytes(&self) -> usize {
        self.quick.bytes() + self.walk.bytes() + self.leaves.bytes()
    }

    /// One row: `y` gets `targets` values.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, x: &[f32], y: &mut [f32]) {
        let y = &mut y[..self.targets];
        s.trees(Row { trees: self, x, y: &mut *y });
        for (y, base) in y.iter_mut().zip(&self.base) {
            *y = *y / self.divisor + base;
        }
        self.post.run(s, y);
    }
}

/// The trees that are looked at all at once, and those that are walked. Large trees are walked; so are few trees of many
/// leaves, and all of them without instructions on bytes.
fn choose(ensemble: &Ensemble) -> (Vec<usize>, Vec<usize>) {
    let trees = 0..ensemble.trees.len();
    let small = |&tree: &usize| ensemble.trees[tree].leaves.len() <= quick::MOST_LEAVES;
    let (fast, slow): (Vec<usize>, Vec<usize>) = trees.clone().partition(small);
    let walked = || fast.iter().map(|&tree| ensemble.trees[tree].depth()).collect();
    let features = ensemble.trees.iter().flat_map(|tree| &tree.splits).map(|split| split.feature);
    let features = features.collect::<std::collections::HashSet<_>>().len();
    let tests = fast.iter().map(|&tree| quick::tests(&ensemble.trees[tree])).collect();
    let is_x86 = cfg!(target_arch = "x86_64");
    if is_x86 && quick_cycles(tests, features) <= walk_cycles(walked()) {
        (fast, slow)
    } else {
        (vec![], trees.collect())
    }
}

/// About what trees of so many tests take side by side, on AVX-512: a step of four groups 16 cycles, of one 6, a rank 5.
fn quick_cycles(mut tests: Vec<usize>, features: usize) -> usize {
    tests.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
    let flight = |tests: &[usize]| tests[0] * (2 + 4 * tests.len().div_ceil(64)).min(16);
    5 * features + tests.chunks(256).map(flight).sum::<usize>()
}

/// About what walks of such depths take: a step of sixteen trees 45 cycles.
fn walk_cycles(mut depths: Vec<usize>) -> usize {
    depths.sort_unstable();
    depths.chunks(16).map(|depths| 45 * depths[depths.len() - 1]).sum()
}

/// One run.
struct Row<'a> {
    trees: &'a Trees,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl LanesTask for Row<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Trees { quick, walk, leaves, .. } = self.trees;
        let mut sums = Sums::new(l, leaves, self.y);
        quick.run(l, self.x, &mut sums);
        walk.run(l, self.x, &mut sums);
        sums.end(l);
    }
}
