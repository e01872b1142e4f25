//! Operators that only move values.

use super::elementwise::{broadcast, spread};
use super::reduce::permutation;
use super::{Known, Lower, axis, strides};
use crate::native::Refusal;
use crate::native::graph::{MOST_DIMENSIONS, MOST_VALUES, Node};
use crate::native::plan::{PAD, Step};

impl Lower<'_> {
    /// Another shape of the same values.
    pub(super) fn reshape(&mut self, node: &Node) -> Result<(), Refusal> {
        let dims = self.dims(node, 0)?;
        let out = self.reshaped(node, &dims)?;
        if out.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(dims.iter().product()) {
            return Err(node.refuse(format!("{dims:?} cannot become {out:?}")));
        }
        self.alias(node, Some(out))
    }

    pub(super) fn dims(&self, node: &Node, i: usize) -> Result<Vec<usize>, Refusal> {
        Ok(match self.value(node, i)? {
            Known::Constant(tensor) => tensor.dims.clone(),
            Known::Computed { dims, .. } => dims.clone(),
        })
    }

    fn reshaped(&self, node: &Node, dims: &[usize]) -> Result<Vec<usize>, Refusal> {
        let axes = match self.ints(node, 1)? {
            Some(axes) => Some(axes),
            None => node.ints("axes").or(node.ints("shape")).map(<[i64]>::to_vec),
        };
        match node.op.as_str() {
            "Flatten" => {
                let at = node.int("axis", 1);
                let at = if at == dims.len() as i64 { dims.len() } else { axis(node, at, dims.len())? };
                Ok(vec![dims[..at].iter().product(), dims[at..].iter().product()])
            }
            "Squeeze" => {
                let mut gone = vec![axes.is_none(); dims.len()];
                for a in axes.unwrap_or_default() {
                    let a = axis(node, a, dims.len())?;
                    gone[a] = true;
                    if dims[a] != 1 {
                        return Err(node.refuse(format!("axis {a} of {dims:?} is not 1")));
                    }
                }
                Ok(dims.iter().zip(gone).filter(|(dim, gone)| **dim != 1 || !gone).map(|(dim, _)| *dim).collect())
            }
            "Unsqueeze" => {
                let axes = axes.ok_or_else(|| node.refuse("it names no axes"))?;
                let rank = dims.len() + axes.len();
                if rank > MOST_DIMENSIONS {
                    return Err(node.refuse(format!("{rank} dimensions, {MOST_DIMENSIONS} at most are taken")));
                }
                let mut new = vec![false; rank];
                for a in axes {
                    new[axis(node, a, rank)?] = true;
                }
                let mut old = dims.iter();
                Ok(new.into_iter().map(|new| if new { 1 } else { old.next().copied().unwrap_or(1) }).collect())
            }
            _ => shape(node, dims, &axes.ok_or_else(|| node.refuse("it names no shape"))?),
        }
    }

    /// Values picked by an index table that is made now.
    pub(super) fn rearrange(&mut self, node: &Node) -> Result<(), Refusal> {
        if node.op == "Transpose" && self.turn(node)? {
            return Ok(());
        }
        let (dims, x) = self.computed_input(node, 0)?;
        let (out, index, pad) = self.picked(node, &dims)?;
        let len = dims.iter().product::<usize>();
        if index.len() == len && index.iter().enumerate().all(|(i, &from)| from as usize == i) {
            // Nothing moves but axes of one.
            return self.alias(node, Some(out));
        }
        if let Some(slot) = self.last_row(x, &index) {
            self.known.insert(node.output()?, Known::Computed { dims: out, slot });
            return Ok(());
        }
        let y = self.define(node, out)?;
        self.steps.push(Step::Gather { x, y, index, pad });
        Ok(())
    }

    /// The output's shape, for each of its values the index in x, and what [`PAD`] stands for.
    pub(super) fn picked(&self, node: &Node, dims: &[usize]) -> Result<(Vec<usize>, Vec<u32>, f32), Refusal> {
        if dims.contains(&0) {
            return Err(node.refuse("input 0 has no values"));
        }
        match node.op.as_str() {
            "Transpose" => {
                let order: Vec<usize> = match node.ints("perm") {
                    None => (0..dims.len()).rev().collect(),
                    Some(perm) => perm.iter().map(|&a| axis(node, a, dims.len())).collect::<Result<_, _>>()?,
                };
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if sorted != (0..dims.len()).collect::<Vec<_>>() {
                    return Err(node.refuse(format!("{order:?} is no order of {} axes", dims.len())));
                }
                Ok((order.iter().map(|&a| dims[a]).collect(), permutation(dims, &order), 0.0))
            }
            "Expand" => {
                let to = self.ints(node, 1)?.ok_or_else(|| node.refuse("it names no shape"))?;
                let to: Option<Vec<usize>> = to.iter().map(|&d| usize::try_from(d).ok()).collect();
                let to = broadcast(node, dims, &to.ok_or_else(|| node.refuse("its shape makes no sense"))?)?;
                small(node, &to)?;
                let index = spread(dims, &to);
                Ok((to, index, 0.0))
            }
            "Gather" => {
                let picks = match self.value(node, 1)? {
                    Known::Constant(tensor) if tensor.ints().is_some() => tensor.clone(),
                    _ => return Err(node.refuse("its indices are not constant")),
                };
                let at = axis(node, node.int("axis", 0), dims.len())?;
                small(node, &picks.dims)?;
                let rows = picks.ints().unwrap_or_default().iter().map(|&i| axis(node, i, dims[at]));
                let rows: Vec<usize> = rows.collect::<Result<_, _>>()?;
                let out = [&dims[..at], &picks.dims, &dims[at + 1..]].concat();
                small(node, &out)?;
                Ok((out, along(dims, at, &rows), 0.0))
            }
            "Slice" => self.sliced(node, dims),
            "Pad" => self.padded(node, dims),
            "Trilu" => {
                let &[.., rows, columns] = dims else { return Err(node.refuse(format!("{dims:?} is no matrix"))) };
                let k = self.ints(node, 1)?.and_then(|k| k.first().copied()).unwrap_or(0);
                let upper = node.int("upper", 1) != 0;
                let stays = |i: usize| {
                    let across = (i % columns) as i64 - (i / columns % rows) as i64;
                    if upper { across >= k } else { across <= k }
                };
                let index = (0..dims.iter().product()).map(|i| if stays(i) { i as u32 } else { PAD }).collect();
                Ok((dims.to_vec(), index, 0.0))
            }
            _ => {
                let repeats = self.ints(node, 1)?.ok_or_else(|| node.refuse("it names no repeats"))?;
                let mut out = dims.to_vec();
                let mut index: Vec<u32> = (0..dims.iter().product::<usize>() as u32).collect();
                for (a, &times) in repeats.iter().enumerate().take(dims.len()) {
                    let times = usize::try_from(times).map_err(|_| node.refuse("a repeat is negative"))?;
                    let (before, wide) = (out.clone(), out[a].saturating_mul(times));
                    out[a] = wide;
                    small(node, &out)?;
                    let rows: Vec<usize> = (0..times).flat_map(|_| 0..before[a]).collect();
                    index = along(&before, a, &rows).into_iter().map(|i| index[i as usize]).collect();
                }
                Ok((out, index, 0.0))
            }
        }
    }

    fn sliced(&self, node: &Node, dims: &[usize]) -> Result<(Vec<usize>, Vec<u32>, f32), Refusal> {
        let list = |i: usize, name: &str| match self.ints(node, i) {
            Ok(None) => Ok(node.ints(name).map(<[i64]>::to_vec)),
            other => other,
        };
        let missing = || node.refuse("it names no start or end");
        let (starts, ends) = (list(1, "starts")?.ok_or_else(missing)?, list(2, "ends")?.ok_or_else(missing)?);
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(node.refuse("its starts, ends, axes and steps differ in length"));
        }
        if starts.len() > dims.len() {
            return Err(node.refuse("it names an axis twice"));
        }
        let mut out = dims.to_vec();
        let mut index: Vec<u32> = (0..dims.iter().product::<usize>() as u32).collect();
        for (((start, end), a), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let a = axis(node, a, dims.len())?;
            let n = out[a] as i64;
            let bound =
                |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(low, high);
            let rows: Vec<usize> = match step {
                0 => return Err(node.refuse("a step is 0")),
                1.. => (bound(start, 0, n)..bound(end, 0, n)).step_by(step as usize).map(|i| i as usize).collect(),
                _ => {
                    let (from, to) = (bound(start, 0, n - 1), bound(end, -1, n - 1));
                    let back = step.unsigned_abs() as usize;
                    (to + 1..=from).rev().step_by(back).map(|i| i as usize).collect()
                }
            };
            index = along(&out, a, &rows).into_iter().map(|i| index[i as usize]).collect();
            out[a] = rows.len();
        }
        Ok((out, index, 0.0))
    }

    fn padded(&self, node: &Node, dims: &[usize]) -> Result<(Vec<usize>, Vec<u32>, f32), Refusal> {
        let rank = dims.len();
        let pads = match self.ints(node, 1)? {
            Some(pads) => pads,
            None => node.ints("pads").unwrap_or_default().to_vec(),
        };
        let axes = match self.ints(node, 3)? {
            Some(axes) => axes.iter().map(|&a| axis(node, a, rank)).collect::<Result<_, _>>()?,
            None => (0..rank).collect::<Vec<_>>(),
        };
        let value = self.floats(node, 2)?.and_then(|t| t.floats()?.first().copied());
        if pads.len() != 2 * axes.len() || pads.iter().any(|p| !(-1 << 20..1 << 20).contains(p)) {
            return Err(node.refuse("its pads make no sense"));
        }
        // Negative ones cut off.
        let (mut before, mut out) = (vec![0; rank], dims.to_vec());
        for (i, &a) in axes.iter().enumerate() {
            before[a] = pads[i];
            out[a] = usize::try_from(dims[a] as i64 + pads[i] + pads[axes.len() + i])
                .map_err(|_| node.refuse(format!("pads {pads:?} leave nothing of {dims:?}")))?;
        }
        small(node, &out)?;
        let mode = node.text("mode").unwrap_or("constant");
        let source = place(node, mode, dims, &out, &before)?;
        let (own, grid) = (strides(dims), strides(&out));
        let at = |i: usize| {
            let mut index = 0;
            for a in 0..rank {
                index += source((i / grid[a] % out[a]) as i64 - before[a], dims[a])? * own[a];
            }
            Some(index as u32)
        };
        let index = (0..out.iter().product()).map(|i| at(i).unwrap_or(PAD)).collect();
        Ok((out, index, value.unwrap_or_else(|| node.float("value", 0.0))))
    }

    /// Pieces behind each other along an axis.
    pub(super) fn concat(&mut self, node: &Node) -> Result<(), Refusal> {
        let shapes = (0..node.inputs.len()).map(|i| self.dims(node, i)).collect::<Result<Vec<_>, _>>()?;
        let rank = shapes.first().map_or(0, Vec::len);
        let at = axis(node, node.int("axis", 0), rank)?;
        let mut out = shapes[0].clone();
        out[at] = 0;
        for dims in &shapes {
            if dims.len() != rank || (0..rank).any(|a| a != at && dims[a] != out[a]) {
                return Err(node.refuse(format!("{dims:?} does not go with {:?}", shapes[0])));
            }
            out[at] = out[at].saturating_add(dims[at]);
        }
        // Before a constant piece gets its buffer, as often as it is named.
        small(node, &out)?;
        if at == 1 && self.concat_rows(node, &out)? {
            return Ok(());
        }
        let pieces = (0..node.inputs.len()).map(|i| self.computed_input(node, i)).collect::<Result<Vec<_>, _>>()?;
        let outer: usize = out[..at].iter().product();
        let flat = self.define(node, out.clone())?;
        let (mut start, mut y) = (0, flat);
        if outer > 1 {
            // First behind one another, then into their places.
            y = self.buffer(out.iter().product());
        }
        let mut index = vec![0; if outer > 1 { out.iter().product() } else { 0 }];
        let (inner, mut column) = (out[at + 1..].iter().product::<usize>(), 0);
        for (dims, x) in pieces {
            let len: usize = dims.iter().product();
            self.steps.push(Step::Place { x, y, at: start, len });
            if outer > 1 {
                let row = dims[at] * inner;
                for i in 0..len {
                    index[i / row * out[at] * inner + column + i % row] = (start + i) as u32;
                }
                column += row;
            }
            start += len;
        }
        if outer > 1 {
            self.steps.push(Step::Gather { x: y, y: flat, index, pad: 0.0 });
        }
        Ok(())
    }

    /// The reverse of a concatenation.
    pub(super) fn split(&mut self, node: &Node) -> Result<(), Refusal> {
        let (dims, x) = self.computed_input(node, 0)?;
        let at = axis(node, node.int("axis", 0), dims.len())?;
        let parts = match self.ints(node, 1)? {
            Some(parts) => parts,
            None => node.ints("split").map_or_else(|| even(dims[at], node.outputs.len()), <[i64]>::to_vec),
        };
        if parts.iter().any(|&p| p < 0)
            || parts.iter().try_fold(0_i64, |n, &p| n.checked_add(p)) != Some(dims[at] as i64)
            || parts.len() != node.outputs.len()
        {
            return Err(node.refuse(format!("parts of {parts:?} do not make {}", dims[at])));
        }
        let mut first = 0;
        for (output, part) in node.outputs.iter().zip(parts) {
            let rows: Vec<usize> = (first..first + part as usize).collect();
            first += part as usize;
            let Some(output) = output else { continue };
            let mut out = dims.clone();
            out[at] = rows.len();
            let index = along(&dims, at, &rows);
            let y = self.buffer(index.len());
            self.steps.push(Step::Gather { x, y, index, pad: 0.0 });
            self.known.insert(*output, Known::Computed { dims: out, slot: y });
        }
        Ok(())
    }
}

