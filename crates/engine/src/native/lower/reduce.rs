//! Operators over an axis: reductions, softmax, normalisation.

use super::{Known, Lower, axis};
use crate::native::Refusal;
use crate::native::graph::Node;
use crate::native::plan::{Slot, Step};
use crate::native::reduce::{Norm, Reduce, Softmax};

impl Lower<'_> {
    pub(super) fn reduce(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let f = match node.op.as_str() {
            "ReduceSum" => Reduce::Sum,
            "ReduceMean" => Reduce::Mean,
            "ReduceMax" => Reduce::Max,
            "ReduceMin" => Reduce::Min,
            "ReduceL1" => Reduce::L1,
            "ReduceL2" => Reduce::L2,
            "ReduceProd" => Reduce::Prod,
            "ReduceLogSum" => Reduce::LogSum,
            "ReduceLogSumExp" => Reduce::LogSumExp,
            _ => Reduce::SumSquare,
        };
        let axes = match self.ints(node, 1)? {
            Some(axes) => axes,
            None => node.ints("axes").unwrap_or_default().to_vec(),
        };
        if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
            return self.alias(node, None);
        }
        let mut over = vec![axes.is_empty(); dims.len()];
        for a in axes {
            over[axis(node, a, dims.len())?] = true;
        }
        self.reduce_over(node, x, &dims, &over, f)
    }

    /// The place of the largest value along an axis, or of the least.
    pub(super) fn arg(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let at = axis(node, node.int("axis", 0), dims.len())?;
        let over: Vec<bool> = (0..dims.len()).map(|i| i == at).collect();
        let f = Reduce::Place { largest: node.op == "ArgMax", last: node.int("select_last_index", 0) != 0 };
        self.reduce_over(node, x, &dims, &over, f)
    }

    fn reduce_over(&mut self, node: &Node, x: Slot, dims: &[usize], over: &[bool], f: Reduce) -> Result<(), Refusal> {
        // The axes that stay first, then those that go.
        let stay: Vec<usize> = (0..dims.len()).filter(|&i| !over[i]).collect();
        let go = (0..dims.len()).filter(|&i| over[i]);
        let order: Vec<usize> = stay.iter().copied().chain(go).collect();
        let x = self.permute(x, dims, &order);
        let rows: usize = stay.iter().map(|&i| dims[i]).product();
        let n = dims.iter().product::<usize>() / rows.max(1);
        let keep = node.int("keepdims", 1) != 0;
        let out = (0..dims.len()).filter(|&i| keep || !over[i]).map(|i| if over[i] { 1 } else { dims[i] }).collect();
        let y = self.define(node, out)?;
        self.steps.push(Step::Reduce { x, y, rows, n, f });
        Ok(())
    }

    /// x with its axes in another order: a step of its own, unless nothing moves.
    pub(super) fn permute(&mut self, x: Slot, dims: &[usize], order: &[usize]) -> Slot {
        let moved: Vec<usize> = order.iter().copied().filter(|&axis| dims[axis] != 1).collect();
        if moved.is_sorted() {
            return x;
        }
        let index = permutation(dims, order);
        let y = self.buffer(index.len());
        self.steps.push(Step::Gather { x, y, index, pad: 0.0 });
        y
    }

    pub(super) fn softmax(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let f = if node.op == "Softmax" { Softmax::Plain } else { Softmax::Log };
        // Before opset 13 an axis meant all from there on.
        let old = self.graph.opset < 13;
        let at = axis(node, node.int("axis", if old { 1 } else { -1 }), dims.len())?;
        if dims[at + 1..].iter().product::<usize>() == 1 || old {
            let n: usize = if old { dims[at..].iter().product() } else { dims[at] };
            let rows = dims.iter().product::<usize>() / n.max(1);
            let y = self.define(node, dims)?;
            self.steps.push(Step::Softmax { x, y, rows, n, f });
            return Ok(());
        }
        let mut order: Vec<usize> = (0..dims.len()).filter(|&i| i != at).collect();
        order.push(at);
        let moved = self.permute(x, &dims, &order);
        let count = dims.iter().product::<usize>();
        let middle = self.buffer(count);
        self.steps.push(Step::Softmax { x: moved, y: middle, rows: count / dims[at], n: dims[at], f });
        let there: Vec<usize> = order.iter().map(|&i| dims[i]).collect();
        let mut back = vec![0; dims.len()];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let slot = self.permute(middle, &there, &back);
        self.known.insert(node.output()?, Known::Computed { dims, slot });
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let at = axis(node, node.int("axis", -1), dims.len())?;
        let n: usize = dims[at..].iter().product();
        if node.outputs.iter().skip(1).flatten().next().is_some() {
            return Err(node.refuse("its outputs of mean and deviation are not taken"));
        }
        let list = |tensor: Option<&crate::native::tensor::Tensor>, default: f32| match tensor {
            None => Ok(vec![default; n]),
            Some(tensor) => {
                let values = tensor.floats().unwrap_or_default();
                if values.len() == n {
                    Ok(values.to_vec())
                } else {
                    Err(node.refuse("its scale does not fit its input"))
                }
            }
        };
        let (scale, bias) = (list(self.floats(node, 1)?, 1.0)?, list(self.floats(node, 2)?, 0.0)?);
        let norm = Box::new(Norm { scale, bias, epsilon: node.float("epsilon", 1e-5) });
        let rows = dims.iter().product::<usize>() / n.max(1);
        let y = self.define(node, dims)?;
        self.steps.push(Step::Norm { x, y, rows, norm });
        Ok(())
    }
}

/// For each value of x with its axes in `order` the index in x.
pub(super) fn permutation(dims: &[usize], order: &[usize]) -> Vec<u32> {
    let own = super::strides(dims);
    let out: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
    let strides = super::strides(&out);
    let count: usize = dims.iter().product();
    let index = |i: usize| (0..order.len()).map(|a| i / strides[a] % out[a] * own[order[a]]).sum::<usize>() as u32;
    (0..count).map(index).collect()
}
