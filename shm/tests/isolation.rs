//! Who may do what: other users, groups, read-only maps, and containers that share /dev/shm and nothing else.
#![cfg(not(loom))]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;

use common::{Place, Process, drain, place, record, say, spec, wait};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Error, From, Kind, Lane,
    LockMemory, Outcome, RingReader, RingWriter, State,
};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const STRANGER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const MEMBER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=4242"];
const GROUP: u32 = 4242;
const CONTAINER: [&str; 4] = ["unshare", "-pf", "--mount-proc", "--kill-child=KILL"];

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    let (lane, clock) = Place::of_parent();
    match role.as_str() {
        "try" => try_everything(&lane, &clock),
        "store" => store(&lane, &clock),
        "own" => own(&lane, &clock),
        "visit" => visit(&lane, &clock),
        role => panic!("no role {role}"),
    }
}

fn create(lane: &Lane, kind: Kind, clock: &Clock, mode: u32) -> pillion_shm::Result<()> {
    let access = Access { mode, gid: Some(GROUP), lock: LockMemory::No };
    match kind {
        Kind::Ticks | Kind::Signals => RingWriter::create(lane, kind, &spec(8), clock, &access).map(drop),
        Kind::Board => {
            let spec = BoardSpec { instruments: 1, models: 1, table: Vec::new() };
            BoardWriter::create(lane, &spec, clock, &access).map(drop)
        }
        _ => CncOwner::create(lane, clock, &access).map(drop),
    }
}

const KINDS: [Kind; 4] = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc];

/// Reads, writes and takes over every kind of region, and says how each went.
fn try_everything(lane: &Lane, clock: &Clock) {
    let said =
        |result: pillion_shm::Result<()>| say(result.map_or_else(|error| error.to_string(), |()| "ok".to_owned()));
    for kind in KINDS {
        said(match kind {
            Kind::Ticks | Kind::Signals => RingReader::attach(lane, kind, From::Next, clock).map(drop),
            Kind::Board => BoardReader::attach(lane, clock).map(drop),
            _ => CncClient::attach(lane, clock).map(drop),
        });
    }
    said(CncClient::attach_operator(lane).map(drop));
    for kind in KINDS {
        said(create(lane, kind, clock, 0o600));
    }
    wait();
}

/// Two tries to write through a reader's map: asking for the right, and storing without it.
fn store(lane: &Lane, clock: &Clock) {
    let reader = RingReader::attach(lane, Kind::Ticks, From::Next, clock).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with(reader.path().to_str().unwrap())).unwrap();
    let start = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let at = std::ptr::with_exposed_provenance_mut::<u64>(start);
    // SAFETY: the page is the reader's own; the kernel refuses to make it writable, which changes nothing.
    let asked = unsafe { rustix::mm::mprotect(at.cast(), 4096, rustix::mm::MprotectFlags::WRITE) };
    say(asked.unwrap_err());
    // SAFETY: none: this is the store that must end the process.
    unsafe { at.write_volatile(7) };
    say("stored");
}

