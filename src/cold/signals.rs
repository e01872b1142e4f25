//! Reading a lane's signals back and hashing them, so that two runs can be compared byte for byte.

use pillion_shm::Signal;
use pillion_shm::{Poll, RingReader};

const WORDS: usize = size_of::<Signal>() / 8;

/// A reader of the signal ring that hashes what it reads: every signal with its stamps and time-dependent flags zeroed.
pub struct SignalTap {
    reader: RingReader,
    hasher: blake3::Hasher,
    block: Vec<u8>,
    seen: u64,
    lost: u64,
}

impl SignalTap {
    /// Starts at the reader's position.
    pub fn new(reader: RingReader) -> Self {
        Self { reader, hasher: blake3::Hasher::new(), block: Vec::with_capacity(1 << 16), seen: 0, lost: 0 }
    }

    /// Reads what is there now.
    pub fn drain(&mut self) {
        let mut words = [0u64; WORDS];
        loop {
            match self.reader.poll(&mut words) {
                // Corrupt: nothing to be had here until the writer comes round; the run's counts will not add up.
                Poll::Empty | Poll::Corrupt => return,
                Poll::Lost(records) => self.lost += records,
                Poll::Record { .. } => {
                    let signal = Signal::from_words(&words).normalised();
                    self.block.extend_from_slice(bytemuck::bytes_of(&signal));
                    if self.block.len() + size_of::<Signal>() > self.block.capacity() {
                        self.flush();
                    }
                    self.seen += 1;
                }
            }
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.block);
        self.block.clear();
    }

    /// Signals read.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Signals overwritten before they were read; with any, the hash speaks of fewer signals than were published.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// BLAKE3 of the signals read so far, hex.
    pub fn blake3(&mut self) -> String {
        self.flush();
        self.hasher.finalize().to_hex().to_string()
    }
}
