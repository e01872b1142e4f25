//! No command tells anybody anything: under a filter that kills a process at its first socket, in a home that must stay
//! empty, with no thread that is not ours. A small program of the tests' own shows that the filter would see it.

mod common;

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use pillion::data::{self, synth};
use pillion_shm::State;

/// An empty environment but for what programs need: no sign of a test machine, which would keep telemetry quiet, and a wish
/// to have it. A socket kills the process and with it the test.
fn watched(mut command: Command, home: &Path) -> Command {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let rules = [libc::SYS_socket, libc::SYS_connect].map(|call| (call, Vec::new()));
    let arch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(BTreeMap::from(rules), SeccompAction::Allow, SeccompAction::KillProcess, arch)
        .expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("ORT_DYLIB_PATH", onnxruntime()).env("ORT_DISABLE_TELEMETRY", "0").current_dir(home);
    command.stdin(Stdio::null());
    // SAFETY: between fork and exec only two system calls are made, on a program that stands ready.
    unsafe { command.pre_exec(move || apply_filter(&program).map_err(std::io::Error::other)) };
    command
}

fn entries(home: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Name and allowed CPUs of each thread.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |path: PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        Some((field("Name:")?, field("Cpus_allowed_list:")?))
    };
    tasks.filter_map(|task| of(task.path())).collect()
}

/// The tests' own program over ONNX Runtime; none, plainly said, without a C compiler.
fn control(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("control");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model_fixtures/telemetry.c");
    match Command::new("cc").arg("-o").arg(&program).arg(source).arg("-ldl").status() {
        Ok(status) => {
            assert!(status.success());
            Some(program)
        }
        Err(error) => {
            skip(&format!("no C compiler: {error}"));
            None
        }
    }
}

fn started(program: &Path, home: &Path, quiet: bool, seconds: u32) -> Running {
    let mut command = Command::new(program);
    command.arg(onnxruntime()).arg(seconds.to_string());
    let mut command = watched(command, home);
    if quiet {
        command.env("ORT_DISABLE_TELEMETRY", "1");
    } else {
        command.env_remove("ORT_DISABLE_TELEMETRY");
    }
    Running::start(&mut command)
}

/// What a run must not do is what ONNX Runtime does where nobody forbids it; and the variable is what forbids it.
#[test]
fn a_long_run_neither_calls_nor_writes_home_nor_starts_a_thread_of_another() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let Some(program) = control(dir.path()) else { return };
    let [loud_home, quiet_home, own_home] = [home(), home(), home()];
    let config = live(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
    command.arg("run").arg("--config").arg(&config);
    let mut sidecar = Running::start(&mut watched(command, own_home.path()));
    drop(cnc_of(&mut sidecar, dir.path(), "quiet", State::Boot));
    // Its hot thread starts with a feed, which stays when it has no more to say.
    let feed_home = home();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
    command.args(["feed", "--lane", "quiet", "--rate", "5000/s", "--linger", "--config"]).arg(&config);
    command.arg("--input").arg(dir.path().join("synth.dbn.zst"));
    let mut feed = Running::start(&mut watched(command, feed_home.path()));
    drop(cnc_of(&mut sidecar, dir.path(), "quiet", State::Run));
    let ran = Instant::now();
    let mut loud = started(&program, loud_home.path(), false, 120);
    let mut quiet = started(&program, quiet_home.path(), true, 120);
    let (mut seen_thread, mut seen_file) = (false, false);
    let end = wait_for("the program without the variable to open a socket", || {
        seen_thread |= threads(loud.0.id()).len() > 1;
        seen_file |= !entries(loud_home.path()).is_empty();
        loud.0.try_wait().expect("a child")
    });
    let lived = ran.elapsed();
    assert_eq!(end.signal(), Some(libc::SIGSYS), "the filter sees a socket: {end}");
    assert!(seen_thread && seen_file, "thread {seen_thread}, file {seen_file}");
    // As long again, and a margin, for those that must not.
    std::thread::sleep(lived / 2 + Duration::from_secs(1));
    assert!(quiet.0.try_wait().unwrap().is_none() && threads(quiet.0.id()).len() == 1);
    assert!(entries(quiet_home.path()).is_empty());
    let found = threads(sidecar.0.id());
    assert!(sidecar.0.try_wait().unwrap().is_none() && feed.0.try_wait().unwrap().is_none(), "a socket kills them");
    assert!(entries(feed_home.path()).is_empty());
    assert_eq!(entries(own_home.path()), Vec::<PathBuf>::new());
    let hot: Vec<_> = found.iter().filter(|(name, _)| name.starts_with("hot-")).collect();
    let ours = |name: &str| name == "pillion" || name.starts_with("hot-") || name.starts_with("look-");
    assert!(hot.len() == 1 && found.iter().all(|(name, _)| ours(name)), "{found:?}");
    assert!(found.iter().filter(|(name, _)| name == "pillion").count() == 1, "{found:?}");
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
        assert!(found.iter().filter(|(_, cpus)| *cpus == hot[0].1).count() == 1, "{found:?}");
    }
}

