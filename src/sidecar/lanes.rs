//! The lanes of a process while it runs: each ends by itself, and none takes another with it.

use super::account::Account;
use crate::error::{Error, Result};
use crate::report::LaneReport;
use crate::sidecar::kernel_signals;
use crate::sidecar::seat::Seat;

/// A lane: its seat, or what is left of one that has let go of its page.
pub(super) struct Held {
    seat: Option<Box<Seat>>,
    /// Of a lane without a seat.
    account: LaneReport,
    error: Option<Error>,
    told: bool,
}

impl Held {
    pub fn new(seat: Seat) -> Self {
        Self { seat: Some(Box::new(seat)), account: LaneReport::default(), error: None, told: false }
    }

    fn is_over(&self) -> bool {
        self.seat.as_ref().is_none_or(|seat| seat.is_over())
    }

    fn name(&self) -> &str {
        self.seat.as_ref().map_or(&self.account.lane, |seat| seat.lane())
    }

    fn error(&self) -> Option<&Error> {
        self.error.as_ref().or_else(|| self.seat.as_ref()?.error())
    }

    /// The page and all else that the lane held go; its account stays.
    fn let_go(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.account = seat.report();
            self.error = seat.error().cloned();
        }
    }
}

/// All lanes of the process.
pub(super) struct Lanes {
    pub held: Vec<Held>,
}

impl Lanes {
    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.held.iter().filter_map(|held| held.seat.as_deref())
    }

    pub fn seats_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.held.iter_mut().filter_map(|held| held.seat.as_deref_mut())
    }

    /// One look at every lane, so that one that is over or has failed holds no other up. False once all are over.
    pub fn step(&mut self) -> bool {
        self.seats_mut().for_each(|seat| _ = seat.step());
        let running = self.held.iter().any(|held| !held.is_over());
        if running {
            // Who waits for a lane's stop waits for its page. The last lanes' pages go with the process, after the report.
            let over = |held: &&mut Held| held.seat.as_ref().is_some_and(|seat| seat.may_let_go());
            self.held.iter_mut().filter(over).for_each(Held::let_go);
            self.tell_failures();
        }
        running
    }

    /// Says at once which lane has failed, and which stay up: where one is left, the process does not end.
    fn tell_failures(&mut self) {
        let up: Vec<_> = self.held.iter().filter(|held| !held.is_over()).map(|held| held.name().to_owned()).collect();
        for held in self.held.iter_mut().filter(|held| !held.told) {
            let Some(error) = held.error() else { continue };
            crate::errln!("lane {} has failed; the process stays up with {}\n  {error}", held.name(), up.join(", "));
            held.told = true;
        }
    }

    /// A line for each lane that comes up halted, with the reason.
    pub fn halted(&self) -> impl Iterator<Item = String> {
        self.seats().filter_map(|seat| {
            let whys: Vec<_> = seat.halted()?.iter().map(ToString::to_string).collect();
            let why = if whys.is_empty() { "by its control page".to_owned() } else { whys.join("; ") };
            Some(format!("halt      lane {}: HALT in force {why}\n", seat.lane()))
        })
    }

    /// Says what became of a signal that is no order to end.
    pub fn signalled(&self, signal: i32, account: Option<&Account>) {
        let name = kernel_signals::name(signal);
        if !kernel_signals::asks_for_report(signal) {
            crate::errln!("{name}: nothing to do; the lanes go on");
            return;
        }
        let Some(account) = account else {
            crate::errln!("{name}: no report is written, since `run` was not asked for one (--report FILE)");
            return;
        };
        if !account.takes_many() {
            let target = account.target().display();
            crate::errln!("{name}: no report now, since {target} takes it only at the end; name a plain file for more");
            return;
        }
        match account.write_report_now(self) {
            Ok(()) => crate::errln!("{name}: the report so far is in {}", account.target().display()),
            Err(error) => crate::errln!("{name}: no report: {error}"),
        }
    }

    /// What every lane did, or has done so far.
    pub fn reports(&self) -> Vec<LaneReport> {
        let of = |held: &Held| held.seat.as_ref().map_or_else(|| held.account.clone(), |seat| seat.report());
        self.held.iter().map(of).collect()
    }

    /// The process's outcome, from its lanes and its report: where both failed the lane's error is the exit code, and
    /// the report's is printed.
    pub fn outcome_with(&self, report: Result<()>) -> Result<()> {
        let lanes = self.outcome();
        match (&lanes, report) {
            (Err(_), Err(report)) => crate::errln!("error: {report}"),
            (_, report) => report?,
        }
        lanes
    }

    /// How the process ends: a lane that failed is in its exit code, whenever that was.
    fn outcome(&self) -> Result<()> {
        let failed: Vec<_> = self.held.iter().filter(|held| held.error().is_some()).collect();
        let Some(first) = failed.first().and_then(|held| held.error()) else { return Ok(()) };
        if failed.len() == 1 {
            return Err(first.clone());
        }
        let names: Vec<_> = failed.iter().map(|held| held.name()).collect();
        let problem = format!("{}, and {} more lanes failed ({})", first.problem, failed.len() - 1, names.join(", "));
        Err(Error { problem, ..first.clone() })
    }
}
