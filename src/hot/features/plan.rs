//! A feature set compiled: which inputs, sums and windows to keep, and one step per column that reads them.

use super::column::{BookSide, Column, Memory};
use super::input;
use super::kinds::{Kind, Series};
use super::math::exp2_neg;

/// What a ring remembers of each event, as an exact integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An input that is a whole number.
    Input(u8),
    /// Twice the mid less twice the first mid, 1e-9.
    Mid,
    /// Its change at the event.
    MidStep,
    Spread,
    BestSize(u8),
    GapNs,
    /// Twice Σ size × (price - reference), 1e-9.
    Notional,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingSpec {
    pub source: Source,
    /// Power of two above the longest window.
    pub capacity: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowSpec {
    pub ring: u16,
    pub events: u32,
    /// Whether Σ x² is wanted beside Σ x.
    pub squares: bool,
}

/// How a column is read: first from the book as it is, then from what was kept of the past. `s` is a side, `k` a level
/// from 1; `u16`s are positions of sums, windows and rings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    Spread,
    Mid,
    Microprice,
    MicropriceDistance { k: u8 },
    Imbalance { k: u8 },
    LevelImbalance { k: u8 },
    Depth { s: u8, k: u8 },
    DepthRatio { k: u8 },
    Concentration { s: u8, k: u8 },
    DepthDistance { s: u8, k: u8 },
    LevelGap { s: u8, k: u8 },
    Slope { s: u8, k: u8 },
    Orders { s: u8, k: u8 },
    OrderImbalance { k: u8 },
    MeanOrder { s: u8, k: u8 },
    LevelPrice { s: u8, k: u8 },
    LevelSize { s: u8, k: u8 },
    Input { input: u8, gain: f64 },
    Sum { sum: u16, gain: f64 },
    SumRatio { over: u16, under: u16 },
    SumRoot { sum: u16, gain: f64 },
    SumPrice { over: u16, under: u16 },
    MidDeviation { sum: u16, weight: u16 },
    MidChange { ring: u16, lag: u32 },
    Window { window: u16, gain: f64 },
    WindowRatio { over: u16, under: u16 },
    WindowRoot { window: u16 },
    WindowPrice { over: u16, under: u16 },
    TotalPrice,
    Zscore { window: u16 },
    SinceTrade,
    SinceMidChange,
    LastMidChange,
}

/// One column.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    pub op: Op,
    /// None for the value itself, otherwise ln(1 + value × this).
    pub log: Option<f64>,
}

/// Everything that [`super::Features`] needs to know of its set.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// One for each column, in order.
    pub steps: Vec<Step>,
    pub warmup_events: u64,
    /// Factors by which sums shrink at each event; those by time are set anew at each event.
    pub decays: Vec<f64>,
    /// Positions in `decays` and 1 / half-life in 1/ns.
    pub time_decays: Vec<(usize, f64)>,
    /// For each decay the inputs that are summed under it; sums lie in this order.
    pub sums: Vec<Vec<u8>>,
    pub rings: Vec<RingSpec>,
    pub windows: Vec<WindowSpec>,
    /// Levels to read from the book, at least 1.
    pub depth: usize,
    /// Whether the order flow of levels is an input.
    pub flow: bool,
    memories: Vec<Memory>,
}

impl Plan {
    pub fn compile(columns: &[Column], warmup_events: u64) -> Plan {
        let mut plan = Plan { depth: 1, warmup_events, ..Plan::default() };
        // Twice, because the position of a sum is known only when the sums of all decays before its own are.
        for _ in 0..2 {
            plan.steps = columns.iter().map(|column| plan.step(column)).collect();
        }
        plan
    }

    fn step(&mut self, column: &Column) -> Step {
        self.look_at(column);
        let op = now(column).unwrap_or_else(|| self.past(column));
        let log = match (column.log, column.kind) {
            (false, _) => None,
            (_, Kind::InterArrival | Kind::TimeSinceTrade | Kind::TimeSinceMidChange) => Some(1e6),
            _ => Some(1.0),
        };
        Step { op, log }
    }

    fn look_at(&mut self, column: &Column) {
        self.depth = self.depth.max(column.depth());
        self.flow |= matches!(column.kind, Kind::Ofi | Kind::OfiMean | Kind::OfiScaled);
        self.flow |= column.of == Some(Series::Ofi);
    }

