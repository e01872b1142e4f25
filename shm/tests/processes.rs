//! Two real processes: losses, deaths, take-overs, races.
#![cfg(not(loom))]

mod common;

use common::{Place, WORDS, drain, place, record, say, spec, wait};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Error, From, Kind, Outcome,
    Reading, RingReader, RingWriter, Signal, State,
};
use rustix::process::Signal as Kill;
use std::time::{Duration, Instant};

const BURST: u64 = 1_000_000;
const SOON: Duration = Duration::from_secs(20);

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    match role.as_str() {
        "clock" => child_clock(),
        "hold" => child_hold(),
        "burst" => child_burst(),
        "read" => child_read(),
        "endless" => child_endless(),
        "create" => child_create(),
        "board" => child_board(),
        "sidecar" => child_sidecar(),
        "operator" => child_operator(),
        role => panic!("no role {role}"),
    }
}

fn child_clock() {
    wait();
    let dir = std::env::var("PILLION_TEST_DIR").unwrap();
    say(Clock::attach_or_create(dir.as_ref()).unwrap().id());
}

fn child_hold() {
    let (lane, clock) = Place::of_parent();
    let _ring = RingWriter::create(&lane, Kind::Ticks, &spec(64), &clock, &Access::default()).unwrap();
    say("held");
    wait();
}

fn child_burst() {
    let (lane, clock) = Place::of_parent();
    let mut ring = RingWriter::create(&lane, Kind::Ticks, &spec(1024), &clock, &Access::default()).unwrap();
    say("ready");
    wait();
    (0..BURST).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    say("done");
    wait();
}

fn child_read() {
    let (lane, clock) = Place::of_parent();
    let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).unwrap();
    say("ready");
    let (mut read, mut lost) = (0, 0);
    while reader.cursor() < BURST {
        let (r, l) = drain(&mut reader);
        (read, lost) = (read + r, lost + l);
        std::thread::yield_now();
    }
    say(format!("{read} {lost}"));
}

fn child_endless() {
    let (lane, clock) = Place::of_parent();
    let mut ring = RingWriter::create(&lane, Kind::Ticks, &spec(256), &clock, &Access::default()).unwrap();
    say(ring.generation());
    loop {
        let n = ring.published();
        ring.publish_at(&record(n), n + 7);
    }
}

fn child_create() {
    let (lane, clock) = Place::of_parent();
    say("ready");
    loop {
        RingWriter::create(&lane, Kind::Ticks, &spec(4096), &clock, &Access::default()).unwrap();
    }
}

fn signal(n: u64) -> Signal {
    let mut signal: Signal = bytemuck::Zeroable::zeroed();
    (signal.ring_seq, signal.ts_event, signal.tick_ns, signal.signal_ns) = (n, n, n, n);
    signal.outputs = [(n % 4096) as f32; 16];
    signal
}

fn child_board() {
    let (lane, clock) = Place::of_parent();
    let mut board = BoardWriter::create(
        &lane,
        &BoardSpec { instruments: 2, models: 2, table: Vec::new() },
        &clock,
        &Access::default(),
    )
    .unwrap();
    say("ready");
    let mut n = 0;
    loop {
        n += 1;
        board.set(1, 1, &signal(n));
    }
}

/// Obeys until killed or stopped, as a sidecar does.
fn child_sidecar() {
    let (lane, clock) = Place::of_parent();
    let page = CncOwner::create(&lane, &clock, &Access::default()).unwrap();
    say(if page.start_halted() { "halted" } else { "fresh" });
    page.set_state(if page.start_halted() { State::Halt } else { State::Run });
    loop {
        page.beat(clock.now_ns());
        let Some(request) = page.poll_mailbox() else { continue };
        let state = match request.command {
            Some(Command::Halt) => State::Halt,
            Some(Command::Resume) => State::Run,
            Some(Command::Stop) => State::Stopped,
            None => {
                page.answer(&request, Outcome::Unknown);
                continue;
            }
        };
        page.set_state(state);
        page.answer(&request, Outcome::Done);
        if state == State::Stopped {
            return;
        }
    }
}

