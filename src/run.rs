//! The loop of a hot thread: one turn, account for it, and when it is due one bounded housekeeping event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use pillion_shm::RingReader;
use pillion_shm::{CncOwner, Command, Outcome, State};

use crate::hot::{Lane, StageSet, Turn};

/// Time between housekeeping events, ns: four kinds take turns, so each comes round every 200 µs.
const HOUSEKEEPING_NS: u64 = 50_000;

/// The consumed count is published at the latest after this many ticks; a paced feed waits on it.
const CONSUMED_EVERY: u64 = 32;

/// What the hot and the cold side of a lane share: hand-over slots and shared-memory cells, nothing that blocks.
pub struct Link {
    /// The lane's control page.
    pub cnc: CncOwner,
    /// Ends every lane of the process.
    pub stop: Arc<AtomicBool>,
    /// Empty histograms, cold to hot.
    pub empty: ArrayQueue<Box<StageSet>>,
    /// Filled histograms, hot to cold.
    pub full: ArrayQueue<Box<StageSet>>,
    /// Reader of a restarted feed's ring, cold to hot: mapped, touched and locked.
    pub next_ticks: ArrayQueue<RingReader>,
    /// Reader of the replaced ring, hot to cold, to be unmapped.
    pub old_ticks: ArrayQueue<RingReader>,
    /// ns of the hot thread's time by [`Regime`].
    pub regimes: [AtomicU64; 3],
}

/// What the hot thread's time went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// The ring was empty.
    Idle,
    /// Turns that did something.
    Working,
    /// Housekeeping.
    Housekeeping,
}

impl Link {
    /// A link with one hand-over slot each way.
    pub fn new(cnc: CncOwner, stop: Arc<AtomicBool>) -> Self {
        Self {
            cnc,
            stop,
            empty: ArrayQueue::new(1),
            full: ArrayQueue::new(1),
            next_ticks: ArrayQueue::new(1),
            old_ticks: ArrayQueue::new(1),
            regimes: [const { AtomicU64::new(0) }; 3],
        }
    }
}

/// Turns the lane until it is told to stop. The caller has set the thread up: pinned, memory locked, models warm.
pub fn run(lane: &mut Lane, link: &Link) {
    let clock = lane.clock();
    let period_raw = raw_period(lane);
    let mut loop_ = Loop { step: 0, stop: false, consumed: 0, regimes_raw: [0; 3] };
    lane.set_halted(link.cnc.halted());
    link.cnc.set_state(if lane.halted() { State::Halt } else { State::Run });
    let mut now = clock.raw();
    let mut due = now;
    while !loop_.stop {
        let turn = lane.turn();
        let then = now;
        let regime = match turn {
            Turn::Idle => {
                std::hint::spin_loop();
                now = clock.raw();
                Regime::Idle
            }
            Turn::Worked => {
                now = lane.turn_started_raw().max(then);
                Regime::Working
            }
        };
        loop_.regimes_raw[regime as usize] += now - then;
        loop_.tell_consumed(lane, link, turn);
        if now >= due {
            let begun = clock.raw();
            loop_.housekeeping(lane, link, turn);
            now = clock.raw();
            loop_.regimes_raw[Regime::Housekeeping as usize] += now - begun;
            due = now + period_raw;
        }
    }
    loop_.publish_counts(lane, link);
}

fn raw_period(lane: &Lane) -> u64 {
    let clock = lane.clock();
    let per_ms = clock.span_ns(0, 1_000_000).max(1);
    u64::try_from(u128::from(HOUSEKEEPING_NS) * 1_000_000 / u128::from(per_ms)).unwrap_or(u64::MAX)
}

/// State of the loop between turns.
struct Loop {
    step: u8,
    stop: bool,
    consumed: u64,
    regimes_raw: [u64; 3],
}

impl Loop {
    #[inline]
    fn tell_consumed(&mut self, lane: &Lane, link: &Link, turn: Turn) {
        let ticks = lane.counts().ticks;
        if ticks != self.consumed && (turn == Turn::Idle || ticks - self.consumed >= CONSUMED_EVERY) {
            self.consumed = ticks;
            link.cnc.set_ticks_consumed(ticks + lane.counts().lost);
        }
    }

    /// One event, the four kinds in turn: counts, mailbox, histograms, ring hand-over.
    #[cold]
    fn housekeeping(&mut self, lane: &mut Lane, link: &Link, turn: Turn) {
        self.step = (self.step + 1) % 4;
        match self.step {
            0 => self.publish_counts(lane, link),
            1 => self.mailbox(lane, link),
            2 => hand_histograms(lane, link),
            _ => hand_ticks(lane, link, turn),
        }
    }

    fn publish_counts(&mut self, lane: &Lane, link: &Link) {
        let (counts, clock, cnc) = (lane.counts(), lane.clock(), &link.cnc);
        cnc.set_ticks_consumed(counts.ticks + counts.lost);
        cnc.set_counters(&pillion_shm::Counters {
            events: counts.events,
            signals: counts.signals,
            gaps: counts.gaps,
            lost: counts.lost,
            rejects: counts.rejected(),
            conflated: counts.conflated,
            invalid: counts.invalid,
            generation_changes: counts.generation_changes,
        });
        cnc.beat(clock.now_ns());
        for (cell, raw) in link.regimes.iter().zip(self.regimes_raw) {
            // Relaxed: statistics, read on their own.
            cell.store(clock.span_ns(0, raw), Ordering::Relaxed);
        }
    }

    fn mailbox(&mut self, lane: &mut Lane, link: &Link) {
        // Relaxed: the flag carries no data; a turn sooner or later is the same.
        self.stop |= link.stop.load(Ordering::Relaxed);
        let Some(request) = link.cnc.poll_mailbox() else { return };
        match request.command {
            Some(Command::Halt) => {
                lane.set_halted(true);
                link.cnc.set_state(State::Halt);
            }
            Some(Command::Resume) => {
                lane.set_halted(false);
                link.cnc.set_state(State::Run);
            }
            Some(Command::Stop) => {
                // Relaxed: see above.
                link.stop.store(true, Ordering::Relaxed);
                self.stop = true;
            }
            None => return link.cnc.answer(&request, Outcome::Unknown),
        }
        link.cnc.answer(&request, Outcome::Done);
    }
}

fn hand_histograms(lane: &mut Lane, link: &Link) {
    if let Some(empty) = link.empty.pop() {
        // One set circulates besides the one in use, so the slot is free; were it not, the set comes back later.
        if let Err(full) = link.full.push(lane.swap_stages(empty)) {
            drop(link.empty.push(lane.swap_stages(full)));
        }
    }
}

/// Takes a restarted feed's ring once the old one is drained.
fn hand_ticks(lane: &mut Lane, link: &Link, turn: Turn) {
    if turn == Turn::Idle
        && link.old_ticks.is_empty()
        && let Some(reader) = link.next_ticks.pop()
    {
        drop(link.old_ticks.push(lane.switch_ticks(reader)));
    }
}
