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

/// Who tells trades.
#[derive(Clone, Copy)]
enum Teller {
    Book = 0,
    Trades = 1,
}

/// How far one of them is: the last trade told, and how many of its sequence and time.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    ts_event: u64,
    sequence: u32,
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
        let trade = Told { ts_event: tick.ts_event, sequence: tick.sequence, count: 1 };
        let own = &mut self.told[teller as usize];
        match if own.count == 0 { Ordering::Greater } else { trade.order(own) } {
            Ordering::Greater => *own = trade,
            Ordering::Equal => own.count += 1,
            Ordering::Less => {}
        }
        let (own, other) = (*own, self.told[1 - teller as usize]);
        other.count > 0
            && match trade.order(&other) {
                Ordering::Greater => false,
                Ordering::Equal => own.order(&other) == Ordering::Greater || own.count <= other.count,
                Ordering::Less => true,
            }
    }
}

impl Told {
    #[inline]
    fn order(&self, other: &Told) -> Ordering {
        if self.ts_event.abs_diff(other.ts_event) > NEAR_NS {
            return self.ts_event.cmp(&other.ts_event);
        }
        // Sequences wrap.
        let ahead = self.sequence.wrapping_sub(other.sequence) as i32;
        ahead.cmp(&0).then(self.ts_event.cmp(&other.ts_event))
    }
}