fn child_operator() {
    let (lane, _) = Place::of_parent();
    let operator = CncClient::attach_operator(&lane).unwrap();
    say("ready");
    while wait() {
        let done = (0..200).filter(|_| match operator.request(Command::Halt, SOON) {
            Ok(outcome) => outcome == Outcome::Done,
            // Eight others were served while this one was not scheduled: said plainly, never mistaken for another's.
            Err(Error::AnswerLost { .. }) => false,
            Err(error) => panic!("{error}"),
        });
        let done = done.count();
        say(done);
    }
}

#[test]
fn losses_are_counted_exactly_between_processes() {
    let place = place();
    let mut child = place.child("burst");
    assert_eq!(child.hear(), "ready");
    let (mut slow, mut fast) = (place.reader(From::Next).unwrap(), place.reader(From::Next).unwrap());
    child.go();
    let (mut read, mut lost) = ([0; 2], [0; 2]);
    for round in 0.. {
        let (r, l) = drain(&mut fast);
        (read[0], lost[0]) = (read[0] + r, lost[0] + l);
        if round % 100 == 0 || fast.cursor() == BURST {
            std::thread::sleep(Duration::from_millis(2));
            let (r, l) = drain(&mut slow);
            (read[1], lost[1]) = (read[1] + r, lost[1] + l);
        }
        if slow.cursor() == BURST && fast.cursor() == BURST {
            break;
        }
    }
    assert_eq!(child.hear(), "done");
    assert_eq!(read[0] + lost[0], BURST);
    assert_eq!(read[1] + lost[1], BURST);
    assert!(lost[1] > 0 && read[1] >= 1024, "the slow reader read {}, lost {}", read[1], lost[1]);
    child.end();
}

/// The producer never waits: not for a reader that stands still, and not for one that is killed.
#[test]
fn a_stopped_reader_holds_nobody_up() {
    let place = place();
    let mut ring = place.writer(1024).unwrap();
    let (mut stopped, mut killed) = (place.child("read"), place.child("read"));
    assert_eq!((stopped.hear(), killed.hear()), ("ready".to_owned(), "ready".to_owned()));
    let mut publish = |count| {
        (0..count).for_each(|_| {
            let n = ring.published();
            ring.publish_at(&record(n), n + 7);
        })
    };
    publish(BURST / 4);
    stopped.stop();
    publish(BURST / 4);
    killed.kill();
    publish(BURST / 2);
    stopped.signal(Kill::CONT);
    let counts: Vec<u64> = stopped.hear().split(' ').map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts[0] + counts[1], BURST);
    assert!(counts[1] >= BURST / 2, "lost only {}", counts[1]);
    stopped.end();
}

#[test]
fn a_killed_writer_leaves_whole_records_and_a_name_to_take_over() {
    let place = place();
    for round in 1..=25_u64 {
        let mut child = place.child("endless");
        assert_eq!(child.hear(), (2 * round - 1).to_string());
        let mut reader = place.reader(From::Oldest).unwrap();
        assert!(reader.owner_alive() && !reader.superseded());
        let held = place.writer(64).unwrap_err();
        let named = matches!(&held, Error::Held { maker, generation, .. }
            if maker.pid == child.pid() && *generation == 2 * round - 1);
        assert!(named, "{held}");
        std::thread::sleep(Duration::from_micros(round * 137));
        drain(&mut reader);
        child.kill();
        drain(&mut reader);
        assert!(!reader.owner_alive() && !reader.successor() && !reader.superseded());
        // A kill between commit and head leaves the head one behind, never ahead.
        assert!(reader.cursor() - reader.head() <= 1);

        let mut ring = place.writer(64).unwrap();
        assert_eq!((ring.generation(), ring.published()), (2 * round, 0));
        assert!(reader.successor() && reader.superseded() && !reader.owner_alive());
        assert_eq!(reader.generation(), 2 * round - 1);
        let mut next = place.reader(From::Next).unwrap();
        assert_eq!(next.generation(), 2 * round);
        ring.publish_at(&record(0), 7);
        assert_eq!(drain(&mut next), (1, 0));
    }
    assert_eq!(place.files(), ["pillion.test.ticks"]);
}

