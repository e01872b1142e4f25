//! Reading a lane's signals back: hashing them, so that two runs can be compared byte for byte, and noting when each came.

use pillion_shm::Signal;
use pillion_shm::{Clock, Poll, RingReader};

const WORDS: usize = size_of::<Signal>() / 8;

/// Signals that wait to be hashed, at most: hashing them all at once takes some 300 us.
const BLOCK_BYTES: usize = 1 << 20;

/// Bytes hashed when there is a little time: some 5 us.
const PIECE_BYTES: usize = 1 << 14;

/// When a signal came, ns on the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Number of its tick in the tick ring.
    pub ring_seq: u64,
    /// Publish stamp of the tick.
    pub tick_ns: u64,
    /// Publish stamp of the signal.
    pub signal_ns: u64,
    /// When the reader had it.
    pub seen_ns: u64,
}

/// A reader of the signal ring that hashes what it reads: every signal with its stamps and time-dependent flags zeroed.
pub struct SignalTap {
    reader: RingReader,
    clock: Clock,
    hasher: blake3::Hasher,
    /// Signals read; those from `hashed` on are still to be hashed.
    block: Vec<u8>,
    hashed: usize,
    seen: Vec<Seen>,
    lost: u64,
}

impl SignalTap {
    /// Starts at the reader's position. Makes room for `expected` signals beforehand, so that noting one asks nobody for memory.
    pub fn new(reader: RingReader, clock: Clock, expected: usize) -> Self {
        // Written to, so that the pages are there; kept within reason where a recording is huge.
        let mut seen = vec![Seen { ring_seq: u64::MAX, ..Seen::default() }; expected.min(1 << 24)];
        seen.clear();
        let block = Vec::with_capacity(BLOCK_BYTES);
        Self { reader, clock, hasher: blake3::Hasher::new(), block, hashed: 0, seen, lost: 0 }
    }

    /// Reads what is there now.
    #[inline]
    pub fn drain(&mut self) {
        let mut words = [0u64; WORDS];
        loop {
            match self.reader.poll(&mut words) {
                // Corrupt: nothing to be had here until the writer comes round; the run's counts will not add up.
                Poll::Empty | Poll::Corrupt => return,
                Poll::Lost(records) => self.lost += records,
                Poll::Record { .. } => self.take(&words),
            }
        }
    }

    fn take(&mut self, words: &[u64; WORDS]) {
        let seen_ns = self.clock.now_ns();
        let signal = Signal::from_words(words);
        let Signal { ring_seq, tick_ns, signal_ns, .. } = signal;
        self.seen.push(Seen { ring_seq, tick_ns, signal_ns, seen_ns });
        if self.block.len() + size_of::<Signal>() > self.block.capacity() {
            self.hash_all();
        }
        self.block.extend_from_slice(bytemuck::bytes_of(&signal.normalised()));
    }

    /// Whether more than half of the room for unhashed signals is taken.
    pub fn is_filling(&self) -> bool {
        self.block.len() > BLOCK_BYTES / 2
    }

    /// Hashes a piece of what has been read, for when there is a little time.
    pub fn hash_some(&mut self) {
        let end = (self.hashed + PIECE_BYTES).min(self.block.len());
        self.hasher.update(&self.block[self.hashed..end]);
        self.hashed = end;
        if end == self.block.len() {
            self.block.clear();
            self.hashed = 0;
        }
    }

    fn hash_all(&mut self) {
        self.hasher.update(&self.block[self.hashed..]);
        self.block.clear();
        self.hashed = 0;
    }

    /// Signals read.
    pub fn seen(&self) -> u64 {
        self.seen.len() as u64
    }

    /// When each came, in ring order.
    pub fn arrivals(&self) -> &[Seen] {
        &self.seen
    }

    /// Signals overwritten before they were read; with any, the hash speaks of fewer signals than were published.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// BLAKE3 of the signals read so far, hex.
    pub fn blake3(&mut self) -> String {
        self.hash_all();
        self.hasher.finalize().to_hex().to_string()
    }
}
