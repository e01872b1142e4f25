//! What lies in a directory of regions is listed as it is, and removed only when nobody uses it.
#![cfg(not(loom))]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;

use common::{Place, drain, place, record, say, spec, wait};
use pillion_shm::layout::header;
use pillion_shm::leftovers::{self, Allow, Found, Refusal};
use pillion_shm::{Access, BoardSpec, BoardWriter, Clock, CncOwner, From, Kind, RingWriter, State};
use rustix::fs::{CWD, FileType, Mode};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    let (lane, clock) = Place::of_parent();
    match role.as_str() {
        "hold" => {
            let _ring = RingWriter::create(&lane, Kind::Ticks, &spec(64), &clock, &Access::default()).unwrap();
            say("held");
            wait();
        }
        "remove" => {
            let path = lane.path(Kind::Ticks);
            let found = leftovers::look_at(&path).unwrap();
            say(format!("{} {}", found.owner_alive, found.mapped_by.len()));
            match leftovers::remove(&path, &[], &Allow::default()) {
                Ok(()) => say("removed"),
                Err(error) => say(error),
            }
            wait();
        }
        role => panic!("no role {role}"),
    }
}

const ALL: Allow = Allow { halted: true, clock: true, broken: true };

fn list(place: &Place) -> Vec<Found> {
    leftovers::list(place.dir.path()).unwrap()
}

fn named<'a>(found: &'a [Found], name: &str) -> &'a Found {
    found.iter().find(|found| found.path.ends_with(name)).unwrap_or_else(|| panic!("no {name} in {found:#?}"))
}

fn remove(place: &Place, path: &Path, allow: &Allow) -> Result<(), Refusal> {
    leftovers::remove(path, &list(place), allow)
}

fn cells(instruments: u32, models: u32) -> BoardSpec {
    BoardSpec { instruments, models, ..BoardSpec::default() }
}

fn patch(path: &Path, at: usize, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at as u64).unwrap();
}

/// A dead owner's ring of one record.
fn dead_ring(place: &Place) -> PathBuf {
    let mut ring = place.writer(64).unwrap();
    ring.publish_at(&record(0), 7);
    ring.path().to_owned()
}

#[test]
fn everything_is_listed_as_what_it_is() {
    let place = place();
    let mut ring = place.writer(64).unwrap();
    (0..5).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    drop(BoardWriter::create(&place.lane, &cells(2, 3), &place.clock, &Access::default()).unwrap());
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Run);
    page.set_state(State::Halt);
    let found = list(&place);
    let names: Vec<_> = found.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["pillion.clock", "pillion.test.board", "pillion.test.cnc", "pillion.test.ticks"]);
    let ticks = named(&found, "pillion.test.ticks");
    let region = ticks.sound().unwrap();
    assert_eq!((region.lane.as_deref(), region.kind, region.beside), (Some("test"), Kind::Ticks, false));
    assert_eq!((region.head, region.capacity, region.generation), (Some(5), 64, 1));
    assert_eq!((region.owner_pid, region.clock_id, region.this_boot), (std::process::id(), place.clock.id(), true));
    assert!(ticks.owner_alive && ticks.mapped_by == [std::process::id()] && ticks.in_use());
    assert_eq!(ticks.bytes, std::fs::metadata(&ticks.path).unwrap().len());
    let cnc = named(&found, "pillion.test.cnc").sound().unwrap();
    assert_eq!((cnc.state, cnc.halted, cnc.head), (Some(State::Halt), true, None));
    let board = named(&found, "pillion.test.board");
    assert_eq!((board.sound().unwrap().capacity, board.in_use()), (6, false));
    drop((ring, page));
    let found = list(&place);
    assert!(found.iter().all(|found| !found.in_use() && found.sound().is_some()), "{found:#?}");
}

