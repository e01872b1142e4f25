//! Trees in the one form that the layouts are made from: tests in the order of a walk that goes left first, leaves from left
//! to right.

use super::read::MOST;

/// What a test asks of its feature's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// x ≤ threshold.
    AtMost,
    /// x = threshold.
    Equal,
}

/// Where a test leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Node(u32),
    Leaf(u32),
}

/// One node of a list, as "left where the test holds".
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    feature: u32,
    test: Test,
    threshold: f32,
    nan_left: bool,
    /// The file's "yes" is the right child.
    exchanged: bool,
    left: Child,
    right: Child,
}

/// One test of a tree. A subtree is a range of leaves; the left part of it ends where the right one begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    pub feature: u32,
    pub test: Test,
    pub threshold: f32,
    pub nan_left: bool,
    /// First leaf below it, first leaf to its right, and the leaf after its last.
    pub first: u32,
    pub middle: u32,
    pub end: u32,
}

/// A tree. The left child of test i is i + 1 or leaf `first`, the right one i + `middle` - `first` or leaf `middle`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub splits: Vec<Split>,
    /// Its leaves' weights, from and to.
    pub leaves: Vec<(u32, u32)>,
}

/// Features above this are no row's.
const MOST_FEATURES: i64 = 1 << 24;

impl Node {
    /// A place that nobody looks at.
    pub fn leaf() -> Self {
        let nowhere = Child::Leaf(0);
        let (test, threshold) = (Test::AtMost, 0.0);
        Self { feature: 0, test, threshold, nan_left: false, exchanged: false, left: nowhere, right: nowhere }
    }

    /// # Errors
    /// Why it is not taken.
    pub fn new(mode: &str, feature: i64, threshold: f32, nan_yes: bool) -> Result<Self, String> {
        // < is ≤ of the number below; ≥ and > are those two with the children exchanged, as ≠ is of =.
        let (test, below, exchanged) = match mode {
            "BRANCH_LEQ" => (Test::AtMost, false, false),
            "BRANCH_LT" => (Test::AtMost, true, false),
            "BRANCH_GTE" => (Test::AtMost, true, true),
            "BRANCH_GT" => (Test::AtMost, false, true),
            "BRANCH_EQ" => (Test::Equal, false, false),
            "BRANCH_NEQ" => (Test::Equal, false, true),
            other => return Err(format!("node mode {other} is not taken")),
        };
        let feature = u32::try_from(feature).ok().filter(|_| feature < MOST_FEATURES);
        let feature = feature.ok_or("a feature's number is negative or above any row's")?;
        if threshold.is_nan() {
            return Err("a threshold is NaN".into());
        }
        if below && threshold == f32::NEG_INFINITY {
            return Err("no number is below its threshold of -inf".into());
        }
        let threshold = if below { threshold.next_down() } else { threshold };
        // NaN differs from everything, so ≠ holds for it anyway.
        let nan_left = if mode == "BRANCH_NEQ" { false } else { nan_yes != exchanged };
        Ok(Self { feature, test, threshold, nan_left, exchanged, ..Self::leaf() })
    }

    pub fn children(&mut self, yes: Child, no: Child) {
        (self.left, self.right) = if self.exchanged { (no, yes) } else { (yes, no) };
    }
}

/// What is next on the way through a tree.
enum Next {
    Visit(Child),
    /// The left part of a test is done, or all of it.
    Middle(usize),
    End(usize),
}

/// Copies of a node that is reached on several ways: exporters share what categories have in common.
const MOST_COPIES: usize = 16;

/// Makes trees of a list of nodes.
pub(super) struct Grower<'a> {
    nodes: &'a [Node],
    /// For each node and each leaf the number of the tree that has it, from 1.
    nodes_of: Vec<u32>,
    leaves_of: Vec<u32>,
    trees: u32,
}

impl<'a> Grower<'a> {
    pub fn new(nodes: &'a [Node], leaves: usize) -> Self {
        Self { nodes, nodes_of: vec![0; nodes.len()], leaves_of: vec![0; leaves], trees: 0 }
    }

    /// The tree below `root`; `weights` are a leaf's.
    ///
    /// # Errors
    /// If it is none.
    pub fn grow(&mut self, root: Child, weights: &dyn Fn(u32) -> (u32, u32)) -> Result<Tree, &'static str> {
        let mut tree = Tree { splits: Vec::new(), leaves: Vec::new() };
        let mut ahead = vec![Next::Visit(root)];
        self.trees += 1;
        let mut distinct = 0;
        while let Some(next) = ahead.pop() {
            let leaf = tree.leaves.len() as u32;
            match next {
                Next::Visit(Child::Leaf(i)) => {
                    self.leaves_of[i as usize] = self.trees;
                    tree.leaves.push(weights(i));
                }
                Next::Visit(Child::Node(i)) => {
                    let Node { feature, test, threshold, nan_left, left, right, .. } = self.nodes[i as usize];
                    let at = tree.splits.len();
                    match std::mem::replace(&mut self.nodes_of[i as usize], self.trees) {
                        0 => distinct += 1,
                        tree if tree == self.trees => {}
                        _ => return Err("its nodes are another tree's too"),
                    }
                    // Parents come before children, so a circle has few distinct nodes and goes on and on.
                    if at >= MOST_COPIES * (distinct + MOST_COPIES) || at > MOST {
                        return Err("it is no tree: its nodes form a circle, or are shared too often");
                    }
                    tree.splits.push(Split { feature, test, threshold, nan_left, first: leaf, middle: 0, end: 0 });
                    ahead.extend([Next::End(at), Next::Visit(right), Next::Middle(at), Next::Visit(left)]);
                }
                Next::Middle(at) => tree.splits[at].middle = leaf,
                Next::End(at) => tree.splits[at].end = leaf,
            }
        }
        Ok(tree)
    }

    /// The first node or leaf of these that belongs to no tree.
    pub fn left_out(&self, nodes: std::ops::Range<usize>, is_leaf: impl Fn(usize) -> bool) -> Option<usize> {
        nodes.into_iter().find(|&i| if is_leaf(i) { self.leaves_of[i] == 0 } else { self.nodes_of[i] == 0 })
    }
}

impl Tree {
    /// Tests on the longest way.
    pub fn depth(&self) -> usize {
        let mut open: Vec<u32> = Vec::new();
        let mut deepest = 0;
        for split in &self.splits {
            while open.last().is_some_and(|&end| end <= split.first) {
                open.pop();
            }
            open.push(split.end);
            deepest = deepest.max(open.len());
        }
        deepest
    }
}
