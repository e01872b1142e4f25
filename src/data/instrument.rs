//! An instrument as a configuration or a list of instruments states it.

use serde::{Deserialize, Serialize};

/// One instrument of a lane.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentEntry {
    /// Venue's number.
    pub id: u32,
    /// Whose records are meant; where it is left out the first record's publisher is the one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<u16>,
    /// Name.
    pub symbol: String,
    /// Smallest price step.
    pub tick_size: TickSize,
    /// Units that a size of 1 stands for.
    #[serde(default = "one")]
    pub size_unit: f64,
}

/// Units that a size of 1 stands for where nothing is said.
pub(crate) fn one() -> f64 {
    1.0
}

/// A positive price in 1e-9, written as decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TickSize(pub i64);

impl TryFrom<String> for TickSize {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let bad = || format!("tick_size \"{text}\" is not a positive decimal with at most 9 places");
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if fraction.len() > 9 || !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(bad());
        }
        match format!("{whole}{fraction:0<9}").parse::<i64>() {
            Ok(value) if value > 0 => Ok(Self(value)),
            _ => Err(bad()),
        }
    }
}

impl TickSize {
    /// Decimal text without trailing zeros, such as `0.25`.
    pub fn text(self) -> String {
        let text = self.to_string();
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl From<TickSize> for String {
    fn from(tick: TickSize) -> Self {
        tick.to_string()
    }
}

impl std::fmt::Display for TickSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
