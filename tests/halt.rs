//! The kill switch: HALT of lanes that live, hang, are down or have never started, over restarts and reboots; and stops and
//! failures, which are one lane's and no other's.

mod common;
#[path = "common/lanes.rs"]
mod lanes;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::*;
use lanes::*;
use pillion_shm::{CncClient, Command, Kind, Lane, State};

/// What `status --json` says, whatever its exit code.
fn status(dir: &Path, lane: &str) -> serde_json::Value {
    let out = output(pillion().args(["status", lane, "--json", "--shm-dir"]).arg(dir));
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", stdout(&out), stderr(&out)))
}

fn record(dir: &Path, lane: &str) -> std::path::PathBuf {
    dir.join(format!("state/{lane}.halt"))
}

/// The tmpfs is empty again, the disk is not.
fn reboot(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.contains("pillion.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn done(out: &std::process::Output, words: &[&str]) {
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(out), stderr(out));
    words.iter().for_each(|word| assert!(stdout(out).contains(word), "no {word:?} in {}", stdout(out)));
}

fn failed(out: &std::process::Output, code: i32, words: &[&str]) {
    assert_eq!(out.status.code(), Some(code), "{}{}", stdout(out), stderr(out));
    words.iter().for_each(|word| assert!(stderr(out).contains(word), "no {word:?} in {}", stderr(out)));
}

/// Halted before it ever ran, it comes up halted; kill -9, a reboot and another start later it still is.
#[test]
fn a_halt_needs_no_lane_and_outlives_a_reboot() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let config = lanes(dir.path(), &["down"], "");
    let by_config = |words: &[&str]| output(pillion().arg("ctl").args(words).arg("--config").arg(&config));
    let out = by_config(&["down", "halt", "--reason", "the feed is wrong"]);
    done(&out, &["lane down: HALT", "the feed is wrong", "no control page", "will come up halted"]);
    assert!(record(dir.path(), "down").exists());
    let looked = output(
        pillion()
            .args(["status", "down", "--shm-dir"])
            .arg(dir.path())
            .arg("--state-dir")
            .arg(dir.path().join("state")),
    );
    failed(&looked, 2, &["HALT in force since", "the feed is wrong"]);

    let sidecar = run(&config);
    let cnc = cnc_in(dir.path(), "down", State::Boot);
    assert!(cnc.halted());
    let look = status(dir.path(), "down");
    assert_eq!((look["state"].as_str(), look["halted"].as_bool()), (Some("BOOT"), Some(true)));
    assert_eq!(look["halt"]["reason"], "the feed is wrong");
    assert_eq!(look["halt"]["uid"].as_u64(), Some(rustix::process::getuid().as_raw().into()));
    let listed = output(pillion().args(["shm", "ls", "--dir"]).arg(dir.path()));
    done(&listed, &["BOOT, HALT in force", "lane down: HALT in force since", "the feed is wrong"]);
    sidecar.kill9();
    let text = output(pillion().args(["status", "down", "--shm-dir"]).arg(dir.path()));
    assert_eq!(text.status.code(), Some(1));
    assert!(stdout(&text).contains("HALT      in force since") && stdout(&text).contains("no live process"));
    assert!(stderr(&text).contains("has no live process; BOOT is the state that it died in"), "{}", stderr(&text));

    reboot(dir.path());
    let mut sidecar = run(&config);
    cnc_of(&mut sidecar, dir.path(), "down", State::Boot);
    let ticks = ring(dir.path(), "down");
    let cnc = cnc_of(&mut sidecar, dir.path(), "down", State::Halt);
    done(&ctl(dir.path(), &["down", "resume"]), &["lane down: resumed", "down.halt removed", "its page says RUN"]);
    assert!(!cnc.halted() && !record(dir.path(), "down").exists());
    done(&ctl(dir.path(), &["down", "stop"]), &["lane down: STOPPED", "has let go of it"]);
    let ended = sidecar.finish();
    assert!(
        ended.status.success() && stdout(&ended).contains("halt      lane down: HALT in force since"),
        "{}",
        stdout(&ended)
    );
    drop(ticks);
}

