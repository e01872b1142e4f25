/// @file
/// What rings and board carry: market data records, byte for byte those of Databento's DBN version 3, and signals.
///
/// A databento-cpp user may `memcpy` between the two libraries' structs of one name. Prices are in units of 1e-9,
/// times are ns since the UNIX epoch, sizes are in the instrument's size unit.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace pillion {

/// Price of "no price": the level is absent or the record has none.
inline constexpr std::int64_t undef_price = INT64_MAX;

/// Record types, the values of `RecordHeader::rtype`.
namespace rtype {
inline constexpr std::uint8_t trade = 0x00;  ///< Trades (MBP-0).
inline constexpr std::uint8_t mbp_1 = 0x01;  ///< Market by price, one level.
inline constexpr std::uint8_t mbp_10 = 0x0A; ///< Market by price, ten levels.
inline constexpr std::uint8_t status = 0x12; ///< Trading status.
inline constexpr std::uint8_t mbo = 0xA0;    ///< Market by order.
} // namespace rtype

/// Bits of a market data record's `flags`.
namespace record_flags {
inline constexpr std::uint8_t last = 128;          ///< Last record of its event: books are consistent here.
inline constexpr std::uint8_t tob = 64;            ///< Top-of-book record, not an order.
inline constexpr std::uint8_t snapshot = 32;       ///< From a snapshot or a replay, not live.
inline constexpr std::uint8_t mbp = 16;            ///< Aggregated price level record.
inline constexpr std::uint8_t bad_ts_recv = 8;     ///< `ts_recv` is not reliable.
inline constexpr std::uint8_t maybe_bad_book = 4;  ///< The venue's capture saw an unrecoverable gap.
} // namespace record_flags

/// Header of every market data record, 16 bytes.
struct RecordHeader {
    std::uint8_t length;         ///< Record length in 4-byte words, header included.
    std::uint8_t rtype;          ///< One of pillion::rtype.
    std::uint16_t publisher_id;  ///< Venue and dataset.
    std::uint32_t instrument_id; ///< Venue's number of the instrument.
    std::uint64_t ts_event;      ///< Matching-engine time, ns since the epoch.
};

/// Market by order, 56 bytes.
struct MboMsg {
    static constexpr std::uint8_t record_type = rtype::mbo;
    RecordHeader hd;          ///< Common header.
    std::uint64_t order_id;   ///< Venue's order number.
    std::int64_t price;       ///< 1e-9, or undef_price.
    std::uint32_t size;       ///< Quantity in size units; for a cancel, the quantity taken off.
    std::uint8_t flags;       ///< Bits of record_flags.
    std::uint8_t channel_id;  ///< Feed channel.
    char action;              ///< A add, C cancel, M modify, R clear, T trade, F fill, N none.
    char side;                ///< B bid, A ask, N none; the aggressor's on T, the resting order's otherwise.
    std::uint64_t ts_recv;    ///< Capture time, ns since the epoch.
    std::int32_t ts_in_delta; ///< Sending time, ns before ts_recv.
    std::uint32_t sequence;   ///< Venue's message number.
};

/// One level of both sides, 32 bytes.
struct BidAskPair {
    std::int64_t bid_px;  ///< 1e-9, undef_price when absent.
    std::int64_t ask_px;  ///< 1e-9, undef_price when absent.
    std::uint32_t bid_sz; ///< Quantity.
    std::uint32_t ask_sz; ///< Quantity.
    std::uint32_t bid_ct; ///< Orders.
    std::uint32_t ask_ct; ///< Orders.
};

/// A trade, 48 bytes.
struct TradeMsg {
    static constexpr std::uint8_t record_type = rtype::trade;
    RecordHeader hd;          ///< Common header.
    std::int64_t price;       ///< 1e-9.
    std::uint32_t size;       ///< Quantity in size units.
    char action;              ///< Always T.
    char side;                ///< Aggressor's side.
    std::uint8_t flags;       ///< Bits of record_flags.
    std::uint8_t depth;       ///< Book level of the trade.
    std::uint64_t ts_recv;    ///< Capture time, ns since the epoch.
    std::int32_t ts_in_delta; ///< Sending time, ns before ts_recv.
    std::uint32_t sequence;   ///< Venue's message number.
};

