//! Random ensembles: as a plain list of nodes that a twin walks, and as an ONNX file.

use rand::{Rng, RngExt};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// How a tree grows.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any leaf is split next.
    Random,
    /// The oldest leaf is.
    Full,
    /// The newest leaf is.
    Chain,
}

/// What an ensemble is like.
#[derive(Clone, Debug)]
pub struct Plan {
    pub trees: usize,
    /// Leaves of a tree, at most.
    pub leaves: usize,
    pub features: usize,
    pub targets: usize,
    /// Each tree has one target, in turn.
    pub in_turn: bool,
    pub shape: Shape,
    /// Thresholds from a small grid, or anywhere.
    pub grid: bool,
    pub missing: bool,
    pub modes: usize,
}

const MODES: [&str; 6] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<(usize, f32)>),
    Split { feature: usize, mode: usize, threshold: f32, nan_yes: bool, yes: usize, no: usize },
}

#[derive(Clone, Debug)]
pub struct Forest {
    pub plan: Plan,
    trees: Vec<Vec<Node>>,
}

/// A value that rows and thresholds share now and then.
pub fn value(rng: &mut impl Rng, grid: bool) -> f32 {
    if grid { rng.random_range(-6..=6) as f32 / 4.0 } else { rng.random_range(-2.0..2.0) }
}

fn tree(plan: &Plan, number: usize, rng: &mut impl Rng) -> Vec<Node> {
    // Weights in sixteenths: their sums are exact in any order.
    let leaf = |rng: &mut dyn FnMut() -> i32| {
        let targets = if plan.in_turn { number % plan.targets..number % plan.targets + 1 } else { 0..plan.targets };
        Node::Leaf(targets.map(|target| (target, rng() as f32 / 16.0)).collect())
    };
    let wanted = rng.random_range(1..=plan.leaves);
    let mut nodes = vec![leaf(&mut || rng.random_range(-64..64))];
    let mut open = vec![0];
    while open.len() < wanted {
        let pick = match plan.shape {
            Shape::Random => rng.random_range(0..open.len()),
            Shape::Full => 0,
            Shape::Chain => open.len() - 1,
        };
        let at = open.remove(pick);
        let children = [nodes.len(), nodes.len() + 1];
        nodes.extend(children.map(|_| leaf(&mut || rng.random_range(-64..64))));
        let turned = rng.random_bool(0.5);
        open.extend(if turned { [children[1], children[0]] } else { children });
        nodes[at] = Node::Split {
            feature: rng.random_range(0..plan.features),
            mode: rng.random_range(0..plan.modes),
            threshold: if rng.random_bool(0.1) { -0.0 } else { value(rng, plan.grid) },
            nan_yes: plan.missing && rng.random_bool(0.5),
            yes: children[usize::from(turned)],
            no: children[usize::from(!turned)],
        };
    }
    nodes
}

impl Forest {
    pub fn new(plan: &Plan, rng: &mut impl Rng) -> Self {
        Self { plan: plan.clone(), trees: (0..plan.trees).map(|i| tree(plan, i, rng)).collect() }
    }