/// The moment at which an operator most wants to halt: the process has just died, and a supervisor starts it again. The clock
/// may be gone as well.
#[test]
fn a_dead_lane_is_halted_and_its_successor_starts_halted() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let config = lanes(dir.path(), &["dead"], "");
    let sidecar = run(&config);
    cnc_in(dir.path(), "dead", State::Boot);
    sidecar.kill9();
    std::fs::remove_file(dir.path().join("pillion.clock")).unwrap();
    done(&ctl(dir.path(), &["dead", "halt"]), &["lane dead: HALT", "HALT in force (no live process"]);
    failed(&ctl(dir.path(), &["dead", "stop"]), 2, &["no live sidecar", "BOOT"]);
    // Without its record, the page alone still carries it; the record is then written anew.
    std::fs::remove_file(record(dir.path(), "dead")).unwrap();
    let mut sidecar = run(&config);
    let cnc = cnc_of(&mut sidecar, dir.path(), "dead", State::Boot);
    assert!(cnc.halted());
    wait_for("a record of it", || record(dir.path(), "dead").exists().then_some(()));
    assert!(status(dir.path(), "dead")["halt"]["reason"].as_str().unwrap().contains("control page"));
    done(&ctl(dir.path(), &["dead", "resume"]), &["resumed", "its page says BOOT"]);
    sidecar.kill9();
    // Resumed while it is down, it starts without.
    done(&ctl(dir.path(), &["dead", "halt"]), &[]);
    done(&ctl(dir.path(), &["dead", "resume"]), &["its page says BOOT (no live process"]);
    let sidecar = run(&config);
    assert!(!cnc_in(dir.path(), "dead", State::Boot).halted());
    drop(sidecar);
}

/// A hung process answers nothing; the HALT is recorded, said so, and obeyed when it wakes. A resume that is not answered
/// changes nothing.
#[test]
fn a_hung_lane_is_halted_when_it_wakes() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let config = lanes(dir.path(), &["hung"], "");
    let mut sidecar = run(&config);
    cnc_of(&mut sidecar, dir.path(), "hung", State::Boot);
    let ticks = ring(dir.path(), "hung");
    let cnc = cnc_of(&mut sidecar, dir.path(), "hung", State::Run);
    stand_still(&sidecar, true);
    let out = ctl(dir.path(), &["hung", "halt", "--reason", "silent"]);
    failed(&out, 1, &["did not answer within 5 s", "the HALT is recorded in", "hung.halt", "heartbeat"]);
    assert!(!stderr(&out).contains("log"), "it has none: {}", stderr(&out));
    let out = ctl(dir.path(), &["hung", "resume"]);
    failed(&out, 1, &["not resumed, the HALT stays in force", "did not answer"]);
    assert!(record(dir.path(), "hung").exists());
    let look = output(pillion().args(["status", "hung", "--shm-dir"]).arg(dir.path()));
    failed(&look, 1, &["has given no heartbeat for"]);
    assert!(stdout(&look).contains("HALT      recorded, NOT in force: since"), "{}", stdout(&look));
    stand_still(&sidecar, false);
    wait_for("the HALT", || (cnc.state() == State::Halt).then_some(()));
    // The orders that waited in its mailbox have been taken by now, a resume among them: the record holds.
    std::thread::sleep(Duration::from_millis(300));
    wait_for("the HALT to stand", || (cnc.state() == State::Halt && cnc.halted()).then_some(()));
    done(&ctl(dir.path(), &["hung", "resume"]), &["its page says RUN"]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(cnc.state() == State::Run && !record(dir.path(), "hung").exists());
    drop((ticks, sidecar));
}

/// Who cannot write the record still halts, and is told what is missing.
#[test]
fn a_halt_that_cannot_be_recorded_is_given_all_the_same() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["norecord"], "");
    let mut sidecar = run(&config);
    let cnc = cnc_of(&mut sidecar, dir.path(), "norecord", State::Boot);
    std::fs::write(dir.path().join("state"), "a file where the folder should be").unwrap();
    let out = ctl(dir.path(), &["norecord", "halt"]);
    failed(&out, 1, &["halted (its page says BOOT, HALT in force)", "not recorded in", "a reboot would forget it"]);
    assert!(cnc.halted());
    done(&ctl(dir.path(), &["norecord", "resume"]), &["resumed"]);
    assert!(!cnc.halted());
    sidecar.kill9();
    std::fs::remove_file(dir.path().join("pillion.norecord.cnc")).unwrap();
    failed(&ctl(dir.path(), &["norecord", "halt"]), 1, &["not halted", "no control page", "no record can be written"]);
}

