//! What a graph is made of, as far as it explains why it answers as it does.
#![forbid(unsafe_code)]

use super::proto::{parts, text, value};

/// Element types of narrow floats and of quantised weights, as onnx.proto numbers them.
const NARROW_FLOATS: [u64; 2] = [10, 16];
const BYTES: [u64; 2] = [2, 3];

/// Traits of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Makeup {
    /// It has an ensemble of trees.
    pub trees: bool,
    /// A Scaler stands before the trees, as skl2onnx writes StandardScaler and RobustScaler.
    pub scaled_trees: bool,
    /// An ArgMin stands behind the trees, as skl2onnx writes an isotonic calibration.
    pub isotonic: bool,
    /// It counts in float16, bfloat16 or quantised integers somewhere.
    pub narrow: bool,
}

impl Makeup {
    /// Those of the file's own graph; graphs within nodes are not looked into.
    pub fn of(onnx: &[u8]) -> Self {
        let mut found = Self::default();
        let mut scaled = false;
        for graph in parts(onnx, 7) {
            for node in parts(graph, 1) {
                let op = text(node, 4);
                let cast = || parts(node, 5).filter(|a| text(a, 1) == "to").find_map(|a| value(a, 3));
                match op {
                    "Scaler" => scaled = true,
                    "ArgMin" => found.isotonic |= found.trees,
                    "Cast" => found.narrow |= cast().is_some_and(|kind| NARROW_FLOATS.contains(&kind)),
                    _ if op.starts_with("TreeEnsemble") => {
                        found.trees = true;
                        found.scaled_trees |= scaled;
                    }
                    _ => {
                        found.narrow |= op.contains("Quantize") || op.starts_with("QLinear") || op.ends_with("Integer")
                    }
                }
            }
            let kinds = parts(graph, 5).filter_map(|tensor| value(tensor, 2));
            found.narrow |= kinds.into_iter().any(|kind| NARROW_FLOATS.contains(&kind) || BYTES.contains(&kind));
        }
        found
    }
}
