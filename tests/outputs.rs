//! Where outputs go: a pipe, a device or standard output is written in place and stays what it is, a link stays a link, and
//! nobody else's words stand in a product.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::*;
use pillion::data::{DbnWriter, FileInfo, Listed, synth};
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn recording(dir: &Path) -> PathBuf {
    let input = dir.join("in.dbn");
    let plan = synth::Plan { seed: 9, instruments: 1, events: 300, events_per_second: 5_000 };
    synth::write(&input, &plan).expect("writable");
    // A recording of another instrument, to merge with it.
    let instruments = vec![Listed::named("OTHER", 9)];
    let info =
        FileInfo { dataset: "SYNTH".into(), schema: Some(dbn::Schema::Mbo), start_ns: 0, end_ns: 1, instruments };
    DbnWriter::create(dir.join("other.dbn"), &info).and_then(DbnWriter::finish).expect("writable");
    input
}

/// A command with one output, whose name comes last.
fn commands(input: &Path) -> [Vec<String>; 5] {
    let other = input.with_file_name("other.dbn").display().to_string();
    let input = input.display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    [
        words(&["features", &input, "-o"]),
        words(&["book", &input, "-o"]),
        words(&["convert", "dbn", &input, "-o"]),
        words(&["merge", &input, &other, "--renumber", "-o"]),
        words(&["synth", "--events", "50", "-o"]),
    ]
}

fn run(words: &[String], target: impl AsRef<std::ffi::OsStr>) -> Output {
    output(Command::new(env!("CARGO_BIN_EXE_pillion")).args(words).arg(target).stdin(Stdio::null()))
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
}

/// What the command writes into a file of its own.
fn expected(words: &[String], dir: &Path) -> Vec<u8> {
    let path = dir.join("plain.csv");
    let out = run(words, &path);
    assert!(out.status.success(), "{words:?}: {}", stderr(&out));
    fs::read(&path).unwrap()
}

#[test]
fn standard_output_holds_the_product_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for words in commands(&recording(dir.path())) {
        let product = expected(&words, dir.path());
        for target in ["-", "/dev/stdout", "/proc/self/fd/1"] {
            let out = run(&words, target);
            assert!(out.status.success(), "{words:?} {target}: {}", stderr(&out));
            assert!(out.stdout == product, "{words:?} {target}: {} bytes, not {}", out.stdout.len(), product.len());
        }
        // Standard output that is a file, by that file's name: the file that was opened has it all.
        let file = dir.path().join("out");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        let status = command.args(&words).arg("/dev/stdout").stdout(File::create(&file).unwrap()).status().unwrap();
        assert!(status.success() && fs::read(&file).unwrap() == product, "{words:?}");
    }
    assert!(!Path::new("-").exists(), "no file of that name");
}

#[test]
fn a_pipe_is_written_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.csv");
    fifo(&pipe);
    for words in commands(&recording(dir.path())) {
        let product = expected(&words, dir.path());
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                File::open(pipe).unwrap().read_to_end(&mut bytes).map(|_| bytes).unwrap()
            })
        };
        let out = run(&words, &pipe);
        assert!(out.status.success(), "{words:?}: {}", stderr(&out));
        assert!(reader.join().unwrap() == product, "{words:?}");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(), "{words:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing is left beside it");
}

#[test]
fn a_device_is_written_or_refused_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let [null, full, block] = ["null.csv", "full.csv", "block"].map(|name| dir.path().join(name));
    let made = |path: &Path, kind: FileType, major: u32, minor: u32| {
        mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), rustix::fs::makedev(major, minor))
    };
    if made(&null, FileType::CharacterDevice, 1, 3).is_err() {
        return skip("only root makes devices");
    }
    made(&full, FileType::CharacterDevice, 1, 7).unwrap();
    made(&block, FileType::BlockDevice, 7, 250).unwrap();
    for words in commands(&recording(dir.path())) {
        let out = run(&words, &null);
        if !out.status.success() && stderr(&out).contains("Permission denied") {
            return skip("devices cannot be opened in this file system");
        }
        assert!(out.status.success(), "{words:?}: {}", stderr(&out));
        let out = run(&words, &full);
        assert_eq!(out.status.code(), Some(1), "{words:?}: {}", stderr(&out));
        assert!(stderr(&out).contains("No space left") && stderr(&out).contains("mend: "), "{}", stderr(&out));
        for path in [&null, &full] {
            let found = fs::symlink_metadata(path).unwrap();
            assert!(found.file_type().is_char_device() && found.rdev() != 0, "{words:?} replaced {}", path.display());
        }
        let out = run(&words, &block);
        if words[0] != "features" {
            assert!(stderr(&out).contains("is a block device"), "{words:?}: {}", stderr(&out));
        }
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(fs::symlink_metadata(&block).unwrap().file_type().is_block_device());
    }
}