/// A HALT that may stand where nobody can look is not passed over: before a start it is a refusal, and a lane that runs stays
/// as it is.
#[test]
fn a_folder_that_cannot_be_looked_into_is_refused() {
    let (dir, state) = (shm_dir(), |dir: &Path| dir.join("state"));
    let config = lanes(dir.path(), &["closed"], "");
    done(&output(pillion().args(["ctl", "closed", "halt", "--config"]).arg(&config)), &["will come up halted"]);
    // A link that leads to itself stands for a folder of another user's: root sees into that one.
    std::fs::rename(state(dir.path()), dir.path().join("kept")).unwrap();
    std::os::unix::fs::symlink("state", state(dir.path())).unwrap();
    for order in ["check", "run"] {
        let out = output(pillion().args([order, "--config"]).arg(&config));
        failed(&out, 2, &["process.state_dir", "mend: make process.state_dir a folder that this user may search"]);
    }
    std::fs::remove_file(state(dir.path())).unwrap();
    std::fs::rename(dir.path().join("kept"), state(dir.path())).unwrap();
    std::fs::set_permissions(state(dir.path()), std::fs::Permissions::from_mode(0o777)).unwrap();
    failed(&output(pillion().args(["check", "--config"]).arg(&config)), 2, &["everybody may replace", "chmod o-w"]);
    std::fs::set_permissions(state(dir.path()), std::fs::Permissions::from_mode(0o755)).unwrap();
    done(&output(pillion().args(["check", "--config"]).arg(&config)), &["would come up halted"]);
}

/// In a directory of everybody's: notes and pages of a stranger neither lead an order astray, nor hold it up, nor decide what
/// `status` says.
#[test]
fn strangers_in_a_shared_directory_decide_nothing() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let config = lanes(dir.path(), &["mine"], "");
    let mut sidecar = run(&config);
    cnc_of(&mut sidecar, dir.path(), "mine", State::Boot);
    // Pages that are sound, of a user who does not count, and that sort before the lane's.
    let page = std::fs::read(dir.path().join("pillion.mine.cnc")).unwrap();
    std::fs::write(dir.path().join("pillion.UPPER.cnc"), "").unwrap();
    let mut locks = Vec::new();
    for name in (10..30).map(|number| format!("a{number}")) {
        let path = dir.path().join(format!("pillion.{name}.cnc"));
        std::fs::write(&path, &page).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            skip("only root gives files away");
            return;
        }
        let file = std::fs::File::open(&path).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        locks.push(file);
    }
    let looked = output(pillion().args(["status", "--shm-dir"]).arg(dir.path()));
    done(&looked, &["lane mine  BOOT"]);
    assert!(stderr(&looked).contains("lane a10: the page of a user who does not count"), "{}", stderr(&looked));
    assert!(!stderr(&looked).contains("UPPER"), "{}", stderr(&looked));
    // A lane of one's own is not well where nobody can tell how old its heartbeat is.
    let clock = dir.path().join("pillion.clock");
    std::fs::rename(&clock, dir.path().join("away")).unwrap();
    let looked = output(pillion().args(["status", "mine", "--shm-dir"]).arg(dir.path()));
    failed(&looked, 1, &["no heartbeat of a known age"]);
    std::fs::rename(dir.path().join("away"), &clock).unwrap();
    let start = std::time::Instant::now();
    let out = output(pillion().args(["ctl", "--all", "halt", "--config"]).arg(&config));
    let took = start.elapsed();
    assert!(stdout(&out).starts_with("lane mine: HALT"), "first: {}{}", stdout(&out), stderr(&out));
    failed(&out, 1, &["lane a10", "trusted_uids = [65534]", "20 lanes in all"]);
    // One after another they would wait for a second each.
    assert!(took < Duration::from_secs(15), "all wait together: {took:?}");
    // Dead, such a page says nothing against a HALT that is recorded.
    drop(locks);
    let out = output(pillion().args(["ctl", "--all", "halt", "--config"]).arg(&config));
    done(&out, &["lane mine: HALT", "lane a10: HALT", "no live process and will come up halted"]);
    drop(sidecar);
}

