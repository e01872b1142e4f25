//! The broadcast ring: one producer that never waits, any number of readers, each with its own cursor.
//!
//! Record n lives in slot n mod capacity. Its number is 2n+1 while it is written and 2n+2 when done. A reader that
//! finds a later number has been lapped: it counts what it lost and goes on at the oldest record left.
//!
//! Orderings are Boehm's seqlock ("Can seqlocks get along with programming language memory models?", 2012), in three
//! named pairs:
//!
//! - **Commit–Look**: the writer's release store of 2n+2 and the reader's load of it followed by an acquire fence. A
//!   reader that sees 2n+2 sees the words of record n, or later ones.
//! - **Mark–Recheck**: the writer's mark 2n+1 followed by a release fence, and the reader's acquire fence followed by
//!   its second load. A reader that copied even one word of a later record sees that record's mark, and drops the copy.
//! - **Head–Head**: release store and acquire load of `head`. Who sees head h finds every record below h in its slot,
//!   or overwritten.
//!
//! A reader believes nothing it finds: a number that no honest writer can have left there is [`Poll::Corrupt`], and
//! arithmetic on foreign numbers wraps or saturates. A ring ends after [`MOST_RECORDS`], some 15,000 years at 20 million
//! records a second.

use crate::crash;
use crate::layout::slot;
use crate::sync::{AtomicU64, Ordering, Site, Words, at, fence, kept};
use std::cell::Cell;
use std::marker::PhantomData;

const SEQ: usize = slot::SEQ / 8;
const RECORD: usize = slot::RECORD / 8;
const OWN: usize = slot::OWN / 8;

/// Records that a ring can number: 2n+2 fits 64 bits.
pub const MOST_RECORDS: u64 = u64::MAX / 2;

/// Where a ring lies in its memory; all in 8-byte words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Index of the head word.
    pub head: usize,
    /// Index of the first slot.
    pub first: usize,
    /// Words from one slot to the next, two more than a record has.
    pub stride: usize,
    /// Number of slots, a power of two.
    pub capacity: u64,
}

impl Shape {
    fn assert_fits(&self, words: usize) {
        assert!(self.capacity.is_power_of_two() && self.stride > OWN, "ring shape {self:?}");
        let slots = self.stride.checked_mul(self.capacity as usize).and_then(|n| n.checked_add(self.first));
        assert!(self.head < self.first && slots.is_some_and(|end| end <= words), "ring {self:?} in {words} words");
    }

    #[inline(always)]
    fn slot<'a>(&self, words: &'a [AtomicU64], n: u64) -> &'a [AtomicU64] {
        let start = self.first + (n & (self.capacity - 1)) as usize * self.stride;
        &words[start..start + self.stride]
    }
}

/// The writing end. `Send`, not `Sync`: one thread at a time owns it.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    shape: Shape,
    next: u64,
    not_sync: PhantomData<Cell<()>>,
}

impl<M: Words> Producer<M> {
    /// Starts an empty ring in `memory`, which is zero and which nobody else writes.
    ///
    /// # Panics
    /// If `shape` does not fit the memory.
    pub fn new(memory: M, shape: Shape) -> Self {
        Self::starting_at(memory, shape, 0)
    }

    /// [`Producer::new`], numbering its records from `next`: a ring that has run for centuries, for tests. The slots hold
    /// what is in the memory, and its readers start at [`From::Next`].
    ///
    /// # Panics
    /// If `shape` does not fit the memory.
    pub fn starting_at(memory: M, shape: Shape, next: u64) -> Self {
        shape.assert_fits(memory.words().len());
        let producer = Self { memory, shape, next, not_sync: PhantomData };
        if next > 0 {
            let words = producer.memory.words();
            // The record before is committed, or readers would find a head that its slot does not bear out.
            shape.slot(words, next - 1)[SEQ].store(2 * next, Ordering::Relaxed);
            words[shape.head].store(next, at(Site::HeadStore, Ordering::Release));
        }
        producer
    }

    /// Publishes `record` with a stamp and returns its number; `None`, and nothing is published, when it is longer than a
    /// slot's record. Never waits.
    ///
    /// A record shorter than the slot leaves the slot's tail as it was: its own header tells its length.
    #[inline]
    pub fn publish(&mut self, record: &[u64], stamp_ns: u64) -> Option<u64> {
        let n = self.next;
        let words = self.memory.words();
        let slot = self.shape.slot(words, n);
        let (stamp, words_before) = slot.split_last().expect("a slot has more than one word");
        let target = words_before.get(RECORD..RECORD + record.len())?;
        if kept(Site::Mark) {
            // Mark–Recheck, first half: the fence keeps every word below behind this mark.
            slot[SEQ].store(2 * n + 1, Ordering::Relaxed);
            crash::point("ring: mark");
        }
        fence(Site::MarkFence, Ordering::Release);
        for (word, value) in target.iter().zip(record) {
            word.store(*value, Ordering::Relaxed);
            crash::point("ring: word");
        }
        stamp.store(stamp_ns, Ordering::Relaxed);
        crash::point("ring: stamp");
        // Commit–Look, first half: whoever sees 2n+2 sees the words above.
        slot[SEQ].store(2 * n + 2, at(Site::Commit, Ordering::Release));
        crash::point("ring: commit");
        self.next = n + 1;
        // Head–Head, first half: whoever sees n+1 sees record n committed.
        words[self.shape.head].store(n + 1, at(Site::HeadStore, Ordering::Release));
        crash::point("ring: head");
        Some(n)
    }

