// The C++ side of the interop tests: obeys one command a line and answers each with one line. interop.rs drives it and
// does the same in Rust; `value` and the records made of it stand there once more, field by field.
//
//   peer DIR
#include <pillion/shm.hpp>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <optional>
#include <sstream>

namespace {

using pillion::Errc;
using std::uint64_t;

constexpr uint64_t value(uint64_t n, uint64_t field) {
    const uint64_t x = (n * 128 + field + 1) * 0x9e37'79b9'7f4a'7c15U;
    return x ^ (x >> 29U);
}

template <class T> void put(T& to, uint64_t n, uint64_t field) { to = static_cast<T>(value(n, field)); }

char letter(uint64_t n, uint64_t field, const char* of) { return of[value(n, field) % std::strlen(of)]; }

template <class T> T header(uint64_t n) {
    T record{};
    record.hd.length = sizeof(T) / 4;
    record.hd.rtype = T::record_type;
    put(record.hd.publisher_id, n, 0);
    put(record.hd.instrument_id, n, 1);
    put(record.hd.ts_event, n, 2);
    return record;
}

/// What trades and MBP records have behind the header.
template <class T> T event(uint64_t n) {
    T record = header<T>(n);
    put(record.price, n, 4);
    put(record.size, n, 5);
    record.action = letter(n, 8, "ACMRTFN");
    record.side = letter(n, 9, "BAN");
    put(record.flags, n, 6);
    put(record.depth, n, 7);
    put(record.ts_recv, n, 10);
    put(record.ts_in_delta, n, 11);
    put(record.sequence, n, 12);
    return record;
}

template <class T> T quotes(uint64_t n) {
    T record = event<T>(n);
    uint64_t field = 13;
    for (pillion::BidAskPair& level : record.levels) {
        put(level.bid_px, n, field++);
        put(level.ask_px, n, field++);
        put(level.bid_sz, n, field++);
        put(level.ask_sz, n, field++);
        put(level.bid_ct, n, field++);
        put(level.ask_ct, n, field++);
    }
    return record;
}

pillion::MboMsg mbo(uint64_t n) {
    auto record = header<pillion::MboMsg>(n);
    put(record.order_id, n, 3);
    put(record.price, n, 4);
    put(record.size, n, 5);
    put(record.flags, n, 6);
    put(record.channel_id, n, 7);
    record.action = letter(n, 8, "ACMRTFN");
    record.side = letter(n, 9, "BAN");
    put(record.ts_recv, n, 10);
    put(record.ts_in_delta, n, 11);
    put(record.sequence, n, 12);
    return record;
}

pillion::StatusMsg status(uint64_t n) {
    auto record = header<pillion::StatusMsg>(n);
    put(record.action, n, 3);
    put(record.reason, n, 4);
    put(record.trading_event, n, 5);
    record.is_trading = letter(n, 6, "YN~");
    record.is_quoting = letter(n, 7, "YN~");
    record.is_short_sell_restricted = letter(n, 8, "YN~");
    put(record.ts_recv, n, 10);
    return record;
}

/// Calls `use` with record `n`: the five types in turn.
template <class Use> auto with_record(uint64_t n, Use&& use) {
    switch (n % 5) {
    case 0: return use(mbo(n));
    case 1: return use(quotes<pillion::Mbp1Msg>(n));
    case 2: return use(quotes<pillion::Mbp10Msg>(n));
    case 3: return use(event<pillion::TradeMsg>(n));
    default: return use(status(n));
    }
}

pillion::Signal signal(uint64_t n) {
    pillion::Signal made{};
    put(made.ring_seq, n, 0);
    put(made.ts_event, n, 1);
    put(made.tick_ns, n, 2);
    put(made.signal_ns, n, 3);
    made.instrument = static_cast<std::uint32_t>(n % 2);
    made.model = static_cast<std::uint16_t>(n / 2 % 2);
    made.outputs_len = static_cast<std::uint16_t>(n % 17);
    put(made.revision, n, 4);
    put(made.flags, n, 5);
    for (std::size_t i = 0; i < made.outputs.size(); ++i) {
        made.outputs[i] = static_cast<float>(value(n, 6 + i) % 100'000) / 7.0F;
    }
    return made;
}

pillion::SignalTables tables() {
    pillion::SignalTables made;
    for (std::uint32_t i = 0; i < 2; ++i) {
        made.instruments.push_back({17'077 + i, "ESH" + std::to_string(i), 250'000'000 - 7 * std::int64_t{i}, 0.5 + i});
        pillion::Model model;
        model.name = "model-" + std::to_string(i);
        model.revision = 3 + i;
        for (std::size_t byte = 0; byte < 32; ++byte) {
            model.sha256[byte] = static_cast<std::uint8_t>(byte * 5 + i);
            model.features_hash[byte] = static_cast<std::uint8_t>(byte * 7 + i);
        }
        model.outputs = {"down", "flat", "up " + std::to_string(i)};
        model.meaning = "what µ means " + std::to_string(i);
        model.engine = "engine";
        model.isa = "avx512";
        model.runtime = "runtime " + std::to_string(i);
        model.horizon_events = 10 + i;
        made.models.push_back(std::move(model));
    }
    return made;
}

/// What one drain of a ring found; `bad` counts records that are not what their number says.
struct Drained {
    uint64_t read = 0;
    uint64_t lost = 0;
    uint64_t bad = 0;

    void tell(uint64_t cursor) const {
        std::cout << "read " << read << " lost " << lost << " cursor " << cursor << " bad " << bad << '\n';
    }
};

template <class Reader, class Item, class IsGood> void drain(Reader& reader, Item& item, IsGood&& is_good) {
    Drained drained;
    for (;;) {
        const pillion::PollStatus found = reader.poll(item);
        if (found == pillion::PollStatus::empty) {
            break;
        }
        if (found == pillion::PollStatus::lost) {
            drained.lost += reader.last_lost();
        } else {
            ++drained.read;
            drained.bad += found == pillion::PollStatus::record && is_good() ? 0U : 1U;
        }
    }
    drained.tell(reader.cursor());
}

template <class Handle> bool attach(std::optional<Handle>& to, pillion::Result<Handle> result) {
    to.reset();
    if (!result) {
        std::cout << "error " << pillion::errc_name(result.error().code) << ' ' << result.error().message << '\n';
        return false;
    }
    to.emplace(std::move(result).value());
    return true;
}

template <class Reader> void follow(Reader& reader) {
    const bool marked = reader.successor();
    const bool superseded = reader.superseded();
    auto followed = reader.follow();
    std::cout << "marked " << marked << " superseded " << superseded << " followed " << (followed.has_value() && *followed == pillion::Follow::followed)
              << " generation " << reader.generation() << '\n';
}

struct Peer {
    pillion::Lane lane;
    pillion::Clock clock;
    std::optional<pillion::TickWriter> tick_writer{};
    std::optional<pillion::TickReader> tick_reader{};
    std::optional<pillion::SignalWriter> signal_writer{};
    std::optional<pillion::SignalReader> signal_reader{};
    std::optional<pillion::BoardWriter> board_writer{};
    std::optional<pillion::SignalBoard> board{};
    std::optional<pillion::ControlOwner> owner{};
    std::optional<pillion::Control> control{};

    void rings(const std::string& word, uint64_t n);
    void boards(const std::string& word, uint64_t n);
    void pages(const std::string& word, uint64_t n);
    void operate(const std::string& word);
    void tell_page() const;
    void serve();
};

void Peer::rings(const std::string& word, uint64_t n) {
    if (word == "tick-writer" && attach(tick_writer, pillion::TickWriter::create(lane, clock, {n, 368}))) {
        std::cout << "generation " << tick_writer->generation() << '\n';
    } else if (word == "publish-ticks") {
        for (uint64_t i = 0; i < n; ++i) {
            const uint64_t next = tick_writer->published();
            with_record(next, [&](const auto& record) { return tick_writer->publish_at(record, next + 7).value(); });
        }
        std::cout << "published " << tick_writer->published() << '\n';
    } else if (word == "tick-reader" &&
               attach(tick_reader, pillion::TickReader::attach(lane, clock, pillion::Start::first))) {
        std::cout << "generation " << tick_reader->generation() << '\n';
    } else if (word == "drain-ticks") {
        pillion::Tick tick;
        drain(*tick_reader, tick, [&] {
            return tick.stamp_ns == tick.ring_seq + 7 && with_record(tick.ring_seq, [&](const auto& record) {
                const auto* got = tick.template as<std::decay_t<decltype(record)>>();
                return got != nullptr && std::memcmp(got, &record, sizeof record) == 0;
            });
        });
    } else if (word == "follow-ticks") {
        follow(*tick_reader);
    } else if (word == "signal-writer" &&
               attach(signal_writer, pillion::SignalWriter::create(lane, clock, tables(), {n}))) {
        std::cout << "generation " << signal_writer->generation() << '\n';
    } else if (word == "publish-signals") {
        for (uint64_t i = 0; i < n; ++i) {
            signal_writer->publish_at(signal(signal_writer->published()), signal_writer->published() + 7);
        }
        std::cout << "published " << signal_writer->published() << '\n';
    } else if (word == "signal-reader" &&
               attach(signal_reader, pillion::SignalReader::attach(lane, clock, pillion::Start::first))) {
        std::cout << "generation " << signal_reader->generation() << " tables " << (signal_reader->tables() == tables())
                  << '\n';
    } else if (word == "drain-signals") {
        pillion::Signal got;
        drain(*signal_reader, got, [&] {
            const pillion::Signal wanted = signal(signal_reader->cursor() - 1);
            return std::memcmp(&got, &wanted, sizeof got) == 0;
        });
    } else if (word == "follow-signals") {
        follow(*signal_reader);
    }
}

void Peer::boards(const std::string& word, uint64_t n) {
    if (word == "board-writer" && attach(board_writer, pillion::BoardWriter::create(lane, clock, tables()))) {
        std::cout << "generation " << board_writer->generation() << '\n';
    } else if (word == "set") {
        std::cout << "set " << board_writer->set(signal(n).instrument, signal(n).model, signal(n)) << '\n';
    } else if (word == "board" && attach(board, pillion::SignalBoard::attach(lane, clock))) {
        std::cout << "cells " << board->instruments() * board->models() << " tables " << (board->tables() == tables())
                  << '\n';
    } else if (word == "latest") {
        const pillion::Signal wanted = signal(n);
        pillion::Signal got;
        const auto found = board->latest(wanted.instrument, wanted.model, got);
        const pillion::SignalTables names = tables();
        const auto cell = board->find(names.instruments[wanted.instrument].symbol, names.models[wanted.model].name);
        const bool same = found == pillion::BoardStatus::value && std::memcmp(&got, &wanted, sizeof got) == 0;
        std::cout << (found == pillion::BoardStatus::never ? "never" : same ? "same" : "other") << " cell "
                  << (cell && cell->instrument == wanted.instrument && cell->model == wanted.model) << '\n';
    }
}

void Peer::tell_page() const {
    const pillion::Counters c = control->counters();
    std::cout << pillion::state_name(control->state()) << " halted " << control->halted() << " beat "
              << control->heartbeat_ns() << " consumed " << control->ticks_consumed() << " of-2 "
              << control->consumed_of(2) << " counters " << c.events << ' ' << c.signals << ' ' << c.gaps << ' '
              << c.lost << ' ' << c.rejects << ' ' << c.conflated << ' ' << c.invalid << ' ' << c.generation_changes
              << " stages";
    const auto stages = control->stages();
    for (std::size_t i = 0; stages && i < stages->size(); ++i) {
        const pillion::StageSummary& s = (*stages)[i];
        std::cout << ' ' << pillion::stage_names[i] << ' ' << s.count << ' ' << s.p50 << ' ' << s.p90 << ' ' << s.p99
                  << ' ' << s.p999 << ' ' << s.p9999 << ' ' << s.max;
    }
    std::cout << " pid " << control->pid() << " alive " << control->owner_alive() << '\n';
}

/// Answers the next request, as a sidecar does.
void Peer::serve() {
    for (int look = 0; look < 20'000; ++look) {
        if (const auto request = owner->poll_mailbox()) {
            const auto command = request->command;
            const auto outcome = command ? pillion::Outcome::done : pillion::Outcome::unknown;
            if (command) {
                owner->set_state(*command == pillion::Command::halt     ? pillion::State::halt
                                 : *command == pillion::Command::resume ? pillion::State::run
                                                                        : pillion::State::stopped);
            }
            owner->answer(*request, outcome);
            std::cout << "served " << pillion::state_name(owner->state()) << '\n';
            return;
        }
        pillion::detail::sleep_ns(1'000'000);
    }
    std::cout << "served nothing\n";
}

void Peer::pages(const std::string& word, uint64_t n) {
    if (word == "owner" && attach(owner, pillion::ControlOwner::create(lane, clock))) {
        std::cout << "generation " << owner->generation() << " halted " << owner->start_halted() << '\n';
    } else if (word == "fill") {
        owner->beat(n);
        owner->set_ticks_consumed(n + 100);
        owner->set_ticks_ring(2, 40);
        owner->set_counters({n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7});
        pillion::StageSummaries stages;
        for (uint64_t i = 0; i < stages.size(); ++i) {
            stages[i] = {n + i, n + 10 * i, n + 20 * i, n + 30 * i, n + 40 * i, n + 50 * i, n + 60 * i};
        }
        owner->publish_stages(stages);
        std::cout << "filled\n";
    } else if (word == "serve") {
        serve();
    } else if (word == "operator" && attach(control, pillion::Control::attach_operator(lane, clock))) {
        std::cout << "generation " << control->generation() << '\n';
    } else if (word == "page") {
        tell_page();
    }
}

void Peer::operate(const std::string& word) {
    constexpr std::chrono::seconds patience{20};
    auto outcome = word == "halt"     ? control->halt(patience)
                   : word == "resume" ? control->resume(patience)
                                      : control->stop(patience);
    if (!outcome) {
        std::cout << "error " << pillion::errc_name(outcome.error().code) << '\n';
    } else {
        std::cout << (*outcome == pillion::Outcome::done ? "done " : "not done ")
                  << pillion::state_name(control->state()) << " halted " << control->halted() << '\n';
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        return 2;
    }
    auto lane = pillion::Lane::in_dir(argv[1], "test");
    auto clock = pillion::Clock::attach_or_create(argv[1]);
    if (!lane || !clock) {
        std::cout << "error " << (lane ? clock.error() : lane.error()).message << std::endl;
        return 1;
    }
    std::cout << "clock " << clock->id() << " counter " << static_cast<uint64_t>(clock->counter()) << std::endl;
    Peer peer{std::move(*lane), *clock};
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words{line};
        std::string word;
        uint64_t n = 0;
        words >> word >> n;
        if (word == "now") {
            std::cout << peer.clock.now_ns() << '\n';
        } else if (word == "ns") {
            std::cout << peer.clock.ns(n) << '\n';
        } else if (word.find("board") == 0 || word == "set" || word == "latest") {
            peer.boards(word, n);
        } else if (word.find("tick") != std::string::npos || word.find("signal") != std::string::npos) {
            peer.rings(word, n);
        } else if (word == "halt" || word == "resume" || word == "stop") {
            peer.operate(word);
        } else {
            peer.pages(word, n);
        }
        std::cout.flush();
    }
}
