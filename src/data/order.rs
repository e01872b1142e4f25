//! In what order a recording's events stand, and interleaving its instruments by time.
//!
//! What is ordered are events: records up to the one with F_LAST, or, where the events of several instruments overlap,
//! up to the one that ends the last of them. An instrument is a publisher's: venues may share a number. An event that
//! never ends holds up no other: it is over once a later event of another instrument has come and gone behind its last
//! record, or 4,096 events within it, and a snapshot is over where news come.
//!
//! An instrument's events never change places, whatever their times say: a cancel stays behind its add. So an event's
//! place among those of other instruments is its instrument's *latest ts_event so far*, which never goes back, and an
//! event is never placed before a record that it holds. Snapshots are state, not news: their times say nothing of
//! their place, and no more does a time that is undefined. Such an event comes right before the next one whose time is
//! known, which is late rather than early; behind the last one of all it stays where it was captured.

use std::collections::HashMap;
use std::ops::Range;

use pillion_shm::records::{View, flags, rtype};

use super::feed::Feed;

/// An instrument as one publisher tells it: (publisher_id, instrument_id).
pub type Instrument = (u16, u32);

/// Whose record it is.
pub fn instrument(record: &[u64]) -> Instrument {
    ((record[0] >> 16) as u16, (record[0] >> 32) as u32)
}

/// Events that come behind later ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Disorder {
    /// Number, from 1, of the first record of the first such event; 0 when there is none.
    pub record: u64,
    /// Time that it comes behind, ns since the epoch.
    pub before_ns: u64,
    /// Its own time.
    pub after_ns: u64,
    /// How many such events there are.
    pub count: u64,
}

impl Disorder {
    fn note(&mut self, record: u64, before_ns: u64, after_ns: u64) {
        if self.count == 0 {
            *self = Disorder { record, before_ns, after_ns, count: 0 };
        }
        self.count += 1;
    }
}

/// How the times of a recording's live events go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// Events that come behind later ones of other instruments, by each instrument's latest ts_event so far: what
    /// [`sort`] mends.
    pub between: Disorder,
    /// Events of an earlier ts_event than their own instrument's latest: they keep their place.
    pub within: Disorder,
}

/// Looks how the times of the live events go.
pub fn check(feed: &Feed) -> Order {
    let mut watch = Watch::default();
    feed.iter().for_each(|record| {
        watch.record(record);
    });
    watch.close();
    watch.order
}

/// The feed with the events of its instruments interleaved by each instrument's latest ts_event so far, equal times in
/// the order of the file. Each event's records stay together and each instrument's events keep their order. An event of
/// unknown time, such as a snapshot, comes before the next event of its instrument. Holds the records twice while it works.
pub fn sort(feed: Feed) -> Feed {
    let mut events = events(&feed);
    place(&mut events);
    events.sort_by_key(|event| event.place_ns);
    let mut words = Vec::with_capacity(feed.words.len());
    events.into_iter().for_each(|event| words.extend_from_slice(&feed.words[event.words]));
    Feed { words, sorted: true, ..feed }
}

/// An event of a feed that is being sorted.
struct Event {
    words: Range<usize>,
    instruments: Vec<Instrument>,
    time_ns: Option<u64>,
    recv_ns: u64,
    place_ns: u64,
}

fn events(feed: &Feed) -> Vec<Event> {
    let (mut watch, mut events, mut start, mut at) = (Watch::default(), Vec::new(), 0, 0);
    let mut take = |watch: &Watch, words| {
        let (instruments, time_ns, recv_ns) = (watch.event.clone(), watch.time_ns(), watch.recv_ns);
        events.push(Event { words, instruments, time_ns, recv_ns, place_ns: 0 });
    };
    for record in feed {
        if watch.cut(record) {
            take(&watch, start..at);
            start = at;
        }
        let ended = watch.record(record);
        at += record.len();
        if ended {
            take(&watch, start..at);
            start = at;
        }
    }
    if watch.close() {
        take(&watch, start..at);
    }
    events
}

/// Gives each event its place: no earlier than its time, nor than the place of an earlier event of an instrument of its.
fn place(events: &mut [Event]) {
    let mut next: HashMap<Instrument, u64> = HashMap::new();
    for event in events.iter_mut().rev() {
        // Unknown: no later than the next event of any of its instruments, so that it holds none of them up.
        event.time_ns =
            event.time_ns.or_else(|| event.instruments.iter().filter_map(|own| next.get(own).copied()).min());
        if let Some(time_ns) = event.time_ns {
            next.extend(event.instruments.iter().map(|&own| (own, time_ns)));
        }
    }
    let mut latest: HashMap<Instrument, u64> = HashMap::new();
    for event in events {
        let before = event.instruments.iter().filter_map(|own| latest.get(own).copied()).max();
        event.place_ns = event.time_ns.unwrap_or(event.recv_ns).max(before.unwrap_or(0));
        latest.extend(event.instruments.iter().map(|&own| (own, event.place_ns)));
    }
}

/// Most events of other instruments within one event; an event with more of them never ends.
const MOST_PASSES: u32 = 4096;

/// An event that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    own: Instrument,
    /// Numbers of its first and its last record so far.
    begun: u64,
    last: u64,
    /// Latest ts_event of the event's records.
    latest_ns: u64,
    /// A later event of another instrument has come and gone since.
    passed: bool,
    /// Events of other instruments that have begun and ended since it began.
    passes: u32,
}

