//! Creators killed at every step, on a fresh name and on a dead owner's.

use crate::common::{Place, drain, place};
use crate::roles::{SLOTS, cells, publish, signal};
use crate::victim::{Victim, walk};
use pillion_shm::leftovers::{self, Allow, Found};
use pillion_shm::{
    Access, BoardReader, BoardWriter, Clock, CncClient, CncOwner, From, Kind, RingReader, RingSpec, RingWriter, State,
};

/// Makes a region of `kind` that says something, and leaves it dead; returns its generation.
fn predecessor(place: &Place, kind: Kind) -> u64 {
    let access = Access::default();
    match kind {
        Kind::Ticks | Kind::Signals => {
            let spec = RingSpec { capacity: SLOTS, record_words: 14, table: vec![9; 100] };
            let mut ring = RingWriter::create(&place.lane, kind, &spec, &place.clock, &access).unwrap();
            publish(&mut ring, SLOTS + 1);
            ring.generation()
        }
        Kind::Board => {
            let mut board = BoardWriter::create(&place.lane, &cells(), &place.clock, &access).unwrap();
            board.set(0, 1, &signal(3));
            board.generation()
        }
        Kind::Cnc => {
            let page = CncOwner::create(&place.lane, &place.clock, &access).unwrap();
            page.set_state(State::Halt);
            page.generation()
        }
        Kind::Clock => panic!("a clock has no owner"),
    }
}

/// Whoever attaches to what bears the name finds it whole.
fn attaches(place: &Place, kind: Kind) {
    let (lane, clock) = (&place.lane, &place.clock);
    match kind {
        Kind::Ticks | Kind::Signals => _ = drain(&mut RingReader::attach(lane, kind, From::Start, clock).unwrap()),
        Kind::Board => _ = BoardReader::attach(lane, clock).unwrap().get(0, 1),
        Kind::Cnc => _ = CncClient::attach(lane, clock).unwrap().state(),
        Kind::Clock => _ = Clock::attach_or_create(place.dir.path()).unwrap().now_ns(),
    }
}

fn beside(place: &Place) -> Vec<Found> {
    let found = leftovers::list(place.dir.path()).unwrap();
    found.into_iter().filter(|found| found.path.extension().is_some_and(|end| end == "next")).collect()
}

/// Before the link there is no name, and after it a whole region: there is nothing in between.
#[test]
fn a_creator_dies_at_every_step() {
    for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
        let place = place();
        let path = place.lane.path(kind);
        let (mut absent, mut whole) = (0, 0);
        let points = walk(&format!("create:{}", kind.name()), |at| {
            if path.exists() {
                leftovers::remove(&path, &[], &Allow { halted: true, ..Allow::default() }).unwrap();
            }
            let died = Victim::start(&place, &format!("create:{}", kind.name()), Some(at)).end();
            let generation = match leftovers::look_at(&path) {
                None => {
                    absent += 1;
                    assert_eq!(place.files(), [""; 0], "nothing has a name: {died:?}");
                    0
                }
                Some(found) => {
                    whole += 1;
                    assert!(died.is_none() || died.as_deref() == Some("take-over: linked"), "{died:?}");
                    attaches(&place, kind);
                    assert!(!found.in_use());
                    found.sound().unwrap_or_else(|| panic!("half made: {found:#?}")).generation
                }
            };
            assert_eq!(predecessor(&place, kind), generation + 1, "killed at {died:?}");
            assert!(beside(&place).is_empty());
            died
        });
        assert!(absent >= 8 && whole == 2 && absent + whole == points + 1, "{absent} absent, {whole} whole");
    }
}

/// The clock likewise, which every process of the boot would have to agree on.
#[test]
fn a_clock_maker_dies_at_every_step() {
    let place = place();
    let path = place.lane.path(Kind::Clock);
    walk("create:clock", |at| {
        std::fs::remove_file(&path).unwrap();
        let died = Victim::start(&place, "create:clock", Some(at)).end();
        let left = leftovers::look_at(&path);
        assert_eq!(left.is_some(), died.as_deref().is_none_or(|died| died == "take-over: linked"), "{died:?}");
        let id = left.map(|found| found.sound().unwrap().clock_id);
        let clock = Clock::attach_or_create(place.dir.path()).unwrap();
        assert!(id.is_none_or(|id| id == clock.id()), "a whole clock is kept");
        assert_eq!(place.files(), [""; 0]);
        died
    });
}

/// At every step the name stands for a whole region, the old one or the new; a HALT stands in whichever it is.
#[test]
fn a_taker_over_dies_at_every_step() {
    for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
        let place = place();
        let path = place.lane.path(kind);
        let (mut swept, mut removed) = (0, 0);
        walk(&format!("take over:{}", kind.name()), |at| {
            let old = predecessor(&place, kind);
            let mut reader = (kind == Kind::Ticks).then(|| place.reader(From::Start).unwrap());
            let died = Victim::start(&place, &format!("create:{}", kind.name()), Some(at)).end();
            let found = leftovers::look_at(&path).unwrap_or_else(|| panic!("the name is gone, killed at {died:?}"));
            let region = found.sound().unwrap_or_else(|| panic!("half made: {found:#?}")).clone();
            let exchanged = region.generation == old + 1;
            let early = died.as_deref().is_some_and(|died| !died.contains("exchanged") && !died.contains("marked"))
                && died.as_deref() != Some("take-over: beside removed");
            assert_eq!((exchanged, region.generation == old), (!early, early), "killed at {died:?}");
            assert_eq!(region.halted, kind == Kind::Cnc, "killed at {died:?}");
            assert!(!found.owner_alive);
            attaches(&place, kind);
            if let Some(reader) = &mut reader {
                // What the dead owner left is read to its end before anybody asks for more.
                assert_eq!(drain(reader), (SLOTS, 1));
                assert_eq!((reader.superseded(), reader.follow().unwrap()), (exchanged, exchanged));
                assert_eq!((reader.generation(), drain(reader)), (region.generation, (0, 0)));
            }
            let left = beside(&place);
            let expected = matches!(died.as_deref(), Some("take-over: beside" | "take-over: exchanged"));
            assert_eq!(left.len(), usize::from(expected), "killed at {died:?}: {left:#?}");
            for found in &left {
                let region = found.sound().unwrap();
                assert!(region.beside && !found.in_use() && region.kind == kind, "{found:#?}");
            }
            // Half of them are removed by hand, the others by the next creator.
            for found in left.iter().filter(|_| kind != Kind::Ticks || at % 2 == 0) {
                leftovers::remove(&found.path, &[], &Allow::default()).unwrap();
                removed += 1;
            }
            swept += beside(&place).len();
            assert_eq!(predecessor(&place, kind), region.generation + 1, "killed at {died:?}");
            assert!(beside(&place).is_empty(), "swept by the next creator");
            if let Some(reader) = &mut reader {
                assert!(reader.superseded() && reader.follow().unwrap());
            }
            died
        });
        assert_eq!(swept + removed, 2, "{kind:?}");
        assert!(kind != Kind::Ticks || (swept, removed) == (1, 1), "{swept} swept, {removed} removed");
    }
}
