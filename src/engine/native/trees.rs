//! Ensembles of decision trees on one row.
//!
//! A node is eight bytes: threshold, feature, left child; the right child stands behind the left one. A leaf is a node
//! whose children are itself, so a walk has a fixed number of steps and no branch; eight trees walk at the same time, so
//! that one's memory and compare latency hides behind the others'. Trees are grouped by depth.

use super::Refusal;
use super::graph::Node as Operator;
use super::reduce::Softmax;
use super::simd::Simd;
use bytemuck::{Pod, Zeroable};

/// Trees that walk at the same time.
const FLIGHT: usize = 8;
/// Most nodes of an ensemble.
const MOST_NODES: usize = 1 << 24;

/// Goes left where x ≤ threshold; NaN goes left if the feature's top bit says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Node {
    threshold: f32,
    feature: u16,
    left: u16,
}

const NAN_LEFT: u16 = 1 << 15;

/// Eight trees of about the same depth.
#[derive(Clone, Debug)]
struct Group {
    steps: usize,
    /// First node of each tree in `nodes` and first leaf of each tree in `leaves`.
    roots: [u32; FLIGHT],
}

/// An ensemble, compiled.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    nodes: Vec<Node>,
    /// For each node the first of its `targets` leaf values; 0 for inner nodes.
    values: Vec<u32>,
    leaves: Vec<f32>,
    groups: Vec<Group>,
    pub targets: usize,
    base: Vec<f32>,
    average: f32,
    pub post: Post,
    /// Features that a row has at least.
    pub features: usize,
}

/// What is done with the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
}

/// One node as the file has it.
struct Split {
    tree: i64,
    id: i64,
    feature: usize,
    mode: Mode,
    threshold: f32,
    yes: i64,
    no: i64,
    nan_yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Leaf,
}

impl Trees {
    /// Compiles `ml.TreeEnsembleRegressor` or `ml.TreeEnsembleClassifier`.
    pub fn new(operator: &Operator) -> Result<Self, Refusal> {
        let kind = if operator.op == "ml.TreeEnsembleClassifier" { "class" } else { "target" };
        let splits = splits(operator)?;
        let leaf = |field: &str| operator.ints(&format!("{kind}_{field}")).unwrap_or_default();
        let weights = operator.floats(&format!("{kind}_weights"));
        let (trees, nodes, ids) = (leaf("treeids"), leaf("nodeids"), leaf("ids"));
        if [trees.len(), nodes.len(), ids.len()] != [weights.len(); 3] {
            return Err(operator.refuse("its lists of leaf values differ in length"));
        }
        let most = ids.iter().max().map_or(1, |&id| id.saturating_add(1));
        let targets = usize::try_from(operator.int("n_targets", most)).ok().filter(|n| (1..=1024).contains(n));
        let targets = targets.ok_or_else(|| operator.refuse("its number of targets makes no sense"))?;
        if weights.len().saturating_mul(targets) > MOST_NODES {
            return Err(operator.refuse(format!("{} leaf values for {targets} targets are too many", weights.len())));
        }
        let mut by_leaf = std::collections::HashMap::<(i64, i64), Vec<f32>>::new();
        for (i, &weight) in weights.iter().enumerate() {
            let target = usize::try_from(ids[i]).ok().filter(|&target| target < targets);
            let target = target.ok_or_else(|| operator.refuse(format!("a leaf is for target {}", ids[i])))?;
            by_leaf.entry((trees[i], nodes[i])).or_insert_with(|| vec![0.0; targets])[target] += weight;
        }
        let mut ensemble = Self::empty(operator, targets)?;
        let mut built = Vec::new();
        for tree in splits.chunk_by(|a, b| a.tree == b.tree) {
            built.push(ensemble.add(operator, tree, &by_leaf)?);
        }
        if operator.text("aggregate_function") == Some("AVERAGE") {
            ensemble.average = 1.0 / built.len().max(1) as f32;
        }
        ensemble.group(built);
        Ok(ensemble)
    }