#[test]
fn what_is_no_region_is_listed_with_its_reason() {
    let place = place();
    let path = |name: &str| place.dir.path().join(name);
    std::fs::write(path("pillion.junk.ticks"), [7; 4096]).unwrap();
    std::fs::write(path("pillion.short.ticks"), [7; 40]).unwrap();
    std::fs::create_dir(path("pillion.dir.cnc")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("pillion.link.board")).unwrap();
    rustix::fs::mknodat(CWD, path("pillion.pipe.ticks"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    std::fs::write(path("unrelated"), b"x").unwrap();
    let ring = dead_ring(&place);
    std::fs::copy(&ring, path("pillion.test.nokind")).unwrap();
    std::fs::copy(&ring, path("pillion.test.signals")).unwrap();
    std::fs::copy(&ring, path(".pillion.test.ticks.4711.next")).unwrap();
    std::fs::copy(&ring, path("pillion.cut.ticks")).unwrap();
    OpenOptions::new().write(true).open(path("pillion.cut.ticks")).unwrap().set_len(1000).unwrap();
    std::fs::copy(&ring, path("pillion.future.cnc")).unwrap();
    let kind = u64::from(Kind::Cnc as u32) << 32 | 77;
    patch(&path("pillion.future.cnc"), header::VERSION, &kind.to_ne_bytes());

    let found = list(&place);
    assert!(!found.iter().any(|found| found.path.ends_with("unrelated")));
    for (name, reason) in [
        ("pillion.junk.ticks", "starts with 0x0707070707070707"),
        ("pillion.short.ticks", "40 bytes"),
        ("pillion.dir.cnc", "not a regular file"),
        ("pillion.link.board", "symbolic link"),
        ("pillion.pipe.ticks", "not a regular file"),
        ("pillion.test.nokind", "not that of a region"),
    ] {
        let why = named(&found, name).what.as_ref().unwrap_err();
        assert!(why.contains(reason), "{name}: {why}");
    }
    for (name, reason) in [
        ("pillion.test.signals", "kind is ticks"),
        ("pillion.cut.ticks", "has 1000 bytes"),
        ("pillion.future.cnc", "77"),
    ] {
        let region = named(&found, name).what.as_ref().unwrap();
        assert!(region.problem.as_ref().is_some_and(|why| why.contains(reason)), "{name}: {region:?}");
    }
    // Whose state cannot be read may have been halted.
    let future = named(&found, "pillion.future.cnc").what.as_ref().unwrap();
    assert!(future.halted && future.state.is_none() && future.layout_version == 77);
    let next = named(&found, ".pillion.test.ticks.4711.next").sound().unwrap();
    assert!(next.beside && next.head == Some(1));

    // Links and directories are never removed, other files only when they are meant.
    for name in ["pillion.link.board", "pillion.dir.cnc", "pillion.pipe.ticks"] {
        remove(&place, &path(name), &ALL).unwrap_err();
    }
    let kept = remove(&place, &path("pillion.junk.ticks"), &Allow::default()).unwrap_err();
    assert!(matches!(kept, Refusal::Foreign { .. }), "{kept}");
    remove(&place, &path("pillion.junk.ticks"), &ALL).unwrap();
    let kept = remove(&place, &path("unrelated"), &ALL).unwrap_err();
    assert!(matches!(kept, Refusal::Name { .. }), "{kept}");
    for name in [".pillion.test.ticks.4711.next", "pillion.cut.ticks", "pillion.test.signals"] {
        remove(&place, &path(name), &Allow::default()).unwrap();
    }
    assert!(Path::new("/etc/passwd").exists());
    let gone = remove(&place, &path("pillion.no.ticks"), &ALL).unwrap_err();
    assert!(matches!(gone, Refusal::Absent { .. }), "{gone}");
    let left: Vec<_> = place.files();
    assert_eq!(
        left,
        [
            "pillion.dir.cnc",
            "pillion.future.cnc",
            "pillion.link.board",
            "pillion.pipe.ticks",
            "pillion.short.ticks",
            "pillion.test.nokind",
            "pillion.test.ticks",
            "unrelated"
        ]
    );
}

/// Every byte of a header set to values that matter: listed, never a panic, and a live owner's is never removed.
#[test]
fn no_header_byte_can_break_the_list() {
    let place = place();
    drop(CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap());
    let ring = dead_ring(&place);
    for path in [ring, place.lane.path(Kind::Cnc)] {
        let whole = std::fs::read(&path).unwrap();
        for at in 0..header::END {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                patch(&path, at, &[value]);
                let found = leftovers::look_at(&path).unwrap();
                assert!(found.what.as_ref().map_or_else(|why| !why.is_empty(), |_| true));
            }
            patch(&path, at, &whole[at..=at]);
        }
    }
}

#[test]
fn nothing_in_use_is_removed() {
    let place = place();
    let mut child = place.child("hold");
    assert_eq!(child.hear(), "held");
    let path = place.lane.path(Kind::Ticks);
    let owned = remove(&place, &path, &ALL).unwrap_err();
    assert!(matches!(&owned, Refusal::Owned { pid, .. } if *pid == child.pid()), "{owned}");
    let clock = remove(&place, &place.lane.path(Kind::Clock), &ALL).unwrap_err();
    assert!(matches!(&clock, Refusal::ClockInUse { user, .. } if *user == path), "{clock}");
    let reader = place.reader(From::Next).unwrap();
    child.kill();
    let mapped = remove(&place, &path, &ALL).unwrap_err();
    assert!(matches!(&mapped, Refusal::Mapped { pids, .. } if *pids == [std::process::id()]), "{mapped}");
    drop(reader);
    remove(&place, &path, &Allow::default()).unwrap();
    let clock = remove(&place, &place.lane.path(Kind::Clock), &Allow::default()).unwrap_err();
    assert!(matches!(clock, Refusal::Clock { .. }), "{clock}");
    remove(&place, &place.lane.path(Kind::Clock), &ALL).unwrap();
    assert!(list(&place).is_empty());
}

#[test]
fn a_clock_of_another_boot_goes_unless_a_region_on_it_is_in_use() {
    let place = place();
    let path = place.lane.path(Kind::Clock);
    let ring = place.writer(64).unwrap();
    patch(&path, header::BOOT_ID, &[0xee; 16]);
    assert!(matches!(remove(&place, &path, &ALL), Err(Refusal::ClockInUse { .. })));
    drop(ring);
    remove(&place, &path, &Allow::default()).unwrap();
}

#[test]
fn a_halt_in_force_keeps_its_page() {
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Halt);
    page.set_state(State::Stopped);
    drop(page);
    let path = place.lane.path(Kind::Cnc);
    let kept = remove(&place, &path, &Allow { clock: true, broken: true, halted: false }).unwrap_err();
    assert!(matches!(kept, Refusal::Halted { .. }) && kept.to_string().contains("--halted"), "{kept}");
    remove(&place, &path, &Allow { halted: true, ..Allow::default() }).unwrap();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    assert!(!page.start_halted() && page.generation() == 1);
    page.set_state(State::Run);
    drop(page);
    remove(&place, &path, &Allow::default()).unwrap();
}

