//! Kills from outside, at moments that nobody chose: the same promises as at the chosen ones.

use crate::common::{drain, place};
use crate::script::{SOON, publish, signal, stages};
use crate::sidecar::drain_signals;
use crate::victim::{Left, Victim, is_gone};
use pillion_shm::leftovers::{self, Allow};
use pillion_shm::{
    Access, BoardReader, CncClient, CncOwner, Command, Error, From, Kind, Outcome, Reading, RingReader, State,
};
use std::time::{Duration, Instant};

/// Kills of one kind; `PILLION_CRASH_ROUNDS` times as many for a soak.
fn rounds(count: u64) -> std::ops::Range<u64> {
    let times = std::env::var("PILLION_CRASH_ROUNDS").map_or(1, |times| times.parse().expect("a number of rounds"));
    0..(count * times).div_ceil(crate::SHARE)
}

/// A while of up to 2 ms, another in each round.
fn a_while(round: u64) -> Duration {
    Duration::from_nanos((round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 2_000_000)
}

fn told(what: &str, kills: u64, started: Instant) {
    println!("killed {what} {kills} times at random in {:.1} s", started.elapsed().as_secs_f64());
}

#[test]
fn ring_writers_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(1000));
    let path = place.lane.path(Kind::Ticks);
    let mut old: Option<RingReader> = None;
    let mut lost_in_all = 0;
    for round in kills.clone() {
        let mut victim = Victim::start(&place, "endless:ring", None);
        assert_eq!(victim.hear(), Some((round + 1).to_string()));
        if let Some(reader) = &mut old {
            assert!(reader.successor() && reader.follow().unwrap());
        }
        let mut early = place.reader(From::Start).unwrap();
        let (until, mut read, mut lost) = (Instant::now() + a_while(round), 0, 0);
        while Instant::now() < until {
            let (r, l) = drain(&mut early);
            (read, lost) = (read + r, lost + l);
        }
        victim.kill();
        let left = Left::of(&path);
        let (r, l) = drain(&mut early);
        assert_eq!(read + r + lost + l, left.committed, "{left:?}");
        let mut late = place.reader(From::Start).unwrap();
        let (r, l) = drain(&mut late);
        assert_eq!(r + l, left.committed);
        assert!((left.at_least()..=left.whole()).contains(&r), "{r} of {left:?}");
        assert!(early.check() && late.check() && is_gone(|| early.owner_alive()) && !late.superseded());
        if let Some(reader) = &mut old {
            let (r, l) = drain(reader);
            assert_eq!(r + l, left.committed, "the reader that followed");
        }
        lost_in_all += lost;
        old = Some(late);
    }
    println!("{lost_in_all} records lost and counted by a reader that fell behind");
    told("ring writers", kills.end, started);
    assert_eq!(place.files(), ["pillion.test.ticks"]);
}

#[test]
fn board_writers_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(600));
    let mut busy = 0;
    for round in kills.clone() {
        let mut victim = Victim::start(&place, "endless:board", None);
        assert_eq!(victim.hear(), Some((round + 1).to_string()));
        let board = BoardReader::attach(&place.lane, &place.clock).unwrap();
        let (until, mut last) = (Instant::now() + a_while(round), 0);
        let mut look = || match board.read(1, 1) {
            Reading::Value(found) => {
                assert_eq!(found, signal(found.ring_seq), "torn");
                assert!(found.ring_seq >= last, "{} after {last}", found.ring_seq);
                last = found.ring_seq;
                0
            }
            Reading::Never => 0,
            Reading::Busy => 1,
        };
        while Instant::now() < until {
            look();
        }
        victim.kill();
        busy += look();
        assert!(is_gone(|| board.owner_alive()) && !board.superseded());
    }
    println!("{busy} of {} left the cell in the middle of a write", kills.end);
    told("board writers", kills.end, started);
}

/// Owners of a page under an operator: what was answered stays so, over every restart.
#[test]
fn page_owners_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(600));
    let (mut halted, mut answers) = (false, 0);
    for round in kills.clone() {
        let mut victim = Victim::start(&place, "endless:page", None);
        assert_eq!(victim.hear(), Some((round + 1).to_string()));
        let operator = CncClient::attach_operator(&place.lane).unwrap();
        assert_eq!(operator.halted(), halted);
        let command = if round % 3 == 2 { Command::Resume } else { Command::Halt };
        let wanted = command == Command::Halt;
        let killer = std::thread::spawn(move || {
            std::thread::sleep(a_while(round));
            victim.kill();
        });
        let answer = operator.request(command, SOON);
        killer.join().unwrap();
        match answer {
            Ok(outcome) => {
                answers += 1;
                assert_eq!((outcome, operator.halted()), (Outcome::Done, wanted));
            }
            Err(Error::NoOwner { .. }) => assert!(operator.halted() == halted || operator.halted() == wanted),
            Err(error) => panic!("{error}"),
        }
        halted = operator.halted();
        assert!(operator.stages().is_none_or(|found| found == stages(found[0].count)), "torn stages");
        assert!(is_gone(|| operator.owner_alive()) && !operator.superseded());
    }
    println!("{answers} of {} requests answered", kills.end);
    told("page owners", kills.end, started);
}

