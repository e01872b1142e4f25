//! Replays as child processes, one at a time: two would share the machine's CPUs, and each spins on two.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use super::super::load;
use super::{Plan, Ran, Runner, Side};
use crate::error::{Error, Result};
use crate::sidecar::kernel_signals;

/// How long a replay that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Most of a failed child's last words that are quoted, bytes.
const WORDS: u64 = 2_000;

/// Runs the plan's binaries.
pub struct Children<'a> {
    plan: &'a Plan,
    /// As they were at the start: length and time of change.
    binaries: [(u64, SystemTime); 2],
    signals: Signals,
    /// Reports are kept here, words and reports that nobody keeps in a folder that goes.
    scratch: TempDir,
}

impl<'a> Children<'a> {
    /// Gets ready. Refused: binaries that are none, and a folder for the reports that has something in it already.
    pub fn new(plan: &'a Plan) -> Result<Self> {
        let [a, b] = &plan.binaries;
        let binaries = [binary(Side::A, a)?, binary(Side::B, b)?];
        if let Some(folder) = &plan.keep {
            empty_folder(folder)?;
        }
        let signals = Signals::new(kernel_signals::ending().chain([SIGCHLD]))
            .map_err(|e| Error::run("signal handler", e, "run where signal handlers are allowed"))?;
        let scratch = tempfile::tempdir().map_err(|e| Error::input("temporary folder", e, "make TMPDIR writable"))?;
        Ok(Self { plan, binaries, signals, scratch })
    }

    fn name(&self, side: Side) -> String {
        format!("{} ({})", side.name(), self.plan.binaries[side as usize].display())
    }

    fn start(&self, side: Side, json: &Path, words: &Path) -> Result<Child> {
        let plan = self.plan;
        let words = File::create(words).map_err(|e| Error::run(words.display(), e, "make TMPDIR writable"))?;
        // This binary, even if its file was replaced meanwhile, becomes the other one once it has made sure that it ends
        // with its parent: the other may be of a version that knows nothing of that.
        let mut command = Command::new("/proc/self/exe");
        command.arg("child-of").arg(std::process::id().to_string()).arg(&plan.binaries[side as usize]);
        let pairs: [(&str, &OsStr); 4] = [
            ("--config", plan.config.as_os_str()),
            ("--input", plan.input.as_os_str()),
            ("--rate", plan.rate.as_ref()),
            ("--json", json.as_os_str()),
        ];
        command.arg("replay");
        pairs.iter().for_each(|(key, value)| {
            command.arg(key).arg(value);
        });
        // Only where they are given: an older binary may know neither.
        if let Some(file) = &plan.instruments {
            command.arg("--instruments").arg(file);
        }
        if plan.guess {
            command.arg("--guess");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        command
            .spawn()
            .map_err(|e| Error::run(self.name(side), format!("cannot be started: {e}"), "run an installed pillion"))
    }

    /// Waits for the child's end without a wake-up meanwhile, which could fall on a CPU that it measures. `None` when the
    /// user wanted an end; the child is gone then.
    fn wait(&mut self, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if self.signals.wait().any(|signal| signal != SIGCHLD) {
                end(child)?;
                return Ok(None);
            }
        }
    }

    /// The report, or what went wrong instead.
    fn read(&self, side: Side, status: ExitStatus, json: &Path, words: &Path) -> Result<Ran> {
        let words = last_words(words);
        if !json.exists() {
            let mut error = Error::run(
                self.name(side),
                format!("replay wrote no report ({status}); its last words:\n{words}"),
                "make this command work alone first: `BIN replay` with the same --config, --input and --rate",
            );
            // What the replay refuses, this command refuses.
            error.exit_code = if status.code() == Some(i32::from(Error::INPUT)) { Error::INPUT } else { Error::RUN };
            return Err(error);
        }
        let report = load::one(json).map_err(|e| {
            let problem = format!("its report {}; last words of the run:\n{words}", e.problem);
            Error::run(self.name(side), problem, "build both from revisions whose reports this pillion reads")
        })?;
        // A run that did not hold its rate may say so by its exit code too.
        if !status.success() && report.report.verdict.held {
            let problem = format!("replay wrote a report but failed ({status}); its last words:\n{words}");
            return Err(Error::run(self.name(side), problem, "make `BIN replay` work alone first"));
        }
        Ok(Ran::Report(Box::new(report.report)))
    }
}

