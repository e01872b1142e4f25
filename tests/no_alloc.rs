//! After start a hot thread allocates nothing and calls the system for nothing: the whole loop, housekeeping included.

mod common;
#[path = "common/heap.rs"]
mod heap;
#[path = "common/line.rs"]
mod line;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use line::{access, line};
use pillion::cold::data::{self, Feed, synth};
use pillion::cold::model::{EngineChoice, Model};
use pillion::engine::{Engine, RuntimeConfig};
use pillion::hot::features::FeatureSet;
use pillion::hot::{Counts, StageSet};
use pillion::run::{self, Link};
use pillion_shm::CncOwner;

/// Events played through the loop.
const EVENTS: u64 = 20_000;

/// Set in a child process: which model it runs, and whether it breaks the rule on purpose.
const CHILD: &str = "PILLION_TEST_NO_SYSCALL";

fn recording() -> Feed {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("synth.dbn");
    synth::write(&path, &synth::Plan { seed: 5, instruments: 4, events: EVENTS, events_per_second: 5_000 }).unwrap();
    data::load(&path).unwrap()
}

fn engines(with_model: bool) -> Vec<Box<dyn Engine>> {
    if !with_model {
        return Vec::new();
    }
    let load = |name: &str| {
        Model::load(&model(name), &RuntimeConfig::default(), EngineChoice::OrtCpu).expect("a bundled model").engine
    };
    vec![load("mlp-k10"), load("lgbm-k10")]
}

/// Plays the recording through the loop on a thread of its own while this thread is the cold side. `before` runs on
/// the hot thread when everything is set up, `after` when the loop has ended.
fn play(with_model: bool, before: fn() -> u64, after: fn() -> u64) -> (u64, Counts, u64) {
    let (feed, set) = (recording(), FeatureSet::load("book").unwrap());
    let mut line = line(&feed, &set, engines(with_model), 1 << 17);
    assert!(feed.records < 1 << 17, "the ring holds the whole recording");
    feed.iter().for_each(|r| _ = line.ticks.publish(r));
    let cnc = CncOwner::create(&line.name, &line.clock, &access()).unwrap();
    let link = Arc::new(Link::new(cnc, Arc::new(AtomicBool::new(false))));
    link.empty.store(Some(Box::<StageSet>::default()));
    let (hot_link, mut lane) = (Arc::clone(&link), line.lane);
    let hot = std::thread::spawn(move || {
        let start = before();
        run::run(&mut lane, &hot_link);
        let counted = after() - start;
        (counted, lane)
    });
    let mut handed = 0;
    let client = pillion_shm::CncClient::attach(&line.name, &line.clock).unwrap();
    // The hot thread goes on turning when all is read, so that at least one hand-over happens however late we look.
    while client.ticks_consumed() < feed.records || handed == 0 {
        assert!(!hot.is_finished(), "the hot thread has ended before its time");
        if let Some(mut full) = link.full.take() {
            handed += 1;
            full.clear();
            link.empty.store(Some(full));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    link.stop.store(true, Ordering::Relaxed);
    let (counted, lane) = hot.join().expect("the hot thread ends");
    (counted, lane.counts().clone(), handed)
}

#[test]
fn the_loop_never_asks_the_heap() {
    let _guard = one_at_a_time();
    for with_model in [false, true] {
        if with_model && !has_onnxruntime() {
            continue;
        }
        let (asked, counts, handed) = play(with_model, heap::requests, heap::requests);
        assert!(counts.events >= EVENTS && counts.signals == if with_model { 2 * counts.events } else { 0 });
        assert!(handed > 0, "histograms were handed over while it ran");
        assert!(heap::requests() > 0, "the counter counts");
        assert_eq!(asked, 0, "allocations and frees of the hot thread, with model: {with_model}");
    }
}

/// Any system call but the end of the process kills it.
fn forbid_system_calls() -> u64 {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let rules = BTreeMap::from([(libc::SYS_exit_group, Vec::new())]);
    let arch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    apply_filter(&program).expect("this thread takes the filter");
    0
}

/// Ends the process without another system call; 77 says that the loop came to its end.
fn end_at_once() -> u64 {
    // SAFETY: ends the process; nothing here needs a destructor.
    unsafe { libc::_exit(77) }
}

fn one_system_call_too_many() -> u64 {
    forbid_system_calls();
    std::thread::yield_now();
    0
}

/// Runs in a child process only: the parent below reads its fate.
#[test]
fn child_under_the_filter() {
    match std::env::var(CHILD).as_deref() {
        Ok("features") => drop(play(false, forbid_system_calls, end_at_once)),
        Ok("models") => drop(play(true, forbid_system_calls, end_at_once)),
        Ok("broken") => drop(play(false, one_system_call_too_many, end_at_once)),
        _ => {}
    }
}

#[test]
fn the_loop_never_calls_the_system() {
    use std::os::unix::process::ExitStatusExt;
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let fate = |child: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child_under_the_filter", "--test-threads=1"])
            .env(CHILD, child)
            .env(SHM_DIR, dir.path());
        let out = command.output().unwrap();
        (out.status.code(), out.status.signal())
    };
    assert_eq!(fate("broken"), (None, Some(libc::SIGSYS)), "the filter catches a call");
    assert_eq!(fate("features"), (Some(77), None), "books and features");
    if has_onnxruntime() {
        assert_eq!(fate("models"), (Some(77), None), "books, features and two models under ONNX Runtime");
    }
}
