//! Finding the feed's ring: the first one while a lane boots, and each restarted feed's after that.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use pillion_shm::{Clock, From, Kind, Lane, LockMemory, RingReader};

use crate::error::Result;

/// How long a ring that was there before us must look alive: whoever takes a dead ring's name over, or only looks at it,
/// holds its lock for a moment too.
const ALIVE_FOR: Duration = Duration::from_millis(20);

/// Watches the name of a lane's tick ring.
pub(crate) struct TickWatch {
    lane: Lane,
    clock: Clock,
    lock: LockMemory,
    started_ns: u64,
    /// File in use, or refused: a look for another costs one stat.
    known: Option<u64>,
    /// File that looked alive, and since when.
    candidate: Option<(u64, Instant)>,
}

impl TickWatch {
    pub(crate) fn new(lane: Lane, clock: Clock, lock: LockMemory) -> Self {
        Self { lane, clock, lock, started_ns: clock.now_ns(), known: None, candidate: None }
    }

    /// The ring of a feed that lives, or that was made since this lane started; a past run's ring is left alone. Read
    /// from its first record: what was overwritten before shows as a counted gap.
    pub(crate) fn first(&mut self) -> Result<Option<RingReader>> {
        let Some(reader) = self.other()? else { return Ok(None) };
        let file = reader.file_number();
        if reader.created_ns() < self.started_ns {
            if !reader.owner_alive() || reader.superseded() {
                self.candidate = None;
                return Ok(None);
            }
            let since = match self.candidate {
                Some((candidate, since)) if candidate == file => since,
                _ => self.candidate.insert((file, Instant::now())).1,
            };
            if since.elapsed() < ALIVE_FOR {
                return Ok(None);
            }
        }
        self.take(reader).map(Some)
    }

    /// The ring of a restarted feed, once per restart. One that cannot be used is said once and left alone: the lane
    /// stays with the ring it has.
    pub(crate) fn next(&mut self) -> Option<RingReader> {
        let found = self.other().and_then(|ring| ring.map(|ring| self.take(ring)).transpose());
        found.unwrap_or_else(|error| {
            self.known = self.file();
            crate::errln!("lane {}: a new tick ring cannot be used, the old one stays\n  {error}", self.lane.name());
            None
        })
    }

    /// The ring under the name, unless it is the known one.
    fn other(&self) -> Result<Option<RingReader>> {
        let file = self.file();
        if file.is_none() || file == self.known {
            return Ok(None);
        }
        match RingReader::attach(&self.lane, Kind::Ticks, From::Start, &self.clock) {
            Ok(reader) => Ok(Some(reader)),
            Err(pillion_shm::Error::Absent { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn take(&mut self, mut reader: RingReader) -> Result<RingReader> {
        reader.touch_and_lock(self.lock)?;
        self.known = Some(reader.file_number());
        Ok(reader)
    }

    fn file(&self) -> Option<u64> {
        std::fs::metadata(self.lane.path(Kind::Ticks)).ok().map(|m| m.ino())
    }
}
