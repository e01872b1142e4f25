//! Ensembles as files have them: the lists of `TreeEnsembleRegressor` and `TreeEnsembleClassifier`, where a leaf is a node,
//! and those of `TreeEnsemble`, where it is not.

use std::collections::HashMap;

use super::super::Refusal;
use super::super::graph::Node as Operator;
use super::super::tensor::Tensor;
use super::grow::{Child, Grower, Node, Tree};
use super::post::{Aggregate, Post};

/// Most nodes, and most leaf values, of an ensemble.
pub(super) const MOST: usize = 1 << 24;
/// Most targets.
const MOST_TARGETS: i64 = 1024;

/// What an ensemble says, in trees of one form.
pub(super) struct Ensemble {
    pub trees: Vec<Tree>,
    /// Targets and weights; leaves are ranges of it.
    pub weights: Vec<(u32, f32)>,
    pub targets: usize,
    /// One for each target, or none.
    pub base: Vec<f32>,
    pub aggregate: Aggregate,
    pub post: Post,
    /// Labels of a classifier; 0 otherwise.
    pub classes: usize,
}

impl Ensemble {
    pub fn read(operator: &Operator) -> Result<Self, Refusal> {
        let ensemble = if operator.op == "ml.TreeEnsemble" { version_5(operator)? } else { version_3(operator)? };
        if ensemble.weights.iter().any(|(_, weight)| !weight.is_finite()) {
            return Err(operator.refuse("a leaf's weight is infinite or NaN"));
        }
        // What nodes in common are copied to counts too.
        let leaves = ensemble.trees.iter().map(|tree| tree.leaves.len()).sum::<usize>();
        if leaves.saturating_mul(ensemble.targets) > MOST {
            return Err(operator.refuse(format!("{leaves} leaves for {} targets are too many", ensemble.targets)));
        }
        let twice = |weights: &[(u32, f32)]| weights.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let leaves =
            |tree: &Tree| tree.leaves.iter().any(|&(from, to)| twice(&ensemble.weights[from as usize..to as usize]));
        if ensemble.trees.iter().any(leaves) {
            return Err(operator.refuse("a leaf has two weights for one target"));
        }
        if !(ensemble.base.is_empty() || ensemble.base.len() == ensemble.targets) {
            let (base, targets) = (ensemble.base.len(), ensemble.targets);
            return Err(operator.refuse(format!("{base} base values for {targets} targets")));
        }
        Ok(ensemble)
    }

    /// Whether each row gets a weight for `target` from some tree, whatever leaves it comes to.
    pub fn always_scores(&self, target: u32) -> bool {
        let scores =
            |&(from, to): &(u32, u32)| self.weights[from as usize..to as usize].iter().any(|(own, _)| *own == target);
        self.trees.iter().any(|tree| tree.leaves.iter().all(scores))
    }
}

/// A list of floats: the attribute, or its form as a tensor.
fn floats(operator: &Operator, name: &str) -> Result<Vec<f32>, Refusal> {
    let tensor = format!("{name}_as_tensor");
    if !operator.has(&tensor) {
        return Ok(operator.floats(name).to_vec());
    }
    if operator.has(name) {
        return Err(operator.refuse(format!("it has both {name} and {tensor}")));
    }
    numbers(operator, &tensor)
}

/// A tensor of floats.
fn numbers(operator: &Operator, name: &str) -> Result<Vec<f32>, Refusal> {
    if operator.tensor_kind(name) != Some(rten_onnx::onnx::DataType::FLOAT) {
        return Err(operator.refuse(format!("{name} is no tensor of floats, as its input's kind asks for")));
    }
    let tensor: Option<Tensor> = operator.tensor(name).transpose()?;
    Ok(tensor.as_ref().and_then(Tensor::floats).map(<[f32]>::to_vec).unwrap_or_default())
}

/// A number of targets, before anything is made for them.
fn targets(operator: &Operator, targets: i64, weights: usize) -> Result<usize, Refusal> {
    let n = usize::try_from(targets).ok().filter(|_| (1..=MOST_TARGETS).contains(&targets));
    let n = n.ok_or_else(|| operator.refuse(format!("{targets} targets make no sense")))?;
    if weights.saturating_mul(n) > MOST {
        return Err(operator.refuse(format!("{weights} leaf values for {n} targets are too many")));
    }
    Ok(n)
}

fn target(operator: &Operator, id: i64, targets: usize) -> Result<u32, Refusal> {
    let fits = u32::try_from(id).ok().filter(|&id| (id as usize) < targets);
    fits.ok_or_else(|| operator.refuse(format!("a leaf is for target {id} of {targets}")))
}

/// Labels of a classifier; 0 for a regressor.
pub(in super::super) fn classes(operator: &Operator) -> usize {
    let ints = ["classlabels_int64s", "classlabels_ints"];
    let ints = ints.iter().find_map(|name| operator.ints(name)).map_or(0, <[i64]>::len);
    if ints > 0 { ints } else { operator.texts("classlabels_strings").len() }
}