/// A creator killed at any moment leaves a whole region under the name, or none; never half of one.
#[test]
fn a_killed_creator_leaves_no_half_made_region() {
    let place = place();
    for round in 0..40 {
        let mut child = place.child("create");
        child.hear();
        std::thread::sleep(Duration::from_micros(round * 211));
        child.kill();
        match place.reader(From::Next) {
            Ok(reader) => assert!(!reader.owner_alive()),
            Err(error) => assert!(error.is_absent(), "{error}"),
        }
    }
    let mut ring = place.writer(64).unwrap();
    ring.publish(&[0; WORDS]);
    let files = place.files();
    assert!(files.contains(&"pillion.test.ticks".to_owned()), "{files:?}");
}

#[test]
fn a_live_owner_refuses_a_second_creator() {
    let place = place();
    let mut child = place.child("hold");
    assert_eq!(child.hear(), "held");
    let message = place.writer(64).unwrap_err().to_string();
    assert!(message.contains("pillion.test.ticks") && message.contains(&child.pid().to_string()), "{message}");
    // The liveness probes of many readers do not make it look alive once it is dead, nor dead while it lives.
    let reader = place.reader(From::Next).unwrap();
    assert!((0..1000).all(|_| reader.owner_alive()));
    child.end();
    assert!((0..1000).all(|_| !reader.owner_alive()));
    assert_eq!(place.writer(64).unwrap().generation(), 2);
}

/// Eight creators at once, while readers probe: one wins each name, fresh or left by the dead.
#[test]
fn one_of_many_creators_wins() {
    let place = place();
    for round in 1..=20 {
        let probe = place.reader(From::Next).ok();
        let start = std::sync::Barrier::new(8);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        place.writer(64)
                    })
                })
                .collect();
            for _ in 0..100 {
                assert!(probe.as_ref().is_none_or(|probe| probe.generation() == round - 1));
                probe.as_ref().map(RingReader::owner_alive);
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut winners = results.iter().filter_map(|result| result.as_ref().ok());
        assert_eq!(winners.next().map(RingWriter::generation), Some(round));
        assert!(winners.next().is_none());
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, Error::Held { generation, .. } if *generation + 1 >= round), "{error}");
        }
    }
    assert_eq!(place.files(), ["pillion.test.ticks"]);
}

#[test]
fn all_processes_have_one_clock() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let lane = pillion_shm::Lane::in_dir(dir.path(), "test").unwrap();
    let (other, parent) = (place(), Clock::attach_or_create(dir.path()).unwrap());
    std::fs::remove_file(lane.path(Kind::Clock)).unwrap();
    let place = Place { dir, lane, clock: parent };
    let mut children: Vec<_> = (0..4).map(|_| place.child("clock")).collect();
    children.iter_mut().for_each(|child| child.go());
    let ids: Vec<_> = children.iter_mut().map(|child| child.hear()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    children.into_iter().for_each(|child| child.end());
    let now = Clock::attach_or_create(place.dir.path()).unwrap();
    assert_eq!(now.id().to_string(), ids[0]);
    // Two calibrations of one counter agree to a few ppm, and with the wall clock when they were just made.
    let (from, to) = (now.raw(), now.raw() + 1_000_000_000);
    let (ours, theirs) = (now.span_ns(from, to), other.clock.span_ns(from, to));
    assert!(ours.abs_diff(theirs) <= ours / 50_000, "{ours} ns and {theirs} ns");
    assert!(now.ns(to) > now.ns(from) && now.span_ns(to, from) == 0);
}

