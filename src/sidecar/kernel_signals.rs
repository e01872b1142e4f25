//! Signals whose default action ends a process: some stop a command, and a sidecar takes note of the rest. Handlers only set
//! flags, so it does not matter that one may run on the hot thread.
//!
//! A command goes on ignoring the signals that it was started to ignore, as under `nohup` or in a script's background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
    SIGXFSZ,
};

use nix::sys::signal::{SigSet, Signal};

use crate::error::{Error, Result};

/// What ends a sidecar, cleanly.
const STOPS: [i32; 3] = [SIGINT, SIGTERM, SIGQUIT];
/// What a sidecar survives: sent by log rotation, lost terminals, timers, tools. Left alone are faults of the process itself,
/// and what nobody can handle; 16 and 30 are SIGSTKFLT and SIGPWR.
const SURVIVED: [i32; 10] = [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXCPU, 16, 30];
/// Signals that would stop a sidecar, and with it every lane: a terminal's Ctrl-Z. (SIGTTOU and SIGTTIN are blocked.)
const STOPS_NOT: [i32; 1] = [SIGTSTP];
/// Real-time signals that the C library leaves to programs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

fn failed(e: std::io::Error) -> Error {
    Error::run("signal handler", e, "run where signal handlers are allowed")
}

fn register(signal: i32, flag: &Arc<AtomicBool>) -> Result<()> {
    signal_hook::flag::register(signal, Arc::clone(flag)).map(|_| ()).map_err(failed)
}

/// For every command: a file over its size limit is an error of the write, and memory that gives out ends with exit code 1;
/// either would be the process's death by a signal.
///
/// # Errors
/// The system takes no handlers.
pub fn of_every_command() -> Result<()> {
    register(SIGXFSZ, &Arc::default())?;
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(SIGABRT, Error::RUN.into(), always).map(|_| ()).map_err(failed)
}

/// Sets `stop` on whatever would end the process: for commands that have something to put away first.
///
/// # Errors
/// The system takes no handlers.
pub fn interrupts(stop: &Arc<AtomicBool>) -> Result<()> {
    ending().try_for_each(|signal| register(signal, stop))
}

/// Signals that this process ignores, as it was started.
struct Ignored(u64);

impl Ignored {
    /// By the kernel's list; none where it cannot be read.
    fn at_start() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
    }

    fn has(&self, signal: i32) -> bool {
        self.0 >> (signal - 1) & 1 == 1
    }
}

/// Blocks what a terminal sends to a process in its background that writes or reads: the write then goes through, or fails,
/// and nothing stops. Threads that start later inherit it.
fn never_stop_for_a_terminal() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTOU);
    signals.add(Signal::SIGTTIN);
    signals.thread_block().map_err(|e| failed(e.into()))
}

/// Signals that would end this process if they were not handled, and may be handled.
pub fn ending() -> impl Iterator<Item = i32> {
    heard(STOPS.into_iter().chain(SURVIVED).chain(REAL_TIME))
}

/// The signals of a list that this process does not ignore.
fn heard(signals: impl Iterator<Item = i32>) -> impl Iterator<Item = i32> {
    let ignored = Ignored::at_start();
    signals.filter(move |signal| !ignored.has(*signal))
}

/// The same for a sidecar, which ends by some and goes on after the others.
pub struct Inbox {
    flags: Vec<(i32, Arc<AtomicBool>)>,
}

impl Inbox {
    /// Sets `stop` on SIGINT, SIGTERM and SIGQUIT, and takes note of the rest. Call it before the process has threads: a
    /// terminal stops none of those that come.
    ///
    /// # Errors
    /// The system takes no handlers.
    pub fn open(stop: &Arc<AtomicBool>) -> Result<Self> {
        never_stop_for_a_terminal()?;
        heard(STOPS.into_iter()).try_for_each(|signal| register(signal, stop))?;
        let noted = heard(SURVIVED.into_iter().chain(STOPS_NOT).chain(REAL_TIME)).map(|signal| {
            let flag = Arc::default();
            register(signal, &flag).map(|()| (signal, flag))
        });
        Ok(Self { flags: noted.collect::<Result<_>>()? })
    }

    /// Takes note of nothing: for lanes inside another program.
    pub fn none() -> Self {
        Self { flags: Vec::new() }
    }

    /// Signals that came since the last call, each once.
    pub fn take(&self) -> impl Iterator<Item = i32> {
        // Relaxed: the flag carries no data.
        self.flags.iter().filter(|(_, flag)| flag.swap(false, Ordering::Relaxed)).map(|(signal, _)| *signal)
    }
}

/// Whether a signal asks a sidecar for its report.
pub fn asks_for_report(signal: i32) -> bool {
    signal == SIGUSR1
}

/// A signal's name.
pub fn name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