/// The owner of ring and page, which says when it is asked and goes on until killed.
fn own(lane: &Lane, clock: &Clock) {
    let mut ring = RingWriter::create(lane, Kind::Ticks, &spec(8), clock, &Access::default()).unwrap();
    let page = CncOwner::create(lane, clock, &Access::default()).unwrap();
    (0..5).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    say(format!("{} {} {}", std::process::id(), ring.generation(), page.start_halted()));
    loop {
        if let Some(request) = page.poll_mailbox() {
            page.set_state(State::Halt);
            page.answer(&request, Outcome::Done);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Looks at somebody else's regions from a container, is refused their names, asks for a halt, and takes over when told.
fn visit(lane: &Lane, clock: &Clock) {
    let mut reader = RingReader::attach(lane, Kind::Ticks, From::Oldest, clock).unwrap();
    say(format!("{:?} {} {}", drain(&mut reader), reader.owner_alive(), reader.owner_pid()));
    say(create(lane, Kind::Ticks, clock, 0o600).unwrap_err());
    say(format!("{:?}", CncClient::attach_operator(lane).unwrap().request(Command::Halt, SOON).unwrap()));
    wait();
    say(format!("{} {}", reader.owner_alive(), reader.superseded()));
    own(lane, clock);
}

/// A copy of this binary where every user may run it, or a word that there is no such place.
fn exe_for_all() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        skip::skip("only root can become another user");
        return None;
    }
    if !std::process::Command::new("setpriv").args(&STRANGER[1..]).arg("true").status().is_ok_and(|s| s.success()) {
        skip::skip("there is no setpriv here");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let exe = dir.path().join("child");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    Some((dir, exe))
}

fn has_containers() -> bool {
    let probe = std::process::Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").status();
    let has = probe.is_ok_and(|status| status.success());
    if !has {
        skip::skip("no pid namespaces here");
    }
    has
}

/// A place that others may enter, with a region of each kind in these modes: ticks, signals, board, page.
fn place_with(modes: [u32; 4]) -> Place {
    let place = place();
    std::fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
    for (kind, mode) in KINDS.into_iter().zip(modes) {
        create(&place.lane, kind, &place.clock, mode).unwrap();
        let metadata = std::fs::metadata(place.lane.path(kind)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (mode, GROUP));
    }
    place
}

/// What somebody hears: four attaches, the operator's, and four take-overs.
fn tries(place: &Place, wrapper: &[&str], exe: &std::path::Path) -> Vec<String> {
    let mut child = place.child_under(wrapper, exe, "try");
    let heard = (0..9).map(|_| child.hear()).collect();
    child.end();
    heard
}

fn denied(said: &str, action: &str, kind: Kind) {
    for text in [&format!("not allowed to {action} "), &format!("pillion.test.{}", kind.name()), "uid 65534", "mend: "]
    {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
}

#[test]
fn another_user_can_do_nothing_by_default() {
    let Some((_dir, exe)) = exe_for_all() else { return };
    let default = Access::default().mode;
    assert_eq!(default, 0o600);
    let place = place_with([default; 4]);
    for wrapper in [STRANGER, MEMBER] {
        let heard = tries(&place, &wrapper, &exe);
        KINDS.iter().zip(&heard).for_each(|(kind, said)| denied(said, "open", *kind));
        denied(&heard[4], "open for writing", Kind::Cnc);
        KINDS.iter().zip(&heard[5..]).for_each(|(kind, said)| denied(said, "take over", *kind));
    }
}

/// Ticks stay their owner's, signals and board are the group's to read, and the page the group's to use.
#[test]
fn each_region_lets_in_whom_it_shall() {
    let Some((_dir, exe)) = exe_for_all() else { return };
    let place = place_with([0o600, 0o640, 0o640, 0o660]);
    let heard = tries(&place, &MEMBER, &exe);
    denied(&heard[0], "open", Kind::Ticks);
    assert_eq!(heard[1..5], ["ok"; 4], "signals, board, page, and the page's mailbox");
    for (kind, said) in KINDS.iter().zip(&heard[5..8]) {
        denied(said, "take over", *kind);
    }
    // The page may be opened for writing; its name is the folder's owner's to give.
    denied(&heard[8], "create", Kind::Cnc);
    let heard = tries(&place, &STRANGER, &exe);
    assert!(heard.iter().all(|said| said.contains("not allowed to ")), "{heard:?}");

    // Read and not write, also where the mailbox is closed to the group.
    let place = place_with([0o640; 4]);
    let heard = tries(&place, &MEMBER, &exe);
    assert_eq!(heard[..4], ["ok"; 4]);
    denied(&heard[4], "open for writing", Kind::Cnc);
}

/// The kernel refuses to make a reader's map writable, and a store to it is the reader's own end; the ring is as it was.
#[test]
fn a_reader_cannot_store() {
    let place = place();
    let mut ring = place.writer(8).unwrap();
    (0..5).for_each(|n| _ = ring.publish_at(&record(n), n + 7));
    let before = std::fs::read(ring.path()).unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("PILLION_TEST_ROLE", "store");
    let out = command.env("PILLION_TEST_DIR", place.dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("@@ Permission denied") && !said.contains("@@ stored"), "{said}");
    assert_eq!(out.status.signal(), Some(11), "SIGSEGV");
    assert_eq!(std::fs::read(ring.path()).unwrap(), before);
    assert_eq!(drain(&mut place.reader(From::Oldest).unwrap()), (5, 0));
}

/// Owner here, visitor in a container: the kernel's lock holds across, pids are only for messages.
#[test]
fn a_container_sees_an_owner_whose_pid_it_does_not() {
    if !has_containers() {
        return;
    }
    let place = place();
    let mut owner = place.child("own");
    let said = owner.hear();
    assert_eq!(said, format!("{} 1 false", owner.pid()));
    let mut reader = place.reader(From::Oldest).unwrap();
    let mut visitor = place.child_under(&CONTAINER, &std::env::current_exe().unwrap(), "visit");
    assert_eq!(visitor.hear(), format!("(5, 0) true {}", owner.pid()));
    let held = visitor.hear();
    assert!(held.contains(&format!("process {}", owner.pid())) && held.contains("generation 1"), "{held}");
    assert_eq!(visitor.hear(), "Done", "an operator in a container is answered");
    owner.kill();
    visitor.go();
    assert_eq!(visitor.hear(), "false false", "the owner's death is seen");
    assert_eq!(visitor.hear(), "1 2 true", "process 1 of its own, generation 2, and the HALT is still in force");
    assert_eq!(drain(&mut reader), (5, 0));
    assert!(reader.successor() && reader.follow().unwrap());
    assert_eq!((reader.owner_pid(), reader.owner_alive(), drain(&mut reader)), (1, true, (5, 0)));

    // And back: a process here is refused while the one in the container lives, and not once it is dead.
    let held = place.writer(8).unwrap_err();
    assert!(matches!(&held, Error::Held { .. }) && held.to_string().contains("live process 1"), "{held}");
    kill_all_of(visitor, &reader);
    assert_eq!(place.writer(8).unwrap().generation(), 3);
    assert!(CncClient::attach(&place.lane, &place.clock).unwrap().halted());
}

/// Kills the wrapper, and with it, a moment later, the process in the container.
fn kill_all_of(container: Process, reader: &RingReader) {
    container.kill();
    // By the kernel's word it dies with its wrapper; how soon is nobody's promise.
    while reader.owner_alive() {
        std::thread::yield_now();
    }
}