/// `TreeEnsembleRegressor` and `TreeEnsembleClassifier`.
fn version_3(operator: &Operator) -> Result<Ensemble, Refusal> {
    let classifier = operator.op == "ml.TreeEnsembleClassifier";
    let kind = if classifier { "class" } else { "target" };
    let list = |field: &str| operator.ints(&format!("{kind}_{field}")).unwrap_or_default();
    let (trees, nodes, ids) = (list("treeids"), list("nodeids"), list("ids"));
    let values = floats(operator, &format!("{kind}_weights"))?;
    if [trees.len(), nodes.len(), ids.len()] != [values.len(); 3] {
        return Err(operator.refuse("its lists of leaf values differ in length"));
    }
    let classes = if classifier { classes(operator) } else { 0 };
    let one_score = classes == 2 && ids.iter().all(|&id| id == 0);
    let most = ids.iter().max().map_or(1, |&id| id.saturating_add(1));
    let stated = match classes {
        _ if one_score => 1,
        0 => operator.int("n_targets", most),
        n => n as i64,
    };
    let targets = targets(operator, stated, values.len())?;
    // By leaf, and by target within one.
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&i| (trees[i], nodes[i], ids[i]));
    let mut weights = Vec::with_capacity(order.len());
    let mut leaves = HashMap::<(i64, i64), (u32, u32)>::new();
    for &i in &order {
        let at = weights.len() as u32;
        leaves.entry((trees[i], nodes[i])).or_insert((at, at)).1 = at + 1;
        weights.push((target(operator, ids[i], targets)?, values[i]));
    }
    Ok(Ensemble {
        trees: nodes_3(operator, &leaves)?,
        weights,
        targets,
        base: floats(operator, "base_values")?,
        aggregate: Aggregate::named(operator, operator.text("aggregate_function").unwrap_or("SUM"))?,
        post: Post::named(operator, operator.text("post_transform").unwrap_or("NONE"))?,
        classes,
    })
}

/// The trees whose leaves are nodes.
fn nodes_3(operator: &Operator, leaves: &HashMap<(i64, i64), (u32, u32)>) -> Result<Vec<Tree>, Refusal> {
    let list = |field: &str| operator.ints(&format!("nodes_{field}")).unwrap_or_default();
    let (trees, ids, features) = (list("treeids"), list("nodeids"), list("featureids"));
    let (yes, no, missing) = (list("truenodeids"), list("falsenodeids"), list("missing_value_tracks_true"));
    let (modes, thresholds) = (operator.texts("nodes_modes"), floats(operator, "nodes_values")?);
    let n = trees.len();
    if [ids.len(), features.len(), yes.len(), no.len(), modes.len(), thresholds.len()] != [n; 6]
        || !(missing.is_empty() || missing.len() == n)
        || !(1..=MOST).contains(&n)
    {
        return Err(operator.refuse("its lists of nodes are empty, too long or of different lengths"));
    }
    let mut places = HashMap::new();
    for i in 0..n {
        if places.insert((trees[i], ids[i]), i as u32).is_some() {
            return Err(operator.refuse(format!("tree {}: node {} is given twice", trees[i], ids[i])));
        }
    }
    let child = |i: usize, id: i64| {
        let at = *places.get(&(trees[i], id)).ok_or_else(|| {
            operator.refuse(format!("tree {}: a child is missing: node {} names node {id}", trees[i], ids[i]))
        })?;
        Ok(if modes[at as usize] == "LEAF" { Child::Leaf(at) } else { Child::Node(at) })
    };
    let node = |i: usize| {
        let missing = missing.get(i).is_some_and(|&m| m != 0);
        let node = Node::new(&modes[i], features[i], thresholds[i], missing);
        let mut node = node.map_err(|why| operator.refuse(format!("tree {}: node {}: {why}", trees[i], ids[i])))?;
        node.children(child(i, yes[i])?, child(i, no[i])?);
        Ok(node)
    };
    // A leaf has a place in the list too, where nobody looks.
    let nodes = (0..n).map(|i| if modes[i] == "LEAF" { Ok(Node::leaf()) } else { node(i) });
    let nodes: Vec<Node> = nodes.collect::<Result<_, Refusal>>()?;
    let weights = |at: u32| leaves.get(&(trees[at as usize], ids[at as usize])).copied().unwrap_or((0, 0));
    let mut grower = Grower::new(&nodes, n);
    let (mut grown, mut seen, mut at) = (Vec::new(), std::collections::HashSet::new(), 0);
    while at < n {
        let (tree, first) = (trees[at], at);
        if !seen.insert(tree) {
            return Err(operator.refuse(format!("the nodes of tree {tree} do not stand together")));
        }
        at += trees[first..].iter().take_while(|&&other| other == tree).count();
        let root = if modes[first] == "LEAF" { Child::Leaf(first as u32) } else { Child::Node(first as u32) };
        let made = grower.grow(root, &weights);
        let made = made.and_then(|made| match grower.left_out(first..at, |i| modes[i] == "LEAF") {
            None => Ok(made),
            Some(_) => Err("some of its nodes cannot be reached from the first"),
        });
        grown.push(made.map_err(|why| operator.refuse(format!("tree {tree}: {why}")))?);
    }
    Ok(grown)
}

