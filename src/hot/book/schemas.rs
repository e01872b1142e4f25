//! Which schema an instrument's book is built from, and which of its trades were told already.
//!
//! A feed may carry several schemas of one instrument. The first book schema seen is the book's; records of another are
//! refused. Trades come within the book's schema (action `T`), in the trades schema, or in both: whichever tells a trade
//! first counts. Both tell the same trades in the same order, so a trade is a repetition when the other one is past it,
//! or has told as many of the same sequence and time.

use std::cmp::Ordering;

use crate::hot::decode::{Body, Reject, Tick};

/// Orders, as a number of levels that no quoted book has.
const ORDERS: u8 = u8::MAX;
/// Trades further apart in time are in the order of time; nearer ones in that of their sequences, which start anew at
/// times, while times may step back.
const NEAR_NS: u64 = 60_000_000_000;
/// Sequences further apart say nothing against times that go the other way: one of them has started anew.
const FAR: u32 = 1 << 16;

/// Who tells trades.
#[derive(Clone, Copy)]
enum Teller {
    Book = 0,
    Trades = 1,
}

/// A trade's place among those of its instrument.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    ts_event: u64,
    sequence: u32,
}

/// What one of them has told: from which trade to which, and how many of the last one's place; none yet where that is 0.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    first: Place,
    last: Place,
    count: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Schemas {
    /// Levels of a record of the book's schema, or [`ORDERS`]; 0 until one was seen.
    book: u8,
    /// The trade of the tick that was just admitted has been told already.
    repeated: bool,
    told: [Told; 2],
}

impl Schemas {
    #[inline]
    pub fn admit(&mut self, tick: &Tick) -> Result<(), Reject> {
        self.repeated = false;
        let (schema, trade) = match tick.body {
            Body::Status { .. } => return Ok(()),
            Body::Quotes { levels: [], .. } => {
                return if self.tell(Teller::Trades, tick) { Err(Reject::RepeatedTrade) } else { Ok(()) };
            }
            Body::Quotes { levels, action, .. } => (levels.len() as u8, action == b'T'),
            Body::Trade { .. } => (ORDERS, true),
            _ => (ORDERS, false),
        };
        if schema != self.book {
            if self.book != 0 {
                return Err(Reject::OtherSchema);
            }
            self.book = schema;
        }
        self.repeated = trade && self.tell(Teller::Book, tick);
        Ok(())
    }

    /// Whether the trade of the tick in hand is none to count.
    #[inline]
    pub fn repeated(&self) -> bool {
        self.repeated
    }

    /// Takes a trade from one teller; true when the other one has told it.
    #[inline]
    fn tell(&mut self, teller: Teller, tick: &Tick) -> bool {
        let place = Place { ts_event: tick.ts_event, sequence: tick.sequence };
        let own = &mut self.told[teller as usize];
        own.tell(place);
        let (own, other) = (*own, self.told[1 - teller as usize]);
        if other.count == 0 || place.order(&other.first) == Ordering::Less {
            return false;
        }
        match place.order(&other.last) {
            Ordering::Greater => false,
            Ordering::Equal => own.last.order(&other.last) == Ordering::Greater || own.count <= other.count,
            Ordering::Less => true,
        }
    }
}

impl Told {
    #[inline]
    fn tell(&mut self, place: Place) {
        if self.count == 0 {
            *self = Told { first: place, last: place, count: 1 };
            return;
        }
        match place.order(&self.last) {
            Ordering::Greater => (self.last, self.count) = (place, 1),
            Ordering::Equal => self.count += 1,
            Ordering::Less => {}
        }
    }
}

