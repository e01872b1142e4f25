//! Convolutions, pools and norms by channel.
//!
//! A convolution is a dense layer on rows that overlap: with channels last, a window is one piece, or pieces at equal
//! distances. Grouped ones, and windows that are neither, are gathered first.

use super::Lower;
use super::data::small;
use super::dense::values;
use crate::native::Refusal;
use crate::native::dense::Dense;
use crate::native::graph::{MOST_VALUES, Node};
use crate::native::maps::Binary;
use crate::native::plan::{PAD, Slot, Spread, Step};
use crate::native::reduce::Reduce;
use crate::native::tensor::{Buffer, LANES};

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
    /// Windows of x, times the weights: [1, C, …] to [1, M, …].
    pub(super) fn conv(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
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
            || dims.contains(&0)
        {
            return Err(node.refuse(format!("weights {:?} in {group} groups do not fit {dims:?}", weights.dims)));
        }
        let windows = windows(node, space, kernel)?;
        small(node, &[&[channels][..], &windows.out, kernel].concat())?;
        let w = values(&weights);
        if group > 1 {
            return self.grouped_conv(node, windows, space, [group, maps, depth], w, &bias);
        }
        let (x, _) = self.channels_last(node)?;
        let (x, space) = self.with_pads(node, x, space, channels, &windows, 0.0)?;
        let taps = windows.taps();
        let weight = |i: usize, o: usize| w[(o * channels + i % channels) * taps + i / channels];
        let dense = Dense::stored(self.weights, taps * channels, maps, weight, &bias);
        let (starts, offsets) = (windows.starts(&space, channels), windows.offsets(&space, channels));
        let out = [&[1, maps][..], &windows.out].concat();
        let Some((piece, between)) = pieces(&offsets, channels) else {
            let patches = self.buffer(starts.len() * offsets.len() * channels);
            let runs = starts.iter().flat_map(|start| offsets.iter().map(move |offset| start + offset));
            let runs = runs.enumerate().map(|(i, from)| [from, i * channels, channels]).collect();
            self.steps.push(Step::Copy { x, y: patches, runs });
            let y = self.define_rows(node, out)?;
            self.dense_step(patches, y, starts.len(), dense);
            return Ok(());
        };
        let y = self.define_rows(node, out)?;
        let rows = spread(&starts, *windows.out.last().unwrap_or(&1), between);
        self.steps.push(Step::Dense { x, y, rows, dense: Box::new(dense.in_pieces(piece)) });
        Ok(())
    }

    /// Rows of x with `pad` around them, wherever a window reaches; and the space they then fill.
    fn with_pads(
        &mut self,
        node: &Node,
        x: Slot,
        space: &[usize],
        channels: usize,
        windows: &Windows,
        pad: f32,
    ) -> Result<(Slot, Vec<usize>), Refusal> {
        let wide: Vec<usize> = (0..space.len()).map(|i| windows.reach(i).max(windows.before[i] + space[i])).collect();
        if wide == space {
            return Ok((x, wide));
        }
        let count = small(node, &[&wide[..], &[channels]].concat())?;
        let y = self.buffer(count);
        self.buffers[y].values_mut().fill(pad);
        let (line, last) = (space[space.len() - 1] * channels, space.len() - 1);
        let (grid, to) = (super::strides(&space[..last]), super::strides(&wide));
        let place = |i: usize| {
            let at = |axis: usize| i / grid[axis] % space[axis] + windows.before[axis];
            ((0..last).map(|axis| at(axis) * to[axis]).sum::<usize>() + windows.before[last]) * channels
        };
        let lines = space[..last].iter().product::<usize>();
        self.steps.push(Step::Copy { x, y, runs: (0..lines).map(|i| [i * line, place(i), line]).collect() });
        Ok((y, wide))
    }

    /// A convolution of each group of channels with its own weights.
    fn grouped_conv(
        &mut self,
        node: &Node,
        windows: Windows,
        space: &[usize],
        [group, maps, depth]: [usize; 3],
        w: &[f32],
        bias: &[f32],
    ) -> Result<(), Refusal> {
        let (_, x) = self.computed_input(node, 0)?;
        let (places, taps, each) = (windows.places(), depth * windows.taps(), maps / group);
        // Each group has buffers and weights of its own, in whole blocks, however few values they hold.
        let own: usize = [places * taps, 2 * places * each, taps.saturating_mul(3 * each.next_multiple_of(LANES))]
            .iter()
            .map(|values| values.next_multiple_of(LANES))
            .sum();
        small(node, &[group, own])?;
        let y = self.define(node, [&[1, maps][..], &windows.out].concat())?;
        for g in 0..group {
            let first = g * each;
            let index: Vec<u32> =
                (0..places).flat_map(|place| windows.indices(space, place, g * depth..(g + 1) * depth)).collect();
            let patches = self.buffer(index.len());
            self.steps.push(Step::Gather { x, y: patches, index, pad: 0.0 });
            let own = if bias.is_empty() { &[][..] } else { &bias[first..first + each] };
            let dense = Dense::stored(self.weights, taps, each, |i, o| w[(first + o) * taps + i], own);
            let (rows, turned) = (self.buffer(places * each), self.buffer(each * places));
            self.dense_step(patches, rows, places, dense);
            self.steps.push(Step::Turn { x: rows, y: turned, rows: places, n: each });
            self.steps.push(Step::Place { x: turned, y, at: first * places, len: each * places });
        }
        Ok(())
    }

    /// A pool of rows: each tap's rows are copied out, then taken together value by value.
    fn pool_rows(
        &mut self,
        node: &Node,
        x: Slot,
        space: &[usize],
        channels: usize,
        windows: &Windows,
        shares: &[f32],
    ) -> Result<(), Refusal> {
        let (f, pad) = if shares.is_empty() { (Binary::Max, f32::NEG_INFINITY) } else { (Binary::Add, 0.0) };
        let (x, space) = self.with_pads(node, x, space, channels, windows, pad)?;
        let starts = windows.starts(&space, channels);
        let len = starts.len() * channels;
        let mut taken = None;
        for offset in windows.offsets(&space, channels) {
            let tap = self.buffer(len);
            let runs = starts.iter().enumerate().map(|(i, start)| [start + offset, i * channels, channels]);
            self.steps.push(Step::Copy { x, y: tap, runs: joined(runs) });
            taken = Some(match taken {
                None => tap,
                Some(a) => {
                    let y = self.buffer(len);
                    self.steps.push(Step::Binary { a, b: tap, y, len, f });
                    y
                }
            });
        }
        let Some(x) = taken else { return Err(node.refuse("its window is empty")) };
        let y = self.define_rows(node, [&[1, channels][..], &windows.out].concat())?;
        self.steps.push(if shares.is_empty() {
            Step::Place { x, y, at: 0, len }
        } else {
            let scale: Vec<f32> = shares.iter().flat_map(|&share| std::iter::repeat_n(share, channels)).collect();
            let (scale, offset) = (Buffer::from_values(&scale).0, Buffer::from_values(&vec![-0.0; len]).0);
            Step::Affine { x, y, scale, offset }
        });
        Ok(())
    }

    /// The largest or the mean of each window.
    pub(super) fn pool(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
        let &[1, channels, ref space @ ..] = &dims[..] else {
            return Err(node.refuse(format!("an input of {dims:?} is not taken")));
        };
        if dims.contains(&0) {
            return Err(node.refuse("input 0 has no values"));
        }
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
        let all = node.int("count_include_pad", 0) != 0;
        if let Some((x, _)) = self.rows_input(node)
            && windows.taps() <= MOST_TAPS
        {
            let counted = |place| windows.indices(space, place, 0..1).iter().filter(|&&i| all || i != PAD).count();
            let places = if f == Reduce::Max { 0 } else { windows.places() };
            let shares: Vec<f32> = (0..places).map(|place| 1.0 / counted(place) as f32).collect();
            return self.pool_rows(node, x, space, channels, &windows, &shares);
        }
        let (_, x) = self.computed_input(node, 0)?;
        let index: Vec<u32> = (0..channels)
            .flat_map(|c| (0..windows.places()).map(move |place| (c, place)))
            .flat_map(|(c, place)| windows.indices(space, place, c..c + 1))
            .collect();
        let (n, rows) = (kernel.iter().product::<usize>(), channels * windows.places());
        let counted = |window: &[u32]| window.iter().filter(|&&i| all || i != PAD).count();
        let shares: Vec<f32> = index.chunks_exact(n).map(|window| 1.0 / counted(window) as f32).collect();
        let patches = self.buffer(index.len());
        self.steps.push(Step::Gather { x, y: patches, index, pad });
        if f == Reduce::Max {
            let y = self.define(node, [&[1, channels][..], &windows.out].concat())?;
            self.steps.push(Step::Reduce { x: patches, y, rows, n, f });
            return Ok(());
        }
        let reduced = self.buffer(rows);
        self.steps.push(Step::Reduce { x: patches, y: reduced, rows, n, f });
        let y = self.define(node, [&[1, channels][..], &windows.out].concat())?;
        let (scale, offset) = (Buffer::from_values(&shares).0, Buffer::from_values(&vec![-0.0; rows]).0);
        self.steps.push(Step::Affine { x: reduced, y, scale, offset });
        Ok(())
    }

    /// y = x · scale / √(variance + ε) + …, by channel.
    pub(super) fn batch_norm(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
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
        let factors: Vec<f32> = (0..dims[1]).map(|c| parameters[0][c] / (parameters[3][c] + epsilon).sqrt()).collect();
        let shifts: Vec<f32> = (0..dims[1]).map(|c| parameters[1][c] - parameters[2][c] * factors[c]).collect();
        let by_rows = dims.len() == 2 || self.rows_input(node).is_some();
        if let Some(Step::Dense { dense, .. }) = self.fusable(node, 0)
            && by_rows
            && dense.outputs == dims[1]
            && dense.affine_after(&factors, &shifts)
        {
            return self.alias(node, None);
        }
        let inner: usize = dims[2..].iter().product();
        let len = dims.iter().product();
        if let Some((x, _)) = self.rows_input(node) {
            let every = |of: &[f32]| Buffer::from_values(&of.repeat(inner)).0;
            let y = self.define_rows(node, dims)?;
            self.steps.push(Step::Affine { x, y, scale: every(&factors), offset: every(&shifts) });
            return Ok(());
        }
        let (_, x) = self.computed_input(node, 0)?;
        let channel = |i: usize| i / inner % dims[1];
        let scale: Vec<f32> = (0..len).map(|i| factors[channel(i)]).collect();
        let offset: Vec<f32> = (0..len).map(|i| shifts[channel(i)]).collect();
        let y = self.define(node, dims)?;
        let (scale, offset) = (Buffer::from_values(&scale).0, Buffer::from_values(&offset).0);
        self.steps.push(Step::Affine { x, y, scale, offset });
        Ok(())
    }
}