impl Runner for Children<'_> {
    fn run(&mut self, side: Side, name: &str) -> Result<Ran> {
        if self.signals.pending().any(|signal| signal != SIGCHLD) {
            return Ok(Ran::Interrupted);
        }
        let now = binary(side, &self.plan.binaries[side as usize])?;
        if now != self.binaries[side as usize] {
            let problem = "was changed while it was being measured";
            return Err(Error::run(self.name(side), problem, "build first, or measure a copy"));
        }
        let folder = self.plan.keep.as_deref().unwrap_or(self.scratch.path());
        let (json, words) = (folder.join(format!("{name}.json")), self.scratch.path().join(format!("{name}.stderr")));
        let mut child = self.start(side, &json, &words)?;
        let status = match self.wait(&mut child) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(Ran::Interrupted),
            Err(e) => {
                // Nothing must spin on while the next thing is measured.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::run(self.name(side), format!("cannot be waited for: {e}"), "start it again"));
            }
        };
        let ran = self.read(side, status, &json, &words);
        if self.plan.keep.is_none() {
            // Only tidiness: the folder goes in the end.
            let _ = std::fs::remove_file(&json);
        }
        ran
    }
}

/// Length and time of change of something that can be executed.
fn binary(side: Side, path: &Path) -> Result<(u64, SystemTime)> {
    let name = format!("--{} {}", side.name().to_lowercase(), path.display());
    let refused = |problem: String| Error::input(&name, problem, "give the path of a built pillion");
    let data = std::fs::metadata(path).map_err(|e| refused(format!("cannot be read: {e}")))?;
    if !data.is_file() {
        return Err(refused("is no file".into()));
    }
    access(path, Access::EXEC_OK).map_err(|e| refused(format!("cannot be executed: {e}")))?;
    let changed = data.modified().map_err(|e| refused(format!("its time of change cannot be read: {e}")))?;
    Ok((data.len(), changed))
}

/// Makes the folder where it is missing; refuses one with something in it, so that no old report is taken for a new one.
fn empty_folder(path: &Path) -> Result<()> {
    let refused =
        |e: std::io::Error| Error::input(path.display(), format!("--keep: {e}"), "name a folder that can be written");
    std::fs::create_dir_all(path).map_err(refused)?;
    match std::fs::read_dir(path).map_err(refused)?.next() {
        None => Ok(()),
        Some(_) => Err(Error::input(path.display(), "--keep: is not empty", "name a new folder, or empty this one")),
    }
}

/// Asks the child to end, so that it can clean up, and kills it if it does not.
fn end(child: &mut Child) -> std::io::Result<()> {
    // It may just have ended by itself.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let asked = Instant::now();
    while child.try_wait()?.is_none() {
        if asked.elapsed() > GRACE {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The end of what a child said on stderr.
fn last_words(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let (mut file, mut text) = (File::open(path)?, Vec::new());
        let at = file.metadata()?.len().saturating_sub(WORDS);
        file.seek(SeekFrom::Start(at))?;
        file.take(WORDS).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned();
    if text.is_empty() { "(none)".into() } else { text }
}

/// An executable's path that stays what it is wherever it is started from. An error where there is none.
pub fn absolute(side: Side, path: &Path) -> Result<PathBuf> {
    binary(side, path)?;
    let name = format!("--{} {}", side.name().to_lowercase(), path.display());
    std::fs::canonicalize(path).map_err(|e| Error::input(name, e, "give the path of a built pillion"))
}