/// A reader that nobody can see, since /proc shows another pid namespace: it loses nothing, and finds the next ring.
#[test]
fn a_hidden_reader_keeps_what_it_maps() {
    let wrapper = ["unshare", "-pf", "--mount-proc"];
    let probe = std::process::Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip::skip("no pid namespaces here");
    }
    let place = place();
    let mut ring = place.writer(64).unwrap();
    (0..64).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    let mut reader = place.reader(From::Oldest).unwrap();
    let exe = std::env::current_exe().unwrap();
    let mut child = place.child_under(&wrapper, &exe, "remove");
    // The owner's lock is seen from there, though the owner is not.
    assert_eq!(child.hear(), "true 0");
    assert!(child.hear().contains("held by a live process"));
    child.end();
    drop(ring);
    let mut child = place.child_under(&wrapper, &exe, "remove");
    assert_eq!(child.hear(), "false 0");
    assert_eq!(child.hear(), "removed");
    child.end();
    assert_eq!(drain(&mut reader), (64, 0));
    assert!(reader.superseded() && !reader.follow().unwrap());
    let mut ring = place.writer(64).unwrap();
    ring.publish_at(&record(0), 7);
    assert_eq!(ring.generation(), 1);
    assert!(reader.follow().unwrap());
    assert_eq!(drain(&mut reader), (1, 0));
}

/// Creators come and go while others remove: whoever was given a ring has the name for as long as it lives.
#[test]
fn a_racing_creator_never_loses_its_region() {
    let place = place();
    let (made, removed, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let path = place.lane.path(Kind::Ticks);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if leftovers::remove(&path, &[], &Allow::default()).is_ok() {
                        removed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let creators = [0, 1].map(|_| {
            scope.spawn(|| {
                // Until enough has happened; a minute of too little is a failure.
                let start = Instant::now();
                let enough = || made.load(Ordering::Relaxed) > 200 && removed.load(Ordering::Relaxed) > 20;
                while !enough() && start.elapsed() < Duration::from_secs(60) {
                    std::thread::sleep(Duration::from_millis(1));
                    let Ok(ring) = place.writer(4) else { continue };
                    made.fetch_add(1, Ordering::Relaxed);
                    let clock = Clock::attach_or_create(place.dir.path()).unwrap();
                    for _ in 0..3 {
                        let reader = pillion_shm::RingReader::attach(&place.lane, Kind::Ticks, From::Next, &clock);
                        let reader = reader.unwrap_or_else(|error| panic!("lost its name: {error}"));
                        assert!(reader.owner_alive() && !reader.superseded());
                        assert_eq!((reader.generation(), reader.created_ns() > 0), (ring.generation(), true));
                    }
                }
            })
        });
        for creator in creators {
            let ended = creator.join();
            done.store(true, Ordering::Relaxed);
            ended.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let (made, removed) = (made.into_inner(), removed.into_inner());
    assert!(made > 200 && removed > 20, "{made} made, {removed} removed");
}
