//! One line of a capture: local time, a space, and the JSON that the exchange sent.

use serde::Deserialize;

use super::clock::exchange_ns;
use super::decimal;
use super::payload::Wrapped;
use crate::hot::decode::Side;

/// A price in 1e-9 and a size in 1e-9.
pub(super) type Quote = (i64, u128);

/// Most characters of a value that a message repeats.
const SHOWN: usize = 60;

/// Why a line is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bad {
    /// Not a time, a space and JSON.
    Shape,
    /// A known event with a field that is missing or no number.
    Value,
    /// An event that does not say its symbol, in a file of several symbols or of none.
    Nameless,
}

impl Bad {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Bad::Shape => "lines that are no time and JSON",
            Bad::Value => "events with a field that is missing or no number",
            Bad::Nameless => "events that do not say whose they are",
        }
    }
}

/// Why a line is left out, with the value that is to blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub bad: Bad,
    pub what: String,
}

impl Fault {
    pub fn shape(what: impl Into<String>) -> Fault {
        Fault { bad: Bad::Shape, what: what.into() }
    }

    pub fn value(what: impl Into<String>) -> Fault {
        Fault { bad: Bad::Value, what: what.into() }
    }

    pub fn nameless(event: &Event) -> Fault {
        Fault { bad: Bad::Nameless, what: format!("it is a {} without a symbol", event.name()) }
    }
}

#[derive(Debug)]
pub(super) struct Line {
    /// The capture's clock as it stands in the file, in 1e-9 of its unit.
    pub captured: u128,
    /// The exchange's time, where the event has one.
    pub ts_event_ns: Option<u64>,
    /// That time is finer than the milliseconds which are usual.
    pub fine: bool,
    pub symbol: Option<String>,
    pub event: Event,
}

#[derive(Debug)]
pub(super) enum Event {
    Depth(Diff),
    Snapshot(Diff),
    /// The best 5, 10 or 20 levels, whole, by the stream's name.
    Partial(Diff),
    Ticker {
        update: u64,
        bid: Quote,
        ask: Quote,
    },
    Trade(Trade),
    Other(String),
}

/// Levels that changed with the updates they sum up; or, of a snapshot, all levels as of update `last`.
#[derive(Clone, Debug, Default)]
pub(super) struct Diff {
    pub first: u64,
    pub last: u64,
    /// Last update of the diff before; spot does not say it.
    pub previous: Option<u64>,
    pub bids: Vec<Quote>,
    pub asks: Vec<Quote>,
}

impl Diff {
    /// Whether it could as well be the best levels, whole: as many on both sides as such streams have, and none taken off.
    pub fn like_partial(&self) -> bool {
        let shown = |levels: &[Quote]| matches!(levels.len(), 5 | 10 | 20) && levels.iter().all(|(_, size)| *size > 0);
        self.bids.len() == self.asks.len() && shown(&self.bids) && shown(&self.asks)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Trade {
    pub id: u64,
    pub price: i64,
    pub size: u128,
    /// `None` where the trade is none of the market: an insurance fund's and the like.
    pub aggressor: Side,
    /// Several trades of one order at one price.
    pub aggregate: bool,
}

impl Event {
    /// Name for reports.
    pub fn name(&self) -> &str {
        match self {
            Event::Depth(_) => "depthUpdate",
            Event::Snapshot(_) => "snapshot",
            Event::Partial(_) => "partial depth",
            Event::Ticker { .. } => "bookTicker",
            Event::Trade(trade) if trade.aggregate => "aggTrade",
            Event::Trade(_) => "trade",
            Event::Other(name) => name,
        }
    }
}

impl Line {
    /// Reads a line without its end.
    pub fn read(line: &[u8]) -> Result<Line, Fault> {
        let Some(space) = line.iter().position(|&byte| byte == b' ') else {
            return Err(Fault::shape(format!("{} has no space behind a time", shown(line))));
        };
        let (time, json) = (&line[..space], &line[space + 1..]);
        let captured = std::str::from_utf8(time).ok().and_then(decimal::parse);
        let captured =
            captured.ok_or_else(|| Fault::shape(format!("its time is {}, which is no number", shown(time))))?;
        let wrapped: Wrapped = parsed(json)?;
        let payload = match wrapped.data {
            Some(data) => data,
            None => parsed(json)?,
        };
        let stream = wrapped.stream.as_deref().and_then(|stream| stream.split('@').next());
        let partial = wrapped.stream.as_deref().is_some_and(is_partial);
        let symbol = payload.s.as_deref().or(stream).filter(|symbol| !symbol.is_empty()).map(str::to_ascii_uppercase);
        let (ts_event_ns, fine) = match payload.T.or(payload.E).map(|time| (time, exchange_ns(time))) {
            None => (None, false),
            Some((_, Some((ns, fine)))) => (Some(ns), fine),
            Some((time, None)) => return Err(Fault::value(format!("the exchange's time {time} is no time"))),
        };
        let event = if partial { payload.partial() } else { payload.event().map_err(Fault::value)? };
        Ok(Line { captured, ts_event_ns, fine, symbol, event })
    }
}

/// `btcusdt@depth20@100ms` sends the best levels again and again.
fn is_partial(stream: &str) -> bool {
    let name = stream.split('@').nth(1).and_then(|name| name.strip_prefix("depth"));
    name.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// JSON of another shape than the event's has a wrong value; the rest is no JSON.
fn parsed<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(json).map_err(|e| {
        if e.is_data() {
            let near = e.column().saturating_sub(20).min(json.len());
            Fault::value(format!("{e}, near {}", shown(&json[near..])))
        } else {
            Fault::shape(format!("no JSON behind its time: {e}"))
        }
    })
}

/// Bytes of the file for a message: in quotes, cut, and harmless.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", cut.escape_default())
}
