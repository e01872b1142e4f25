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
use line::{access, line, synthetic_feed};
use pillion::engine::{Engine, Native, Options, RuntimeConfig, Shape};
use pillion::hot::features::FeatureSet;
use pillion::hot::run::{self, Link};
use pillion::hot::{Counts, StageSet};
use pillion::models::{EngineChoice, Model};
use pillion_shm::CncOwner;

/// Events played through the loop.
const EVENTS: u64 = 20_000;

/// Set in a child process: which model it runs, and whether it breaks the rule on purpose.
const CHILD: &str = "PILLION_TEST_NO_SYSCALL";

/// What the hot thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Models {
    None,
    /// Two bundled models under ONNX Runtime.
    Ort,
    /// The same two on our own kernels, a window, a state, and a recurrent net that prepares its next run.
    Native,
}

fn engines(models: Models, set: &FeatureSet) -> Vec<Box<dyn Engine>> {
    let path = |name: &str| model(name).join("model.onnx");
    let read = |path: &std::path::Path| std::fs::read(path).expect("part of the repository");
    let fixture = |name: &str| {
        read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/model_fixtures/{name}.onnx")))
    };
    let n = set.len();
    let native = |onnx: &[u8], shape: &Shape, precompute| -> Box<dyn Engine> {
        let options = Options { precompute, ..Options::default() };
        Box::new(Native::with(onnx, shape, options).expect("a model for our kernels"))
    };
    let bundled = Shape::vector("features", n, "probabilities", 3);
    match models {
        Models::None => Vec::new(),
        Models::Ort => ["mlp-k10", "lgbm-k10"]
            .map(|name| {
                Model::load(&model(name), &RuntimeConfig::default(), EngineChoice::OrtCpu).expect("bundled").engine
            })
            .into(),
        Models::Native => vec![
            native(&read(&path("mlp-k10")), &bundled, false),
            native(&read(&path("lgbm-k10")), &bundled, false),
            native(&fixture("window"), &Shape::vector("x", n, "y", 3).window(5), false),
            native(&fixture("state"), &Shape::vector("x", n, "z", 1).carrying(&[("s", "next")]), true),
            native(&fixture("lstm"), &Shape::vector("x", n, "y", 1).window(10), true),
        ],
    }
}

/// Plays the recording through the loop on a thread of its own while this thread is the cold side. `before` runs on
/// the hot thread when everything is set up, `after` when the loop has ended.
fn play(models: Models, before: fn() -> u64, after: fn() -> u64) -> (u64, Counts, u64) {
    let (feed, set) = (synthetic_feed(5, 4, EVENTS), FeatureSet::load("book").unwrap());
    let mut line = line(&feed, &set, engines(models, &set), 1 << 17);
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
    (counted, *lane.counts(), handed)
}

#[test]
fn the_loop_never_asks_the_heap() {
    let _guard = one_at_a_time();
    for (models, count) in [(Models::None, 0), (Models::Native, 5), (Models::Ort, 2)] {
        if models == Models::Ort && !has_onnxruntime() {
            continue;
        }
        let (asked, counts, handed) = play(models, heap::requests, heap::requests);
        assert!(counts.events >= EVENTS && counts.signals == count * counts.events && counts.invalid == 0);
        assert!(handed > 0, "histograms were handed over while it ran");
        assert!(heap::requests() > 0, "the counter counts");
        assert_eq!(asked, 0, "allocations and frees of the hot thread, with models: {models:?}");
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
        Ok("features") => drop(play(Models::None, forbid_system_calls, end_at_once)),
        Ok("native") => drop(play(Models::Native, forbid_system_calls, end_at_once)),
        Ok("ort") => drop(play(Models::Ort, forbid_system_calls, end_at_once)),
        Ok("broken") => drop(play(Models::None, one_system_call_too_many, end_at_once)),
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
    assert_eq!(fate("native"), (Some(77), None), "five models on our own kernels");
    if has_onnxruntime() {
        assert_eq!(fate("ort"), (Some(77), None), "books, features and two models under ONNX Runtime");
    }
}