    fn empty(operator: &Operator, targets: usize) -> Result<Self, Refusal> {
        let post = match operator.text("post_transform").unwrap_or("NONE") {
            "NONE" => Post::None,
            "LOGISTIC" => Post::Logistic,
            "SOFTMAX" => Post::Softmax,
            "SOFTMAX_ZERO" => Post::SoftmaxZero,
            other => return Err(operator.refuse(format!("post_transform {other} is not taken"))),
        };
        match operator.text("aggregate_function").unwrap_or("SUM") {
            "SUM" | "AVERAGE" => {}
            other => return Err(operator.refuse(format!("aggregate_function {other} is not taken"))),
        }
        if operator.has("base_values_as_tensor") {
            return Err(operator.refuse("base_values_as_tensor, of doubles, is not taken"));
        }
        let mut base = operator.floats("base_values").to_vec();
        if base.len() > targets {
            return Err(operator.refuse(format!("{} base values for {targets} targets", base.len())));
        }
        base.resize(targets, 0.0);
        let (nodes, values, groups) = (Vec::new(), Vec::new(), Vec::new());
        // Inner nodes point at leaf values that add nothing.
        let leaves = vec![0.0; targets];
        Ok(Self { nodes, values, leaves, groups, targets, base, average: 1.0, post, features: 0 })
    }

    /// Lays one tree out, breadth first; returns its first node and its depth.
    fn add(
        &mut self,
        operator: &Operator,
        tree: &[Split],
        by_leaf: &std::collections::HashMap<(i64, i64), Vec<f32>>,
    ) -> Result<(usize, u32), Refusal> {
        let broken = |why: &str| operator.refuse(format!("tree {}: {why}", tree[0].tree));
        let by_id: std::collections::HashMap<i64, &Split> = tree.iter().map(|split| (split.id, split)).collect();
        if by_id.len() != tree.len() {
            return Err(broken("a node id is given twice"));
        }
        let root = self.nodes.len();
        let mut order = vec![(&tree[0], 0_u32)];
        let mut next = 0;
        while next < order.len() {
            let (split, depth) = order[next];
            let here = u16::try_from(next).map_err(|_| broken("it has more than 65,535 nodes"))?;
            next += 1;
            if split.mode == Mode::Leaf {
                let value = by_leaf.get(&(split.tree, split.id));
                self.values.push(if value.is_some() { self.leaves.len() as u32 } else { 0 });
                self.leaves.extend(value.into_iter().flatten());
                self.nodes.push(Node { threshold: f32::INFINITY, feature: NAN_LEFT, left: here });
                continue;
            }
            let child = |id: i64| by_id.get(&id).copied().ok_or_else(|| broken("a child is missing"));
            let (yes, no) = (child(split.yes)?, child(split.no)?);
            if order.len() + 2 > tree.len() {
                return Err(broken("it is no tree: a node has two parents"));
            }
            let left = u16::try_from(order.len()).map_err(|_| broken("it has more than 65,535 nodes"))?;
            // All modes as "left where x ≤ t": < as ≤ of the number below, and the other two with their children exchanged.
            let (at_most, exchanged) = match split.mode {
                Mode::AtMost => (split.threshold, false),
                Mode::Below => (split.threshold.next_down(), false),
                Mode::Above => (split.threshold, true),
                Mode::AtLeast | Mode::Leaf => (split.threshold.next_down(), true),
            };
            let pair = if exchanged { [no, yes] } else { [yes, no] };
            order.extend(pair.map(|split| (split, depth + 1)));
            let nan = if split.nan_yes != exchanged { NAN_LEFT } else { 0 };
            let feature = u16::try_from(split.feature).ok().filter(|f| f & NAN_LEFT == 0);
            let feature = feature.ok_or_else(|| broken("a feature's number is above 32,767"))?;
            self.features = self.features.max(split.feature + 1);
            self.values.push(0);
            self.nodes.push(Node { threshold: at_most, feature: feature | nan, left });
        }
        if order.len() != tree.len() {
            return Err(broken("some of its nodes cannot be reached from the first"));
        }
        Ok((root, order.iter().map(|(_, depth)| *depth).max().unwrap_or(0)))
    }

    /// Groups trees of like depth; a group that is not full walks a tree without value.
    fn group(&mut self, mut built: Vec<(usize, u32)>) {
        let nothing = self.nodes.len() as u32;
        self.nodes.push(Node { threshold: f32::INFINITY, feature: NAN_LEFT, left: 0 });
        self.values.push(0);
        built.sort_by_key(|(root, depth)| (*depth, *root));
        for trees in built.chunks(FLIGHT) {
            let roots = std::array::from_fn(|i| trees.get(i).map_or(nothing, |(root, _)| *root as u32));
            let steps = trees.iter().map(|(_, depth)| *depth as usize).max().unwrap_or(0);
            self.groups.push(Group { steps, roots });
        }
        // A row of no features is still looked at once.
        self.features = self.features.max(1);
    }

