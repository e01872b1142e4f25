//! Step 1, poll: the next record of the tick ring, or nothing, or an exact loss.

use pillion_shm::{Poll, RingReader};

/// Words of the largest record (MBP-10, 368 bytes).
pub const MAX_RECORD_WORDS: usize = 46;

/// The tick ring's reader and the record it read last.
pub(crate) struct Poller {
    reader: RingReader,
    words: usize,
    record: [u64; MAX_RECORD_WORDS],
}

impl Poller {
    pub(crate) fn new(reader: RingReader) -> Self {
        let words = reader.record_words().min(MAX_RECORD_WORDS);
        Self { reader, words, record: [0; MAX_RECORD_WORDS] }
    }

    #[inline]
    pub(crate) fn poll(&mut self) -> Poll {
        self.reader.poll(&mut self.record[..self.words])
    }

    /// The record of the last [`Poll::Record`]; words past its own length are the slot's leftovers.
    #[inline]
    pub(crate) fn record(&self) -> &[u64] {
        &self.record[..self.words]
    }

    /// Whether the feed has published more than was read (touches the writer's cache line).
    #[inline]
    pub(crate) fn behind(&self) -> bool {
        self.reader.head() > self.reader.cursor()
    }

    /// Whether the next poll finds something.
    pub(crate) fn pending(&self) -> bool {
        self.reader.pending()
    }

    /// Whether the ring agrees with itself (touches the writer's cache line).
    pub(crate) fn check(&self) -> bool {
        self.reader.check()
    }

    /// Goes on at the next record to be published; returns by how many the cursor moved, wrapping when it went back.
    pub(crate) fn skip_to_next(&mut self) -> u64 {
        let before = self.reader.cursor();
        self.reader.skip_to_next();
        self.reader.cursor().wrapping_sub(before)
    }

    /// Goes over to another generation's ring and leaves the old reader in its place.
    pub(crate) fn switch(&mut self, reader: &mut RingReader) {
        std::mem::swap(&mut self.reader, reader);
        self.words = self.reader.record_words().min(MAX_RECORD_WORDS);
    }

    /// `ring_seq` of the next record.
    pub(crate) fn cursor(&self) -> u64 {
        self.reader.cursor()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.reader.generation()
    }
}