    /// Columns that look back.
    fn past(&mut self, column: &Column) -> Op {
        let (side, level) = (column.side.unwrap_or(BookSide::Bid) as u8, column.level.unwrap_or(1));
        let memory = column.memory;
        match column.kind {
            Kind::Ofi => self.total(input::OFI + level - 1, 1.0, memory),
            Kind::OfiMean => self.total(input::OFI_SUM + level - 1, 1.0 / f64::from(level), memory),
            Kind::OfiScaled => self.ratio(input::OFI + level - 1, input::DEPTH + level - 1, memory),
            Kind::SignedVolume => self.total(input::SIGNED_VOLUME, 1.0, memory),
            Kind::Volume => self.total(input::VOLUME, 1.0, memory),
            Kind::VolumeImbalance => self.ratio(input::SIGNED_VOLUME, input::VOLUME, memory),
            Kind::TradeImbalance => self.ratio(input::TRADE_SIGN, input::TRADED, memory),
            Kind::AddIntensity => self.rate(input::ADDS + side, memory),
            Kind::CancelIntensity => self.rate(input::CANCELS + side, memory),
            Kind::ModifyIntensity => self.rate(input::MODIFIES + side, memory),
            Kind::FillIntensity => self.rate(input::FILLS + side, memory),
            Kind::TradeIntensity => self.rate(input::TRADES, memory),
            Kind::NetOrderFlow => self.total(input::NET_FLOW, 1.0, memory),
            Kind::InterArrival if memory == Memory::Plain => self.total(input::GAP, 1.0, memory),
            Kind::InterArrival => self.ratio(input::GAP, input::GAP_SEEN, memory),
            Kind::EwmaReturn => self.total(input::RETURN, 1.0, memory),
            Kind::EwmaVolatility => {
                let sum = self.sum(input::RETURN_SQUARED, memory);
                Op::SumRoot { sum, gain: rate_gain(memory) }
            }
            Kind::MidDeviation => {
                Op::MidDeviation { sum: self.sum(input::MID, memory), weight: self.sum(input::MID_SEEN, memory) }
            }
            Kind::VwapDistance => self.vwap(memory),
            Kind::MidChange => {
                let lag = window_events(memory);
                Op::MidChange { ring: self.ring(Source::Mid, lag), lag }
            }
            Kind::RealisedVolatility => Op::WindowRoot { window: self.window(Source::MidStep, memory, true) },
            Kind::Zscore => Op::Zscore { window: self.window(series_source(column.of), memory, true) },
            Kind::TimeSinceTrade => Op::SinceTrade,
            Kind::TimeSinceMidChange => Op::SinceMidChange,
            Kind::LastMidChange => Op::LastMidChange,
            kind => unreachable!("{kind:?} is of the book as it is: compiled by `now`"),
        }
    }

    /// The input of the last event, its decayed sum, or its sum over a window, times a gain.
    fn total(&mut self, input: u8, gain: f64, memory: Memory) -> Op {
        match memory {
            Memory::Plain => Op::Input { input, gain },
            Memory::Window { .. } => Op::Window { window: self.window(Source::Input(input), memory, false), gain },
            _ => Op::Sum { sum: self.sum(input, memory), gain },
        }
    }

    fn ratio(&mut self, over: u8, under: u8, memory: Memory) -> Op {
        match memory {
            Memory::Window { .. } => Op::WindowRatio {
                over: self.window(Source::Input(over), memory, false),
                under: self.window(Source::Input(under), memory, false),
            },
            _ => Op::SumRatio { over: self.sum(over, memory), under: self.sum(under, memory) },
        }
    }

    fn rate(&mut self, input: u8, memory: Memory) -> Op {
        Op::Sum { sum: self.sum(input, memory), gain: rate_gain(memory) }
    }

    fn vwap(&mut self, memory: Memory) -> Op {
        match memory {
            Memory::Plain => Op::TotalPrice,
            Memory::Window { .. } => Op::WindowPrice {
                over: self.window(Source::Notional, memory, false),
                under: self.window(Source::Input(input::VOLUME), memory, false),
            },
            _ => Op::SumPrice { over: self.sum(input::NOTIONAL, memory), under: self.sum(input::VOLUME, memory) },
        }
    }

