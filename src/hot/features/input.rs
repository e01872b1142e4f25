//! Positions in the array of an event's inputs.

/// e of level 1, then of levels 2..10.
pub const OFI: u8 = 0;
/// e of levels 1..k added up.
pub const OFI_SUM: u8 = 10;
/// Mean of bid and ask size at each level.
pub const DEPTH: u8 = 20;
pub const SIGNED_VOLUME: u8 = 30;
pub const VOLUME: u8 = 31;
pub const TRADE_SIGN: u8 = 32;
pub const TRADED: u8 = 33;
/// Bid, then ask; likewise the next three.
pub const ADDS: u8 = 34;
pub const CANCELS: u8 = 36;
pub const MODIFIES: u8 = 38;
pub const FILLS: u8 = 40;
pub const TRADES: u8 = 42;
pub const NET_FLOW: u8 = 43;
/// Seconds since the previous event, and 1 once there is one.
pub const GAP: u8 = 44;
pub const GAP_SEEN: u8 = 45;
pub const RETURN: u8 = 46;
pub const RETURN_SQUARED: u8 = 47;
/// Σ size × (price - reference), in ticks.
pub const NOTIONAL: u8 = 48;
/// Mid less the first mid, in ticks, and 1 once there is one.
pub const MID: u8 = 49;
pub const MID_SEEN: u8 = 50;
/// A power of two, so that a masked index is within the array.
pub const ROOM: usize = 64;
