//! The catalogue: every kind of feature with its formula, unit, source and its value where it is undefined.
//!
//! Notation. `k` counts levels from 1 (best). `p_bk`, `q_bk`, `n_bk` are price, size and order count of bid level k
//! (`a`: ask); an absent level has size and count 0. `Q_b(k)` is the sum of `q_b1..q_bk`. `m = (p_b1 + p_a1) / 2` is the
//! mid, defined while both sides have a level (a crossed book included). Where the mid is undefined the last one stands.
//! A tick is the instrument's tick size.
//!
//! Memory. A feature of the flow looks at the last event alone, or at all events since the last reset with weights
//! `w = 2^(-age / half-life)` (age in seconds of `ts_event`, or in events), or at the last n events with equal weights.
//! Time never goes backwards: an event stamped before its predecessor counts as simultaneous with it.
//! Over windows, what is summed is held within ±2^50 (of 1e-9 of price, ns or size units), so that the sums are exact.
//! A ratio of weighted sums is 0 where its denominator is below 1e-12 (nothing seen for about 40 half-lives).

/// What an entry of one kind may and must say.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// `sides = ["bid", "ask"]` (the default).
    pub sides: bool,
    /// `levels = [..]`, required, from this to this.
    pub levels: Option<(u8, u8)>,
    /// May stand without memory: the last event alone, or everything since the reset.
    pub plain: bool,
    /// `half_life_s = [..]` and `half_life_events = [..]`: decaying in seconds and in events.
    pub time: bool,
    /// See `time`.
    pub events: bool,
    /// `window_events = [..]`: the last n events.
    pub window: bool,
    /// `scale = "raw"` (the default) or `"log"`: ln(1 + x), with times in µs.
    pub scale: bool,
    /// `of = [..]`, required: names of series.
    pub of: bool,
}

const PLAIN: Takes = Takes {
    sides: false,
    levels: None,
    plain: true,
    time: false,
    events: false,
    window: false,
    scale: false,
    of: false,
};
const DECAYED: Takes = Takes { plain: false, time: true, events: true, ..PLAIN };
const LEVELS: Takes = Takes { levels: Some((1, 10)), ..PLAIN };
const SIDE_LEVELS: Takes = Takes { sides: true, ..LEVELS };
const INTENSITY: Takes = Takes { sides: true, scale: true, ..DECAYED };

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in TOML and at the head of column names.
    pub name: &'static str,
    /// Parameters.
    pub takes: Takes,
    /// How it is computed.
    pub formula: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// Value where the formula has none.
    pub undefined: &'static str,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $takes:expr, $formula:literal, $unit:literal, $source:literal, $undefined:literal;)*) => {
        /// A kind of feature; `Kind::spec` has the same words for programs.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind {
            $(
                #[doc = concat!(
                    "`", $name, "`: ", $formula, "\n\nUnit: ", $unit, ". Source: ", $source,
                    ". Where undefined: ", $undefined, "."
                )]
                $kind,
            )*
        }

        impl Kind {
            /// Every kind, in the order of the catalogue.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// This kind's row of the catalogue.
            pub fn spec(self) -> &'static Spec {
                match self {
                    $(Kind::$kind => {
                        const SPEC: Spec = Spec {
                            name: $name, takes: $takes, formula: $formula, unit: $unit, source: $source,
                            undefined: $undefined,
                        };
                        &SPEC
                    })*
                }
            }
        }
    };
}

