//! What is in an ONNX file, whoever runs it: operators, weights, and how much arithmetic a run is.

use std::collections::{BTreeMap, HashMap, HashSet};

use rten_onnx::onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::{Refusal, wire};
use crate::Port;

/// A file, read but not believed: any operator, any opset.
pub struct Survey {
    graph: GraphProto,
    opset: Option<i64>,
    /// Values that no run changes.
    constants: HashSet<String>,
}

/// Arithmetic of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Work {
    /// Multiplications with an addition: of dense, convolutional and recurrent layers and of linear models. Elementwise work and
    /// the functions of activations are not among them.
    pub macs: u64,
    /// Comparisons of tree ensembles: of each tree the mean depth of its leaves.
    pub comparisons: u64,
}

impl Survey {
    /// Reads the file.
    ///
    /// # Errors
    /// It is no ONNX file.
    pub fn read(onnx: &[u8]) -> Result<Self, Refusal> {
        wire::check(onnx).map_err(|why| Refusal::File(format!("it is no ONNX model: {why}")))?;
        let model = ModelProto::parse_buf(onnx).map_err(|e| Refusal::File(format!("it is no ONNX model: {e}")))?;
        let main = model.opset_import.iter().find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
        let opset = main.and_then(|set| set.version);
        let graph = model.graph.ok_or_else(|| Refusal::File("it has no graph".into()))?;
        let mut constants: HashSet<String> = graph.initializer.iter().filter_map(|t| t.name.clone()).collect();
        constants.insert(String::new());
        for node in &graph.node {
            if node.input.iter().all(|input| constants.contains(input)) {
                constants.extend(node.output.iter().cloned());
            }
        }
        Ok(Self { graph, opset, constants })
    }

    /// Opset of the default domain.
    #[must_use]
    pub fn opset(&self) -> Option<i64> {
        self.opset
    }

    /// Inputs and outputs as the file declares them, which for outputs need not be what a run gives.
    #[must_use]
    pub fn ports(&self) -> (Vec<Port>, Vec<Port>) {
        let inputs = self.graph.input.iter().map(port).filter(|port| !self.constants.contains(&port.name));
        (inputs.collect(), self.graph.output.iter().map(port).collect())
    }

    /// How often each operator stands in the graph; those of `ai.onnx.ml` as `ml.…`.
    #[must_use]
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for node in &self.graph.node {
            *counts.entry(name_of(node)).or_insert(0) += 1;
        }
        counts
    }

    /// Bytes of all initializers and of the numbers that operators such as tree ensembles carry.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let initializers: u64 = self.graph.initializer.iter().map(tensor_bytes).sum();
        let attribute = |a: &AttributeProto| {
            a.t.as_ref().map_or(0, tensor_bytes) + 4 * a.floats.len() as u64 + 8 * a.ints.len() as u64
        };
        let attributes = self.graph.node.iter().flat_map(|node| &node.attribute).map(attribute);
        initializers + attributes.sum::<u64>()
    }

    /// The file again, with every value that a run computes among its outputs.
    #[must_use]
    pub fn open_up(&self, onnx: &[u8]) -> Vec<u8> {
        let outputs: HashSet<&str> = self.graph.output.iter().filter_map(|info| info.name.as_deref()).collect();
        let mut more = Vec::new();
        for name in self.graph.node.iter().flat_map(|node| &node.output) {
            if !self.constants.contains(name) && !outputs.contains(name.as_str()) {
                wire::put(&mut more, 12, &field_of(1, name.as_bytes()));
            }
        }
        // A second message for a field that holds one is merged into the first: that is how such files are defined.
        [onnx, &field_of(7, &more)].concat()
    }

    /// Arithmetic of a run in which these values have these dimensions, as a run of [`Survey::open_up`] tells them.
    #[must_use]
    pub fn work(&self, dims: &HashMap<String, Vec<usize>>) -> Work {
        let mut known = dims.clone();
        for tensor in &self.graph.initializer {
            let dims = tensor.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
            known.insert(tensor.name.clone().unwrap_or_default(), dims);
        }
        let mut work = Work::default();
        for node in self.graph.node.iter().filter(|node| !node.output.iter().all(|o| self.constants.contains(o))) {
            work.macs = work.macs.saturating_add(macs(node, &known).unwrap_or(0));
            work.comparisons = work.comparisons.saturating_add(comparisons(node));
        }
        work
    }
}

fn port(info: &ValueInfoProto) -> Port {
    let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let kind = match tensor.and_then(|tensor| tensor.elem_type) {
        Some(DataType::FLOAT) => "float32".into(),
        other => other.map_or_else(|| "no tensor".into(), |kind| kind.to_string()),
    };
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
    let dims = dims.iter().map(|dim| dim.dim_value.and_then(|n| usize::try_from(n).ok())).collect();
    Port { name: info.name.clone().unwrap_or_default(), kind, dims }
}

fn name_of(node: &NodeProto) -> String {
    let op = node.op_type.as_deref().unwrap_or_default();
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => op.to_owned(),
        Some("ai.onnx.ml") => format!("ml.{op}"),
        Some(domain) => format!("{domain}.{op}"),
    }
}

fn field_of(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    wire::put(&mut whole, number, bytes);
    whole
}

