// Prints every number of the contract as the C++ header has it, `name=value` a line: see tests/agreement.rs.
#include <pillion/shm.hpp>

#include <iostream>

using namespace pillion;

namespace {

void say(const char* name, std::uint64_t value) { std::cout << name << '=' << value << '\n'; }

#define GROUP_FIELD(group, field) say(#group "." #field, layout::group::field)
#define FIELD(type, field)                                                                                             \
    say(#type "." #field, offsetof(type, field));                                                                      \
    say("sizeof " #type "." #field, sizeof(type::field))
#define NUMBER(type, name) say(#type "." #name, static_cast<std::uint64_t>(type::name))
#define SIZE(type) say("sizeof " #type, sizeof(type))

void regions() {
    say("layout.version", layout::version);
    say("layout.v1_hash", layout::v1_hash);
    say("layout.header_bytes", layout::header_bytes);
    say("layout.body_align", layout::body_align);
    for (const Kind kind : {Kind::ticks, Kind::signals, Kind::board, Kind::cnc, Kind::clock}) {
        say((std::string{"layout.hash."} + kind_name(kind)).c_str(), layout::layout_hash(kind));
    }
    say("layout.most_records", layout::most_records);
    say("layout.most_table_bytes", layout::most_table_bytes);
    GROUP_FIELD(header, magic);
    GROUP_FIELD(header, version);
    GROUP_FIELD(header, kind);
    GROUP_FIELD(header, layout_hash);
    GROUP_FIELD(header, region_bytes);
    GROUP_FIELD(header, generation);
    GROUP_FIELD(header, clock_id);
    GROUP_FIELD(header, stride);
    GROUP_FIELD(header, capacity);
    GROUP_FIELD(header, table_offset);
    GROUP_FIELD(header, table_bytes);
    GROUP_FIELD(header, body_offset);
    GROUP_FIELD(header, created_ns);
    GROUP_FIELD(header, owner_pid);
    GROUP_FIELD(header, models);
    GROUP_FIELD(header, owner_start);
    GROUP_FIELD(header, boot_id);
    GROUP_FIELD(header, successor);
    GROUP_FIELD(header, head);
    GROUP_FIELD(header, end);
    GROUP_FIELD(slot, seq);
    GROUP_FIELD(slot, record);
    GROUP_FIELD(slot, own);
    GROUP_FIELD(cnc, state);
    GROUP_FIELD(cnc, heartbeat);
    GROUP_FIELD(cnc, halted);
    GROUP_FIELD(cnc, ticks_consumed);
    GROUP_FIELD(cnc, ticks_generation);
    GROUP_FIELD(cnc, ticks_before);
    GROUP_FIELD(cnc, counters);
    GROUP_FIELD(cnc, request);
    GROUP_FIELD(cnc, answers);
    GROUP_FIELD(cnc, stages);
    GROUP_FIELD(cnc, bytes);
    GROUP_FIELD(clock, base_raw);
    GROUP_FIELD(clock, base_ns);
    GROUP_FIELD(clock, mult);
    GROUP_FIELD(clock, shift);
    GROUP_FIELD(clock, counter);
    GROUP_FIELD(clock, bytes);
}

void market_data() {
    SIZE(RecordHeader);
    FIELD(RecordHeader, length);
    FIELD(RecordHeader, rtype);
    FIELD(RecordHeader, publisher_id);
    FIELD(RecordHeader, instrument_id);
    FIELD(RecordHeader, ts_event);
    SIZE(MboMsg);
    FIELD(MboMsg, hd);
    FIELD(MboMsg, order_id);
    FIELD(MboMsg, price);
    FIELD(MboMsg, size);
    FIELD(MboMsg, flags);
    FIELD(MboMsg, channel_id);
    FIELD(MboMsg, action);
    FIELD(MboMsg, side);
    FIELD(MboMsg, ts_recv);
    FIELD(MboMsg, ts_in_delta);
    FIELD(MboMsg, sequence);
    SIZE(BidAskPair);
    FIELD(BidAskPair, bid_px);
    FIELD(BidAskPair, ask_px);
    FIELD(BidAskPair, bid_sz);
    FIELD(BidAskPair, ask_sz);
    FIELD(BidAskPair, bid_ct);
    FIELD(BidAskPair, ask_ct);
    SIZE(TradeMsg);
    FIELD(TradeMsg, hd);
    FIELD(TradeMsg, price);
    FIELD(TradeMsg, size);
    FIELD(TradeMsg, action);
    FIELD(TradeMsg, side);
    FIELD(TradeMsg, flags);
    FIELD(TradeMsg, depth);
    FIELD(TradeMsg, ts_recv);
    FIELD(TradeMsg, ts_in_delta);
    FIELD(TradeMsg, sequence);
    SIZE(Mbp1Msg);
    FIELD(Mbp1Msg, levels);
    SIZE(Mbp10Msg);
    FIELD(Mbp10Msg, levels);
    SIZE(StatusMsg);
    FIELD(StatusMsg, hd);
    FIELD(StatusMsg, ts_recv);
    FIELD(StatusMsg, action);
    FIELD(StatusMsg, reason);
    FIELD(StatusMsg, trading_event);
    FIELD(StatusMsg, is_trading);
    FIELD(StatusMsg, is_quoting);
    FIELD(StatusMsg, is_short_sell_restricted);
    // The event of an MBP record is laid out as a trade.
    static_assert(offsetof(Mbp10Msg, price) == offsetof(TradeMsg, price));
    static_assert(offsetof(Mbp10Msg, size) == offsetof(TradeMsg, size));
    static_assert(offsetof(Mbp10Msg, action) == offsetof(TradeMsg, action));
    static_assert(offsetof(Mbp10Msg, side) == offsetof(TradeMsg, side));
    static_assert(offsetof(Mbp10Msg, flags) == offsetof(TradeMsg, flags));
    static_assert(offsetof(Mbp10Msg, depth) == offsetof(TradeMsg, depth));
    static_assert(offsetof(Mbp10Msg, ts_recv) == offsetof(TradeMsg, ts_recv));
    static_assert(offsetof(Mbp10Msg, ts_in_delta) == offsetof(TradeMsg, ts_in_delta));
    static_assert(offsetof(Mbp10Msg, sequence) == offsetof(TradeMsg, sequence));
}

void signals_and_tables() {
    SIZE(Signal);
    FIELD(Signal, ring_seq);
    FIELD(Signal, ts_event);
    FIELD(Signal, tick_ns);
    FIELD(Signal, signal_ns);
    FIELD(Signal, instrument);
    FIELD(Signal, model);
    FIELD(Signal, outputs_len);
    FIELD(Signal, revision);
    FIELD(Signal, flags);
    FIELD(Signal, outputs);
    using detail::TablesHead;
    SIZE(TablesHead);
    FIELD(TablesHead, instruments);
    FIELD(TablesHead, instrument_bytes);
    FIELD(TablesHead, models);
    FIELD(TablesHead, model_bytes);
    SIZE(InstrumentRow);
    FIELD(InstrumentRow, tick_size);
    FIELD(InstrumentRow, size_unit);
    FIELD(InstrumentRow, id);
    FIELD(InstrumentRow, reserved);
    FIELD(InstrumentRow, symbol);
    SIZE(ModelRow);
    FIELD(ModelRow, name);
    FIELD(ModelRow, sha256);
    FIELD(ModelRow, features_hash);
    FIELD(ModelRow, revision);
    FIELD(ModelRow, outputs_len);
    FIELD(ModelRow, outputs);
    FIELD(ModelRow, meaning);
    FIELD(ModelRow, engine);
    FIELD(ModelRow, isa);
    FIELD(ModelRow, runtime);
    FIELD(ModelRow, horizon_events);
    FIELD(ModelRow, reserved2);
}

void control_page() {
    SIZE(Counters);
    FIELD(Counters, events);
    FIELD(Counters, signals);
    FIELD(Counters, gaps);
    FIELD(Counters, lost);
    FIELD(Counters, rejects);
    FIELD(Counters, conflated);
    FIELD(Counters, invalid);
    FIELD(Counters, generation_changes);
    SIZE(StageSummary);
    FIELD(StageSummary, count);
    FIELD(StageSummary, p50);
    FIELD(StageSummary, p90);
    FIELD(StageSummary, p99);
    FIELD(StageSummary, p999);
    FIELD(StageSummary, p9999);
    FIELD(StageSummary, max);
    for (std::size_t i = 0; i < stage_names.size(); ++i) {
        say((std::string{"Stage."} + stage_names[i]).c_str(), i);
    }
    say("mailbox.answers", detail::answers_kept);
}

void numbers() {
    NUMBER(Kind, ticks);
    NUMBER(Kind, signals);
    NUMBER(Kind, board);
    NUMBER(Kind, cnc);
    NUMBER(Kind, clock);
    NUMBER(State, boot);
    NUMBER(State, run);
    NUMBER(State, halt);
    NUMBER(State, fail);
    NUMBER(State, stopped);
    NUMBER(Command, halt);
    NUMBER(Command, resume);
    NUMBER(Command, stop);
    NUMBER(Outcome, done);
    NUMBER(Outcome, refused);
    NUMBER(Outcome, unknown);
    NUMBER(Counter, tsc);
    NUMBER(Counter, cntvct);
    NUMBER(Counter, monotonic);
    NUMBER(signal_flags, warming);
    NUMBER(signal_flags, after_gap);
    NUMBER(signal_flags, invalid);
    NUMBER(signal_flags, halted);
    NUMBER(signal_flags, over_budget);
    NUMBER(signal_flags, conflated);
    NUMBER(signal_flags, shadow);
    NUMBER(signal_flags, catching_up);
    NUMBER(rtype, trade);
    NUMBER(rtype, mbp_1);
    NUMBER(rtype, mbp_10);
    NUMBER(rtype, status);
    NUMBER(rtype, mbo);
    NUMBER(record_flags, last);
    NUMBER(record_flags, tob);
    NUMBER(record_flags, snapshot);
    NUMBER(record_flags, mbp);
    NUMBER(record_flags, bad_ts_recv);
    NUMBER(record_flags, maybe_bad_book);
    say("outputs.max", max_outputs);
}

} // namespace

int main() {
    regions();
    market_data();
    signals_and_tables();
    control_page();
    numbers();
    return 0;
}
