//! Writers, owners, operators and readers killed at every store they make.

use crate::common::{Place, WORDS, drain, place};
use crate::script::{BURST, NEIGHBOUR, SETS, SLOTS, SOON, publish, signal, stages};
use crate::victim::{Left, Victim, in_a_cell, is_gone, walk};
use pillion_shm::leftovers::{self, Allow};
use pillion_shm::{
    Access, BoardReader, BoardWriter, CncClient, CncOwner, Command, Error, From, Kind, Outcome, Reading, RingReader,
};

/// Takes the dead ring's name over and sees every reader off to it.
fn goes_on(place: &Place, generation: u64, readers: &mut [&mut RingReader]) {
    let mut ring = place.writer(SLOTS).unwrap();
    assert_eq!((ring.generation(), ring.published()), (generation + 1, 0));
    publish(&mut ring, 2);
    for reader in readers {
        assert!(reader.successor() && reader.superseded() && reader.follow().unwrap());
        assert_eq!((reader.generation(), drain(reader)), (generation + 1, (2, 0)));
    }
}

/// Stores of a record: mark, words, stamp, commit and head.
const STORES: u64 = WORDS as u64 + 4;

/// A ring that is empty, half full, and wrapped when its writer dies.
#[test]
fn a_ring_writer_dies_at_every_store() {
    if !crate::has_victims() {
        return;
    }
    let place = place();
    let mut points = 0;
    for before in [0, SLOTS - 1, SLOTS, 3 * SLOTS + 2] {
        points += walk(&format!("ring:{before}"), |at| {
            let mut victim = Victim::start(&place, &format!("ring:{before}"), Some(at));
            let generation = victim.hear().unwrap().parse().unwrap();
            let mut early = place.reader(From::Start).unwrap();
            let already = drain(&mut early);
            assert_eq!(already.0 + already.1, before);
            let mut late_drainer = place.reader(From::Next).unwrap();
            victim.go();
            let died = victim.end();

            let left = Left::of(&place.lane.path(Kind::Ticks));
            // Of the record that it died in: mark, words, stamp, then commit, then head.
            let (done, step) = (before + (at - 1) / STORES, (at - 1) % STORES + 1);
            let expected = match died {
                None => (before + BURST, false, before + BURST),
                Some(_) if step == STORES => (done + 1, false, done + 1),
                Some(_) if step == STORES - 1 => (done + 1, false, done),
                Some(_) => (done, true, done),
            };
            assert_eq!((left.committed, left.marked, left.head), expected, "killed at {died:?}");
            // Attached before: what it has read and lost is all that was published, by the marks that are left.
            let since = drain(&mut early);
            assert_eq!(already.0 + already.1 + since.0 + since.1, left.committed, "{left:?}");
            assert_eq!(early.cursor(), left.committed);
            assert!(since.0 >= left.at_least().min(left.committed - before), "{since:?} of {left:?}");
            let (read, lost) = drain(&mut late_drainer);
            assert_eq!(read + lost, left.committed - before);
            // Attached after: what is left is read, and the rest counted.
            let mut late = place.reader(From::Start).unwrap();
            let (read, lost) = drain(&mut late);
            assert_eq!(read + lost, left.committed);
            assert!((left.at_least()..=left.whole()).contains(&read), "{read} of {left:?}");
            for reader in [&early, &late] {
                assert!(is_gone(|| reader.owner_alive()) && !reader.successor() && !reader.superseded());
                assert!(reader.check(), "a kill is no corruption: {died:?} {left:?}");
            }
            let mut next = place.reader(From::Next).unwrap();
            assert_eq!(drain(&mut next).0, left.committed - left.head);

            let found = leftovers::look_at(&place.lane.path(Kind::Ticks)).unwrap();
            assert_eq!((found.owner_alive, found.sound().unwrap().head), (false, Some(left.head)));
            goes_on(&place, generation, &mut [&mut early, &mut late]);
            assert_eq!(place.files(), ["pillion.test.ticks"]);
            died
        });
    }
    assert_eq!(points, 4 * BURST * STORES);
    drop(place.writer(SLOTS).unwrap());
    leftovers::remove(&place.lane.path(Kind::Ticks), &[], &Allow::default()).unwrap();
    assert!(place.files().is_empty());
}

