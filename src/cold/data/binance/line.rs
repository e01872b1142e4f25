//! One line of a capture: local time in ns, a space, and the JSON that the exchange sent.

use std::borrow::Cow;

use serde::Deserialize;

use super::decimal;
use crate::hot::decode::Side;

/// A price in 1e-9 and a size in 1e-9.
pub(super) type Quote = (i64, u128);

/// Why a line is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bad {
    /// Not a time, a space and JSON.
    Shape,
    /// A known event with a field that is missing or no number.
    Value,
    /// An order book snapshot without a symbol, in a file of several symbols.
    Nameless,
    /// An event without a time, before any that has one.
    Timeless,
}

impl Bad {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Bad::Shape => "lines that are no time and JSON",
            Bad::Value => "events with a field that is missing or no number",
            Bad::Nameless => "snapshots that do not say whose they are",
            Bad::Timeless => "events without a time",
        }
    }
}

#[derive(Debug)]
pub(super) struct Line {
    /// The capture's clock.
    pub ts_recv_ns: u64,
    /// The exchange's, where the event has one.
    pub ts_event_ns: Option<u64>,
    pub symbol: Option<String>,
    pub event: Event,
}

#[derive(Debug)]
pub(super) enum Event {
    Depth(Diff),
    Snapshot { last: u64, bids: Vec<Quote>, asks: Vec<Quote> },
    Ticker { update: u64, bid: Quote, ask: Quote },
    Trade(Trade),
    Other(String),
}

/// Levels that changed, with the updates they sum up.
#[derive(Clone, Debug, Default)]
pub(super) struct Diff {
    pub first: u64,
    pub last: u64,
    /// Last update of the diff before; spot does not say it.
    pub previous: Option<u64>,
    pub bids: Vec<Quote>,
    pub asks: Vec<Quote>,
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
            Event::Snapshot { .. } => "snapshot",
            Event::Ticker { .. } => "bookTicker",
            Event::Trade(trade) if trade.aggregate => "aggTrade",
            Event::Trade(_) => "trade",
            Event::Other(name) => name,
        }
    }
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Payload<'a>>,
}

/// What `a` and `b` are depends on the event.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mixed<'a> {
    #[serde(borrow)]
    Levels(Vec<Level<'a>>),
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Number(u64),
}

type Level<'a> = (Cow<'a, str>, Cow<'a, str>);

#[derive(Deserialize)]
#[allow(non_snake_case)] // the exchange's names
struct Payload<'a> {
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    E: Option<u64>,
    T: Option<u64>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    U: Option<u64>,
    u: Option<u64>,
    pu: Option<u64>,
    #[serde(borrow)]
    a: Option<Mixed<'a>>,
    #[serde(borrow)]
    b: Option<Mixed<'a>>,
    #[serde(borrow)]
    A: Option<Cow<'a, str>>,
    #[serde(borrow)]
    B: Option<Cow<'a, str>>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    t: Option<u64>,
    m: Option<bool>,
    #[serde(borrow)]
    X: Option<Cow<'a, str>>,
    lastUpdateId: Option<u64>,
    #[serde(borrow)]
    bids: Option<Vec<Level<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Level<'a>>>,
}

