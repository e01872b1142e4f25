//! Products of matrices, and convolutions as such.

use super::data::small;
use super::{Known, Lower, padded};
use crate::engine::native::Refusal;
use crate::engine::native::dense::{Activation, Dense};
use crate::engine::native::graph::{MOST_VALUES, Node};
use crate::engine::native::maps::Unary;
use crate::engine::native::plan::{PAD, Slot, Step};
use crate::engine::native::reduce::Reduce;
use crate::engine::native::tensor::{Buffer, LANES, Tensor};

/// Windows of a convolution or a pool along each axis.
struct Windows {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<usize>,
    /// Places of the window along each axis.
    out: Vec<usize>,
}

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
        let bias = match self.floats(node, 2)? {
            None => Vec::new(),
            Some(c) if c.dims.iter().product::<usize>() == 1 => vec![beta * values(c)[0]; n],
            Some(c) if c.dims.last() == Some(&n) && c.dims.iter().product::<usize>() == n => {
                values(c).iter().map(|c| beta * c).collect()
            }
            Some(c) => return Err(node.refuse(format!("a bias of {:?} for {n} outputs is not taken", c.dims))),
        };
        let dense = Dense::new(k, n, weight, &bias);
        self.dense(node, x, vec![rows, n], dense)
    }

    /// A dense layer on all rows of x.
    fn dense(&mut self, node: &Node, x: Slot, dims: Vec<usize>, dense: Dense) -> Result<(), Refusal> {
        let rows = dims.iter().product::<usize>() / dense.outputs.max(1);
        let y = self.define(node, dims)?;
        self.dense_step(x, y, rows, dense);
        Ok(())
    }

    fn dense_step(&mut self, x: Slot, y: Slot, rows: usize, dense: Dense) {
        // Rows that are no whole blocks are made in spare blocks behind the values.
        if rows > 1 && !dense.outputs.is_multiple_of(LANES) {
            self.buffers[y] = Buffer::zeros(padded(rows * dense.outputs) + padded(dense.outputs));
        }
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
            let dense = Dense::new(k, n, |i, o| w[i * n + o], &[]);
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

    /// Windows of x side by side, times the weights: [1, C, …] to [1, M, …].
    pub(super) fn conv(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let weights = self.floats(node, 1)?.cloned().ok_or_else(|| node.refuse("it has no weights"))?;
        let bias = self.floats(node, 2)?.map(|b| values(b).to_vec()).unwrap_or_default();
        let group = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let (&[1, channels, ref space @ ..], &[maps, depth, ref kernel @ ..]) = (&dims[..], &weights.dims[..]) else {
            return Err(node.refuse(format!("an input of {dims:?} with weights {:?} is not taken", weights.dims)));
        };
        if group == 0
            || depth.checked_mul(group) != Some(channels)
            || !maps.is_multiple_of(group)
            || kernel.len() != space.len()
        {
            return Err(node.refuse(format!("weights {:?} in {group} groups do not fit {dims:?}", weights.dims)));
        }
        let windows = windows(node, space, kernel)?;
        small(node, &[&[channels][..], &windows.out, kernel].concat())?;
        let (places, taps) = (windows.places(), depth * kernel.iter().product::<usize>());
        let w = values(&weights);
        let mut made = Vec::new();
        for g in 0..group {
            let (first, each) = (g * maps / group, maps / group);
            let index: Vec<u32> =
                (0..places).flat_map(|place| windows.indices(space, place, g * depth..(g + 1) * depth)).collect();
            let patches = self.buffer(index.len());
            self.steps.push(Step::Gather { x, y: patches, index, pad: 0.0 });
            let own = if bias.is_empty() { &[][..] } else { &bias[first..first + each] };
            let dense = Dense::new(taps, each, |i, o| w[(first + o) * taps + i], own);
            let rows = self.buffer(places * each);
            self.dense_step(patches, rows, places, dense);
            made.push((rows, each));
        }
        let y = self.define(node, [&[1, maps][..], &windows.out].concat())?;
        // From places × maps to maps × places.
        let mut at = 0;
        for (rows, each) in made {
            let index = (0..each * places).map(|i| (i % places * each + i / places) as u32).collect();
            let turned = self.buffer(each * places);
            self.steps.push(Step::Gather { x: rows, y: turned, index, pad: 0.0 });
            self.steps.push(Step::Place { x: turned, y, at, len: each * places });
            at += each * places;
        }
        Ok(())
    }

    /// The largest or the mean of each window.
    pub(super) fn pool(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let &[1, channels, ref space @ ..] = &dims[..] else {
            return Err(node.refuse(format!("an input of {dims:?} is not taken")));
        };
        let kernel = if node.op.starts_with("Global") {
            space.to_vec()
        } else {
            let kernel = node.ints("kernel_shape").unwrap_or_default();
            kernel.iter().map(|&k| usize::try_from(k).unwrap_or(0)).collect()
        };
        // A mean is a sum times the reciprocal of how many it is of: its padding counts, or does not.
        let (f, pad) = if node.op.ends_with("MaxPool") { (Reduce::Max, f32::NEG_INFINITY) } else { (Reduce::Sum, 0.0) };
        let windows = windows(node, space, &kernel)?;
        small(node, &[&[channels][..], &windows.out, &kernel].concat())?;
        if node.outputs.iter().flatten().count() > 1 {
            return Err(node.refuse("its output of indices is not taken"));
        }
        let index: Vec<u32> = (0..channels)
            .flat_map(|c| (0..windows.places()).map(move |place| (c, place)))
            .flat_map(|(c, place)| windows.indices(space, place, c..c + 1))
            .collect();
        let (n, rows) = (kernel.iter().product::<usize>(), channels * windows.places());
        let all = node.int("count_include_pad", 0) != 0;
        let counted = |window: &[u32]| window.iter().filter(|&&i| all || i != PAD).count();
        let shares: Vec<f32> = index.chunks_exact(n).map(|window| 1.0 / counted(window) as f32).collect();
        let patches = self.buffer(index.len());
        self.steps.push(Step::Gather { x, y: patches, index, pad });
        let reduced = self.buffer(rows);
        self.steps.push(Step::Reduce { x: patches, y: reduced, rows, n, f });
        let y = self.define(node, [&[1, channels][..], &windows.out].concat())?;
        self.steps.push(match f {
            // ONNX Runtime begins at the lowest finite value: a window of -∞ alone gives that.
            Reduce::Max => {
                let f = Unary::Activation(Activation::Clip(f32::MIN, f32::INFINITY));
                Step::Unary { x: reduced, y, len: rows, f }
            }
            _ => {
                let (scale, offset) = (Buffer::from_values(&shares).0, Buffer::from_values(&vec![-0.0; rows]).0);
                Step::Affine { x: reduced, y, scale, offset }
            }
        });
        Ok(())
    }

    /// y = x · scale / √(variance + ε) + …, by channel.
    pub(super) fn batch_norm(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        if node.int("training_mode", 0) != 0 || node.int("spatial", 1) == 0 {
            return Err(node.refuse("training_mode and means of each place are not taken"));
        }
        let epsilon = node.float("epsilon", 1e-5);
        let mut parameters = Vec::new();
        for i in 1..5 {
            let tensor = self.floats(node, i)?.ok_or_else(|| node.refuse(format!("input {i} is missing")))?;
            if tensor.dims.len() != 1 || Some(&tensor.dims[0]) != dims.get(1) {
                return Err(node.refuse(format!("input {i} is {:?} for {dims:?}", tensor.dims)));
            }
            parameters.push(values(tensor).to_vec());
        }
        let inner: usize = dims[2..].iter().product();
        let channel = |i: usize| i / inner % dims[1];
        let len = dims.iter().product();
        let factor = |c: usize| parameters[0][c] / (parameters[3][c] + epsilon).sqrt();
        let scale: Vec<f32> = (0..len).map(|i| factor(channel(i))).collect();
        let shift = |c: usize| parameters[1][c] - parameters[2][c] * factor(c);
        let offset: Vec<f32> = (0..len).map(|i| shift(channel(i))).collect();
        let y = self.define(node, dims)?;
        let (scale, offset) = (Buffer::from_values(&scale).0, Buffer::from_values(&offset).0);
        self.steps.push(Step::Affine { x, y, scale, offset });
        Ok(())
    }
}

