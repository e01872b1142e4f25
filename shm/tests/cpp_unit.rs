//! The header's own tests: programs in tests/cpp that check themselves, built and run by every C++ compiler that is here.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;

use cxx::Compiler;
use std::path::Path;
use std::process::Command;

/// Every program of tests/cpp that `unit` below runs.
const UNITS: [&str; 7] = ["ring", "takeover", "refusals", "signals", "control", "judge", "hot"];

/// Builds tests/cpp/unit_`name`.cpp with each compiler and runs it: silence and 0, or the check that failed.
fn unit(name: &str) {
    assert!(UNITS.contains(&name));
    for compiler in cxx::compilers() {
        run(&compiler, &compiler.build(&format!("tests/cpp/unit_{name}.cpp"), &[]));
    }
}

fn run(compiler: &Compiler, program: &Path) {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    // Some programs become another user, who must get through.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = Command::new(program).env("PILLION_TEST_DIR", dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} by {}: {}\n{said}", program.display(), compiler.version, out.status);
}

#[test]
fn ring() {
    unit("ring");
}

#[test]
fn takeover() {
    unit("takeover");
}

#[test]
fn refusals() {
    unit("refusals");
}

#[test]
fn signals() {
    unit("signals");
}

#[test]
fn control() {
    unit("control");
}

#[test]
fn judge() {
    unit("judge");
}

#[test]
fn hot() {
    unit("hot");
}

/// Whatever a user's build says: no warning, and the same behaviour.
#[test]
fn every_level_and_without_exceptions() {
    let more = ["-Wsign-conversion", "-Wold-style-cast", "-Wnon-virtual-dtor", "-Woverloaded-virtual"];
    for compiler in cxx::compilers() {
        for level in [&["-O0"][..], &["-O3"], &["-O1", "-fno-exceptions", "-fno-rtti"]] {
            run(&compiler, &compiler.build("tests/cpp/unit_hot.cpp", &[&more, level].concat()));
        }
    }
}

/// Two files that include the header link to one program.
#[test]
fn two_files_make_one_program() {
    for compiler in cxx::compilers() {
        let second = cxx::shm_root().join("tests/cpp/unit_two.cpp");
        run(&compiler, &compiler.build("tests/cpp/unit_one.cpp", &["-O0", second.to_str().unwrap()]));
    }
}

/// No program is forgotten.
#[test]
fn all_programs_are_run() {
    let names = std::fs::read_dir(cxx::shm_root().join("tests/cpp")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> =
        names.filter_map(|name| Some(name.strip_prefix("unit_")?.strip_suffix(".cpp")?.to_owned())).collect();
    found.sort();
    let mut wanted: Vec<_> = UNITS.iter().chain(&["one", "two"]).map(|name| (*name).to_owned()).collect();
    wanted.sort();
    assert_eq!(found, wanted);
}
