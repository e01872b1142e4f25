//! Sidecars without models, and the ring of a feed that publishes nothing: lanes in any state, at once.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pillion_shm::{Access, Clock, Kind, Lane, RingSpec, RingWriter};
use rustix::process::{Pid, Signal, kill_process};

use super::{Running, config, output, pillion};

/// One instrument.
pub const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

/// A configuration of these lanes, with `keys` for all of them.
pub fn lanes(dir: &Path, names: &[&str], keys: &str) -> PathBuf {
    let each: String = names.iter().map(|name| format!("[[lanes]]\nname = {name:?}\n")).collect();
    config(dir, &format!("lock = \"no\"\n[lane]\n{keys}{INSTRUMENT}{each}"))
}

/// `run` with that configuration.
pub fn sidecar(config: &Path) -> Command {
    let mut command = pillion();
    command.arg("run").arg("--config").arg(config);
    command
}

/// `run`, with its output kept.
pub fn run(config: &Path) -> Running {
    Running::start(&mut sidecar(config))
}

/// The ring of a feed that lives and publishes nothing.
pub fn ring(dir: &Path, lane: &str) -> RingWriter {
    let clock = Clock::attach_or_create(dir).expect("a clock");
    let spec = RingSpec { capacity: 64, record_words: 14, table: Vec::new() };
    let lane = Lane::in_dir(dir, lane).expect("a name");
    RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()).expect("a ring")
}

/// Something that is no ring under the name of one.
pub fn junk_ring(dir: &Path, lane: &str) {
    let junk = dir.join("junk");
    std::fs::write(&junk, [7; 4096]).expect("writable");
    std::fs::rename(&junk, dir.join(format!("pillion.{lane}.ticks"))).expect("writable");
}

/// `pillion ctl …` in the folder.
pub fn ctl(dir: &Path, words: &[&str]) -> Output {
    output(pillion().arg("ctl").args(words).arg("--shm-dir").arg(dir))
}

/// Sends a signal by its number.
pub fn send(process: &Running, signal: i32) {
    let status = Command::new("kill").args(["-s", &signal.to_string(), &process.0.id().to_string()]).status();
    assert!(status.expect("kill starts").success(), "signal {signal}");
}

/// Stops it, or lets it go on.
pub fn stand_still(process: &Running, stand: bool) {
    let pid = Pid::from_raw(process.0.id() as i32).expect("a pid");
    kill_process(pid, if stand { Signal::STOP } else { Signal::CONT }).expect("a child");
}
