//! What the strategy stood for when the signals stopped coming: it must not stand for it any longer.

use crate::common::{Place, place, say, wait};
use crate::sidecar::Sidecar;
use crate::strategy::{Strategy, strategy, within};
use pillion_shm::{Kind, State, layout};
use rustix::process::Signal as Kill;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Ends the threads that look at it, also when a test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps saying BUY, as fresh as can be, until `strategy` prints it; its heart beats all the while.
fn buy(sidecar: &mut Sidecar, strategy: &mut Strategy) {
    let heard = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !heard.load(Ordering::Relaxed) {
                sidecar.beat();
                sidecar.say(1);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let _until = Until(&heard);
        strategy.hear("ESH4 mock: BUY");
    });
}

/// The second process of `a_killed_sidecar`.
pub fn child_sidecar() {
    let (lane, clock) = Place::of_parent();
    let mut sidecar = Sidecar::on(&lane, &clock, 0);
    sidecar.say(1);
    std::thread::spawn(move || {
        loop {
            sidecar.beat();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    say("ready");
    wait();
}

/// kill -9 cannot be told by any signal, nor by the state: only the heartbeat stops.
#[test]
fn a_killed_sidecar() {
    let place = place();
    let Some(command) = within(&place, "600000", "3000", &["--oldest", "--for", "120"]) else { return };
    let mut child = place.child("sidecar");
    assert_eq!(child.hear(), "ready");
    let mut strategy = Strategy::start(command);
    strategy.hear("ESH4 mock: BUY, up 1.000 down 0.000");
    child.kill();
    strategy.hear("ESH4 mock: stand aside, up 1.000 down 0.000");
    assert!(strategy.said.ends_with("us old: stand down: the sidecar's heartbeat has stopped\n"), "{}", strategy.said);
}

#[test]
fn a_halt_in_a_quiet_market() {
    let place = place();
    let Some(command) = strategy(&place, &["--for", "120"]) else { return };
    let mut sidecar = Sidecar::start(&place, 0);
    let mut strategy = Strategy::start(command);
    buy(&mut sidecar, &mut strategy);
    sidecar.page.set_state(State::Halt);
    strategy.hear("ESH4 mock: stand aside");
    assert!(strategy.said.ends_with("stand down: HALT is in force until an operator resumes\n"), "{}", strategy.said);
    // Stood aside once, not again and again; and once resumed, not before a fresh signal.
    sidecar.page.set_state(State::Run);
    buy(&mut sidecar, &mut strategy);
    assert_eq!(strategy.said.matches("stand aside").count(), 1, "{}", strategy.said);
    // In time or not, whoever ends pulls what rests.
    strategy.signal(Kill::TERM);
    let said = strategy.finish();
    assert!(said.contains("us old: stand down: the strategy ends\n"), "{said}");
    assert!(said.contains("would      buy 2 times, sell 0, go flat 0, stand aside 2\n"), "{said}");
}

/// The sidecar lives and beats on: the ring says nothing, or the board's cell is half written for ever.
#[test]
fn a_feed_that_stops() {
    let board = ["--board", "--symbol", "ESH4", "--model", "mock", "--for", "120"];
    for more in [&board[5..], &board] {
        let place = place();
        let Some(command) = within(&place, "1000", "600000", more) else { return };
        let mut sidecar = Sidecar::start(&place, 0);
        let mut strategy = Strategy::start(command);
        buy(&mut sidecar, &mut strategy);
        write(&place, Kind::Board, 0, 7);
        strategy.hear("ESH4 mock: stand aside");
        assert!(strategy.said.ends_with("stand down: the signal's tick is too old\n"), "{}", strategy.said);
    }
}

/// Overwrites the number of a slot, or of a cell, in a region.
fn write(place: &Place, kind: Kind, slot: u64, seq: u64) {
    let path = place.lane.path(kind);
    let bytes = std::fs::read(&path).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let at = word(layout::header::BODY_OFFSET) + slot * word(layout::header::STRIDE);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&seq.to_le_bytes(), at).unwrap();
}

/// A slot that contradicts itself, and one that only looks empty: said once each, and over with the next record.
#[test]
fn a_ring_that_is_scribbled_over() {
    let place = place();
    let Some(command) = strategy(&place, &["--for", "120"]) else { return };
    let mut sidecar = Sidecar::start(&place, 0);
    let mut strategy = Strategy::start(command);
    let stood_aside = |strategy: &mut Strategy, signal| {
        strategy.hear("ESH4 mock: stand aside");
        assert!(strategy.said.ends_with("stand down: somebody scribbles over the signals\n"), "{}", strategy.said);
        strategy.hear(&format!("signals contradicts itself at signal {signal}: find out who writes there"));
    };
    buy(&mut sidecar, &mut strategy);
    let next = sidecar.signals.published();
    write(&place, Kind::Signals, next, u64::MAX - 1);
    stood_aside(&mut strategy, next);

    buy(&mut sidecar, &mut strategy);
    strategy.stop();
    sidecar.say(1);
    let last = sidecar.signals.published() - 1;
    write(&place, Kind::Signals, last, 0);
    strategy.signal(Kill::CONT);
    stood_aside(&mut strategy, last);
    buy(&mut sidecar, &mut strategy);
    sidecar.page.set_state(State::Stopped);
    let said = strategy.finish();
    assert_eq!(said.matches("corrupt    ").count(), 2, "{said}");
    assert!(!said.contains(" 0 lost"), "the one that nobody can read: {said}");
}

/// Scores before a loss are history, even where each looks fresh.
#[test]
fn signals_that_are_lost() {
    let place = place();
    let Some(command) = strategy(&place, &["--for", "120"]) else { return };
    let mut sidecar = Sidecar::start(&place, 0);
    let mut strategy = Strategy::start(command);
    buy(&mut sidecar, &mut strategy);
    strategy.stop();
    (0..(1 << 16) + 9).for_each(|_| sidecar.say(1));
    strategy.signal(Kill::CONT);
    strategy.hear("us old: stand down: signals were lost, this score is history");
    strategy.hear("ESH4 mock: BUY");
}

/// Signals faster than it can take them, each of which changes its mind: it still ends in time, and when it is told to.
#[test]
fn a_ring_that_is_never_empty() {
    for (more, kill) in [(["--for", "0.3"], None), (["--for", "120"], Some(Kill::TERM))] {
        let place = place();
        let Some(mut command) = strategy(&place, &[&more[..], &["--show", "1000000000"]].concat()) else { return };
        let mut sidecar = Sidecar::start(&place, 0);
        let mut strategy = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(strategy.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    [1, -1].into_iter().for_each(|lean| sidecar.say(lean));
                }
            });
            let _until = Until(&ended);
            said.find(|line| line.contains("SELL")).expect("it saw signals");
            if let Some(signal) = kill {
                rustix::process::kill_process(rustix::process::Pid::from_child(&strategy), signal).unwrap();
            }
            // So many lines take far longer than it has.
            let summary = said.by_ref().take(3_000_000).any(|line| line.starts_with("summary "));
            if !summary {
                let _ = strategy.kill();
            }
            assert!(summary, "it does not end while signals come");
        });
        assert!(strategy.wait().unwrap().success());
    }
}
