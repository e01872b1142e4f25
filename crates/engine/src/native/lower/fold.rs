//! What is computed when a model is loaded: shapes, indices and other constants of integers.

use super::data::small;
use super::elementwise::{broadcast, spread};
use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::graph::Node;
use crate::native::tensor::{Data, Tensor};

impl Lower<'_> {
    /// Results of a node whose inputs are all constant, where they are no matter of steps: integers and shapes.
    pub(super) fn fold(&self, node: &Node) -> Result<Option<Vec<Tensor>>, Refusal> {
        let tensor = |i: usize| match self.value(node, i)? {
            Known::Constant(tensor) => Ok(tensor),
            Known::Computed { .. } => Err(node.refuse("it hangs on the input")),
        };
        let integers = node.inputs.iter().flatten().all(|v| match self.known.get(v) {
            Some(Known::Constant(tensor)) => tensor.ints().is_some(),
            _ => false,
        });
        let one = |tensor| Ok(Some(vec![tensor]));
        match node.op.as_str() {
            "Constant" => one(constant(node)?),
            "ConstantOfShape" => {
                let dims = sizes(node, tensor(0)?)?;
                let count = small(node, &dims)?;
                let fill = node.tensor("value").transpose()?;
                one(match fill.as_ref().and_then(|t| t.ints()?.first()) {
                    Some(&value) => Tensor { dims, data: Data::I64(vec![value; count]) },
                    None => {
                        let value = fill.as_ref().and_then(|t| t.floats()?.first().copied()).unwrap_or(0.0);
                        Tensor::f32(dims, vec![value; count])
                    }
                })
            }
            "Range" if integers => {
                let value = |i| Ok(tensor(i)?.ints().and_then(|v| v.first().copied()).unwrap_or(0));
                let (start, end, step) = (value(0)?, value(1)?, value(2)?);
                let (start, end, step) = (i128::from(start), i128::from(end), i128::from(step));
                let count = if step == 0 { 0 } else { (end - start + step - step.signum()) / step };
                let count = small(node, &[usize::try_from(count).unwrap_or(0)])? as i128;
                one(Tensor::i64((0..count).map(|i| (start + i * step) as i64).collect()))
            }
            "Cast" => one(cast(node, tensor(0)?)?),
            "Shape" => one(part_of_shape(node, &tensor(0)?.dims)),
            "Size" => one(size(&tensor(0)?.dims)),
            "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Max" | "Min" | "Equal" | "Greater" | "GreaterOrEqual" | "Less"
            | "LessOrEqual" | "And" | "Or" | "Xor"
                if integers && node.inputs.len() == 2 =>
            {
                one(arithmetic(node, tensor(0)?, tensor(1)?)?)
            }
            "Neg" | "Abs" | "Sign" | "Not" if integers => one(each(node, tensor(0)?)?),
            "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" if integers => one(folded(node, tensor(0)?)?),
            "Where" if integers => one(chosen(node, [tensor(0)?, tensor(1)?, tensor(2)?])?),
            "Concat" if integers => {
                if (0..node.inputs.len()).any(|i| tensor(i).is_ok_and(|t| t.dims.len() != 1)) {
                    return Err(node.refuse("only lists of integers are joined"));
                }
                let parts = (0..node.inputs.len()).map(|i| Ok(tensor(i)?.ints().unwrap_or_default()));
                let lens = parts.clone().map(|part| part.map(<[i64]>::len));
                small(node, &[lens.sum::<Result<usize, Refusal>>()?])?;
                one(Tensor::i64(parts.collect::<Result<Vec<_>, Refusal>>()?.concat()))
            }
            "Gather" | "Slice" | "Transpose" | "Expand" | "Tile" if tensor(0)?.ints().is_some() => {
                let x = tensor(0)?;
                let (dims, index, _) = self.picked(node, &x.dims)?;
                let values = x.ints().unwrap_or_default();
                one(Tensor { dims, data: Data::I64(index.iter().map(|&i| values[i as usize]).collect()) })
            }
            _ => Ok(None),
        }
    }

    /// `Shape` of a computed value: known, since every shape is.
    pub(super) fn shape_of(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
        let shape = if node.op == "Size" { size(&dims) } else { part_of_shape(node, &dims) };
        self.known.insert(node.output()?, Known::Constant(shape));
        Ok(())
    }
}

fn size(dims: &[usize]) -> Tensor {
    Tensor { dims: vec![], data: Data::I64(vec![dims.iter().product::<usize>() as i64]) }
}

/// `Shape`'s rule: from `start` to `end`, counted from the end when negative.
fn part_of_shape(node: &Node, dims: &[usize]) -> Tensor {
    let rank = dims.len() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(node.int("start", 0)), bound(node.int("end", rank)));
    Tensor::i64(dims[start..end.max(start)].iter().map(|&d| d as i64).collect())
}

fn constant(node: &Node) -> Result<Tensor, Refusal> {
    if let Some(tensor) = node.tensor("value") {
        return tensor;
    }
    if node.has("value_float") {
        return Ok(Tensor::f32(vec![], vec![node.float("value_float", 0.0)]));
    }
    if node.has("value_int") {
        return Ok(Tensor { dims: vec![], data: Data::I64(vec![node.int("value_int", 0)]) });
    }
    if let Some(ints) = node.ints("value_ints") {
        return Ok(Tensor::i64(ints.to_vec()));
    }
    if node.has("value_floats") {
        let floats = node.floats("value_floats");
        return Ok(Tensor::f32(vec![floats.len()], floats.to_vec()));
    }
    Err(node.refuse("its value is of a kind that is not taken"))
}

