//! Step 2, decode: the words of one DBN record become a [`Tick`], or a counted [`Reject`]. Total: no bytes make it fail.

#![forbid(unsafe_code)]

mod instruments;
mod reject;

use bytemuck::Pod;
use pillion_shm::records::{
    BidAskPair, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, StatusMsg, TradeMsg, UNDEF_PRICE, flags, rtype,
};

pub use instruments::{Instrument, Instruments};
pub use reject::Reject;

/// Timestamp of "no time": such a record cannot take part in time-based features.
const UNDEF_TIMESTAMP: u64 = u64::MAX;
/// Quantity of "no quantity".
const UNDEF_SIZE: u32 = u32::MAX;

/// Side of the book, or of a trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Side {
    /// Buyers.
    Bid = 0,
    /// Sellers.
    Ask = 1,
    /// Not stated.
    None = 2,
}

impl Side {
    /// The two sides that a book has.
    pub const BOTH: [Side; 2] = [Side::Bid, Side::Ask];

    /// The other side of the book; `None` stays `None`.
    #[inline]
    pub fn opposite(self) -> Side {
        match self {
            Side::Bid => Side::Ask,
            Side::Ask => Side::Bid,
            Side::None => Side::None,
        }
    }

    #[inline]
    fn from_dbn(byte: u8) -> Result<Side, Reject> {
        match byte {
            b'B' => Ok(Side::Bid),
            b'A' => Ok(Side::Ask),
            b'N' => Ok(Side::None),
            _ => Err(Reject::BadSide),
        }
    }

    #[inline]
    fn stated(self) -> Result<Side, Reject> {
        if self == Side::None { Err(Reject::BadSide) } else { Ok(self) }
    }
}

/// One market data record, checked, of a known instrument.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Dense index of the instrument in [`Instruments`].
    pub instrument: u32,
    /// Whose record it is.
    pub publisher: u16,
    /// Matching-engine time, ns since the epoch.
    pub ts_event: u64,
    /// Venue's message number; 0 where the record has none.
    pub sequence: u32,
    /// Bits of [`pillion_shm::records::flags`].
    pub flags: u8,
    /// What happened.
    pub body: Body<'a>,
}

impl Tick<'_> {
    /// True on the last record of an event: books are consistent here.
    #[inline]
    pub fn is_last(&self) -> bool {
        self.flags & flags::LAST != 0
    }

    /// True on a record of a snapshot, which is state rather than news.
    #[inline]
    pub fn is_snapshot(&self) -> bool {
        self.flags & flags::SNAPSHOT != 0
    }
}

/// What a tick says. Prices are in 1e-9, sizes in the instrument's size unit.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A new resting order.
    Add {
        /// Side of the order, never `None`.
        side: Side,
        /// Venue's order number.
        order_id: u64,
        /// Limit price.
        price: i64,
        /// Quantity, at least 1.
        size: u32,
    },
    /// Quantity taken off a resting order, perhaps all of it.
    Cancel {
        /// Side of the order, never `None`.
        side: Side,
        /// Venue's order number.
        order_id: u64,
        /// Limit price.
        price: i64,
        /// Quantity taken off.
        size: u32,
    },
    /// A resting order's new price and quantity.
    Modify {
        /// Side of the order, never `None`.
        side: Side,
        /// Venue's order number.
        order_id: u64,
        /// New limit price.
        price: i64,
        /// New quantity; 0 takes the order off.
        size: u32,
    },
    /// Every resting order of the instrument is gone.
    Clear,
    /// A trade seen from the aggressor. It does not change the book: the cancel or modify after it does.
    Trade {
        /// Side that took liquidity; `None` for auctions and the like.
        aggressor: Side,
        /// Trade price.
        price: i64,
        /// Quantity traded.
        size: u32,
    },
    /// A trade seen from the resting order. It does not change the book either.
    Fill {
        /// Side of the resting order.
        resting: Side,
        /// Venue's number of the resting order.
        order_id: u64,
        /// Trade price.
        price: i64,
        /// Quantity filled.
        size: u32,
    },
    /// The book's best levels after an event (MBP-1, MBP-10), or a record of the trades schema with no levels at all.
    Quotes {
        /// Levels best first; empty for the trades schema, which leaves the book as it is.
        levels: &'a [BidAskPair],
        /// What caused it: `A`, `C`, `M`, `R`, `T`, `F` or `N`.
        action: u8,
        /// Side of the cause: the aggressor's for `T`, the resting order's otherwise.
        side: Side,
        /// Price of the cause; [`UNDEF_PRICE`] where it has none.
        price: i64,
        /// Quantity of the cause.
        size: u32,
    },
    /// Trading status.
    Status {
        /// Whether the instrument trades; `None` when the record leaves that open.
        trading: Option<bool>,
    },
    /// No change; only flags and time count.
    Nothing,
}

