//! Regions in one process and under other users: what is refused, how it is said, and who may do what.
#![cfg(not(loom))]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;

use common::{Place, place, say, spec, wait};
use pillion_shm::layout::{self, LAYOUT_VERSION, V1_HASH, header, layout_hash};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Counters, Error, From, Kind,
    Lane, LockMemory, Outcome, Poll, RingReader, RingWriter, StageSummary, State,
};
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    match role.as_str() {
        "attach" => say_error(|lane, clock| RingReader::attach(lane, Kind::Ticks, From::Next, clock).map(drop)),
        "create" => say_error(|lane, clock| create(lane, clock, 64, LockMemory::Try).map(drop)),
        "locked" => say_error(|lane, clock| create(lane, clock, 1 << 18, LockMemory::Require).map(drop)),
        "unlocked" => {
            say_error(|lane, clock| create(lane, clock, 1 << 18, LockMemory::Try).map(|ring| assert!(!ring.locked())))
        }
        "full" => child_full(),
        role => panic!("no role {role}"),
    }
    wait();
}

fn create(lane: &Lane, clock: &Clock, capacity: u64, lock: LockMemory) -> pillion_shm::Result<RingWriter> {
    let access = Access { lock, ..Access::default() };
    RingWriter::create(lane, Kind::Ticks, &spec(capacity), clock, &access)
}

fn say_error(what: impl FnOnce(&Lane, &Clock) -> pillion_shm::Result<()>) {
    let (lane, clock) = Place::of_parent();
    match what(&lane, &clock) {
        Ok(()) => say("ok"),
        Err(error) => say(error),
    }
}

/// In a mount namespace of its own, with a tmpfs of 1 MiB.
fn child_full() {
    let small = Lane::in_dir(std::env::var("PILLION_TEST_SMALL").unwrap(), "test").unwrap();
    let clock = Clock::attach_or_create(small.dir()).unwrap();
    let fits = create(&small, &clock, 1024, LockMemory::No).unwrap();
    say(create(&Lane::in_dir(small.dir(), "more").unwrap(), &clock, 8192, LockMemory::No).unwrap_err());
    drop(fits);
    // A take-over needs room for both, and leaves the old ring as it was when there is none.
    say(create(&small, &clock, 8192, LockMemory::No).unwrap_err());
    let old = RingReader::attach(&small, Kind::Ticks, From::Next, &clock).unwrap();
    assert!(old.capacity() == 1024 && !old.superseded());
    assert_eq!(std::fs::read_dir(small.dir()).unwrap().count(), 2, "ring and clock");
}

/// A copy of this binary where every user may run it, or a plain word that there is no such place.
fn exe_for_all() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        skip::skip("only root can become another user");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let exe = dir.path().join("child");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    Some((dir, exe))
}

const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn a_full_file_system_is_found_at_create() {
    let place = place();
    let error = place.writer(1 << 40).unwrap_err().to_string();
    assert!(error.contains("pillion.test.ticks") && error.contains(&(512 + (128_u64 << 40)).to_string()), "{error}");
    assert!(error.contains("free"), "{error}");
    assert_eq!(place.files(), [""; 0]);

    let small = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none {0} && PILLION_TEST_SMALL={0} exec \"$0\" \"$@\"",
        small.path().display()
    );
    let probe = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip::skip("no mount namespaces here");
    }
    let mut child =
        place.child_under(&["unshare", "-m", "sh", "-c", &script], &std::env::current_exe().unwrap(), "full");
    for lane in ["more", "test"] {
        let error = child.hear();
        assert!(error.contains(&format!("pillion.{lane}.ticks needs 1049088 bytes")), "{error}");
    }
    child.end();
}

#[test]
fn another_user_is_refused() {
    let Some((_dir, exe)) = exe_for_all() else { return };
    let place = place();
    std::fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let _ring = place.writer(64).unwrap();
    for (role, action) in [("attach", "open"), ("create", "take over")] {
        let mut child = place.child_under(&NOBODY, &exe, role);
        let error = child.hear();
        assert!(error.contains(&format!("{action} ")) && error.contains("pillion.test.ticks"), "{error}");
        assert!(error.contains("uid 65534"), "{error}");
        child.end();
    }
    let _ = std::fs::remove_file(place.lane.path(Kind::Ticks));
    let mut child = place.child_under(&NOBODY, &exe, "create");
    let error = child.hear();
    assert!(error.contains("not allowed to create") && error.contains("uid 65534"), "{error}");
    child.end();
}

