//! The make-up of a graph, as far as it explains the graph's answers.
#![forbid(unsafe_code)]

use super::proto::{parts, text, value};

/// Element types of narrow floats and of quantised weights, as onnx.proto numbers them.
const NARROW_FLOATS: [u64; 2] = [10, 16];
const BYTES: [u64; 2] = [2, 3];

/// Traits of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Makeup {
    /// True when the graph has an ensemble of trees.
    pub trees: bool,
    /// A Scaler stands before the trees, as skl2onnx writes StandardScaler and RobustScaler.
    pub scaled_trees: bool,
    /// An ArgMin stands behind the trees, as skl2onnx writes an isotonic calibration.
    pub isotonic: bool,
    /// True when the graph counts in float16, bfloat16 or quantised integers somewhere.
    pub narrow: bool,
}

impl Makeup {
    /// The make-up of the file's own graph; graphs within nodes are not looked into.
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

#[cfg(test)]
mod tests {
    use super::Makeup;

    fn of(file: &str) -> Makeup {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        Makeup::of(&std::fs::read(path).unwrap())
    }

    #[test]
    fn traits_are_those_of_the_operators_and_of_their_order() {
        let trees = Makeup { trees: true, ..Makeup::default() };
        assert_eq!(of("as_exported/lgbm_classifier.onnx"), trees);
        assert_eq!(of("as_exported/sk_logistic.onnx"), Makeup::default());
        // An ArgMin without trees before it is no calibration of theirs.
        assert_eq!(of("as_exported/sk_calibrated_isotonic.onnx"), Makeup::default());
        // Nodes alone: what stands in a graph, by its operators.
        let graph = |operators: &[&str]| {
            let node = |op: &&str| [&[0x0a, op.len() as u8 + 2, 0x22, op.len() as u8], op.as_bytes()].concat();
            let nodes: Vec<u8> = operators.iter().flat_map(node).collect();
            Makeup::of(&[&[0x3a, nodes.len() as u8], &nodes[..]].concat())
        };
        assert_eq!(graph(&["Scaler", "TreeEnsembleClassifier"]), Makeup { scaled_trees: true, ..trees });
        assert_eq!(graph(&["TreeEnsembleClassifier", "Scaler", "ArgMin"]), Makeup { isotonic: true, ..trees });
        assert_eq!(graph(&["QuantizeLinear"]), Makeup { narrow: true, ..Makeup::default() });
    }
}
