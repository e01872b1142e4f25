//! Numbers out of the fuzzer's bytes; zeros once they have run out, so that every input is a whole case.

use pillion_shm::layout::HEADER_BYTES;

/// Bytes not yet used.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes.
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let drawn = if count <= 256 { usize::from(self.byte()) } else { usize::from(self.half()) };
        drawn % count
    }

    /// A word: often one where arithmetic goes wrong, now and then any.
    pub fn word(&mut self) -> u64 {
        let near = i64::from(self.byte() as i8) / 16;
        let base = match self.byte() {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            3 => 1 << 62,
            4 => 1 << 61,
            5 => 1 << 32,
            6 => 1 << 31,
            7 => HEADER_BYTES as u64,
            8 => 128,
            shift @ 9..=72 => 1 << (shift - 9),
            _ => {
                let bytes = self.bytes(8);
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            }
        };
        base.wrapping_add(near as u64)
    }
}
