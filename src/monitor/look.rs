//! A look at a lane, and what of it says that the lane is not well.

use std::path::PathBuf;
use std::time::Instant;

use pillion_shm::trust::Trust;
use pillion_shm::{Clock, CncClient, Counters, From, Kind, Lane, RingReader, SignalTables, State};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::hot::stamp::STAGE_NAMES;
use crate::report::{ModelInUse, Stages, hex, table};
use crate::sidecar::halt::{Recorded, page_owner, recorded_lanes, standing, utc};

/// A live lane's heartbeat is younger; it beats every 200 us, but a host may stand still.
const SILENT_NS: u64 = 5_000_000_000;
/// A heartbeat may be ahead of this process's reading of the clock by so much, as `CncReader::heartbeat_age_ns` has it.
const AHEAD_NS: u64 = 1_000_000;

/// One look at a lane.
#[derive(Debug, Serialize)]
pub struct Look {
    /// The lane's name.
    pub lane: String,
    /// The lane's state, by its control page.
    pub state: String,
    /// True when a HALT is in force: by the control page, or by a record where no process lives.
    pub halted: bool,
    /// The HALT's record, where there is one.
    pub halt: Option<Halt>,
    /// The reason for `status` to end with exit code 1; null where the lane is well.
    pub problem: Option<String>,
    /// True while a process holds the control page.
    pub alive: bool,
    /// Process that made the page.
    pub pid: u32,
    /// Age of the heartbeat, ns, by the lane's clock; none where that is not to be had, or where the heartbeat is from its
    /// future.
    pub heartbeat_age_ns: Option<u64>,
    /// Fault of the clock of the lane's directory; null where there is none.
    pub clock_problem: Option<String>,
    /// The lane's clock less the wall clock, ns.
    pub clock_offset_ns: Option<i64>,
    /// True while a process holds the tick ring.
    pub feed_alive: bool,
    /// Why the tick ring cannot be looked at, where there is one.
    pub feed_problem: Option<String>,
    /// Ticks published and not yet consumed, where the tick ring can be looked at.
    pub backlog: Option<u64>,
    /// Ticks consumed since the lane began, those lost left out.
    pub ticks: u64,
    /// Events ended outside snapshots.
    pub events: u64,
    /// Signals published.
    pub signals: u64,
    /// Times that the lane was lapped.
    pub gaps: u64,
    /// Ticks lost so.
    pub lost: u64,
    /// Records refused.
    pub rejects: u64,
    /// Triggers left out by conflation.
    pub conflated: u64,
    /// Signals whose outputs were not finite.
    pub invalid: u64,
    /// Times that the feed restarted.
    pub generation_changes: u64,
    /// Ticks consumed per second since the glance before.
    pub ticks_per_second: f64,
    /// Signals published per second since the glance before.
    pub signals_per_second: f64,
    /// Models in use, in publishing order.
    pub models: Vec<ModelInUse>,
    /// Percentiles of each stage, ns.
    pub stages: Stages,
}

/// A HALT's record.
#[derive(Debug, Serialize)]
pub struct Halt {
    /// Path of the record.
    pub file: String,
    /// RFC 3339; this and the rest are none where the record cannot be read.
    pub since: Option<String>,
    /// Name of the user who asked.
    pub name: Option<String>,
    /// The user's number.
    pub uid: Option<u32>,
    /// The process that asked.
    pub pid: Option<u32>,
    /// Text of `--reason`.
    pub reason: Option<String>,
    /// All of it in words.
    #[serde(skip)]
    pub said: String,
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

/// Directories in which lanes are looked for.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Directory of the regions.
    pub shm_dir: PathBuf,
    /// Directory of the HALT records; without it the one that each lane has said, or the default.
    pub state_dir: Option<PathBuf>,
}

impl Lanes {
    /// Names of all lanes that have a control page here or a HALT recorded, sorted.
    ///
    /// # Errors
    /// A directory that cannot be read, and one without a lane.
    pub fn names(&self) -> Result<Vec<String>> {
        let dir = &self.shm_dir;
        let entries = std::fs::read_dir(dir)
            .map_err(|e| Error::input(dir.display(), e, "name the folder of the regions with --shm-dir"))?;
        let name = |e: std::io::Result<std::fs::DirEntry>| {
            let file = e.ok()?.file_name().into_string().ok()?;
            Some(file.strip_prefix("pillion.")?.strip_suffix(".cnc")?.to_owned())
        };
        // A name that no lane may have is no lane's.
        let mut names: Vec<_> = entries.filter_map(name).filter(|name| Lane::new(name).is_ok()).collect();
        names.extend(recorded_lanes(dir, self.state_dir.as_deref()));
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

    /// HALTs of a lane that stand in a record.
    pub fn standing(&self, name: &str) -> Vec<Recorded> {
        standing(&self.shm_dir, self.state_dir.as_deref(), name)
    }

    /// True when the control page of a user who does not count is all that there is of the lane.
    pub fn is_strangers(&self, name: &str) -> bool {
        let counts = |owner| Trust::own().in_dir(&self.shm_dir).map_or(true, |trust| trust.counts(owner));
        let strange = page_owner(&self.shm_dir, name).is_some_and(|owner| !counts(owner));
        strange && self.standing(name).is_empty()
    }

    /// A first glance, which the rates of [`Lanes::look`] are reckoned from.
    ///
    /// # Errors
    /// No control page of that name, or one that may not be read or is none.
    pub fn before(&self, name: &str) -> Result<Before> {
        let cnc = CncClient::attach_any_clock(&Lane::in_dir(&self.shm_dir, name)?)?;
        Ok(Before { at: Instant::now(), consumed: cnc.ticks_consumed(), counters: cnc.counters() })
    }

    /// One look at a lane, with rates since the first glance.
    ///
    /// # Errors
    /// No control page of that name, or one that may not be read or is none.
    pub fn look(&self, name: &str, before: &Before) -> Result<Look> {
        let lane = Lane::in_dir(&self.shm_dir, name)?;
        let cnc = CncClient::attach_any_clock(&lane)?;
        let clock = clock_of(&lane, &cnc);
        let age = |clock: &Clock| age(clock.now_ns(), cnc.heartbeat_ns());
        let c = cnc.counters();
        let seconds = before.at.elapsed().as_secs_f64().max(1e-9);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let consumed = cnc.ticks_consumed();
        let ticks = RingReader::attach_any_clock(&lane, Kind::Ticks, From::Next);
        let backlog = |ring: &RingReader| ring.head().saturating_sub(cnc.consumed_of(ring.generation()));
        let records = self.standing(name);
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
}

/// A first glance at a lane's counters, which the rates of a look are reckoned from.
#[derive(Debug)]
pub struct Before {
    at: Instant,
    consumed: u64,
    counters: Counters,
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
