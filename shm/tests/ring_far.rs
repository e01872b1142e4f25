//! The ring where its numbers are large, against a naive twin, and its readers on memory that anybody may have written.
//!
//! 2^62 and 2^63 are where the slots' numbers, 2n+1 and 2n+2, would first go wrong in signed or doubled arithmetic; the last
//! record of a ring is number 2^63 - 2.
#![cfg(not(loom))]

use pillion_shm::ring::{Consumer, From, MOST_RECORDS, Poll, Producer, Shape};
use pillion_shm::sync::{AtomicU64, Ordering};
use proptest::prelude::*;
use std::sync::Arc;

type Memory = Arc<Vec<AtomicU64>>;

const RECORD_WORDS: usize = 3;

fn shape(capacity: u64) -> Shape {
    Shape { head: 0, first: 1, stride: RECORD_WORDS + 2, capacity }
}

fn memory(capacity: u64) -> Memory {
    Arc::new((0..1 + shape(capacity).stride * capacity as usize).map(|_| AtomicU64::new(0)).collect())
}

fn record(n: u64) -> [u64; RECORD_WORDS] {
    std::array::from_fn(|i| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 * 20))
}

/// What a reader of a ring must see, by counting: records `first..next` were published, the last `capacity` are left.
struct Twin {
    capacity: u64,
    first: u64,
    next: u64,
}

/// A reader with what it must be.
struct Reader {
    ring: Consumer<Memory>,
    cursor: u64,
    lapped: bool,
    read: u64,
    lost: u64,
}

impl Twin {
    fn oldest(&self) -> u64 {
        self.first.max(self.next.saturating_sub(self.capacity))
    }

    /// The next thing for `reader`, who moves on.
    fn poll(&self, reader: &mut Reader) -> Poll {
        if reader.cursor == self.next {
            return Poll::Empty;
        }
        if reader.cursor >= self.oldest() {
            reader.cursor += 1;
            reader.lapped = false;
            reader.read += 1;
            let n = reader.cursor - 1;
            return Poll::Record { ring_seq: n, stamp_ns: !n };
        }
        let keep = if reader.lapped { (self.capacity / 2).max(1) } else { self.capacity };
        let lost = self.next - keep - reader.cursor;
        reader.cursor += lost;
        reader.lapped = true;
        reader.lost += lost;
        Poll::Lost(lost)
    }
}

impl Reader {
    fn new(memory: &Memory, capacity: u64) -> Self {
        let ring = Consumer::new(memory.clone(), shape(capacity), From::Next);
        let cursor = ring.cursor();
        Self { ring, cursor, lapped: false, read: 0, lost: 0 }
    }

    fn poll(&mut self, twin: &Twin) {
        let expected = twin.poll(self);
        let mut words = [0; RECORD_WORDS];
        assert_eq!(self.ring.poll(&mut words), expected);
        if let Poll::Record { ring_seq, .. } = expected {
            assert_eq!(words, record(ring_seq));
        }
        assert_eq!(self.ring.cursor(), self.cursor);
    }

    fn batch(&mut self, twin: &Twin, records: usize) {
        let mut words = vec![0; records * RECORD_WORDS];
        let mut stamps = vec![0; records];
        let before = self.cursor;
        let batch = self.ring.poll_batch(&mut words, &mut stamps);
        assert!(!batch.corrupt);
        if records > 0 && before < twin.oldest() {
            assert_eq!(twin.poll(self), Poll::Lost(batch.lost));
            assert_eq!((batch.records, batch.first), (0, self.cursor));
        } else {
            let expected = (twin.next - before).min(records as u64);
            assert_eq!((batch.lost, batch.first, batch.records as u64), (0, before, expected));
            for (i, n) in (before..before + expected).enumerate() {
                assert_eq!(twin.poll(self), Poll::Record { ring_seq: n, stamp_ns: stamps[i] });
                assert_eq!(words[i * RECORD_WORDS..][..RECORD_WORDS], record(n));
            }
        }
        assert_eq!(self.ring.cursor(), self.cursor);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u64),
    Poll(usize, u32),
    Batch(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..24_u64).prop_map(Step::Publish),
        (0..2_usize, 1..12_u32).prop_map(|(reader, times)| Step::Poll(reader, times)),
        (0..2_usize, 0..9_usize).prop_map(|(reader, records)| Step::Batch(reader, records)),
    ]
}