/// Creators that make, drop and take over without end: the name is whole at every moment.
#[test]
fn creators_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(600));
    let mut beside = 0;
    drop(CncOwner::create(&place.lane, &place.clock, &Access::default()).map(|page| page.set_state(State::Halt)));
    for round in kills.clone() {
        let mut victim = Victim::start(&place, "endless:create", None);
        assert_eq!(victim.hear().as_deref(), Some("ready"));
        std::thread::sleep(a_while(round));
        victim.kill();
        for found in leftovers::list(place.dir.path()).unwrap() {
            let region = found.sound().unwrap_or_else(|| panic!("half made: {found:#?}"));
            assert!(!found.in_use() && region.halted == (region.kind == Kind::Cnc), "{found:#?}");
            if region.beside {
                beside += 1;
                leftovers::remove(&found.path, &[], &Allow::default()).unwrap();
            }
        }
        assert!(CncClient::attach(&place.lane, &place.clock).unwrap().halted(), "the HALT outlives every take-over");
    }
    println!("{beside} of {} died between the link beside the name and its removal", kills.end);
    told("creators", kills.end, started);
}

/// Readers and operators, under a writer and an owner that must not notice.
#[test]
fn readers_and_operators_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(300));
    let mut ring = place.writer(64).unwrap();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    let mut other = place.reader(From::Start).unwrap();
    let (mut read, mut lost, mut answered) = (0, 0, 0);
    for round in kills.clone() {
        let mut victims = ["endless:read", "endless:operate"].map(|role| Victim::start(&place, role, None));
        victims.iter_mut().for_each(|victim| assert_eq!(victim.hear().as_deref(), Some("ready")));
        let until = Instant::now() + a_while(round);
        while Instant::now() < until {
            publish(&mut ring, 10);
            if let Some(request) = page.poll_mailbox() {
                page.set_state(State::Halt);
                page.answer(&request, Outcome::Done);
                answered += 1;
            }
            let (r, l) = drain(&mut other);
            (read, lost) = (read + r, lost + l);
        }
        victims.into_iter().for_each(Victim::kill);
        // The dead operator's last request is answered like any other: the mailbox is free for the next.
        if let Some(request) = page.poll_mailbox() {
            page.answer(&request, Outcome::Done);
        }
        assert_eq!(page.poll_mailbox(), None);
    }
    assert_eq!(read + lost, ring.published());
    println!("{answered} requests answered, {} records published", ring.published());
    told("readers and operators", 2 * kills.end, started);
}

/// A sidecar in the middle of its work, under a feed that goes on.
#[test]
fn sidecars_are_killed() {
    if !crate::has_victims() {
        return;
    }
    let (place, started, kills) = (place(), Instant::now(), rounds(600));
    let mut feed = place.writer(64).unwrap();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Halt);
    drop(page);
    let mut done = 0;
    for round in kills.clone() {
        let mut victim = Victim::start(&place, "endless:sidecar", None);
        assert_eq!(victim.hear(), Some(format!("{} true", round + 2)));
        let mut signals = RingReader::attach(&place.lane, Kind::Signals, From::Start, &place.clock).unwrap();
        victim.go();
        let until = Instant::now() + a_while(round);
        let (mut read, mut lost) = (0, 0);
        while Instant::now() < until {
            publish(&mut feed, 3);
            let (r, l) = drain_signals(&mut signals);
            (read, lost) = (read + r, lost + l);
        }
        victim.kill();
        let left = Left::of(&place.lane.path(Kind::Signals));
        let (r, l) = drain_signals(&mut signals);
        assert_eq!(read + r + lost + l, left.committed);
        let page = CncClient::attach(&place.lane, &place.clock).unwrap();
        let counters = page.counters();
        assert!(counters.signals <= left.committed && page.halted(), "{counters:?} {left:?}");
        assert!(page.consumed_of(feed.generation()) <= feed.published());
        done += left.committed;
    }
    println!("{done} signals published");
    told("sidecars", kills.end, started);
}
