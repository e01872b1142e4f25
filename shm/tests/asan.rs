//! The C++ header under AddressSanitizer and UndefinedBehaviorSanitizer, attached to regions that somebody scribbled over:
//! refused with a reason or read on, and never a report.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;
#[path = "common/mutant.rs"]
mod mutant;

use mutant::Mutant;
use std::path::Path;
use std::process::{Command, Output};

const SOURCE: &str = "tests/cpp/asan_hostile.cpp";
const FLAGS: [&str; 5] =
    ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-Wl,--wrap=mmap,--wrap=munmap", "-O0"];

/// Runs `program` with so many regions of words spoiled here and there per kind.
fn attach(program: &Path, cases: u32) -> Output {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    Command::new("timeout").arg("300").arg(program).arg(dir.path()).arg(cases.to_string()).output().unwrap()
}

#[test]
fn a_scribbled_region_is_refused_or_read_on() {
    for compiler in cxx::compilers() {
        let Some(program) = mutant::sanitized(&compiler, SOURCE, &FLAGS) else { continue };
        let out = attach(&program, 4_000);
        let (said, reported) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() && reported.is_empty(), "{}: {}: {reported}", compiler.version, out.status);
        let count = |what: &str| {
            let after = said.split(what).nth(1).unwrap_or_else(|| panic!("{said}"));
            after.trim().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap()
        };
        assert!(count("attached") > 10_000 && count("refused") > 10_000, "{said}");
    }
}

#[test]
fn a_read_outside_the_map_is_reported() {
    let mutants = [
        ("header.hpp", "(stride == 0 || capacity <= room / stride)", "(stride == 0 || room > 0)"),
        ("header.hpp", "if (file_bytes != region_bytes) {", "if (file_bytes == 0) {"),
    ];
    let Some(compiler) = cxx::compiler() else { return };
    if mutant::sanitized(&compiler, SOURCE, &FLAGS).is_none() {
        return;
    }
    for (file, from, to) in mutants {
        let out = attach(&Mutant::new(file, from, to).build(SOURCE, &FLAGS), 4_000);
        let reported = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && reported.contains("Sanitizer"), "{to}: {}: {reported}", out.status);
    }
}
