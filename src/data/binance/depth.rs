//! The book of one symbol: levels from a snapshot and the diffs after it, under the best quotes of a faster stream.

use std::collections::{BTreeMap, VecDeque};

use pillion_shm::records::{BidAskPair, UNDEF_PRICE};

use super::line::Diff;

/// Levels per side of a record.
pub(super) const LEVELS: usize = 10;
/// Latest diffs, kept for a snapshot, which is taken while they come in. At the fastest rate, 40 s of them.
const WAITING: usize = 4096;
/// Diffs kept beside a book without a gap: so far a snapshot may lag behind.
const LAG: usize = 256;

/// Levels per side: price → size in units.
#[derive(Default)]
struct Sides {
    bids: BTreeMap<i64, u32>,
    asks: BTreeMap<i64, u32>,
}

/// Levels of a diff or snapshot, sizes in units; 0 takes the level off.
pub(super) struct Update {
    /// Its numbers; `bids` and `asks` of it are not read.
    pub diff: Diff,
    pub bids: Vec<(i64, u32)>,
    pub asks: Vec<(i64, u32)>,
}

/// What a diff or snapshot did to the book's standing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The levels are taken over.
    Taken,
    /// Diffs are missing before this one: the book begins anew with it, whole where a snapshot was waiting for it.
    Broken,
    /// Older than the book, or of no use to it.
    Unused,
}

/// Number of the update, best bid and best ask of the last ticker.
type Ticker = (u64, (i64, u32), (i64, u32));

/// Worst prices down to which the levels of bids and asks are known; `None`: to the last one.
///
/// A snapshot has no more levels than were asked for, and does not say how many those were. Behind its worst price there
/// may be levels that no diff tells of until they change. The side with fewer levels than the other is all there is.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    bid: Option<i64>,
    ask: Option<i64>,
}

impl Edge {
    fn of(snapshot: &Update) -> Edge {
        let (bids, asks) = (&snapshot.bids, &snapshot.asks);
        let bid = bids.iter().map(|level| level.0).min().filter(|_| bids.len() >= asks.len());
        let ask = asks.iter().map(|level| level.0).max().filter(|_| asks.len() >= bids.len());
        Edge { bid, ask }
    }

    /// True when every one of the best levels lies within the snapshot's edge.
    fn holds(self, top: &[BidAskPair; LEVELS]) -> bool {
        let worst = &top[LEVELS - 1];
        self.bid.is_none_or(|edge| worst.bid_px != UNDEF_PRICE && worst.bid_px >= edge)
            && self.ask.is_none_or(|edge| worst.ask_px <= edge)
    }
}

#[derive(Default)]
pub(super) struct Depth {
    sides: Sides,
    /// Last update that the levels include.
    last: Option<u64>,
    /// No update is missing since the snapshot.
    linked: bool,
    edge: Edge,
    /// The latest diffs that the levels include.
    waiting: VecDeque<Update>,
    /// A snapshot ahead of a whole book: after a reconnect it may come before the first new diff, which breaks the
    /// book.
    spare: Option<Update>,
    ticker: Option<Ticker>,
}

impl Depth {
    /// A book; one that no diffs will come for is whole as the best quotes alone.
    pub fn new(whole: bool) -> Self {
        Self { linked: whole, ..Self::default() }
    }

    /// True while the best levels are known to be the best.
    pub fn whole(&self) -> bool {
        self.linked && self.edge.holds(&self.top())
    }

    /// Takes the next diff. One that overlaps what is known, as after a reconnect or of a second stream, adds what is new:
    /// its levels are as of its last update, whenever they changed. Nothing is missing unless it begins behind the update
    /// that follows the last one known.
    pub fn diff(&mut self, update: Update) -> Outcome {
        let diff = &update.diff;
        let fits = match self.last {
            None => true,
            Some(last) if diff.last <= last => return Outcome::Unused,
            Some(last) => before(diff) <= last,
        };
        if !fits {
            self.sides = Sides::default();
            self.ticker = None;
            self.waiting.clear();
            self.linked = false;
        }
        self.last = Some(diff.last);
        self.sides.take(&update);
        let most = if self.linked { LAG } else { WAITING };
        while self.waiting.len() >= most {
            self.waiting.pop_front();
        }
        self.waiting.push_back(update);
        if !fits && let Some(spare) = self.spare.take() {
            self.snapshot(spare);
        }
        if fits { Outcome::Taken } else { Outcome::Broken }
    }