/// Root in a directory where another user's lane lives, whom it does not count: the record in the system's folder is obeyed.
#[test]
fn root_halts_the_lane_of_another_user() {
    let halts = Path::new("/var/lib/pillion");
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let works = std::process::Command::new(as_user[0]).args(&as_user[1..]).arg("true").status();
    if !rustix::process::geteuid().is_root() || !works.is_ok_and(|status| status.success()) {
        skip("only root becomes another user");
        return;
    }
    let name = format!("others-{}", std::process::id());
    let config = lanes(dir.path(), &[&name], "");
    for (path, mode) in [(dir.path(), 0o1777), (&config, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::create_dir(dir.path().join("state")).unwrap();
    for path in [dir.path().join("state"), config.clone()] {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let exe = dir.path().join("pillion");
    std::fs::copy(env!("CARGO_BIN_EXE_pillion"), &exe).unwrap();
    let mut command = std::process::Command::new(as_user[0]);
    command.args(&as_user[1..]).arg(&exe).arg("run").arg("--config").arg(&config).current_dir("/");
    let sidecar = Running::start(&mut command);
    let page = wait_for("its page", || {
        let lane = Lane::in_dir(dir.path(), &name).unwrap().trusting(65_534);
        CncClient::attach_any_clock(&lane).ok().filter(|page| page.state() == State::Boot)
    });
    let out = ctl(dir.path(), &[&name, "halt"]);
    let record = halts.join(format!("{name}.halt"));
    let mode = std::fs::metadata(&record).unwrap().permissions().mode() & 0o777;
    let trusting = || {
        let mut command = pillion();
        command.env("PILLION_TRUSTED_UIDS", "65534").args(["ctl", &name, "resume", "--shm-dir"]).arg(dir.path());
        output(&mut command)
    };
    done(&out, &["obeyed by its record", &record.display().to_string()]);
    assert!(page.halted() && mode == 0o644);
    failed(&ctl(dir.path(), &[&name, "resume"]), 2, &["not resumed, the HALT stays in force", "trusted_uids"]);
    done(&trusting(), &["resumed"]);
    assert!(!record.exists());
    drop(sidecar);
}

/// A program with the C++ or Rust header knows of no record: the sidecar keeps it, and removes it when such a program resumes.
#[test]
fn orders_through_the_page_alone_are_recorded() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["page"], "");
    let mut sidecar = run(&config);
    let cnc = cnc_of(&mut sidecar, dir.path(), "page", State::Boot);
    let patience = Duration::from_secs(60);
    cnc.request(Command::Halt, patience).unwrap();
    wait_for("a record", || record(dir.path(), "page").exists().then_some(()));
    cnc.request(Command::Resume, patience).unwrap();
    wait_for("its removal", || (!record(dir.path(), "page").exists()).then_some(()));
    assert!(!cnc.halted());
    // A record alone halts a live lane too, whoever wrote it and whatever it says.
    std::fs::write(record(dir.path(), "page"), "not what we write").unwrap();
    wait_for("the HALT", || cnc.halted().then_some(()));
    let look = status(dir.path(), "page");
    assert!(look["halt"]["reason"].is_null() && look["halted"] == true, "{look}");
    done(&ctl(dir.path(), &["page", "resume"]), &[]);
    drop(sidecar);
}

#[test]
fn run_can_start_halted() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["one", "two"], "core = \"auto\"\n");
    if pillion::host::cores::allowed().len() < 2 {
        skip("two lanes need two CPUs");
        return;
    }
    let mut sidecar = Running::start(lanes::sidecar(&config).arg("--halted"));
    for lane in ["one", "two"] {
        assert!(cnc_of(&mut sidecar, dir.path(), lane, State::Boot).halted());
        let text = std::fs::read_to_string(record(dir.path(), lane)).unwrap();
        assert!(text.contains("run --halted"), "{text}");
    }
    done(&ctl(dir.path(), &["--all", "resume"]), &["lane one: resumed", "lane two: resumed"]);
    done(&ctl(dir.path(), &["--all", "halt", "--reason", "all of them"]), &["lane one: HALT", "lane two: HALT"]);
    done(&ctl(dir.path(), &["--all", "stop"]), &["lane one: STOPPED", "lane two: STOPPED"]);
    assert!(sidecar.finish().status.success());
    // All of them are down now, and all are halted.
    done(&ctl(dir.path(), &["--all", "resume"]), &["lane one: resumed", "lane two: resumed"]);
    failed(&ctl(dir.path(), &["--all", "stop"]), 2, &["no lane of a user who counts has a control page here"]);
    failed(&ctl(dir.path(), &["halt"]), 2, &["LANE"]);
}