/// `n` in equal parts; the last is the smaller when they do not come out even.
fn even(n: usize, parts: usize) -> Vec<i64> {
    let each = n.div_ceil(parts.max(1));
    (0..parts).map(|i| n.saturating_sub(i * each).min(each) as i64).collect()
}

/// Where a padded value comes from along an axis of `n`, by its place counted from the first of the input's.
type Source = fn(i64, usize) -> Option<usize>;

fn place(node: &Node, mode: &str, dims: &[usize], out: &[usize], before: &[i64]) -> Result<Source, Refusal> {
    let inside = |i: i64, n: usize| usize::try_from(i).ok().filter(|&i| i < n);
    let after = |a: usize| out[a] as i64 - dims[a] as i64 - before[a];
    let widest = |a: usize| before[a].max(after(a));
    let cuts = (0..dims.len()).any(|a| before[a] < 0 || after(a) < 0);
    match mode {
        "constant" => Ok(inside),
        _ if cuts => Err(node.refuse(format!("padding by {mode} that cuts off is not taken"))),
        "edge" => Ok(|i, n| Some(i.clamp(0, n as i64 - 1) as usize)),
        // About the first and the last value, which are not repeated.
        "reflect" if (0..dims.len()).all(|a| widest(a) < dims[a] as i64) => Ok(|i, n| {
            let (last, i) = (n as i64 - 1, i.abs());
            usize::try_from(if i > last { 2 * last - i } else { i }).ok()
        }),
        "wrap" if (0..dims.len()).all(|a| widest(a) <= dims[a] as i64) => {
            Ok(|i, n| Some(i.rem_euclid(n as i64) as usize))
        }
        "reflect" | "wrap" => Err(node.refuse(format!("it pads by more than {mode} of {dims:?} gives"))),
        _ => Err(node.refuse(format!("mode {mode} is not known"))),
    }
}