/// Values of a tensor that is known to hold floats.
fn values(tensor: &Tensor) -> &[f32] {
    tensor.floats().unwrap_or_default()
}

fn windows(node: &Node, space: &[usize], kernel: &[usize]) -> Result<Windows, Refusal> {
    let rank = space.len();
    let list = |name: &str, default: usize| -> Result<Vec<usize>, Refusal> {
        let Some(values) = node.ints(name) else { return Ok(vec![default; rank]) };
        let values: Option<Vec<usize>> = values.iter().map(|&v| usize::try_from(v).ok()).collect();
        values.filter(|v| v.len() == rank).ok_or_else(|| node.refuse(format!("{name} makes no sense")))
    };
    let (strides, dilations) = (list("strides", 1)?, list("dilations", 1)?);
    let pads = match node.ints("pads") {
        Some(pads) if pads.len() == 2 * rank && pads.iter().all(|&p| (0..1 << 20).contains(&p)) => {
            pads.iter().map(|&p| p as usize).collect()
        }
        Some(_) => return Err(node.refuse("pads make no sense")),
        None => vec![0; 2 * rank],
    };
    if kernel.len() != rank || kernel.contains(&0) || strides.contains(&0) || dilations.contains(&0) || rank == 0 {
        return Err(node.refuse(format!("a window of {kernel:?} over {space:?} makes no sense")));
    }
    let mut before = pads[..rank].to_vec();
    let mut out = Vec::new();
    for i in 0..rank {
        let span = (kernel[i] - 1).checked_mul(dilations[i]).filter(|&span| span < MOST_VALUES);
        let span = span.ok_or_else(|| node.refuse(format!("a window of {kernel:?} {dilations:?} apart")))? + 1;
        let (padding, places) = match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => (pads[i] + pads[rank + i], None),
            "VALID" => (0, None),
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let places = space[i].div_ceil(strides[i]);
                let padding = ((places - 1) * strides[i] + span).saturating_sub(space[i]);
                before[i] = if same == "SAME_UPPER" { padding / 2 } else { padding - padding / 2 };
                (padding, Some(places))
            }
            other => return Err(node.refuse(format!("auto_pad {other} is not known"))),
        };
        let free = (space[i] + padding).checked_sub(span);
        let free = free.ok_or_else(|| node.refuse(format!("a window of {span} over {} values", space[i] + padding)))?;
        let up = node.int("ceil_mode", 0) != 0;
        let free = if up { free.next_multiple_of(strides[i]) } else { free };
        // A last window that would begin behind the input and what is before it is left out.
        let behind = up && free / strides[i] * strides[i] >= space[i] + before[i];
        out.push(places.unwrap_or(free / strides[i] + 1 - usize::from(behind)));
    }
    Ok(Windows { kernel: kernel.to_vec(), strides, dilations, before, out })
}

impl Windows {
    fn places(&self) -> usize {
        self.out.iter().product()
    }

    /// Indices into x of the window at `place`: channel by channel, tap by tap.
    fn indices(&self, space: &[usize], place: usize, channels: std::ops::Range<usize>) -> Vec<u32> {
        let (grid, taps) = (super::strides(&self.out), super::strides(&self.kernel));
        let (own, area) = (super::strides(space), space.iter().product::<usize>());
        let at = |tap: usize| {
            let mut index = 0;
            for i in 0..space.len() {
                let start = place / grid[i] % self.out[i] * self.strides[i];
                let position = start + tap / taps[i] % self.kernel[i] * self.dilations[i];
                let inside = position.checked_sub(self.before[i]).filter(|&p| p < space[i])?;
                index += inside * own[i];
            }
            Some(index)
        };
        let count: usize = self.kernel.iter().product();
        let offsets: Vec<Option<usize>> = (0..count).map(at).collect();
        channels.flat_map(|c| offsets.iter().map(move |o| o.map_or(PAD, |o| (c * area + o) as u32))).collect()
    }
}