/// A lane of two instruments with a model.
fn live(dir: &Path) -> PathBuf {
    let recording = data::load(recording(dir)).expect("just written");
    config(dir, &format!("[lane]\n{}", lane_keys("quiet", &recording, &["mlp-k10"])))
}

fn recording(dir: &Path) -> PathBuf {
    let input = dir.join("synth.dbn.zst");
    let plan = synth::Plan { seed: 1, instruments: 2, events: 2_000, events_per_second: 5_000 };
    synth::write(&input, &plan).expect("writable");
    input
}

/// Each command that loads ONNX Runtime, and each that loads the other libraries.
#[test]
fn no_command_opens_a_socket_or_writes_home() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, input) = (live(dir.path()), recording(dir.path()));
    let plain = dir.path().join("plain.toml");
    let toml = format!("[process]\nshm_dir = {:?}\n[lane]\nmodels = [{:?}]\n", dir.path(), model("mlp-k10"));
    std::fs::write(&plain, toml).unwrap();
    let [config, input, plain] = [&config, &input, &plain].map(|path| path.display().to_string());
    let [mlp, onnx] = ["", "model.onnx"].map(|name| model("mlp-k10").join(name).display().to_string());
    let out = |name: &str| dir.path().join(name).display().to_string();
    let (made, json, html, parquet, dbn) = (out("made"), out("r.json"), out("r.html"), out("f.parquet"), out("c.dbn"));
    let commands: [&[&str]; 13] = [
        &["check", "--config", &config],
        &["model", "check", &mlp, "--json"],
        &["model", "new", &onnx, "--features", "book", "-o", &made],
        &["replay", "--config", &plain, "--input", &input, "--json", &json],
        &["demo", "--config", &plain, "--input", &input, "--rate", "max", "--html", &html],
        &["sweep", "--config", &plain, "--input", &input, "--min-rate", "2000", "--max-rate", "3000", "--for", "0.2"],
        &[
            "lab",
            "--config",
            &plain,
            "--input",
            &input,
            "--rates",
            "max",
            "--min-rate",
            "2000",
            "--max-rate",
            "3000",
            "--for",
            "0.2",
        ],
        &["report", &json, "--html", &html],
        &["features", &input, "-o", &parquet],
        &["book", &input, "-o", "/dev/null"],
        &["convert", "dbn", &input, "-o", &dbn],
        &["doctor", "--at-least", "F"],
        &["shm", "ls"],
    ];
    for words in commands {
        let home = home();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(words);
        let out = output(&mut watched(command, home.path()));
        assert!(out.status.success(), "{words:?}: {} {}{}", out.status, stdout(&out), stderr(&out));
        assert_eq!(entries(home.path()), Vec::<PathBuf>::new(), "{words:?}");
        if words[0] == "check" {
            let said = stdout(&out);
            let library = onnxruntime();
            for part in ["telemetry off", "sha256", "of the pinned wheel", &library.display().to_string()] {
                assert!(said.contains(part), "no {part:?} in {said}");
            }
        }
    }
}