#[test]
fn a_killed_board_writer_leaves_whole_values() {
    let place = place();
    for round in 0..20 {
        let mut child = place.child("board");
        assert_eq!(child.hear(), "ready");
        let board = BoardReader::attach(&place.lane, &place.clock).unwrap();
        assert_eq!((board.instruments(), board.models(), board.generation()), (2, 2, round + 1));
        let whole = |reading| match reading {
            Reading::Value(found) => {
                assert_eq!(found, signal(found.ring_seq), "torn");
                true
            }
            Reading::Never | Reading::Busy => false,
        };
        let deadline = Instant::now() + SOON;
        let mut seen = 0;
        while seen < 10_000 {
            seen += u32::from(whole(board.read(1, 1)));
            assert!(Instant::now() < deadline, "only {seen} values seen");
        }
        std::thread::sleep(Duration::from_micros(round * 173));
        child.kill();
        whole(board.read(1, 1));
        assert_eq!((board.read(0, 1), board.get(1, 0), board.get(2, 0)), (Reading::Never, None, None));
        assert!(!board.owner_alive() && !board.superseded());
    }
}

#[test]
fn a_halt_outlives_kill_9_until_someone_resumes() {
    let place = place();
    let mut child = place.child("sidecar");
    assert_eq!(child.hear(), "fresh");
    let operator = CncClient::attach_operator(&place.lane).unwrap();
    assert_eq!(operator.pid(), child.pid());
    assert_eq!(operator.request(Command::Halt, SOON).unwrap(), Outcome::Done);
    assert_eq!((operator.state(), operator.halted()), (State::Halt, true));
    child.kill();
    let gone = operator.request(Command::Resume, SOON).unwrap_err();
    assert!(matches!(gone, Error::NoOwner { .. }), "{gone}");

    for _ in 0..2 {
        // Killed in BOOT or HALT: still halted at the next start.
        let mut child = place.child("sidecar");
        assert_eq!(child.hear(), "halted");
        child.kill();
    }
    let mut child = place.child("sidecar");
    assert_eq!(child.hear(), "halted");
    assert!(operator.superseded());
    let operator = CncClient::attach_operator(&place.lane).unwrap();
    assert_eq!((operator.generation(), operator.halted()), (4, true));
    assert_eq!(operator.request(Command::Resume, SOON).unwrap(), Outcome::Done);
    assert_eq!((operator.state(), operator.halted()), (State::Run, false));
    assert_eq!(operator.request(Command::Stop, SOON).unwrap(), Outcome::Done);
    assert_eq!(operator.state(), State::Stopped);
    child.end();
    let mut child = place.child("sidecar");
    assert_eq!(child.hear(), "fresh");
    child.kill();
}

/// Two operators at once, and one killed in the middle: each request gets its answer, and the mailbox goes on.
#[test]
fn operators_race_for_the_mailbox() {
    let place = place();
    let mut sidecar = place.child("sidecar");
    sidecar.hear();
    let mut operators = [place.child("operator"), place.child("operator")];
    for operator in &mut operators {
        assert_eq!(operator.hear(), "ready");
        operator.go();
    }
    for operator in &mut operators {
        let done: u64 = operator.hear().parse().unwrap();
        assert!((100..=200).contains(&done), "{done} of 200 requests answered");
    }
    let [mut killed, other] = operators;
    for round in 0..5 {
        killed.go();
        std::thread::sleep(Duration::from_micros(round * 391));
        std::mem::replace(&mut killed, place.child("operator")).kill();
        killed.hear();
        let operator = CncClient::attach_operator(&place.lane).unwrap();
        assert_eq!(operator.request(Command::Resume, SOON).unwrap(), Outcome::Done);
    }
    killed.end();
    other.end();
    sidecar.kill();
}

/// A sidecar that stands still is told apart from one that is gone.
#[test]
fn an_operator_hears_when_nobody_answers() {
    let place = place();
    let mut sidecar = place.child("sidecar");
    sidecar.hear();
    let operator = CncClient::attach_operator(&place.lane).unwrap();
    sidecar.stop();
    let started = Instant::now();
    let error = operator.request(Command::Halt, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert!(error.contains(&sidecar.pid().to_string()) && error.contains("Halt") && error.contains("50 ms"), "{error}");
    assert!(operator.owner_alive());
    sidecar.kill();
}