    /// Records published so far: the number of the next one.
    #[inline]
    pub fn published(&self) -> u64 {
        self.next
    }

    /// Where the ring lies.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The memory it was made on.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> M {
        self.memory
    }
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the next record to be published.
    Next,
    /// At the oldest record still in the ring.
    Oldest,
    /// At the first record ever published: what is overwritten already is reported as lost.
    Start,
}

/// What one poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nothing new.
    Empty,
    /// A whole record is in the buffer.
    Record {
        /// Its number in the ring, from 0.
        ring_seq: u64,
        /// Its publish stamp, ns since the epoch.
        stamp_ns: u64,
    },
    /// So many records were overwritten before they were read. The cursor has moved past them: poll again.
    Lost(u64),
    /// The slot holds a number that no writer of this ring can have left: somebody scribbled over the region. The cursor
    /// stays; the ring heals when its writer comes to this slot again.
    Corrupt,
}

/// What [`Consumer::poll_batch`] found: `lost` records overwritten first, then `records` whole ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Records lost just before `first`.
    pub lost: u64,
    /// Number in the ring of the first record.
    pub first: u64,
    /// Records in the buffer.
    pub records: usize,
    /// The slot behind them is corrupt; see [`Poll::Corrupt`].
    pub corrupt: bool,
}

/// A reading end. `Send`, not `Sync`; its cursor is private, so readers never disturb the writer or each other.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    shape: Shape,
    cursor: u64,
    /// Lapped since the last whole record: the writer outruns this reader, so leave it more room.
    lapped: bool,
    not_sync: PhantomData<Cell<()>>,
}

/// The number of slot that holds record `n`. Wrapping: a cursor may come from a number that somebody scribbled.
#[inline(always)]
fn done(n: u64) -> u64 {
    n.wrapping_mul(2).wrapping_add(2)
}

impl<M: Words> Consumer<M> {
    /// A reader of the ring in `memory`, which it only loads from.
    ///
    /// # Panics
    /// If `shape` does not fit the memory.
    pub fn new(memory: M, shape: Shape, from: From) -> Self {
        shape.assert_fits(memory.words().len());
        let mut reader = Self { memory, shape, cursor: 0, lapped: false, not_sync: PhantomData };
        let head = reader.head();
        reader.cursor = match from {
            From::Next => head.min(MOST_RECORDS),
            From::Oldest => head.min(MOST_RECORDS).saturating_sub(shape.capacity),
            From::Start => 0,
        };
        reader
    }

    /// Takes the next record: copies min(`out.len()`, words of a record) words of it into `out`.
    #[inline]
    pub fn poll(&mut self, out: &mut [u64]) -> Poll {
        match self.take(out) {
            Ok(Some(stamp_ns)) => {
                let ring_seq = self.cursor;
                self.cursor += 1;
                self.lapped = false;
                Poll::Record { ring_seq, stamp_ns }
            }
            Ok(None) => Poll::Empty,
            Err(seen) => self.skip(seen).map_or(Poll::Corrupt, Poll::Lost),
        }
    }