#[test]
fn a_group_may_read_by_config() {
    let Some((_dir, exe)) = exe_for_all() else { return };
    let place = place();
    std::fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let access = Access { mode: 0o640, gid: Some(65534), lock: LockMemory::No };
    let _ring = RingWriter::create(&place.lane, Kind::Ticks, &spec(64), &place.clock, &access).unwrap();
    let metadata = std::fs::metadata(place.lane.path(Kind::Ticks)).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (0o640, 65534));
    let mut child = place.child_under(&NOBODY, &exe, "attach");
    assert_eq!(child.hear(), "ok");
    child.end();
}

#[test]
fn memory_that_cannot_be_locked_is_refused_under_require() {
    let Some((_dir, exe)) = exe_for_all() else { return };
    let place = place();
    std::os::unix::fs::chown(place.dir.path(), Some(65534), Some(65534)).unwrap();
    let limit = ["prlimit", "--memlock=8388608:8388608"];
    let wrapper = [&limit[..], &NOBODY].concat();
    let mut child = place.child_under(&wrapper, &exe, "locked");
    let error = child.hear();
    assert!(error.contains("33554944 bytes cannot be locked") && error.contains("8388608"), "{error}");
    assert!(error.contains("lock = \"try\""), "{error}");
    assert_eq!(place.files(), [""; 0]);
    child.end();
    let mut child = place.child_under(&wrapper, &exe, "unlocked");
    assert_eq!(child.hear(), "ok");
    child.end();
}

#[test]
fn nothing_is_world_writable() {
    let place = place();
    let mode = |kind| std::fs::metadata(place.lane.path(kind)).unwrap().mode() & 0o7777;
    let _ring = place.writer(4).unwrap();
    let _board = BoardWriter::create(&place.lane, &one_cell(), &place.clock, &Access::default()).unwrap();
    let _page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    assert_eq!([Kind::Ticks, Kind::Board, Kind::Cnc, Kind::Clock].map(mode), [0o600, 0o600, 0o600, 0o644]);
    for bad in [0o666, 0o602, 0o620, 0o660, 0o400, 0o4600] {
        let access = Access { mode: bad, ..Access::default() };
        let error = BoardWriter::create(&place.lane, &one_cell(), &place.clock, &access).unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:#o}")) && error.contains("writable by nobody else"), "{error}");
    }
}

/// Readers cannot corrupt: their pages are mapped without write permission.
#[test]
fn readers_map_read_only() {
    let place = place();
    drop(place.writer(64).unwrap());
    drop(BoardWriter::create(&place.lane, &one_cell(), &place.clock, &Access::default()).unwrap());
    drop(CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap());
    let _ring = place.reader(From::Next).unwrap();
    let _board = BoardReader::attach(&place.lane, &place.clock).unwrap();
    let page = CncClient::attach(&place.lane, &place.clock).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let dir = place.dir.path().to_str().unwrap();
    let ours: Vec<_> = maps.lines().filter(|line| line.contains(dir)).collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    assert!(ours.iter().all(|line| line.contains(" r--s ")), "{ours:?}");
    assert!(matches!(page.request(Command::Stop, Duration::ZERO), Err(Error::Denied { .. })));
}

/// Changes 8 bytes of the tick ring's file behind its back.
fn patch(place: &Place, at: usize, value: u64) -> File {
    let file = OpenOptions::new().write(true).open(place.lane.path(Kind::Ticks)).unwrap();
    file.write_all_at(&value.to_ne_bytes(), at as u64).unwrap();
    file
}

fn one_cell() -> BoardSpec {
    BoardSpec { instruments: 1, models: 1, table: Vec::new() }
}

