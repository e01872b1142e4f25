//! LSTM, GRU and RNN nodes.

use std::sync::Arc;

use super::data::small;
use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::dense::Dense;
use crate::native::graph::Node;
use crate::native::plan::{Slot, Step};
use crate::native::recurrent::{Cell, Layer, Sequence};
use crate::native::tensor::Tensor;

/// Sizes of a node: rows of the window, values of a row, units, directions.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    inputs: usize,
    hidden: usize,
    directions: usize,
}

impl Lower<'_> {
    /// A node with all its directions: over a window as it is, over one row as a step.
    pub(super) fn recurrent(&mut self, node: &Node) -> Result<(), Refusal> {
        let cell = plain(node)?;
        let (dims, x) = self.computed_input(node, 0)?;
        let sizes = self.sizes(node, &dims, cell)?;
        if let Some(lens) = self.ints(node, 4)?
            && lens.iter().any(|&len| len != sizes.rows as i64)
        {
            return Err(node.refuse(format!("sequence_lens {lens:?} of {} rows are not taken", sizes.rows)));
        }
        let mut states = Vec::new();
        let y = self.sequence_buffer(node, sizes)?;
        for direction in 0..sizes.directions {
            let layer = Arc::new(self.layer(node, cell, sizes, direction)?);
            let initial = [self.initial(node, 5, sizes, direction)?, self.initial(node, 6, sizes, direction)?];
            let [gates, h, c] = [
                small(node, &[layer.scratch(sizes.rows)])?,
                sizes.hidden,
                if cell == Cell::Lstm { sizes.hidden } else { 0 },
            ]
            .map(|len| self.buffer(len));
            states.push([h, c]);
            if sizes.rows == 1 {
                self.steps.push(Step::Start { h: initial[0], gates, layer: layer.clone() });
                self.steps.push(Step::Finish { x, gates, from: initial, to: [h, c], layer });
                continue;
            }
            let reverse = direction == 1 || node.text("direction") == Some("reverse");
            let (stride, first) = (sizes.directions * sizes.hidden, direction * sizes.hidden);
            let sequence = Box::new(Sequence { layer, rows: sizes.rows, reverse, stride, first });
            self.steps.push(Step::Sequence { x, y, gates, h, c, initial, sequence });
            if let (Some(y), false, 1) = (y, reverse, sizes.directions) {
                self.last_rows.insert(y, (h, (sizes.rows - 1) * sizes.hidden..sizes.rows * sizes.hidden));
            }
        }
        self.outputs(node, sizes, y, &states)
    }

    /// Where the values are that `index` takes from a sequence, if they are its last row.
    pub(super) fn last_row(&self, x: Slot, index: &[u32]) -> Option<Slot> {
        let (last, range) = self.last_rows.get(&x)?;
        let same = index.len() == range.len() && index.iter().zip(range.clone()).all(|(&i, at)| i as usize == at);
        same.then_some(*last)
    }

    /// A buffer for the sequence, if it has more than a row and somebody reads it.
    fn sequence_buffer(&mut self, node: &Node, sizes: Sizes) -> Result<Option<Slot>, Refusal> {
        let Sizes { rows, hidden, directions, .. } = sizes;
        let read = node.outputs.first().copied().flatten().is_some_and(|y| self.uses.contains_key(&y));
        if !read || rows == 1 {
            return Ok(None);
        }
        let len = small(node, &[rows, directions, hidden])?;
        Ok(Some(self.buffer(len)))
    }

    /// Names the outputs: the sequence, and the last state of each direction.
    fn outputs(
        &mut self,
        node: &Node,
        sizes: Sizes,
        sequence: Option<Slot>,
        states: &[[Slot; 2]],
    ) -> Result<(), Refusal> {
        let Sizes { rows, hidden, directions, .. } = sizes;
        let mut joined = [None; 2];
        for (i, output) in node.outputs.iter().enumerate() {
            let Some(output) = output.filter(|output| self.uses.contains_key(output)) else { continue };
            let (dims, slot) = match (i, sequence) {
                (0, Some(slot)) => (vec![rows, directions, 1, hidden], slot),
                (0..=2, _) => {
                    let which = usize::from(i == 2);
                    let slot = match joined[which] {
                        Some(slot) => slot,
                        None => self.join(states, which, hidden),
                    };
                    joined[which] = Some(slot);
                    (if i == 0 { vec![1, directions, 1, hidden] } else { vec![directions, 1, hidden] }, slot)
                }
                _ => return Err(node.refuse(format!("it has {} outputs", node.outputs.len()))),
            };
            self.known.insert(output, Known::Computed { dims, slot });
        }
        Ok(())
    }

    /// State `which` of all directions, one behind the other.
    fn join(&mut self, states: &[[Slot; 2]], which: usize, hidden: usize) -> Slot {
        if let [state] = states {
            return state[which];
        }
        let y = self.buffer(states.len() * hidden);
        for (i, state) in states.iter().enumerate() {
            self.steps.push(Step::Place { x: state[which], y, at: i * hidden, len: hidden });
        }
        y
    }

    fn sizes(&self, node: &Node, dims: &[usize], cell: Cell) -> Result<Sizes, Refusal> {
        let &[rows, 1, inputs] = dims else {
            return Err(node.refuse(format!("an input of {dims:?}, where [rows, 1, values] is taken")));
        };
        let directions = match node.text("direction").unwrap_or("forward") {
            "forward" | "reverse" => 1,
            "bidirectional" => 2,
            other => return Err(node.refuse(format!("direction {other} is not known"))),
        };
        let gates = cell.gates();
        let weights = self.floats(node, 2)?.ok_or_else(|| node.refuse("it has no weights"))?;
        let &[_, _, hidden] = &weights.dims[..] else {
            return Err(node.refuse(format!("recurrent weights of {:?} make no sense", weights.dims)));
        };
        let sizes = Sizes { rows, inputs, hidden, directions };
        if usize::try_from(node.int("hidden_size", hidden as i64)) != Ok(hidden) || hidden == 0 {
            return Err(
                node.refuse(format!("hidden_size is {}, its weights have {hidden}", node.int("hidden_size", 0)))
            );
        }
        let wide = hidden.checked_mul(2 * gates);
        let wanted = [
            (1, vec![directions, wide.unwrap_or(0) / 2, inputs]),
            (2, vec![directions, wide.unwrap_or(0) / 2, hidden]),
        ];
        for (i, wanted) in wanted.into_iter().chain([(3, vec![directions, wide.unwrap_or(0)])]) {
            match self.floats(node, i)? {
                Some(tensor) if tensor.dims != wanted => {
                    return Err(node.refuse(format!("input {i} is {:?}, {wanted:?} is expected", tensor.dims)));
                }
                None if i != 3 => return Err(node.refuse(format!("input {i} is missing"))),
                _ => {}
            }
        }
        Ok(sizes)
    }

    /// Weights of one direction: the file's gates are i, o, f, c of an LSTM and z, r, h of a GRU.
    fn layer(&self, node: &Node, cell: Cell, sizes: Sizes, direction: usize) -> Result<Layer, Refusal> {
        let Sizes { inputs, hidden: n, .. } = sizes;
        let part = |i: usize, len: usize| -> Result<&[f32], Refusal> {
            let values = self.floats(node, i)?.and_then(Tensor::floats).unwrap_or_default();
            Ok(if values.is_empty() { values } else { &values[direction * len..][..len] })
        };
        let gates = cell.gates();
        let (w, u, b) = (part(1, gates * n * inputs)?, part(2, gates * n * n)?, part(3, 2 * gates * n)?);
        let of_w = |i: usize, o: usize| w[o * inputs + i];
        let of_u = |i: usize, o: usize| u[o * n + i];
        let sum = |o: usize| if b.is_empty() { 0.0 } else { b[o] + b[gates * n + o] };
        // The candidate's own bias is reset with its product.
        let after_reset = |o: usize| cell == Cell::GruAfter && o >= 2 * n && !b.is_empty();
        let bias: Vec<f32> = (0..gates * n).map(|o| if after_reset(o) { b[o] } else { sum(o) }).collect();
        let own = cell.own() * n;
        let own_bias: Vec<f32> = (0..own).map(|o| if after_reset(o) { b[gates * n + o] } else { 0.0 }).collect();
        let form = self.weights;
        let candidate = || Dense::stored(form, n, n, |i, o| of_u(i, 2 * n + o), &[]);
        Ok(Layer {
            cell,
            inputs,
            hidden: n,
            w: Dense::stored(form, inputs, gates * n, of_w, &bias),
            u: Dense::stored(form, n, own, of_u, &own_bias),
            after: (cell == Cell::GruBefore).then(candidate),
            own_bias,
            bounded: !b.is_empty(),
        })
    }

    /// A state's first value: none when it is 0.
    fn initial(&mut self, node: &Node, i: usize, sizes: Sizes, direction: usize) -> Result<Option<Slot>, Refusal> {
        if node.optional(i).is_none() {
            return Ok(None);
        }
        let zero = match self.value(node, i)? {
            Known::Constant(tensor) => tensor.floats().is_some_and(|values| values.iter().all(|&x| x == 0.0)),
            Known::Computed { .. } => false,
        };
        let (dims, slot) = self.computed_input(node, i)?;
        let Sizes { hidden, directions, .. } = sizes;
        if dims != [directions, 1, hidden] {
            return Err(node.refuse(format!("input {i} is {dims:?}, [{directions}, 1, {hidden}] is expected")));
        }
        if zero || directions == 1 {
            return Ok(Some(slot).filter(|_| !zero));
        }
        let y = self.buffer(hidden);
        let index = (direction * hidden..(direction + 1) * hidden).map(|i| i as u32).collect();
        self.steps.push(Step::Gather { x: slot, y, index, pad: 0.0 });
        Ok(Some(y))
    }
}

