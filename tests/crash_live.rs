//! The real sidecar and the real feed, killed at random moments and scribbled over: the other one goes on, a restart works,
//! a HALT stays.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use pillion::data::{self, synth};
use pillion::report::SidecarReport;
use pillion_shm::{Clock, From, Kind, Lane, Poll, RingReader, Signal, State, leftovers};

const LANE: &str = "crash";

fn recording(dir: &Path, events: u64) -> (std::path::PathBuf, data::Feed) {
    let path = dir.join("synth.dbn.zst");
    let plan = synth::Plan { seed: 5, instruments: 2, events, events_per_second: 20_000 };
    synth::write(&path, &plan).expect("writable");
    let feed = data::load(&path).expect("just written");
    (path, feed)
}

fn sidecar(config: &Path, report: &Path) -> Running {
    let mut command = pillion();
    Running::start(command.arg("run").arg("--config").arg(config).arg("--report").arg(report))
}

fn feed(config: &Path, input: &Path) -> Running {
    let mut command = pillion();
    command.arg("feed").arg("--config").arg(config).arg("--input").arg(input);
    Running::start(command.args(["--lane", LANE, "--rate", "20000/s", "--linger"]))
}

fn ctl(dir: &Path, order: &str) {
    let mut command = pillion();
    let out = output(command.args(["ctl", LANE, order, "--shm-dir"]).arg(dir));
    assert!(out.status.success(), "{}", stderr(&out));
}

fn ring(dir: &Path, kind: Kind, from: From) -> RingReader {
    let clock = Clock::attach_or_create(dir).unwrap();
    let lane = Lane::in_dir(dir, LANE).unwrap();
    wait_for(kind.name(), || RingReader::attach(&lane, kind, from, &clock).ok())
}

/// Reads signals until nothing is left; each makes sense in itself. Returns (read, lost).
fn drain(reader: &mut RingReader) -> (u64, u64) {
    let (mut read, mut lost, mut words) = (0, 0, [0; 14]);
    loop {
        match reader.poll(&mut words) {
            Poll::Record { .. } => {
                let signal = Signal::from_words(&words);
                assert!(signal.instrument < 2 && signal.model == 0, "{signal:?}");
                assert!(signal.tick_ns > 0 && signal.signal_ns >= signal.tick_ns, "{signal:?}");
                assert!(
                    signal.outputs_len == 3 && signal.outputs.iter().all(|output| output.is_finite()),
                    "{signal:?}"
                );
                assert!(signal.outputs[3..].iter().all(|output| *output == 0.0), "{signal:?}");
                read += 1;
            }
            Poll::Lost(n) => lost += n,
            Poll::Empty => return (read, lost),
            Poll::Corrupt => panic!("corrupt at {}", reader.cursor()),
        }
    }
}

fn grows(what: &str, mut count: impl FnMut() -> u64) {
    let before = count();
    wait_for(what, || (count() > before).then_some(()));
}

/// Another moment in each round.
fn a_while(round: u64) {
    std::thread::sleep(Duration::from_micros((round + 1) * 7_919 % 40_000));
}

