//! The JSON of an event, field by field, and the event that it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::decimal;
use super::line::{Diff, Event, Quote, Trade};
use crate::hot::decode::Side;

#[derive(Deserialize)]
pub(super) struct Wrapped<'a> {
    #[serde(borrow)]
    pub stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub data: Option<Payload<'a>>,
}

#[derive(Deserialize)]
#[allow(non_snake_case)] // the exchange's names
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    pub E: Option<u64>,
    pub T: Option<u64>,
    #[serde(borrow)]
    pub s: Option<Cow<'a, str>>,
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

/// What `a` and `b` are depends on the event.
enum Mixed<'a> {
    Levels(Vec<Level<'a>>),
    Text(Cow<'a, str>),
    Number(u64),
}

/// Price and size; spot had a third member, an empty list, until 2019.
struct Level<'a>(Cow<'a, str>, Cow<'a, str>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Level<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Level<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a level: price and size as text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let price: Text<'de> = members.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let size: Text<'de> = members.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                while members.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Level(price.0, size.0))
            }
        }
        deserializer.deserialize_seq(Members)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Mixed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;
        impl<'de> Visitor<'de> for Kinds {
            type Value = Mixed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("levels, a number, or a number as text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, levels: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(levels)).map(Mixed::Levels)
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Mixed::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Mixed::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Mixed::Number(number))
            }
        }
        deserializer.deserialize_any(Kinds)
    }
}

/// An event, or what is wrong with it.
type Read<T> = Result<T, String>;

/// A field that the event must have.
fn need<T>(field: Option<T>, name: &str) -> Read<T> {
    field.ok_or_else(|| format!("field \"{name}\" is missing"))
}

impl Payload<'_> {
    /// Which event it is.
    pub fn event(&self) -> Read<Event> {
        let ticker = self.e.is_none() && self.B.is_some() && self.u.is_some(); // spot's has no name
        Ok(match self.e.as_deref() {
            Some("depthUpdate") => Event::Depth(self.diff()?),
            Some(name @ ("trade" | "aggTrade")) => self.trade(name == "aggTrade")?,
            Some("bookTicker") => self.ticker()?,
            None if ticker => self.ticker()?,
            _ if self.lastUpdateId.is_some() => Event::Snapshot(self.whole()?),
            Some(name) => Event::Other(name.to_owned()),
            None => Event::Other("without a name".to_owned()),
        })
    }

    /// The best levels, whole, which spot sends as a snapshot and futures as a diff.
    pub fn partial(&self) -> Event {
        match self.whole().or_else(|_| self.diff()) {
            Ok(levels) => Event::Partial(levels),
            Err(_) => Event::Other("partial depth".to_owned()),
        }
    }

    fn diff(&self) -> Read<Diff> {
        Ok(Diff {
            first: need(self.U, "U")?,
            last: need(self.u, "u")?,
            previous: self.pu,
            bids: mixed_levels(need(self.b.as_ref(), "b")?)?,
            asks: mixed_levels(need(self.a.as_ref(), "a")?)?,
        })
    }

    fn whole(&self) -> Read<Diff> {
        Ok(Diff {
            last: need(self.lastUpdateId, "lastUpdateId")?,
            bids: levels(need(self.bids.as_deref(), "bids")?)?,
            asks: levels(need(self.asks.as_deref(), "asks")?)?,
            ..Diff::default()
        })
    }

    fn ticker(&self) -> Read<Event> {
        let text = |field: &Option<Mixed<'_>>, name: &str| match field {
            Some(Mixed::Text(text)) => Ok(text.to_string()),
            _ => Err(format!("field \"{name}\" is no price as text")),
        };
        let (bid, ask) = (text(&self.b, "b")?, text(&self.a, "a")?);
        let bid = quote(&bid, need(self.B.as_deref(), "B")?)?;
        let ask = quote(&ask, need(self.A.as_deref(), "A")?)?;
        Ok(Event::Ticker { update: need(self.u, "u")?, bid, ask })
    }

    fn trade(&self, aggregate: bool) -> Read<Event> {
        let id = match (&self.a, aggregate) {
            (Some(Mixed::Number(id)), true) => *id,
            (_, true) => return Err("field \"a\" is no number of an aggregated trade".to_owned()),
            (_, false) => need(self.t, "t")?,
        };
        let (price, size) = quote(need(self.p.as_deref(), "p")?, need(self.q.as_deref(), "q")?)?;
        let market = self.X.as_deref().is_none_or(|kind| kind == "MARKET");
        let aggressor = match (market, need(self.m, "m")?) {
            (false, _) => Side::None,
            (true, true) => Side::Ask,
            (true, false) => Side::Bid,
        };
        Ok(Event::Trade(Trade { id, price, size, aggressor, aggregate }))
    }
}

fn mixed_levels(field: &Mixed<'_>) -> Read<Vec<Quote>> {
    match field {
        Mixed::Levels(found) => levels(found),
        Mixed::Text(text) => Err(format!("\"{}\" stands where levels are expected", text.escape_default())),
        Mixed::Number(number) => Err(format!("{number} stands where levels are expected")),
    }
}

fn levels(levels: &[Level<'_>]) -> Read<Vec<Quote>> {
    levels.iter().map(|Level(price, size)| quote(price, size)).collect()
}

fn quote(price: &str, size: &str) -> Read<Quote> {
    let number = |what: &str, text: &str| {
        decimal::parse(text).ok_or_else(|| {
            let cut: String = text.chars().take(40).collect();
            format!("{what} \"{}\" is no decimal number of at most nine decimals", cut.escape_default())
        })
    };
    let (exact, size) = (number("price", price)?, number("size", size)?);
    let price = i64::try_from(exact).ok().filter(|&exact| exact != i64::MAX);
    Ok((price.ok_or_else(|| format!("price {} is more than DBN holds", decimal::text(exact)))?, size))
}