/// Market by price: the event as in TradeMsg, and `Levels` levels of the book after it, best first.
template <std::size_t Levels> struct MbpMsg {
    static constexpr std::uint8_t record_type = Levels == 1 ? rtype::mbp_1 : rtype::mbp_10;
    RecordHeader hd;                       ///< Common header.
    std::int64_t price;                    ///< 1e-9, or undef_price.
    std::uint32_t size;                    ///< Quantity in size units.
    char action;                           ///< As in MboMsg.
    char side;                             ///< As in MboMsg.
    std::uint8_t flags;                    ///< Bits of record_flags.
    std::uint8_t depth;                    ///< Book level of the event.
    std::uint64_t ts_recv;                 ///< Capture time, ns since the epoch.
    std::int32_t ts_in_delta;              ///< Sending time, ns before ts_recv.
    std::uint32_t sequence;                ///< Venue's message number.
    std::array<BidAskPair, Levels> levels; ///< Best first.
};
using Mbp1Msg = MbpMsg<1>;   ///< 80 bytes.
using Mbp10Msg = MbpMsg<10>; ///< 368 bytes: needs a ring of record_bytes = 368.

/// Trading status, 40 bytes.
struct StatusMsg {
    static constexpr std::uint8_t record_type = rtype::status;
    RecordHeader hd;                     ///< Common header.
    std::uint64_t ts_recv;               ///< Capture time, ns since the epoch.
    std::uint16_t action;                ///< DBN StatusAction: 7 trading, 8 halt, 15 not available, ...
    std::uint16_t reason;                ///< DBN StatusReason.
    std::uint16_t trading_event;         ///< DBN TradingEvent.
    char is_trading;                     ///< Y, N or ~ (unknown).
    char is_quoting;                     ///< Y, N or ~.
    char is_short_sell_restricted;       ///< Y, N or ~.
    std::array<char, 7> reserved;        ///< Zero.
};

/// Outputs that a signal carries at most.
inline constexpr std::size_t max_outputs = 16;

/// Bits of Signal::flags; the rules for each stand in judge.hpp.
namespace signal_flags {
inline constexpr std::uint32_t warming = 1;      ///< Features have not seen enough events yet.
inline constexpr std::uint32_t after_gap = 2;    ///< The book is not whole; shm/FEED.md says why.
inline constexpr std::uint32_t invalid = 4;      ///< An output was not finite; such outputs are 0.
inline constexpr std::uint32_t halted = 8;       ///< The sidecar is halted.
inline constexpr std::uint32_t over_budget = 16; ///< It took longer than its budget.
inline constexpr std::uint32_t conflated = 32;   ///< Ticks were skipped before it, to catch up.
inline constexpr std::uint32_t shadow = 64;      ///< From a model that only shadows.
inline constexpr std::uint32_t catching_up = 128; ///< About a tick of before the sidecar's start.
} // namespace signal_flags

/// One score of one model for one instrument, 112 bytes.
struct Signal {
    std::uint64_t ring_seq = 0;             ///< Number in the tick ring of the event's last record.
    std::uint64_t ts_event = 0;             ///< That record's matching-engine time, ns since the epoch.
    std::uint64_t tick_ns = 0;              ///< That record's publish stamp, ns since the epoch on the shared clock.
    std::uint64_t signal_ns = 0;            ///< This signal's publish stamp, ns since the epoch on the shared clock.
    std::uint32_t instrument = 0;           ///< Row in SignalTables::instruments.
    std::uint16_t model = 0;                ///< Row in SignalTables::models.
    std::uint16_t outputs_len = 0;          ///< How many of `outputs` count, at most 16.
    std::uint32_t revision = 0;             ///< Revision of the model.
    std::uint32_t flags = 0;                ///< Bits of signal_flags.
    std::array<float, max_outputs> outputs{}; ///< In the model's order (Model::outputs names them); 0 past outputs_len.

    /// The outputs that count.
    [[nodiscard]] std::span<const float> scores() const noexcept {
        return std::span<const float>{outputs}.first(outputs_len < max_outputs ? outputs_len : max_outputs);
    }
    /// Whether all of `bits` (of signal_flags) are set.
    [[nodiscard]] constexpr bool has(std::uint32_t bits) const noexcept { return (flags & bits) == bits; }
};

