//! Records of one symbol: what changed among the best levels, and trades.

use pillion_shm::records::{BidAskPair, Mbp10Msg, MbpMsg, RecordHeader, TradeMsg, UNDEF_PRICE, flags, rtype};

use super::depth::LEVELS;
use super::line::Trade;
use crate::hot::decode::Side;

/// Times and number of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub instrument_id: u32,
    pub ts_event_ns: u64,
    pub ts_recv_ns: u64,
    pub sequence: u32,
}

/// One change, as a record tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    action: u8,
    side: u8,
    price: i64,
    size: u32,
    depth: u8,
}

/// The record for a change of the best levels from `old` to `new`; `None` when they are equal.
pub(super) fn quotes(
    stamp: &Stamp,
    old: &[BidAskPair; LEVELS],
    new: &[BidAskPair; LEVELS],
    extra_flags: u8,
) -> Option<Mbp10Msg> {
    let change = match (changed(old, new, Side::Bid), changed(old, new, Side::Ask)) {
        (None, None) => return None,
        (Some(change), None) | (None, Some(change)) => change,
        (Some(bid), Some(ask)) => {
            Change { action: b'M', side: b'N', price: UNDEF_PRICE, size: 0, depth: bid.depth.min(ask.depth) }
        }
    };
    Some(message(stamp, change, new, extra_flags))
}

/// The book is gone: no level is known.
pub(super) fn clear(stamp: &Stamp) -> Mbp10Msg {
    let nothing = BidAskPair { bid_px: UNDEF_PRICE, ask_px: UNDEF_PRICE, bid_sz: 0, ask_sz: 0, bid_ct: 0, ask_ct: 0 };
    let change = Change { action: b'R', side: b'N', price: UNDEF_PRICE, size: 0, depth: 0 };
    message(stamp, change, &[nothing; LEVELS], flags::MAYBE_BAD_BOOK)
}

/// A trade, an event of its own.
pub(super) fn trade(stamp: &Stamp, trade: &Trade, size: u32) -> TradeMsg {
    let side = match trade.aggressor {
        Side::Bid => b'B',
        Side::Ask => b'A',
        Side::None => b'N',
    };
    let change = Change { action: b'T', side, price: trade.price, size, depth: 0 };
    event(stamp, rtype::TRADE, size_of::<TradeMsg>(), change, 0)
}

fn message(stamp: &Stamp, change: Change, levels: &[BidAskPair; LEVELS], extra_flags: u8) -> Mbp10Msg {
    let event = event(stamp, rtype::MBP_10, size_of::<Mbp10Msg>(), change, extra_flags);
    MbpMsg { event, levels: *levels }
}

fn event(stamp: &Stamp, rtype: u8, bytes: usize, change: Change, extra_flags: u8) -> TradeMsg {
    let hd = RecordHeader {
        length: (bytes / 4) as u8,
        rtype,
        publisher_id: 0,
        instrument_id: stamp.instrument_id,
        ts_event: stamp.ts_event_ns,
    };
    let Change { action, side, price, size, depth } = change;
    let flags = flags::LAST | extra_flags;
    let (ts_recv, sequence) = (stamp.ts_recv_ns, stamp.sequence);
    TradeMsg { hd, price, size, action, side, flags, depth, ts_recv, ts_in_delta: 0, sequence }
}

/// The best-ranked change of a side: a level that grew or came is an add of the difference, one that shrank or went a cancel.
fn changed(old: &[BidAskPair; LEVELS], new: &[BidAskPair; LEVELS], side: Side) -> Option<Change> {
    let level = |pair: &BidAskPair| match side {
        Side::Bid => (pair.bid_px, pair.bid_sz),
        _ => (pair.ask_px, pair.ask_sz),
    };
    let depth = old.iter().zip(new).position(|(old, new)| level(old) != level(new))?;
    let ((old_price, old_size), (new_price, new_size)) = (level(&old[depth]), level(&new[depth]));
    let better = match side {
        Side::Bid => new_price > old_price,
        _ => new_price < old_price,
    };
    let (action, price, size) = if old_price == new_price {
        let action = if new_size > old_size { b'A' } else { b'C' };
        (action, new_price, new_size.abs_diff(old_size))
    } else if new_price != UNDEF_PRICE && (old_price == UNDEF_PRICE || better) {
        (b'A', new_price, new_size)
    } else {
        (b'C', old_price, old_size)
    };
    Some(Change { action, side: if side == Side::Bid { b'B' } else { b'A' }, price, size, depth: depth as u8 })
}
