//! The loop of a hot thread: one turn, account for it, and when it is due one bounded housekeeping event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crossbeam::atomic::AtomicCell;
use pillion_shm::RingReader;
use pillion_shm::{CncOwner, Command, Outcome, State};

use crate::hot::tail::Own;
use crate::hot::{Lane, StageSet, Turn};

/// Time between housekeeping events, ns: four kinds take turns, so each comes round every 200 µs.
const HOUSEKEEPING_NS: u64 = 50_000;

/// The consumed count is published at the latest after this many ticks; a paced feed waits on it.
const CONSUMED_EVERY: u64 = 32;

/// A hand-over slot of one: one atomic exchange each way, so that neither side ever waits for the other.
pub type Slot<T> = AtomicCell<Option<Box<T>>>;

// A slot with a lock inside would let a preempted cold thread stop the hot one.
const _: () = assert!(Slot::<StageSet>::is_lock_free() && Slot::<RingReader>::is_lock_free());

/// What the hot and the cold side of a lane share: hand-over slots and shared-memory cells, nothing that blocks.
pub struct Link {
    /// The lane's control page.
    pub cnc: CncOwner,
    /// Ends every lane of the process.
    pub stop: Arc<AtomicBool>,
    /// Ends this lane.
    pub stop_lane: AtomicBool,
    /// Cold to hot: halt, since a HALT is recorded. The hot thread takes it away when it is done.
    pub halt: AtomicBool,
    /// Cold to hot: what becomes of a RESUME in the mailbox, [`Link::decide`].
    verdict: AtomicU64,
    /// Empty histograms, cold to hot. Besides the set in use one circulates: here, in `full` or in the cold side's hands.
    pub empty: Slot<StageSet>,
    /// Filled histograms, hot to cold.
    pub full: Slot<StageSet>,
    /// Reader of a restarted feed's ring, cold to hot: mapped, touched and locked. The cold side puts the next one here
    /// only once it has the old one back.
    pub next_ticks: Slot<RingReader>,
    /// Reader of the replaced ring, hot to cold, to be unmapped.
    pub old_ticks: Slot<RingReader>,
    /// ns of the hot thread's time by [`Regime`].
    pub regimes: [AtomicU64; 4],
    /// [`crate::hot::Counts::longest_open`].
    pub longest_open: AtomicU64,
    /// The kernel's number of the hot thread, told before it turns; 0 until then.
    pub tid: AtomicU32,
    /// Levels of a side that the feed shows, where they are fewer than the feature set looks at; `u64::MAX` else.
    pub shown: AtomicU64,
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
    /// What models did ahead of their next row, while the ring was empty.
    Preparing,
}

impl Link {
    /// Whether the lane is to end, by itself or with its process.
    #[inline]
    pub fn stopping(&self) -> bool {
        // Relaxed: the flags carry no data; a turn sooner or later is the same.
        self.stop.load(Ordering::Relaxed) | self.stop_lane.load(Ordering::Relaxed)
    }

    /// The cold side's word on the RESUME of `ticket`: it is carried out if `may`, else refused.
    pub fn decide(&self, ticket: u64, may: bool) {
        // Release: the hot thread that resumes does so after the records are gone.
        self.verdict.store(ticket << 1 | u64::from(may), Ordering::Release);
    }

    fn verdict(&self, ticket: u64) -> Option<bool> {
        let word = self.verdict.load(Ordering::Acquire);
        (word >> 1 == ticket).then_some(word & 1 == 1)
    }

    /// A link with one hand-over slot each way.
    pub fn new(cnc: CncOwner, stop: Arc<AtomicBool>) -> Self {
        Self {
            cnc,
            stop,
            stop_lane: AtomicBool::new(false),
            halt: AtomicBool::new(false),
            verdict: AtomicU64::new(0),
            empty: Slot::default(),
            full: Slot::default(),
            next_ticks: Slot::default(),
            old_ticks: Slot::default(),
            regimes: [const { AtomicU64::new(0) }; 4],
            longest_open: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            shown: AtomicU64::new(u64::MAX),
        }
    }
}

/// Turns the lane until it is told to stop. The caller has set the thread up: pinned, memory locked, models warm.
pub fn run(lane: &mut Lane, link: &Link) {
    let clock = lane.clock();
    let period_raw = clock.raw_span(HOUSEKEEPING_NS);
    let mut loop_ = Loop { step: 0, stop: false, consumed: 0, regimes_raw: [0; 4] };
    lane.start();
    lane.set_halted(link.cnc.halted());
    link.cnc.set_state(if lane.halted() { State::Halt } else { State::Run });
    tell_ring(lane, link);
    let mut now = clock.raw();
    let mut due = now;
    // A turn is charged up to where the next begins, so its regime is known one round later.
    let mut regime = Regime::Idle;
    while !loop_.stop {
        let turn = lane.turn();
        let then = now;
        now = match turn {
            Turn::Idle => {
                std::hint::spin_loop();
                clock.raw()
            }
            Turn::Prepared => clock.raw(),
            Turn::Worked => lane.turn_started_raw().max(then),
        };
        loop_.regimes_raw[regime as usize] += now - then;
        match turn {
            Turn::Idle => lane.alive(now),
            Turn::Prepared => lane.own(Own::Prepared, then, now),
            Turn::Worked => {}
        }
        regime = match turn {
            Turn::Idle => Regime::Idle,
            Turn::Worked => Regime::Working,
            Turn::Prepared => Regime::Preparing,
        };
        loop_.tell_consumed(lane, link, turn);
        if now >= due {
            let begun = clock.raw();
            loop_.regimes_raw[regime as usize] += begun - now;
            let what = loop_.housekeeping(lane, link, turn);
            now = clock.raw();
            lane.own(what, begun, now);
            loop_.regimes_raw[Regime::Housekeeping as usize] += now - begun;
            regime = Regime::Idle;
            due = now + period_raw;
        }
    }
    loop_.publish_counts(lane, link);
}

