//! The C++ package as its users get it: `make install`, then a project of their own by CMake, pkg-config and a bare -I.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `command` to its good end and returns what it printed.
fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}\n{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// Whether the tool is there; else says what is skipped.
fn has(tool: &str) -> bool {
    let here = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !here {
        cxx::skip(&format!("{tool} is not here (scripts/setup-toolchain installs it)"));
    }
    here
}

fn repository() -> PathBuf {
    cxx::shm_root().parent().unwrap().to_owned()
}

/// `make install` from a copy of what it needs: no Rust file, no build folder of other tests.
fn checkout(folder: &Path) -> PathBuf {
    let copy = folder.join("checkout");
    fs::create_dir_all(copy.join("shm")).unwrap();
    for file in ["Makefile", "Cargo.toml"] {
        fs::copy(repository().join(file), copy.join(file)).unwrap();
    }
    for part in ["CMakeLists.txt", "README.md", "cmake", "include", "examples"] {
        run(Command::new("cp").arg("-r").arg(cxx::shm_root().join(part)).arg(copy.join("shm")));
    }
    copy
}

fn install(checkout: &Path, prefix: &Path, destdir: &str) {
    let mut make = Command::new("make");
    make.arg("-C").arg(checkout).arg("install").arg(format!("PREFIX={}", prefix.display()));
    // Installing headers asks for no Rust and no compiler: only what cmake and make themselves are.
    make.env("CXX", "/nonexistent").env("CC", "/nonexistent").env("CARGO", "/nonexistent");
    run(make.arg(format!("DESTDIR={destdir}")).env_remove("MAKEFLAGS").env_remove("MAKELEVEL"));
}

/// Files below `folder`, relative and sorted.
fn files(folder: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(folder).args(["-type", "f", "-printf", "%P\n"]));
    let mut files: Vec<_> = found.lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// Runs a built consumer: its one tick goes there and back.
fn try_out(program: &Path) {
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    assert_eq!(run(Command::new(program).arg(shm.path())), "order 42\n");
}

fn by_cmake(project: &Path, build: &Path, prefix: &Path, compiler: &str) {
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(project).arg("-B").arg(build).arg("-DCMAKE_BUILD_TYPE=Release");
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
    run(configure.arg(format!("-DCMAKE_CXX_COMPILER={compiler}")));
    run(Command::new("cmake").arg("--build").arg(build));
}

fn by_flags(compiler: &cxx::Compiler, flags: &str, program: &Path) {
    let source = cxx::shm_root().join("tests/consumer/consumer.cpp");
    let mut command = Command::new(compiler.program());
    run(command.arg("-std=c++20").args(flags.split_whitespace()).arg(source).arg("-o").arg(program));
    try_out(program);
}

fn pkg_config(prefix: &Path, what: &str) -> String {
    let mut command = Command::new("pkg-config");
    run(command.args([what, "pillion"]).env("PKG_CONFIG_PATH", prefix.join("share/pkgconfig")))
}

/// Installed, then moved elsewhere as a package manager does: every way to consume it works from there, with each
/// compiler.
#[test]
fn an_installed_package_is_consumed_from_where_it_was_moved_to() {
    if !(has("cmake") && has("make") && has("pkg-config")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, moved) = (folder.path().join("first"), folder.path().join("moved prefix"));
    install(&checkout(folder.path()), &first, "");
    let made = files(&first);
    for file in [
        "include/pillion/shm.hpp",
        "include/pillion/records.hpp",
        "share/cmake/pillion/pillionConfig.cmake",
        "share/cmake/pillion/pillionConfigVersion.cmake",
        "share/cmake/pillion/pillionTargets.cmake",
        "share/doc/pillion/README.md",
        "share/doc/pillion/examples/CMakeLists.txt",
        "share/doc/pillion/examples/strategy.cpp",
        "share/pkgconfig/pillion.pc",
    ] {
        assert!(made.iter().any(|f| f == file), "{file} is not among {made:?}");
    }
    let headers = |root: PathBuf| files(&root).into_iter().filter(|f| f.ends_with(".hpp")).count();
    assert_eq!(headers(first.join("include")), headers(cxx::shm_root().join("include")), "every header is there");
    fs::rename(&first, &moved).unwrap();
    for (i, compiler) in cxx::compilers().iter().enumerate() {
        let build = folder.path().join(format!("consumer-{i}"));
        by_cmake(&cxx::shm_root().join("tests/consumer"), &build, &moved, &compiler.program());
        try_out(&build.join("consumer"));
        // A prefix without a blank for the two that are words on a command line.
        let plain = folder.path().join("plain");
        fs::rename(&moved, &plain).unwrap();
        by_flags(compiler, &pkg_config(&plain, "--cflags"), &build.join("by-pkg-config"));
        by_flags(compiler, &format!("-I{}", plain.join("include").display()), &build.join("by-include"));
        fs::rename(&plain, &moved).unwrap();
    }
}

/// The crate, CMake and pkg-config say one version, and CMake takes no package of another minor version for this one.
#[test]
fn all_say_the_crates_version() {
    if !(has("cmake") && has("make") && has("pkg-config")) {
        return;
    }
    let Some(compiler) = cxx::compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix");
    install(&checkout(folder.path()), &prefix, "");
    assert_eq!(pkg_config(&prefix, "--modversion").trim(), env!("CARGO_PKG_VERSION"));
    let ask = |version: &str| {
        let project = folder.path().join(format!("asks-{version}"));
        fs::create_dir(&project).unwrap();
        let text = format!(
            "cmake_minimum_required(VERSION 3.16)\nproject(asks LANGUAGES CXX)\n\
             find_package(pillion {version} CONFIG REQUIRED)\nmessage(STATUS \"found=${{pillion_VERSION}}\")\n"
        );
        fs::write(project.join("CMakeLists.txt"), text).unwrap();
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(&project).arg("-B").arg(project.join("build"));
        cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
        cmake.arg(format!("-DCMAKE_CXX_COMPILER={}", compiler.program())).output().unwrap()
    };
    let found = ask("0.1");
    assert!(String::from_utf8_lossy(&found.stdout).contains(&format!("found={}", env!("CARGO_PKG_VERSION"))));
    for version in ["0.0", "0.2", "1.0"] {
        let refused = ask(version);
        let words = String::from_utf8_lossy(&refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!refused.status.success() && words.contains(&format!("requested version \"{version}\"")), "{words}");
    }
}

/// `make install DESTDIR=` puts the same files below the staging folder, and nothing outside it.
#[test]
fn a_staged_install_stays_in_its_stage() {
    if !(has("cmake") && has("make")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (stage, prefix) = (folder.path().join("stage"), folder.path().join("usr"));
    let checkout = checkout(folder.path());
    install(&checkout, &prefix, &stage.display().to_string());
    assert!(!prefix.exists(), "nothing under the prefix itself");
    let staged = files(&stage.join(prefix.strip_prefix("/").unwrap()));
    assert!(staged.iter().any(|f| f == "include/pillion/shm.hpp"), "{staged:?}");
    install(&checkout, &prefix, "");
    assert_eq!(staged, files(&prefix));
}

/// The examples as installed build on their own against the package; and in Pillion's own build by its option.
#[test]
fn the_examples_build_by_cmake() {
    if !(has("cmake") && has("make")) {
        return;
    }
    let Some(compiler) = cxx::compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix");
    let checkout = checkout(folder.path());
    install(&checkout, &prefix, "");
    let build = folder.path().join("build");
    by_cmake(&prefix.join("share/doc/pillion/examples"), &build, &prefix, &compiler.program());
    for example in ["feed", "strategy", "latency"] {
        let help = run(Command::new(build.join(format!("pillion_{example}"))).arg("--help"));
        assert!(help.starts_with(&format!("usage: {example}")), "{help}");
    }
    let mut own = Command::new("cmake");
    own.arg("-S").arg(checkout.join("shm")).arg("-B").arg(folder.path().join("own"));
    run(own.arg("-DPILLION_BUILD_EXAMPLES=ON").arg(format!("-DCMAKE_CXX_COMPILER={}", compiler.program())));
    run(Command::new("cmake").arg("--build").arg(folder.path().join("own")).args(["--target", "pillion_latency"]));
}