fn cast(node: &Node, tensor: &Tensor) -> Result<Tensor, Refusal> {
    let data = match (node.int("to", 0), &tensor.data) {
        (1 | 10 | 11 | 16, Data::F32(values)) => Data::F32(values.clone()),
        (1 | 10 | 11 | 16, Data::I64(values)) => Data::F32(values.iter().map(|&v| v as f32).collect()),
        (6 | 7, Data::F32(values)) => Data::I64(values.iter().map(|&v| v as i64).collect()),
        (6 | 7, Data::I64(values)) => Data::I64(values.clone()),
        (9, Data::F32(values)) => Data::I64(values.iter().map(|&v| i64::from(v != 0.0)).collect()),
        (9, Data::I64(values)) => Data::I64(values.iter().map(|&v| i64::from(v != 0)).collect()),
        (to, _) => return Err(node.refuse(format!("a cast to type {to} is not taken"))),
    };
    Ok(Tensor { dims: tensor.dims.clone(), data })
}

fn arithmetic(node: &Node, a: &Tensor, b: &Tensor) -> Result<Tensor, Refusal> {
    let dims = broadcast(node, &a.dims, &b.dims)?;
    let (x, y) = (a.ints().unwrap_or_default(), b.ints().unwrap_or_default());
    let f = |(i, j): (u32, u32)| {
        let (x, y) = (x[i as usize], y[j as usize]);
        match node.op.as_str() {
            "Mod" if node.int("fmod", 0) != 0 => x.checked_rem(y),
            // With the divisor's sign.
            "Mod" => x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r }),
            "Equal" => Some(i64::from(x == y)),
            "Greater" => Some(i64::from(x > y)),
            "GreaterOrEqual" => Some(i64::from(x >= y)),
            "Less" => Some(i64::from(x < y)),
            "LessOrEqual" => Some(i64::from(x <= y)),
            "And" => Some(x & y),
            "Or" => Some(x | y),
            "Xor" => Some(x ^ y),
            "Add" => x.checked_add(y),
            "Sub" => x.checked_sub(y),
            "Mul" => x.checked_mul(y),
            "Div" => x.checked_div(y),
            "Max" => Some(x.max(y)),
            _ => Some(x.min(y)),
        }
        .ok_or_else(|| node.refuse(format!("{x} and {y} have no result")))
    };
    let pairs = spread(&a.dims, &dims).into_iter().zip(spread(&b.dims, &dims));
    Ok(Tensor { data: Data::I64(pairs.map(f).collect::<Result<_, _>>()?), dims })
}

/// A function of each integer.
fn each(node: &Node, x: &Tensor) -> Result<Tensor, Refusal> {
    let f = |&x: &i64| match node.op.as_str() {
        "Neg" => x.checked_neg(),
        "Abs" => x.checked_abs(),
        "Sign" => Some(x.signum()),
        _ => Some(i64::from(x == 0)),
    };
    let values: Option<_> = x.ints().unwrap_or_default().iter().map(f).collect();
    let values = values.ok_or_else(|| node.refuse("an integer has no result"))?;
    Ok(Tensor { dims: x.dims.clone(), data: Data::I64(values) })
}

/// All integers of a list to one, as exporters count the values of a shape.
fn folded(node: &Node, x: &Tensor) -> Result<Tensor, Refusal> {
    if x.dims.len() != 1 || x.dims[0] == 0 {
        return Err(node.refuse(format!("integers of shape {:?} are not reduced, only a list", x.dims)));
    }
    let f = |a: i64, b: &i64| match node.op.as_str() {
        "ReduceProd" => a.checked_mul(*b),
        "ReduceSum" => a.checked_add(*b),
        "ReduceMax" => Some(a.max(*b)),
        _ => Some(a.min(*b)),
    };
    let (first, rest) = x.ints().unwrap_or_default().split_first().ok_or_else(|| node.refuse("it is empty"))?;
    let value = rest.iter().try_fold(*first, f).ok_or_else(|| node.refuse("its result is no integer of 64 bits"))?;
    let dims = if node.int("keepdims", 1) != 0 { vec![1] } else { vec![] };
    Ok(Tensor { dims, data: Data::I64(vec![value]) })
}

/// `Where` of integers.
fn chosen(node: &Node, operands: [&Tensor; 3]) -> Result<Tensor, Refusal> {
    let dims = broadcast(node, &broadcast(node, &operands[0].dims, &operands[1].dims)?, &operands[2].dims)?;
    let [c, a, b] = operands.map(|operand| {
        let values = operand.ints().unwrap_or_default();
        spread(&operand.dims, &dims).into_iter().map(move |i| values[i as usize])
    });
    let values = c.zip(a.zip(b)).map(|(c, (a, b))| if c != 0 { a } else { b }).collect();
    Ok(Tensor { dims, data: Data::I64(values) })
}

fn sizes(node: &Node, tensor: &Tensor) -> Result<Vec<usize>, Refusal> {
    let sizes = tensor.ints().unwrap_or_default().iter().map(|&d| usize::try_from(d).ok());
    sizes.collect::<Option<_>>().ok_or_else(|| node.refuse("a size is negative"))
}