#[test]
fn a_board_writer_dies_at_every_store() {
    if !crate::has_victims() {
        return;
    }
    let place = place();
    let mut points = 0;
    for before in [0, 1, 5] {
        points += walk(&format!("board:{before}"), |at| {
            let mut victim = Victim::start(&place, &format!("board:{before}"), Some(at));
            let generation: u64 = victim.hear().unwrap().parse().unwrap();
            let early = BoardReader::attach(&place.lane, &place.clock).unwrap();
            victim.go();
            let died = victim.end();
            let late = BoardReader::attach(&place.lane, &place.clock).unwrap();
            for board in [&early, &late] {
                match board.read(1, 1) {
                    Reading::Value(found) => {
                        assert_eq!(found, signal(found.ring_seq), "torn");
                        assert!((before..=before + SETS).contains(&found.ring_seq), "{found:?}");
                        assert_eq!(died.as_deref().unwrap_or("cell: commit"), "cell: commit");
                    }
                    Reading::Never => unreachable!("a mark was made first, {died:?}"),
                    // Killed between mark and commit: said, and never shown half.
                    Reading::Busy => assert!(in_a_cell(died.as_deref()), "{died:?}"),
                }
                let beside = [(0, 1), (1, 0)].map(|(instrument, model)| board.read(instrument, model));
                assert_eq!(beside, [NEIGHBOUR, NEIGHBOUR + 1].map(|n| Reading::Value(signal(n))), "killed at {died:?}");
                assert_eq!(board.read(0, 0), Reading::Never);
                assert!(is_gone(|| board.owner_alive()) && !board.superseded());
            }
            let spec = crate::script::cells();
            let mut board = BoardWriter::create(&place.lane, &spec, &place.clock, &Access::default()).unwrap();
            assert_eq!(board.generation(), generation + 1);
            board.set(1, 1, &signal(9));
            assert!(early.superseded() && late.superseded());
            let next = BoardReader::attach(&place.lane, &place.clock).unwrap();
            assert_eq!(next.read(1, 1), Reading::Value(signal(9)));
            died
        });
    }
    assert_eq!(points, 3 * SETS * (signal(0).words().len() as u64 + 2));
    assert_eq!(place.files(), ["pillion.test.board"]);
}

/// The owner of a page, asked in the middle: what was answered holds, and the HALT is what the page says, over the restart.
fn a_page_owner_dies(command: Command, halted_before: bool) -> u64 {
    let place = place();
    let (mut answered, mut left) = (0, 0);
    let points = walk(&format!("page, {command:?}"), |at| {
        if at > 1 {
            leftovers::remove(&place.lane.path(Kind::Cnc), &[], &Allow { halted: true, ..Allow::default() }).unwrap();
        }
        let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
        page.set_halted(halted_before);
        drop(page);
        let mut victim = Victim::start(&place, "page", Some(at));
        assert_eq!(victim.hear(), Some(format!("2 {halted_before}")));
        let operator = CncClient::attach_operator(&place.lane).unwrap();
        victim.go();
        let wanted = command == Command::Halt;
        match operator.request(command, SOON) {
            Ok(outcome) => {
                answered += 1;
                assert_eq!((outcome, operator.halted()), (Outcome::Done, wanted));
            }
            Err(Error::NoOwner { .. }) => left += 1,
            Err(error) => panic!("{error}"),
        }
        let died = victim.end();
        let halted = operator.halted();
        assert!(halted == wanted || halted == halted_before);
        let whole = operator.stages().is_none_or(|found| found == stages(1) || found == stages(2));
        assert!(whole, "torn stages: {:?}", operator.stages());
        assert!(matches!(operator.consumed_of(3), 0 | 2), "{}", operator.consumed_of(3));
        let found = leftovers::look_at(&place.lane.path(Kind::Cnc)).unwrap();
        assert_eq!((found.owner_alive, found.sound().unwrap().halted), (false, halted));

        let next = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
        assert_eq!((next.start_halted(), next.halted()), (halted, halted), "killed at {died:?}");
        assert!(operator.superseded());
        died
    });
    println!("{command:?} with HALT {halted_before}: {answered} answers, {left} told that the owner is gone");
    assert!(answered > 0 && left > 0, "kills fell on both sides of the answer");
    points
}

