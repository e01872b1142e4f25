//! The sidecar process of a replay.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pillion_shm::{CncClient, Command as Order, Lane as LaneName, State};

use super::Replay;
use crate::error::{Error, Result};
use crate::report::SidecarReport;
use crate::stdio;

/// How long the sidecar may take to load its models and start, and to finish what is in the ring.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The sidecar process; killed if the replay gives up on it.
pub(super) struct Sidecar {
    child: Child,
    report: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl Sidecar {
    pub fn start(replay: &Replay<'_>, folder: &Path, interrupted: &Arc<AtomicBool>) -> Result<Self> {
        let (config, report) = (folder.join("config.toml"), folder.join("report.json"));
        // A HALT of a private lane is nobody's but this replay's.
        let mut own = replay.config.clone();
        own.process.state_dir = folder.join("state");
        // Whatever the umask: a file that others may write would be refused.
        let private = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&config);
        private
            .and_then(|mut file| file.write_all(own.to_toml().as_bytes()))
            .map_err(|e| Error::run(config.display(), e, "make TMPDIR writable"))?;
        let mut command = Command::new(&replay.binary);
        command.arg("run").arg("--config").arg(&config).arg("--report").arg(&report).stdin(Stdio::null());
        command.stdout(stdio::for_people());
        command.args(["--child-of", &std::process::id().to_string()]);
        let child = command.spawn().map_err(|e| {
            Error::run(replay.binary.display(), format!("cannot be started: {e}"), "run an installed pillion")
        })?;
        Ok(Self { child, report, interrupted: Arc::clone(interrupted) })
    }

    /// An error once the process is gone or the user wants an end.
    pub fn look(&mut self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::run("replay", "interrupted", "start it again to replay the whole file"));
        }
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            // The sidecar has said why on stderr; its exit code is the answer to the user's command too.
            Ok(Some(status)) => {
                let mut error =
                    Error::run("sidecar", format!("ended early ({status})"), "its own message stands above");
                error.exit_code =
                    status.code().and_then(|c| u8::try_from(c).ok()).filter(|c| *c != 0).unwrap_or(Error::RUN);
                Err(error)
            }
            Err(e) => Err(Error::run("sidecar", e, "start the replay again")),
        }
    }

    pub fn wait_for_run(&mut self, lane: &LaneName) -> Result<CncClient> {
        let start = Instant::now();
        loop {
            self.look()?;
            if let Ok(cnc) = CncClient::attach_operator(lane)
                && matches!(cnc.state(), State::Run | State::Halt)
                && cnc.pid() == self.child.id()
                && cnc.owner_alive()
            {
                return Ok(cnc);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::run(
                    "sidecar",
                    format!("not running after {PATIENCE:?}"),
                    "see what it printed above",
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn stop(mut self, cnc: &CncClient) -> Result<SidecarReport> {
        cnc.request(Order::Stop, PATIENCE)?;
        let start = Instant::now();
        let failed = |e: &dyn std::fmt::Display| Error::run("sidecar", e, "start the replay again");
        let status = loop {
            match self.child.try_wait().map_err(|e| failed(&e))? {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => {
                    return Err(failed(&format!("has not ended {PATIENCE:?} after its stop")));
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if !status.success() {
            return Err(Error::run("sidecar", format!("ended with {status}"), "its own message stands above"));
        }
        let failed = |e: &dyn std::fmt::Display| Error::run("sidecar report", e, "report this as a bug");
        let text = std::fs::read_to_string(&self.report).map_err(|e| failed(&e))?;
        serde_json::from_str(&text).map_err(|e| failed(&e))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Only a replay that failed gets here with a child still running.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
