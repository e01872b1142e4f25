//! The yardstick: a broadcast ring of the same slots as ours whose records are copied plainly, without atomics.
//!
//! By the letter of the memory model its reader races with its writer, which is why ours does not do this; it shows what
//! the compiler makes of a copy that it may vectorise. It has no head word and no loss count, so it also shows what those
//! cost.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// `WORDS` counts the record; slots of `WORDS` + 2 words, rounded up to whole lines by the alignment.
#[repr(C, align(64))]
struct Slot<const WORDS: usize> {
    seq: AtomicU64,
    stamp: UnsafeCell<u64>,
    record: UnsafeCell<[u64; WORDS]>,
}

struct Ring<const WORDS: usize> {
    slots: Box<[Slot<WORDS>]>,
}

// SAFETY: not sound in general, see the module's comment; here a lost race is dropped by the second look at `seq`.
unsafe impl<const WORDS: usize> Sync for Ring<WORDS> {}

/// Writing end.
pub struct Writer<const WORDS: usize> {
    ring: Arc<Ring<WORDS>>,
    next: u64,
}

/// Reading end.
pub struct Reader<const WORDS: usize> {
    ring: Arc<Ring<WORDS>>,
    cursor: u64,
}

/// A ring of `capacity` slots, a power of two.
pub fn ring<const WORDS: usize>(capacity: usize) -> (Writer<WORDS>, Reader<WORDS>) {
    assert!(capacity.is_power_of_two());
    let slot = || Slot { seq: AtomicU64::new(0), stamp: UnsafeCell::new(0), record: UnsafeCell::new([0; WORDS]) };
    let ring = Arc::new(Ring { slots: (0..capacity).map(|_| slot()).collect() });
    (Writer { ring: ring.clone(), next: 0 }, Reader { ring, cursor: 0 })
}

impl<const WORDS: usize> Writer<WORDS> {
    /// Publishes the first words of a record.
    #[inline]
    pub fn publish<const N: usize>(&mut self, words: &[u64; N], stamp_ns: u64) {
        const { assert!(N <= WORDS) };
        let slot = &self.ring.slots[self.next as usize & (self.ring.slots.len() - 1)];
        slot.seq.store(2 * self.next + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        // SAFETY: the only writer; readers drop what they copied meanwhile.
        unsafe {
            *slot.stamp.get() = stamp_ns;
            slot.record.get().cast::<[u64; N]>().write(*words);
        }
        slot.seq.store(2 * self.next + 2, Ordering::Release);
        self.next += 1;
    }
}

impl<const WORDS: usize> Reader<WORDS> {
    /// Takes the first words of the next record; false when there is none. Lapped, it goes on at what it finds.
    #[inline]
    pub fn poll<const N: usize>(&mut self, words: &mut [u64; N]) -> bool {
        const { assert!(N <= WORDS) };
        let slot = &self.ring.slots[self.cursor as usize & (self.ring.slots.len() - 1)];
        let seen = slot.seq.load(Ordering::Acquire);
        if seen < 2 * self.cursor + 2 || seen & 1 == 1 {
            return false;
        }
        // SAFETY: initialised memory; a copy torn by the writer is dropped below.
        let stamp = unsafe {
            *words = slot.record.get().cast::<[u64; N]>().read();
            *slot.stamp.get()
        };
        std::hint::black_box(stamp);
        fence(Ordering::Acquire);
        if slot.seq.load(Ordering::Relaxed) != seen {
            return false;
        }
        self.cursor = seen / 2;
        true
    }
}
