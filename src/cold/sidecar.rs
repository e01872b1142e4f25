//! `pillion run`: prepares every lane, says what it is about to do, then looks after the lanes until they end.

mod account;
mod lanes;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pillion_shm::{Clock, Kind, Lane as LaneName};
use rustix::mm::MlockAllFlags;

use super::clock_words::{self, ClockWatch};
use super::config::{Config, Lock};
use super::halt::watch::HaltWatch;
use super::halt::{self, Places};
use super::kernel_signals::Inbox;
use super::prepare::{self, Prepared, access, try_locking};
use super::report::hex;
use super::seat::Seat;
use super::{banner, cores};
use crate::error::{Error, Result};
use crate::stdio;
use account::Account;
use lanes::{Held, Lanes};

/// How often the cold side looks at its lanes.
const PERIOD: Duration = Duration::from_millis(5);

/// Where a run's report goes.
#[derive(Clone, Copy, Debug)]
pub struct ReportTo<'a> {
    /// Its file.
    pub file: &'a Path,
    /// Written while the lanes run, too, so that an unclean end leaves an account. Costs the cold side some milliseconds.
    pub meanwhile: bool,
}

/// What `pillion run` asks for beyond its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Where the report goes: at the end, at SIGUSR1, and now and then.
    pub report: Option<ReportTo<'a>>,
    /// Why every lane shall come up halted, if it shall.
    pub halted: Option<&'a str>,
}

/// Runs every lane of the configuration until SIGINT, SIGTERM, SIGQUIT or a stop of each through its mailbox.
pub fn serve(config: &Config, asked: Asked<'_>) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let inbox = Inbox::open(&stop)?;
    stdio::never_wait();
    let ready = prepare::to_run(config)?;
    try_locking(config)?;
    // Before the banner: standard output may be the report's alone.
    let account = Account::of(asked.report, config)?;
    crate::out!("{}", banner::banner(config, &ready));
    run(config, ready.lanes, stop, (account, asked.halted), &inbox)
}

/// Runs lanes that are ready; tests bring their own engines this way.
pub fn serve_prepared(
    config: &Config,
    prepared: Vec<Prepared>,
    stop: Arc<AtomicBool>,
    report: Option<ReportTo<'_>>,
) -> Result<()> {
    run(config, prepared, stop, (Account::of(report, config)?, None), &Inbox::none())
}

fn run(
    config: &Config,
    prepared: Vec<Prepared>,
    stop: Arc<AtomicBool>,
    (mut account, halted): (Option<Account>, Option<&str>),
    inbox: &Inbox,
) -> Result<()> {
    let clock = Clock::attach_or_create_by(&config.process.shm_dir, &config.trust())?;
    let hot_cores: Vec<usize> = prepared.iter().map(|p| p.core).collect();
    let mut lanes = Lanes { held: Vec::with_capacity(prepared.len()) };
    let made = seat_all(config, prepared, clock, &stop, halted, &mut lanes.held);
    let locked = made.inspect_err(|_| lanes.seats().for_each(Seat::remove_regions))?;
    crate::outln!("clock     {}", clock_words::offset(clock.offset_ns()));
    crate::outln!("memory    {}", if locked { "locked" } else { "not locked: paging can stop the hot thread" });
    lanes.say_halted();
    lanes.seats_mut().for_each(|seat| seat.set_locked(locked));
    cores::stay_off(&hot_cores);
    let mut watch = ClockWatch::new(config.place(&config.lanes[0].name)?, clock);
    while lanes.step() {
        if let Some(change) = watch.look() {
            crate::errln!("{change}");
        }
        for signal in inbox.take() {
            lanes.signalled(signal, account.as_ref());
        }
        std::thread::sleep(PERIOD);
        if let Some(account) = &mut account {
            account.meanwhile(&lanes, Instant::now());
        }
    }
    let reported = account.map_or(Ok(()), |account| account.end(&lanes));
    lanes.outcome_with(reported)
}

/// Makes every lane's regions and books, then locks them; true when they are locked.
fn seat_all(
    config: &Config,
    prepared: Vec<Prepared>,
    clock: Clock,
    stop: &Arc<AtomicBool>,
    halted: Option<&str>,
    held: &mut Vec<Held>,
) -> Result<bool> {
    let places = Places::of_sidecar(&config.process.state_dir);
    for lane in prepared {
        let name = lane.config.name.clone();
        if let Some(reason) = halted {
            record_halt(&places, &name, reason);
        }
        let (at, sample) = (lane.name.clone(), Duration::from_millis(config.process.sample_ms));
        // Before the page is there: whoever finds the page finds where its HALTs are recorded.
        if let Err(e) = halt::announce(at.dir(), &name, &places) {
            crate::errln!("lane {name}: `pillion ctl` will need --state-dir, since no note of it can be left: {e}");
        }
        let halts = HaltWatch::new(&name, places.clone());
        let seat = Seat::new(lane, clock, |kind| access(config, kind), Arc::clone(stop), sample, halts);
        let seat = seat.inspect_err(|_| forget_note(&at))?;
        if halted.is_some() {
            seat.halt();
        }
        held.push(Held::new(seat));
    }
    lock_memory(config)
}

/// The note of a lane that has come to no page, unless it has one of another process.
fn forget_note(lane: &LaneName) {
    if !lane.path(Kind::Cnc).exists() {
        // Not made, perhaps: nothing to mend.
        let _ = std::fs::remove_file(halt::note(lane.dir(), lane.name()));
    }
}

/// `run --halted`: the record first, as an operator's; where it cannot be written, the HALT holds until a reboot.
fn record_halt(places: &Places, lane: &str, reason: &str) {
    if let Err(e) = halt::write(places.first(), &halt::Record::now(lane, reason)) {
        let dir = places.first().display();
        crate::errln!("lane {lane}: halted, but {dir} takes no record of it, so a reboot forgets it: {e}");
    }
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

/// Short form of a hash for people.
pub fn short(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(6)])
}
