//! One ITCH 5.0 message from its bytes. Integers are big-endian, prices have four decimals, text is padded with spaces.

use super::super::emit::Trading;
use crate::hot::decode::Side;

/// Type and length in bytes of every message of ITCH 5.0.
pub const TYPES: [(u8, usize); 23] = [
    (b'S', 12), // system event
    (b'R', 39), // stock directory
    (b'H', 25), // trading action
    (b'Y', 20), // short sale restriction
    (b'L', 26), // market participant position
    (b'V', 35), // market-wide circuit breaker levels
    (b'W', 12), // market-wide circuit breaker status
    (b'K', 28), // quoting period of an IPO
    (b'J', 35), // auction collar
    (b'h', 21), // operational halt
    (b'A', 36), // add
    (b'F', 40), // add with the participant's name
    (b'E', 31), // executed
    (b'C', 36), // executed at a price
    (b'X', 23), // cancelled in part
    (b'D', 19), // deleted
    (b'U', 35), // replaced
    (b'P', 44), // trade against a hidden order
    (b'Q', 40), // cross trade
    (b'B', 19), // broken trade
    (b'I', 50), // net order imbalance
    (b'N', 20), // retail interest
    (b'O', 48), // direct listing
];

/// Price in 1e-9 of a price field of 1.
const PRICE_SCALE: i64 = 100_000;
const DAY_NS: u64 = 86_400_000_000_000;

/// Why a frame is no message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bad {
    /// Its length is 0.
    Empty,
    /// No message type of ITCH 5.0.
    Type,
    /// Not the length of its type.
    Length,
    /// A field has a value that it cannot have: a time after the day, a side that is none, no shares or
    /// more than a record holds, a symbol that is no text.
    Value,
}

impl Bad {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Bad::Empty => "frames without a byte",
            Bad::Type => "frames of no known type",
            Bad::Length => "frames whose length is not that of their type",
            Bad::Value => "messages with an impossible value",
        }
    }
}

/// A stock's symbol as the message has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Symbol([u8; 8]);

impl Symbol {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("").trim_end()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// The stock's number today.
    pub locate: u16,
    /// After midnight in New York.
    pub time_ns: u64,
    pub body: Body,
}

/// What is converted; prices in 1e-9.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Body {
    Directory {
        symbol: Symbol,
    },
    Action {
        symbol: Symbol,
        trading: Trading,
    },
    /// Nasdaq itself cannot trade the stock, or can again.
    Operational {
        symbol: Symbol,
        halted: bool,
    },
    Add {
        id: u64,
        side: Side,
        shares: u32,
        symbol: Symbol,
        price: i64,
    },
    Execute {
        id: u64,
        shares: u32,
    },
    ExecuteAt {
        id: u64,
        shares: u32,
        printable: bool,
        price: i64,
    },
    Reduce {
        id: u64,
        shares: u32,
    },
    Delete {
        id: u64,
    },
    Replace {
        old: u64,
        new: u64,
        shares: u32,
        price: i64,
    },
    Hidden {
        symbol: Symbol,
        /// Of the hidden order, where the day's messages tell it.
        side: Side,
        shares: u32,
        price: i64,
    },
    /// Of no shares when there was no cross.
    Cross {
        symbol: Symbol,
        shares: u32,
        price: i64,
    },
    /// Of a known type that changes neither book nor tape.
    Told,
}

impl Body {
    /// True when it names orders or trades of its stock.
    pub fn is_market(&self) -> bool {
        !matches!(self, Body::Told | Body::Directory { .. }) && !self.is_status()
    }

    /// True when it says whether its stock trades.
    pub fn is_status(&self) -> bool {
        matches!(self, Body::Action { .. } | Body::Operational { .. })
    }

    /// The stock's symbol, where the message has it.
    pub fn symbol(&self) -> Option<Symbol> {
        match *self {
            Body::Directory { symbol }
            | Body::Action { symbol, .. }
            | Body::Operational { symbol, .. }
            | Body::Add { symbol, .. }
            | Body::Hidden { symbol, .. }
            | Body::Cross { symbol, .. } => Some(symbol),
            _ => None,
        }
    }
}

