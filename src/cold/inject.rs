//! The injector: plays a loaded recording into a lane's tick ring at a rate.

use std::sync::atomic::{AtomicU64, Ordering};

use pillion_shm::Clock;
use pillion_shm::RingWriter;

use super::data::Feed;
use super::pace::{Due, Pace, Rate};
use crate::error::Result;

/// Ticks that may be on their way when the sidecar sets the pace: enough to hide the hop, few enough to stay in cache.
const WINDOW: u64 = 128;

/// How an injection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Records published.
    pub ticks: u64,
    /// From the first publish to the last, ns.
    pub span_ns: u64,
    /// Longest delay of a paced record behind its due time, ns.
    pub max_late_ns: u64,
    /// Paced records more than 1 ms behind their due time.
    pub late: u64,
}

/// What the injector needs from the lane it feeds.
pub trait Peer {
    /// Ticks of the injector's ring that the sidecar has consumed.
    fn consumed(&self) -> u64;

    /// Called while there is time: drains signals, looks after the sidecar. An error ends the injection. `for_room` is
    /// set while only the sidecar can end the wait.
    fn between(&mut self, for_room: bool) -> Result<()>;
}

/// Publishes every record of `feed`. Runs on the calling thread and spins.
pub fn inject(
    feed: &Feed,
    rate: Rate,
    writer: &mut RingWriter,
    clock: &Clock,
    peer: &mut impl Peer,
    progress: &AtomicU64,
) -> Result<Injected> {
    let mut pace = Pace::new(rate);
    let mut done = Injected::default();
    let window = WINDOW.min(writer.capacity() / 2);
    let mut first_ns = None;
    for record in feed {
        let due = pace.due(record, clock.now_ns());
        loop {
            let room = || writer.published() - peer.consumed().min(writer.published()) < window;
            let now = clock.now_ns();
            let ready = match due {
                Due::WithRoom => room(),
                Due::At(at) => now >= at,
            };
            if ready {
                break;
            }
            peer.between(due == Due::WithRoom)?;
        }
        let now = clock.now_ns();
        if let Due::At(at) = due {
            let late = now - at.min(now);
            done.max_late_ns = done.max_late_ns.max(late);
            done.late += u64::from(late > 1_000_000);
        }
        writer.publish_at(record, now);
        let start = *first_ns.get_or_insert(now);
        done.span_ns = now - start;
        done.ticks += 1;
        // Relaxed: only a progress bar reads it.
        progress.store(done.ticks, Ordering::Relaxed);
        if done.ticks % 64 == 0 {
            peer.between(false)?;
        }
    }
    Ok(done)
}
