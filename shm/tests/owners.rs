//! Whose regions and clocks are used, and a clock that lies.
#![cfg(not(loom))]

mod common;
#[path = "../../tests/common/skip.rs"]
mod skip;

use common::{Place, place, spec};
use pillion_shm::layout::{Kind, body_offset, clock as at, header};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Error, From, Lane, RingReader, RingWriter,
    Trust,
};
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::Path;

/// A user and a group that count nowhere.
const STRANGER: u32 = 65_534;
const GROUP: u32 = 4_242;
const KINDS: [Kind; 4] = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc];

/// Whether files can be given away here.
fn may_give() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip::skip("only root gives files away");
    }
    root
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn create(lane: &Lane, clock: &Clock, kind: Kind) -> pillion_shm::Result<()> {
    let access = Access::default();
    match kind {
        Kind::Board => {
            BoardWriter::create(lane, &BoardSpec { instruments: 1, models: 1, table: Vec::new() }, clock, &access)
                .map(drop)
        }
        Kind::Cnc => CncOwner::create(lane, clock, &access).map(drop),
        kind => RingWriter::create(lane, kind, &spec(8), clock, &access).map(drop),
    }
}

fn attach(lane: &Lane, clock: &Clock, kind: Kind) -> pillion_shm::Result<()> {
    match kind {
        Kind::Board => BoardReader::attach(lane, clock).map(drop),
        Kind::Cnc => CncClient::attach(lane, clock).map(drop),
        kind => RingReader::attach(lane, kind, From::Oldest, clock).map(drop),
    }
}

