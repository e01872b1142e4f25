//! Operators of `ai.onnx.ml`: tree ensembles, linear models, and the scalers of pipelines.

use super::data::small;
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
            "ml.ArrayFeatureExtractor" => self.extract(node),
            "ml.OneHotEncoder" => self.one_hot(node),
            "ml.FeatureVectorizer" => self.vectorizer(node),
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

    /// NaN, or another value, to one that stands for all, or for each feature.
    fn imputer(&mut self, node: &Node) -> Result<(), Refusal> {
        let replaced = node.float("replaced_value_float", 0.0);
        let (dims, x) = self.computed_input(node, 0)?;
        let (values, n) = (node.floats("imputed_value_floats"), dims.last().copied().unwrap_or(1));
        let len = dims.iter().product::<usize>();
        if values.len() != 1 && values.len() != n {
            return Err(node.refuse(format!("{} values for {n} features", values.len())));
        }
        let instead: Vec<f32> = (0..len).map(|i| values[i % values.len()]).collect();
        self.buffers.push(Buffer::from_values(&instead));
        let b = self.buffers.len() - 1;
        if replaced.is_nan() {
            let y = self.define(node, dims)?;
            self.steps.push(Step::Binary { a: x, b, y, len, f: Binary::IfNan });
            return Ok(());
        }
        self.buffers.push(Buffer::from_values(&vec![replaced; len]));
        let all = self.buffers.len() - 1;
        let same = self.buffer(len);
        self.steps.push(Step::Binary { a: x, b: all, y: same, len, f: Binary::Equal });
        let y = self.define(node, dims)?;
        self.steps.push(Step::Select { c: same, a: b, b: x, y, len });
        Ok(())
    }

    fn map(&mut self, node: &Node, f: Unary) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let len = dims.iter().product();
        let y = self.define(node, dims)?;
        self.steps.push(Step::Unary { x, y, len, f });
        Ok(())
    }

    /// The columns that its indices name, of each row; where these are computed, values of a single row.
    fn extract(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
        let (&n, outer) = dims.split_last().ok_or_else(|| node.refuse("its input has no columns"))?;
        let rows: usize = outer.iter().product();
        let leading = if outer.is_empty() { vec![1] } else { outer.to_vec() };
        if self.is_computed(node, 1) {
            let (index_dims, index) = self.computed_input(node, 1)?;
            if rows != 1 {
                return Err(
                    node.refuse(format!("its indices are not constant, and its input is {dims:?}: no single row"))
                );
            }
            let len = index_dims.iter().product();
            let (_, x) = self.computed(node.input(0)?);
            let y = self.define(node, [&leading[..], &[len]].concat())?;
            self.steps.push(Step::Pick { x, n, index, y, len });
            return Ok(());
        }
        let picks = self.ints(node, 1)?.ok_or_else(|| node.refuse("it names no columns"))?;
        let place = |&i: &i64| {
            let place = u32::try_from(i).ok().filter(|&i| (i as usize) < n);
            place.ok_or_else(|| node.refuse(format!("column {i} of {n}")))
        };
        let picks = picks.iter().map(place).collect::<Result<Vec<u32>, _>>()?;
        small(node, &[rows, picks.len()])?;
        let (_, x) = self.computed(node.input(0)?);
        let index = (0..rows as u32).flat_map(|row| picks.iter().map(move |i| row * n as u32 + i)).collect();
        let y = self.define(node, [&leading[..], &[picks.len()]].concat())?;
        self.steps.push(Step::Gather { x, y, index, pad: 0.0 });
        Ok(())
    }

    /// Rows joined to one.
    fn vectorizer(&mut self, node: &Node) -> Result<(), Refusal> {
        let widths = node.ints("inputdimensions").unwrap_or_default().to_vec();
        let mut pieces = Vec::new();
        for i in 0..node.inputs.len() {
            let (dims, x) = self.computed_input(node, i)?;
            let ([len] | [1, len]) = dims[..] else {
                return Err(node.refuse(format!("an input of {dims:?} is no row")));
            };
            if widths.get(i).is_none_or(|&width| width != len as i64) {
                return Err(node.refuse(format!("input {i} has {len} values, and inputdimensions are {widths:?}")));
            }
            pieces.push((x, len));
        }
        let y = self.define(node, vec![1, pieces.iter().map(|(_, len)| len).sum()])?;
        let mut at = 0;
        for (x, len) in pieces {
            self.steps.push(Step::Place { x, y, at, len });
            at += len;
        }
        Ok(())
    }

    /// For each value, 1 at the place of its category, and 0 at all others.
    fn one_hot(&mut self, node: &Node) -> Result<(), Refusal> {
        let categories = node.ints("cats_int64s").unwrap_or_default();
        if categories.is_empty() || !node.texts("cats_strings").is_empty() {
            return Err(node.refuse("only categories that are integers are taken"));
        }
        if categories.iter().any(|c| c.unsigned_abs() > 1 << 24) {
            return Err(node.refuse("a category is larger than 2^24, which float32 does not hold"));
        }
        if node.int("zeros", 1) == 0 {
            return Err(node.refuse("zeros = 0: ONNX Runtime fails on a value that is no category"));
        }
        let (dims, from) = self.computed_input(node, 0)?;
        let (count, len) = (categories.len(), dims.iter().product::<usize>());
        small(node, &[len, count])?;
        let mut x = from;
        if !self.is_whole(node.input(0)?) {
            x = self.buffer(len);
            self.steps.push(Step::Unary { x: from, y: x, len, f: Unary::Whole { wide: true } });
        }
        let spread = self.buffer(len * count);
        let index = (0..(len * count) as u32).map(|i| i / count as u32).collect();
        self.steps.push(Step::Gather { x, y: spread, index, pad: 0.0 });
        let all: Vec<f32> = (0..len * count).map(|i| categories[i % count] as f32).collect();
        self.buffers.push(Buffer::from_values(&all));
        let b = self.buffers.len() - 1;
        let y = self.define(node, [&dims[..], &[count]].concat())?;
        let equal = self.buffer(len * count);
        self.steps.push(Step::Binary { a: spread, b, y: equal, len: len * count, f: Binary::Equal });
        // NaN is no category, and stays.
        self.steps.push(Step::Binary { a: spread, b: equal, y, len: len * count, f: Binary::NanOr });
        Ok(())
    }
}
