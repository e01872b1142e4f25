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

/// The rooms of `src/`: each imports only what stands behind it here. What lies beside them (`error`, `files`, `stdio` and the
/// words of `lib.rs`) is everybody's, and imports no room.
const ROOMS: [&str; 11] =
    ["cli", "lab", "monitor", "sidecar", "models", "host", "report", "config", "data", "hot", "engine"];

/// Imports of this crate by a module, as the first word behind `crate::`, each with its line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (line, code) in code(text) {
        for behind in code.split("crate::").skip(1) {
            match behind.strip_prefix('{') {
                Some(list) => found.extend(list.split(',').map(|name| (line, word(name.trim())))),
                None => found.push((line, word(behind))),
            }
        }
    }
    found
}

/// Every import of one room by another goes to the right of the table, and none climbs out of its room by `super`.
#[test]
fn rooms_import_only_what_lies_behind_them() {
    let mut between = 0;
    for (place, room) in ROOMS.iter().enumerate() {
        for (path, text) in files(&format!("src/{room}"), ".rs") {
            for (line, name) in imports(&text) {
                let Some(other) = ROOMS.iter().position(|other| *other == name) else { continue };
                assert!(other >= place, "{}:{line}: {room} imports {name}, which stands before it", path.display());
                between += usize::from(other > place);
            }
            let depth = path.components().count() - usize::from(path.ends_with("mod.rs")) - 2;
            let climbs = "super::".repeat(depth + 1);
            for (line, code) in text.lines().enumerate().filter(|(_, code)| !code.starts_with(' ')) {
                assert!(!code.contains(&climbs), "{}:{}: climbs out of {room}: {code}", path.display(), line + 1);
            }
        }
    }
    assert!(between > 300, "{between} imports between rooms");
    for file in ["src/error.rs", "src/files.rs", "src/stdio.rs", "crates/engine"] {
        for (path, text) in files(file, ".rs") {
            let rooms: Vec<_> = imports(&text).into_iter().filter(|(_, name)| ROOMS.contains(&name.as_str())).collect();
            assert!(rooms.is_empty() || file == "crates/engine", "{}: {rooms:?}", path.display());
        }
    }
}

/// The architecture page lists the rooms in their order, and the files that it names as tests of a rule are there.
#[test]
fn the_architecture_page_is_true() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (rooms, _) = text.split_once("\nBeside them:\n").expect("the rooms come first");
    let listed: Vec<_> = rooms.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("/` |")).collect();
    let listed: Vec<_> = listed.into_iter().map(|(name, _)| name).filter(|name| ROOMS.contains(name)).collect();
    assert_eq!(listed, ROOMS);
    let rules = text.split("\n## ").find(|section| section.starts_with("Invariants")).expect("the invariants");
    let folders = [".", "shm/tests"];
    let mut named = 0;
    for file in quoted(rules).filter(|name| name.ends_with(".rs")) {
        assert!(folders.iter().any(|folder| root().join(folder).join(file).exists()), "there is no {file}");
        named += 1;
    }
    assert!(named >= 40, "{named} files");
}

