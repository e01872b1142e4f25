//! Whether a recording stands in the order of its event times, and putting it there.
//!
//! What is ordered are events: records up to the one with F_LAST, or, where the events of several instruments overlap,
//! up to the one that ends the last of them. An event counts as of its first record's ts_event. Snapshots are state,
//! not news: their times say nothing of their place. A snapshot at the start comes right before its file's first live
//! event, a later one right behind the live event that it followed.

use pillion_shm::records::{flags, rtype};

use super::feed::Feed;
use crate::cold::pace::is_snapshot;

/// Live events that come before earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disorder {
    /// Number, from 1, of the first record whose event is earlier than the live event before it.
    pub record: u64,
    /// ts_event of the event before, ns since the epoch.
    pub before_ns: u64,
    /// ts_event of the record.
    pub after_ns: u64,
    /// How many events are earlier than the live event before them.
    pub count: u64,
}

/// Finds where live events go back in time; `None` when they never do.
pub fn check(feed: &Feed) -> Option<Disorder> {
    let mut watch = Watch::default();
    feed.iter().for_each(|record| watch.record(record));
    watch.disorder
}

/// The feed with its live events in the order of ts_event, equal times in the order of the file. Each event's records stay
/// together. A snapshot at the start stays there, one of later stays behind the live event that it followed. Holds the
/// records twice while it works.
pub fn sort(feed: Feed) -> Feed {
    let mut watch = Watch::default();
    let mut events: Vec<(u64, std::ops::Range<usize>)> = Vec::new();
    let mut at = 0;
    for record in &feed {
        let begins = watch.event_begins();
        watch.record(record);
        match events.last_mut() {
            Some((_, range)) if !begins => range.end += record.len(),
            _ => events.push((watch.live_ns.unwrap_or(0), at..at + record.len())),
        }
        at += record.len();
    }
    events.sort_by_key(|(time_ns, _)| *time_ns);
    let mut words = Vec::with_capacity(feed.words.len());
    events.into_iter().for_each(|(_, range)| words.extend_from_slice(&feed.words[range]));
    Feed { words, sorted: true, ..feed }
}

/// Follows records one by one: where events end, and how their times go.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Instruments whose event has not ended.
    open: Vec<u32>,
    records: u64,
    /// ts_event of the last live event.
    pub live_ns: Option<u64>,
    /// ts_event of the first one.
    pub first_live_ns: Option<u64>,
    pub disorder: Option<Disorder>,
    /// Whether any event has ended.
    pub ended: bool,
}

impl Watch {
    /// True when the next record begins an event.
    pub fn event_begins(&self) -> bool {
        self.open.is_empty()
    }

    pub fn record(&mut self, record: &[u64]) {
        self.records += 1;
        if self.event_begins() && !is_snapshot(record) {
            self.live(record[1]);
        }
        let [_, kind, _, _, id @ ..] = record[0].to_le_bytes();
        let id = u32::from_le_bytes(id);
        let flags = match kind {
            rtype::MBO => bytemuck::cast_slice::<u64, u8>(record)[36],
            rtype::MBP_1 | rtype::MBP_10 => bytemuck::cast_slice::<u64, u8>(record)[30],
            // Each is an event of its own, whatever it says.
            rtype::TRADE => flags::LAST,
            // Status is part of no event.
            _ => {
                self.ended = true;
                return;
            }
        };
        self.ended |= flags & flags::LAST != 0;
        let open = self.open.iter().position(|&other| other == id);
        match (flags & flags::LAST != 0, open) {
            (true, Some(at)) => {
                self.open.swap_remove(at);
            }
            (false, None) => self.open.push(id),
            _ => {}
        }
    }

    fn live(&mut self, time_ns: u64) {
        if let Some(before_ns) = self.live_ns.filter(|&before_ns| time_ns < before_ns) {
            let first = Disorder { record: self.records, before_ns, after_ns: time_ns, count: 0 };
            self.disorder.get_or_insert(first).count += 1;
        }
        self.live_ns = Some(time_ns);
        self.first_live_ns.get_or_insert(time_ns);
    }
}