    /// Takes records until `stamps` is full, nothing is left, or a loss stands between them.
    ///
    /// Record i lands in `out[i * record_words..]` and its stamp in `stamps[i]`.
    ///
    /// # Panics
    /// If `out` is shorter than `stamps.len()` records.
    #[inline]
    pub fn poll_batch(&mut self, out: &mut [u64], stamps: &mut [u64]) -> Batch {
        let record_words = self.record_words();
        assert!(out.len() >= record_words * stamps.len(), "{} words for {} records", out.len(), stamps.len());
        let mut batch = Batch { lost: 0, first: self.cursor, records: 0, corrupt: false };
        for (record, stamp) in out.chunks_exact_mut(record_words).zip(stamps) {
            match self.take(record) {
                Ok(Some(stamp_ns)) => {
                    *stamp = stamp_ns;
                    self.cursor += 1;
                    self.lapped = false;
                    batch.records += 1;
                }
                Ok(None) => break,
                // A loss in mid-batch is left for the next call, so that it stands before the records it precedes.
                Err(seen) if batch.records == 0 => {
                    let lost = self.skip(seen);
                    batch.corrupt = lost.is_none();
                    batch.lost = lost.unwrap_or(0);
                    batch.first = self.cursor;
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    /// The stamp of the record at the cursor and its words in `out`, nothing yet, or the later number that was seen.
    #[inline(always)]
    fn take(&self, out: &mut [u64]) -> Result<Option<u64>, u64> {
        let slot = self.shape.slot(self.memory.words(), self.cursor);
        let done = done(self.cursor);
        let seen = slot[SEQ].load(Ordering::Relaxed);
        if seen != done {
            return if seen < done { Ok(None) } else { Err(seen) };
        }
        // Commit–Look, second half. A fence and not an acquire load, so that only relaxed loads touch read-only pages.
        fence(Site::LookFence, Ordering::Acquire);
        let last = slot.len() - 1;
        let stamp_ns = slot[last].load(Ordering::Relaxed);
        for (value, word) in out.iter_mut().zip(&slot[RECORD..last]) {
            *value = word.load(Ordering::Relaxed);
        }
        // Mark–Recheck, second half: had a word above come from a later record, the load below would see its mark.
        fence(Site::RecheckFence, Ordering::Acquire);
        if kept(Site::Recheck) {
            let again = slot[SEQ].load(Ordering::Relaxed);
            if again != done {
                return Err(again);
            }
        }
        Ok(Some(stamp_ns))
    }

    /// Moves the cursor to the oldest record left, given the other number seen in its slot; returns how many it passed.
    /// `None` when that number, or the head, cannot be an honest writer's; the cursor stays then.
    ///
    /// Lapped again before one record was read, it gives up half the ring, or it would be lapped for ever.
    #[cold]
    fn skip(&mut self, seen: u64) -> Option<u64> {
        let capacity = self.shape.capacity;
        let keep = if self.lapped { (capacity / 2).max(1) } else { capacity };
        let in_slot = seen.saturating_sub(1) / 2;
        // Who sees the mark of record m sees, past this fence, the head that record m-2 left, or a later one: its store
        // stands before the release fence of m-1, and the mark after it (Commit–Look for a committed number).
        fence(Site::SkipFence, Ordering::Acquire);
        let head = self.head();
        if !self.honest(in_slot, head) {
            return None;
        }
        let resume = (in_slot + 1).saturating_sub(capacity).max(head.saturating_sub(keep)).max(self.cursor + 1);
        let lost = resume - self.cursor;
        self.cursor = resume;
        self.lapped = true;
        Some(lost)
    }

    /// Whether a writer can have put record `in_slot` where the one at the cursor was looked for, with the head at `head`.
    fn honest(&self, in_slot: u64, head: u64) -> bool {
        let later = in_slot > self.cursor && (in_slot - self.cursor).is_multiple_of(self.shape.capacity);
        later && in_slot <= head.saturating_add(1) && self.bears_out(head)
    }

    /// Whether the next poll finds a record or a loss.
    pub fn pending(&self) -> bool {
        let seen = self.shape.slot(self.memory.words(), self.cursor)[SEQ].load(Ordering::Relaxed);
        fence(Site::SkipFence, Ordering::Acquire);
        seen == done(self.cursor) || (seen > done(self.cursor) && self.honest(seen.saturating_sub(1) / 2, self.head()))
    }

    /// Whether the slot of the last record below `head`, loaded with acquire, says that it was committed.
    fn bears_out(&self, head: u64) -> bool {
        // Head–Head: what was seen as published is in its slot, or a later one is.
        let last = |head: u64| self.shape.slot(self.memory.words(), head - 1)[SEQ].load(Ordering::Relaxed);
        head == 0 || (head <= MOST_RECORDS && last(head) >= 2 * head)
    }

    /// Whether the ring agrees with itself and with this reader; for a cold look when nothing has come for long.
    ///
    /// `false` is somebody's scribbling: a head that its slot does not bear out or that is behind the cursor, or a record
    /// that the head promises and the slot at the cursor does not hold.
    pub fn check(&self) -> bool {
        let head = self.head();
        let at_cursor = || self.shape.slot(self.memory.words(), self.cursor)[SEQ].load(Ordering::Relaxed);
        let agrees = head == self.cursor || (head > self.cursor && at_cursor() >= done(self.cursor));
        self.bears_out(head) && (agrees || self.before_head_store(head))
    }

    /// Whether the writer stands, or died, between the commit of the record below the cursor and the store of its head.
    fn before_head_store(&self, head: u64) -> bool {
        head.checked_add(1) == Some(self.cursor) && self.bears_out(self.cursor)
    }

    /// Records published so far, as far as this reader can see.
    #[inline]
    pub fn head(&self) -> u64 {
        // Head–Head, second half.
        self.memory.words()[self.shape.head].load(at(Site::HeadLoad, Ordering::Acquire))
    }

    /// Number of the record that the next poll looks for.
    #[inline]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Gives up what is left, or what a scribbler made of it: goes on at the next record to be published and returns how
    /// many records it passed. Goes nowhere while the head cannot be believed. After a cursor that was led astray it goes
    /// back, and passes none; but not to a record that it has read and whose head is still to come.
    pub fn skip_to_next(&mut self) -> u64 {
        let head = self.head();
        if !self.bears_out(head) || self.before_head_store(head) {
            return 0;
        }
        self.lapped = false;
        head.saturating_sub(std::mem::replace(&mut self.cursor, head))
    }

    /// Words of a record.
    #[inline]
    pub fn record_words(&self) -> usize {
        self.shape.stride - OWN
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.shape.capacity
    }

    /// The memory it reads.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory it reads, to lock it.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }
}