/// State of the loop between turns.
struct Loop {
    step: u8,
    stop: bool,
    consumed: u64,
    regimes_raw: [u64; 4],
}

impl Loop {
    #[inline]
    fn tell_consumed(&mut self, lane: &Lane, link: &Link, turn: Turn) {
        let ticks = lane.counts().ticks;
        if ticks != self.consumed && (turn != Turn::Worked || ticks - self.consumed >= CONSUMED_EVERY) {
            self.consumed = ticks;
            link.cnc.set_ticks_consumed(ticks.wrapping_add(lane.counts().lost));
        }
    }

    /// One event, the four kinds in turn: counts, mailbox, histograms, ring hand-over.
    #[cold]
    fn housekeeping(&mut self, lane: &mut Lane, link: &Link, turn: Turn) -> Own {
        self.step = (self.step + 1) % 4;
        match self.step {
            0 => {
                self.publish_counts(lane, link);
                Own::Counts
            }
            1 => {
                self.mailbox(lane, link);
                Own::Mailbox
            }
            2 => {
                hand_histograms(lane, link);
                Own::Histograms
            }
            _ => {
                hand_ticks(lane, link, turn);
                Own::Ring
            }
        }
    }

    fn publish_counts(&mut self, lane: &mut Lane, link: &Link) {
        lane.tally();
        let (counts, clock, cnc) = (lane.counts(), lane.clock(), &link.cnc);
        cnc.set_ticks_consumed(counts.ticks.wrapping_add(counts.lost));
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
        // Relaxed, here and below: statistics, read on their own.
        link.longest_open.store(counts.longest_open, Ordering::Relaxed);
        if counts.shallow > 0 {
            link.shown.store(counts.shown, Ordering::Relaxed);
        }
        for (cell, raw) in link.regimes.iter().zip(self.regimes_raw) {
            cell.store(clock.span_ns(0, raw), Ordering::Relaxed);
        }
    }

    fn mailbox(&mut self, lane: &mut Lane, link: &Link) {
        self.stop |= link.stopping();
        let recorded = link.halt.load(Ordering::Acquire);
        if recorded {
            lane.set_halted(true);
            link.cnc.set_state(State::Halt);
            // Release: the cold side that finds it taken away finds the page halted.
            link.halt.store(false, Ordering::Release);
        }
        let Some(request) = link.cnc.poll_mailbox() else { return };
        match request.command {
            Some(Command::Halt) => {
                lane.set_halted(true);
                link.cnc.set_state(State::Halt);
            }
            Some(Command::Resume) => {
                // The cold side has its record put away first, or refuses.
                let Some(may) = link.verdict(request.ticket) else { return };
                if !link.cnc.take(&request) {
                    return;
                }
                // A HALT that came after its word stands.
                if recorded || !may {
                    return link.cnc.answer(&request, Outcome::Refused);
                }
                lane.set_halted(false);
                link.cnc.set_state(State::Run);
            }
            Some(Command::Stop) => {
                // Relaxed: it carries no data. The other lanes of the process go on. The cold side answers when the page says
                // STOPPED: who sees the answer sees the state.
                link.stop_lane.store(true, Ordering::Relaxed);
                self.stop = true;
                return;
            }
            None => return link.cnc.answer(&request, Outcome::Unknown),
        }
        link.cnc.answer(&request, Outcome::Done);
    }
}

fn hand_histograms(lane: &mut Lane, link: &Link) {
    if let Some(empty) = link.empty.take() {
        link.full.store(Some(lane.swap_stages(empty)));
    }
}

/// Takes a restarted feed's ring once the old one is drained; else looks whether the one that gives nothing is sound.
fn hand_ticks(lane: &mut Lane, link: &Link, turn: Turn) {
    if turn == Turn::Worked {
        return;
    }
    if let Some(mut reader) = link.next_ticks.take() {
        // The feed's last record may have come after the turn that found none: it died before its successor could be here.
        if lane.has_tick() {
            link.next_ticks.store(Some(reader));
            return;
        }
        lane.switch_ticks(&mut reader);
        tell_ring(lane, link);
        link.old_ticks.store(Some(reader));
    } else {
        lane.check_ticks();
    }
}

/// Says on the control page which ring is read from here on.
fn tell_ring(lane: &Lane, link: &Link) {
    let counts = lane.counts();
    link.cnc.set_ticks_ring(lane.ticks_generation(), counts.ticks.wrapping_add(counts.lost));
}
