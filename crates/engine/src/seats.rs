//! What an engine keeps for each instrument: the rows of its window, one behind the other at any time, and its states.
#![forbid(unsafe_code)]

use super::{EngineError, Shape, check_length};

/// All seats of an engine.
#[derive(Clone, Debug)]
pub struct Seats {
    features: usize,
    rows: usize,
    warmup: usize,
    states: usize,
    seats: Vec<Seat>,
}

#[derive(Clone, Debug)]
struct Seat {
    /// A ring of `rows` rows, followed by itself: whichever row is the oldest, the window is one slice.
    rows: Box<[f32]>,
    /// Place of the oldest row, which the next one replaces.
    oldest: usize,
    taken: usize,
    states: Box<[f32]>,
}

impl Seats {
    /// One seat. `states`: values of all states together.
    pub fn new(shape: &Shape, states: usize) -> Self {
        let mut seats =
            Self { features: shape.features, rows: shape.rows, warmup: shape.warmup, states, seats: Vec::new() };
        seats.seat(1);
        seats
    }

    /// Makes seats anew.
    pub fn seat(&mut self, instruments: usize) {
        let copies = if self.rows == 1 { 1 } else { 2 };
        let seat = Seat {
            rows: vec![0.0; self.features * self.rows * copies].into(),
            oldest: 0,
            taken: 0,
            states: vec![0.0; self.states].into(),
        };
        self.seats = vec![seat; instruments.max(1)];
    }

    /// The newest row: two copies of it are written, however long the window.
    #[inline]
    pub fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        check_length("input", self.features, row.len())?;
        let (n, seat) = (self.features, &mut self.seats[seat]);
        seat.rows[seat.oldest * n..][..n].copy_from_slice(row);
        if self.rows > 1 {
            seat.rows[(seat.oldest + self.rows) * n..][..n].copy_from_slice(row);
            seat.oldest = if seat.oldest + 1 == self.rows { 0 } else { seat.oldest + 1 };
        }
        seat.taken = seat.taken.saturating_add(1);
        Ok(())
    }

    /// The window, oldest row first.
    #[inline]
    pub fn window(&self, seat: usize) -> &[f32] {
        let seat = &self.seats[seat];
        &seat.rows[seat.oldest * self.features..][..self.rows * self.features]
    }

    /// Values of a row.
    #[inline]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The first `len` values of the window become the states from `at` on.
    #[inline]
    pub fn carry_window(&mut self, seat: usize, at: usize, len: usize) {
        let seat = &mut self.seats[seat];
        seat.states[at..at + len].copy_from_slice(&seat.rows[seat.oldest * self.features..][..len]);
    }

    /// All states, one behind the other.
    #[inline]
    pub fn states(&self, seat: usize) -> &[f32] {
        &self.seats[seat].states
    }

    #[inline]
    /// The seat's states, to be written.
    pub fn states_mut(&mut self, seat: usize) -> &mut [f32] {
        &mut self.seats[seat].states
    }

    /// The seat's rows and states read 0 again.
    pub fn reset(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        seat.rows.fill(0.0);
        seat.states.fill(0.0);
        (seat.oldest, seat.taken) = (0, 0);
    }

    /// Rows taken since the reset.
    pub fn taken(&self, seat: usize) -> usize {
        self.seats[seat].taken
    }

    /// True once the seat has taken its warm-up's rows since the reset.
    pub fn filled(&self, seat: usize) -> bool {
        self.taken(seat) >= self.warmup
    }
}

#[cfg(test)]
mod tests {
    use super::{Seats, Shape};

    #[test]
    fn a_window_is_the_latest_rows_in_order_and_a_reset_forgets_them() {
        let mut seats = Seats::new(&Shape::vector("x", 2, "y", 1).window(3), 1);
        seats.seat(2);
        let mut naive = vec![[0.0; 2]; 3];
        for i in 1..20_u8 {
            let row = [f32::from(i), -f32::from(i)];
            seats.take(1, &row).unwrap();
            naive.remove(0);
            naive.push(row);
            assert_eq!(seats.window(1), naive.concat());
            assert_eq!(seats.filled(1), i >= 3);
        }
        assert!(seats.window(0).iter().all(|&x| x == 0.0) && !seats.filled(0));
        seats.states_mut(1)[0] = 1.0;
        seats.reset(1);
        assert!(seats.window(1).iter().chain(seats.states(1)).all(|&x| x == 0.0) && !seats.filled(1));
        assert!(seats.take(1, &[1.0]).is_err());
    }
}
