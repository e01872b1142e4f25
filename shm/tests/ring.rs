//! The ring in one process: against a naive twin, in batches, at its edges.
#![cfg(not(loom))]

mod common;

use common::{WORDS, drain, place, record, spec};
use pillion_shm::{Access, Batch, Error, From, Kind, Lane, Poll, RingReader, RingWriter};
use proptest::prelude::*;
use std::collections::VecDeque;

/// What a ring is, without any cleverness: the last `capacity` records and how many there ever were.
struct Twin {
    kept: VecDeque<(u64, u64, Vec<u64>)>,
    capacity: usize,
    published: u64,
    /// Its one reader was lapped and has read nothing since: it then goes on at the middle.
    lapped: bool,
}

impl Twin {
    fn publish(&mut self, record: &[u64], stamp_ns: u64) {
        if self.kept.len() == self.capacity {
            self.kept.pop_front();
        }
        self.kept.push_back((self.published, stamp_ns, record.to_vec()));
        self.published += 1;
    }

    /// The next record for the reader at `cursor`, or what it lost.
    fn poll(&mut self, cursor: u64) -> (Poll, Vec<u64>) {
        let oldest = self.kept.front().map_or(0, |(n, ..)| *n);
        if cursor < oldest {
            let keep = if self.lapped { (self.capacity / 2).max(1) } else { self.capacity };
            self.lapped = true;
            return (Poll::Lost(self.published - keep as u64 - cursor), Vec::new());
        }
        let Some((n, stamp, words)) = self.kept.iter().find(|(n, ..)| *n == cursor) else {
            return (Poll::Empty, Vec::new());
        };
        self.lapped = false;
        (Poll::Record { ring_seq: *n, stamp_ns: *stamp }, words.clone())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    Poll(usize),
    Batch(usize),
    Attach(From),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..40_usize).prop_map(Step::Publish),
        (1..20_usize).prop_map(Step::Poll),
        (1..12_usize).prop_map(Step::Batch),
        prop_oneof![Just(From::Next), Just(From::Oldest)].prop_map(Step::Attach),
    ]
}

thread_local!(static PLACE: common::Place = place());

proptest! {
    #[test]
    fn ring_is_its_naive_twin(
        power in 0..5_u32,
        record_words in 1..20_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        PLACE.with(|place| against_twin(place, 1 << power, record_words, steps));
    }
}

fn against_twin(place: &common::Place, capacity: u64, record_words: usize, steps: Vec<Step>) {
    let mut spec = spec(capacity);
    spec.record_words = record_words;
    let mut ring = RingWriter::create(&place.lane, Kind::Ticks, &spec, &place.clock, &Access::default()).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    let words = reader.record_words();
    assert!(words >= record_words && (words + 2).is_multiple_of(8));
    let mut twin = Twin { kept: VecDeque::new(), capacity: capacity as usize, published: 0, lapped: false };
    for step in steps {
        match step {
            Step::Publish(count) => (0..count).for_each(|_| {
                let n = twin.published;
                let record: Vec<u64> = (0..words as u64).map(|i| n * 100 + i).collect();
                assert_eq!(ring.publish_at(&record, n + 5), Some(n));
                twin.publish(&record, n + 5);
            }),
            Step::Poll(count) => (0..count).for_each(|_| {
                let mut out = vec![0; words];
                let (expected, record) = twin.poll(reader.cursor());
                assert_eq!(reader.poll(&mut out), expected);
                assert!(record.is_empty() || out == record);
            }),
            Step::Batch(count) => batch_against_twin(&mut reader, &mut twin, count),
            Step::Attach(from) => {
                reader = place.reader(from).unwrap();
                twin.lapped = false;
                let oldest = twin.published.saturating_sub(capacity);
                assert_eq!(reader.cursor(), if from == From::Next { twin.published } else { oldest });
            }
        }
        assert_eq!((reader.head(), ring.published()), (twin.published, twin.published));
    }
    drop(ring);
}

fn batch_against_twin(reader: &mut RingReader, twin: &mut Twin, count: usize) {
    let words = reader.record_words();
    let (mut out, mut stamps) = (vec![0; words * count], vec![0; count]);
    let cursor = reader.cursor();
    let batch = reader.poll_batch(&mut out, &mut stamps);
    let mut expected = Batch { lost: 0, first: cursor, records: 0, corrupt: false };
    let room = out.chunks_exact(words).zip(&stamps);
    for (n, (record, stamp)) in (cursor..).zip(room) {
        match twin.poll(n) {
            (Poll::Record { stamp_ns, .. }, twins) => {
                assert_eq!((*stamp, record), (stamp_ns, &twins[..]));
                expected.records += 1;
            }
            (Poll::Lost(lost), _) => {
                expected = Batch { lost, first: n + lost, records: 0, corrupt: false };
                break;
            }
            (Poll::Empty | Poll::Corrupt, _) => break,
        }
    }
    assert_eq!(batch, expected);
}

