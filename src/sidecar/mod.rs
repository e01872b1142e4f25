//! `pillion run`: prepares every lane, says what it is about to do, then looks after the lanes until they end.

mod account;
pub mod banner;
pub mod depth;
pub mod halt;
pub mod kernel_signals;
mod lanes;
pub mod memory;
pub mod prepare;
pub mod seat;
pub mod standing;
pub mod tail;
mod tick_watch;
mod unended;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pillion_shm::{Clock, Kind, Lane as LaneName};
use rustix::mm::MlockAllFlags;

use self::halt::Places;
use self::halt::watch::HaltWatch;
use self::kernel_signals::Inbox;
use self::prepare::{Prepared, access, try_locking};
use self::seat::Seat;
use crate::config::{Config, Lock};
use crate::error::{Error, Result};
use crate::host::clock_words::{self, ClockWatch};
use crate::host::cores;
use crate::report::hex;
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
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where the report goes: at the end, at SIGUSR1, and now and then.
    pub report: Option<ReportTo<'a>>,
    /// Why every lane shall come up halted, if it shall.
    pub halted: Option<&'a str>,
    /// Takes what the start has to say to a person, whole lines at a time.
    pub say: fn(&str),
}

/// The report to write, the HALT to begin with and the listener of a run.
struct Start<'a> {
    account: Option<Account>,
    halted: Option<&'a str>,
    say: fn(&str),
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
    (asked.say)(&banner::banner(config, &ready));
    let start = Start { account, halted: asked.halted, say: asked.say };
    run(config, ready.lanes, stop, start, &inbox)
}

/// Runs lanes that are ready; tests bring their own engines this way.
pub fn serve_prepared(
    config: &Config,
    prepared: Vec<Prepared>,
    stop: Arc<AtomicBool>,
    report: Option<ReportTo<'_>>,
) -> Result<()> {
    let start = Start { account: Account::of(report, config)?, halted: None, say: |_| () };
    run(config, prepared, stop, start, &Inbox::none())
}

fn run(
    config: &Config,
    prepared: Vec<Prepared>,
    stop: Arc<AtomicBool>,
    Start { mut account, halted, say }: Start<'_>,
    inbox: &Inbox,
) -> Result<()> {
    let clock = Clock::attach_or_create_by(&config.process.shm_dir, &config.trust())?;
    let hot_cores: Vec<usize> = prepared.iter().map(|p| p.core).collect();
    let mut lanes = Lanes { held: Vec::with_capacity(prepared.len()) };
    let made = seat_all(config, prepared, clock, &stop, halted, &mut lanes.held);
    let locked = made.inspect_err(|_| lanes.seats().for_each(Seat::remove_regions))?;
    say(&format!("clock     {}\n", clock_words::offset(clock.offset_ns())));
    let memory = if locked { "locked" } else { "not locked: paging can stop the hot thread" };
    say(&format!("memory    {memory}\n"));
    lanes.halted().for_each(|line| say(&line));
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
    // A signal that came together with the end is answered as well.
    for signal in inbox.take() {
        lanes.signalled(signal, account.as_ref());
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
