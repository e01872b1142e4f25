//! Ends of a HALT: a resume that is carried out, and nothing else. One that is late or refused leaves the lane halted,
//! at every moment.

mod common;
#[path = "common/lanes.rs"]
mod lanes;

use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use lanes::*;
use pillion_shm::{CncClient, Command, Outcome, State};

const PATIENCE: Duration = Duration::from_secs(60);

/// A lane with a ring, halted and recorded.
fn halted(dir: &Path, lane: &str) -> (Running, CncClient, pillion_shm::RingWriter) {
    let mut sidecar = run(&lanes(dir, &[lane], ""));
    cnc_of(&mut sidecar, dir, lane, State::Boot);
    let ticks = ring(dir, lane);
    let cnc = cnc_of(&mut sidecar, dir, lane, State::Run);
    assert!(ctl(dir, &[lane, "halt", "--reason", "risk"]).status.success());
    (sidecar, cnc, ticks)
}

/// Looks at the page as often as it can: the lane stays halted.
fn stays_halted(cnc: &CncClient, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(cnc.halted() && cnc.state() == State::Halt, "state {}", cnc.state());
    }
}

/// The hung lane finds the resume in its mailbox when it wakes, long after the operator was told that it is not resumed.
#[test]
fn a_resume_without_an_answer_ends_no_halt() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (sidecar, cnc, ticks) = halted(dir.path(), "late");
    let record = dir.path().join("state/late.halt");
    for _ in 0..2 {
        stand_still(&sidecar, true);
        let out = ctl(dir.path(), &["late", "resume"]);
        assert_eq!(out.status.code(), Some(1), "{}{}", stdout(&out), stderr(&out));
        assert!(stderr(&out).contains("not resumed, the HALT stays in force"), "{}", stderr(&out));
        stand_still(&sidecar, false);
        stays_halted(&cnc, Duration::from_millis(400));
        assert!(std::fs::read_to_string(&record).unwrap().contains("risk"), "the record stands as it was");
    }
    let out = ctl(dir.path(), &["late", "resume"]);
    assert!(out.status.success() && !record.exists() && cnc.state() == State::Run, "{}", stderr(&out));
    drop((ticks, sidecar));
}

/// The sidecar may not remove the record, as that of another user: the lane is closed while it finds that out.
#[test]
fn a_resume_that_is_refused_opens_the_lane_at_no_time() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (sidecar, cnc, ticks) = halted(dir.path(), "kept");
    // For root as well: a file takes no folder's name.
    let taken = dir.path().join(format!("state/kept.halt-resumed-{}/full", sidecar.0.id()));
    std::fs::create_dir_all(&taken).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let operator = cnc_in(dir.path(), "kept", State::Halt);
            for _ in 0..3 {
                assert_eq!(operator.request(Command::Resume, PATIENCE).unwrap(), Outcome::Refused);
            }
        });
        stays_halted(&cnc, Duration::from_millis(400));
    });
    assert!(dir.path().join("state/kept.halt").exists());
    std::fs::remove_dir_all(taken.parent().unwrap()).unwrap();
    assert_eq!(cnc.request(Command::Resume, PATIENCE).unwrap(), Outcome::Done);
    assert_eq!(cnc.state(), State::Run);
    wait_for("the record to go", || (!dir.path().join("state/kept.halt").exists()).then_some(()));
    drop((ticks, sidecar));
}

/// A name that nothing here is of: the HALT is recorded, and nobody is told that it halts.
#[test]
fn a_halt_of_a_name_that_nothing_is_of_is_no_success() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["named"], "");
    let state = dir.path().join("state");
    let out = ctl(dir.path(), &["nmaed", "halt", "--state-dir", state.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{}", stdout(&out));
    for word in ["no lane of this name is known", "a HALT is recorded in", "check the name"] {
        assert!(stderr(&out).contains(word), "no {word:?} in {}", stderr(&out));
    }
    assert!(state.join("nmaed.halt").exists());
    let out = output(pillion().args(["ctl", "nmaed", "halt", "--config"]).arg(&config));
    assert_eq!(out.status.code(), Some(2), "{}", stdout(&out));
    assert!(stderr(&out).contains("has no lane \"nmaed\"; its lanes: named"), "{}", stderr(&out));
}

/// A file under a page's name that is no page halts no lane: the operator is told, by name.
#[test]
fn a_page_that_cannot_be_read_is_told() {
    let dir = shm_dir();
    lanes(dir.path(), &["scribbled"], "");
    std::fs::write(dir.path().join("pillion.scribbled.cnc"), [7; 8192]).unwrap();
    let state = dir.path().join("state");
    let out = ctl(dir.path(), &["--all", "stop"]);
    assert_eq!(out.status.code(), Some(2), "nobody holds it: {}", stderr(&out));
    let out = ctl(dir.path(), &["--all", "halt", "--state-dir", state.to_str().unwrap()]);
    assert!(state.join("scribbled.halt").exists(), "{}{}", stdout(&out), stderr(&out));
    assert!(stdout(&out).contains("scribbled") || stderr(&out).contains("scribbled"));
}

/// A record that the live sidecar does not look at halts nothing, and no command says that it does.
#[test]
fn a_record_that_nobody_obeys_is_not_in_force() {
    let dir = shm_dir();
    let mut sidecar = run(&lanes(dir.path(), &["elsewhere"], ""));
    cnc_of(&mut sidecar, dir.path(), "elsewhere", State::Boot);
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("elsewhere.halt"), "{}").unwrap();
    let asked =
        |words: &[&str], at: &str| output(pillion().args(words).arg(at).arg(dir.path()).arg("--state-dir").arg(&other));
    let out = asked(&["status", "elsewhere"], "--shm-dir");
    assert_eq!(out.status.code(), Some(1), "{}", stdout(&out));
    assert!(stdout(&out).contains("HALT      recorded, NOT in force"), "{}", stdout(&out));
    assert!(stderr(&out).contains("is NOT halted, though a HALT is recorded in"), "{}", stderr(&out));
    let json = asked(&["status", "elsewhere", "--json"], "--shm-dir");
    assert!(stdout(&json).contains("\"halted\":false"), "{}", stdout(&json));
    let listed = asked(&["shm", "ls"], "--dir");
    assert!(stdout(&listed).contains("BOOT, HALT recorded, NOT in force"), "{}", stdout(&listed));
    drop(sidecar);
}