kinds! {
    // The shape of the book.
    Spread "spread" PLAIN,
        "p_a1 - p_b1", "ticks", "Harris, Trading and Exchanges (2003)", "0 when a side is empty";
    Mid "mid" PLAIN,
        "m", "ticks", "Harris, Trading and Exchanges (2003)", "the last mid; 0 before the first";
    MidChange "mid_change" Takes { plain: false, window: true, ..PLAIN },
        "m now - m n events ago", "ticks", "difference of mids",
        "events before the first mid count as having it, fewer than n events: since the first event";
    MidDeviation "mid_deviation" DECAYED,
        "m - sum(w m) / sum(w), over events with a mid", "ticks", "RiskMetrics (1996), exponential weights",
        "0 before the first mid";
    Microprice "microprice" PLAIN,
        "(p_b1 q_a1 + p_a1 q_b1) / (q_a1 + q_b1)", "ticks", "Gatheral and Oomen (2010); Stoikov (2018)",
        "as mid when a side is empty";
    MicropriceDistance "microprice_distance" LEVELS,
        "(p_a1 - p_b1) / 2 * (Q_b(k) - Q_a(k)) / (Q_b(k) + Q_a(k)); k = 1: microprice - m", "ticks",
        "Gatheral and Oomen (2010); Stoikov (2018)", "0 when a side is empty";
    Imbalance "imbalance" LEVELS,
        "(Q_b(k) - Q_a(k)) / (Q_b(k) + Q_a(k))", "1, in [-1, 1]",
        "Cartea, Jaimungal and Penalva (2015); Gould and Bonart (2016)", "0 when both sides are empty";
    LevelImbalance "level_imbalance" LEVELS,
        "(q_bk - q_ak) / (q_bk + q_ak)", "1, in [-1, 1]", "Gould and Bonart (2016), at level k",
        "0 when neither side has level k";
    Depth "depth" Takes { scale: true, ..SIDE_LEVELS },
        "Q(k) of the side", "size units", "Biais, Hillion and Spatt (1995)", "0 when the side is empty";
    DepthRatio "depth_ratio" LEVELS,
        "ln((1 + Q_b(k)) / (1 + Q_a(k)))", "1", "Biais, Hillion and Spatt (1995), as a log ratio",
        "an empty side has Q = 0";
    DepthConcentration "depth_concentration" Takes { levels: Some((2, 10)), ..SIDE_LEVELS },
        "q_1 / Q(k) of the side", "1, in [0, 1]", "ratio of depths", "0 when the side is empty";
    DepthDistance "depth_distance" SIDE_LEVELS,
        "sum(q_i |p_i - m|, i = 1..k) / Q(k) of the side", "ticks", "size-weighted mean distance of depth",
        "0 when either side is empty";
    LevelGap "level_gap" Takes { levels: Some((1, 9)), ..SIDE_LEVELS },
        "|p_(k+1) - p_k| of the side", "ticks", "Farmer et al. (2004)", "0 when the side has no level k + 1";
    BookSlope "book_slope" Takes { levels: Some((2, 10)), ..SIDE_LEVELS },
        "sum(d_i Q(i)) / sum(d_i^2), d_i = |p_i - m| in ticks, i = 1..k: least squares through the mid",
        "size units per tick", "Naes and Skjeltorp (2006), linear form", "0 when either side is empty or all d_i are 0";
    OrderCount "order_count" Takes { scale: true, ..SIDE_LEVELS },
        "sum(n_i, i = 1..k) of the side", "orders", "count", "0 when the side is empty";
    OrderCountImbalance "order_count_imbalance" LEVELS,
        "(N_b(k) - N_a(k)) / (N_b(k) + N_a(k)), N(k) = sum(n_i, i = 1..k)", "1, in [-1, 1]",
        "imbalance of counts", "0 when there are no orders (or no counts in the feed)";
    MeanOrderSize "mean_order_size" Takes { scale: true, ..SIDE_LEVELS },
        "Q(k) / sum(n_i, i = 1..k) of the side", "size units", "ratio", "0 when there are no orders";
    LevelPrice "level_price" SIDE_LEVELS,
        "p_k - m (bid: negative, ask: positive)", "ticks", "Zhang, Zohren and Roberts (2019), raw levels around the mid",
        "0 when level k is absent or the other side is empty";
    LevelSize "level_size" SIDE_LEVELS,
        "q_k of the side / (Q_b(10) + Q_a(10))", "1, in [0, 1]", "Zhang, Zohren and Roberts (2019), normalised sizes",
        "0 when level k is absent";

    // Order flow.
    Ofi "ofi" Takes { levels: Some((1, 10)), plain: true, window: true, ..DECAYED },
        "sum(w e_k); e_k = q_bk [p_bk >= p'_bk] - q'_bk [p_bk <= p'_bk] - q_ak [p_ak <= p'_ak] + q'_ak [p_ak >= p'_ak], \
         ' = at the previous event; an absent bid is at -inf, an absent ask at +inf, both with size 0",
        "size units", "Cont, Kukanov and Stoikov (2014) for k = 1; Xu, Gould and Howison (2018) for the levels",
        "e_k = 0 at the first event";
    OfiMean "ofi_mean" Takes { levels: Some((2, 10)), plain: true, window: true, ..DECAYED },
        "sum(w (e_1 + .. + e_k) / k), e as for ofi", "size units",
        "Xu, Gould and Howison (2018); Cont, Cucuringu and Zhang (2023), equal weights", "0 at the first event";
    OfiScaled "ofi_scaled" Takes { levels: Some((1, 10)), ..DECAYED },
        "sum(w e_k) / sum(w (q_bk + q_ak) / 2), e as for ofi", "1",
        "Cont, Cucuringu and Zhang (2023), scaling by average depth", "0 while the weighted depth is 0";
    SignedVolume "signed_volume" Takes { plain: true, window: true, ..DECAYED },
        "sum(w (V_buy - V_sell)), V by the aggressor's side", "size units", "Hasbrouck (1991)", "0 without trades";
    Volume "volume" Takes { plain: true, window: true, scale: true, ..DECAYED },
        "sum(w V), V of all trades whatever the side", "size units", "sum", "0 without trades";
    VolumeImbalance "volume_imbalance" Takes { window: true, ..DECAYED },
        "sum(w (V_buy - V_sell)) / sum(w V)", "1, in [-1, 1]", "Easley, Lopez de Prado and O'Hara (2012), signed",
        "0 without trades";
    TradeImbalance "trade_imbalance" Takes { window: true, ..DECAYED },
        "sum(w sign(V_buy - V_sell)) / sum(w), over events with a trade", "1, in [-1, 1]",
        "Hasbrouck (1991), trade sign; Lee and Ready (1991)", "0 without trades";
    AddIntensity "add_intensity" INTENSITY,
        "ln(2) / h * sum(w count) (time) or (1 - 2^(-1/h)) * sum(w count) (events), count = orders added on the side",
        "1/s (time) or 1/event (events)", "Hawkes (1971), exponential kernel; Cont, Stoikov and Talreja (2010)",
        "0 before the first";
    CancelIntensity "cancel_intensity" INTENSITY,
        "as add_intensity, count = orders of the side cancelled in full or part", "1/s (time) or 1/event (events)",
        "Cont, Stoikov and Talreja (2010)", "0 before the first";
    ModifyIntensity "modify_intensity" INTENSITY,
        "as add_intensity, count = orders of the side modified", "1/s (time) or 1/event (events)",
        "Cont, Stoikov and Talreja (2010)", "0 before the first";
    FillIntensity "fill_intensity" INTENSITY,
        "as add_intensity, count = resting orders of the side filled in full or part", "1/s (time) or 1/event (events)",
        "Cont, Stoikov and Talreja (2010)", "0 before the first";
    TradeIntensity "trade_intensity" Takes { scale: true, ..DECAYED },
        "as add_intensity, count = trades", "1/s (time) or 1/event (events)", "Bacry, Mastromatteo and Muzy (2015)",
        "0 before the first";
    NetOrderFlow "net_order_flow" Takes { plain: true, ..DECAYED },
        "sum(w f), f = (added - cancelled - filled) size of bid orders - the same of ask orders", "size units",
        "Cont, Kukanov and Stoikov (2014), over the whole book", "0 at the start";

    // Time.
    InterArrival "inter_arrival" Takes { plain: true, events: true, scale: true, ..PLAIN },
        "time since the previous event; with a half-life sum(w dt) / sum(w), from the second event on", "s (log: of µs)",
        "Engle and Russell (1998)", "0 at the first event";
    TimeSinceTrade "time_since_trade" Takes { scale: true, ..PLAIN },
        "time since the last event with a trade", "s (log: of µs)", "Engle and Russell (1998)",
        "before the first trade: time since the first event";
    TimeSinceMidChange "time_since_mid_change" Takes { scale: true, ..PLAIN },
        "time since the last event that changed the mid", "s (log: of µs)", "Engle and Russell (1998), price durations",
        "before the first change: time since the first event";

    // Price.
    LastMidChange "last_mid_change" PLAIN,
        "the last change of the mid that was not 0", "ticks", "Roll (1984), bounce", "0 before the first";
    EwmaReturn "ewma_return" DECAYED,
        "sum(w r), r = (m - m') / |m'| * 1e4 at each event", "basis points", "RiskMetrics (1996), exponential weights",
        "r = 0 at the first mid and where m' = 0";
    EwmaVolatility "ewma_volatility" DECAYED,
        "sqrt(ln(2) / h * sum(w r^2)) (time) or sqrt((1 - 2^(-1/h)) * sum(w r^2)) (events), r as for ewma_return",
        "basis points per sqrt(s) (time) or per sqrt(event) (events)", "RiskMetrics (1996)", "0 before the first change";
    RealisedVolatility "realised_volatility" Takes { plain: false, window: true, ..PLAIN },
        "sqrt(sum((m - m')^2)) over the last n events", "ticks", "Andersen and Bollerslev (1998)",
        "0 before the first change";
    VwapDistance "vwap_distance" Takes { plain: true, window: true, ..DECAYED },
        "m - sum(w V p) / sum(w V); without memory over all trades since the reset", "ticks",
        "Berkowitz, Logue and Noser (1988)", "0 without trades or before the first mid";
    Zscore "zscore" Takes { plain: false, window: true, of: true, ..PLAIN },
        "(x - mean) / population standard deviation of x over the last n events, this one included", "1",
        "standard score", "0 when the deviation is 0";
}

/// A series that [`Kind::Zscore`] standardises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Series {
    /// Mid.
    Mid,
    /// Spread, 0 when a side is empty.
    Spread,
    /// Size of the best bid, 0 when there is none.
    BidSize,
    /// Size of the best ask, 0 when there is none.
    AskSize,
    /// `e_1` of [`Kind::Ofi`].
    Ofi,
    /// Buy less sell volume of the event.
    SignedVolume,
    /// Volume of the event.
    Volume,
    /// Time since the previous event, 0 at the first.
    InterArrival,
}

impl Series {
    /// Every series with its name in TOML.
    pub const ALL: &'static [(&'static str, Series)] = &[
        ("mid", Series::Mid),
        ("spread", Series::Spread),
        ("bid_size", Series::BidSize),
        ("ask_size", Series::AskSize),
        ("ofi", Series::Ofi),
        ("signed_volume", Series::SignedVolume),
        ("volume", Series::Volume),
        ("inter_arrival", Series::InterArrival),
    ];

    /// Name in TOML and in column names.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, series)| *series == self).map_or("", |(name, _)| name)
    }
}