#[test]
fn a_foreign_layout_kind_or_clock_is_refused_naming_both() {
    let place = place();
    let refused = |found: &str, wanted: &str| {
        let error = place.reader(From::Next).unwrap_err().to_string();
        assert!(error.contains("pillion.test.ticks") && error.contains(found) && error.contains(wanted), "{error}");
        let maker = format!("made by process {} ", std::process::id());
        assert!(error.contains(&maker) && error.contains(" s ago") && error.contains("mend: "), "{error}");
    };
    let kind = u64::from(Kind::Ticks as u32) << 32;
    drop(place.writer(4).unwrap());
    patch(&place, header::VERSION, kind | 7);
    refused("layout is version 7", &format!("has version {LAYOUT_VERSION}"));
    drop(place.writer(4).unwrap());
    patch(&place, header::LAYOUT_HASH, 0xabcd);
    refused("0x000000000000abcd", &format!("{:#018x}", layout_hash(Kind::Ticks)));
    drop(place.writer(4).unwrap());
    patch(&place, header::VERSION, (2 << 32) | u64::from(LAYOUT_VERSION));
    refused("kind is signals", "has ticks");
    drop(place.writer(4).unwrap());
    patch(&place, header::CLOCK_ID, 0x1234);
    refused("0x0000000000001234", &format!("{:#018x}", place.clock.id()));
    // The names were left by the dead, of whatever version: each was taken over.
    assert_eq!(place.writer(4).unwrap().generation(), 5);
}

/// What a process of layout version 1 left or still writes can be read; its HALT counts, and its name goes over.
#[test]
fn the_version_before_can_be_read() {
    let place = place();
    let version_1 = |kind: Kind| {
        let path = place.lane.path(kind);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&1_u32.to_ne_bytes(), header::VERSION as u64).unwrap();
        file.write_all_at(&V1_HASH.to_ne_bytes(), header::LAYOUT_HASH as u64).unwrap();
    };
    let mut ring = place.writer(4).unwrap();
    version_1(Kind::Ticks);
    let mut reader = place.reader(From::Next).unwrap();
    ring.publish_at(&common::record(0), 7);
    assert_eq!(reader.poll(&mut [0; 14]), Poll::Record { ring_seq: 0, stamp_ns: 7 });
    let cnc = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    cnc.set_state(State::Halt);
    version_1(Kind::Cnc);
    drop((ring, cnc));
    assert_eq!(place.writer(4).unwrap().generation(), 2);
    assert!(CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap().start_halted());
    // Version 1's clock did not say which counter it was on.
    version_1(Kind::Clock);
    let file = std::fs::OpenOptions::new().write(true).open(place.lane.path(Kind::Clock)).unwrap();
    file.write_all_at(&[0; 8], (layout::body_offset(0) + layout::clock::COUNTER) as u64).unwrap();
    assert_eq!(Clock::attach_or_create(place.lane.dir()).unwrap().id(), place.clock.id());
}

/// What is read behind the last poll that found nothing is neither lost nor silent.
#[test]
fn a_ring_is_followed_only_once_it_is_drained() {
    let place = place();
    let mut ring = place.writer(4).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    assert_eq!(reader.poll(&mut [0; 14]), Poll::Empty);
    ring.publish_at(&common::record(0), 7);
    drop(ring);
    let mut next = place.writer(4).unwrap();
    next.publish_at(&common::record(0), 9);
    assert!(reader.superseded() && reader.pending() && !reader.follow().unwrap());
    assert_eq!(reader.poll(&mut [0; 14]), Poll::Record { ring_seq: 0, stamp_ns: 7 });
    assert!(!reader.pending() && reader.follow().unwrap());
    assert_eq!(reader.poll(&mut [0; 14]), Poll::Record { ring_seq: 0, stamp_ns: 9 });
    // Whoever does not want what is left says so.
    next.publish_at(&common::record(1), 9);
    drop(next);
    let _last = place.writer(4).unwrap();
    assert!(!reader.follow().unwrap());
    assert_eq!(reader.skip_to_next(), 1);
    assert!(reader.follow().unwrap());
}

/// A clock on another counter would give stamps that have nothing to do with ours.
#[test]
fn a_clock_on_another_counter_is_refused() {
    let place = place();
    let file = std::fs::OpenOptions::new().write(true).open(place.lane.path(Kind::Clock)).unwrap();
    file.write_all_at(&9_u64.to_ne_bytes(), (layout::body_offset(0) + layout::clock::COUNTER) as u64).unwrap();
    let error = Clock::attach_or_create(place.lane.dir()).unwrap_err().to_string();
    assert!(error.contains("counter is an unknown counter") && error.contains("mend: "), "{error}");
}

