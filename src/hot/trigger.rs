//! When models run: judged once per event, at F_LAST.

use serde::{Deserialize, Serialize};

use super::book::{Book, Level};
use super::decode::Side;

/// `trigger` of a lane's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Trigger {
    /// Every event.
    EventEnd,
    /// The best price or size of a side differs from the one at the previous F_LAST.
    BboChange,
    /// The event held a trade.
    Trade,
    /// Each N-th event of the instrument.
    Every(u32),
}

impl TryFrom<String> for Trigger {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "event-end" => Ok(Self::EventEnd),
            "bbo-change" => Ok(Self::BboChange),
            "trade" => Ok(Self::Trade),
            other => match other.strip_prefix("every=").map(str::parse) {
                Some(Ok(n)) if n > 0 => Ok(Self::Every(n)),
                _ => Err(format!(
                    "\"{other}\" is none of \"event-end\", \"bbo-change\", \"trade\", \"every=N\" (N from 1)"
                )),
            },
        }
    }
}

impl std::str::FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> Self {
        trigger.to_string()
    }
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EventEnd => f.write_str("event-end"),
            Self::BboChange => f.write_str("bbo-change"),
            Self::Trade => f.write_str("trade"),
            Self::Every(n) => write!(f, "every={n}"),
        }
    }
}

/// What a trigger remembers of one instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct TriggerState {
    best: [Option<Level>; 2],
    events: u32,
}

impl TriggerState {
    /// Whether the event that just ended runs the models.
    #[inline]
    pub(crate) fn fires(&mut self, trigger: Trigger, book: &Book) -> bool {
        match trigger {
            Trigger::EventEnd => true,
            Trigger::Trade => book.event().trades > 0,
            Trigger::BboChange => {
                let best = [book.best(Side::Bid), book.best(Side::Ask)];
                let moved = |old: &Option<Level>, new: &Option<Level>| match (old, new) {
                    (Some(old), Some(new)) => old.price != new.price || old.size != new.size,
                    (None, None) => false,
                    _ => true,
                };
                let fires = moved(&self.best[0], &best[0]) || moved(&self.best[1], &best[1]);
                self.best = best;
                fires
            }
            Trigger::Every(n) => {
                self.events += 1;
                let fires = self.events == n;
                self.events %= n;
                fires
            }
        }
    }
}
