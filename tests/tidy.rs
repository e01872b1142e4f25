//! The invariants of the README, held by reading the sources.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with this ending, with their text.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if path.to_string_lossy().ends_with(ending) {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    assert!(!found.is_empty(), "{folder} has {ending} files");
    found.sort();
    found
}

/// Code lines with their numbers: comments, and tests at a file's end, left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod").next().unwrap_or(text);
    let lines = code.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn lines_with<'a>(files: &'a [(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let hit = |line: &str| words.iter().any(|w| line.contains(w));
    let in_file = |(path, text): &'a (PathBuf, String)| {
        code(text).filter(move |(_, l)| hit(l)).map(move |(n, l)| format!("{}:{n}: {}", path.display(), l.trim()))
    };
    files.iter().flat_map(in_file).collect()
}

/// `hot/` never reaches into `cold/`, and neither do the loop around it and the engines it calls.
#[test]
fn hot_never_imports_cold() {
    let mut hot = files("src/hot", ".rs");
    hot.extend(files("src/engine", ".rs"));
    hot.extend(files("src/run.rs", ".rs"));
    let found = lines_with(&hot, &["cold::"]);
    assert!(found.is_empty(), "{found:#?}");
}

/// Nothing that blocks, logs or asks the wall clock stands in `hot/`.
#[test]
fn hot_neither_blocks_nor_logs() {
    let words = [
        "println!",
        "eprintln!",
        "Mutex",
        "RwLock",
        "Condvar",
        "std::thread",
        "std::fs",
        "std::io",
        "Instant::now",
        "SystemTime",
        "HashMap",
        "async ",
    ];
    let mut hot = files("src/hot", ".rs");
    hot.retain(|(path, _)| !path.ends_with("tests.rs"));
    let found = lines_with(&hot, &words);
    assert!(found.is_empty(), "{found:#?}");
}

/// The steps of the hot path stand in `turn` in the order of their names in reports.
#[test]
fn the_line_is_straight() {
    let text = fs::read_to_string(root().join("src/hot/mod.rs")).unwrap();
    let turn = &text[text.find("pub fn turn").expect("the turn")..];
    let calls =
        ["self.poll.poll()", "decode(", "state.apply(", "state.event_end(", "self.infer.run(", "publisher.publish("];
    let places: Vec<_> = calls.iter().map(|c| turn.find(c).unwrap_or_else(|| panic!("no {c} in turn"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(
        pillion::hot::stamp::STAGE_NAMES,
        ["wait", "decode", "book", "features", "infer", "publish", "tick_to_signal"]
    );
}

/// Unsafe code is fenced: where memory is mapped, where plain bytes are declared plain, where a library is opened.
#[test]
fn unsafe_is_fenced() {
    let fence = ["shm/src/region.rs", "shm/src/records.rs", "src/engine/runtime.rs", "src/engine/native/simd.rs"];
    for folder in ["src", "shm/src"] {
        for found in lines_with(&files(folder, ".rs"), &["unsafe "]) {
            assert!(fence.iter().any(|file| found.starts_with(file)), "{found}");
        }
    }
}

/// The shared-memory crate knows nothing of models: its dependencies are memory, bytes, the counter and the system.
#[test]
fn the_contract_crate_is_lean() {
    let manifest: toml::Table = fs::read_to_string(root().join("shm/Cargo.toml")).unwrap().parse().unwrap();
    let mut names: Vec<_> = manifest["dependencies"].as_table().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["bytemuck", "memmap2", "quanta", "rustix", "thiserror"]);
}

/// Files stay small enough to read in one sitting.
#[test]
fn files_are_small() {
    for folder in ["src", "shm/src", "benches", "tests"] {
        for (path, text) in files(folder, ".rs") {
            let lines = text.lines().count();
            assert!(lines <= 460, "{} has {lines} lines", path.display());
        }
    }
}

/// The README names every command that there is.
#[test]
fn the_readme_names_every_command() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_pillion")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|l| !l.starts_with("Commands:")).skip(1).take_while(|l| !l.is_empty());
    let names: Vec<_> =
        commands.filter_map(|l| l.strip_prefix("  ")?.split_whitespace().next()).filter(|n| *n != "help").collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(readme.contains(&format!("pillion {name}")), "README.md does not name `pillion {name}`");
    }
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 101 |"] {
        assert!(readme.contains(code), "README.md has no exit code {code}");
    }
}
