//! Values with their channels last: how convolutions read and leave them, since a window is then in few pieces.
//!
//! A value [1, C, …] may be in a buffer of its places' rows, C values each. It is brought into the graph's order when
//! somebody reads it who wants that, and not before.

use super::{Known, Lower};
use crate::native::Refusal;
use crate::native::graph::Node;
use crate::native::plan::{Slot, Step};

/// Where the rows of such a value are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turned {
    pub rows: Slot,
    places: usize,
    channels: usize,
    /// Whether it is in the graph's order too.
    pub back: bool,
}

impl Lower<'_> {
    /// Puts the value in the graph's order if it is not yet.
    pub(super) fn turn_back(&mut self, slot: Slot) {
        if let Some(turned) = self.turned.get_mut(&slot)
            && !turned.back
        {
            turned.back = true;
            let Turned { rows, places, channels, .. } = *turned;
            self.steps.push(Step::Turn { x: rows, y: slot, rows: places, n: channels });
        }
    }

    /// The rows of input 0 and its shape, if that is how the value is left.
    pub(super) fn rows_input(&self, node: &Node) -> Option<(Slot, Vec<usize>)> {
        self.rows_of_input(node, 0)
    }

    fn rows_of_input(&self, node: &Node, i: usize) -> Option<(Slot, Vec<usize>)> {
        let Known::Computed { dims, slot } = self.known.get(&node.optional(i)?)? else { return None };
        let turned = self.turned.get(slot)?;
        let fits = dims.first() == Some(&1) && dims.get(1) == Some(&turned.channels);
        fits.then(|| (turned.rows, dims.clone()))
    }

    /// The rows of input 0, made where it is in the graph's order.
    pub(super) fn channels_last(&mut self, node: &Node) -> Result<(Slot, Vec<usize>), Refusal> {
        if let Some(found) = self.rows_input(node) {
            return Ok(found);
        }
        let (dims, x) = self.computed_input(node, 0)?;
        let (channels, places) = (dims.get(1).copied().unwrap_or(1), dims.iter().skip(2).product::<usize>());
        if channels == 1 || places == 1 {
            return Ok((x, dims));
        }
        let rows = self.buffer(channels * places);
        self.steps.push(Step::Turn { x, y: rows, rows: channels, n: places });
        Ok((rows, dims))
    }

    /// A new value [1, C, …] for the node's output, whose rows a step is to leave in the buffer.
    pub(super) fn define_rows(&mut self, node: &Node, dims: Vec<usize>) -> Result<Slot, Refusal> {
        let (channels, places) = (dims[1], dims[2..].iter().product());
        let slot = self.define(node, dims)?;
        if channels == 1 || places == 1 {
            return Ok(slot);
        }
        let rows = self.buffer(channels * places);
        self.turned.insert(slot, Turned { rows, places, channels, back: false });
        Ok(rows)
    }

    /// A transposition that only names the other order. False where it is another one.
    pub(super) fn turn(&mut self, node: &Node) -> Result<bool, Refusal> {
        let Some(Known::Computed { dims, slot }) = node.optional(0).and_then(|value| self.known.get(&value)) else {
            return Ok(false);
        };
        let (dims, slot) = (dims.clone(), *slot);
        let Some(order) = node.ints("perm").filter(|order| order.len() == dims.len()) else { return Ok(false) };
        let order: Option<Vec<usize>> =
            order.iter().map(|&a| usize::try_from(a).ok().filter(|&a| a < dims.len())).collect();
        let Some(order) = order else { return Ok(false) };
        let out: Vec<usize> = order.iter().map(|&a| dims[a]).collect();
        let wide = |axes: &mut dyn Iterator<Item = usize>| axes.filter(|&a| dims[a] != 1).collect::<Vec<_>>();
        let (was, is) = (wide(&mut (0..dims.len())), wide(&mut order.iter().copied()));
        if was.len() < 2 || dims.contains(&0) {
            return Ok(false);
        }
        if let Some(turned) = self.turned.get(&slot).copied()
            && dims[was[0]] == turned.channels
            && is[..is.len() - 1] == was[1..]
        {
            self.shared.insert(turned.rows);
            self.known.insert(node.output()?, Known::Computed { dims: out, slot: turned.rows });
            return Ok(true);
        }
        // Channels first, for what is probably a convolution: rows are there already.
        if is[1..] == was[..was.len() - 1] && out[0] == 1 && out.get(1) == Some(&dims[is[0]]) {
            let (_, rows) = self.computed_input(node, 0)?;
            let (channels, places) = (out[1], out[2..].iter().product());
            let slot = self.define(node, out)?;
            self.shared.insert(rows);
            self.turned.insert(slot, Turned { rows, places, channels, back: false });
            return Ok(true);
        }
        Ok(false)
    }

    /// Rows of several values side by side. False where one of them is not left as rows.
    pub(super) fn concat_rows(&mut self, node: &Node, out: &[usize]) -> Result<bool, Refusal> {
        let pieces: Option<Vec<_>> = (0..node.inputs.len()).map(|i| self.rows_of_input(node, i)).collect();
        let Some(pieces) = pieces else { return Ok(false) };
        let places: usize = out[2..].iter().product();
        let y = self.define_rows(node, out.to_vec())?;
        let mut at = 0;
        for (x, dims) in pieces {
            let n = dims[1];
            let runs = (0..places).map(|place| [place * n, place * out[1] + at, n]).collect();
            self.steps.push(Step::Copy { x, y, runs });
            at += n;
        }
        Ok(true)
    }
}
