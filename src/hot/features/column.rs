//! One column of a feature set: a kind with all its parameters fixed.

use super::kinds::{Kind, Series};
use super::view::MAX_LEVELS;

/// Bid or ask, where a feature looks at one side of the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookSide {
    /// Bid.
    Bid = 0,
    /// Ask.
    Ask = 1,
}

impl BookSide {
    /// Name in TOML and in column names.
    pub fn name(self) -> &'static str {
        match self {
            BookSide::Bid => "bid",
            BookSide::Ask => "ask",
        }
    }
}

/// How far back a feature looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// The last event alone, or everything since the reset: the kind says which.
    Plain,
    /// Weights that halve every so many ns of `ts_event`.
    Time {
        /// Half-life in ns.
        half_life_ns: u64,
    },
    /// Weights that halve every so many events.
    Events {
        /// Half-life in events.
        half_life: u32,
    },
    /// The last events with equal weights.
    Window {
        /// How many.
        events: u32,
    },
}

impl Memory {
    /// Longest window in events: keeps the exact integer sums of squares within `i128`.
    pub const MAX_WINDOW_EVENTS: u32 = 8_192;
    /// Longest half-life in events.
    pub const MAX_HALF_LIFE_EVENTS: u32 = 1_000_000;
    /// Shortest half-life in ns.
    pub const MIN_HALF_LIFE_NS: u64 = 1_000;
    /// Longest half-life in ns: a day.
    pub const MAX_HALF_LIFE_NS: u64 = 86_400_000_000_000;

    fn name(self) -> String {
        match self {
            Memory::Plain => String::new(),
            Memory::Time { half_life_ns } => format!("_{}", duration(half_life_ns)),
            Memory::Events { half_life } => format!("_{half_life}e"),
            Memory::Window { events } => format!("_w{events}"),
        }
    }
}

/// A duration without loss, in its largest whole unit.
fn duration(ns: u64) -> String {
    match ns {
        _ if ns.is_multiple_of(1_000_000_000) => format!("{}s", ns / 1_000_000_000),
        _ if ns.is_multiple_of(1_000_000) => format!("{}ms", ns / 1_000_000),
        _ if ns.is_multiple_of(1_000) => format!("{}us", ns / 1_000),
        _ => format!("{ns}ns"),
    }
}

/// A kind with its parameters: what one `f32` of a feature row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// What is computed.
    pub kind: Kind,
    /// On which side.
    pub side: Option<BookSide>,
    /// To or at which level, 1 = best.
    pub level: Option<u8>,
    /// Over which past.
    pub memory: Memory,
    /// Whether the value is ln(1 + x), x in the kind's unit with times in µs.
    pub log: bool,
    /// Which series is standardised.
    pub of: Option<Series>,
}

impl Column {
    /// Unique name: kind, series, side, level, memory, scale, as in `ofi_1_100ms` or `depth_bid_5_log`.
    pub fn name(&self) -> String {
        let mut name = self.kind.spec().name.to_string();
        for part in [self.of.map(Series::name), self.side.map(BookSide::name)].into_iter().flatten() {
            name.push('_');
            name.push_str(part);
        }
        if let Some(level) = self.level {
            name.push_str(&format!("_{level}"));
        }
        name.push_str(&self.memory.name());
        if self.log {
            name.push_str("_log");
        }
        name
    }

    /// One line that says everything, defaults included: what is hashed.
    pub fn canonical(&self) -> String {
        let mut line = self.kind.spec().name.to_string();
        for (key, value) in [("of", self.of.map(Series::name)), ("side", self.side.map(BookSide::name))] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        if let Some(level) = self.level {
            line.push_str(&format!(" level={level}"));
        }
        match self.memory {
            Memory::Plain => {}
            Memory::Time { half_life_ns } => line.push_str(&format!(" half_life_ns={half_life_ns}")),
            Memory::Events { half_life } => line.push_str(&format!(" half_life_events={half_life}")),
            Memory::Window { events } => line.push_str(&format!(" window_events={events}")),
        }
        if self.log {
            line.push_str(" scale=log");
        }
        line
    }

    /// Levels of a side that the value hangs on: 0 where trades and times alone make it.
    pub fn depth(&self) -> usize {
        let level = self.level.map_or(1, usize::from);
        match self.kind {
            Kind::LevelGap => level + 1,
            Kind::LevelSize => MAX_LEVELS,
            Kind::SignedVolume
            | Kind::Volume
            | Kind::VolumeImbalance
            | Kind::TradeImbalance
            | Kind::TradeIntensity
            | Kind::InterArrival
            | Kind::TimeSinceTrade => 0,
            Kind::Zscore => {
                usize::from(!matches!(self.of, Some(Series::SignedVolume | Series::Volume | Series::InterArrival)))
            }
            _ => level,
        }
    }

    /// Unit of the value, of this column's memory and scale.
    pub fn unit(&self) -> &'static str {
        let by_time = matches!(self.memory, Memory::Time { .. });
        match self.kind {
            _ if self.log => "ln(1 + x)",
            Kind::EwmaVolatility if by_time => "basis points per sqrt(s)",
            Kind::EwmaVolatility => "basis points per sqrt(event)",
            Kind::AddIntensity
            | Kind::CancelIntensity
            | Kind::ModifyIntensity
            | Kind::FillIntensity
            | Kind::TradeIntensity => {
                if by_time {
                    "1/s"
                } else {
                    "1/event"
                }
            }
            Kind::InterArrival | Kind::TimeSinceTrade | Kind::TimeSinceMidChange => "s",
            kind => kind.spec().unit,
        }
    }
}