/// A HALT of a dead lane and a start at the same time: whoever is first, the lane comes up halted.
#[test]
fn a_halt_is_never_lost_to_a_start() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["race"], "");
    for round in 0..6 {
        let sidecar = run(&config);
        std::thread::sleep(Duration::from_millis(round * 20));
        done(&ctl(dir.path(), &["race", "halt"]), &["lane race: HALT"]);
        let cnc = cnc_in(dir.path(), "race", State::Boot);
        wait_for("the HALT", || cnc.halted().then_some(()));
        sidecar.kill9();
        done(&ctl(dir.path(), &["race", "resume"]), &[]);
        assert!(!CncClient::attach_operator(&Lane::in_dir(dir.path(), "race").unwrap()).unwrap().halted());
    }
}

/// A lane that fails says so at once, with those that stay up, and is in the exit code when they have ended.
#[test]
fn one_lane_of_two_fails_aloud_and_alone() {
    if pillion::host::cores::allowed().len() < 2 {
        skip("two lanes need two CPUs");
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, report) = (lanes(dir.path(), &["bad", "good"], ""), dir.path().join("report.json"));
    let words = dir.path().join("words");
    let mut command = lanes::sidecar(&config);
    command.arg("--report").arg(&report).stderr(std::fs::File::create(&words).unwrap());
    let mut sidecar = Running(command.spawn().unwrap());
    cnc_of(&mut sidecar, dir.path(), "bad", State::Boot);
    cnc_of(&mut sidecar, dir.path(), "good", State::Boot);
    junk_ring(dir.path(), "bad");
    let bad = cnc_of(&mut sidecar, dir.path(), "bad", State::Fail);
    let said = wait_for("the failure to be said", || {
        std::fs::read_to_string(&words).ok().filter(|said| said.contains("lane bad has failed"))
    });
    assert!(said.contains("the process stays up with good") && said.contains("pillion.bad.ticks"), "{said}");
    let all = output(pillion().args(["status", "--shm-dir"]).arg(dir.path()));
    failed(&all, 1, &["lane bad: has failed (state FAIL)"]);
    assert!(stdout(&all).contains("lane good  BOOT"), "{}", stdout(&all));
    done(&ctl(dir.path(), &["bad", "stop"]), &["lane bad: FAIL", "stays up with good"]);
    assert!(!bad.owner_alive());
    done(&ctl(dir.path(), &["good", "stop"]), &["lane good: STOPPED"]);
    let ended = sidecar.finish();
    assert_eq!(ended.status.code(), Some(1), "a lane that had started and failed");
    let said = std::fs::read_to_string(&words).unwrap();
    assert!(said.matches("pillion.bad.ticks").count() >= 2, "at once and at the end: {said}");
    let account: pillion::report::SidecarReport = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let ends: Vec<_> = account.lanes.iter().map(|lane| (lane.lane.as_str(), lane.end.as_str())).collect();
    assert_eq!(ends, [("bad", "refused"), ("good", "stopped")]);
}

/// A lane that was in BOOT had started: what ends it is no refusal.
#[test]
fn a_lane_that_fails_in_boot_is_a_run_that_failed() {
    let dir = shm_dir();
    let mut sidecar = run(&lanes(dir.path(), &["alone"], ""));
    cnc_of(&mut sidecar, dir.path(), "alone", State::Boot);
    junk_ring(dir.path(), "alone");
    let ended = sidecar.finish();
    failed(&ended, 1, &["pillion.alone.ticks", "mend: "]);
    let page = Lane::in_dir(dir.path(), "alone").unwrap();
    assert_eq!(CncClient::attach_operator(&page).unwrap().state(), State::Fail);
    assert!(page.path(Kind::Ticks).exists(), "what is not ours is left alone");
}
