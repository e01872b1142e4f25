//! Market data records, byte for byte the layouts of Databento's DBN version 3.
//!
//! Prices are `i64` in units of 1e-9 ([`UNDEF_PRICE`] = none), times are ns since the UNIX epoch, sizes are in the
//! instrument's size unit. A record's `length` counts 4-byte words, so a ring slot tells its own record's size.

use bytemuck::{Pod, Zeroable};

mod view;

pub use view::View;

/// Price of "no price": the level is absent or the record has none.
pub const UNDEF_PRICE: i64 = i64::MAX;

/// Record types (`rtype`) that Pillion reads.
pub mod rtype {
    /// Trades (MBP-0).
    pub const TRADE: u8 = 0x00;
    /// Market by price, one level.
    pub const MBP_1: u8 = 0x01;
    /// Market by price, ten levels.
    pub const MBP_10: u8 = 0x0A;
    /// Trading status.
    pub const STATUS: u8 = 0x12;
    /// Market by order.
    pub const MBO: u8 = 0xA0;
}

/// Bits of a record's `flags`.
pub mod flags {
    /// Last record of its event for this instrument: books are consistent here.
    pub const LAST: u8 = 1 << 7;
    /// Top-of-book record, not an order.
    pub const TOB: u8 = 1 << 6;
    /// From a snapshot or a replay, not live.
    pub const SNAPSHOT: u8 = 1 << 5;
    /// Aggregated price level record.
    pub const MBP: u8 = 1 << 4;
    /// `ts_recv` is not reliable.
    pub const BAD_TS_RECV: u8 = 1 << 3;
    /// An unrecoverable gap was seen by the venue's capture.
    pub const MAYBE_BAD_BOOK: u8 = 1 << 2;
}

/// Header of every record, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RecordHeader {
    /// Record length in 4-byte words, header included.
    pub length: u8,
    /// One of [`rtype`].
    pub rtype: u8,
    /// Venue and dataset.
    pub publisher_id: u16,
    /// Venue's number of the instrument.
    pub instrument_id: u32,
    /// Matching-engine time, ns since the epoch.
    pub ts_event: u64,
}

/// Market by order, 56 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct MboMsg {
    /// Common header, `rtype` 0xA0.
    pub hd: RecordHeader,
    /// Venue's order number.
    pub order_id: u64,
    /// Price in 1e-9.
    pub price: i64,
    /// Quantity in size units; for a cancel, the quantity taken off.
    pub size: u32,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Feed channel.
    pub channel_id: u8,
    /// `A` add, `C` cancel, `M` modify, `R` clear, `T` trade, `F` fill, `N` none.
    pub action: u8,
    /// `B` bid, `A` ask, `N` none; the aggressor's side on `T`, the resting order's otherwise.
    pub side: u8,
    /// Capture time, ns since the epoch.
    pub ts_recv: u64,
    /// Sending time, ns before `ts_recv`.
    pub ts_in_delta: i32,
    /// Venue's message number.
    pub sequence: u32,
}

/// One level of both sides, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct BidAskPair {
    /// Bid price in 1e-9, [`UNDEF_PRICE`] when absent.
    pub bid_px: i64,
    /// Ask price in 1e-9, [`UNDEF_PRICE`] when absent.
    pub ask_px: i64,
    /// Bid quantity.
    pub bid_sz: u32,
    /// Ask quantity.
    pub ask_sz: u32,
    /// Bid order count.
    pub bid_ct: u32,
    /// Ask order count.
    pub ask_ct: u32,
}

/// A trade, 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct TradeMsg {
    /// Common header, `rtype` 0x00.
    pub hd: RecordHeader,
    /// Price in 1e-9.
    pub price: i64,
    /// Quantity in size units.
    pub size: u32,
    /// Always `T`.
    pub action: u8,
    /// Aggressor's side.
    pub side: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Book level of the trade.
    pub depth: u8,
    /// Capture time, ns since the epoch.
    pub ts_recv: u64,
    /// Sending time, ns before `ts_recv`.
    pub ts_in_delta: i32,
    /// Venue's message number.
    pub sequence: u32,
}

/// Market by price with `N` levels: the event and the book after it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbpMsg<const N: usize> {
    /// The event, laid out as a [`TradeMsg`] whose `action` may be any of the book's.
    pub event: TradeMsg,
    /// Levels after the event, best first.
    pub levels: [BidAskPair; N],
}

/// Market by price, one level, 80 bytes.
pub type Mbp1Msg = MbpMsg<1>;
/// Market by price, ten levels, 368 bytes.
pub type Mbp10Msg = MbpMsg<10>;

// SAFETY: repr(C) of two Pod parts, both of alignment 8 and a size that is a multiple of 8: no padding.
unsafe impl<const N: usize> Pod for MbpMsg<N> {}
// SAFETY: both parts are Zeroable.
unsafe impl<const N: usize> Zeroable for MbpMsg<N> {}

/// Trading status, 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct StatusMsg {
    /// Common header, `rtype` 0x12.
    pub hd: RecordHeader,
    /// Capture time, ns since the epoch.
    pub ts_recv: u64,
    /// DBN `StatusAction`: 7 trading, 8 halt, 15 not available, ...
    pub action: u16,
    /// DBN `StatusReason`.
    pub reason: u16,
    /// DBN `TradingEvent`.
    pub trading_event: u16,
    /// `Y`, `N` or `~` (unknown).
    pub is_trading: u8,
    /// `Y`, `N` or `~`.
    pub is_quoting: u8,
    /// `Y`, `N` or `~`.
    pub is_short_sell_restricted: u8,
    /// Zero.
    pub _reserved: [u8; 7],
}

const _: () = assert!(size_of::<RecordHeader>() == 16);
const _: () = assert!(size_of::<MboMsg>() == 56);
const _: () = assert!(size_of::<TradeMsg>() == 48);
const _: () = assert!(size_of::<Mbp1Msg>() == 80);
const _: () = assert!(size_of::<Mbp10Msg>() == 368);
const _: () = assert!(size_of::<StatusMsg>() == 40);
