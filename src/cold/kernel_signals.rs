//! Signals of the kernel, whose default action ends a process: which of them stop a command, and what a sidecar makes of the
//! rest. Handlers only set flags, so it does not matter that one may run on the hot thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};

use crate::error::{Error, Result};

/// What ends a sidecar, cleanly.
const STOPS: [i32; 3] = [SIGINT, SIGTERM, SIGQUIT];
/// What a sidecar survives: sent by log rotation, lost terminals, timers, tools. Left alone are faults of the process itself,
/// and what nobody can handle; 16 and 30 are SIGSTKFLT and SIGPWR.
const SURVIVED: [i32; 10] = [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXCPU, 16, 30];
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

/// Whatever would end a process that does not handle it, and may be handled.
pub fn ending() -> impl Iterator<Item = i32> {
    STOPS.into_iter().chain(SURVIVED).chain(REAL_TIME)
}

/// The same for a sidecar, which ends by some and goes on after the others.
pub struct Inbox {
    flags: Vec<(i32, Arc<AtomicBool>)>,
}

impl Inbox {
    /// Sets `stop` on SIGINT, SIGTERM and SIGQUIT, and takes note of the rest.
    ///
    /// # Errors
    /// The system takes no handlers.
    pub fn open(stop: &Arc<AtomicBool>) -> Result<Self> {
        STOPS.into_iter().try_for_each(|signal| register(signal, stop))?;
        let noted = SURVIVED.into_iter().chain(REAL_TIME).map(|signal| {
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
