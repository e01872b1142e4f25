//! `pillion status`: what a lane is doing, read from its regions without disturbing it. Its exit code tells whether every lane
//! that was looked at is alive and well.

mod text;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillion_shm::trust::Trust;
use pillion_shm::{Clock, CncClient, Counters, From, Kind, Lane, RingReader, SignalTables, State};
use serde::Serialize;

use super::ctl;
use crate::error::{Error, Result};
use crate::hot::stamp::STAGE_NAMES;
use crate::report::table;
use crate::report::{ModelInUse, Stages, hex};
use crate::sidecar::halt::{Recorded, page_owner, utc};

/// A live lane's heartbeat is younger; it beats every 200 us, but a host may stand still.
const SILENT_NS: u64 = 5_000_000_000;
/// A heartbeat may be ahead of this process's reading of the clock by so much, as `CncReader::heartbeat_age_ns` has it.
const AHEAD_NS: u64 = 1_000_000;

/// Exit codes, as `--help` prints them.
pub const EXIT_CODES: &str = "Exit codes:
  0    every lane shown is alive, in BOOT, RUN or HALT, and its heartbeat is younger than 5 s
  1    a lane is dead, has failed or stopped, or is silent, or one of several cannot be read: told on standard error;
       without LANE the page of a user who does not count is shown and decides nothing
  2    there is no lane of that name, or none at all, or it may not be read";

/// Arguments of `pillion status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lane name; without it every lane of the directory
    lane: Option<String>,
    /// One JSON object per lane and look
    #[arg(long)]
    pub json: bool,
    /// Look again every second until interrupted
    #[arg(long)]
    watch: bool,
    /// Directory of the regions
    #[arg(long, default_value = "/dev/shm", value_name = "DIR")]
    shm_dir: PathBuf,
    /// Directory of the HALT records; without it the one that each lane has said, or the default
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// One look at a lane.
#[derive(Debug, Serialize)]
struct Look {
    lane: String,
    state: String,
    /// Whether a HALT is in force, by the control page or a record, in whatever state.
    halted: bool,
    /// The HALT's record, where there is one.
    halt: Option<Halt>,
    /// What makes this lane's exit code 1.
    problem: Option<String>,
    /// Whether a process holds the control page.
    alive: bool,
    pid: u32,
    /// By the lane's clock; none where that is not to be had, or where the heartbeat is from its future.
    heartbeat_age_ns: Option<u64>,
    /// What is wrong with the clock of the lane's directory.
    clock_problem: Option<String>,
    /// ns that the lane's clock is ahead of the wall clock.
    clock_offset_ns: Option<i64>,
    /// Whether a process holds the tick ring.
    feed_alive: bool,
    /// Why the tick ring cannot be looked at, where there is one.
    feed_problem: Option<String>,
    /// Ticks published and not yet consumed, where the tick ring can be looked at.
    backlog: Option<u64>,
    ticks: u64,
    events: u64,
    signals: u64,
    gaps: u64,
    lost: u64,
    rejects: u64,
    conflated: u64,
    invalid: u64,
    generation_changes: u64,
    /// Per second since the last look; over 200 ms at the first.
    ticks_per_second: f64,
    signals_per_second: f64,
    models: Vec<ModelInUse>,
    stages: Stages,
}

/// A HALT's record.
#[derive(Debug, Serialize)]
struct Halt {
    file: String,
    /// RFC 3339; this and the rest are none where the record cannot be read.
    since: Option<String>,
    name: Option<String>,
    uid: Option<u32>,
    pid: Option<u32>,
    reason: Option<String>,
    #[serde(skip)]
    said: String,
}

impl Halt {
    fn of(found: &Recorded) -> Self {
        let record = found.record.as_ref().ok();
        Self {
            file: found.path.display().to_string(),
            since: record.map(|r| utc(r.since_ns)),
            name: record.map(|r| r.name.clone()),
            uid: record.map(|r| r.uid),
            pid: record.map(|r| r.pid),
            reason: record.map(|r| r.reason.clone()).filter(|reason| !reason.is_empty()),
            said: found.to_string(),
        }
    }
}

/// Looks once, or every second.
pub fn run(args: &Args) -> Result<()> {
    let (mut pause, mut seen) = (Duration::from_millis(200), false);
    loop {
        let looked = round(args, pause);
        if crate::stdio::is_closed() {
            // Nobody reads any more.
            return Ok(());
        }
        let untold = looked.as_ref().err().filter(|error| !error.told);
        if !args.watch || (untold.is_some() && !seen) {
            return looked;
        }
        seen = true;
        pause = Duration::from_secs(1);
        if let Some(error) = untold {
            // A lane that is between two lives, or was removed, may come back.
            crate::outln!("{}", if args.json { error.to_json() } else { error.to_string() });
            std::thread::sleep(pause);
        }
    }
}