fn untrusted(result: pillion_shm::Result<()>, words: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Untrusted(_)), "{error}");
    let text = error.to_string();
    for word in words.iter().chain(&["mend: "]) {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn a_strangers_region_is_refused_until_he_is_named() {
    let place = place();
    for kind in KINDS {
        create(&place.lane, &place.clock, kind).unwrap();
        attach(&place.lane, &place.clock, kind).unwrap();
    }
    if !may_give() {
        return;
    }
    for kind in KINDS {
        let path = place.lane.path(kind);
        chown(&path, Some(STRANGER), None).unwrap();
        mode(&path, 0o644);
        let name = format!("pillion.test.{}", kind.name());
        let words = [name.as_str(), "uid 65534", "mode 0644", "PILLION_TRUSTED_UIDS=65534"];
        untrusted(attach(&place.lane, &place.clock, kind), &words);
        // Nor is it taken over: what stands in it is nothing to go on from.
        untrusted(create(&place.lane, &place.clock, kind), &words);
        assert!(place.lane.holder(kind).is_err());
        attach(&place.lane.clone().trusting(STRANGER), &place.clock, kind).unwrap();
        let trust = Trust::own().with_uid(STRANGER);
        attach(&place.lane.clone().with_trust(trust), &place.clock, kind).unwrap();
    }
    untrusted(CncClient::attach_operator(&place.lane).map(drop), &["pillion.test.cnc"]);
    untrusted(CncClient::attach_any_clock(&place.lane).map(drop), &["pillion.test.cnc"]);
}

#[test]
fn what_others_may_write_is_refused() {
    let place = place();
    for kind in KINDS {
        create(&place.lane, &place.clock, kind).unwrap();
        mode(&place.lane.path(kind), 0o602);
        untrusted(attach(&place.lane, &place.clock, kind), &["everybody may write it", "mode 0602", "chmod o-w"]);
        mode(&place.lane.path(kind), 0o600);
        attach(&place.lane, &place.clock, kind).unwrap();
    }
    if !may_give() {
        return;
    }
    for kind in KINDS {
        let path = place.lane.path(kind);
        chown(&path, None, Some(GROUP)).unwrap();
        mode(&path, 0o660);
        untrusted(attach(&place.lane, &place.clock, kind), &["group 4242", "mode 0660", "chmod g-w"]);
        // A group may write a control page, and no other region, where it is named.
        let named = attach(&place.lane.clone().trusting_group(GROUP), &place.clock, kind);
        if kind == Kind::Cnc { named.unwrap() } else { untrusted(named, &["group 4242"]) }
    }
    // The kill switch hangs on no group's name: the owner let it in.
    CncClient::attach_operator(&place.lane).unwrap();
    CncClient::attach_any_clock(&place.lane).unwrap();
    create(&place.lane, &place.clock, Kind::Cnc).unwrap();
    mode(&place.lane.path(Kind::Cnc), 0o662);
    untrusted(CncClient::attach_operator(&place.lane).map(drop), &["everybody may write it"]);
}

/// A following reader asks again, of the region that it goes over to.
#[test]
fn a_reader_follows_to_no_strangers_ring() {
    let place = place();
    create(&place.lane, &place.clock, Kind::Ticks).unwrap();
    let mut reader = place.reader(From::Next).unwrap();
    create(&place.lane, &place.clock, Kind::Ticks).unwrap();
    mode(&place.lane.path(Kind::Ticks), 0o606);
    untrusted(reader.follow().map(drop), &["pillion.test.ticks", "mode 0606"]);
    mode(&place.lane.path(Kind::Ticks), 0o600);
    assert!(reader.follow().unwrap());
}

#[test]
fn a_directory_in_which_anybody_may_replace_regions_is_refused() {
    let place = place();
    create(&place.lane, &place.clock, Kind::Ticks).unwrap();
    mode(place.dir.path(), 0o777);
    untrusted(attach(&place.lane, &place.clock, Kind::Ticks), &["everybody may replace what is in it"]);
    untrusted(create(&place.lane, &place.clock, Kind::Board), &["everybody may replace what is in it"]);
    untrusted(Clock::attach(place.dir.path()).map(drop), &["everybody may replace what is in it"]);
    mode(place.dir.path(), 0o1777);
    attach(&place.lane, &place.clock, Kind::Ticks).unwrap();
}

/// The way for services: a private directory of the sidecar's user. Who is told of it need not be told of the user.
#[test]
fn the_owner_of_a_private_directory_counts_in_it() {
    if !may_give() {
        return;
    }
    let place = place();
    let dir = place.dir.path().join("private");
    std::fs::create_dir(&dir).unwrap();
    mode(&dir, 0o2750);
    let lane = Lane::in_dir(&dir, "test").unwrap();
    let clock = Clock::attach_or_create(&dir).unwrap();
    for kind in KINDS {
        create(&lane, &clock, kind).unwrap();
    }
    chown(&dir, Some(STRANGER), Some(GROUP)).unwrap();
    for kind in KINDS.into_iter().chain([Kind::Clock]) {
        chown(lane.path(kind), Some(STRANGER), Some(GROUP)).unwrap();
    }
    mode(&lane.path(Kind::Cnc), 0o660);
    let clock = Clock::attach(&dir).unwrap();
    for kind in KINDS {
        attach(&lane, &clock, kind).unwrap();
    }
    // In a directory that anybody could have made, nobody was named with it.
    mode(place.dir.path(), 0o1777);
    untrusted(attach(&lane, &clock, Kind::Ticks), &["private is not trusted", "uid 65534"]);
}

#[test]
fn a_lane_and_a_clock_of_two_directories_do_not_go_together() {
    let (place, other) = (place(), common::place());
    for kind in KINDS {
        let error = create(&place.lane, &other.clock, kind).unwrap_err();
        assert!(matches!(error, Error::Mismatch { what: "clock id", .. }), "{error}");
        for word in ["pillion.clock", &format!("{:#018x}", other.clock.id()), "take the clock of the lane's directory"]
        {
            assert!(error.to_string().contains(word), "no {word} in {error}");
        }
    }
    std::fs::remove_file(place.lane.path(Kind::Clock)).unwrap();
    assert!(create(&place.lane, &place.clock, Kind::Ticks).unwrap_err().is_absent());
    assert!(place.files().is_empty(), "nothing is left: {:?}", place.files());
}

#[test]
fn who_only_reads_makes_no_clock() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let error = Clock::attach(dir.path()).unwrap_err();
    assert!(error.is_absent() && error.to_string().contains("pillion.clock"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let made = Clock::attach_or_create(dir.path()).unwrap();
    assert_eq!(Clock::attach(dir.path()).unwrap().id(), made.id());
    // Left over from another boot, where the directory outlives one: it is nobody's clock any more.
    let file = File::options().write(true).open(dir.path().join("pillion.clock")).unwrap();
    file.write_all_at(&[7; 16], header::BOOT_ID as u64).unwrap();
    assert!(Clock::attach(dir.path()).unwrap_err().is_absent());
}

#[test]
fn a_strangers_clock_is_refused() {
    if !may_give() {
        return;
    }
    let place = place();
    let path = place.lane.path(Kind::Clock);
    chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
    let words = ["pillion.clock", "uid 65534", "use a directory of your own", "PILLION_TRUSTED_UIDS=65534"];
    untrusted(Clock::attach(place.dir.path()).map(drop), &words);
    untrusted(Clock::attach_or_create(place.dir.path()).map(drop), &words);
    untrusted(place.clock.check_lane(&place.lane), &words);
    let trust = Trust::own().with_uid(STRANGER);
    assert_eq!(Clock::attach_by(place.dir.path(), &trust).unwrap().id(), place.clock.id());
}

/// Junk, a link, a file for its owner alone: whose it is stands in the message, and so does a way out for who reads it.
#[test]
fn what_blocks_the_clocks_name_is_named_with_its_owner() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("pillion.clock");
    let own = format!("belongs to uid {}", rustix::process::geteuid().as_raw());
    for link in [false, true] {
        if link {
            std::os::unix::fs::symlink("/etc/passwd", &path).unwrap()
        } else {
            std::fs::write(&path, "junk").unwrap()
        }
        for error in [Clock::attach(dir.path()).unwrap_err(), Clock::attach_or_create(dir.path()).unwrap_err()] {
            assert!(matches!(error, Error::NotARegion { .. }), "{error}");
            for word in ["pillion.clock", own.as_str(), "as its owner or root", "a directory of your own"] {
                assert!(error.to_string().contains(word), "no {word:?} in {error}");
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
}

/// The clock's numbers, with an id that fits them: as somebody writes them who knows the layout.
fn plant(path: &Path, change: impl Fn(&mut [u64; 4])) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let body = body_offset(0) as u64;
    let places = [at::BASE_RAW, at::BASE_NS, at::MULT, at::SHIFT].map(|offset| body + offset as u64);
    let mut numbers = places.map(|place| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, place).unwrap();
        u64::from_ne_bytes(bytes)
    });
    change(&mut numbers);
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    let id = bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        | 1;
    for (place, number) in places.into_iter().zip(numbers).chain([(header::CLOCK_ID as u64, id)]) {
        file.write_all_at(&number.to_ne_bytes(), place).unwrap();
    }
}

/// By a clock that crawls or stands still a dead sidecar would look alive for ever.
#[test]
fn a_clock_that_does_not_run_as_time_does_is_refused() {
    type Change = fn(&mut [u64; 4]);
    let wrong: [(&str, Change); 5] = [
        ("1000 times too slow", |numbers| numbers[2] /= 1_000),
        ("standing still", |numbers| (numbers[2], numbers[3]) = (1, 64)),
        ("a fifth too fast", |numbers| numbers[2] += numbers[2] / 5),
        ("a fifth too slow", |numbers| numbers[2] -= numbers[2] / 5),
        ("beginning in a hundred years", |numbers| numbers[0] = u64::MAX / 2),
    ];
    for (what, change) in wrong {
        let place = place();
        plant(&place.lane.path(Kind::Clock), change);
        for error in
            [Clock::attach(place.dir.path()).unwrap_err(), Clock::attach_or_create(place.dir.path()).unwrap_err()]
        {
            let text = error.to_string();
            assert!(text.contains("pillion.clock") && text.contains("CLOCK_MONOTONIC_RAW"), "{what}: {text}");
        }
    }
    // A calibration that is off by a hundredth, as no calibration is, is a clock still.
    let place = place();
    plant(&place.lane.path(Kind::Clock), |numbers| numbers[2] += numbers[2] / 100);
    Clock::attach(place.dir.path()).unwrap();
}

#[test]
fn the_offset_to_the_wall_clock_is_told() {
    let place = place();
    let hour = 3_600_000_000_000_u64;
    assert!(place.clock.offset_ns().unsigned_abs() < hour / 60, "made just now: {} ns", place.clock.offset_ns());
    plant(&place.lane.path(Kind::Clock), |numbers| numbers[1] -= hour);
    let behind = Clock::attach(place.dir.path()).unwrap();
    assert!((behind.offset_ns() + hour as i64).unsigned_abs() < hour / 60, "{} ns", behind.offset_ns());
    assert!(behind.check_lane(&place.lane).is_ok() && place.clock.check_lane(&place.lane).is_err());
}

/// What the environment names counts, and what is no number there is said where it would have mattered.
#[test]
fn the_environment_names_users() {
    if let Ok(dir) = std::env::var("PILLION_TEST_OWNERS") {
        let lane = Lane::in_dir(dir, "test").unwrap();
        common::say(lane.holder(Kind::Ticks).map_or_else(|error| error.to_string(), |_| "used".to_owned()));
        return;
    }
    if !may_give() {
        return;
    }
    let place: Place = place();
    create(&place.lane, &place.clock, Kind::Ticks).unwrap();
    chown(place.lane.path(Kind::Ticks), Some(STRANGER), None).unwrap();
    let said = |uids: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "the_environment_names_users", "--nocapture"]).env("PILLION_TRUSTED_UIDS", uids);
        let output = child.env("PILLION_TEST_OWNERS", place.dir.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said("7, 65534").contains("@@ used"));
    let refused = said("7,nobody");
    assert!(refused.contains("is not trusted") && refused.contains("\"nobody\""), "{refused}");
}