impl Message {
    /// Reads a frame's bytes.
    pub fn read(bytes: &[u8]) -> Result<Message, Bad> {
        let Some(&kind) = bytes.first() else { return Err(Bad::Empty) };
        let (_, length) = TYPES.iter().find(|(known, _)| *known == kind).ok_or(Bad::Type)?;
        if bytes.len() != *length {
            return Err(Bad::Length);
        }
        let fields = Fields(bytes);
        let time_ns = fields.number(5, 6);
        let body = fields.body(kind).filter(|_| time_ns < DAY_NS).ok_or(Bad::Value)?;
        Ok(Message { locate: fields.number(1, 2) as u16, time_ns, body })
    }
}

/// A frame whose length is that of its type, so every field is there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn body(&self, kind: u8) -> Option<Body> {
        let id = || self.number(11, 8); // not all types are long enough
        Some(match kind {
            b'R' => Body::Directory { symbol: self.symbol(11)? },
            b'H' => Body::Action { symbol: self.symbol(11)?, trading: trading(self.0[19])? },
            // Of BX and PSX, whose books these are not, it is only told.
            b'h' if self.0[19] == b'Q' => Body::Operational { symbol: self.symbol(11)?, halted: halted(self.0[20])? },
            b'A' | b'F' => Body::Add {
                id: id(),
                side: side(self.0[19])?,
                shares: self.shares(20)?,
                symbol: self.symbol(24)?,
                price: self.price(32),
            },
            b'E' => Body::Execute { id: id(), shares: self.shares(19)? },
            b'C' => Body::ExecuteAt {
                id: id(),
                shares: self.shares(19)?,
                printable: yes(self.0[31])?,
                price: self.price(32),
            },
            b'X' => Body::Reduce { id: id(), shares: self.shares(19)? },
            b'D' => Body::Delete { id: id() },
            b'U' => {
                Body::Replace { old: id(), new: self.number(19, 8), shares: self.shares(27)?, price: self.price(31) }
            }
            b'P' => {
                let side = side(self.0[19])?;
                Body::Hidden { symbol: self.symbol(24)?, side, shares: self.shares(20)?, price: self.price(32) }
            }
            b'Q' => Body::Cross { shares: self.crossed(11)?, symbol: self.symbol(19)?, price: self.price(27) },
            _ => Body::Told,
        })
    }

    /// A big-endian integer of `length` bytes.
    fn number(&self, at: usize, length: usize) -> u64 {
        self.0[at..at + length].iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn price(&self, at: usize) -> i64 {
        self.number(at, 4) as i64 * PRICE_SCALE
    }

    /// At least 1, and not DBN's "no size".
    fn shares(&self, at: usize) -> Option<u32> {
        u32::try_from(self.number(at, 4)).ok().filter(|&shares| shares > 0 && shares < u32::MAX)
    }

    /// Eight bytes, of which a record's size holds four: a cross of more has never been.
    fn crossed(&self, at: usize) -> Option<u32> {
        u32::try_from(self.number(at, 8)).ok().filter(|&shares| shares < u32::MAX)
    }

    fn symbol(&self, at: usize) -> Option<Symbol> {
        let symbol: [u8; 8] = self.0[at..at + 8].try_into().ok()?;
        let length = symbol.iter().rposition(|&byte| byte != b' ')? + 1;
        symbol[..length].iter().all(u8::is_ascii_graphic).then_some(Symbol(symbol))
    }
}

fn side(byte: u8) -> Option<Side> {
    match byte {
        b'B' => Some(Side::Bid),
        b'S' => Some(Side::Ask),
        _ => None,
    }
}

fn yes(byte: u8) -> Option<bool> {
    match byte {
        b'Y' => Some(true),
        b'N' => Some(false),
        _ => None,
    }
}

fn halted(byte: u8) -> Option<bool> {
    match byte {
        b'H' => Some(true),
        b'T' => Some(false),
        _ => None,
    }
}

fn trading(byte: u8) -> Option<Trading> {
    Some(match byte {
        b'H' => Trading::Halted,
        b'P' => Trading::Paused,
        b'Q' => Trading::Quoting,
        b'T' => Trading::On,
        _ => return None,
    })
}
