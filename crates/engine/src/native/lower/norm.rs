//! Normalisations made of the plan's plain steps.

use super::{Lower, axis};
use crate::native::Refusal;
use crate::native::graph::Node;
use crate::native::maps::{Binary, Unary};
use crate::native::plan::{Slot, Step};
use crate::native::reduce::{Norm, Reduce};
use crate::native::tensor::Buffer;

impl Lower<'_> {
    /// Each channel, or group of channels, brought to mean 0 and variance 1, then scaled and shifted by channel.
    pub(super) fn group_norm(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let &[batch, channels, ref space @ ..] = &dims[..] else {
            return Err(node.refuse(format!("an input of {dims:?} has no channels")));
        };
        let groups = if node.op == "GroupNormalization" { node.int("num_groups", 0) } else { channels as i64 };
        let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0 && channels.is_multiple_of(groups));
        let groups = groups.ok_or_else(|| node.refuse(format!("{channels} channels do not make its groups")))?;
        let mut parameters = Vec::new();
        for i in 1..3 {
            let values = self.floats(node, i)?.and_then(|tensor| tensor.floats()).unwrap_or_default();
            // Before opset 21 one for each group.
            if values.len() != channels && values.len() != groups {
                return Err(node.refuse(format!("input {i} has {} values for {channels} channels", values.len())));
            }
            parameters.push(values.to_vec());
        }
        let inner: usize = space.iter().product();
        let (rows, n, len) = (batch * groups, channels / groups * inner, dims.iter().product());
        let norm = Norm { scale: vec![1.0; n], bias: vec![0.0; n], epsilon: node.float("epsilon", 1e-5) };
        let middle = self.buffer(len);
        self.steps.push(Step::Norm { x, y: middle, rows, norm: Box::new(norm) });
        let parameter = |of: &[f32]| (0..len).map(|i| of[i / inner % channels * of.len() / channels]).collect();
        let (scale, offset): (Vec<f32>, Vec<f32>) = (parameter(&parameters[0]), parameter(&parameters[1]));
        let y = self.define(node, dims)?;
        self.affine_step(middle, y, &scale, &offset);
        Ok(())
    }

    /// x / √(mean of x² + ε) · scale, over the axes from `axis` on.
    pub(super) fn rms_norm(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let at = axis(node, node.int("axis", -1), dims.len())?;
        let (n, len): (usize, usize) = (dims[at..].iter().product(), dims.iter().product());
        let scale = self.floats(node, 1)?.and_then(|tensor| tensor.floats()).unwrap_or_default();
        if n % scale.len().max(1) != 0 || scale.is_empty() {
            return Err(node.refuse(format!("a scale of {} values does not fit {dims:?}", scale.len())));
        }
        let scale: Vec<f32> = (0..len).map(|i| scale[i % scale.len()]).collect();
        let (rows, epsilon) = (len / n, node.float("epsilon", 1e-5));
        let [squares, shifted, roots] = [(); 3].map(|()| self.buffer(rows));
        self.steps.push(Step::Reduce { x, y: squares, rows, n, f: Reduce::SumSquare });
        self.affine_step(squares, shifted, &vec![1.0 / n as f32; rows], &vec![epsilon; rows]);
        self.steps.push(Step::Unary { x: shifted, y: roots, len: rows, f: Unary::Sqrt });
        let wide = self.stretch(roots, &[rows, 1], &[rows, n]);
        let quotient = self.buffer(len);
        self.steps.push(Step::Binary { a: x, b: wide, y: quotient, len, f: Binary::Div });
        let y = self.define(node, dims)?;
        self.affine_step(quotient, y, &scale, &vec![-0.0; len]);
        Ok(())
    }

    /// y = x · scale + offset.
    pub(super) fn affine_step(&mut self, x: Slot, y: Slot, scale: &[f32], offset: &[f32]) {
        let (scale, offset) = (Buffer::from_values(scale).0, Buffer::from_values(offset).0);
        self.steps.push(Step::Affine { x, y, scale, offset });
    }
}