/// Taps that a pool of rows takes one by one.
const MOST_TAPS: usize = 32;

/// Taps as pieces of a window at equal distances: how long each is, and the distance. None where they are not at equal ones,
/// or the kernel would have to split pairs of inputs.
fn pieces(offsets: &[usize], channels: usize) -> Option<(usize, usize)> {
    let together = offsets.windows(2).take_while(|pair| pair[1] - pair[0] == channels).count() + 1;
    let piece = together * channels;
    let firsts: Vec<usize> = offsets.iter().copied().step_by(together).collect();
    let between = firsts.get(1).map_or(0, |second| second - firsts[0]);
    let whole = offsets.len().is_multiple_of(together)
        && offsets.chunks(together).all(|piece| piece.windows(2).all(|pair| pair[1] - pair[0] == channels))
        && firsts.windows(2).all(|pair| pair[1] - pair[0] == between);
    (whole && (firsts.len() == 1 || piece.is_multiple_of(2))).then_some((piece, between))
}

/// Where windows begin, as one plane if they are at equal distances, else as planes of `line` windows.
fn spread(starts: &[usize], line: usize, between: usize) -> Spread {
    let apart = starts.get(1).map_or(0, |second| second - starts[0]);
    if starts.windows(2).all(|pair| pair[1] - pair[0] == apart) {
        return Spread { planes: vec![starts[0]], rows: starts.len(), apart, between, alike: false };
    }
    let apart = if line > 1 { apart } else { 0 };
    Spread { planes: starts.iter().copied().step_by(line).collect(), rows: line, apart, between, alike: false }
}