/// Reads one record from the start of `words` (which may be longer than it is: a ring slot).
///
/// A record of the trades schema (`rtype` 0) is an event of its own, so it is given [`flags::LAST`] whatever it says:
/// no other record of that schema would ever end its event.
#[inline]
pub fn decode<'a>(words: &'a [u64], instruments: &Instruments) -> Result<Tick<'a>, Reject> {
    let header: &RecordHeader = prefix(words)?;
    match header.rtype {
        rtype::MBO => mbo(record(words, header)?, instruments),
        rtype::MBP_1 => {
            let m: &Mbp1Msg = record(words, header)?;
            quotes(&m.event, &m.levels, m.event.flags, instruments)
        }
        rtype::MBP_10 => {
            let m: &Mbp10Msg = record(words, header)?;
            quotes(&m.event, &m.levels, m.event.flags, instruments)
        }
        rtype::TRADE => {
            let m: &TradeMsg = record(words, header)?;
            if m.action != b'T' {
                return Err(Reject::BadAction);
            }
            quotes(m, &[], m.flags | flags::LAST, instruments)
        }
        rtype::STATUS => status(record(words, header)?, instruments),
        _ => Err(Reject::UnknownType),
    }
}

#[inline]
fn prefix<T: Pod>(words: &[u64]) -> Result<&T, Reject> {
    let words = words.get(..size_of::<T>() / size_of::<u64>()).ok_or(Reject::BadLength)?;
    bytemuck::try_from_bytes(bytemuck::cast_slice(words)).map_err(|_| Reject::BadLength)
}

#[inline]
fn record<'a, T: Pod>(words: &'a [u64], header: &RecordHeader) -> Result<&'a T, Reject> {
    if usize::from(header.length) * 4 != size_of::<T>() {
        return Err(Reject::BadLength);
    }
    prefix(words)
}

#[inline]
fn tick<'a>(
    hd: &RecordHeader,
    sequence: u32,
    flags: u8,
    body: Body<'a>,
    known: &Instruments,
) -> Result<Tick<'a>, Reject> {
    let Some(instrument) = known.index(hd.publisher_id, hd.instrument_id) else {
        return Err(known.stranger(hd.instrument_id));
    };
    if hd.ts_event == UNDEF_TIMESTAMP {
        return Err(Reject::BadTime);
    }
    Ok(Tick { instrument, publisher: hd.publisher_id, ts_event: hd.ts_event, sequence, flags, body })
}

#[inline]
fn mbo<'a>(m: &MboMsg, known: &Instruments) -> Result<Tick<'a>, Reject> {
    if m.flags & flags::TOB != 0 {
        return Err(Reject::BadFlags);
    }
    let (order_id, price, size) = (m.order_id, m.price, m.size);
    let side = Side::from_dbn(m.side)?;
    let body = match m.action {
        b'A' if size == 0 => return Err(Reject::BadSize),
        b'A' => Body::Add { side: side.stated()?, order_id, price: priced(price)?, size: sized(size)? },
        b'C' => Body::Cancel { side: side.stated()?, order_id, price, size: sized(size)? },
        b'M' => Body::Modify { side: side.stated()?, order_id, price: priced(price)?, size: sized(size)? },
        b'R' => Body::Clear,
        b'T' => Body::Trade { aggressor: side, price: priced(price)?, size: sized(size)? },
        b'F' => Body::Fill { resting: side, order_id, price: priced(price)?, size: sized(size)? },
        b'N' => Body::Nothing,
        _ => return Err(Reject::BadAction),
    };
    tick(&m.hd, m.sequence, m.flags, body, known)
}

#[inline]
fn quotes<'a>(m: &TradeMsg, levels: &'a [BidAskPair], flags: u8, known: &Instruments) -> Result<Tick<'a>, Reject> {
    let side = Side::from_dbn(m.side)?;
    match m.action {
        b'T' | b'F' => {
            priced(m.price)?;
            sized(m.size)?;
        }
        b'A' | b'C' | b'M' => {
            sized(m.size)?;
        }
        b'R' | b'N' => {}
        _ => return Err(Reject::BadAction),
    }
    if !best_first(levels) {
        return Err(Reject::BadLevels);
    }
    let body = Body::Quotes { levels, action: m.action, side, price: m.price, size: m.size };
    tick(&m.hd, m.sequence, flags, body, known)
}

/// Levels worsen strictly, and nothing stands behind an absent level.
#[inline]
fn best_first(levels: &[BidAskPair]) -> bool {
    levels.windows(2).all(|w| {
        (w[1].bid_px == UNDEF_PRICE || (w[0].bid_px != UNDEF_PRICE && w[1].bid_px < w[0].bid_px))
            && (w[1].ask_px == UNDEF_PRICE || (w[0].ask_px != UNDEF_PRICE && w[1].ask_px > w[0].ask_px))
    })
}

#[inline]
fn status<'a>(m: &StatusMsg, known: &Instruments) -> Result<Tick<'a>, Reject> {
    let trading = match (m.is_trading, m.action) {
        (b'Y', _) => Some(true),
        (b'N', _) => Some(false),
        // StatusAction: 7 trading; 8 halt, 9 pause, 10 suspend, 15 not available for trading.
        (b'~', 7) => Some(true),
        (b'~', 8..=10 | 15) => Some(false),
        (b'~', _) => None,
        _ => return Err(Reject::BadStatus),
    };
    tick(&m.hd, 0, 0, Body::Status { trading }, known)
}

#[inline]
fn priced(price: i64) -> Result<i64, Reject> {
    if price == UNDEF_PRICE { Err(Reject::BadPrice) } else { Ok(price) }
}

#[inline]
fn sized(size: u32) -> Result<u32, Reject> {
    if size == UNDEF_SIZE { Err(Reject::BadSize) } else { Ok(size) }
}

#[cfg(test)]
mod tests;
