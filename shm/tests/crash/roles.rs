//! What the victims do.

use crate::common::{Place, WORDS, drain, record, say, spec, wait};
use crate::reuse;
use crate::script::{BURST, NEIGHBOUR, SETS, SLOTS, SOON, cells, publish, signal, stages};
use pillion_shm::crash::{arm, passed};
use pillion_shm::{
    Access, BoardWriter, Clock, CncClient, CncOwner, Command, Counters, From, Kind, Lane, Outcome, Poll, RingReader,
    RingSpec, RingWriter, State,
};
use std::time::Duration;

pub fn play(role: &str) {
    let (role, arg) = role.split_once(':').unwrap_or((role, "0"));
    let number = || arg.parse::<u64>().unwrap();
    match role {
        "ring" => ring(number()),
        "board" => board(number()),
        "page" => page(),
        "operator" => operator(),
        "order" => order(number()),
        "reader" => reader(),
        "create" => create(arg),
        "sidecar" => sidecar(number()),
        "endless" => endless(arg),
        "reuse" => reuse::supervise(),
        role => panic!("no role {role}"),
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
    board.set(0, 1, &signal(NEIGHBOUR));
    (1..=before).for_each(|n| board.set(1, 1, &signal(n)));
    board.set(1, 0, &signal(NEIGHBOUR + 1));
    say(board.generation());
    wait();
    arm();
    (before + 1..=before + SETS).for_each(|n| board.set(1, 1, &signal(n)));
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

/// An order to a sidecar that is dead.
fn order(command: u64) {
    let (lane, _) = Place::of_parent();
    let mut operator = CncClient::attach_operator(&lane).unwrap();
    let command = if command == Command::Halt as u64 { Command::Halt } else { Command::Resume };
    say("ready");
    wait();
    arm();
    assert_eq!(operator.order(command, SOON).unwrap(), Outcome::Done);
}

fn operator() {
    let (lane, _) = Place::of_parent();
    let operator = CncClient::attach_operator(&lane).unwrap();
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
            let operator = CncClient::attach_operator(&lane).unwrap();
            say("ready");
            loop {
                let _ = operator.request(Command::Halt, SOON);
            }
        }
        "sidecar" => sidecar(0),
        what => panic!("nothing called {what}"),
    }
}