/// One look at every lane; an error where one of them is not well, told or not.
fn round(args: &Args, pause: Duration) -> Result<()> {
    let names = names(args)?;
    let before: Vec<_> = names.iter().map(|n| before(&args.shm_dir, n)).collect();
    std::thread::sleep(pause);
    if args.watch && !args.json && std::io::stdout().is_terminal() {
        crate::stdio::clear_screen();
    }
    let mut problems = Vec::new();
    for (name, before) in names.iter().zip(before) {
        match before.and_then(|before| look(args, name, before)) {
            Ok(look) => {
                crate::outln!("{}", if args.json { to_json(&look)? } else { text::of(&look) });
                problems.extend(look.problem.map(|problem| (name, problem)));
            }
            Err(error) if args.lane.is_some() => return Err(down(args, name, error)),
            // Of all lanes, a broken one hides no other.
            Err(error) => {
                let error = down(args, name, error);
                if args.json {
                    crate::outln!("{}", error.to_json());
                }
                crate::errln!("lane {name}: {error}");
                // Anybody may leave such a page in `/dev/shm`.
                match is_strangers(args, name) {
                    true => {
                        crate::errln!("lane {name}: the page of a user who does not count: the exit code is without it")
                    }
                    false => problems.push((name, "cannot be read, as told above".into())),
                }
            }
        }
    }
    let Some((name, problem)) = problems.first() else { return Ok(()) };
    let (thing, more) = (format!("lane {name}"), problems.len() - 1);
    let more = if more == 0 { String::new() } else { format!("; and {more} more lanes are not well") };
    let mend = "start it with `pillion run`, or see what it printed when it ended";
    Err(Error::run(thing, format!("{problem}{more}"), mend).told())
}

/// Whether all that there is of the lane is the control page of a user who does not count.
fn is_strangers(args: &Args, name: &str) -> bool {
    let counts = |owner| Trust::own().in_dir(&args.shm_dir).map_or(true, |trust| trust.counts(owner));
    let strange = page_owner(&args.shm_dir, name).is_some_and(|owner| !counts(owner));
    strange && ctl::standing(&args.shm_dir, args.state_dir.as_deref(), name).is_empty()
}

/// What cannot be looked at: a lane with a HALT recorded says so even where it has no page.
fn down(args: &Args, name: &str, error: Error) -> Error {
    let records = ctl::standing(&args.shm_dir, args.state_dir.as_deref(), name);
    let halts: String = records.iter().map(|found| format!("; HALT in force {found}")).collect();
    if halts.is_empty() { error } else { Error { problem: format!("{}{halts}", error.problem), ..error } }
}

/// The lane asked for, or all that have a control page here or a HALT recorded.
fn names(args: &Args) -> Result<Vec<String>> {
    if let Some(name) = &args.lane {
        return Ok(vec![name.clone()]);
    }
    let dir = &args.shm_dir;
    let entries = std::fs::read_dir(dir)
        .map_err(|e| Error::input(dir.display(), e, "name the folder of the regions with --shm-dir"))?;
    let name = |e: std::io::Result<std::fs::DirEntry>| {
        let file = e.ok()?.file_name().into_string().ok()?;
        Some(file.strip_prefix("pillion.")?.strip_suffix(".cnc")?.to_owned())
    };
    // A name that no lane may have is no lane's.
    let mut names: Vec<_> = entries.filter_map(name).filter(|name| Lane::new(name).is_ok()).collect();
    names.extend(ctl::recorded_lanes(dir, args.state_dir.as_deref()));
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(Error::input(
            dir.display(),
            "no lane has a control page here",
            "start a sidecar with `pillion run`",
        ));
    }
    Ok(names)
}

/// What rates are reckoned from.
struct Before {
    at: Instant,
    consumed: u64,
    counters: Counters,
}

fn before(dir: &Path, name: &str) -> Result<Before> {
    let cnc = CncClient::attach_any_clock(&Lane::in_dir(dir, name)?)?;
    Ok(Before { at: Instant::now(), consumed: cnc.ticks_consumed(), counters: cnc.counters() })
}

