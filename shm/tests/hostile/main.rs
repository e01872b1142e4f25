//! A peer that scribbles over any byte of a region: readers see garbage that the checks flag, or are refused; they never
//! crash, hang or read outside the map, and go on when a sound writer does. Built with overflow checks, like every test.
#![cfg(not(loom))]

mod before;
#[path = "../common/mod.rs"]
mod common;
mod live;

use common::{Place, WORDS, record, say, spec};
use pillion_shm::layout::{header, slot};
use pillion_shm::leftovers::{self, Allow};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Error, From, InstrumentEntry,
    Kind, ModelEntry, Outcome, Poll, Reading, RingReader, RingSpec, RingWriter, Signal, SignalTables, State,
};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const SLOTS: u64 = 8;
const VALUES: [u8; 6] = [0, 1, 2, 0x7f, 0x80, 0xff];
/// How long each scribbler is at it.
const A_WHILE: Duration = Duration::from_millis(1_000);

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    let (kind, from) = role.split_once(':').unwrap();
    let (lane, _) = Place::of_parent();
    let kind = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc].into_iter().find(|k| k.name() == kind).unwrap();
    let path = lane.path(kind);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let words = file.metadata().unwrap().len() / 8;
    let from: u64 = from.parse().unwrap();
    say("scribbling");
    let mut random = Random(std::process::id().into());
    loop {
        let at = from + random.next() % (words - from);
        file.write_all_at(&random.word().to_ne_bytes(), at * 8).unwrap();
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number that hurts: an end of a range, a plausible sequence, or any.
    fn word(&mut self) -> u64 {
        let random = self.next();
        match random % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            3 => u64::MAX - random % 8,
            4 => random >> 8 & 0xff,
            5 => random >> 8 & 0xffff,
            6 => 1 << (random >> 8 & 63),
            _ => random,
        }
    }
}

fn tables() -> Vec<u8> {
    let instrument = InstrumentEntry { id: 1, symbol: "ESH4".into(), tick_size: 250_000_000, size_unit: 1.0 };
    let model = ModelEntry {
        name: "m".into(),
        revision: 1,
        sha256: [1; 32],
        features_hash: [2; 32],
        outputs: vec!["up".into(), "down".into()],
        meaning: "x".into(),
        engine: "e".into(),
        isa: "i".into(),
        runtime: "r".into(),
        horizon_events: 10,
    };
    SignalTables { instruments: vec![instrument], models: vec![model] }.to_bytes().unwrap()
}

fn signals_spec() -> RingSpec {
    RingSpec { capacity: SLOTS, record_words: WORDS, table: tables() }
}

fn board_spec() -> BoardSpec {
    BoardSpec { instruments: 3, models: 2, table: tables() }
}

fn publish(ring: &mut RingWriter, count: u64) {
    for _ in 0..count {
        let n = ring.published();
        ring.publish_at(&record(n), n + 7);
    }
}

fn signal(n: u64) -> Signal {
    Signal { ring_seq: n, outputs: [n as f32; 16], ..bytemuck::Zeroable::zeroed() }
}

/// A region of `kind` with something in it, left by a dead owner.
fn make(place: &Place, kind: Kind) {
    let (lane, clock, access) = (&place.lane, &place.clock, Access::default());
    match kind {
        Kind::Ticks => publish(&mut RingWriter::create(lane, kind, &spec(SLOTS), clock, &access).unwrap(), SLOTS + 3),
        Kind::Signals => publish(&mut RingWriter::create(lane, kind, &signals_spec(), clock, &access).unwrap(), 3),
        Kind::Board => BoardWriter::create(lane, &board_spec(), clock, &access).unwrap().set(2, 1, &signal(1)),
        Kind::Cnc => CncOwner::create(lane, clock, &access).unwrap().set_state(State::Run),
        Kind::Clock => {}
    }
}

/// Attaches as every kind of peer would and uses what it got, in a bounded number of calls. True when it was accepted.
fn use_it(place: &Place, kind: Kind) -> Result<(), Error> {
    let (lane, clock) = (&place.lane, &place.clock);
    match kind {
        Kind::Ticks | Kind::Signals => {
            for from in [From::Start, From::Oldest, From::Next] {
                let mut ring = RingReader::attach(lane, kind, from, clock)?;
                let _ = SignalTables::from_bytes(ring.table());
                poll_for_a_while(&mut ring);
            }
        }
        Kind::Board => {
            let board = BoardReader::attach(lane, clock)?;
            let _ = SignalTables::from_bytes(&board.table());
            for instrument in [0, 2, 3, board.instruments().saturating_sub(1), board.instruments(), u32::MAX] {
                for model in [0, 1, 2, board.models().saturating_sub(1), board.models(), u32::MAX] {
                    board.read(instrument, model);
                }
            }
        }
        Kind::Cnc => {
            let page = CncClient::attach_operator(lane)?;
            let _ = (page.state(), page.halted(), page.counters(), page.stages(), page.heartbeat_ns());
            let _ = (page.consumed_of(1), page.ticks_consumed(), page.owner_alive(), page.superseded());
            assert!(page.request(Command::Halt, Duration::ZERO).is_err(), "nobody is there to answer");
        }
        Kind::Clock => panic!("see every_byte_of_the_clock"),
    }
    Ok(())
}

/// Polls more often than the ring has records. What comes is counted, whatever it is.
fn poll_for_a_while(ring: &mut RingReader) -> u64 {
    let (mut words, mut batch, mut stamps) = ([0; WORDS], vec![0; ring.record_words() * 4], [0; 4]);
    let mut corrupt = 0;
    for _ in 0..3 * SLOTS {
        corrupt += u64::from(ring.poll(&mut words) == Poll::Corrupt);
        corrupt += u64::from(ring.poll_batch(&mut batch, &mut stamps).corrupt);
        corrupt += u64::from(!ring.check());
    }
    ring.skip_to_next();
    ring.poll(&mut words);
    corrupt
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}
