//! The injector: plays a loaded recording into a lane's tick ring at a rate.

use std::sync::atomic::{AtomicU64, Ordering};

use pillion_shm::Clock;
use pillion_shm::RingWriter;

use super::pace::{Due, Pace, Rate};
use crate::data::Feed;
use crate::error::{Error, Result};

/// Ticks that may be on their way when the sidecar sets the pace: enough to hide the hop, few enough to stay in cache.
const WINDOW: u64 = 128;

/// A paced tick that leaves later than this after it was due counts as late, ns.
const LATE_NS: u64 = 1_000_000;

/// What to play, and how.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The recording.
    pub feed: &'a Feed,
    /// Load model.
    pub rate: Rate,
    /// Seed of `poisson`'s arrivals.
    pub seed: u64,
    /// The play starts with the first live tick of this time of the recording or later, ns since the epoch; what comes
    /// before goes ahead of it as there is room.
    pub from_ns: u64,
    /// Ends the play this long after the first live tick, ns; `u64::MAX`: at the recording's end.
    pub for_ns: u64,
}

/// How an injection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Records published.
    pub ticks: u64,
    /// Those that had a due time.
    pub paced: u64,
    /// From the first publish to the last, ns.
    pub span_ns: u64,
    /// From the first paced record's due time to the last one's, ns.
    pub due_span_ns: u64,
    /// From the first paced record's publish to the last one's, ns.
    pub paced_span_ns: u64,
    /// Longest delay of a paced record behind its due time, ns.
    pub max_late_ns: u64,
    /// Paced records more than 1 ms behind their due time.
    pub late: u64,
}

/// What the injector needs from the lane it feeds.
pub trait Peer {
    /// Ticks of the injector's ring that the sidecar has consumed.
    fn consumed(&self) -> u64;

    /// A record has been published at `now_ns`; it was due at `due_ns`, which is `now_ns` where its rate has no due times,
    /// and 0 where it was sent ahead of the play.
    fn published(&mut self, due_ns: u64, now_ns: u64) {
        let _ = (due_ns, now_ns);
    }

    /// Called while there is time: drains signals, looks after the sidecar. An error ends the injection. `slack` says what
    /// may be done meanwhile.
    fn between(&mut self, slack: Slack) -> Result<()>;
}

/// What the injector waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slack {
    /// Nothing: the next tick is due, or nearly.
    None,
    /// The next tick's time, which is far enough off for some work of 10 us.
    Time,
    /// The sidecar: only it can end the wait.
    Sidecar,
}

/// A wait longer than this leaves time for other work, ns.
const SLACK_NS: u64 = 30_000;

/// Publishes every record of the load. Runs on the calling thread and spins.
pub fn inject(
    load: Load<'_>,
    writer: &mut RingWriter,
    clock: &Clock,
    peer: &mut impl Peer,
    progress: &AtomicU64,
) -> Result<Injected> {
    let mut pace = Pace::new(load.rate, load.seed, load.from_ns);
    let mut tally = Tally::default();
    let mut end_ns = u64::MAX;
    for record in load.feed {
        let now = clock.now_ns();
        let due = pace.due(record, now);
        if !matches!(due, Due::Ahead | Due::Along) {
            end_ns = end_ns.min(now.saturating_add(load.for_ns));
        }
        // What was due in time is sent however late it got: to leave it out would leave the lateness out.
        let over = match due {
            Due::At(at) => at > end_ns,
            Due::Ahead => false,
            _ => now > end_ns,
        };
        if over {
            break;
        }
        let now = wait(due, writer, clock, peer)?;
        if writer.publish_at(record, now).is_none() {
            let problem = format!("a record of {} bytes in a ring for {}", 8 * record.len(), 8 * writer.record_words());
            return Err(Error::run("feed", problem, "report this as a bug: the ring is made for the longest record"));
        }
        tally.count(due, now);
        peer.published(due.time(now), now);
        // Relaxed: only a progress bar reads it.
        progress.store(tally.done.ticks, Ordering::Relaxed);
        if tally.done.ticks.is_multiple_of(64) {
            peer.between(Slack::None)?;
        }
    }
    Ok(tally.done)
}

/// Waits until a record may go, and returns the time.
fn wait(due: Due, writer: &RingWriter, clock: &Clock, peer: &mut impl Peer) -> Result<u64> {
    let window = WINDOW.min(writer.capacity() / 2);
    loop {
        let under_way = || writer.published() - peer.consumed().min(writer.published());
        let now = clock.now_ns();
        let (ready, slack) = match due {
            Due::Now | Due::Along => return Ok(now),
            Due::Ahead | Due::WithRoom => (under_way() < window, Slack::Sidecar),
            Due::Alone => (under_way() == 0, Slack::Sidecar),
            Due::At(at) => (now >= at, if at.saturating_sub(now) > SLACK_NS { Slack::Time } else { Slack::None }),
        };
        if ready {
            // The last signals of a tick served alone were there before the sidecar said that it was.
            if due == Due::Alone {
                peer.between(Slack::None)?;
                return Ok(clock.now_ns());
            }
            return Ok(now);
        }
        peer.between(slack)?;
    }
}

impl Due {
    /// When a record published at `now_ns` was due; 0 ahead of the play.
    fn time(self, now_ns: u64) -> u64 {
        match self {
            Self::Ahead | Self::Along => 0,
            Self::At(at) => at,
            Self::WithRoom | Self::Now | Self::Alone => now_ns,
        }
    }
}

/// Counts as it goes.
#[derive(Default)]
struct Tally {
    done: Injected,
    first_ns: Option<u64>,
    /// Due time and publish of the first paced record.
    first_paced: Option<(u64, u64)>,
}

impl Tally {
    fn count(&mut self, due: Due, now_ns: u64) {
        let done = &mut self.done;
        done.ticks += 1;
        done.span_ns = now_ns - *self.first_ns.get_or_insert(now_ns);
        if let Due::At(at) = due {
            let (first_due, first_sent) = *self.first_paced.get_or_insert((at, now_ns));
            let late = now_ns - at.min(now_ns);
            done.paced += 1;
            done.due_span_ns = at - first_due;
            done.paced_span_ns = now_ns - first_sent;
            done.max_late_ns = done.max_late_ns.max(late);
            done.late += u64::from(late > LATE_NS);
        }
    }
}