/// Numbers of records at which something might turn over, the last ones that a ring may hold among them.
fn far() -> impl Strategy<Value = u64> {
    let edges = [1 << 31, 1 << 32, 1 << 61, 1 << 62, (1 << 62) + (1 << 61), MOST_RECORDS - 1_000];
    (prop::sample::select(edges.to_vec()), 0..700_u64).prop_map(|(edge, back)| edge - back)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_far_ring_is_its_naive_twin(start in far(), power in 0..5_u32, steps in prop::collection::vec(step(), 1..40)) {
        let capacity = 1 << power;
        let memory = memory(capacity);
        let mut ring = Producer::starting_at(memory.clone(), shape(capacity), start);
        let mut twin = Twin { capacity, first: start, next: start };
        let mut readers = [Reader::new(&memory, capacity), Reader::new(&memory, capacity)];
        for step in steps {
            match step {
                Step::Publish(records) => for _ in 0..records {
                    assert_eq!(ring.publish(&record(twin.next), !twin.next), Some(twin.next));
                    twin.next += 1;
                }
                Step::Poll(reader, times) => (0..times).for_each(|_| readers[reader].poll(&twin)),
                Step::Batch(reader, records) => readers[reader].batch(&twin, records),
            }
            for reader in &readers {
                assert!(reader.ring.check(), "an honest ring agrees with itself");
                assert_eq!((reader.ring.head(), reader.read + reader.lost), (twin.next, reader.cursor - start));
            }
        }
    }
}

/// The whole way over an edge, one record at a time and with laps, at every alignment of the slots.
#[test]
fn numbers_go_over_every_edge() {
    for edge in [1_u64 << 32, 1 << 61, 1 << 62, MOST_RECORDS - 64] {
        for capacity in [1, 2, 8, 64] {
            let (memory, start) = (memory(capacity), edge - 2 * capacity - 5);
            let mut ring = Producer::starting_at(memory.clone(), shape(capacity), start);
            let mut twin = Twin { capacity, first: start, next: start };
            let (mut follows, mut sleeps) = (Reader::new(&memory, capacity), Reader::new(&memory, capacity));
            let late = Reader::new(&memory, capacity).ring.cursor();
            assert_eq!(late, start);
            while twin.next < (edge + 2 * capacity + 5).min(MOST_RECORDS) {
                ring.publish(&record(twin.next), !twin.next);
                twin.next += 1;
                follows.poll(&twin);
            }
            assert_eq!((follows.read, follows.lost), (twin.next - start, 0));
            while sleeps.cursor < twin.next {
                sleeps.poll(&twin);
            }
            assert_eq!((sleeps.read, sleeps.lost), (capacity, twin.next - start - capacity));
            let mut from_the_first = Consumer::new(memory, shape(capacity), From::Start);
            assert_eq!(from_the_first.poll(&mut [0; RECORD_WORDS]), Poll::Lost(twin.next - capacity));
        }
    }
}

/// A word as a scribbler leaves it: any, or one near a number that the ring might hold.
fn scribbled() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..40_u64,
        (0..64_u32, -3..4_i64).prop_map(|(bit, off)| (1_u64 << bit).wrapping_add_signed(off)),
        (0..40_u64).prop_map(|back| u64::MAX - back),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Scribble(usize, u64),
    Poll,
    Batch(usize),
    Check,
    SkipToNext,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (any::<usize>(), scribbled()).prop_map(|(at, word)| Act::Scribble(at, word)),
        1 => scribbled().prop_map(|word| Act::Scribble(0, word)),
        4 => Just(Act::Poll),
        2 => (0..6_usize).prop_map(Act::Batch),
        1 => Just(Act::Check),
        1 => Just(Act::SkipToNext),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Overflow checks are on in tests: that it comes to its end is half of the assertion.
    #[test]
    fn any_memory_is_read_without_going_back(
        power in 0..4_u32,
        words in prop::collection::vec(scribbled(), 1 + 8 * (RECORD_WORDS + 2)),
        from in prop::sample::select(vec![From::Next, From::Oldest, From::Start]),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let memory = memory(1 << power);
        memory.iter().zip(words).for_each(|(at, word)| at.store(word, Ordering::Relaxed));
        let mut reader = Consumer::new(memory.clone(), shape(1 << power), from);
        for act in acts {
            let cursor = reader.cursor();
            match act {
                Act::Scribble(at, word) => memory[at % memory.len()].store(word, Ordering::Relaxed),
                Act::Poll => {
                    let moved = match reader.poll(&mut [0; RECORD_WORDS]) {
                        Poll::Record { ring_seq, .. } => {
                            assert_eq!(ring_seq, cursor);
                            1
                        }
                        Poll::Lost(lost) => lost,
                        Poll::Empty | Poll::Corrupt => 0,
                    };
                    assert_eq!(cursor.checked_add(moved), Some(reader.cursor()));
                }
                Act::Batch(records) => {
                    let batch = reader.poll_batch(&mut vec![0; records * RECORD_WORDS], &mut vec![0; records]);
                    assert_eq!(cursor.checked_add(batch.lost), Some(batch.first));
                    assert_eq!(batch.first.checked_add(batch.records as u64), Some(reader.cursor()));
                    assert!(!batch.corrupt || batch.records == 0);
                }
                Act::Check => _ = reader.check(),
                Act::SkipToNext => {
                    let passed = reader.skip_to_next();
                    assert!(reader.cursor() <= cursor || reader.cursor() - cursor == passed);
                }
            }
            assert!(reader.cursor() <= MOST_RECORDS + 1, "cursor {}", reader.cursor());
        }
    }

    /// One word of an honest ring is spoiled: its readers may stop or lose records, and say so, but take nothing for a
    /// record that was not published; and once the writer has gone over the slots, all is as it was.
    #[test]
    fn a_spoiled_number_is_flagged_and_heals(start in far(), behind in 0..12_u64, slot in 0..4_u64, word in scribbled()) {
        let (capacity, memory) = (4, memory(4));
        let mut ring = Producer::starting_at(memory.clone(), shape(capacity), start);
        let mut reader = Consumer::new(memory.clone(), shape(capacity), From::Next);
        let mut next = start;
        let mut publish = |records| (0..records).for_each(|_| {
            ring.publish(&record(next), !next);
            next += 1;
        });
        publish(behind);
        let honest = memory[1 + slot as usize * shape(capacity).stride].swap(word, Ordering::Relaxed);
        let mut words = [0; RECORD_WORDS];
        for _ in 0..12 {
            let cursor = reader.cursor();
            match reader.poll(&mut words) {
                // A spoiled number may make an old record pass for the one that is due; nothing in the slot tells.
                Poll::Record { ring_seq, .. } if ring_seq % capacity == slot && word != honest => {}
                Poll::Record { ring_seq, .. } => assert_eq!(words, record(ring_seq)),
                Poll::Lost(lost) => assert!(reader.cursor() == cursor + lost && lost <= behind + capacity),
                Poll::Empty | Poll::Corrupt => break,
            }
        }
        let astray = reader.cursor().saturating_sub(start + behind);
        publish(astray + 3 * capacity);
        let mut seen = 0;
        for _ in 0..200 {
            match reader.poll(&mut words) {
                Poll::Record { ring_seq, .. } => {
                    assert_eq!(words, record(ring_seq));
                    seen += 1;
                }
                Poll::Lost(_) => {}
                other => {
                    assert_eq!(other, Poll::Empty, "it heals when its writer has gone over it");
                    break;
                }
            }
        }
        assert!(seen > 0, "it heals when its writer has gone over it");
    }
}

