//! A clock that goes under a live lane, the kill switch then and when the sidecar is down, and a lane without models.

mod common;

use common::*;
use pillion::data::{self, synth};
use pillion_shm::{Clock, CncClient, Kind, Lane, State};
use std::path::Path;
use std::process::Output;

fn status(dir: &Path, args: &[&str]) -> Output {
    output(pillion().args(["status", "gone", "--shm-dir"]).arg(dir).args(args))
}

fn json(dir: &Path) -> serde_json::Value {
    let out = status(dir, &["--json"]);
    serde_json::from_str(&stdout(&out)).unwrap_or_else(|_| panic!("{}{}", stdout(&out), stderr(&out)))
}

fn ordered(dir: &Path, order: &str) -> String {
    let out = output(pillion().args(["ctl", "gone", order, "--shm-dir"]).arg(dir));
    assert!(out.status.success(), "{order}: {}", stderr(&out));
    stdout(&out)
}

/// A configuration of one lane without models, and the recording that it reads.
fn config_of(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let input = dir.join("synth.dbn.zst");
    synth::write(&input, &synth::Plan { seed: 5, instruments: 1, events: 2_000, events_per_second: 20_000 }).unwrap();
    let recorded = data::load(&input).unwrap();
    (config(dir, &format!("[lane]\n{}", lane_keys("gone", &recorded, &[]))), input)
}

#[test]
fn a_lane_goes_on_without_its_clocks_file_and_is_halted() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, _) = config_of(dir.path());
    let path = dir.path().join("pillion.clock");
    // Who only looks makes no clock, and neither does a check.
    assert_eq!(status(dir.path(), &[]).status.code(), Some(2));
    let checked = output(pillion().arg("check").arg("--config").arg(&config));
    assert!(checked.status.success() && !path.exists(), "{}", stderr(&checked));

    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&config));
    let cnc = cnc_of(&mut sidecar, dir.path(), "gone", State::Boot);
    ordered(dir.path(), "halt");
    let seen = json(dir.path());
    assert_eq!((seen["state"].as_str(), seen["halted"].as_bool()), (Some("BOOT"), Some(true)), "{seen}");
    assert!(seen["clock_offset_ns"].is_i64() && seen["clock_problem"].is_null() && seen["heartbeat_age_ns"].is_u64());
    let text = stdout(&status(dir.path(), &[]));
    assert!(
        text.contains("  BOOT  ") && text.contains("HALT      in force since") && text.contains("the wall clock"),
        "{text}"
    );

    std::fs::remove_file(&path).unwrap();
    let seen = json(dir.path());
    assert!(seen["clock_problem"].as_str().unwrap().starts_with("missing") && seen["heartbeat_age_ns"].is_null());
    assert!(stdout(&status(dir.path(), &[])).contains("clock     missing"));
    assert!(!path.exists(), "status makes no clock");
    ordered(dir.path(), "resume");
    assert!(!cnc.halted());
    Clock::attach_or_create(dir.path()).unwrap();
    assert!(json(dir.path())["clock_problem"].as_str().unwrap().starts_with("replaced"));
    ordered(dir.path(), "halt");
    assert!(cnc.halted());
    // The sidecar says itself what has become of its clock, once: it looks every second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    ordered(dir.path(), "stop");
    assert_eq!(cnc.state(), State::Stopped);
    let out = sidecar.finish();
    assert!(out.status.success(), "{}", stderr(&out));
    let said = stderr(&out).matches("pillion.clock was ").count();
    assert_eq!(said, 1, "{}", stderr(&out));
}

#[test]
fn a_dead_sidecars_lane_is_halted_and_the_next_one_starts_so() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, _) = config_of(dir.path());
    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&config));
    let cnc = cnc_of(&mut sidecar, dir.path(), "gone", State::Boot);
    sidecar.kill9();
    wait_for("its end", || (!cnc.owner_alive()).then_some(()));
    ordered(dir.path(), "halt");
    assert!(cnc.halted() && json(dir.path())["halted"].as_bool() == Some(true));
    let mut next = Running::start(pillion().arg("run").arg("--config").arg(&config));
    let cnc = cnc_of(&mut next, dir.path(), "gone", State::Boot);
    assert!(cnc.halted() && cnc.generation() == 2);
    ordered(dir.path(), "stop");
    assert!(next.finish().status.success());
}

/// Nobody writes signals there, and nobody else may: ring and board stay the lane's while it lives.
#[test]
fn a_lane_without_models_keeps_its_names() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, input) = config_of(dir.path());
    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&config));
    cnc_of(&mut sidecar, dir.path(), "gone", State::Boot);
    let mut feed = pillion();
    feed.arg("feed").arg("--config").arg(&config).arg("--input").arg(&input);
    let feed = Running::start(feed.args(["--lane", "gone", "--rate", "20000/s", "--linger"]));
    let cnc = cnc_of(&mut sidecar, dir.path(), "gone", State::Run);
    wait_for("ticks", || (cnc.ticks_consumed() > 100).then_some(()));
    let lane = Lane::in_dir(dir.path(), "gone").unwrap();
    for kind in [Kind::Signals, Kind::Board, Kind::Cnc] {
        assert!(lane.holder(kind).unwrap().unwrap().alive, "{kind:?} has its owner");
    }
    ordered(dir.path(), "stop");
    assert!(sidecar.finish().status.success());
    drop(feed);
    assert!(CncClient::attach_any_clock(&lane).is_ok_and(|page| page.state() == State::Stopped));
}

/// Regions on a disk are taken, and said to be on one: by the check and by the banner.
#[test]
fn a_directory_on_a_disk_is_warned_of() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (config, _) = config_of(dir.path());
    let checked = output(pillion().arg("check").arg("--config").arg(&config));
    let text = stdout(&checked) + &stderr(&checked);
    assert!(checked.status.success() && text.contains("is no tmpfs"), "{text}");
}