#[test]
fn a_region_of_another_clock_is_refused() {
    let (place, other) = (place(), common::place());
    let _ring = place.writer(4).unwrap();
    let error = RingReader::attach(&place.lane, Kind::Ticks, From::Next, &other.clock).unwrap_err();
    assert!(matches!(error, Error::Mismatch { what: "clock id", .. }), "{error}");
}

#[test]
fn sizes_are_checked_at_attach() {
    let place = place();
    let refused = |text: &str| {
        let error = place.reader(From::Next).unwrap_err().to_string();
        assert!(error.contains("pillion.test.ticks") && error.contains(text), "{error}");
    };
    drop(place.writer(4).unwrap());
    patch(&place, header::GENERATION, 1).set_len(1000).unwrap();
    refused("has 1000 bytes where its header says 1024");
    drop(place.writer(4).unwrap());
    for (at, value) in [(header::CAPACITY, 8), (header::STRIDE, u64::MAX), (header::TABLE_BYTES, 1 << 60)] {
        patch(&place, at, value);
        refused("contradicts itself");
        drop(place.writer(4).unwrap());
    }
    for (at, value) in [(header::CAPACITY, 3), (header::STRIDE, 8), (header::CAPACITY, 0)] {
        patch(&place, at, value);
        refused("a ring of");
        drop(place.writer(4).unwrap());
    }
    patch(&place, header::MAGIC, 5);
    refused("it starts with 0x0000000000000005");
    assert!(matches!(place.writer(4), Err(Error::NotARegion { .. })), "a foreign file must not be replaced");
    patch(&place, header::MAGIC, 5).set_len(100).unwrap();
    refused("100 bytes");
}

#[test]
fn what_is_not_there_or_not_a_file_is_refused() {
    let place = place();
    let error = place.reader(From::Next).unwrap_err();
    assert!(error.is_absent() && error.to_string().contains("pillion.test.ticks does not exist"), "{error}");
    std::fs::create_dir(place.lane.path(Kind::Ticks)).unwrap();
    assert!(matches!(place.reader(From::Next), Err(Error::NotARegion { .. })));
    std::fs::remove_dir(place.lane.path(Kind::Ticks)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.lane.path(Kind::Ticks)).unwrap();
    assert!(place.reader(From::Next).is_err() && place.writer(4).is_err());
    assert!(Clock::attach_or_create("/nonexistent".as_ref()).unwrap_err().to_string().contains("/nonexistent"));
}

#[test]
fn a_clock_of_another_boot_is_replaced() {
    let place = place();
    let path = place.lane.path(Kind::Clock);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xee; 16], header::BOOT_ID as u64).unwrap();
    let clock = Clock::attach_or_create(place.dir.path()).unwrap();
    assert_ne!(clock.id(), place.clock.id());
    assert_eq!(Clock::attach_or_create(place.dir.path()).unwrap().id(), clock.id());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&3_u64.to_ne_bytes(), 512 + 16).unwrap();
    let error = Clock::attach_or_create(place.dir.path()).unwrap_err().to_string();
    assert!(error.contains("numbers do not make its id"), "{error}");
}

#[test]
fn unlink_removes_only_its_own_name() {
    let place = place();
    let ring = place.writer(4).unwrap();
    let reader = place.reader(From::Next).unwrap();
    ring.unlink().unwrap();
    assert!(reader.superseded() && !reader.successor() && !reader.owner_alive());
    assert_eq!(place.files(), [""; 0]);
    let stale = place.writer(4).unwrap();
    std::fs::remove_file(place.lane.path(Kind::Ticks)).unwrap();
    let ring = place.writer(4).unwrap();
    stale.unlink().unwrap();
    assert_eq!(place.files(), ["pillion.test.ticks"]);
    ring.unlink().unwrap();
}

#[test]
fn pages_can_be_touched_and_locked() {
    let place = place();
    let access = Access { lock: LockMemory::No, ..Access::default() };
    let ring = RingWriter::create(&place.lane, Kind::Ticks, &spec(64), &place.clock, &access).unwrap();
    assert!(!ring.locked());
    let mut reader = place.reader(From::Next).unwrap();
    reader.touch_and_lock(LockMemory::Require).unwrap();
    assert!(reader.locked());
}

