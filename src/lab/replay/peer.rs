//! The other side of the injector's two rings.

use std::time::{Duration, Instant};

use pillion_shm::{Clock, CncClient};

use super::child::{PATIENCE, Sidecar};
use super::flood::FloodWatch;
use crate::error::{Error, Result};
use crate::lab::inject::{Peer, Slack};
use crate::lab::sent::Sent;
use crate::lab::signals::SignalTap;

/// Time between two looks at the sidecar process.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a replay feeds: the sidecar's control page, its signals, and the notes of both.
pub(super) struct ReplayPeer {
    pub cnc: CncClient,
    pub tap: SignalTap,
    pub sidecar: Sidecar,
    pub sent: Sent,
    pub flood: Option<FloodWatch>,
    generation: u64,
    checked: Instant,
    /// Ticks consumed when the injector last waited for room, and since when they have not moved.
    moved: Option<(u64, Instant)>,
}

/// What was left to do when the last tick had gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Ticks that waited.
    pub behind: u64,
    /// How long the sidecar took to serve them, ns.
    pub behind_ns: u64,
}

impl ReplayPeer {
    pub fn new(
        cnc: CncClient,
        tap: SignalTap,
        sidecar: Sidecar,
        sent: Sent,
        flood: Option<FloodWatch>,
        generation: u64,
    ) -> Self {
        Self { cnc, tap, sidecar, sent, flood, generation, checked: Instant::now(), moved: None }
    }

    /// An error when everything waits for a sidecar that has stood still for too long.
    fn must_move(&mut self, for_it: bool) -> Result<()> {
        let consumed = self.consumed();
        match self.moved.filter(|(last, _)| for_it && *last == consumed) {
            None => self.moved = for_it.then(|| (consumed, Instant::now())),
            Some((_, since)) if since.elapsed() > PATIENCE => {
                let problem = format!("stuck after {consumed} ticks for {PATIENCE:?}");
                return Err(Error::run("sidecar", problem, "look at its state with `pillion status`"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Waits until the sidecar has read every tick and every signal has been read back.
    pub fn drain_all(&mut self, published: u64, clock: &Clock) -> Result<Left> {
        let (start, behind) = (clock.now_ns(), published.saturating_sub(self.consumed()));
        let mut behind_ns = None;
        loop {
            self.between(Slack::Sidecar)?;
            if self.consumed() < published {
                continue;
            }
            let behind_ns = *behind_ns.get_or_insert_with(|| clock.now_ns().saturating_sub(start));
            if self.tap.seen() + self.tap.lost() >= self.cnc.counters().signals {
                return Ok(Left { behind, behind_ns });
            }
        }
    }
}

impl Peer for ReplayPeer {
    fn consumed(&self) -> u64 {
        self.cnc.consumed_of(self.generation)
    }

    #[inline]
    fn published(&mut self, due_ns: u64, now_ns: u64) {
        self.sent.push(due_ns, now_ns);
        if let Some(flood) = &mut self.flood {
            flood.published(due_ns > 0, || self.cnc.consumed_of(self.generation));
        }
    }

    fn between(&mut self, slack: Slack) -> Result<()> {
        self.tap.drain();
        // In time: a full block would have to be hashed at once, which takes 60 times as long as a piece.
        if slack == Slack::Time || self.tap.is_filling() {
            self.tap.hash_some();
        }
        std::hint::spin_loop();
        if self.checked.elapsed() > LOOK_EVERY {
            self.checked = Instant::now();
            self.sidecar.look()?;
            if slack != Slack::None {
                self.must_move(slack == Slack::Sidecar)?;
            }
        }
        Ok(())
    }
}
