//! The header's own tests: programs in tests/cpp that check themselves, built and run by every C++ compiler that is here.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;

use cxx::Compiler;
use std::path::Path;
use std::process::Command;

/// Every program of tests/cpp that `unit` below runs.
const UNITS: [&str; 8] = ["ring", "takeover", "refusals", "signals", "control", "judge", "hot", "owners"];

/// What a program ends with that could not look at all it should, having said why: `skipped` of tests/cpp/check.hpp.
const SKIPPED: i32 = 77;

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
    if out.status.code() == Some(SKIPPED) {
        return cxx::skip(String::from_utf8_lossy(&out.stdout).trim());
    }
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
fn owners() {
    unit("owners");
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

/// What a user's project is built with: the quick start of the document and every example, at each level of optimisation.
#[test]
fn users_flags_bring_no_warning() {
    let document = std::fs::read_to_string(cxx::shm_root().join("README.md")).unwrap();
    let code = document.split_once("```cpp\n").and_then(|(_, rest)| rest.split_once("```\n")).unwrap().0;
    let dir = tempfile::tempdir().unwrap();
    let quick = dir.path().join("quick_start.cpp");
    std::fs::write(&quick, code).unwrap();
    let examples = ["feed", "strategy", "latency"].map(|name| cxx::shm_root().join(format!("examples/{name}.cpp")));
    for compiler in cxx::compilers() {
        for level in ["-O0", "-O1", "-O2", "-O3"] {
            let sources = std::iter::once(&quick).chain(examples.iter().filter(|_| ["-O0", "-O3"].contains(&level)));
            for source in sources {
                let mut command = compiler.command();
                command.args([level, "-Wno-unused-command-line-argument", "-c", "-o", "/dev/null"]).arg(source);
                let out = command.output().unwrap();
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{} at {level} by {}:\n{said}", source.display(), compiler.version);
            }
        }
    }
}

/// Whoever compiles for an older standard reads first what is wanted.
#[test]
fn below_cpp20_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("old.cpp");
    for compiler in cxx::compilers() {
        for header in ["shm.hpp", "lane.hpp", "judge.hpp", "records.hpp"] {
            std::fs::write(&source, format!("#include <pillion/{header}>\nint main() {{}}\n")).unwrap();
            let mut command = compiler.command();
            let out = command.args(["-std=c++17", "-fsyntax-only"]).arg(&source).output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            let first = said.lines().find(|line| line.contains("error")).unwrap_or_default();
            assert!(!out.status.success() && first.contains("Pillion needs C++20"), "{header}: {said}");
            // It stands alone: nothing else of the header is looked at.
            assert_eq!(said.lines().filter(|line| line.contains("error:")).count(), 1, "{header}: {said}");
            assert!(said.lines().count() <= 12, "{header}: {said}");
        }
    }
}

/// The lines that the header's own page begins with are a program: it compiles, and on a lane that is not there it ends.
#[test]
fn the_headers_first_lines_compile() {
    let header = std::fs::read_to_string(cxx::shm_root().join("include/pillion/shm.hpp")).unwrap();
    let code = header.split_once("/// @code\n").and_then(|(_, rest)| rest.split_once("/// @endcode")).unwrap().0;
    let code: String = code.lines().map(|line| line.strip_prefix("///").unwrap().to_owned() + "\n").collect();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("first_lines.cpp");
    let program = format!("#include <cstdio>\n#include <pillion/shm.hpp>\nint main() {{\n{code}return 0;\n}}\n");
    std::fs::write(&source, program).unwrap();
    for compiler in cxx::compilers() {
        if let Err(said) = compiler.try_build(source.to_str().unwrap(), &["-O0"]) {
            panic!("{said}");
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
