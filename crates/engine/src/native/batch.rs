//! Several instruments in one run, where the graph keeps its rows apart.
#![forbid(unsafe_code)]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::graph::Graph;
use super::memory::Memory;
use super::plan::{Plan, Step};
use super::portable::Portable;
use super::simd::Simd;
use super::{Weights, lower};
use crate::Shape;
use crate::seats::Seats;

/// Most instruments of one run: as many rows share each weight that is read as registers allow, and buffers stay small.
const MOST: usize = 16;

/// A plan for several instruments.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    plan: Plan,
    /// Instruments it has buffers for.
    pub most: usize,
    /// Values of a row, and of an answer.
    inputs: usize,
    outputs: usize,
}

impl Batch {
    /// For up to `most` instruments, if the graph takes an open number of rows and each is answered as it is alone: rows of
    /// a window and states are not batched. `one` is the plan for one.
    pub fn new(graph: &Graph, shape: &Shape, weights: Weights, most: usize, one: &Plan) -> Option<Self> {
        let most = most.min(MOST);
        if most < 2 || shape.rows > 1 || !shape.states.is_empty() {
            return None;
        }
        let plan = lower::lower(graph, shape, weights, most).ok()?;
        let mut batch = Self { plan, most, inputs: shape.features, outputs: shape.values };
        batch.keeps_apart(shape, one).then_some(batch)
    }

    /// Whether rows made up from a seed get the answers that they get alone, whoever is beside them: rows like them, rows
    /// far outside, or NaN; and in a run that is not full. A graph may well mix its rows.
    fn keeps_apart(&mut self, shape: &Shape, one: &Plan) -> bool {
        let (mut rng, mut one) = (Pcg64::seed_from_u64(16), one.clone());
        let mut seats = Seats::new(shape, 0);
        seats.seat(self.most);
        let all: Vec<usize> = (0..self.most).collect();
        let (mut together, mut alone) = (vec![0.0; self.most * self.outputs], vec![0.0; self.outputs]);
        // What the others are multiplied by, the seat that is looked at, and how many run.
        let last = self.most - 1;
        for (others, own, many) in
            [(1.0, 0, self.most), (f32::NAN, 0, self.most), (1e3, last, self.most), (1.0, 0, last)]
        {
            for &seat in &all {
                let factor = if seat == own { 1.0 } else { others };
                let row: Vec<f32> = (0..self.inputs).map(|_| rng.random_range(-2.0..2.0) * factor).collect();
                if seats.take(seat, &row).is_err() {
                    return false;
                }
            }
            self.run(Portable, &seats, &all[..many], &mut together[..many * self.outputs]);
            for (seat, together) in together.chunks_exact(self.outputs).enumerate().take(many) {
                if others != 1.0 && seat != own {
                    continue;
                }
                one.run(Portable, &mut seats, seat, None, &mut alone);
                if !together.iter().zip(&alone).all(|(&a, &b)| near(a, b)) {
                    return false;
                }
            }
        }
        true
    }

    /// Runs for these seats, at most `most`.
    #[inline(always)]
    pub fn run<S: Simd>(&mut self, s: S, seats: &Seats, of: &[usize], outputs: &mut [f32]) {
        let Plan { steps, buffers, input, outputs: results, .. } = &mut self.plan;
        let rows = buffers[*input].values_mut().chunks_exact_mut(self.inputs);
        rows.zip(of).for_each(|(row, &seat)| row.copy_from_slice(seats.window(seat)));
        let mut memory = Memory::of(buffers);
        for step in steps.iter_mut() {
            // What costs is done for those that are here; the rest of the other steps' buffers is nobody's.
            if let Step::Dense { rows, .. } = step
                && rows.alike
            {
                rows.rows = of.len();
            }
            step.run(s, &mut memory);
        }
        let mut at = 0;
        for &(slot, all) in results.iter() {
            let len = all / self.most;
            let values = memory.values(slot)[..all].chunks_exact(len);
            for (output, values) in outputs.chunks_exact_mut(self.outputs).zip(values) {
                output[at..at + len].copy_from_slice(values);
            }
            at += len;
        }
    }
}

/// Whether two answers are the same but for rounding.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 + 1e-4 * b.abs() || a == b || (a.is_nan() && b.is_nan())
}