/// `TreeEnsemble`, of opset 5.
fn version_5(operator: &Operator) -> Result<Ensemble, Refusal> {
    let list = |field: &str| operator.ints(field).unwrap_or_default();
    let values = numbers(operator, "leaf_weights")?;
    let ids = list("leaf_targetids");
    if ids.len() != values.len() || values.is_empty() {
        return Err(operator.refuse("its lists of leaves are empty or differ in length"));
    }
    let targets = targets(operator, operator.int("n_targets", 1), values.len())?;
    let weights = ids.iter().zip(&values).map(|(&id, &value)| Ok((target(operator, id, targets)?, value)));
    let weights: Vec<_> = weights.collect::<Result<_, Refusal>>()?;
    let aggregate = match operator.int("aggregate_function", 1) {
        n @ 0..=3 => ["AVERAGE", "SUM", "MIN", "MAX"][n as usize],
        n => return Err(operator.refuse(format!("aggregate_function {n} is not known"))),
    };
    let post = match operator.int("post_transform", 0) {
        0 => "NONE",
        n @ 1..=2 => {
            let why = format!("post_transform {n}: ONNX Runtime takes 1 (SOFTMAX) and 2 (LOGISTIC) for each other");
            return Err(operator.refuse(why));
        }
        3 => "SOFTMAX_ZERO",
        4 => "PROBIT",
        n => return Err(operator.refuse(format!("post_transform {n} is not known"))),
    };
    Ok(Ensemble {
        trees: nodes_5(operator, weights.len())?,
        weights,
        targets,
        base: Vec::new(),
        aggregate: Aggregate::named(operator, aggregate)?,
        post: Post::named(operator, post)?,
        classes: 0,
    })
}

/// The trees whose leaves have a list of their own.
fn nodes_5(operator: &Operator, leaves: usize) -> Result<Vec<Tree>, Refusal> {
    const MODES: [&str; 7] =
        ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER"];
    let list = |field: &str| operator.ints(field).unwrap_or_default();
    let (yes, no) = (list("nodes_truenodeids"), list("nodes_falsenodeids"));
    let (yes_leaf, no_leaf) = (list("nodes_trueleafs"), list("nodes_falseleafs"));
    let (features, missing) = (list("nodes_featureids"), list("nodes_missing_value_tracks_true"));
    let thresholds = numbers(operator, "nodes_splits")?;
    let modes = operator.tensor("nodes_modes").transpose()?;
    let modes = modes.as_ref().and_then(Tensor::ints).unwrap_or_default();
    let n = features.len();
    if [yes.len(), no.len(), yes_leaf.len(), no_leaf.len(), thresholds.len(), modes.len()] != [n; 6]
        || !(missing.is_empty() || missing.len() == n)
        || !(1..=MOST).contains(&n)
    {
        return Err(operator.refuse("its lists of nodes are empty, too long or of different lengths"));
    }
    let child = |i: usize, id: i64, leaf: bool| {
        let within = |most: usize| u32::try_from(id).ok().filter(|&id| (id as usize) < most);
        let child = if leaf { within(leaves).map(Child::Leaf) } else { within(n).map(Child::Node) };
        child.ok_or_else(|| operator.refuse(format!("node {i}: a child is missing: it names {id}")))
    };
    let node = |i: usize| {
        let mode = usize::try_from(modes[i]).ok().and_then(|mode| MODES.get(mode)).copied();
        let mode = mode.ok_or_else(|| operator.refuse(format!("node {i}: mode {} is not known", modes[i])))?;
        let node = Node::new(mode, features[i], thresholds[i], missing.get(i).is_some_and(|&m| m != 0));
        let mut node = node.map_err(|why| operator.refuse(format!("node {i}: {why}")))?;
        node.children(child(i, yes[i], yes_leaf[i] != 0)?, child(i, no[i], no_leaf[i] != 0)?);
        Ok(node)
    };
    let nodes: Vec<Node> = (0..n).map(node).collect::<Result<_, Refusal>>()?;
    let roots = list("tree_roots");
    let mut grower = Grower::new(&nodes, leaves);
    let mut grown = Vec::new();
    for (tree, &root) in roots.iter().enumerate() {
        let refuse = |why: &str| operator.refuse(format!("tree {tree} with root {root}: {why}"));
        let root =
            u32::try_from(root).ok().filter(|&root| (root as usize) < n).ok_or_else(|| refuse("no such node"))?;
        grown.push(grower.grow(Child::Node(root), &|leaf| (leaf, leaf + 1)).map_err(refuse)?);
    }
    match grower.left_out(0..n, |_| false) {
        None => Ok(grown),
        Some(node) => Err(operator.refuse(format!("node {node} belongs to no tree"))),
    }
}
