//! What the victims do.

use crate::common::{Place, WORDS, drain, record, say, spec, wait};
use crate::reuse;
use pillion_shm::crash::{arm, passed};
use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Counters, From, Kind, Lane, Outcome, Poll,
    RingReader, RingSpec, RingWriter, STAGES, Signal, StageBlock, StageSummary, State,
};
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(30);
/// Slots of the rings: few, so that a kill falls on every side of a wrap-around.
pub const SLOTS: u64 = 4;
/// Records that a ring's victim publishes once it is armed.
pub const BURST: u64 = 6;
/// Signals that a board's victim sets once it is armed.
pub const SETS: u64 = 3;

pub fn play(role: &str) {
    let (role, arg) = role.split_once(':').unwrap_or((role, "0"));
    let number = || arg.parse::<u64>().unwrap();
    match role {
        "ring" => ring(number()),
        "board" => board(number()),
        "page" => page(),
        "operator" => operator(),
        "reader" => reader(),
        "create" => create(arg),
        "sidecar" => sidecar(number()),
        "endless" => endless(arg),
        "reuse" => reuse::supervise(),
        role => panic!("no role {role}"),
    }
}

/// Signal `n`, every word of which tells a torn copy.
pub fn signal(n: u64) -> Signal {
    let mut signal: Signal = bytemuck::Zeroable::zeroed();
    (signal.ring_seq, signal.ts_event, signal.tick_ns, signal.signal_ns) = (n, !n, n ^ 0x5555, n << 7);
    (signal.instrument, signal.revision, signal.flags) = (n as u32, n as u32 + 1, 0);
    signal.outputs = std::array::from_fn(|i| (n * 17 + i as u64) as f32);
    signal.outputs_len = 16;
    signal
}

pub fn cells() -> BoardSpec {
    BoardSpec { instruments: 2, models: 2, table: Vec::new() }
}

pub fn publish(ring: &mut RingWriter, count: u64) {
    for _ in 0..count {
        let n = ring.published();
        ring.publish_at(&record(n), n + 7);
    }
}

fn new_ring(lane: &Lane, kind: Kind, clock: &Clock) -> RingWriter {
    RingWriter::create(lane, kind, &spec(SLOTS), clock, &Access::default()).unwrap()
}

fn ring(before: u64) {
    let (lane, clock) = Place::of_parent();
    let mut ring = new_ring(&lane, Kind::Ticks, &clock);
    publish(&mut ring, before);
    say(ring.generation());
    wait();
    arm();
    publish(&mut ring, BURST);
}

fn board(before: u64) {
    let (lane, clock) = Place::of_parent();
    let mut board = BoardWriter::create(&lane, &cells(), &clock, &Access::default()).unwrap();
    (1..=before).for_each(|n| board.set(1, 1, &signal(n)));
    say(board.generation());
    wait();
    arm();
    (before + 1..=before + SETS).for_each(|n| board.set(1, 1, &signal(n)));
}

/// Stages that tell a torn copy.
pub fn stages(n: u64) -> StageBlock {
    let one = |i: u64| StageSummary { count: n, p50: n + i, p90: n, p99: n, p999: n, p9999: n, max: n + i };
    std::array::from_fn(|i| one(i as u64)) as [StageSummary; STAGES.len()]
}

fn obey(page: &CncOwner) -> bool {
    let Some(request) = page.poll_mailbox() else { return false };
    let state = match request.command {
        Some(Command::Halt) => State::Halt,
        Some(Command::Resume) => State::Run,
        Some(Command::Stop) => State::Stopped,
        None => panic!("no command: {request:?}"),
    };
    page.set_state(state);
    page.answer(&request, Outcome::Done);
    true
}

fn start_page(lane: &Lane, clock: &Clock) -> CncOwner {
    let page = CncOwner::create(lane, clock, &Access::default()).unwrap();
    page.set_state(if page.start_halted() { State::Halt } else { State::Run });
    page
}

/// Keeps its page, and answers one request in the middle of it.
fn page() {
    let (lane, clock) = Place::of_parent();
    let page = start_page(&lane, &clock);
    page.publish_stages(&stages(1));
    say(format!("{} {}", page.generation(), page.start_halted()));
    wait();
    arm();
    page.beat(clock.now_ns());
    page.set_ticks_ring(3, 10);
    page.set_ticks_consumed(12);
    while !obey(&page) {
        std::thread::sleep(Duration::from_micros(50));
    }
    page.set_counters(&Counters { events: 1, signals: 2, ..Counters::default() });
    page.publish_stages(&stages(2));
}