    /// What the ensemble says of a row, walked node by node.
    pub fn answer(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; self.plan.targets];
        for nodes in &self.trees {
            let mut at = 0;
            let weights = loop {
                match &nodes[at] {
                    Node::Leaf(weights) => break weights,
                    Node::Split { feature, mode, threshold, nan_yes, yes, no } => {
                        let x = x[*feature];
                        let holds = match MODES[*mode] {
                            "BRANCH_LEQ" => x <= *threshold,
                            "BRANCH_LT" => x < *threshold,
                            "BRANCH_GTE" => x >= *threshold,
                            "BRANCH_GT" => x > *threshold,
                            "BRANCH_EQ" => x == *threshold,
                            _ => x != *threshold,
                        };
                        at = if holds || (x.is_nan() && *nan_yes) { *yes } else { *no };
                    }
                }
            };
            weights.iter().for_each(|&(target, weight)| y[target] += weight);
        }
        y
    }

    /// As a `TreeEnsembleRegressor`.
    pub fn onnx(&self) -> Vec<u8> {
        let nodes = || {
            self.trees.iter().enumerate().flat_map(|(t, nodes)| nodes.iter().enumerate().map(move |(i, n)| (t, i, n)))
        };
        let all = |f: &dyn Fn(usize, usize, &Node) -> i64| nodes().map(|(t, i, n)| f(t, i, n)).collect::<Vec<_>>();
        let split = |f: &dyn Fn(usize, usize, usize, bool) -> usize| {
            all(&|_, _, node| match node {
                Node::Leaf(_) => 0,
                Node::Split { feature, yes, no, nan_yes, .. } => f(*feature, *yes, *no, *nan_yes) as i64,
            })
        };
        let leaves = || {
            nodes().flat_map(|(t, i, node)| {
                let weights = if let Node::Leaf(weights) = node { &weights[..] } else { &[] };
                weights.iter().map(move |&(target, weight)| (t as i64, i as i64, target as i64, weight))
            })
        };
        let mode = |node: &Node| if let Node::Split { mode, .. } = node { MODES[*mode] } else { "LEAF" };
        let threshold = |node: &Node| if let Node::Split { threshold, .. } = node { *threshold } else { 0.0 };
        let attribute = vec![
            ints("nodes_treeids", all(&|t, _, _| t as i64)),
            ints("nodes_nodeids", all(&|_, i, _| i as i64)),
            ints("nodes_featureids", split(&|feature, _, _, _| feature)),
            ints("nodes_truenodeids", split(&|_, yes, _, _| yes)),
            ints("nodes_falsenodeids", split(&|_, _, no, _| no)),
            ints("nodes_missing_value_tracks_true", split(&|_, _, _, nan| usize::from(nan))),
            floats("nodes_values", nodes().map(|(_, _, node)| threshold(node)).collect()),
            texts("nodes_modes", nodes().map(|(_, _, node)| mode(node).to_owned()).collect()),
            ints("target_treeids", leaves().map(|leaf| leaf.0).collect()),
            ints("target_nodeids", leaves().map(|leaf| leaf.1).collect()),
            ints("target_ids", leaves().map(|leaf| leaf.2).collect()),
            floats("target_weights", leaves().map(|leaf| leaf.3).collect()),
            AttributeProto { i: Some(self.plan.targets as i64), ..named("n_targets", AttributeType::INT) },
        ];
        model(attribute, self.plan.features)
    }
}

fn named(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..AttributeProto::default() }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..named(name, AttributeType::INTS) }
}

fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { floats, ..named(name, AttributeType::FLOATS) }
}

fn texts(name: &str, strings: Vec<String>) -> AttributeProto {
    AttributeProto { strings, ..named(name, AttributeType::STRINGS) }
}

fn model(attribute: Vec<AttributeProto>, features: usize) -> Vec<u8> {
    let node = NodeProto {
        domain: Some("ai.onnx.ml".into()),
        name: Some("forest".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        op_type: Some("TreeEnsembleRegressor".into()),
        attribute,
    };
    let value = |name: &str, dim: Vec<Dimension>| ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto { dim }),
            }),
            ..TypeProto::default()
        }),
    };
    let fixed = |n: usize| Dimension { dim_value: Some(n as i64), ..Dimension::default() };
    let graph = GraphProto {
        node: vec![node],
        input: vec![value("x", vec![fixed(1), fixed(features)])],
        output: vec![value("y", vec![])],
        ..GraphProto::default()
    };
    let domain = |name: &str, version| OperatorSetIdProto { domain: Some(name.to_owned()), version: Some(version) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![domain("", 17), domain("ai.onnx.ml", 3)],
        ..ModelProto::default()
    };
    model.write_buf().expect("a model is written")
}
