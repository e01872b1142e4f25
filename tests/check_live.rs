//! `check` beside lanes that live, CPUs that several lanes want, and errors that a machine reads.

mod common;
#[path = "common/lanes.rs"]
mod lanes;

use std::process::{Command, Output};

use common::*;
use lanes::*;
use pillion_shm::State;
use serde_json::Value;

fn check(config: &std::path::Path, more: &[&str]) -> Output {
    output(pillion().arg("check").arg("--config").arg(config).args(more))
}

fn one_json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", stdout(out), stderr(out)))
}

/// The pre-flight of a change needs no outage: everything is checked but the claim on the names, and the lane is left alone.
#[test]
fn a_change_to_a_live_lane_can_be_checked() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let path = lanes(dir.path(), &["live"], "");
    let mut sidecar = run(&path);
    cnc_of(&mut sidecar, dir.path(), "live", State::Boot);
    let ticks = ring(dir.path(), "live");
    let cnc = cnc_of(&mut sidecar, dir.path(), "live", State::Run);
    let pid = sidecar.0.id();
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let out = check(&path, &[]);
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let words = [format!("lane live is held by process {pid}: `run` would be refused"), "would start then".to_owned()];
    words.iter().for_each(|word| assert!(stdout(&out).contains(word), "no {word:?} in {}", stdout(&out)));
    assert!(stdout(&out).contains("\nneeds     ") && stdout(&out).contains("books 1.1 MB"), "{}", stdout(&out));
    let seen = one_json(&check(&path, &["--json"]));
    assert_eq!((seen["ok"].as_bool(), seen["lanes"][0]["held_by"].as_u64()), (Some(true), Some(pid.into())), "{seen}");
    assert!(seen["memory"]["need"]["books"].as_u64() > Some(1_000_000), "{seen}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before, "nothing is made");
    // What is wrong with the change is found all the same.
    let text = std::fs::read_to_string(&path).unwrap().replace("[lane]\n", "[lane]\nmodels = [\"no-model\"]\n");
    std::fs::write(&path, text).unwrap();
    let out = check(&path, &[]);
    assert_eq!(out.status.code(), Some(2), "{}", stdout(&out));
    assert!(stderr(&out).contains("no-model"), "{}", stderr(&out));
    assert_eq!((cnc.state(), cnc.owner_alive()), (State::Run, true));
    drop((ticks, sidecar));
}

/// The CPUs that a process's threads of this name are pinned to.
fn hot_cpus(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let cpu = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
        name.starts_with("hot-").then_some(cpus)
    };
    tasks.filter_map(cpu).collect()
}

/// Two processes that both choose take two CPUs; where there is one, both say who shares it, in BOOT too.
#[test]
fn auto_shares_no_cpu_without_saying_so() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let allowed = pillion::host::cores::allowed();
    if allowed.len() < 2 {
        skip("two CPUs are needed");
        return;
    }
    let place = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (a, b, c) = (place("a"), place("b"), place("c"));
    let mut first = run(&lanes(&a, &["first"], ""));
    cnc_of(&mut first, &a, "first", State::Boot);
    let mut second = run(&lanes(&b, &["second"], ""));
    cnc_of(&mut second, &b, "second", State::Boot);
    let cpus = [&first, &second].map(|process| hot_cpus(process.0.id()));
    assert!(cpus.iter().all(|of| of.len() == 1), "claimed before the feed is there: {cpus:?}");
    let taken: usize = cpus[0][0].parse().expect("one CPU");
    // A third that may only use that CPU, and one that names it.
    let named = lanes(&c, &["third"], &format!("core = {taken}\n"));
    for wrapper in [&["taskset", "-c", &cpus[0][0]][..], &["env"]] {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_pillion")).arg("check").arg("--config").arg(&named);
        let out = output(&mut command);
        let words = format!("lane third shares CPU {taken} with lane first of process {}", first.0.id());
        assert!(stdout(&out).contains(&words), "no {words:?} in {}{}", stdout(&out), stderr(&out));
    }
    assert!(ctl(&a, &["first", "stop"]).status.success() && ctl(&b, &["second", "stop"]).status.success());
    let (first, second) = (first.finish(), second.finish());
    if cpus[0] == cpus[1] {
        // Another program's lanes had all the others.
        assert!(stdout(&second).contains("second shares CPU") || stdout(&first).contains("first shares CPU"));
    }
}

