//! What a run allocates: nothing on our side, and under ONNX Runtime a stated number that does not grow.
//!
//! ONNX Runtime's calls bypass a Rust allocator, so a preloaded library counts every call to the C allocator, and a
//! counting global allocator counts those of Rust: ours and the `ort` crate's.
#![allow(missing_docs)]

#[path = "common/heap.rs"]
mod heap;
mod model_support;

use std::ffi::CStr;

use model_support::{bundled, child, compile, is_child, runtime_is_here};
use pillion::engine::RuntimeConfig;
use pillion::models::{EngineChoice, Model};

/// Calls of ONNX Runtime 1.31.1 to the C allocator in one run, at most.
const DENSE_NET: u64 = 28;
const TREES: u64 = 17;

const WARM: usize = 100;
const RUNS: usize = 10_000;

/// Calls of this thread to the C allocator, from the preloaded counter. Asks for no memory itself.
fn c_calls() -> u64 {
    // SAFETY: the name ends in NUL; nobody here changes the environment.
    let text = unsafe { libc::getenv(c"PILLION_MALLOCS".as_ptr()) };
    assert!(!text.is_null(), "the counter is not preloaded");
    // SAFETY: the counter's own text, which ends in NUL and stays until this thread asks again.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().expect("digits").parse().expect("a number")
}

#[test]
#[ignore = "a child of the other test"]
fn child_counts() {
    if !is_child() {
        return;
    }
    let counts = || (heap::requests(), c_calls());
    for dir in bundled() {
        let mut model = Model::load(&dir, &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
        let (input, mut output) = (vec![0.25; model.manifest.features.len()], [0.0; 3]);
        (0..WARM).for_each(|_| model.engine.run(&input, &mut output).unwrap());
        let (mut fewest, mut most) = (u64::MAX, 0);
        let rust_before = counts().0;
        for _ in 0..RUNS {
            let before = counts().1;
            model.engine.run(&input, &mut output).unwrap();
            let during = counts().1 - before;
            (fewest, most) = (fewest.min(during), most.max(during));
        }
        let ours = counts().0 - rust_before;
        let name = &model.manifest.name;
        println!("{name}: {RUNS} runs, ours {ours} allocations, ONNX Runtime {fewest} to {most} a run");
        assert_eq!(ours, 0, "{name}");
        assert_eq!(fewest, most, "{name}: the number must not change from run to run");
        assert!(most > 0 && most <= if name.starts_with("mlp") { DENSE_NET } else { TREES }, "{name}: {most}");
    }
}

#[test]
fn a_run_allocates_nothing_on_our_side_and_a_stated_number_under_onnx_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let counter = dir.path().join("libcount.so");
    if !runtime_is_here() || compile("../../src/models/mallocs.c", &["-fno-builtin"], &counter).is_none() {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let output = child(&exe, "child_counts").env("LD_PRELOAD", &counter).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("ours 0 allocations").count(), bundled().len(), "{text}");
}