/// An instrument as it lies in the tables, 96 bytes; texts end at the first 0.
struct InstrumentRow {
    std::int64_t tick_size;
    double size_unit;
    std::uint32_t id;
    std::uint32_t reserved;
    std::array<char, 72> symbol;
};

/// A model as it lies in the tables, 1040 bytes (1032 in layout version 1, without the last two); texts end at the first 0.
struct ModelRow {
    std::array<char, 64> name;
    std::array<std::uint8_t, 32> sha256;
    std::array<std::uint8_t, 32> features_hash;
    std::uint32_t revision;
    std::uint32_t outputs_len;
    std::array<std::array<char, 32>, max_outputs> outputs;
    std::array<char, 256> meaning;
    std::array<char, 32> engine;
    std::array<char, 32> isa;
    std::array<char, 64> runtime;
    std::uint32_t horizon_events; ///< How far ahead it looks, in book events; 0 where that is not said.
    std::uint32_t reserved2;
};

static_assert(sizeof(RecordHeader) == 16 && offsetof(RecordHeader, rtype) == 1 &&
              offsetof(RecordHeader, publisher_id) == 2 && offsetof(RecordHeader, instrument_id) == 4 &&
              offsetof(RecordHeader, ts_event) == 8);
static_assert(sizeof(MboMsg) == 56 && offsetof(MboMsg, order_id) == 16 && offsetof(MboMsg, price) == 24 &&
              offsetof(MboMsg, size) == 32 && offsetof(MboMsg, flags) == 36 && offsetof(MboMsg, channel_id) == 37 &&
              offsetof(MboMsg, action) == 38 && offsetof(MboMsg, side) == 39 && offsetof(MboMsg, ts_recv) == 40 &&
              offsetof(MboMsg, ts_in_delta) == 48 && offsetof(MboMsg, sequence) == 52);
static_assert(sizeof(BidAskPair) == 32 && offsetof(BidAskPair, ask_px) == 8 && offsetof(BidAskPair, bid_sz) == 16 &&
              offsetof(BidAskPair, ask_sz) == 20 && offsetof(BidAskPair, bid_ct) == 24 &&
              offsetof(BidAskPair, ask_ct) == 28);
static_assert(sizeof(TradeMsg) == 48 && offsetof(TradeMsg, price) == 16 && offsetof(TradeMsg, size) == 24 &&
              offsetof(TradeMsg, action) == 28 && offsetof(TradeMsg, side) == 29 && offsetof(TradeMsg, flags) == 30 &&
              offsetof(TradeMsg, depth) == 31 && offsetof(TradeMsg, ts_recv) == 32 &&
              offsetof(TradeMsg, ts_in_delta) == 40 && offsetof(TradeMsg, sequence) == 44);
static_assert(sizeof(Mbp1Msg) == 80 && offsetof(Mbp1Msg, sequence) == 44 && offsetof(Mbp1Msg, levels) == 48);
static_assert(sizeof(Mbp10Msg) == 368 && offsetof(Mbp10Msg, sequence) == 44 && offsetof(Mbp10Msg, levels) == 48);
static_assert(sizeof(StatusMsg) == 40 && offsetof(StatusMsg, ts_recv) == 16 && offsetof(StatusMsg, action) == 24 &&
              offsetof(StatusMsg, reason) == 26 && offsetof(StatusMsg, trading_event) == 28 &&
              offsetof(StatusMsg, is_trading) == 30 && offsetof(StatusMsg, is_quoting) == 31 &&
              offsetof(StatusMsg, is_short_sell_restricted) == 32);
static_assert(sizeof(Signal) == 112 && offsetof(Signal, instrument) == 32 && offsetof(Signal, model) == 36 &&
              offsetof(Signal, outputs_len) == 38 && offsetof(Signal, revision) == 40 &&
              offsetof(Signal, flags) == 44 && offsetof(Signal, outputs) == 48);
static_assert(sizeof(InstrumentRow) == 96 && sizeof(ModelRow) == 1040 && offsetof(ModelRow, outputs) == 136 &&
              offsetof(ModelRow, meaning) == 648 && offsetof(ModelRow, runtime) == 968 &&
              offsetof(ModelRow, horizon_events) == 1032);
static_assert(std::is_trivially_copyable_v<Mbp10Msg> && std::is_trivially_copyable_v<Signal>);

} // namespace pillion

#endif