impl Place {
    #[inline]
    fn order(&self, other: &Place) -> Ordering {
        let by_time = self.ts_event.cmp(&other.ts_event);
        // Sequences wrap.
        let ahead = self.sequence.wrapping_sub(other.sequence) as i32;
        let none = (self.sequence == 0) != (other.sequence == 0);
        if none {
            return by_time;
        }
        match self.ts_event.abs_diff(other.ts_event) > NEAR_NS || ahead.unsigned_abs() > FAR {
            true => by_time.then(ahead.cmp(&0)),
            false => ahead.cmp(&0).then(by_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::decode::Side;
    use pillion_shm::records::BidAskPair;
    use proptest::prelude::*;

    const LEVELS: [BidAskPair; 10] =
        [BidAskPair { bid_px: 1, ask_px: 2, bid_sz: 1, ask_sz: 1, bid_ct: 1, ask_ct: 1 }; 10];

    fn tick(ts_event: u64, sequence: u32, body: Body<'_>) -> Tick<'_> {
        Tick { instrument: 0, publisher: 1, ts_event, sequence, flags: 128, body }
    }

    fn quotes(levels: &[BidAskPair], action: u8) -> Body<'_> {
        Body::Quotes { levels, action, side: Side::Bid, price: 1, size: 1 }
    }

    #[test]
    fn the_first_book_schema_is_the_books() {
        let bodies = [
            Body::Add { side: Side::Bid, order_id: 1, price: 1, size: 1 },
            quotes(&LEVELS[..1], b'A'),
            quotes(&LEVELS, b'A'),
        ];
        for (first, own) in bodies.iter().enumerate() {
            let mut schemas = Schemas::default();
            assert_eq!(schemas.admit(&tick(1, 1, *own)), Ok(()));
            for (n, other) in bodies.iter().enumerate() {
                let expected = if n == first { Ok(()) } else { Err(Reject::OtherSchema) };
                assert_eq!(schemas.admit(&tick(2, 2, *other)), expected, "{n} after {first}");
            }
            // Neither status nor trades are of a book.
            assert_eq!(schemas.admit(&tick(3, 3, Body::Status { trading: Some(true) })), Ok(()));
            assert_eq!(schemas.admit(&tick(3, 3, quotes(&[], b'T'))), Ok(()));
        }
    }

    #[test]
    fn one_teller_repeats_nothing() {
        let mut schemas = Schemas::default();
        for (ts_event, sequence) in [(5, 1), (5, 1), (3, 1), (9, 0), (9, u32::MAX), (1, 7)] {
            assert_eq!(schemas.admit(&tick(ts_event, sequence, quotes(&[], b'T'))), Ok(()));
        }
        let mut schemas = Schemas::default();
        for (ts_event, sequence) in [(5, 1), (5, 1), (3, 1), (9, 0)] {
            assert_eq!(schemas.admit(&tick(ts_event, sequence, quotes(&LEVELS, b'T'))), Ok(()));
            assert!(!schemas.repeated());
        }
    }

    /// Trades that both tell, as (ts_event, sequence) of the book's and of the other's: how many count.
    fn counted(told: &[[(u64, u32); 2]]) -> usize {
        let mut schemas = Schemas::default();
        let mut count = 0;
        for [book, trades] in told {
            let body = Body::Trade { aggressor: Side::Bid, price: 1, size: 1 };
            assert_eq!(schemas.admit(&tick(book.0, book.1, body)), Ok(()));
            count += usize::from(!schemas.repeated());
            count += usize::from(schemas.admit(&tick(trades.0, trades.1, quotes(&[], b'T'))).is_ok());
        }
        count
    }

    #[test]
    fn sequences_that_do_not_compare_leave_it_to_times() {
        const S: u64 = 1_000_000_000;
        // One of the two has none.
        assert_eq!(counted(&[[(S, 10), (S, 0)], [(2 * S, 11), (2 * S, 0)], [(3 * S, 12), (3 * S, 0)]]), 3);
        assert_eq!(counted(&[[(S, 0), (S, 10)], [(2 * S, 0), (2 * S, 11)], [(2 * S, 0), (2 * S, 12)]]), 3);
        // They start anew.
        let far = 1_000_003;
        assert_eq!(counted(&[[(S, far); 2], [(2 * S, far + 1); 2], [(6 * S, 1); 2], [(7 * S, 2); 2]]), 4);
    }

    /// Trades of a venue: sequences go up and may wrap or start anew a day later, several trades may share one, and times
    /// may step back a little.
    fn trades() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let steps = prop::collection::vec((1u32..4, 0u64..50, 0u64..30, 1usize..4, 0..20), 1..25);
        (steps, prop::sample::select(vec![1u32, 1_000, u32::MAX - 20])).prop_map(|(steps, start)| {
            let (mut ts_event, mut sequence, mut out) = (1_000_000_000_000u64, start, Vec::new());
            for (by, ahead, back, count, new_day) in steps {
                // 0 is none.
                sequence = sequence.wrapping_add(by).max(1);
                ts_event = ts_event + ahead - back;
                if new_day == 0 {
                    (ts_event, sequence) = (ts_event + 86_400_000_000_000, by);
                }
                out.extend(std::iter::repeat_n((ts_event, sequence), count));
            }
            out
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Two tellers, each from some trade to some later one, interleaved in any way, and MBO or levels as the book: the
        /// naive count is that of the trades that anybody told.
        #[test]
        fn a_trade_counts_once(trades in trades(), cuts: [prop::sample::Index; 4], turns: Vec<bool>, orders: bool) {
            // A teller does not start or stop within a place.
            let ends: Vec<usize> =
                (0..=trades.len()).filter(|&at| at == 0 || at == trades.len() || trades[at] != trades[at - 1]).collect();
            let range = |a: &prop::sample::Index, b: &prop::sample::Index| {
                let (a, b) = (ends[a.index(ends.len())], ends[b.index(ends.len())]);
                a.min(b)..a.max(b)
            };
            let ranges = [range(&cuts[0], &cuts[1]), range(&cuts[2], &cuts[3])];
            // No hole between the two: what a teller that stopped said is not known behind its last trade.
            let mut next = ranges.clone().map(|range| range.start);
            let (mut schemas, mut counted) = (Schemas::default(), 0);
            let mut turns = turns.into_iter().cycle();
            while next[0] < ranges[0].end || next[1] < ranges[1].end {
                let mut who = usize::from(turns.next().unwrap_or(true));
                if next[who] == ranges[who].end {
                    who = 1 - who;
                }
                let (ts_event, sequence) = trades[next[who]];
                next[who] += 1;
                let book = if orders { Body::Trade { aggressor: Side::Bid, price: 1, size: 1 } } else { quotes(&LEVELS, b'T') };
                let body = if who == 0 { book } else { quotes(&[], b'T') };
                let admitted = schemas.admit(&tick(ts_event, sequence, body));
                prop_assert!(admitted.is_ok() || who == 1, "only a trades record is left out");
                counted += usize::from(admitted.is_ok() && !schemas.repeated());
            }
            let told = (0..trades.len()).filter(|at| ranges.iter().any(|range| range.contains(at))).count();
            prop_assert_eq!(counted, told);
        }
    }
}