    /// Takes a snapshot that includes every update up to `last`: the diffs after it are put on top of it.
    pub fn snapshot(&mut self, update: Update) -> Outcome {
        let (last, whole) = (update.diff.last, self.whole());
        if whole && self.last.is_some_and(|have| last > have) {
            self.spare = Some(update);
            return Outcome::Unused;
        }
        let newer = self.waiting.partition_point(|waiting| waiting.diff.last <= last);
        let bridged = match self.waiting.get(newer) {
            Some(waiting) => before(&waiting.diff) <= last,
            None => self.last.is_none_or(|have| have <= last),
        };
        if whole || !bridged {
            return Outcome::Unused;
        }
        self.waiting.drain(..newer);
        self.edge = Edge::of(&update);
        self.sides = Sides::default();
        self.sides.take(&update);
        self.last = Some(last);
        for waiting in &self.waiting {
            self.sides.take(waiting);
            self.last = Some(waiting.diff.last);
        }
        self.linked = true;
        Outcome::Taken
    }

    /// Takes a message that is the whole book by itself, of a symbol that no diffs come for.
    pub fn replace(&mut self, update: Update) -> Outcome {
        if self.last.is_some_and(|last| update.diff.last <= last) {
            return Outcome::Unused;
        }
        self.sides = Sides::default();
        self.sides.take(&update);
        self.last = Some(update.diff.last);
        self.linked = true;
        Outcome::Taken
    }

    /// Takes the best quotes as they were after update number `update`.
    pub fn ticker(&mut self, update: u64, bid: (i64, u32), ask: (i64, u32)) -> Outcome {
        if self.ticker.is_some_and(|(last, ..)| update <= last) {
            return Outcome::Unused;
        }
        self.ticker = Some((update, bid, ask));
        Outcome::Taken
    }

    /// The best levels now. A ticker that is ahead of the diffs says what the best quotes are, and that nothing is left beyond
    /// them; below them the levels are as of the last diff.
    pub fn top(&self) -> [BidAskPair; LEVELS] {
        let nothing =
            BidAskPair { bid_px: UNDEF_PRICE, ask_px: UNDEF_PRICE, bid_sz: 0, ask_sz: 0, bid_ct: 0, ask_ct: 0 };
        let mut top = [nothing; LEVELS];
        let ahead = self.ticker.filter(|&(update, ..)| self.last.is_none_or(|last| update > last));
        let best = |quote: Option<(i64, u32)>| quote.filter(|&(_, size)| size > 0);
        let (bid, ask) = (best(ahead.map(|(_, bid, _)| bid)), best(ahead.map(|(.., ask)| ask)));
        let bids = self.sides.bids.iter().rev().map(|(&price, &size)| (price, size));
        let bids = bid.into_iter().chain(bids.filter(|&(price, _)| bid.is_none_or(|(best, _)| price < best)));
        let asks = self.sides.asks.iter().map(|(&price, &size)| (price, size));
        let asks = ask.into_iter().chain(asks.filter(|&(price, _)| ask.is_none_or(|(best, _)| price > best)));
        top.iter_mut().zip(bids).for_each(|(level, bid)| (level.bid_px, level.bid_sz) = bid);
        top.iter_mut().zip(asks).for_each(|(level, ask)| (level.ask_px, level.ask_sz) = ask);
        top
    }
}

/// Last update that a diff needs to be known before it: the one of the diff before, where it says so (futures), else the
/// one before its first.
fn before(diff: &Diff) -> u64 {
    diff.previous.unwrap_or(diff.first.saturating_sub(1))
}

impl Sides {
    fn take(&mut self, update: &Update) {
        for (levels, side) in [(&update.bids, &mut self.bids), (&update.asks, &mut self.asks)] {
            for &(price, size) in levels {
                match size {
                    0 => side.remove(&price),
                    _ => side.insert(price, size),
                };
            }
        }
    }
}
