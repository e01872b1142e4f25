//! Calls of a run to the C allocator, counted in a process of its own into which a small library is preloaded: those of ONNX
//! Runtime pass by a Rust allocator. The sidecar never has that library in it.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use crate::engine::Engine;

/// `mallocs.c`, compiled; empty where no C compiler was there at build time.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mallocs.so"));

/// Set for the process that counts.
const ASKED: &str = "PILLION_COUNT_MALLOCS";
/// The count of this thread, as the library answers to it.
const COUNT: &str = "PILLION_MALLOCS";

const WARM: usize = 50;
const RUNS: usize = 100;

/// Calls by engine.
pub(super) type Counts = BTreeMap<String, u64>;

/// Whether this process is the one that counts, and prints [`Counts`] as JSON instead of its findings.
pub(super) fn is_counting() -> bool {
    env::var_os(ASKED).is_some()
}

/// Runs this command once more with the library preloaded. None where there is no library or it does not load.
pub(super) fn ask() -> Option<Counts> {
    if LIBRARY.is_empty() {
        return None;
    }
    // A file of memory only: nothing to clean up, and no folder that might forbid to run it. The child inherits it.
    let mut library: File = rustix::fs::memfd_create("pillion-mallocs", rustix::fs::MemfdFlags::empty()).ok()?.into();
    library.write_all(LIBRARY).ok()?;
    let mut again = Command::new(env::current_exe().ok()?);
    again.args(env::args_os().skip(1)).env(ASKED, "1");
    again.env("LD_PRELOAD", format!("/proc/self/fd/{}", library.as_raw_fd()));
    let output = again.stdin(Stdio::null()).output().ok()?;
    serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
}

/// Most calls in one run, each on the same row.
pub(super) fn of(engine: &mut dyn Engine) -> Option<u64> {
    let (row, mut output) = (vec![0.25; engine.info().inputs], vec![0.0; engine.info().outputs]);
    let (mut most, mut least_alone) = (0, u64::MAX);
    for i in 0..WARM + RUNS {
        // To ask is a call or two of its own.
        let alone = now()?;
        let before = now()?;
        engine.run(&row, &mut output).ok()?;
        let after = now()?;
        least_alone = least_alone.min(before - alone);
        if i >= WARM {
            most = most.max(after - before);
        }
    }
    most.checked_sub(least_alone)
}

fn now() -> Option<u64> {
    env::var(COUNT).ok()?.parse().ok()
}
