//! What the tests of whole processes share: private region folders, the binary, data slices, one spinning test a time.
#![allow(dead_code)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pillion::data::{self, DbnWriter, Facts, Feed, FileInfo};
use pillion_shm::records::View;
use pillion_shm::{CncClient, Lane, State};

mod skip;

pub use skip::skip;

/// A file of the shared data, or `None` with a line that says what is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if full.exists() {
        return Some(full);
    }
    skip(&format!("{path} is not in ../shared/data"));
    None
}

/// The ES day.
pub const ES: &str = "dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst";

/// What states the tick sizes of the ES recordings, which have no definitions.
pub fn es_instruments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/instruments/es.toml")
}

/// A recording in memory with its instruments' units: its own, or the ES recordings'.
pub fn load_settled(path: impl AsRef<Path>) -> Feed {
    let mut feed = data::load(path).expect("a good file");
    Facts::read(Some(&es_instruments()), false).and_then(|facts| facts.settle(&mut feed)).expect("stated units");
    feed
}

/// Directory of a bundled model.
pub fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

/// True when ONNX Runtime is where `make test` puts it; else says what is skipped.
pub fn has_onnxruntime() -> bool {
    let here = std::env::var_os("ORT_DYLIB_PATH").is_some()
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("onnxruntime").join("WHEEL").exists();
    if !here {
        skip("ONNX Runtime is not in ./onnxruntime (scripts/fetch-onnxruntime puts it there)");
    }
    here
}

/// The library that [`has_onnxruntime`] found.
pub fn onnxruntime() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnxruntime");
    std::env::var_os("ORT_DYLIB_PATH").map_or(fetched.join(pillion::engine::runtime::LIBRARY), PathBuf::from)
}

/// Two threads spin in a running pair of feed and sidecar; on two cores only one pair may run at a time.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static SPINNING: Mutex<()> = Mutex::new(());
    SPINNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Names the folder that a child process of a test puts its own folders in, so that the parent removes them.
pub const SHM_DIR: &str = "PILLION_TEST_SHM_DIR";

/// A folder in /dev/shm of this test's own.
pub fn shm_dir() -> tempfile::TempDir {
    let parent = std::env::var_os(SHM_DIR).unwrap_or("/dev/shm".into());
    tempfile::Builder::new().prefix("pillion-test-").tempdir_in(parent).expect("/dev/shm can be written")
}

/// The binary under test.
pub fn pillion() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

/// stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// stdout as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The snapshot of `feed` and the `live` records after it, written as a file of its own.
pub fn slice(feed: &Feed, skip: usize, live: usize, to: &Path) -> Feed {
    let info = FileInfo {
        dataset: feed.dataset.clone(),
        schema: feed.schema.parse().ok(),
        start_ns: feed.words[1],
        end_ns: feed.words[1] + 1,
        instruments: feed.listed(),
    };
    let mut writer = DbnWriter::create(to, &info).expect("writable");
    let is_snapshot = |r: &&[u64]| View(r).is_snapshot();
    let (snapshot, rest): (Vec<_>, Vec<_>) = feed.iter().partition(is_snapshot);
    for record in snapshot.into_iter().chain(rest.into_iter().skip(skip).take(live)) {
        writer.write_words(record).expect("writable");
    }
    writer.finish().expect("writable");
    data::load(to).expect("just written")
}

/// Waits for a fact, for up to a minute: a busy machine may be slow, a fact that never comes is a failure.
pub fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command that hears every signal: in a job in the background of a shell, as a test run may be, some are ignored.
pub fn heard(command: &Command) -> Command {
    let mut with = Command::new("env");
    with.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => with.env(name, value),
            None => with.env_remove(name),
        };
    }
    command.get_current_dir().into_iter().for_each(|dir| _ = with.current_dir(dir));
    with
}

/// A child that is killed when the test ends early.
pub struct Running(pub Child);

impl Running {
    /// Starts with its output kept.
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts"))
    }

    /// SIGKILL.
    pub fn kill9(mut self) {
        self.0.kill().expect("still running");
        self.0.wait().expect("killed");
    }

    /// Waits for its end by itself.
    pub fn finish(mut self) -> Output {
        let status = wait_for("the process to end", || self.0.try_wait().expect("a child"));
        self.take_output(status)
    }

    fn take_output(&mut self, status: ExitStatus) -> Output {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        self.0.stdout.take().map(|mut s| s.read_to_end(&mut out));
        self.0.stderr.take().map(|mut s| s.read_to_end(&mut err));
        Output { status, stdout: out, stderr: err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The control page of a lane once it is in `state`.
pub fn cnc_in(dir: &Path, lane: &str, state: State) -> CncClient {
    wait_for(&format!("state {state}"), || cnc_now(dir, lane, state))
}

/// The same for a sidecar process, whose own words are the failure if it ends before.
pub fn cnc_of(sidecar: &mut Running, dir: &Path, lane: &str, state: State) -> CncClient {
    wait_for(&format!("state {state}"), || {
        if let Some(status) = sidecar.0.try_wait().expect("a child") {
            panic!("the sidecar ended before state {state}: {status}\n{}", stderr(&sidecar.take_output(status)));
        }
        cnc_now(dir, lane, state)
    })
}

fn cnc_now(dir: &Path, lane: &str, state: State) -> Option<CncClient> {
    let lane = Lane::in_dir(dir, lane).expect("a lane name");
    CncClient::attach_operator(&lane).ok().filter(|c| c.state() == state && c.owner_alive())
}

/// A configuration file in `dir` for one or more lanes; `lanes` is TOML that comes after the process section.
pub fn config(dir: &Path, lanes: &str) -> PathBuf {
    let path = dir.join("config.toml");
    let (regions, state) = (dir.display().to_string(), dir.join("state").display().to_string());
    std::fs::write(&path, format!("[process]\nshm_dir = {regions:?}\nstate_dir = {state:?}\n{lanes}"))
        .expect("writable");
    path
}

/// `[lane]` keys for a recording's instruments and models, whose engine is named so that runs can be compared byte by byte.
pub fn lane_keys(name: &str, feed: &Feed, models: &[&str]) -> String {
    let rows: Vec<_> = feed
        .instruments
        .iter()
        .map(|i| {
            let tick = pillion::config::TickSize(i.tick_size);
            format!("{{ id = {}, symbol = {:?}, tick_size = \"{tick}\" }}", i.id, i.symbol)
        })
        .collect();
    let models: Vec<_> = models.iter().map(|m| format!("{:?}", model(m).display().to_string())).collect();
    format!(
        "name = {name:?}\nengine = \"ort-cpu\"\nmodels = [{}]\ninstruments = [{}]\n",
        models.join(", "),
        rows.join(", ")
    )
}
