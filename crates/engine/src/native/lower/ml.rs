//! Operators of `ai.onnx.ml`: tree ensembles, linear models, and the scalers of pipelines.

use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::dense::Dense;
use crate::native::graph::Node;
use crate::native::maps::{Binary, Unary};
use crate::native::plan::{Slot, Spread, Step};
use crate::native::reduce::{Reduce, Softmax};
use crate::native::tensor::Buffer;
use crate::native::trees::{Post, Trees, classes};

impl Lower<'_> {
    pub(super) fn ml(&mut self, node: &Node) -> Result<(), Refusal> {
        match node.op.as_str() {
            "ml.TreeEnsembleRegressor" | "ml.TreeEnsembleClassifier" | "ml.TreeEnsemble" => self.trees(node),
            "ml.LinearRegressor" | "ml.LinearClassifier" => self.linear(node),
            "ml.Scaler" => self.scaler(node),
            "ml.Normalizer" => self.normalizer(node),
            "ml.Binarizer" => self.map(node, Unary::Above(node.float("threshold", 0.0))),
            "ml.Imputer" => self.imputer(node),
            _ => Err(node.refuse("the native engine has no kernel for it")),
        }
    }

    /// The one row of an input: [n] or [1, n].
    fn row(&mut self, node: &Node) -> Result<(usize, Slot), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        match dims[..] {
            [n] | [1, n] => Ok((n, x)),
            _ => Err(node.refuse(format!("an input of {dims:?} is no row"))),
        }
    }

    /// Where the scores go: a classifier's labels, its output 0, are nobody's (or the output is not made).
    fn scores(&mut self, node: &Node, n: usize) -> Result<Slot, Refusal> {
        let classifier = node.op.ends_with("Classifier");
        let output = node.outputs.get(usize::from(classifier)).copied().flatten();
        let output = output.ok_or_else(|| node.refuse("it has no output of scores"))?;
        let slot = self.buffer(n);
        self.known.insert(output, Known::Computed { dims: vec![1, n], slot });
        Ok(slot)
    }

    fn trees(&mut self, node: &Node) -> Result<(), Refusal> {
        let (n, x) = self.row(node)?;
        let trees = Trees::new(node)?;
        if trees.features > n {
            return Err(node.refuse(format!("it looks at feature {}, its input has {n}", trees.features - 1)));
        }
        if trees.classes == 2 && trees.targets == 1 {
            return self.two_classes(node, x, trees);
        }
        if trees.classes < 2 && trees.targets == 1 && !matches!(trees.post, Post::None | Post::Probit) {
            return Err(node.refuse("ONNX Runtime leaves the post_transform of one target out"));
        }
        if trees.classes > 0 && trees.post == Post::Probit {
            return Err(node.refuse("post_transform PROBIT of a classifier is not taken"));
        }
        let y = self.scores(node, trees.targets)?;
        self.steps.push(Step::Trees { x, y, trees: Box::new(trees) });
        Ok(())
    }

    /// One score for two classes: the second's, and the first's from it.
    fn two_classes(&mut self, node: &Node, x: Slot, mut trees: Trees) -> Result<(), Refusal> {
        let probability = trees.post == Post::Logistic || trees.all_at_least_0;
        match trees.post {
            Post::None | Post::Logistic => {}
            // The runtime leaves them out.
            Post::Softmax | Post::SoftmaxZero => trees.post = Post::None,
            Post::Probit => return Err(node.refuse("post_transform PROBIT of a classifier is not taken")),
        }
        let one = self.buffer(1);
        self.steps.push(Step::Trees { x, y: one, trees: Box::new(trees) });
        self.pair(node, one, probability)
    }

    /// [1 - p, p] for a probability, [-p, p] for a score.
    fn pair(&mut self, node: &Node, one: Slot, probability: bool) -> Result<(), Refusal> {
        let both = self.buffer(2);
        self.steps.push(Step::Gather { x: one, y: both, index: vec![0, 0], pad: 0.0 });
        let y = self.scores(node, 2)?;
        let first = if probability { 1.0 } else { 0.0 };
        let (scale, offset) = (Buffer::from_values(&[-1.0, 1.0]).0, Buffer::from_values(&[first, 0.0]).0);
        self.steps.push(Step::Affine { x: both, y, scale, offset });
        Ok(())
    }

    fn linear(&mut self, node: &Node) -> Result<(), Refusal> {
        let (n, x) = self.row(node)?;
        let (weights, bias) = (node.floats("coefficients"), node.floats("intercepts"));
        let outputs = weights.len() / n.max(1);
        if outputs == 0 || outputs * n != weights.len() || !(bias.is_empty() || bias.len() == outputs) {
            let (w, b) = (weights.len(), bias.len());
            return Err(node.refuse(format!("{w} coefficients and {b} intercepts for {n} inputs")));
        }
        let post = node.text("post_transform").unwrap_or("NONE");
        let dense = Dense::new(n, outputs, |i, o| weights[o * n + i], bias);
        let raw = self.buffer(outputs);
        self.steps.push(Step::Dense { x, y: raw, rows: Spread::dense(1, n), dense: Box::new(dense) });
        let scored = match post {
            "NONE" => raw,
            "LOGISTIC" => {
                let y = self.buffer(outputs);
                let f = Unary::Activation(crate::native::dense::Activation::Sigmoid);
                self.steps.push(Step::Unary { x: raw, y, len: outputs, f });
                y
            }
            "SOFTMAX" => {
                let y = self.buffer(outputs);
                self.steps.push(Step::Softmax { x: raw, y, rows: 1, n: outputs, f: Softmax::Plain });
                y
            }
            other => return Err(node.refuse(format!("post_transform {other} is not taken"))),
        };
        if classes(node) == 2 && outputs == 1 {
            return self.pair(node, scored, true);
        }
        let y = self.scores(node, outputs)?;
        self.steps.push(Step::Place { x: scored, y, at: 0, len: outputs });
        Ok(())
    }

    /// (x - offset) · scale.
    fn scaler(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let n = dims.last().copied().unwrap_or(1);
        let len = dims.iter().product::<usize>();
        let list = |name: &str, default: f32| match node.floats(name) {
            [] => Ok(vec![default; n]),
            [one] => Ok(vec![*one; n]),
            many if many.len() == n => Ok(many.to_vec()),
            many => Err(node.refuse(format!("{} values of {name} for {n} features", many.len()))),
        };
        let (offset, scale) = (list("offset", 0.0)?, list("scale", 1.0)?);
        let repeat = |values: Vec<f32>| -> Vec<f32> { (0..len).map(|i| values[i % n]).collect() };
        // As two steps: x · scale - offset · scale would cancel where x is large.
        let minus: Vec<f32> = repeat(offset).iter().map(|o| -o).collect();
        let middle = self.buffer(len);
        let (one, zero) = (Buffer::from_values(&vec![1.0; len]).0, Buffer::zeros(len).0);
        self.steps.push(Step::Affine { x, y: middle, scale: one, offset: Buffer::from_values(&minus).0 });
        let y = self.define(node, dims)?;
        let scale = Buffer::from_values(&repeat(scale)).0;
        self.steps.push(Step::Affine { x: middle, y, scale, offset: zero });
        Ok(())
    }

    /// Each row divided by its norm; a row of norm 0 stays as it is.
    fn normalizer(&mut self, node: &Node) -> Result<(), Refusal> {
        let (n, x) = self.row(node)?;
        let f = match node.text("norm").unwrap_or("MAX") {
            "L1" => Reduce::L1,
            "L2" => Reduce::L2,
            "MAX" => Reduce::Max,
            other => return Err(node.refuse(format!("norm {other} is not known"))),
        };
        let mut from = x;
        if f == Reduce::Max {
            // The largest of what is no NaN; the sums of the other two are NaN when one value is.
            self.buffers.push(Buffer::from_values(&vec![f32::MIN; n]));
            let b = self.buffers.len() - 1;
            from = self.buffer(n);
            self.steps.push(Step::Binary { a: x, b, y: from, len: n, f: Binary::IfNan });
        }
        let norm = self.buffer(1);
        self.steps.push(Step::Reduce { x: from, y: norm, rows: 1, n, f });
        let safe = self.buffer(1);
        self.steps.push(Step::Unary { x: norm, y: safe, len: 1, f: Unary::ZeroToOne });
        let all = self.buffer(n);
        self.steps.push(Step::Gather { x: safe, y: all, index: vec![0; n], pad: 0.0 });
        let y = self.define(node, vec![1, n])?;
        self.steps.push(Step::Binary { a: x, b: all, y, len: n, f: Binary::Div });
        Ok(())
    }

    /// NaN to a value: one for all, or one for each feature.
    fn imputer(&mut self, node: &Node) -> Result<(), Refusal> {
        if !node.float("replaced_value_float", 0.0).is_nan() {
            return Err(node.refuse("only NaN is replaced"));
        }
        let (dims, x) = self.computed_input(node, 0)?;
        let (values, n) = (node.floats("imputed_value_floats"), dims.last().copied().unwrap_or(1));
        let len = dims.iter().product::<usize>();
        if values.len() != 1 && values.len() != n {
            return Err(node.refuse(format!("{} values for {n} features", values.len())));
        }
        let instead: Vec<f32> = (0..len).map(|i| values[i % values.len()]).collect();
        self.buffers.push(Buffer::from_values(&instead));
        let b = self.buffers.len() - 1;
        let y = self.define(node, dims)?;
        self.steps.push(Step::Binary { a: x, b, y, len, f: Binary::IfNan });
        Ok(())
    }

    fn map(&mut self, node: &Node, f: Unary) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let len = dims.iter().product();
        let y = self.define(node, dims)?;
        self.steps.push(Step::Unary { x, y, len, f });
        Ok(())
    }
}
