//! Step 6, publish: the signal goes to the ring always, to the board only when a strategy may act on it.

use pillion_shm::BoardWriter;
use pillion_shm::RingWriter;
use pillion_shm::{Signal, signal_flags};

/// Flags of signals that the board does not take.
const OFF_THE_BOARD: u32 = signal_flags::INVALID | signal_flags::HALTED | signal_flags::CATCHING_UP;

/// The lane's signal ring and board.
pub struct Publisher {
    ring: RingWriter,
    board: BoardWriter,
}

impl Publisher {
    /// Takes both regions.
    pub fn new(ring: RingWriter, board: BoardWriter) -> Self {
        Self { ring, board }
    }

    /// Writes a stamped signal. Invalid and halted ones, and those about history, leave the board's last good value in place.
    #[inline]
    pub(crate) fn publish(&mut self, signal: &Signal) {
        // The ring is made for signals: each fits.
        let _ = self.ring.publish_at(signal.words(), signal.signal_ns);
        if signal.flags & OFF_THE_BOARD == 0 {
            self.board.set(signal.instrument, u32::from(signal.model), signal);
        }
    }
}