fn tensor_bytes(tensor: &TensorProto) -> u64 {
    let size = match tensor.data_type {
        Some(DataType::DOUBLE | DataType::INT64) => 8,
        Some(DataType::FLOAT16) => 2,
        Some(DataType::BOOL | DataType::INT8 | DataType::UINT8) => 1,
        _ => 4,
    };
    let count = tensor.dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
    count.unwrap_or(0).saturating_mul(size)
}

fn product(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |n, &d| n.saturating_mul(d as u64))
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    node.attribute.iter().find(|a| a.name.as_deref() == Some(name)).map_or(&[], |a| &a.ints)
}

fn floats(node: &NodeProto, name: &str) -> u64 {
    node.attribute.iter().find(|a| a.name.as_deref() == Some(name)).map_or(0, |a| a.floats.len() as u64)
}

/// Multiplications with an addition; `None` for an operator without, or one whose dimensions are not known.
fn macs(node: &NodeProto, known: &HashMap<String, Vec<usize>>) -> Option<u64> {
    let input = |i: usize| known.get(node.input.get(i)?);
    let output = || node.output.iter().find_map(|name| known.get(name));
    Some(match name_of(node).as_str() {
        "MatMul" | "FusedMatMul" => product(output()?).saturating_mul(*input(0)?.last()? as u64),
        "Gemm" => {
            let [m, n] = output()?[..] else { return None };
            // A is m × k, or k × m where it is transposed.
            product(input(0)?).checked_div(m as u64)?.saturating_mul((m * n) as u64)
        }
        // Weights are [outputs, inputs of the group, kernel…].
        "Conv" => product(output()?).saturating_mul(product(input(1)?.get(1..)?)),
        // W is [directions, gates · hidden, inputs], R the same with hidden ones; X is [steps, batch, inputs].
        "LSTM" | "GRU" | "RNN" => {
            let runs = product(input(0)?.get(..2)?);
            runs.saturating_mul(product(input(1)?).saturating_add(product(input(2)?)))
        }
        "ml.LinearRegressor" | "ml.LinearClassifier" => {
            floats(node, "coefficients").saturating_mul(input(0).map_or(1, |dims| product(&dims[..dims.len() / 2])))
        }
        _ => return None,
    })
}

/// Comparisons of a tree ensemble: for each tree the mean depth of its leaves, all together rounded up.
fn comparisons(node: &NodeProto) -> u64 {
    let trees = match name_of(node).as_str() {
        "ml.TreeEnsembleRegressor" | "ml.TreeEnsembleClassifier" => by_ids(node),
        "ml.TreeEnsemble" => by_places(node),
        _ => return 0,
    };
    trees.iter().map(|(depths, leaves)| *depths as f64 / (*leaves).max(1) as f64).sum::<f64>().ceil() as u64
}

/// Sum of its leaves' depths, and how many they are, of each tree from its root on. A node that is reached twice, as in a
/// broken file, counts once.
fn depths(roots: &[usize], children: impl Fn(usize) -> Option<[Option<usize>; 2]>) -> Vec<(u64, u64)> {
    let mut seen = HashSet::new();
    let mut tree = |&root: &usize| {
        let (mut sum, mut leaves, mut open) = (0, 0, vec![(Some(root), 0_u64)]);
        while let Some((node, depth)) = open.pop() {
            match node.and_then(|node| children(node).filter(|_| seen.insert(node))) {
                Some(both) => open.extend(both.map(|child| (child, depth + 1))),
                None => (sum, leaves) = (sum + depth, leaves + 1),
            }
        }
        (sum, leaves)
    };
    roots.iter().map(&mut tree).collect()
}

/// Nodes called by the number of their tree and their own.
fn by_ids(node: &NodeProto) -> Vec<(u64, u64)> {
    let (trees, ids) = (ints(node, "nodes_treeids"), ints(node, "nodes_nodeids"));
    let (yes, no) = (ints(node, "nodes_truenodeids"), ints(node, "nodes_falsenodeids"));
    let modes = node.attribute.iter().find(|a| a.name.as_deref() == Some("nodes_modes"));
    let modes: &[String] = modes.map_or(&[], |a| &a.strings);
    let place: HashMap<(i64, i64), usize> = trees.iter().copied().zip(ids.iter().copied()).zip(0..).collect();
    let roots = (0..trees.len()).filter(|&i| i == 0 || trees[i] != trees[i - 1]).collect::<Vec<_>>();
    depths(&roots, |i| {
        if modes.get(i).is_none_or(|mode| mode == "LEAF") {
            return None;
        }
        let child = |ids: &[i64]| place.get(&(trees[i], *ids.get(i)?)).copied();
        Some([child(yes), child(no)])
    })
}

/// Nodes called by their place, and leaves apart from them.
fn by_places(node: &NodeProto) -> Vec<(u64, u64)> {
    let places = |name: &str| ints(node, name).iter().map(|&i| usize::try_from(i).ok()).collect::<Vec<_>>();
    let (yes, no) = (places("nodes_truenodeids"), places("nodes_falsenodeids"));
    let (yes_leaf, no_leaf) = (ints(node, "nodes_trueleafs"), ints(node, "nodes_falseleafs"));
    let roots: Vec<usize> = places("tree_roots").into_iter().flatten().collect();
    depths(&roots, |i| {
        let child =
            |to: &[Option<usize>], leaf: &[i64]| to.get(i).copied().flatten().filter(|_| leaf.get(i) == Some(&0));
        (i < yes.len()).then(|| [child(&yes, yes_leaf), child(&no, no_leaf)])
    })
}