    fn sum(&mut self, input: u8, memory: Memory) -> u16 {
        let decay = usize::from(self.decay(memory));
        let before: usize = self.sums[..decay].iter().map(Vec::len).sum();
        before as u16 + find_or_push(&mut self.sums[decay], input)
    }

    fn decay(&mut self, memory: Memory) -> u16 {
        let known = self.memories.len();
        let at = find_or_push(&mut self.memories, memory);
        if usize::from(at) == known {
            match memory {
                Memory::Time { half_life_ns } => self.time_decays.push((known, 1.0 / half_life_ns as f64)),
                _ => debug_assert!(matches!(memory, Memory::Events { .. })),
            }
            self.decays.push(event_decay(memory));
            self.sums.push(Vec::new());
        }
        at
    }

    fn ring(&mut self, source: Source, longest: u32) -> u16 {
        let capacity = (longest as usize + 1).next_power_of_two();
        let at = self.rings.iter().position(|ring| ring.source == source).unwrap_or_else(|| {
            self.rings.push(RingSpec { source, capacity });
            self.rings.len() - 1
        });
        self.rings[at].capacity = self.rings[at].capacity.max(capacity);
        at as u16
    }

    fn window(&mut self, source: Source, memory: Memory, squares: bool) -> u16 {
        let events = window_events(memory);
        let ring = self.ring(source, events);
        find_or_push(&mut self.windows, WindowSpec { ring, events, squares })
    }
}

/// Columns of the book as it is.
fn now(column: &Column) -> Option<Op> {
    let k = column.level.unwrap_or(1);
    let s = column.side.unwrap_or(BookSide::Bid) as u8;
    Some(match column.kind {
        Kind::Spread => Op::Spread,
        Kind::Mid => Op::Mid,
        Kind::Microprice => Op::Microprice,
        Kind::MicropriceDistance => Op::MicropriceDistance { k },
        Kind::Imbalance => Op::Imbalance { k },
        Kind::LevelImbalance => Op::LevelImbalance { k },
        Kind::Depth => Op::Depth { s, k },
        Kind::DepthRatio => Op::DepthRatio { k },
        Kind::DepthConcentration => Op::Concentration { s, k },
        Kind::DepthDistance => Op::DepthDistance { s, k },
        Kind::LevelGap => Op::LevelGap { s, k },
        Kind::BookSlope => Op::Slope { s, k },
        Kind::OrderCount => Op::Orders { s, k },
        Kind::OrderCountImbalance => Op::OrderImbalance { k },
        Kind::MeanOrderSize => Op::MeanOrder { s, k },
        Kind::LevelPrice => Op::LevelPrice { s, k },
        Kind::LevelSize => Op::LevelSize { s, k },
        _ => return None,
    })
}

/// By how much a sum with this memory shrinks at an event at the same time as the one before.
fn event_decay(memory: Memory) -> f64 {
    match memory {
        Memory::Events { half_life } => exp2_neg(1.0 / f64::from(half_life)),
        _ => 1.0,
    }
}

/// From a decayed sum of counts to a rate: per second, or per event.
fn rate_gain(memory: Memory) -> f64 {
    match memory {
        Memory::Time { half_life_ns } => std::f64::consts::LN_2 * 1e9 / half_life_ns as f64,
        _ => 1.0 - event_decay(memory),
    }
}

fn window_events(memory: Memory) -> u32 {
    match memory {
        Memory::Window { events } => events,
        _ => 1,
    }
}

fn series_source(of: Option<Series>) -> Source {
    match of {
        None | Some(Series::Mid) => Source::Mid,
        Some(Series::Spread) => Source::Spread,
        Some(Series::BidSize) => Source::BestSize(0),
        Some(Series::AskSize) => Source::BestSize(1),
        Some(Series::Ofi) => Source::Input(input::OFI),
        Some(Series::SignedVolume) => Source::Input(input::SIGNED_VOLUME),
        Some(Series::Volume) => Source::Input(input::VOLUME),
        Some(Series::InterArrival) => Source::GapNs,
    }
}

fn find_or_push<T: PartialEq>(all: &mut Vec<T>, one: T) -> u16 {
    let at = all.iter().position(|known| *known == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    });
    at as u16
}