/// What `Poll::Corrupt` is for, case by case.
#[test]
fn each_contradiction_is_flagged() {
    let capacity = 4;
    let ring = |head: u64| {
        let memory = memory(capacity);
        let mut ring = Producer::starting_at(memory.clone(), shape(capacity), 0);
        (0..head).for_each(|n| _ = ring.publish(&record(n), !n));
        memory
    };
    let slot = |n: u64| 1 + (n % capacity) as usize * shape(capacity).stride;
    let poll =
        |memory: &Memory, from| Consumer::new(memory.clone(), shape(capacity), from).poll(&mut [0; RECORD_WORDS]);
    let spoiled = |head: u64, at: usize, word: u64| {
        let memory = ring(head);
        memory[at].store(word, Ordering::Relaxed);
        memory
    };
    assert!(matches!(poll(&ring(6), From::Oldest), Poll::Record { ring_seq: 2, .. }));
    assert_eq!(poll(&ring(6), From::Start), Poll::Lost(2), "honest laps are no contradiction");
    let done = |n: u64| 2 * n + 2;
    assert_eq!(poll(&spoiled(6, slot(2), done(3)), From::Oldest), Poll::Corrupt, "another slot's record");
    assert_eq!(poll(&spoiled(6, slot(2), done(2) + 1), From::Oldest), Poll::Corrupt, "another slot's mark");
    assert_eq!(poll(&spoiled(6, slot(2), done(10)), From::Oldest), Poll::Corrupt, "a record from past the head");
    assert_eq!(poll(&spoiled(6, slot(2), u64::MAX), From::Oldest), Poll::Corrupt, "the largest number");
    assert_eq!(poll(&spoiled(6, slot(2), 0), From::Oldest), Poll::Empty, "a number that went back looks like none yet");
    let started = |memory: &Memory| Consumer::new(memory.clone(), shape(capacity), From::Start);
    assert!(started(&ring(6)).check() && started(&ring(0)).check());
    assert!(!started(&spoiled(6, 0, 1 << 40)).check(), "a head that its slot does not bear out");
    assert!(!started(&spoiled(6, 0, u64::MAX)).check(), "a head past all records");
    let mut reader = Consumer::new(ring(6), shape(capacity), From::Next);
    assert!(reader.check());
    reader.memory()[0].store(3, Ordering::Relaxed);
    assert!(!reader.check(), "a head behind the reader");
    assert_eq!(reader.skip_to_next(), 0);
    let reader = Consumer::new(spoiled(6, slot(2), 0), shape(capacity), From::Oldest);
    assert!(!reader.check(), "the head promises what the slot does not hold");
}
