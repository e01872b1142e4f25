//! A small sidecar between a feed and a strategy, killed at every store of its turn: ring, board, page.

use crate::common::{WORDS, drain, place};
use crate::roles::{SLOTS, publish, signal};
use crate::victim::{Left, Victim, walk};
use pillion_shm::leftovers;
use pillion_shm::{
    Access, BoardReader, CncClient, CncOwner, From, Kind, Poll, Reading, RingReader, RingWriter, Signal, State,
};

const TICKS: u64 = 4;

/// Reads signals until nothing is left, each of them whole. Returns (read, lost).
pub fn drain_signals(reader: &mut RingReader) -> (u64, u64) {
    let (mut read, mut lost, mut words) = (0, 0, [0; WORDS]);
    loop {
        match reader.poll(&mut words) {
            Poll::Record { ring_seq, stamp_ns } => {
                assert_eq!((Signal::from_words(&words), stamp_ns), (signal(ring_seq), ring_seq + 7), "torn");
                read += 1;
            }
            Poll::Lost(n) => lost += n,
            Poll::Empty => return (read, lost),
            Poll::Corrupt => panic!("corrupt at {}", reader.cursor()),
        }
    }
}

#[test]
fn a_sidecar_dies_at_every_store_and_its_halt_outlives_them_all() {
    let place = place();
    let halted = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    halted.set_state(State::Halt);
    drop(halted);
    let mut ticks: Option<RingWriter> = None;
    let points = walk("sidecar", |at| {
        drop(ticks.take());
        let feed = ticks.insert(place.writer(SLOTS).unwrap());
        publish(feed, TICKS);
        let mut victim = Victim::start(&place, &format!("sidecar:{TICKS}"), Some(at));
        assert_eq!(victim.hear(), Some(format!("{} true", at + 1)), "every one of them starts halted");
        let mut early = RingReader::attach(&place.lane, Kind::Signals, From::Start, &place.clock).unwrap();
        let board = BoardReader::attach(&place.lane, &place.clock).unwrap();
        let page = CncClient::attach(&place.lane, &place.clock).unwrap();
        victim.go();
        let died = victim.end();

        let left = Left::of(&place.lane.path(Kind::Signals));
        let (read, lost) = drain_signals(&mut early);
        assert_eq!(read + lost, left.committed);
        let mut late = RingReader::attach(&place.lane, Kind::Signals, From::Start, &place.clock).unwrap();
        let (read, lost) = drain_signals(&mut late);
        assert_eq!(read + lost, left.committed);
        // Who sees a tick counted as consumed finds its signal published.
        let consumed = page.consumed_of(feed.generation());
        assert!(consumed <= left.committed && left.committed <= TICKS, "{consumed} consumed, {left:?}");
        match board.read(1, 1) {
            Reading::Value(found) => {
                assert_eq!(found, signal(found.ring_seq), "torn");
                assert!(found.ring_seq == left.committed || found.ring_seq + 1 == left.committed, "{found:?} {left:?}");
            }
            Reading::Never => assert!(left.committed <= 1),
            Reading::Busy => assert!(matches!(died.as_deref(), Some("cell: mark" | "cell: word")), "{died:?}"),
        }
        assert!(page.halted() && page.state() == State::Halt && !page.owner_alive());
        assert!(page.counters().signals <= left.committed);
        let found = leftovers::list(place.dir.path()).unwrap();
        let alive: Vec<_> = found.iter().filter(|found| found.owner_alive).map(|found| &found.path).collect();
        assert_eq!(alive, [&place.lane.path(Kind::Ticks)], "the feed lives, the sidecar does not");

        // The feed never waited, and goes on.
        publish(feed, 3);
        let mut other = place.reader(From::Start).unwrap();
        assert_eq!(drain(&mut other), (SLOTS, TICKS + 3 - SLOTS));
        assert!(other.owner_alive() && !other.superseded());
        died
    });
    // Mark, words, stamp, commit and head; mark, words and commit; consumed, 8 counters and the beat.
    assert_eq!(points, TICKS * (18 + 16 + 10));
}