/// Follows records one by one: where events end, and how their times go.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Events that have not ended.
    open: Vec<Open>,
    records: u64,
    /// Of the event in hand, or of the one that has just ended: its instruments, the number of its first record, whether
    /// that is no snapshot's, the latest of its known ts_event and of its trusted ts_recv.
    event: Vec<Instrument>,
    begun: u64,
    news: bool,
    latest_ns: Option<u64>,
    recv_ns: u64,
    over: bool,
    /// Latest ts_event of each instrument's events.
    latest: HashMap<Instrument, u64>,
    /// Place of the last event whose time is known.
    placed_ns: Option<u64>,
    /// A run of events of unknown time stands before the next one, captured at this time at the latest.
    run: Option<u64>,
    /// Places of such runs, in the order of the file: each right before the next event, as far as that is known.
    pub runs_ns: Vec<u64>,
    pub order: Order,
    /// Whether any event has ended.
    pub ended: bool,
}

impl Watch {
    /// Ends the event in hand where the next record shows that it is over although no record has ended it. True where
    /// it did.
    pub fn cut(&mut self, record: &[u64]) -> bool {
        let own = instrument(record);
        let news = !self.news && !View(record).is_snapshot();
        let passed = || self.open.iter().all(|open| open.passes >= MOST_PASSES || open.passed && open.own != own);
        let cut = !self.open.is_empty() && (news || passed());
        if cut {
            self.open.clear();
            self.end();
        }
        cut
    }

    /// Takes the next record; true when an event ends with it.
    pub fn record(&mut self, record: &[u64]) -> bool {
        self.cut(record);
        self.records += 1;
        let own = instrument(record);
        if self.event.is_empty() || self.over {
            self.begin(record);
        }
        if !self.event.contains(&own) {
            self.event.push(own);
        }
        self.latest_ns = self.latest_ns.max(Some(record[1]).filter(|&ns| ns != u64::MAX));
        self.recv_ns = self.recv_ns.max(trusted_recv_ns(record));
        self.follow(record, own);
        if self.open.is_empty() {
            self.end();
        }
        self.over
    }

    /// No record follows; true when an event was open, which ends here.
    pub fn close(&mut self) -> bool {
        let cut = !self.event.is_empty() && !self.over;
        if cut {
            self.end();
        }
        if let Some(recv_ns) = self.run.take() {
            self.runs_ns.push(recv_ns.max(self.placed_ns.unwrap_or(0)));
        }
        cut
    }

    /// Where the event that has just ended belongs; `None` when its time is not known, so that it belongs before the
    /// next event.
    pub fn place_ns(&self) -> Option<u64> {
        self.time_ns().and(self.placed_ns)
    }

    fn time_ns(&self) -> Option<u64> {
        self.latest_ns.filter(|_| self.news)
    }

    fn begin(&mut self, record: &[u64]) {
        self.event.clear();
        (self.begun, self.news, self.latest_ns, self.recv_ns) = (self.records, !View(record).is_snapshot(), None, 0);
        self.over = false;
    }

    /// Which instruments' events are open behind this record.
    fn follow(&mut self, record: &[u64], own: Instrument) {
        let Some(flags) = flags_of(record) else {
            // Status is part of no event.
            self.ended = true;
            return;
        };
        let (number, time_ns) = (self.records, Some(record[1]).filter(|&ns| ns != u64::MAX).unwrap_or(0));
        let known = self.open.iter().position(|open| open.own == own);
        let new = Open { own, begun: number, last: number, latest_ns: time_ns, passed: false, passes: 0 };
        let mut event = known.map_or(new, |at| self.open.swap_remove(at));
        (event.last, event.latest_ns, event.passed) = (number, event.latest_ns.max(time_ns), false);
        if flags & flags::LAST == 0 {
            self.open.push(event);
            return;
        }
        self.ended = true;
        for open in &mut self.open {
            open.passed |= event.begun > open.last && event.latest_ns > open.latest_ns;
            open.passes += u32::from(event.begun > open.begun);
        }
    }

    fn end(&mut self) {
        self.over = true;
        let before = self.event.iter().filter_map(|own| self.latest.get(own).copied()).max();
        let Some(time_ns) = self.time_ns() else {
            // What its instruments' later events may not overtake is the same for all of them from here.
            before.into_iter().for_each(|before| self.reach(before));
            self.run = self.run.max(Some(self.recv_ns));
            return;
        };
        let place_ns = before.map_or(time_ns, |before| before.max(time_ns));
        if time_ns < place_ns {
            self.order.within.note(self.begun, place_ns, time_ns);
        }
        if let Some(placed_ns) = self.placed_ns.filter(|&placed| place_ns < placed) {
            self.order.between.note(self.begun, placed_ns, place_ns);
        }
        self.reach(place_ns);
        self.placed_ns = Some(place_ns);
        if self.run.take().is_some() {
            self.runs_ns.push(place_ns);
        }
    }

    fn reach(&mut self, place_ns: u64) {
        self.latest.extend(self.event.iter().map(|&own| (own, place_ns)));
    }
}

/// Flags of a record that belongs to an event; `None` for status.
fn flags_of(record: &[u64]) -> Option<u8> {
    let view = View(record);
    // A trade is an event of its own, whatever it says.
    let last = if view.header().rtype == rtype::TRADE { flags::LAST } else { 0 };
    view.flags().map(|flags| flags | last)
}

/// Capture time as a record says it, 0 where it says none.
pub(super) fn recv_ns(record: &[u64]) -> u64 {
    let recv_ns = match record[0].to_le_bytes()[1] {
        rtype::MBO => record[5],
        rtype::MBP_1 | rtype::MBP_10 | rtype::TRADE => record[4],
        _ => record[2],
    };
    if recv_ns == u64::MAX { 0 } else { recv_ns }
}

/// Capture time of a record that says one and does not call it bad, else 0.
pub(super) fn trusted_recv_ns(record: &[u64]) -> u64 {
    let bad = flags_of(record).is_some_and(|flags| flags & flags::BAD_TS_RECV != 0);
    if bad { 0 } else { recv_ns(record) }
}
