//! What hangs only on rows already seen, done before the next one comes: `precompute`.
//!
//! Of a window that a stack of recurrent layers walks from a fixed state, all rows but the newest of the next run are known
//! when a run ends: the walk over these is done ahead, and h · U + b of the last step. Of a step that carries its state, all
//! that does not hang on the row is: mostly that same product. What is not done when the run comes is done then. Either way
//! the same steps run on the same numbers in the same order.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::memory::{Memory, begin};
use super::plan::{Plan, Slot, Step};
use super::simd::Simd;
use super::tensor::Buffer;
use crate::Shape;
use crate::seats::Seats;

/// Bytes of weights after which a piece ends: about two microseconds from the second cache.
const PIECE_BYTES: usize = 96 << 10;

/// The part of a plan that is done ahead, and how far each seat is with it.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    /// Steps for each row of the walk.
    cycle: Vec<Step>,
    /// Rows of the walk: the window but its newest, or none.
    rows: usize,
    /// States that the walk begins with: buffer, and where its value is from.
    first: Vec<(Slot, Option<Slot>)>,
    /// Steps after the walk.
    last: Vec<Step>,
    /// Buffers that a seat keeps from here to its run.
    slots: Vec<Slot>,
    /// What the walk reads its row by.
    pub row: Slot,
    seats: Vec<Progress>,
    /// Seats with something to do, each once, the one that has waited longest in front.
    queue: VecDeque<usize>,
    /// Runs that came before all was done.
    pub unprepared: u64,
}

#[derive(Clone, Debug)]
struct Progress {
    buffers: Vec<Buffer>,
    /// Steps done.
    done: usize,
    /// Rows that the seat will have taken when the run comes for which this is.
    goal: usize,
    /// It has run since its reset.
    ran: bool,
    queued: bool,
}

impl Ahead {
    /// Takes what can be done ahead out of a plan; none where the plan has no such part.
    pub fn split(plan: &mut Plan, shape: &Shape) -> Option<Self> {
        let (cycle, first, rows, last) = if plan.carried.is_empty() {
            let (cycle, first, rows) = walk(plan, shape)?;
            let starts = cycle.iter().filter(|step| matches!(step, Step::Start { .. })).cloned().collect();
            (cycle, first, rows, starts)
        } else {
            (Vec::new(), Vec::new(), 0, without_row(plan)?)
        };
        let mut slots = Vec::new();
        for step in cycle.iter().chain(&last) {
            step.writes(|slot| slots.push(slot));
        }
        slots.sort_unstable();
        slots.dedup();
        let row = plan.buffers.len();
        let mut ahead =
            Self { cycle, rows, first, last, slots, row, seats: Vec::new(), queue: VecDeque::new(), unprepared: 0 };
        ahead.seat(plan, 1);
        Some(ahead)
    }

    /// Makes seats anew.
    pub fn seat(&mut self, plan: &Plan, instruments: usize) {
        let buffers = self.slots.iter().map(|&slot| plan.buffers[slot].clone()).collect();
        let progress = Progress { buffers, done: 0, goal: 0, ran: false, queued: false };
        self.seats = vec![progress; instruments.max(1)];
        self.queue = VecDeque::with_capacity(self.seats.len());
        // Runs that an engine was tried with are nobody's.
        self.unprepared = 0;
    }

    /// Drops what was prepared.
    pub fn reset(&mut self, seat: usize) {
        let progress = &mut self.seats[seat];
        (progress.done, progress.goal, progress.ran) = (0, 0, false);
    }

    fn steps(&self) -> usize {
        self.rows * self.cycle.len() + self.last.len()
    }

    /// The run has come: the rest is done now. The seat's buffers are in the plan until [`Ahead::ran`].
    #[inline(always)]
    pub fn finish<S: Simd>(&mut self, s: S, plan: &mut Plan, seats: &Seats, seat: usize) {
        let (taken, steps) = (seats.taken(seat), self.steps());
        let progress = &mut self.seats[seat];
        if self.rows > 0 && progress.goal != taken {
            (progress.done, progress.goal) = (0, taken);
        }
        self.unprepared += u64::from(progress.done < steps);
        self.swap(plan, seat);
        while self.seats[seat].done < steps {
            self.step(s, plan, seats, seat);
        }
    }

    /// The run is over: the next can be prepared.
    #[inline(always)]
    pub fn ran(&mut self, plan: &mut Plan, seats: &Seats, seat: usize) {
        self.swap(plan, seat);
        let progress = &mut self.seats[seat];
        (progress.done, progress.goal, progress.ran) = (0, seats.taken(seat).saturating_add(1), true);
        if !progress.queued {
            progress.queued = true;
            self.queue.push_back(seat);
        }
    }

    /// One piece for the seat that has waited longest; false when nothing is left.
    #[inline(always)]
    pub fn prepare<S: Simd>(&mut self, s: S, plan: &mut Plan, seats: &Seats) -> bool {
        let steps = self.steps();
        while let Some(&seat) = self.queue.front() {
            let progress = &mut self.seats[seat];
            if self.rows > 0 && progress.goal < seats.taken(seat) {
                // More rows came than one, and the run is put off.
                (progress.done, progress.goal) = (0, seats.taken(seat));
            }
            if progress.ran && progress.done < steps {
                plan.read_states(seats, seat);
                self.swap(plan, seat);
                let mut bytes = 0;
                while bytes < PIECE_BYTES && self.seats[seat].done < steps {
                    bytes += self.step(s, plan, seats, seat);
                }
                self.swap(plan, seat);
                return true;
            }
            progress.queued = false;
            self.queue.pop_front();
        }
        false
    }

