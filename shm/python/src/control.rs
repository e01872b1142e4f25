//! The control page: what a sidecar says of itself, and the operator's mailbox.

use crate::fault::{Fault, Result, lock, open};
use crate::place::{access, place, place_to_write};
use pillion_shm::{CncClient, CncOwner, Command, Counters, Lane, Outcome, STAGES, StageSummary, State};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// A stage's name, and count, p50, p90, p99, p999, p9999, max.
type Stage = (&'static str, [u64; 7]);

/// A look at a sidecar's page; with `operator`, its mailbox too.
#[pyclass(frozen)]
pub struct Control {
    page: Mutex<CncClient>,
    /// Of an operator only if it is the page's: orders need none.
    clock: Option<pillion_shm::Clock>,
}

#[pymethods]
impl Control {
    #[new]
    fn new(py: Python<'_>, lane: &str, dir: PathBuf, operator: bool) -> Result<Self> {
        py.detach(|| {
            if !operator {
                let (lane, clock) = place(lane, dir)?;
                return Ok(Self { page: Mutex::new(CncClient::attach(&lane, &clock)?), clock: Some(clock) });
            }
            let lane = Lane::in_dir(dir, lane)?;
            let page = CncClient::attach_operator(&lane)?;
            let clock = pillion_shm::Clock::attach_by(lane.dir(), lane.trust()).ok();
            let clock = clock.filter(|clock| clock.id() == page.clock_id());
            Ok(Self { page: Mutex::new(page), clock })
        })
    }

    fn state(&self) -> String {
        lock(&self.page).state().to_string()
    }

    fn halted(&self) -> bool {
        lock(&self.page).halted()
    }

    fn heartbeat_ns(&self) -> u64 {
        lock(&self.page).heartbeat_ns()
    }

    /// Now on the page's clock; none where that is not to be had.
    fn now_ns(&self) -> Option<u64> {
        self.clock.as_ref().map(pillion_shm::Clock::now_ns)
    }

    fn counters(&self) -> [(&'static str, u64); 8] {
        let Counters { events, signals, gaps, lost, rejects, conflated, invalid, generation_changes } =
            lock(&self.page).counters();
        [
            ("events", events),
            ("signals", signals),
            ("gaps", gaps),
            ("lost", lost),
            ("rejects", rejects),
            ("conflated", conflated),
            ("invalid", invalid),
            ("generation_changes", generation_changes),
        ]
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        let stages = lock(&self.page).stages()?;
        let words = |s: &StageSummary| [s.count, s.p50, s.p90, s.p99, s.p999, s.p9999, s.max];
        Some(STAGES.into_iter().zip(stages.iter().map(words)).collect())
    }

    fn ticks_consumed(&self) -> u64 {
        lock(&self.page).ticks_consumed()
    }

    fn consumed_of(&self, generation: u64) -> u64 {
        lock(&self.page).consumed_of(generation)
    }

    fn pid(&self) -> u32 {
        lock(&self.page).pid()
    }

    fn created_ns(&self) -> u64 {
        lock(&self.page).created_ns()
    }

    fn generation(&self) -> u64 {
        lock(&self.page).generation()
    }

    fn owner_alive(&self) -> bool {
        lock(&self.page).owner_alive()
    }

    fn superseded(&self) -> bool {
        lock(&self.page).superseded()
    }

    /// Asks and waits for the answer: `done`, `refused` or `unknown`.
    fn request(&self, py: Python<'_>, command: &str, timeout_s: f64) -> Result<&'static str> {
        let command = match command {
            "halt" => Command::Halt,
            "resume" => Command::Resume,
            "stop" => Command::Stop,
            _ => return Err(PyValueError::new_err(format!("no command {command:?}")).into()),
        };
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .map_err(|_| PyValueError::new_err(format!("timeout_s is {timeout_s}, but must be 0 or more seconds")))?;
        let outcome = py.detach(|| lock(&self.page).order(command, timeout))?;
        Ok(match outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        })
    }
}

/// The sidecar's end of the page: for tests of what watches one.
#[pyclass(frozen)]
pub struct ControlOwner {
    page: Mutex<Option<CncOwner>>,
    clock: pillion_shm::Clock,
}

#[pymethods]
impl ControlOwner {
    #[new]
    fn new(lane: &str, dir: PathBuf, mode: u32) -> Result<Self> {
        let (lane, clock) = place_to_write(lane, dir)?;
        let page = CncOwner::create(&lane, &clock, &access(mode, None, "try")?)?;
        Ok(Self { page: Mutex::new(Some(page)), clock })
    }

    fn set_state(&self, state: &str) -> Result<()> {
        let known = [State::Boot, State::Run, State::Halt, State::Fail, State::Stopped];
        let found = known.into_iter().find(|known| known.to_string() == state);
        let state = found.ok_or_else(|| Fault::Python(PyValueError::new_err(format!("no state {state:?}"))))?;
        open(&self.page, "page", |page| page.set_state(state))
    }

    /// A heartbeat stamped `at_ns`, or now.
    #[pyo3(signature = (at_ns=None))]
    fn beat(&self, at_ns: Option<u64>) -> Result<()> {
        open(&self.page, "page", |page| page.beat(at_ns.unwrap_or_else(|| self.clock.now_ns())))
    }

    fn set_counters(&self, values: [u64; 8]) -> Result<()> {
        let counters: Counters = bytemuck::cast(values);
        open(&self.page, "page", |page| page.set_counters(&counters))
    }

    fn publish_stages(&self, stages: [[u64; 7]; STAGES.len()]) -> Result<()> {
        let stages: [StageSummary; STAGES.len()] = bytemuck::cast(stages);
        open(&self.page, "page", |page| page.publish_stages(&stages))
    }

    fn set_ticks_consumed(&self, generation: u64, before: u64, ticks: u64) -> Result<()> {
        open(&self.page, "page", |page| {
            page.set_ticks_ring(generation, before);
            page.set_ticks_consumed(ticks);
        })
    }

    /// Answers the request that waits, doing what a sidecar does; says which it was.
    fn answer(&self) -> Result<Option<&'static str>> {
        open(&self.page, "page", |page| {
            let request = page.poll_mailbox()?;
            let (name, state) = match request.command {
                Some(Command::Halt) => ("halt", Some(State::Halt)),
                Some(Command::Resume) => ("resume", Some(State::Run)),
                Some(Command::Stop) => ("stop", Some(State::Stopped)),
                None => ("unknown", None),
            };
            state.into_iter().for_each(|state| page.set_state(state));
            page.answer(&request, if state.is_some() { Outcome::Done } else { Outcome::Unknown });
            Some(name)
        })
    }

    /// Ends the page, and removes its name if asked; the second call does nothing.
    fn close(&self, unlink: bool) -> Result<()> {
        match lock(&self.page).take() {
            Some(page) if unlink => Ok(page.unlink()?),
            _ => Ok(()),
        }
    }
}