#[test]
fn a_socket_and_a_link_that_leads_nowhere_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [socket, nowhere] = ["socket.csv", "nowhere.csv"].map(|name| dir.path().join(name));
    let _listening = UnixListener::bind(&socket).unwrap();
    symlink("none", &nowhere).unwrap();
    for words in commands(&recording(dir.path())) {
        for (target, problem) in [(&socket, "is a socket"), (&nowhere, "is a link that leads nowhere")] {
            let out = run(&words, target);
            assert_eq!(out.status.code(), Some(2), "{words:?}");
            let said = stderr(&out);
            assert!(said.contains(problem) && said.contains(&target.display().to_string()), "{words:?}: {said}");
        }
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        assert!(fs::symlink_metadata(&nowhere).unwrap().is_symlink());
    }
}

#[test]
fn the_file_behind_a_link_is_written_anew_and_the_link_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, link) = (dir.path().join("real"), dir.path().join("link.csv"));
    fs::create_dir(&folder).unwrap();
    symlink("real/file.csv", &link).unwrap();
    for words in commands(&recording(dir.path())) {
        let product = expected(&words, dir.path());
        fs::write(folder.join("file.csv"), "what was there before").unwrap();
        let before = fs::metadata(folder.join("file.csv")).unwrap().ino();
        let out = run(&words, &link);
        assert!(out.status.success(), "{words:?}: {}", stderr(&out));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{words:?}");
        assert!(fs::read(folder.join("file.csv")).unwrap() == product, "{words:?}");
        assert_ne!(fs::metadata(folder.join("file.csv")).unwrap().ino(), before, "whole under its name, or not at all");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    }
}

/// JSON and pages of a run: what is said to people goes elsewhere, that of the sidecar's process too.
#[test]
fn reports_go_to_standard_output() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, input) = (config(dir.path(), ""), recording(dir.path()));
    let replay = |json: &str| {
        let mut command = pillion();
        output(command.args(["replay", "--json", json, "--config"]).arg(&config).arg("--input").arg(&input))
    };
    let out = replay("-");
    assert!(out.status.success(), "{}", stderr(&out));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON alone");
    assert!(report["schema_version"].is_number() && stderr(&out).contains("tick_to_signal"), "{}", stderr(&out));
    let file = dir.path().join("r.json");
    assert!(replay(&file.display().to_string()).status.success());
    let mut compare = pillion();
    let out = output(compare.arg("compare").args([&file, &file]).args(["--json", "/dev/stdout"]));
    serde_json::from_slice::<serde_json::Value>(&out.stdout).expect("JSON alone");
    let mut report = pillion();
    let out = output(report.arg("report").arg(&file).args(["--html", "-"]));
    assert!(out.status.success() && stdout(&out).starts_with("<!"), "{}", stderr(&out));
    let mut both = pillion();
    let out = output(both.arg("report").arg(&file).args(["--html", "-", "--json", "/dev/stdout"]));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("taken by another output"), "{}", stderr(&out));
    let pipe = dir.path().join("pipe");
    fifo(&pipe);
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    assert!(replay(&pipe.display().to_string()).status.success());
    serde_json::from_slice::<serde_json::Value>(&reader.join().unwrap()).expect("JSON through a pipe");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

/// What is made keeps the umask.
#[test]
fn modes_keep_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let input = recording(dir.path());
    for (umask, mode) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let target = dir.path().join(umask).with_extension("csv");
        let script = format!("umask {umask}; exec \"$0\" book \"$1\" -o \"$2\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_pillion")]).arg(&input).arg(&target);
        assert!(shell.status().unwrap().success());
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, mode, "umask {umask}");
    }
}
