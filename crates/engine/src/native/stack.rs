//! Steps of recurrent layers, in a run or ahead of it.
#![forbid(unsafe_code)]

use super::memory::{Memory, begin};
use super::plan::{Step, gather};
use super::simd::{Simd, Task};

impl Step {
    /// [`Step::run`] of those that may be done ahead: recurrent ones, and moves of their states.
    #[inline(always)]
    pub fn run_ahead<S: Simd>(&self, s: S, memory: &mut Memory) {
        match self {
            Self::Gather { x, y: target, index, pad } => {
                let mut y = memory.take(*target);
                gather(memory.values(*x), index, *pad, y.values_mut());
                memory.buffers[*target] = y;
            }
            Self::Place { x, y: target, at, len } => {
                let mut y = memory.take(*target);
                y.values_mut()[*at..at + len].copy_from_slice(&memory.values(*x)[..*len]);
                memory.buffers[*target] = y;
            }
            _ => self.recur_apart(s, memory),
        }
    }

    /// Whether [`Step::run_ahead`] takes it.
    pub fn is_light(&self) -> bool {
        matches!(self, Self::Gather { .. } | Self::Place { .. } | Self::Start { .. })
    }

    /// Steps of recurrent layers, as a function of its own.
    #[inline(always)]
    pub fn recur_apart<S: Simd>(&self, s: S, memory: &mut Memory) {
        s.call(Recur { step: self, memory });
    }

    /// Steps of recurrent layers, which write more than one buffer.
    #[inline(always)]
    fn recur<S: Simd>(&self, s: S, memory: &mut Memory) {
        match self {
            Self::Sequence { x, y, gates, h, c, initial, sequence } => {
                let [mut own_gates, mut own_h, mut own_c] = [*gates, *h, *c].map(|slot| memory.take(slot));
                let mut own_y = y.map(|y| memory.take(y)).unwrap_or_default();
                begin(memory, initial[0], own_h.values_mut());
                begin(memory, initial[1], own_c.values_mut());
                let state = [own_h.values_mut(), own_c.values_mut()];
                let zero = initial[0].is_none();
                sequence.run(s, memory.values(*x), &mut own_gates.0, state, zero, own_y.values_mut());
                for (slot, buffer) in [(*gates, own_gates), (*h, own_h), (*c, own_c)] {
                    memory.buffers[slot] = buffer;
                }
                if let Some(y) = y {
                    memory.buffers[*y] = own_y;
                }
            }
            Self::Start { h, gates, layer } => {
                let mut own_gates = memory.take(*gates);
                layer.start(s, h.map(|h| memory.values(h)), &mut own_gates.0);
                memory.buffers[*gates] = own_gates;
            }
            Self::Finish { x, gates, from, to, layer } => {
                let [mut own_gates, mut h, mut c] = [*gates, to[0], to[1]].map(|slot| memory.take(slot));
                if from[0] != Some(to[0]) {
                    begin(memory, from[0], h.values_mut());
                    begin(memory, from[1], c.values_mut());
                }
                layer.step(s, memory.values(*x), &mut own_gates.0, h.values_mut(), c.values_mut());
                for (slot, buffer) in [(*gates, own_gates), (to[0], h), (to[1], c)] {
                    memory.buffers[slot] = buffer;
                }
            }
            _ => {}
        }
    }
}

/// A recurrent layer's step, compiled once for every place that runs it.
struct Recur<'a, 'm> {
    step: &'a Step,
    memory: &'a mut Memory<'m>,
}

impl Task for Recur<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.step.recur(s, self.memory);
    }
}