/// A reader that starts at the first record reports what it came too late for; one that follows finds the next ring.
#[test]
fn a_reader_can_start_at_the_first_record_and_follow() {
    let place = place();
    let mut ring = RingWriter::create(&place.lane, Kind::Ticks, &spec(64), &place.clock, &Access::default()).unwrap();
    (0..100).for_each(|n| _ = ring.publish_at(&[n; 14], n));
    let mut reader = place.reader(From::Start).unwrap();
    let mut words = [0; 14];
    assert_eq!(reader.poll(&mut words), Poll::Lost(36));
    for n in 36..100 {
        assert_eq!((reader.poll(&mut words), words[0]), (Poll::Record { ring_seq: n, stamp_ns: n }, n));
    }
    assert!(!reader.follow().unwrap(), "there is no other ring yet");
    drop(ring);
    let mut next = RingWriter::create(&place.lane, Kind::Ticks, &spec(64), &place.clock, &Access::default()).unwrap();
    next.publish_at(&[7; 14], 7);
    assert_eq!(reader.poll(&mut words), Poll::Empty);
    assert!(reader.follow().unwrap());
    assert_eq!((reader.poll(&mut words), reader.generation()), (Poll::Record { ring_seq: 0, stamp_ns: 7 }, 2));
    assert!(reader.created_ns() >= place.clock.now_ns() - 60_000_000_000 && reader.file_number() > 0);
}

#[test]
fn a_page_says_what_its_owner_said() {
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    let client = CncClient::attach(&place.lane, &place.clock).unwrap();
    assert_eq!((client.state(), client.stages(), client.ticks_consumed()), (State::Boot, None, 0));
    assert_eq!((client.heartbeat_ns(), client.counters()), (0, Counters::default()));
    page.beat(17);
    page.set_ticks_consumed(99);
    assert_eq!(client.consumed_of(2), 0, "another ring's ticks say nothing of this one");
    page.set_ticks_ring(2, 90);
    assert_eq!((client.consumed_of(2), client.consumed_of(1)), (9, 0));
    let counters = Counters {
        events: 1,
        signals: 2,
        gaps: 3,
        lost: 4,
        rejects: 5,
        conflated: 6,
        invalid: 7,
        generation_changes: 8,
    };
    page.set_counters(&counters);
    let stages =
        std::array::from_fn(|i| StageSummary { count: i as u64, p50: 2, p90: 3, p99: 4, p999: 5, p9999: 6, max: 7 });
    page.publish_stages(&stages);
    assert_eq!((client.heartbeat_ns(), client.ticks_consumed(), client.counters()), (17, 99, counters));
    assert_eq!(client.stages(), Some(stages));
    for state in [State::Run, State::Halt, State::Fail, State::Stopped] {
        page.set_state(state);
        assert_eq!((client.state(), page.state(), client.halted()), (state, state, state != State::Run));
    }
    assert!(client.owner_alive() && client.pid() == std::process::id() && client.created_ns() > 0);
    assert_eq!(page.poll_mailbox(), None);
}

/// Whose state cannot be read may have been halted.
#[test]
fn a_predecessor_of_another_layout_counts_as_halted() {
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Run);
    drop(page);
    let file = OpenOptions::new().write(true).open(place.lane.path(Kind::Cnc)).unwrap();
    file.write_all_at(&[9], header::VERSION as u64).unwrap();
    assert!(CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap().start_halted());
}

/// A command that this version does not know is answered, and the mailbox goes on.
#[test]
fn an_unknown_command_is_answered() {
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    let file = OpenOptions::new().write(true).open(place.lane.path(Kind::Cnc)).unwrap();
    let at = 512 + pillion_shm::layout::cnc::REQUEST as u64;
    file.write_all_at(&(1_u64 << 8 | 0x77).to_ne_bytes(), at).unwrap();
    let request = page.poll_mailbox().unwrap();
    assert_eq!((request.ticket, request.command), (1, None));
    page.answer(&request, Outcome::Unknown);
    assert_eq!(page.poll_mailbox(), None);
    std::thread::scope(|scope| {
        let operator = scope.spawn(|| {
            let operator = CncClient::attach_operator(&place.lane).unwrap();
            operator.request(Command::Halt, Duration::from_secs(20))
        });
        let request = loop {
            match page.poll_mailbox() {
                Some(request) => break request,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!((request.ticket, request.command), (2, Some(Command::Halt)));
        page.answer(&request, Outcome::Refused);
        assert_eq!(operator.join().unwrap().unwrap(), Outcome::Refused);
    });
}
