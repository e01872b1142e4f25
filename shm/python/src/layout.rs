//! Where each field of a record stands, for the tests of the package's dtypes.

use bytemuck::Zeroable;
use pillion_shm::records::{BidAskPair, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, StatusMsg, TradeMsg};
use pillion_shm::{Signal, layout};
use pyo3::prelude::*;
use std::mem::offset_of;

/// Name, byte offset and size of a field.
type Field = (&'static str, usize, usize);
/// Name of a record, its size in bytes, its fields.
type Record = (&'static str, usize, Vec<Field>);

macro_rules! record {
    ($name:literal, $type:ty, $($field:ident),+) => {{
        let zero = <$type>::zeroed();
        ($name, size_of::<$type>(), vec![$((stringify!($field), offset_of!($type, $field), size_of_val(&zero.$field))),+])
    }};
}

/// Every record as Rust lays it out; nested fields by the name of their struct.
#[pyfunction]
pub fn record_layout() -> (u32, Vec<Record>) {
    let records = vec![
        record!("RecordHeader", RecordHeader, length, rtype, publisher_id, instrument_id, ts_event),
        record!(
            "MboMsg",
            MboMsg,
            hd,
            order_id,
            price,
            size,
            flags,
            channel_id,
            action,
            side,
            ts_recv,
            ts_in_delta,
            sequence
        ),
        record!("TradeMsg", TradeMsg, hd, price, size, action, side, flags, depth, ts_recv, ts_in_delta, sequence),
        record!("BidAskPair", BidAskPair, bid_px, ask_px, bid_sz, ask_sz, bid_ct, ask_ct),
        record!("Mbp1Msg", Mbp1Msg, event, levels),
        record!("Mbp10Msg", Mbp10Msg, event, levels),
        record!(
            "StatusMsg",
            StatusMsg,
            hd,
            ts_recv,
            action,
            reason,
            trading_event,
            is_trading,
            is_quoting,
            is_short_sell_restricted,
            _reserved
        ),
        record!(
            "Signal",
            Signal,
            ring_seq,
            ts_event,
            tick_ns,
            signal_ns,
            instrument,
            model,
            outputs_len,
            revision,
            flags,
            outputs
        ),
    ];
    (layout::LAYOUT_VERSION, records)
}