impl Line {
    /// Reads a line without its end.
    pub fn read(line: &[u8]) -> Result<Line, Bad> {
        let space = line.iter().position(|&byte| byte == b' ').ok_or(Bad::Shape)?;
        let time = std::str::from_utf8(&line[..space]).ok().and_then(|time| time.parse().ok());
        let ts_recv_ns = time.filter(|&time| time != u64::MAX).ok_or(Bad::Shape)?;
        let json = &line[space + 1..];
        let wrapped: Wrapped = serde_json::from_slice(json).map_err(|e| unreadable(&e))?;
        let payload = match wrapped.data {
            Some(data) => data,
            None => serde_json::from_slice(json).map_err(|e| unreadable(&e))?,
        };
        let stream = wrapped.stream.as_deref().and_then(|stream| stream.split('@').next());
        let partial = wrapped.stream.as_deref().is_some_and(is_partial);
        let symbol = payload.s.as_deref().or(stream).filter(|symbol| !symbol.is_empty()).map(str::to_ascii_uppercase);
        let time_ms = payload.T.or(payload.E);
        let ts_event_ns = time_ms.map(|ms| ms.checked_mul(1_000_000).filter(|&ns| ns != u64::MAX));
        let ts_event_ns = ts_event_ns.map(|ns| ns.ok_or(Bad::Value)).transpose()?;
        let event = match partial {
            true => Event::Other("partial depth".to_owned()),
            false => payload.event().ok_or(Bad::Value)?,
        };
        Ok(Line { ts_recv_ns, ts_event_ns, symbol, event })
    }
}

/// `btcusdt@depth20@100ms` sends the best levels again and again: they look like snapshots or diffs, and are neither.
fn is_partial(stream: &str) -> bool {
    let name = stream.split('@').nth(1).and_then(|name| name.strip_prefix("depth"));
    name.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// JSON of another shape than the event's has a wrong value; the rest is no JSON.
fn unreadable(e: &serde_json::Error) -> Bad {
    if e.is_data() { Bad::Value } else { Bad::Shape }
}

impl Payload<'_> {
    fn event(&self) -> Option<Event> {
        let ticker = self.e.is_none() && self.B.is_some() && self.u.is_some(); // spot's has no name
        Some(match self.e.as_deref() {
            Some("depthUpdate") => Event::Depth(Diff {
                first: self.U?,
                last: self.u?,
                previous: self.pu,
                bids: mixed_levels(self.b.as_ref()?)?,
                asks: mixed_levels(self.a.as_ref()?)?,
            }),
            Some(name @ ("trade" | "aggTrade")) => self.trade(name == "aggTrade")?,
            Some("bookTicker") => self.ticker()?,
            None if ticker => self.ticker()?,
            _ if self.lastUpdateId.is_some() => Event::Snapshot {
                last: self.lastUpdateId?,
                bids: levels(self.bids.as_deref()?)?,
                asks: levels(self.asks.as_deref()?)?,
            },
            Some(name) => Event::Other(name.to_owned()),
            None => Event::Other("without a name".to_owned()),
        })
    }

    fn ticker(&self) -> Option<Event> {
        let (Some(Mixed::Text(bid)), Some(Mixed::Text(ask))) = (&self.b, &self.a) else { return None };
        let (bid, ask) = (quote(bid, self.B.as_deref()?)?, quote(ask, self.A.as_deref()?)?);
        Some(Event::Ticker { update: self.u?, bid, ask })
    }

    fn trade(&self, aggregate: bool) -> Option<Event> {
        let id = match (&self.a, aggregate) {
            (Some(Mixed::Number(id)), true) => *id,
            (_, true) => return None,
            (_, false) => self.t?,
        };
        let (price, size) = quote(self.p.as_deref()?, self.q.as_deref()?)?;
        let aggressor = match (self.X.as_deref().is_none_or(|kind| kind == "MARKET"), self.m?) {
            (false, _) => Side::None,
            (true, true) => Side::Ask,
            (true, false) => Side::Bid,
        };
        Some(Event::Trade(Trade { id, price, size, aggressor, aggregate }))
    }
}

fn mixed_levels(field: &Mixed) -> Option<Vec<Quote>> {
    match field {
        Mixed::Levels(found) => levels(found),
        _ => None,
    }
}

fn levels(levels: &[Level]) -> Option<Vec<Quote>> {
    levels.iter().map(|(price, size)| quote(price, size)).collect()
}

fn quote(price: &str, size: &str) -> Option<Quote> {
    let price = i64::try_from(decimal::parse(price)?).ok().filter(|&price| price != i64::MAX)?;
    Some((price, decimal::parse(size)?))
}
