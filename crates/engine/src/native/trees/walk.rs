//! Trees too large or too few for bytes: sixteen walks at a time. A leaf's children are the leaf, so that all take the same
//! number of steps, and no step has a branch.

use super::super::simd::trees::{EQUAL, Lanes, NAN_LEFT, Node};
use super::super::tensor::LANES;
use super::Ensemble;
use super::grow::{Test, Tree};
use super::leaves::{Leaves, Quarter, Sums};

/// Sixteen trees of about the same depth.
#[derive(Clone, Debug)]
struct Group {
    steps: usize,
    roots: [u32; LANES],
    quarter: Quarter,
}

/// Trees to be walked.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    nodes: Vec<Node>,
    groups: Vec<Group>,
}

impl Walk {
    /// Lays `trees` out, by their numbers.
    pub fn new(ensemble: &Ensemble, mut trees: Vec<usize>, leaves: &mut Leaves) -> Self {
        let mut walk = Self { nodes: Vec::new(), groups: Vec::new() };
        let depths: Vec<usize> = ensemble.trees.iter().map(Tree::depth).collect();
        trees.sort_by_key(|&tree| (depths[tree], tree));
        for trees in trees.chunks(LANES) {
            let lanes: Vec<Option<usize>> = trees.iter().copied().map(Some).collect();
            let quarter = leaves.quarter(ensemble, &lanes);
            let root = |lane: usize| {
                let (tree, base) = trees.get(lane).map_or((None, 0), |&tree| (Some(tree), quarter.base[lane]));
                walk.plant(tree.map(|tree| &ensemble.trees[tree]), base, leaves.width as u32)
            };
            let roots: [u32; LANES] = std::array::from_fn(root);
            let steps = trees.iter().map(|&tree| depths[tree]).max().unwrap_or(0);
            walk.groups.push(Group { steps, roots, quarter });
        }
        walk
    }

    /// Lays one tree down, breadth first; where there is none, a leaf. Returns its root.
    fn plant(&mut self, tree: Option<&Tree>, base: u32, width: u32) -> u32 {
        let root = self.nodes.len();
        let leaf = |at: usize, leaf: u32| Node {
            threshold: f32::INFINITY,
            feature: NAN_LEFT,
            left: at as u32,
            leaf: base + leaf * width,
        };
        let splits = tree.map_or(&[][..], |tree| &tree.splits);
        // Tests by their number, and leaves by theirs.
        let mut order = vec![if splits.is_empty() { Err(0) } else { Ok(0) }];
        let mut next = 0;
        while next < order.len() {
            let at = root + next;
            let node = match order[next] {
                Err(number) => leaf(at, number),
                Ok(i) => {
                    let split: &super::grow::Split = &splits[i];
                    let (first, middle) = (split.first, split.middle);
                    let left = (root + order.len()) as u32;
                    order.push(if middle - first == 1 { Err(first) } else { Ok(i + 1) });
                    order.push(if split.end - middle == 1 { Err(middle) } else { Ok(i + (middle - first) as usize) });
                    let equal = if split.test == Test::Equal { EQUAL } else { 0 };
                    let nan = if split.nan_left { NAN_LEFT } else { 0 };
                    Node { threshold: split.threshold, feature: split.feature | equal | nan, left, leaf: 0 }
                }
            };
            self.nodes.push(node);
            next += 1;
        }
        root as u32
    }

    pub fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>() + self.groups.len() * size_of::<Group>()
    }

    /// One row.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, l: L, x: &[f32], sums: &mut Sums<'_, L>) {
        for group in &self.groups {
            let mut at = l.ints(&group.roots);
            for _ in 0..group.steps {
                at = l.descend(&self.nodes, x, at);
            }
            sums.add(l, &group.quarter, l.leaf(&self.nodes, at));
        }
    }
}