/// The kind of cell, if the node wants nothing that ONNX Runtime or we do not do.
fn plain(node: &Node) -> Result<Cell, Refusal> {
    if node.int("layout", 0) != 0 {
        return Err(node.refuse("layout 1 is not taken, as ONNX Runtime does not take it"));
    }
    if node.has("clip") {
        return Err(node.refuse("clip is not taken"));
    }
    if node.int("input_forget", 0) != 0 {
        return Err(node.refuse("input_forget is not taken"));
    }
    if node.optional(7).is_some() {
        return Err(node.refuse("peepholes are not taken"));
    }
    let wanted: &[&str] = match node.op.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let given = node.texts("activations");
    let are = |wanted: &[&str]| given.iter().enumerate().all(|(i, f)| f.eq_ignore_ascii_case(wanted[i % wanted.len()]));
    match node.op.as_str() {
        "RNN" if !given.is_empty() && are(&["Relu"]) => Ok(Cell::Relu),
        _ if !are(wanted) => Err(node.refuse(format!("activations {given:?} are not taken, {wanted:?} are"))),
        "LSTM" => Ok(Cell::Lstm),
        "GRU" if node.int("linear_before_reset", 0) != 0 => Ok(Cell::GruAfter),
        "GRU" => Ok(Cell::GruBefore),
        _ => Ok(Cell::Tanh),
    }
}
