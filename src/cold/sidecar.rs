//! `pillion run`: prepares every lane, says what it is about to do, then looks after the lanes until they end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pillion_shm::Clock;
use rustix::mm::MlockAllFlags;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock_words::{self, ClockWatch};
use super::config::{Config, Lock};
use super::data::OutputFile;
use super::output::write_json;
use super::prepare::{Prepared, access, prepare, try_locking};
use super::report::{Build, Host, SCHEMA_VERSION, SidecarReport, hex};
use super::seat::Seat;
use super::{banner, cores};
use crate::error::{Error, Result};

/// How often the cold side looks at its lanes.
const PERIOD: Duration = Duration::from_millis(5);

/// Runs every lane of the configuration until SIGINT, SIGTERM or a stop through a mailbox.
pub fn serve(config: &Config, report: Option<&Path>) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| Error::run("signal handler", e, "run where signal handlers are allowed"))?;
    }
    let prepared = prepare(config)?;
    try_locking(config, &prepared)?;
    serve_prepared(config, prepared, stop, report)
}

/// Runs lanes that are ready; tests bring their own engines this way.
pub fn serve_prepared(
    config: &Config,
    prepared: Vec<Prepared>,
    stop: Arc<AtomicBool>,
    report: Option<&Path>,
) -> Result<()> {
    let clock = Clock::attach_or_create_by(&config.process.shm_dir, &config.trust())?;
    let hot_cores: Vec<usize> = prepared.iter().map(|p| p.core).collect();
    let report = report.map(OutputFile::create).transpose()?;
    // Before this thread keeps off the hot CPUs: it would count too few.
    let host = Host::this();
    crate::out!("{}", banner::banner(config, &prepared));
    let mut seats = Vec::with_capacity(prepared.len());
    let made = seat_all(config, prepared, clock, &stop, &mut seats);
    let locked = made.inspect_err(|_| seats.iter().for_each(Seat::remove_regions))?;
    crate::outln!("clock     {}", clock_words::offset(clock.offset_ns()));
    crate::outln!("memory    {}", if locked { "locked" } else { "not locked: paging can stop the hot thread" });
    seats.iter_mut().for_each(|seat| seat.set_locked(locked));
    cores::stay_off(&hot_cores);
    let mut watch = ClockWatch::new(config.place(&config.lanes[0].name)?, clock);
    // Every lane is looked at in each round, so one that is over or has failed holds no other up.
    while seats.iter_mut().fold(false, |running, seat| !seat.step() | running) {
        if let Some(change) = watch.look() {
            crate::errln!("{change}");
        }
        std::thread::sleep(PERIOD);
    }
    if let Some(file) = report {
        write_json(file, &account(host, &seats))?;
    }
    seats.iter_mut().find_map(Seat::take_error).map_or(Ok(()), Err)
}

/// Makes every lane's regions and books, then locks them; true when they are locked.
fn seat_all(
    config: &Config,
    prepared: Vec<Prepared>,
    clock: Clock,
    stop: &Arc<AtomicBool>,
    seats: &mut Vec<Seat>,
) -> Result<bool> {
    for lane in prepared {
        let sample = Duration::from_millis(config.process.sample_ms);
        let seat = Seat::new(lane, clock, |kind| access(config, kind), Arc::clone(stop), sample)?;
        seats.push(seat);
    }
    lock_memory(config)
}

/// Locks what is mapped now: books, features, engines. Regions lock themselves.
pub fn lock_memory(config: &Config) -> Result<bool> {
    if config.process.lock == Lock::No {
        return Ok(false);
    }
    match rustix::mm::mlockall(MlockAllFlags::CURRENT) {
        Ok(()) => Ok(true),
        Err(e) if config.process.lock == Lock::Require => Err(Error::input(
            &config.origin,
            format!("process.lock = \"require\": the process's memory cannot be locked: {e}"),
            "raise the memlock limit (ulimit -l unlimited, or LimitMEMLOCK=infinity) or write lock = \"try\"",
        )),
        Err(_) => Ok(false),
    }
}

fn account(host: Host, seats: &[Seat]) -> SidecarReport {
    let lanes = seats.iter().map(|seat| seat.report().clone()).collect();
    SidecarReport { schema_version: SCHEMA_VERSION, host, build: Build::this(), lanes }
}

/// Short form of a hash for people.
pub fn short(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(6)])
}
