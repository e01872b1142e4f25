//! Orders to one lane: what the mailbox asks for and what is recorded on disk.
//!
//! While a hot thread turns, it takes HALT and STOP by itself. A RESUME waits for the cold side, which puts the records of the
//! HALT aside first: where it cannot, the RESUME is refused and the HALT has never ended.

use std::sync::atomic::Ordering;

use pillion_shm::mailbox::Waiting;
use pillion_shm::{Command, Outcome, Request};

use super::{Phase, Seat};

impl Seat {
    /// While no hot thread runs, the cold side answers the mailbox.
    pub(super) fn answer(&mut self) {
        self.settle();
        let Some(request) = self.link.cnc.poll_mailbox() else { return };
        let outcome = match request.command {
            Some(Command::Stop) => {
                self.link.stop_lane.store(true, Ordering::Relaxed);
                if !matches!(self.phase, Phase::Done) {
                    // Answered when the page says STOPPED: who sees the answer sees the state.
                    return;
                }
                self.dismissed = true;
                Outcome::Done
            }
            // Also for a lane that is over: the word is for the next sidecar.
            Some(Command::Halt) => {
                self.link.cnc.set_halted(true);
                Outcome::Done
            }
            Some(Command::Resume) => match self.resume(&request) {
                Some(outcome) => outcome,
                None => return,
            },
            None => Outcome::Unknown,
        };
        self.link.cnc.answer(&request, outcome);
    }

    /// Ends a HALT and its records, while no hot thread runs. Nothing where the RESUME was withdrawn meanwhile.
    fn resume(&mut self, request: &Request) -> Option<Outcome> {
        let may = self.halts.resume();
        let taken = self.link.cnc.take(request);
        if may && taken {
            self.link.cnc.set_halted(false);
        }
        self.halts.settle(may && taken);
        taken.then_some(if may { Outcome::Done } else { Outcome::Refused })
    }

    /// A HALT that is recorded, while no hot thread runs.
    pub(super) fn obey(&mut self) {
        if self.halts.look_if_due(self.link.cnc.halted(), false) {
            self.link.cnc.set_halted(true);
        }
    }

    /// While the hot thread runs: gives it the HALTs that are recorded, and the word on a RESUME.
    pub(super) fn watch_halts(&mut self) {
        self.settle();
        let waits = self.link.cnc.poll_mailbox().filter(|request| request.command == Some(Command::Resume));
        // A HALT on its way comes first. Decided before the look: that would take a record that came after the RESUME for one
        // that it may end.
        if let Some(request) = waits.filter(|_| self.resuming.is_none() && !self.link.halt.load(Ordering::Acquire)) {
            self.resuming = Some(request.ticket);
            self.link.decide(request.ticket, self.halts.resume());
        }
        // Asked for before the look: a HALT that the hot thread has taken is on the page by then.
        let on_its_way = self.link.halt.load(Ordering::Acquire);
        if self.halts.look_if_due(self.link.cnc.halted(), on_its_way) {
            self.link.halt.store(true, Ordering::Release);
        }
    }

    /// Ends what a RESUME began, once the hot thread has answered it or has ended: the records go, or stand again.
    fn settle(&mut self) {
        let Some(ticket) = self.resuming else { return };
        let cnc = &self.link.cnc;
        // Withdrawn, it is never carried out: the records stand again even where the hot thread hangs.
        let withdrawn = cnc.poll_mailbox().is_some_and(|request| request.ticket == ticket && request.withdrawn);
        let answer = cnc.answer_to(ticket);
        if answer != Err(Waiting::Pending) || withdrawn || !matches!(self.phase, Phase::Hot(_)) {
            let done = answer == Ok(Outcome::Done);
            self.halts.settle(done && !cnc.halted());
            if done {
                self.halts.ended();
            }
            self.resuming = None;
        }
    }
}