/// Runs with those that follow each other in both places made one.
fn joined(runs: impl Iterator<Item = [usize; 3]>) -> Vec<[usize; 3]> {
    let mut all: Vec<[usize; 3]> = Vec::new();
    for [from, to, len] in runs {
        match all.last_mut() {
            Some(last) if last[0] + last[2] == from && last[1] + last[2] == to => last[2] += len,
            _ => all.push([from, to, len]),
        }
    }
    all
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

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// How far the windows reach along an axis, from the first pad on.
    fn reach(&self, i: usize) -> usize {
        (self.out[i] - 1) * self.strides[i] + (self.kernel[i] - 1) * self.dilations[i] + 1
    }

    /// Where each window begins, in values with channels last; `space` has its pads.
    fn starts(&self, space: &[usize], channels: usize) -> Vec<usize> {
        grid(&self.out, &self.strides, space, channels)
    }

    /// Where each tap is from there.
    fn offsets(&self, space: &[usize], channels: usize) -> Vec<usize> {
        grid(&self.kernel, &self.dilations, space, channels)
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

/// Places of a grid of `counts` points, `steps` apart along each axis.
fn grid(counts: &[usize], steps: &[usize], space: &[usize], channels: usize) -> Vec<usize> {
    let (own, to) = (super::strides(counts), super::strides(space));
    let at = |i: usize| (0..counts.len()).map(|a| i / own[a] % counts[a] * steps[a] * to[a]).sum::<usize>() * channels;
    (0..counts.iter().product()).map(at).collect()
}