#[test]
fn a_page_owner_dies_at_every_store() {
    if !crate::has_victims() {
        return;
    }
    let starts = [(Command::Halt, false), (Command::Halt, true), (Command::Resume, false), (Command::Resume, true)];
    let points: Vec<_> = starts.into_iter().map(|(command, halted)| a_page_owner_dies(command, halted)).collect();
    // Beat, ring and consumed 4; HALT, state and answer 3; counters 8; mark, 49 words and commit 51.
    assert_eq!(points, [66; 4]);
}

/// One word is the whole request: an operator that dies has asked or it has not, and the next one is served.
#[test]
fn an_operator_dies_at_every_store() {
    if !crate::has_victims() {
        return;
    }
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    let serve = |state| {
        let Some(request) = page.poll_mailbox() else { return false };
        page.set_state(state);
        page.answer(&request, Outcome::Done);
        true
    };
    let points = walk("operator", |at| {
        let mut victim = Victim::start(&place, "operator", Some(at));
        victim.hear().unwrap();
        victim.go();
        let died = match at {
            1 => {
                let died = victim.end();
                assert!(serve(pillion_shm::State::Halt), "it had asked: {died:?}");
                died
            }
            _ => {
                while !serve(pillion_shm::State::Halt) {
                    std::thread::yield_now();
                }
                victim.end()
            }
        };
        assert!(!serve(pillion_shm::State::Run));
        std::thread::scope(|scope| {
            let operator = CncClient::attach_operator(&place.lane).unwrap();
            let next = scope.spawn(move || operator.request(Command::Resume, SOON).unwrap());
            while !serve(pillion_shm::State::Run) {
                std::thread::yield_now();
            }
            assert_eq!(next.join().unwrap(), Outcome::Done);
        });
        died
    });
    assert_eq!(points, 1);
}

/// An operator who writes its order on a dead sidecar's page: it is there or not, and the lock it held is free.
#[test]
fn an_order_to_a_dead_sidecar_dies_at_every_store() {
    if !crate::has_victims() {
        return;
    }
    let place = place();
    for command in [Command::Halt, Command::Resume] {
        let wanted = command == Command::Halt;
        let points = walk(&format!("order {command:?}"), |at| {
            let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
            page.set_halted(!wanted);
            drop(page);
            let mut victim = Victim::start(&place, &format!("order:{}", command as u8), Some(at));
            victim.hear().unwrap();
            victim.go();
            let died = victim.end();
            let next = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
            assert_eq!(next.start_halted(), wanted, "killed at {died:?}");
            died
        });
        assert_eq!(points, 1);
    }
}

/// A reader passes no point from attach to its last poll: it has nothing to store and nothing to leave behind.
#[test]
fn a_reader_has_no_store_to_die_at() {
    if !crate::has_victims() {
        return;
    }
    let place = place();
    let mut ring = place.writer(SLOTS).unwrap();
    publish(&mut ring, 7);
    let before = std::fs::read(ring.path()).unwrap();
    let mut victim = Victim::start(&place, "reader", Some(1));
    assert_eq!(victim.hear().as_deref(), Some("4 0 0"));
    victim.kill();
    assert_eq!(std::fs::read(ring.path()).unwrap(), before, "not one byte changed");
    assert_eq!(place.files(), ["pillion.test.ticks"]);
}
