//! Products of matrices.

use super::data::small;
use super::elementwise::broadcast;
use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::dense::Dense;
use crate::native::graph::Node;
use crate::native::maps::Binary;
use crate::native::plan::{Slot, Spread, Step};
use crate::native::tensor::Tensor;

impl Lower<'_> {
    /// α A B + β C with constant B.
    pub(super) fn gemm(&mut self, node: &Node) -> Result<(), Refusal> {
        let (mut dims, mut x) = self.computed_input(node, 0)?;
        if node.int("transA", 0) != 0 && dims.len() == 2 {
            x = self.permute(x, &dims, &[1, 0]);
            dims.reverse();
        }
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let weights = self.floats(node, 1)?.cloned().ok_or_else(|| node.refuse("it has no weights"))?;
        let turned = node.int("transB", 0) != 0;
        let (&[rows, k], &[first, second]) = (&dims[..], &weights.dims[..]) else {
            return Err(node.refuse(format!("operands of {dims:?} and {:?} are no matrices", weights.dims)));
        };
        let (depth, n) = if turned { (second, first) } else { (first, second) };
        if depth != k {
            return Err(node.refuse(format!("operands of {dims:?} and {:?} do not go together", weights.dims)));
        }
        let w = values(&weights);
        let weight = |i: usize, o: usize| alpha * if turned { w[o * k + i] } else { w[i * n + o] };
        let bias = match if self.is_computed(node, 2) { None } else { self.floats(node, 2)? } {
            None => Vec::new(),
            Some(c) if c.dims.iter().product::<usize>() == 1 => vec![beta * values(c)[0]; n],
            Some(c) if c.dims.last() == Some(&n) && c.dims.iter().product::<usize>() == n => {
                values(c).iter().map(|c| beta * c).collect()
            }
            Some(c) => return Err(node.refuse(format!("a bias of {:?} for {n} outputs is not taken", c.dims))),
        };
        let dense = Dense::stored(self.weights, k, n, weight, &bias);
        if self.is_computed(node, 2) {
            return self.gemm_and_computed(node, x, [rows, n], dense, beta);
        }
        self.dense(node, x, vec![rows, n], dense)
    }

    /// The product, and a bias that hangs on the input.
    fn gemm_and_computed(
        &mut self,
        node: &Node,
        x: Slot,
        dims: [usize; 2],
        dense: Dense,
        beta: f32,
    ) -> Result<(), Refusal> {
        let (own, bias) = self.computed_input(node, 2)?;
        if beta != 1.0 || broadcast(node, &dims, &own)? != dims {
            return Err(node.refuse(format!("beta = {beta} and a computed bias of {own:?} for {dims:?} is not taken")));
        }
        let (product, len) = (self.buffer(dims[0] * dims[1]), dims[0] * dims[1]);
        self.dense_step(x, product, dims[0], dense);
        let b = self.stretch(bias, &own, &dims);
        let y = self.define(node, dims.to_vec())?;
        self.steps.push(Step::Binary { a: product, b, y, len, f: Binary::Add });
        Ok(())
    }

    /// A dense layer on all rows of x.
    fn dense(&mut self, node: &Node, x: Slot, dims: Vec<usize>, dense: Dense) -> Result<(), Refusal> {
        let rows = dims.iter().product::<usize>() / dense.outputs.max(1);
        let y = self.define(node, dims)?;
        self.dense_step(x, y, rows, dense);
        Ok(())
    }

    pub(super) fn dense_step(&mut self, x: Slot, y: Slot, rows: usize, dense: Dense) {
        let each = rows / self.batch.max(1);
        let rows = match self.batch {
            0 | 1 => Spread::dense(rows, dense.inputs),
            batch if rows == batch => Spread { alike: true, ..Spread::dense(rows, dense.inputs) },
            // Each instrument's rows as if they were alone.
            batch if rows == batch * each => {
                let planes = (0..batch).map(|i| i * each * dense.inputs).collect();
                Spread { planes, ..Spread::dense(each, dense.inputs) }
            }
            _ => Spread::dense(rows, dense.inputs),
        };
        self.steps.push(Step::Dense { x, y, rows, dense: Box::new(dense) });
    }

    /// Constant weights make a dense layer; two computed operands a product of small matrices.
    pub(super) fn mat_mul(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        if let Known::Constant(weights) = self.value(node, 1)?
            && let [k, n] = weights.dims[..]
            && weights.floats().is_some()
        {
            if dims.last() != Some(&k) {
                return Err(node.refuse(format!("operands of {dims:?} and {:?} do not go together", weights.dims)));
            }
            let w = values(weights);
            let dense = Dense::stored(self.weights, k, n, |i, o| w[i * n + o], &[]);
            let mut out = dims;
            out.pop();
            out.push(n);
            return self.dense(node, x, out, dense);
        }
        let (other, b) = self.computed_input(node, 1)?;
        let (&[.., m, k], &[.., depth, n]) = (&dims[..], &other[..]) else {
            return Err(node.refuse(format!("operands of {dims:?} and {other:?} are no matrices")));
        };
        let lead = super::elementwise::broadcast(node, &dims[..dims.len() - 2], &other[..other.len() - 2])?;
        if depth != k {
            return Err(node.refuse(format!("operands of {dims:?} and {other:?} do not go together")));
        }
        let with = |tail: [usize; 2]| [&lead[..], &tail].concat();
        // Before anything is spread to them.
        [[m, k], [k, n], [m, n]].into_iter().try_for_each(|tail| small(node, &with(tail)).map(drop))?;
        let (a, b) = (self.stretch(x, &dims, &with([m, k])), self.stretch(b, &other, &with([k, n])));
        let batch = lead.iter().product();
        let y = self.define(node, with([m, n]))?;
        self.steps.push(Step::MatMul { a, b, y, batch, m, k, n });
        Ok(())
    }
}

/// Values of a tensor that is known to hold floats.
pub(super) fn values(tensor: &Tensor) -> &[f32] {
    tensor.floats().unwrap_or_default()
}