    fn swap(&mut self, plan: &mut Plan, seat: usize) {
        for (&slot, own) in self.slots.iter().zip(&mut self.seats[seat].buffers) {
            std::mem::swap(&mut plan.buffers[slot], own);
        }
    }

    /// The next step of a seat whose buffers are in the plan; about how many bytes of weights it reads.
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S, plan: &mut Plan, seats: &Seats, seat: usize) -> usize {
        let progress = &mut self.seats[seat];
        let (done, walk) = (progress.done, self.rows * self.cycle.len());
        progress.done += 1;
        let (window, width) = (seats.window(seat), seats.features());
        let (step, at) = match done.checked_sub(walk) {
            Some(place) => (&self.last[place], 0),
            // The window has moved on by a row if that of the run has been taken.
            None => {
                let gone = progress.goal.saturating_sub(seats.taken(seat));
                (&self.cycle[done % self.cycle.len()], done / self.cycle.len() + gone)
            }
        };
        let newest = &window[at * width..][..width];
        let mut memory = Memory { buffers: &mut plan.buffers, input: plan.input, window, row: self.row, newest };
        if done == 0 {
            for &(to, from) in &self.first {
                let mut buffer = std::mem::take(&mut memory.buffers[to]);
                begin(&memory, from, buffer.values_mut());
                memory.buffers[to] = buffer;
            }
        }
        step.run_ahead(s, &mut memory);
        match step {
            Step::Start { layer, .. } | Step::Finish { layer, .. } => layer.bytes() / 2,
            _ => 1 << 10,
        }
    }
}

/// The steps of a model with states that do not hang on the row, if a product with weights is among them.
fn without_row(plan: &mut Plan) -> Option<Vec<Step>> {
    let mut hang = vec![false; plan.buffers.len()];
    hang[plan.input] = true;
    let ahead = |step: &Step| {
        let mut hangs = !step.is_light();
        step.reads(|slot, _| hangs |= hang[slot]);
        if hangs {
            step.writes(|slot| hang[slot] = true);
        }
        !hangs
    };
    let marks: Vec<bool> = plan.steps.iter().map(ahead).collect();
    let worth = |(step, &ahead): (&Step, &bool)| ahead && matches!(step, Step::Start { h: Some(_), .. });
    if !plan.steps.iter().zip(&marks).any(worth) {
        return None;
    }
    let steps = std::mem::take(&mut plan.steps).into_iter().zip(marks);
    let (early, late): (Vec<_>, Vec<_>) = steps.partition(|(_, ahead)| *ahead);
    plan.steps = late.into_iter().map(|(step, _)| step).collect();
    Some(early.into_iter().map(|(step, _)| step).collect())
}

/// Steps for a row, the states they begin with, and rows of the walk.
type Walk = (Vec<Step>, Vec<(Slot, Option<Slot>)>, usize);

/// A plan that begins with recurrent layers over the window, each read by the next alone and the last by its last row: they
/// become steps.
fn walk(plan: &mut Plan, shape: &Shape) -> Option<Walk> {
    let count = plan.steps.iter().take_while(|step| matches!(step, Step::Sequence { .. })).count();
    let mut readers = vec![0; plan.buffers.len()];
    plan.steps.iter().for_each(|step| step.reads(|slot, _| readers[slot] += 1));
    plan.outputs.iter().for_each(|(slot, _)| readers[*slot] += 1);
    let (mut cycle, mut first, mut finish, mut rows) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let (mut from, mut x) = (plan.input, plan.buffers.len());
    for (i, step) in plan.steps[..count].iter().enumerate() {
        let Step::Sequence { x: read, y, gates, h, c, initial, sequence } = step else { return None };
        let last = i + 1 == count;
        // A first state that is no constant is another layer's.
        let constant = initial.iter().flatten().all(|slot| {
            let mut written = false;
            plan.steps.iter().for_each(|step| step.writes(|other| written |= other == *slot));
            !written && *slot != plan.input
        });
        let read_once = y.map_or(0, |y| readers[y]) == usize::from(!last);
        if *read != from || sequence.reverse || !constant || !read_once || sequence.rows < 2 {
            return None;
        }
        // The graph may deal the window's values out in other rows than come one by one.
        if sequence.rows != shape.rows || (i == 0 && sequence.layer.inputs != shape.features) {
            return None;
        }
        (from, rows) = (y.unwrap_or(Slot::MAX), sequence.rows);
        let (layer, state) = (sequence.layer.clone(), [*h, *c]);
        cycle.push(Step::Start { h: Some(*h), gates: *gates, layer: layer.clone() });
        cycle.push(Step::Finish { x, gates: *gates, from: state.map(Some), to: state, layer: layer.clone() });
        finish.push(Step::Finish { x, gates: *gates, from: state.map(Some), to: state, layer });
        first.extend(state.into_iter().zip(*initial));
        x = *h;
    }
    if count == 0 {
        return None;
    }
    for step in plan.steps.drain(..count) {
        if let Step::Sequence { y, gates, sequence, .. } = step {
            plan.buffers[gates] = Buffer::zeros(sequence.layer.scratch(1));
            y.iter().for_each(|&y| plan.buffers[y] = Buffer::default());
        }
    }
    plan.steps.splice(..0, finish);
    Some((cycle, first, rows - 1))
}