#[test]
fn feeds_and_sidecars_are_killed_in_turn() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recorded) = recording(dir.path(), 60_000);
    let report = dir.path().join("report.json");
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys(LANE, &recorded, &["mlp-k10"])));
    let (mut cars, mut feeds, mut state) = (0, 0, State::Run);
    let mut ticks = feed(&config, &input);
    let mut car = sidecar(&config, &report);
    for round in 0..30 {
        let cnc = cnc_of(&mut car, dir.path(), LANE, state);
        assert_eq!((cnc.generation(), cnc.halted()), (cars + 1, state == State::Halt));
        grows("consumed ticks", || cnc.ticks_consumed());
        let mut signals = ring(dir.path(), Kind::Signals, From::Start);
        if round == 10 {
            ctl(dir.path(), "halt");
            state = State::Halt;
        }
        a_while(round);
        if round % 2 == 0 {
            ticks.kill9();
            feeds += 1;
            // The sidecar's heart beats on, and the next feed is noticed as a restart.
            grows("the heartbeat", || cnc.heartbeat_ns());
            let changes = cnc.counters().generation_changes;
            ticks = feed(&config, &input);
            wait_for("the restarted feed", || (cnc.counters().generation_changes == changes + 1).then_some(()));
            assert!(cnc.owner_alive() && cnc.state() == state && !cnc.superseded());
        } else {
            car.kill9();
            cars += 1;
            let (read, lost) = drain(&mut signals);
            // A kill between commit and head leaves the head one behind.
            assert!(read + lost == signals.cursor() && signals.cursor() - signals.head() <= 1);
            assert!(!signals.owner_alive() && !signals.superseded() && signals.check());
            let published = ring(dir.path(), Kind::Ticks, From::Next);
            assert!(published.owner_alive());
            if published.head() < recorded.records {
                grows("published ticks", || published.head());
            }
            assert!(cnc.halted() == (state == State::Halt) && !cnc.owner_alive());
            if round % 4 == 1 {
                // One that is killed while it starts, wherever that catches it, costs a generation at most.
                let starting = sidecar(&config, &report);
                std::thread::sleep(Duration::from_millis(round * 13 % 250));
                starting.kill9();
                let page = leftovers::look_at(&Lane::in_dir(dir.path(), LANE).unwrap().path(Kind::Cnc)).unwrap();
                let page = page.sound().unwrap();
                assert_eq!(page.halted, state == State::Halt);
                cars = page.generation;
            }
            // One that has played to its end is started anew for the next sidecar.
            ticks.kill9();
            ticks = feed(&config, &input);
            feeds += 1;
            car = sidecar(&config, &report);
        }
    }
    println!("killed sidecars of {cars} generations and {feeds} feeds");
    cnc_of(&mut car, dir.path(), LANE, state);
    ctl(dir.path(), "resume");
    assert_eq!(cnc_of(&mut car, dir.path(), LANE, State::Run).state(), State::Run);
    ctl(dir.path(), "stop");
    assert!(car.finish().status.success());
    drop(ticks);
    let left: Vec<_> = leftovers::list(dir.path()).unwrap();
    assert!(left.iter().all(|found| !found.owner_alive && found.sound().is_some()), "{left:#?}");
}

/// Somebody scribbles over the tick ring, header and slots, while the sidecar reads it: gaps are counted, the lane obeys
/// all the while, and in the end each record was read or counted as lost.
#[test]
fn a_sidecar_outlives_a_scribbled_tick_ring() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recorded) = recording(dir.path(), 150_000);
    let report = dir.path().join("report.json");
    let lane = format!("[feed]\nslots = 256\n[lane]\n{}", lane_keys(LANE, &recorded, &[]));
    let config = config(dir.path(), &lane);
    let mut car = sidecar(&config, &report);
    cnc_of(&mut car, dir.path(), LANE, State::Boot);
    let ticks = feed(&config, &input);
    let cnc = cnc_of(&mut car, dir.path(), LANE, State::Run);
    grows("consumed ticks", || cnc.ticks_consumed());
    let gaps = cnc.counters().gaps;

    let path = Lane::in_dir(dir.path(), LANE).unwrap().path(Kind::Ticks);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let words = file.metadata().unwrap().len() / 8;
    let (until, mut random) = (Instant::now() + Duration::from_secs(2), 88_172_645_463_325_252_u64);
    while Instant::now() < until {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let value = if random & 1 == 0 { random } else { random >> 48 };
        file.write_all_at(&value.to_ne_bytes(), random % words * 8).unwrap();
    }
    assert!(cnc.owner_alive(), "it died: {}", stderr(&car.finish()));
    assert!(cnc.counters().gaps > gaps, "it noticed: {:?}", cnc.counters());
    ctl(dir.path(), "halt");
    ctl(dir.path(), "resume");
    assert_eq!(cnc.state(), State::Run);

    // The feed goes round, and the account is exact again: each record was read or counted as lost, however often the
    // sidecar was led astray in between.
    let events = cnc.counters().events;
    wait_for("the end of the recording", || (cnc.ticks_consumed() == recorded.records).then_some(()));
    assert!(cnc.counters().events > events + 1_000, "it read on: {events} and {:?}", cnc.counters());
    ctl(dir.path(), "stop");
    let ended = car.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(!stderr(&ended).contains("panicked"), "{}", stderr(&ended));
    drop(ticks);
    let account: SidecarReport = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!(account.lanes[0].end, "stopped");
    assert!(account.lanes[0].gaps > gaps && account.lanes[0].ticks + account.lanes[0].lost == recorded.records);
}