/// Only the commands read arguments, and only they write to standard output.
#[test]
fn only_commands_parse_and_print() {
    let mut rooms: Vec<_> = ROOMS.iter().skip(1).flat_map(|room| files(&format!("src/{room}"), ".rs")).collect();
    rooms.extend(files("src/files.rs", ".rs"));
    rooms.retain(|(path, _)| !path.to_string_lossy().ends_with("tests.rs"));
    let found = lines_with(&rooms, &["clap", "outln!", " out!(", "::out!(", "print!", "println!"]);
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
    let fence = [
        "shm/src/region.rs",
        "shm/src/records.rs",
        "src/engine/runtime.rs",
        "src/engine/ort/cudart.rs",
        "crates/engine/src/native/simd.rs",
        "crates/engine/src/native/simd/trees/x86.rs",
    ];
    for folder in ["src", "crates", "shm/src"] {
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
    for folder in ["src", "crates", "shm/src", "benches", "tests"] {
        for (path, text) in files(folder, ".rs") {
            let lines = text.lines().count();
            assert!(lines <= 460, "{} has {lines} lines", path.display());
        }
    }
}

/// Whatever loads ONNX Runtime without this library forbids its telemetry first.
#[test]
fn scripts_forbid_telemetry_before_they_load_onnx_runtime() {
    let mut loading = 0;
    for (folder, ending) in [("models", ".py"), ("shm/python", ".py"), ("scripts", "fetch-onnxruntime")] {
        for (path, text) in files(folder, ending) {
            let loads =
                ["import onnxruntime", "from onnxruntime", "CDLL("].iter().filter_map(|word| text.find(word)).min();
            let Some(at) = loads else { continue };
            // Of a package, the file that Python runs before any other of it will do.
            let before = fs::read_to_string(root().join(&path).with_file_name("__init__.py")).unwrap_or_default();
            let forbids = |text: &str| text.contains("os.environ[\"ORT_DISABLE_TELEMETRY\"] = \"1\"");
            assert!(
                forbids(&text[..at]) || forbids(&before),
                "{} loads ONNX Runtime with its telemetry",
                path.display()
            );
            loading += 1;
        }
    }
    assert!(loading >= 3, "{loading}");
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

/// Text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of the tests in a file: functions under `#[test]`, rows of a macro of tests, and in C++ functions that are called.
fn tests_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let word = |line: &str| line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let lines = text.lines().map(str::trim);
    if path.extension().is_some_and(|end| end == "cpp") {
        let functions = lines.filter_map(|line| line.strip_prefix("void ")).map(word);
        return functions.filter(|name| text.matches(&format!("{name}(")).count() > 1).collect();
    }
    let (mut found, mut marked) = (Vec::new(), false);
    for line in lines {
        if let Some(name) = line.strip_prefix("fn ") {
            found.extend(marked.then(|| word(name)));
            marked = false;
        } else if text.contains("macro_rules!") && line.ends_with(';') {
            found.extend(line.split_once(": ").map(|(name, _)| word(name)));
        }
        marked |= line == "#[test]";
    }
    found
}

/// Whether a name, with `*` for anything, is that of `test`.
fn is_called(name: &str, test: &str) -> bool {
    let Some((first, rest)) = name.split_once('*') else { return name == test };
    let Some(mut left) = test.strip_prefix(first) else { return false };
    let parts: Vec<_> = rest.split('*').collect();
    let (last, middle) = parts.split_last().expect("a split has a part");
    for part in middle {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// Every test that the page of promises names is there, and every test that the page of a feed's rules names:
/// `file::test`, `folder/file::test`, `file.cpp: test`; `…test`, or one with a `*`, in the file named before it; or a file
/// or folder alone.
#[test]
fn every_promise_has_its_test() {
    for (page, title, fewest) in [("shm/README.md", "Promises", (15, 40)), ("shm/FEED.md", "Rules", (10, 12))] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let section = text.split("\n## ").find(|section| section.starts_with(title)).expect("the promises");
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        let named: usize = rows.iter().map(|row| tests_named(row)).sum();
        assert!(rows.len() >= fewest.0 && named >= fewest.1, "{page}: {} rows, {named} tests", rows.len());
    }
}

/// Looks for every test that a row's last cell names, and counts them.
fn tests_named(row: &str) -> usize {
    let places = |name: &str| {
        let folders = ["shm/tests", "tests", "shm/tests/cpp", "shm/src", "."];
        let paths = folders.iter().map(|folder| root().join(folder).join(name));
        paths.filter(|path| path.exists()).collect::<Vec<_>>()
    };
    let cell = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
    let (mut file, mut here) = (Vec::new(), 0);
    for name in quoted(cell) {
        let test = match name.strip_prefix('…') {
            Some(test) => Some(test),
            None if name.contains('*') && !name.contains(':') => Some(name),
            None => {
                let (of, test) = match (name.split_once(": "), name.split_once("::")) {
                    (Some((file, test)), _) => (file.to_owned(), Some(test)),
                    (_, Some((file, test))) => (format!("{file}.rs"), test.rsplit("::").next()),
                    _ => (name.to_owned(), None),
                };
                file = places(&of);
                assert!(!file.is_empty(), "{name}: there is no {of}, in {row}");
                test
            }
        };
        if let Some(test) = test {
            let tests: Vec<_> = file.iter().flat_map(|path| tests_of(path)).collect();
            assert!(tests.iter().any(|other| is_called(test, other)), "{name}: not in {file:?}, in {row}");
        }
        here += 1;
    }
    assert!(here > 0, "no test for {row}");
    here
}

/// The README names every target of the Makefile that a comment there explains.
#[test]
fn the_readme_names_every_target() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let (mut explained, mut targets) = (false, Vec::new());
    for line in makefile.lines() {
        explained = line.starts_with('#') || (explained && !line.is_empty());
        let target = line.split_once(':').map(|(name, _)| name);
        let target = target.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        targets.extend(target.filter(|_| explained));
    }
    assert!(targets.len() >= 8, "{targets:?}");
    for target in targets {
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
        let named = readme.split(&format!("make {target}")).skip(1).any(|rest| !goes_on(rest));
        assert!(named, "README.md does not name `make {target}`");
    }
}
