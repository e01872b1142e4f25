//! Comparisons and what is chosen by them. A truth value is 1 or 0.

use super::elementwise::broadcast;
use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::graph::{Node, Value};
use crate::native::maps::{Binary, Unary};
use crate::native::plan::{Slot, Step};

impl Lower<'_> {
    /// A comparison, or two truth values joined.
    pub(super) fn compare(&mut self, node: &Node) -> Result<(), Refusal> {
        let f = match node.op.as_str() {
            "Less" | "Greater" => Binary::Less,
            "LessOrEqual" | "GreaterOrEqual" => Binary::LessOrEqual,
            "Equal" => Binary::Equal,
            "And" => Binary::Min,
            "Or" => Binary::Max,
            _ => Binary::Xor,
        };
        let (mut dims, slots) = self.spread_inputs(node, &[0, 1])?;
        let (mut a, mut b) = (slots[0], slots[1]);
        if node.op.starts_with("Greater") {
            (a, b) = (b, a);
        }
        let len = dims.iter().product();
        let y = self.define(node, std::mem::take(&mut dims))?;
        self.steps.push(Step::Binary { a, b, y, len, f });
        Ok(())
    }

    /// Input 1 where input 0 is true, else input 2.
    pub(super) fn choose(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, slots) = self.spread_inputs(node, &[0, 1, 2])?;
        let len = dims.iter().product();
        let y = self.define(node, dims)?;
        self.steps.push(Step::Select { c: slots[0], a: slots[1], b: slots[2], y, len });
        Ok(())
    }

    /// Whether a value is of integers: they are computed as floats, and only what is the same for both may be done with them.
    pub(super) fn is_whole(&self, value: Value) -> bool {
        match self.known.get(&value) {
            Some(Known::Constant(tensor)) => tensor.ints().is_some(),
            _ => self.whole.contains(&value),
        }
    }

    /// Refuses what is another thing for integers than for floats.
    pub(super) fn check_whole(&self, node: &Node) -> Result<(), Refusal> {
        let differs = matches!(node.op.as_str(), "Mod" | "Pow" | "ReduceMean" | "ReduceL2");
        if differs && self.gives_whole(node) {
            return Err(node.refuse("of computed integers it is not taken"));
        }
        Ok(())
    }

    /// Whether the node's results are integers because its operands are, or because it counts.
    pub(super) fn gives_whole(&self, node: &Node) -> bool {
        let of = |i: usize| node.optional(i).is_some_and(|value| self.is_whole(value));
        match node.op.as_str() {
            "ArgMax" | "ArgMin" => true,
            "Cast" => matches!(node.int("to", 0), 6 | 7),
            "CastLike" => of(1),
            // Truth values.
            "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Equal" | "And" | "Or" | "Xor" | "Not"
            | "IsNaN" => false,
            "ml.OneHotEncoder" | "ml.FeatureVectorizer" | "ml.Scaler" | "ml.Normalizer" | "ml.Imputer" => false,
            "Where" => of(1) || of(2),
            "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Max" | "Min" | "Sum" | "Concat" => (0..node.inputs.len()).any(of),
            _ => of(0),
        }
    }

    /// Common shape of these inputs, and each of them spread to it. Integers become floats: truth values are kept as such.
    fn spread_inputs(&mut self, node: &Node, inputs: &[usize]) -> Result<(Vec<usize>, Vec<Slot>), Refusal> {
        let mut common = Vec::new();
        for &i in inputs {
            common = broadcast(node, &common, &self.dims(node, i)?)?;
        }
        if common.contains(&0) {
            return Err(node.refuse("an input has no values"));
        }
        let mut slots = Vec::new();
        for &i in inputs {
            let value = node.input(i)?;
            let (dims, slot) = self.computed(value);
            slots.push(self.stretch(slot, &dims, &common));
        }
        Ok((common, slots))
    }

    /// Between kinds of floats a cast keeps the values, to a truth value it asks for 0, to integers it cuts off what is behind the
    /// point.
    pub(super) fn cast(&mut self, node: &Node) -> Result<(), Refusal> {
        let to = if node.op == "CastLike" {
            match self.value(node, 1)? {
                Known::Constant(tensor) if tensor.ints().is_some() => 7,
                _ => 1,
            }
        } else {
            node.int("to", 0)
        };
        match to {
            // FLOAT, FLOAT16, DOUBLE, BFLOAT16: all are computed in f32.
            1 | 10 | 11 | 16 => self.alias(node, None),
            9 => {
                let (dims, x) = self.computed_input(node, 0)?;
                let len = dims.iter().product();
                let y = self.define(node, dims)?;
                self.steps.push(Step::Unary { x, y, len, f: Unary::NotZero });
                Ok(())
            }
            6 | 7 if self.is_whole(node.input(0)?) => self.alias(node, None),
            6 | 7 => {
                let (dims, x) = self.computed_input(node, 0)?;
                let len = dims.iter().product();
                let y = self.define(node, dims)?;
                self.steps.push(Step::Unary { x, y, len, f: Unary::Whole { wide: to == 7 } });
                Ok(())
            }
            _ => Err(node.refuse(format!("a cast of computed values to type {to} is not taken"))),
        }
    }
}