/// The clock that the page's stamps are on, or what is wrong with the one that stands in its directory.
fn clock_of(lane: &Lane, cnc: &CncClient) -> std::result::Result<Clock, String> {
    match Clock::attach_by(lane.dir(), lane.trust()) {
        Ok(clock) if clock.id() == cnc.clock_id() => Ok(clock),
        Ok(_) => Err("replaced: the one that stands there now is not the lane's; restart feed and sidecar".to_owned()),
        Err(error) if error.is_absent() => Err("missing: somebody removed it; restart feed and sidecar".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn look(args: &Args, name: &str, before: Before) -> Result<Look> {
    let lane = Lane::in_dir(&args.shm_dir, name)?;
    let cnc = CncClient::attach_any_clock(&lane)?;
    let clock = clock_of(&lane, &cnc);
    let age = |clock: &Clock| age(clock.now_ns(), cnc.heartbeat_ns());
    let c = cnc.counters();
    let seconds = before.at.elapsed().as_secs_f64().max(1e-9);
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let consumed = cnc.ticks_consumed();
    let ticks = RingReader::attach_any_clock(&lane, Kind::Ticks, From::Next);
    let backlog = |ring: &RingReader| ring.head().saturating_sub(cnc.consumed_of(ring.generation()));
    let records = ctl::standing(&args.shm_dir, args.state_dir.as_deref(), name);
    let (state, alive) = (cnc.state(), cnc.owner_alive());
    let heartbeat_age_ns = clock.as_ref().ok().and_then(age);
    Ok(Look {
        lane: name.to_owned(),
        state: state.to_string(),
        // A live lane's page is its word; a dead one's successor also finds the record.
        halted: cnc.halted() || !alive && !records.is_empty(),
        halt: records.first().map(Halt::of),
        problem: problem(state, alive, heartbeat_age_ns).or_else(|| unheeded(alive && !cnc.halted(), &records)),
        alive,
        pid: cnc.pid(),
        heartbeat_age_ns,
        clock_offset_ns: clock.as_ref().ok().map(Clock::offset_ns),
        clock_problem: clock.err(),
        feed_alive: ticks.as_ref().is_ok_and(RingReader::owner_alive),
        backlog: match &ticks {
            Ok(ring) => Some(backlog(ring)),
            Err(error) => error.is_absent().then_some(0),
        },
        feed_problem: ticks.err().filter(|error| !error.is_absent()).map(|error| error.to_string()),
        ticks_per_second: rate(consumed, before.consumed),
        signals_per_second: rate(c.signals, before.counters.signals),
        ticks: consumed - c.lost.min(consumed),
        events: c.events,
        signals: c.signals,
        gaps: c.gaps,
        lost: c.lost,
        rejects: c.rejects,
        conflated: c.conflated,
        invalid: c.invalid,
        generation_changes: c.generation_changes,
        models: models(&lane),
        stages: stages(&cnc),
    })
}

/// A record that a live lane does not obey: its sidecar looks elsewhere.
fn unheeded(trades: bool, records: &[Recorded]) -> Option<String> {
    let record = records.first().filter(|_| trades)?;
    Some(format!("is NOT halted, though a HALT is recorded in {}: halt it again", record.path.display()))
}

/// Why a lane is not well, if it is not.
fn problem(state: State, alive: bool, heartbeat_age_ns: Option<u64>) -> Option<String> {
    match state {
        State::Fail => Some(format!("has failed (state FAIL{})", if alive { "" } else { ", no live process" })),
        State::Stopped => Some("has stopped".into()),
        _ if !alive => Some(format!("has no live process; {state} is the state that it died in")),
        _ => match heartbeat_age_ns {
            Some(ns) if ns <= SILENT_NS => None,
            Some(ns) => Some(format!("has given no heartbeat for {}", table::span(ns))),
            None => Some(
                "has no heartbeat of a known age (none yet, one from the future, or its clock is gone): it may hang"
                    .into(),
            ),
        },
    }
}

/// Age of a heartbeat, ns; none before the first, and where it is from the future.
fn age(now_ns: u64, heartbeat_ns: u64) -> Option<u64> {
    let known = heartbeat_ns != 0 && heartbeat_ns <= now_ns.saturating_add(AHEAD_NS);
    known.then(|| now_ns.saturating_sub(heartbeat_ns))
}

fn stages(cnc: &CncClient) -> Stages {
    let summaries = cnc.stages().into_iter().flatten();
    STAGE_NAMES.iter().map(|n| (*n).to_owned()).zip(summaries.map(Into::into)).collect()
}

fn models(lane: &Lane) -> Vec<ModelInUse> {
    let table = RingReader::attach_any_clock(lane, Kind::Signals, From::Next).ok();
    let tables = table.and_then(|r| SignalTables::from_bytes(r.table()).ok());
    let in_use = |m: pillion_shm::ModelEntry| ModelInUse {
        name: m.name,
        revision: m.revision,
        sha256: hex(&m.sha256),
        engine: m.engine,
        isa: m.isa,
        runtime: m.runtime,
        candidates: Vec::new(),
    };
    tables.map(|t| t.models.into_iter().map(in_use).collect()).unwrap_or_default()
}

fn to_json(look: &Look) -> Result<String> {
    serde_json::to_string(look).map_err(|e| Error::run("status", e, "report this as a bug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_of_no_known_age_is_a_problem() {
        let second = 1_000_000_000;
        assert_eq!((age(9 * second, 7 * second), age(second, second + AHEAD_NS)), (Some(2 * second), Some(0)));
        assert_eq!((age(second, 0), age(second, 2 * second), age(u64::MAX, u64::MAX)), (None, None, Some(0)));
        for state in [State::Boot, State::Run, State::Halt] {
            assert_eq!(problem(state, true, Some(second)), None);
            for age in [None, Some(6 * second)] {
                assert!(problem(state, true, age).is_some_and(|why| why.contains("heartbeat")), "{state}: {age:?}");
            }
        }
    }
}
