//! Which of many rows become golden: evenly spread, each with a finite answer.

use std::collections::VecDeque;

use crate::engine::Shape;

/// Most of them.
const MOST: usize = 64;

/// Chosen as rows pass by.
pub(super) struct Golden {
    /// Rows of one.
    rows: usize,
    state: bool,
    /// Rows between two.
    step: u64,
    /// The row from which on the next is looked for.
    next: u64,
    middle: u64,
    /// The latest rows of each seat, where more than one is needed.
    windows: Vec<VecDeque<Vec<f32>>>,
    stretch: Stretch,
    found: Vec<Vec<f32>>,
    /// Nothing more is looked for.
    settled: bool,
}

/// Rows of one seat behind each other: the steps of a state model.
#[derive(Default)]
struct Stretch {
    seat: Option<usize>,
    from: u64,
    steps: Vec<Vec<f32>>,
}

impl Golden {
    pub(super) fn new(shape: &Shape, rows: u64, seats: usize) -> Self {
        Self {
            rows: shape.rows,
            state: !shape.states.is_empty(),
            step: rows.div_ceil(MOST as u64).max(1),
            next: 0,
            middle: rows / 2,
            windows: if shape.rows > 1 { vec![VecDeque::new(); seats] } else { Vec::new() },
            stretch: Stretch::default(),
            found: Vec::new(),
            settled: false,
        }
    }

    /// The seat's window or state has begun anew.
    pub(super) fn reset(&mut self, seat: usize) {
        if let Some(window) = self.windows.get_mut(seat) {
            window.clear();
        }
        if self.stretch.seat == Some(seat) {
            self.stretch = Stretch::default();
        }
    }

    /// A row has passed; `fit`: what it looks back on is whole, and the answer is finite.
    pub(super) fn see(&mut self, number: u64, seat: usize, row: &[f32], fit: bool) {
        if self.state {
            return self.step_of_state(number, seat, row, fit);
        }
        if let Some(window) = self.windows.get_mut(seat) {
            window.push_back(row.to_vec());
            if window.len() > self.rows {
                window.pop_front();
            }
        }
        if number < self.next || !fit || self.found.len() == MOST {
            return;
        }
        let rows: Vec<f32> = match self.windows.get(seat) {
            Some(window) => window.iter().flatten().copied().collect(),
            None => row.to_vec(),
        };
        // JSON has no NaN.
        if rows.len() == self.rows * row.len() && rows.iter().all(|value| value.is_finite()) {
            self.found.push(rows);
            self.next = (number / self.step + 1) * self.step;
        }
    }

    /// The first whole stretch from the middle on, or else the last one before.
    fn step_of_state(&mut self, number: u64, seat: usize, row: &[f32], fit: bool) {
        let stretch = &mut self.stretch;
        if self.settled || stretch.seat.is_some_and(|other| other != seat) {
            return;
        }
        if !fit || !row.iter().all(|value| value.is_finite()) {
            *stretch = Stretch::default();
            return;
        }
        if stretch.seat.is_none() {
            (stretch.seat, stretch.from) = (Some(seat), number);
        }
        stretch.steps.push(row.to_vec());
        if stretch.steps.len() == MOST {
            let Stretch { from, steps, .. } = std::mem::take(stretch);
            (self.found, self.settled) = (steps, from >= self.middle);
        }
    }

    pub(super) fn rows(self) -> Result<Vec<Vec<f32>>, String> {
        let length = if self.state { MOST } else { self.rows };
        if self.found.is_empty() {
            return Err(format!(
                "has no {length} rows of one instrument behind each other in which every feature and the answer are finite"
            ));
        }
        Ok(self.found)
    }
}