/// Refuses a shape that is too large; its number of values.
pub(super) fn small(node: &Node, dims: &[usize]) -> Result<usize, Refusal> {
    let count = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST_VALUES);
    count.ok_or_else(|| node.refuse(format!("{dims:?} is too large")))
}

/// For the values of x with only `rows` of axis `at`, the indices in x.
fn along(dims: &[usize], at: usize, rows: &[usize]) -> Vec<u32> {
    if rows.is_empty() {
        return Vec::new();
    }
    let (outer, inner): (usize, usize) = (dims[..at].iter().product(), dims[at + 1..].iter().product());
    let piece = |o: usize, row: usize| (0..inner).map(move |i| ((o * dims[at] + row) * inner + i) as u32);
    (0..outer).flat_map(|o| rows.iter().flat_map(move |&row| piece(o, row))).collect()
}

/// `Reshape`'s rule: 0 keeps a dimension, -1 takes what is left.
fn shape(node: &Node, dims: &[usize], wanted: &[i64]) -> Result<Vec<usize>, Refusal> {
    let zero_is_zero = node.int("allowzero", 0) != 0;
    let senseless = || node.refuse(format!("{dims:?} cannot become {wanted:?}"));
    if wanted.len() > MOST_DIMENSIONS {
        let text = format!("{} dimensions, {MOST_DIMENSIONS} at most are taken", wanted.len());
        return Err(node.refuse(text));
    }
    let mut out = Vec::new();
    for (i, &d) in wanted.iter().enumerate() {
        out.push(match d {
            0 if !zero_is_zero => *dims.get(i).ok_or_else(senseless)?,
            -1 => 0,
            d => usize::try_from(d).map_err(|_| senseless())?,
        });
    }
    if let Some(open) = wanted.iter().position(|&d| d == -1) {
        let mut known = out.iter().enumerate().filter(|(i, _)| *i != open);
        let known = known.try_fold(1_usize, |n, (_, &d)| n.checked_mul(d)).ok_or_else(senseless)?;
        let count: usize = dims.iter().product();
        out[open] = count.checked_div(known).filter(|n| n * known == count).ok_or_else(senseless)?;
    }
    Ok(out)
}
