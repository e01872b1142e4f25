//! What the steps of a plan work on.
#![forbid(unsafe_code)]

use super::plan::Slot;
use super::tensor::{Block, Buffer, LANES};

/// What steps work on: the buffers, and rows that are read where they lie.
pub(super) struct Memory<'a> {
    pub buffers: &'a mut [Buffer],
    /// The seat's window is what this slot reads.
    pub input: Slot,
    pub window: &'a [f32],
    /// One row of it is what this slot reads.
    pub row: Slot,
    pub newest: &'a [f32],
}

impl<'a> Memory<'a> {
    /// Buffers alone.
    pub fn of(buffers: &'a mut [Buffer]) -> Self {
        Self { buffers, input: Slot::MAX, window: &[], row: Slot::MAX, newest: &[] }
    }

    #[inline(always)]
    pub fn values(&self, slot: Slot) -> &[f32] {
        match slot {
            slot if slot == self.input => self.window,
            slot if slot == self.row => self.newest,
            slot => self.buffers[slot].values(),
        }
    }

    /// Whole blocks for `len` values: those of the window are a copy.
    #[inline(always)]
    pub fn blocks(&self, slot: Slot, len: usize) -> &[Block] {
        &self.buffers[slot].0[..len.div_ceil(LANES)]
    }

    /// A buffer is a step's own while it is written: no step reads what it writes.
    #[inline(always)]
    pub fn take(&mut self, slot: Slot) -> Buffer {
        std::mem::take(&mut self.buffers[slot])
    }
}

/// A state's first value.
#[inline(always)]
pub(super) fn begin(memory: &Memory, from: Option<Slot>, to: &mut [f32]) {
    match from {
        Some(from) => {
            let from = memory.values(from);
            let len = from.len().min(to.len());
            to[..len].copy_from_slice(&from[..len]);
        }
        None => to.fill(0.0),
    }
}
