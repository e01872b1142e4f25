//! `pillion run`: prepares every lane, says what it is about to do, then looks after the lanes until they end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pillion_shm::Clock;
use rustix::mm::MlockAllFlags;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock_words::{self, ClockWatch};
use super::config::{Config, Lock};
use super::data::OutputFile;
use super::lab::now_utc;
use super::output::write_json;
use super::prepare::{Prepared, access, prepare, try_locking};
use super::report::{Build, Host, SCHEMA_VERSION, SidecarReport, hex};
use super::seat::Seat;
use super::{banner, cores};
use crate::error::{Error, Result};

/// How often the cold side looks at its lanes.
const PERIOD: Duration = Duration::from_millis(5);

/// A running sidecar's report is written this long after its start, then in twice the time again and again.
const FIRST_REPORT: Duration = Duration::from_secs(10);

/// But at least this often.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// Where a run's report goes.
#[derive(Clone, Copy, Debug)]
pub struct ReportTo<'a> {
    /// Its file.
    pub file: &'a Path,
    /// Written while the lanes run, too, so that an unclean end leaves an account. Costs the cold side some milliseconds.
    pub meanwhile: bool,
}

/// Runs every lane of the configuration until SIGINT, SIGTERM or a stop through a mailbox.
pub fn serve(config: &Config, report: Option<ReportTo<'_>>) -> Result<()> {
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
    report: Option<ReportTo<'_>>,
) -> Result<()> {
    let clock = Clock::attach_or_create_by(&config.process.shm_dir, &config.trust())?;
    let hot_cores: Vec<usize> = prepared.iter().map(|p| p.core).collect();
    // Before this thread keeps off the hot CPUs: it would count too few.
    let mut account = report.map(|to| Account::open(to, config, Host::this())).transpose()?;
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
        if let Some(account) = &mut account {
            account.meanwhile(&seats, Instant::now());
        }
    }
    if let Some(account) = account {
        account.end(&seats)?;
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

/// The report of a run in its file: what it says beside its lanes, and when it is due.
pub struct Account {
    target: PathBuf,
    /// Held from the start where there is something else than a plain file under the name: it is written once, at the end.
    opened: Option<OutputFile>,
    started: String,
    host: Host,
    config: serde_json::Value,
    due: Option<Instant>,
    wait: Duration,
}

impl Account {
    /// Refuses a file that could not be written in the end.
    fn open(to: ReportTo<'_>, config: &Config, host: Host) -> Result<Self> {
        let opened = OutputFile::create(to.file)?;
        let plain = std::fs::symlink_metadata(to.file).map_or(true, |found| found.is_file());
        Ok(Self {
            target: to.file.to_owned(),
            // Nothing is left beside a plain file if the process is killed.
            opened: (!plain).then_some(opened),
            started: now_utc(),
            host,
            config: serde_json::to_value(config).unwrap_or_default(),
            due: (plain && to.meanwhile).then(|| Instant::now() + FIRST_REPORT),
            wait: FIRST_REPORT,
        })
    }

    /// Writes the report of the lanes as they are now, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still there.
    pub fn write_report_now(&self, seats: &[Seat]) -> Result<()> {
        write_json(OutputFile::create(&self.target)?, &self.report(seats, false))
    }

    /// The same when it is due. A failure is said, and it is tried again when it is due again.
    fn meanwhile(&mut self, seats: &[Seat], now: Instant) {
        if self.due.is_some_and(|due| now >= due) {
            if let Err(error) = self.write_report_now(seats) {
                crate::errln!("the report cannot be written now; the run goes on\n  {error}");
            }
            self.wait = (self.wait * 2).min(REPORT_EVERY);
            self.due = Some(now + self.wait);
        }
    }

    fn end(mut self, seats: &[Seat]) -> Result<()> {
        let file = self.opened.take().map_or_else(|| OutputFile::create(&self.target), Ok)?;
        write_json(file, &self.report(seats, true))
    }

    fn report(&self, seats: &[Seat], ended: bool) -> SidecarReport {
        SidecarReport {
            schema_version: SCHEMA_VERSION,
            started: self.started.clone(),
            written: now_utc(),
            ended,
            host: self.host.clone(),
            build: Build::this(),
            config: self.config.clone(),
            lanes: seats.iter().map(Seat::report).collect(),
        }
    }
}

/// Short form of a hash for people.
pub fn short(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(6)])
}
