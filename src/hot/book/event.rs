//! What happened between two event ends, summed as the records pass.

/// Number of changes and their quantity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    /// How many.
    pub count: u32,
    /// Quantity, in the instrument's size unit.
    pub size: u64,
}

impl Flow {
    #[inline]
    pub(super) fn add(&mut self, size: u64) {
        self.count += 1;
        self.size += size;
    }
}

/// What happened since the last F_LAST: complete when the tick just applied [`is_last`](crate::hot::decode::Tick::is_last),
/// restarted by the first tick after that. Status records are not part of any event.
///
/// Flows are indexed by the side of the resting order, `Side::Bid as usize` or `Side::Ask as usize`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// New orders, modifies of unknown orders included; for MBP feeds, records with action `A`.
    pub added: [Flow; 2],
    /// Quantity cancelled, except what a fill of the same event had taken already.
    pub cancelled: [Flow; 2],
    /// Orders modified, with their new quantity; a modify that only books a fill of the same event is not counted.
    pub modified: [Flow; 2],
    /// Fills of resting orders.
    pub filled: [Flow; 2],
    /// Trades.
    pub trades: u32,
    /// Quantity bought by aggressors.
    pub buy_volume: u64,
    /// Quantity sold by aggressors.
    pub sell_volume: u64,
    /// Quantity traded, trades without a stated aggressor included.
    pub volume: u64,
    /// Σ price × quantity of the trades, in 1e-9.
    pub notional: i128,
    /// A record of the event came from a snapshot: state, not news.
    pub snapshot: bool,
    /// The book was cleared.
    pub cleared: bool,
    /// Records of the event so far.
    pub ticks: u32,
}