fn operator() {
    let (lane, clock) = Place::of_parent();
    let operator = CncClient::attach_operator(&lane, &clock).unwrap();
    say("ready");
    wait();
    arm();
    assert_eq!(operator.request(Command::Halt, SOON).unwrap(), Outcome::Done);
}

/// Attaches and reads: it has nothing to store, so it passes no point.
fn reader() {
    let (lane, clock) = Place::of_parent();
    arm();
    let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Oldest, &clock).unwrap();
    let (read, lost) = drain(&mut reader);
    reader.owner_alive();
    reader.superseded();
    say(format!("{read} {lost} {}", passed()));
    wait();
}

/// Makes one region, fresh or in a dead owner's place.
fn create(kind: &str) {
    let dir = std::env::var("PILLION_TEST_DIR").unwrap();
    let lane = Lane::in_dir(&dir, "test").unwrap();
    if kind == "clock" {
        arm();
        Clock::attach_or_create(dir.as_ref()).unwrap();
        return;
    }
    let clock = Clock::attach_or_create(dir.as_ref()).unwrap();
    arm();
    match kind {
        "ticks" => drop(new_ring(&lane, Kind::Ticks, &clock)),
        "signals" => {
            let table = vec![7; 1000];
            let spec = RingSpec { capacity: SLOTS, record_words: WORDS, table };
            drop(RingWriter::create(&lane, Kind::Signals, &spec, &clock, &Access::default()).unwrap());
        }
        "board" => drop(BoardWriter::create(&lane, &cells(), &clock, &Access::default()).unwrap()),
        "cnc" => drop(CncOwner::create(&lane, &clock, &Access::default()).unwrap()),
        kind => panic!("no kind {kind}"),
    }
}

/// For each tick a signal in the ring and on the board, then the counts: the sidecar's order of stores.
fn sidecar(ticks: u64) {
    let (lane, clock) = Place::of_parent();
    let page = start_page(&lane, &clock);
    let mut signals = new_ring(&lane, Kind::Signals, &clock);
    let mut board = BoardWriter::create(&lane, &cells(), &clock, &Access::default()).unwrap();
    let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Start, &clock).unwrap();
    page.set_ticks_ring(reader.generation(), 0);
    let (mut words, mut lost) = ([0; WORDS], 0);
    let mut counters = Counters::default();
    say(format!("{} {}", page.generation(), page.start_halted()));
    wait();
    arm();
    while ticks == 0 || reader.cursor() < ticks {
        match reader.poll(&mut words) {
            Poll::Record { ring_seq, .. } => {
                assert_eq!(words, record(ring_seq), "torn");
                let n = signals.published();
                signals.publish_at(signal(n).words(), n + 7);
                board.set(1, 1, &signal(n + 1));
                counters.signals += 1;
            }
            Poll::Lost(n) => lost += n,
            Poll::Empty => std::thread::yield_now(),
            Poll::Corrupt => panic!("corrupt at {}", reader.cursor()),
        }
        counters.lost = lost;
        page.set_ticks_consumed(reader.cursor());
        page.set_counters(&counters);
        page.beat(clock.now_ns());
        obey(&page);
    }
}

/// Goes on until somebody kills it.
fn endless(what: &str) {
    let (lane, clock) = Place::of_parent();
    match what {
        "ring" => {
            let mut ring = RingWriter::create(&lane, Kind::Ticks, &spec(64), &clock, &Access::default()).unwrap();
            say(ring.generation());
            loop {
                publish(&mut ring, 1);
            }
        }
        "board" => {
            let mut board = BoardWriter::create(&lane, &cells(), &clock, &Access::default()).unwrap();
            say(board.generation());
            let mut n = 0;
            loop {
                n += 1;
                board.set(1, 1, &signal(n));
            }
        }
        "page" => {
            let page = start_page(&lane, &clock);
            say(page.generation());
            for n in 1.. {
                page.beat(n);
                page.publish_stages(&stages(n));
                obey(&page);
            }
        }
        "create" => {
            say("ready");
            loop {
                create("ticks");
                create("cnc");
            }
        }
        "read" => {
            let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).unwrap();
            say("ready");
            loop {
                drain(&mut reader);
                let _ = reader.follow();
            }
        }
        "operate" => {
            let operator = CncClient::attach_operator(&lane, &clock).unwrap();
            say("ready");
            loop {
                let _ = operator.request(Command::Halt, SOON);
            }
        }
        "sidecar" => sidecar(0),
        what => panic!("nothing called {what}"),
    }
}