#[test]
fn a_lapped_reader_loses_exactly_what_was_overwritten() {
    let place = place();
    let mut ring = place.writer(8).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    (0..100).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    assert_eq!(reader.poll(&mut [0; WORDS]), Poll::Lost(92));
    assert_eq!(drain(&mut reader), (8, 0));
    assert_eq!(drain(&mut place.reader(From::Oldest).unwrap()), (8, 0));
    assert_eq!(drain(&mut place.reader(From::Next).unwrap()), (0, 0));
}

/// Overtaken between two polls again and again, a reader gives up half the ring instead of chasing the writer for ever.
#[test]
fn a_reader_that_is_outrun_leaves_room() {
    let place = place();
    let mut ring = place.writer(8).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    let mut publish = |from: u64, to: u64| (from..to).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    publish(0, 20);
    assert_eq!(reader.poll(&mut [0; WORDS]), Poll::Lost(12));
    publish(20, 40);
    assert_eq!(reader.poll(&mut [0; WORDS]), Poll::Lost(36 - 12));
    assert_eq!(drain(&mut reader), (4, 0));
}

#[test]
fn short_records_and_short_buffers() {
    let place = place();
    let mut ring = place.writer(2).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    ring.publish_at(&[1, 2, 3], 7);
    let mut out = [9; 2];
    assert_eq!(reader.poll(&mut out), Poll::Record { ring_seq: 0, stamp_ns: 7 });
    assert_eq!(out, [1, 2]);
    let before = place.clock.now_ns();
    ring.publish(&[4; WORDS]);
    let Poll::Record { stamp_ns, .. } = reader.poll(&mut []) else { panic!("no record") };
    assert!((before..=place.clock.now_ns()).contains(&stamp_ns));
}

/// A feed handler lives on, and nothing of such a record stands in the ring.
#[test]
fn a_record_too_long_is_refused() {
    let place = place();
    let mut ring = place.writer(2).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    assert_eq!((ring.publish_at(&[0; WORDS + 1], 0), ring.publish(&[0; 1 << 16]), ring.published()), (None, None, 0));
    assert_eq!(reader.poll(&mut [0; WORDS]), Poll::Empty);
    assert_eq!(ring.publish_at(&[3; WORDS], 7), Some(0));
    assert_eq!(reader.poll(&mut [0; WORDS]), Poll::Record { ring_seq: 0, stamp_ns: 7 });
}

#[test]
fn senseless_sizes_are_refused() {
    let place = place();
    for (capacity, record_words) in [(0, 14), (3, 14), (1 << 63, 14), (4, usize::MAX - 7), (4, 1 << 20)] {
        let spec = pillion_shm::RingSpec { capacity, record_words, table: Vec::new() };
        let refused = RingWriter::create(&place.lane, Kind::Ticks, &spec, &place.clock, &Access::default());
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(&capacity.to_string()) && message.contains("power of two"), "{message}");
    }
    assert_eq!(place.files(), [""; 0]);
}

/// The other half, that they are not `Sync`, is a `compile_fail` example at each of them.
#[test]
fn handles_may_move_to_another_thread() {
    fn needs_send<T: Send>() {}
    needs_send::<(RingWriter, RingReader)>();
    needs_send::<(pillion_shm::BoardWriter, pillion_shm::BoardReader)>();
    needs_send::<(pillion_shm::CncOwner, pillion_shm::CncClient)>();
}

#[test]
fn lane_names_are_plain() {
    for name in ["", "A", "a/b", "..", "a b", "é", &"x".repeat(33)] {
        assert!(matches!(Lane::new(name), Err(Error::Name { .. })), "{name:?}");
    }
    let lane = Lane::new("es-mini_1").unwrap();
    assert_eq!(lane.path(Kind::Ticks).to_str(), Some("/dev/shm/pillion.es-mini_1.ticks"));
    assert_eq!(lane.path(Kind::Clock).to_str(), Some("/dev/shm/pillion.clock"));
}