    /// Whether no leaf is below 0: then the runtime takes one score of two classes for a probability.
    pub fn all_at_least_0(&self) -> bool {
        self.leaves.iter().all(|&leaf| leaf >= 0.0)
    }

    /// Bytes that a walk may touch.
    pub fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>() + self.values.len() * 4 + self.leaves.len() * 4
    }

    /// One row: `y` gets `targets` values.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, x: &[f32], y: &mut [f32]) {
        let y = &mut y[..self.targets];
        y.fill(0.0);
        for group in &self.groups {
            let mut at = [0_u32; FLIGHT];
            for _ in 0..group.steps {
                for (at, root) in at.iter_mut().zip(group.roots) {
                    let node = &self.nodes[(root + *at) as usize];
                    let value = x[usize::from(node.feature & !NAN_LEFT)];
                    let left = (value <= node.threshold) | ((node.feature & NAN_LEFT != 0) & value.is_nan());
                    *at = u32::from(node.left) + u32::from(!left);
                }
            }
            for (at, root) in at.into_iter().zip(group.roots) {
                let value = self.values[(root + at) as usize] as usize;
                for (y, leaf) in y.iter_mut().zip(&self.leaves[value..]) {
                    *y += leaf;
                }
            }
        }
        for (y, base) in y.iter_mut().zip(&self.base) {
            *y = *y * self.average + base;
        }
        self.post.run(s, y);
    }
}

impl Post {
    /// In place.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, y: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => y.iter_mut().for_each(|y| *y = 1.0 / (1.0 + (-*y).exp())),
            Self::Softmax => softmax(s, y),
            // Zeros stay zeros and take no part.
            Self::SoftmaxZero => {
                let top = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let power = |y: f32| if y == 0.0 { 0.0 } else { (y - top).exp() };
                let total: f32 = y.iter().map(|&y| power(y)).sum();
                y.iter_mut().for_each(|y| *y = power(*y) / total);
            }
        }
    }
}

#[inline(always)]
fn softmax<S: Simd>(s: S, y: &mut [f32]) {
    let mut copy = [0.0; 1024];
    let copy = &mut copy[..y.len()];
    copy.copy_from_slice(y);
    Softmax::Plain.run(s, copy, y);
}

fn splits(operator: &Operator) -> Result<Vec<Split>, Refusal> {
    let list = |field: &str| operator.ints(&format!("nodes_{field}")).unwrap_or_default();
    let (trees, ids, features) = (list("treeids"), list("nodeids"), list("featureids"));
    let (yes, no) = (list("truenodeids"), list("falsenodeids"));
    let (modes, thresholds) = (operator.texts("nodes_modes"), operator.floats("nodes_values"));
    let missing = list("missing_value_tracks_true");
    let n = trees.len();
    if [ids.len(), features.len(), yes.len(), no.len(), modes.len(), thresholds.len()] != [n; 6]
        || !(missing.is_empty() || missing.len() == n)
        || n == 0
        || n > MOST_NODES
    {
        return Err(operator.refuse("its lists of nodes are empty, too long or of different lengths"));
    }
    let split = |i: usize| {
        let mode = match modes[i].as_str() {
            "BRANCH_LEQ" => Mode::AtMost,
            "BRANCH_LT" => Mode::Below,
            "BRANCH_GTE" => Mode::AtLeast,
            "BRANCH_GT" => Mode::Above,
            "LEAF" => Mode::Leaf,
            other => return Err(operator.refuse(format!("node mode {other} is not taken"))),
        };
        let feature = usize::try_from(features[i]).map_err(|_| operator.refuse("a feature's number is negative"))?;
        let threshold = thresholds[i];
        if threshold.is_nan() {
            return Err(operator.refuse("a threshold is NaN"));
        }
        let nan_yes = missing.get(i).is_some_and(|&m| m != 0);
        Ok(Split { tree: trees[i], id: ids[i], feature, mode, threshold, yes: yes[i], no: no[i], nan_yes })
    };
    let splits: Vec<Split> = (0..n).map(split).collect::<Result<_, _>>()?;
    let mut seen = std::collections::HashSet::new();
    for tree in splits.chunk_by(|a, b| a.tree == b.tree) {
        if !seen.insert(tree[0].tree) {
            return Err(operator.refuse(format!("the nodes of tree {} do not stand together", tree[0].tree)));
        }
    }
    Ok(splits)
}
