//! Operators that work value by value, and what they can be fused into.

use super::data::small;
use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::dense::Activation;
use crate::native::graph::{Node, Value};
use crate::native::maps::{Binary, Unary};
use crate::native::plan::{PAD, Slot, Step};
use crate::native::tensor::{Buffer, Data};

impl Lower<'_> {
    /// A function of one value.
    pub(super) fn unary(&mut self, node: &Node) -> Result<(), Refusal> {
        let f = self.function(node)?;
        if let Unary::Activation(activation) = f
            && let Some(Step::Dense { dense, .. }) = self.fusable(node, 0)
            && dense.is_plain()
        {
            dense.activation = activation;
            return self.alias(node, None);
        }
        if let Some((x, dims)) = self.rows_input(node) {
            let (len, y) = (dims.iter().product(), self.define_rows(node, dims)?);
            self.steps.push(Step::Unary { x, y, len, f });
            return Ok(());
        }
        let (dims, x) = self.computed_input(node, 0)?;
        let len = dims.iter().product();
        let y = self.define(node, dims)?;
        self.steps.push(Step::Unary { x, y, len, f });
        Ok(())
    }

    fn function(&self, node: &Node) -> Result<Unary, Refusal> {
        use Activation as A;
        let activation = match node.op.as_str() {
            "Relu" => A::Relu,
            "LeakyRelu" => A::Leaky(node.float("alpha", 0.01)),
            "Elu" => A::Elu(node.float("alpha", 1.0)),
            "Sigmoid" => A::Sigmoid,
            "HardSigmoid" => A::HardSigmoid { alpha: node.float("alpha", 0.2), beta: node.float("beta", 0.5) },
            "Tanh" => A::Tanh,
            "Softplus" => A::Softplus,
            "Clip" => {
                let bound = |i, name: &str, default| match self.floats(node, i) {
                    Ok(Some(tensor)) => Ok(tensor.floats().and_then(|v| v.first().copied()).unwrap_or(default)),
                    Ok(None) => Ok(node.float(name, default)),
                    Err(refusal) => Err(refusal),
                };
                A::Clip(bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?)
            }
            _ => return self.other(node),
        };
        Ok(Unary::Activation(activation))
    }

    fn other(&self, node: &Node) -> Result<Unary, Refusal> {
        Ok(match node.op.as_str() {
            "Abs" => Unary::Abs,
            "Neg" => Unary::Neg,
            "Sqrt" => Unary::Sqrt,
            "Exp" => Unary::Exp,
            "Log" => Unary::Log,
            "Reciprocal" => Unary::Reciprocal,
            "Erf" => Unary::Erf,
            "Floor" => Unary::Floor,
            "Ceil" => Unary::Ceil,
            "Round" => Unary::Round,
            "Sign" => Unary::Sign,
            "HardSwish" => Unary::HardSwish,
            "Swish" => Unary::Swish(node.float("alpha", 1.0)),
            "Mish" => Unary::Mish,
            "Softsign" => Unary::Softsign,
            "Selu" => Unary::Selu { alpha: node.float("alpha", 1.673_263_2), gamma: node.float("gamma", 1.050_701) },
            "Celu" => Unary::Celu(node.float("alpha", 1.0)),
            "ThresholdedRelu" => Unary::Threshold(node.float("alpha", 1.0)),
            "Sin" => Unary::Sin,
            "Cos" => Unary::Cos,
            "Not" => Unary::Not,
            "IsNaN" => Unary::IsNan,
            "If" | "Loop" | "Scan" => {
                return Err(node.refuse("it holds a subgraph, which the native engine does not run"));
            }
            "Gelu" => match node.text("approximate").unwrap_or("none") {
                "none" => Unary::Gelu,
                "tanh" => Unary::GeluTanh,
                other => return Err(node.refuse(format!("approximation {other} is not known"))),
            },
            _ => return Err(node.refuse("the native engine has no kernel for it")),
        })
    }

    /// Two operands, or more in turn, broadcast to a common shape.
    pub(super) fn binary(&mut self, node: &Node) -> Result<(), Refusal> {
        if node.op == "PRelu" {
            return self.prelu(node);
        }
        if node.op == "Pow" && self.power(node)? {
            return Ok(());
        }
        let f = match node.op.as_str() {
            "Add" | "Sum" | "Mean" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            "Div" => Binary::Div,
            "Max" => Binary::Max,
            "Min" => Binary::Min,
            _ => Binary::Pow,
        };
        if node.inputs.is_empty() {
            return Err(node.refuse("it has no input"));
        }
        if node.inputs.len() == 2 && node.op != "Mean" && self.affine(node, f)? {
            return Ok(());
        }
        let (mut dims, mut slot) = self.operand(node, 0)?;
        for i in 1..node.inputs.len() {
            self.room(node)?;
            let (other_dims, other) = self.operand(node, i)?;
            let common = broadcast(node, &dims, &other_dims)?;
            let (a, b) = (self.stretch(slot, &dims, &common), self.stretch(other, &other_dims, &common));
            let len = common.iter().product();
            dims = common;
            slot = self.buffer(len);
            self.steps.push(Step::Binary { a, b, y: slot, len, f });
        }
        if node.op == "Div" && self.gives_whole(node) {
            // What is behind the point goes.
            let (len, x) = (dims.iter().product::<usize>(), slot);
            slot = self.buffer(len);
            self.steps.push(Step::Unary { x, y: slot, len, f: Unary::Whole { wide: true } });
        }
        if node.op == "Mean" {
            let (len, n) = (dims.iter().product::<usize>(), node.inputs.len() as f32);
            let (x, y) = (slot, self.buffer(len));
            let (scale, offset) = (Buffer::from_values(&vec![1.0 / n; len]).0, Buffer::zeros(len).0);
            self.steps.push(Step::Affine { x, y, scale, offset });
            slot = y;
        }
        self.known.insert(node.output()?, Known::Computed { dims, slot });
        Ok(())
    }

    /// An operand; constant integers beside computed ones, of which the file says that they are alike, are taken too.
    fn operand(&mut self, node: &Node, i: usize) -> Result<(Vec<usize>, Slot), Refusal> {
        let computed = |value: &Value| matches!(self.known.get(value), Some(Known::Computed { .. }));
        let value = node.input(i)?;
        if self.is_whole(value)
            && !computed(&value)
            && node.inputs.iter().flatten().any(|v| computed(v) && self.is_whole(*v))
        {
            return Ok(self.computed(value));
        }
        self.computed_input(node, i)
    }

    /// x + c, x - c, c - x, x · c, x / c with c constant and the result of x's shape: into the dense layer or the affine step
    /// before it, or a step of its own.
    fn affine(&mut self, node: &Node, f: Binary) -> Result<bool, Refusal> {
        let constant = |known: &Known| match known {
            Known::Constant(tensor) => tensor.floats().map(|values| (tensor.dims.clone(), values.to_vec())),
            Known::Computed { .. } => None,
        };
        let (first, second) = (constant(self.value(node, 0)?), constant(self.value(node, 1)?));
        let (i, (c_dims, c)) = match (first, second) {
            (None, Some(c)) => (0, c),
            (Some(c), None) if f != Binary::Div => (1, c),
            _ => return Ok(false),
        };
        let (dims, x) = self.computed_input(node, i)?;
        let len: usize = dims.iter().product();
        if broadcast(node, &dims, &c_dims)? != dims {
            return Ok(false);
        }
        let index = spread(&c_dims, &dims);
        let c: Vec<f32> = index.iter().map(|&i| c[i as usize]).collect();
        let one = vec![1.0; len];
        let (scale, offset): (Vec<f32>, Vec<f32>) = match f {
            Binary::Add => (one, c),
            Binary::Sub if i == 0 => (one, c.iter().map(|c| -c).collect()),
            Binary::Sub => (vec![-1.0; len], c),
            // Plus -0 is nothing at all, where plus 0 would turn -0 about.
            Binary::Mul => (c, vec![-0.0; len]),
            // The reciprocal of what is nearly 0 would be infinite, and that of what is huge would lose bits.
            Binary::Div if c.iter().all(|c| (1e-30..1e30).contains(&c.abs())) => {
                (c.iter().map(|c| 1.0 / c).collect(), vec![-0.0; len])
            }
            _ => return Ok(false),
        };
        if f == Binary::Add
            && let Some(Step::Dense { rows, dense, .. }) = self.fusable(node, i)
            && (rows.is_one() || rows.alike)
            && offset.chunks(dense.outputs).all(|row| *row == offset[..dense.outputs])
            && dense.is_plain()
        {
            dense.add_bias(&offset[..dense.outputs]);
            let known = Known::Computed { dims, slot: x };
            self.known.insert(node.output()?, known);
            return Ok(true);
        }
        let y = self.define(node, dims)?;
        let (scale, offset) = (Buffer::from_values(&scale).0, Buffer::from_values(&offset).0);
        self.steps.push(Step::Affine { x, y, scale, offset });
        Ok(true)
    }

    /// x to a constant power.
    fn power(&mut self, node: &Node) -> Result<bool, Refusal> {
        let p = match self.value(node, 1)? {
            Known::Constant(tensor) => match &tensor.data {
                Data::F32(values) if values.len() == 1 => values[0],
                Data::I64(values) if values.len() == 1 => values[0] as f32,
                _ => return Ok(false),
            },
            Known::Computed { .. } => return Ok(false),
        };
        let (dims, x) = self.computed_input(node, 0)?;
        let len = dims.iter().product();
        let y = self.define(node, dims)?;
        self.steps.push(Step::Unary { x, y, len, f: Unary::Power(p) });
        Ok(true)
    }

    /// max(x, 0) + slope · min(x, 0).
    fn prelu(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let (slope_dims, slope) = self.computed_input(node, 1)?;
        if broadcast(node, &dims, &slope_dims)? != dims {
            return Err(node.refuse("its slope is wider than its input"));
        }
        let len = dims.iter().product();
        let slope = self.stretch(slope, &slope_dims, &dims);
        let zero = self.buffer(len);
        let [above, below, scaled] = [(); 3].map(|()| self.buffer(len));
        self.steps.push(Step::Binary { a: zero, b: x, y: above, len, f: Binary::Max });
        self.steps.push(Step::Binary { a: zero, b: x, y: below, len, f: Binary::Min });
        self.steps.push(Step::Binary { a: slope, b: below, y: scaled, len, f: Binary::Mul });
        let y = self.define(node, dims)?;
        self.steps.push(Step::Binary { a: above, b: scaled, y, len, f: Binary::Add });
        Ok(())
    }

    /// `slot` spread from `from` to `to`, which it broadcasts to.
    pub(super) fn stretch(&mut self, slot: Slot, from: &[usize], to: &[usize]) -> Slot {
        if from == to || from.iter().product::<usize>() == to.iter().product::<usize>() {
            return slot;
        }
        let index = spread(from, to);
        let y = self.buffer(index.len());
        self.steps.push(Step::Gather { x: slot, y, index, pad: 0.0 });
        y
    }
}

/// The shape that two broadcast to.
pub(super) fn broadcast(node: &Node, a: &[usize], b: &[usize]) -> Result<Vec<usize>, Refusal> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let common = |i| match (dim(a, i), dim(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(node.refuse(format!("shapes {a:?} and {b:?} do not go together"))),
    };
    let common = (0..rank).map(common).collect::<Result<Vec<_>, _>>()?;
    small(node, &common)?;
    Ok(common)
}

/// For each value of `to` the index in `from`, which broadcasts to it.
pub(super) fn spread(from: &[usize], to: &[usize]) -> Vec<u32> {
    let count: usize = to.iter().product();
    let (strides, own) = (super::strides(to), super::strides(from));
    let lead = to.len() - from.len();
    let index = |i: usize| {
        let mut at = 0;
        for (axis, (&dim, &stride)) in from.iter().zip(&own).enumerate() {
            if dim != 1 {
                at += i / strides[axis + lead] % to[axis + lead] * stride;
            }
        }
        at as u32
    };
    let index: Vec<u32> = (0..count).map(index).collect();
    debug_assert!(!index.contains(&PAD));
    index
}