/// A machine that asked for JSON gets its error as JSON, in one line, whatever the command.
#[test]
fn errors_are_json_where_json_was_asked_for() {
    let dir = shm_dir();
    let folder = dir.path().display().to_string();
    for args in [
        &["status", "gone", "--json", "--shm-dir", &folder][..],
        &["status", "--json", "--shm-dir", &folder],
        &["check", "--json", "--config", "/no/such.toml"],
        &["shm", "ls", "--json", "--dir", "/no/such/folder"],
        &["model", "check", "/no/such/model", "--json"],
        &["doctor", "--json", "--core", "9999"],
        &["doctor", "--json", "--seconds", "x"],
        &["status", "--json", "--no-such-flag"],
    ] {
        let out = output(pillion().args(args));
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert_eq!(stdout(&out).lines().count(), 1, "{args:?}: {}", stdout(&out));
        let error = &one_json(&out)["error"];
        for key in ["thing", "problem", "mend"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{args:?}: no {key} in {error}");
        }
        assert_eq!(error["exit_code"], 2);
        assert!(stderr(&out).starts_with("error: "), "people are told too: {}", stderr(&out));
    }
    // Without it, there is none.
    let out = output(pillion().args(["status", "gone", "--shm-dir", &folder]));
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(2), ""));
    // A lane that is not well is said in its own line, and by the exit code.
    let sidecar = run(&lanes(dir.path(), &["died"], ""));
    cnc_in(dir.path(), "died", State::Boot);
    sidecar.kill9();
    let out = output(pillion().args(["status", "died", "--json", "--shm-dir", &folder]));
    assert_eq!(out.status.code(), Some(1));
    assert!(one_json(&out)["problem"].as_str().unwrap().contains("no live process"), "{}", stdout(&out));
}

/// A process that was killed a moment ago still holds its pages: `run` waits for the kernel and does not refuse.
#[test]
fn a_start_right_after_a_kill_is_no_refusal() {
    let dir = shm_dir();
    let path = lanes(dir.path(), &["again"], "");
    for _ in 0..3 {
        let mut sidecar = run(&path);
        cnc_of(&mut sidecar, dir.path(), "again", State::Boot);
        sidecar.0.kill().unwrap();
        // Not waited for: the process may still be ending, and is a zombie then.
        let mut next = run(&path);
        let pid = next.0.id();
        wait_for("the next one's page", || {
            assert_eq!(next.0.try_wait().unwrap(), None, "it was refused");
            (cnc_in(dir.path(), "again", State::Boot).pid() == pid).then_some(())
        });
        drop(sidecar);
        assert!(ctl(dir.path(), &["again", "stop"]).status.success());
        assert!(next.finish().status.success());
    }
}

/// A dead lane's page whose lock somebody else took: the words do not call the dead process a live one.
#[test]
fn a_lock_on_a_dead_page_is_not_its_makers() {
    let dir = shm_dir();
    let path = lanes(dir.path(), &["locked"], "");
    let mut sidecar = run(&path);
    cnc_of(&mut sidecar, dir.path(), "locked", State::Boot);
    let pid = sidecar.0.id();
    sidecar.kill9();
    let page = std::fs::File::open(dir.path().join("pillion.locked.cnc")).unwrap();
    rustix::fs::flock(&page, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let out = run(&path).finish();
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    let words = format!("another process than {pid}");
    assert!(stderr(&out).contains(&words) && !stderr(&out).contains("live process"), "{}", stderr(&out));
    // A reader's lock, which shows only when the page is made.
    rustix::fs::flock(&page, rustix::fs::FlockOperation::LockShared).unwrap();
    let lane = pillion_shm::Lane::in_dir(dir.path(), "locked").unwrap();
    let clock = pillion_shm::Clock::attach(dir.path()).unwrap();
    let held = pillion_shm::CncOwner::create(&lane, &clock, &pillion_shm::Access::default()).unwrap_err().to_string();
    assert!(held.contains(&format!("a lock that outlived process {pid}")), "{held}");
    drop(page);
    let mut next = run(&path);
    cnc_of(&mut next, dir.path(), "locked", State::Boot);
}
