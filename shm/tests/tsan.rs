//! The C++ header under ThreadSanitizer: ring, board, mailbox and page between threads, without a plain access that races.
//!
//! It is no more than that: ThreadSanitizer does not understand fences, so that it would see no ordering missing. Those
//! are `loom.rs`'s for the protocol and `barriers.rs`'s for what compilers make of it.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;
#[path = "common/mutant.rs"]
mod mutant;

use mutant::Mutant;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "tests/cpp/tsan_threads.cpp";
const FLAGS: [&str; 2] = ["-fsanitize=thread", "-g"];
const PROTOCOLS: [&str; 4] = ["ring", "board", "mailbox", "page"];

/// Runs `program` on one protocol and returns what ThreadSanitizer says; `None`, with a line, where it cannot run.
fn watch(program: &Path, protocol: &str, turns: u32) -> Option<String> {
    let mut command = Command::new(program);
    // A program that is wrong may wait for ever for what it misread.
    let mut child = command
        .args([protocol, &turns.to_string()])
        .env("TSAN_OPTIONS", "halt_on_error=1 exitcode=66 report_signal_unsafe=0")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed().as_secs() > 120 {
            child.kill().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let out = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    if words.contains("unexpected memory mapping") {
        cxx::skip("ThreadSanitizer cannot place its memory here (sysctl vm.mmap_rnd_bits=28)");
        return None;
    }
    assert!(out.status.success() || words.contains("data race"), "{protocol}: {}: {words}", out.status);
    Some(words)
}

#[test]
fn no_plain_access_races() {
    for compiler in cxx::compilers() {
        let Some(program) = mutant::sanitized(&compiler, SOURCE, &FLAGS) else { continue };
        for protocol in PROTOCOLS {
            let Some(words) = watch(&program, protocol, 20_000) else { return };
            assert!(words.is_empty(), "{}, {protocol}: {words}", compiler.version);
        }
    }
}

#[test]
fn a_plain_access_is_reported() {
    let load = (
        "return std::atomic_ref<Word>{*const_cast<Word*>(at)}.load(order);",
        "static_cast<void>(order);\n    return *at;",
    );
    let store = ("std::atomic_ref<Word>{*at}.store(value, order);", "static_cast<void>(order);\n    *at = value;");
    let read = ("const Word word = load(from);\n    std::memcpy(to, &word, 8);", "std::memcpy(to, from, 8);");
    let written = ("Word word;\n    std::memcpy(&word, from, 8);\n    store(to, word);", "std::memcpy(to, from, 8);");
    let mutants: [(_, &[&str]); 4] =
        [(load, &PROTOCOLS), (store, &PROTOCOLS), (read, &["ring", "board"]), (written, &["ring", "board"])];
    let Some(compiler) = cxx::compiler() else { return };
    if mutant::sanitized(&compiler, SOURCE, &FLAGS).is_none() {
        return;
    }
    for ((from, to), protocols) in mutants {
        let mutant = Mutant::new("words.hpp", from, to);
        let program = mutant.build(SOURCE, &FLAGS);
        for protocol in protocols {
            let Some(words) = watch(&program, protocol, 200_000) else { return };
            assert!(words.contains("data race"), "{protocol} with {to}: {words}");
        }
    }
}
