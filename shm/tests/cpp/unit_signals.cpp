// Signals, their tables, and the board of last values.
#include "check.hpp"

#include <chrono>
#include <thread>

using namespace pillion;
using namespace test;

namespace {

SignalTables tables() {
    SignalTables tables;
    tables.instruments = {{11, "ESH4", 250'000'000, 1.0}, {12, std::string(71, 'S'), 10'000'000, 0.001}};
    Model mlp;
    mlp.name = "mlp-k10";
    mlp.revision = 3;
    mlp.sha256.fill(0xab);
    mlp.features_hash.fill(0xcd);
    mlp.outputs = {"down", "flat", "up"};
    mlp.meaning = "probability of the mid's direction over 10 events";
    mlp.engine = "native";
    mlp.isa = "avx512";
    mlp.runtime = "pillion 0.1.0";
    mlp.horizon_events = 10;
    Model trees = mlp;
    trees.name = "trees";
    trees.outputs = std::vector<std::string>(16, std::string(31, 'o'));
    Model third = mlp;
    third.name = "third";
    third.outputs.clear();
    tables.models = {mlp, trees, third};
    return tables;
}

Signal signal_of(std::uint32_t instrument, std::uint16_t model, float score) {
    Signal signal{};
    signal.ring_seq = 5;
    signal.ts_event = 6;
    signal.tick_ns = 7;
    signal.instrument = instrument;
    signal.model = model;
    signal.outputs_len = 3;
    signal.revision = 3;
    signal.outputs[2] = score;
    return signal;
}

void tables_come_back_and_outputs_have_names() {
    const SignalTables wanted = tables();
    const auto bytes = must(wanted.to_bytes());
    CHECK_EQ(bytes.size(), 16U + 2 * 96 + 3 * 1'040);
    const SignalTables back = must(SignalTables::from_bytes(bytes));
    CHECK(back == wanted && back.models[0].revision == 3 && back.models[0].sha256[31] == 0xab);
    CHECK(back.instrument("ESH4") == 0U && back.instrument(12U) == 1U && !back.instrument("ESM4"));
    CHECK(back.model("trees") == std::uint16_t{1} && !back.model("mlp"));
    CHECK(back.models[0].output("up") == 2U && !back.models[0].output("UP") && !back.models[2].output("up"));
    CHECK(must(SignalTables::from_bytes({})) == SignalTables{});
    Signal signal = signal_of(1, 2, 0);
    CHECK(back.instrument_of(signal) == &back.instruments[1] && back.model_of(signal) == &back.models[2]);
    signal.revision = 4;
    CHECK(back.model_of(signal) == nullptr);
    signal = signal_of(2, 3, 0);
    CHECK(back.instrument_of(signal) == nullptr && back.model_of(signal) == nullptr);
}

void tables_refuse_what_does_not_fit() {
    SignalTables wrong = tables();
    wrong.instruments[1].symbol = std::string(72, 'X');
    CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "symbol of instrument 1", "72 bytes", "71");
    wrong = tables();
    wrong.models[1].outputs.emplace_back("one more");
    CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "outputs of model 1 (\"trees\")", "17", "16");
    const auto texts = {&Model::name, &Model::meaning, &Model::engine, &Model::isa, &Model::runtime};
    for (const auto text : texts) {
        wrong = tables();
        wrong.models[0].*text = std::string(256, 'x');
        CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "of model 0", "256 bytes");
        wrong.models[0].*text = std::string("a\0b", 3);
        CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "of model 0");
    }
    wrong = tables();
    wrong.models[2].outputs = {std::string(32, 'o')};
    CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "an output name of model 2", "32 bytes", "31");
    for (const char* steers : {"a\x1b[31m", "a\xc2\x9b", "a\xe2\x80\xae", "a\n"}) {
        wrong = tables();
        wrong.instruments[1].symbol = steers;
        CHECK_SAYS(refused(wrong.to_bytes()), Errc::table, "symbol of instrument 1", "\\x", "another control character");
        const std::string said = refused(wrong.to_bytes()).message;
        CHECK(said.find('\x1b') == std::string::npos && said.find('\n') == std::string::npos);
    }
    wrong = tables();
    wrong.instruments[1].symbol = "\xc3\xa9\xe6\xbc\xa2"; // é漢
    CHECK(wrong.to_bytes());
}

/// Cut, longer, or of other rows: refused. Any other byte: some text or number, never a read outside.
void tables_of_any_bytes_are_refused_or_read() {
    const auto bytes = must(tables().to_bytes());
    for (std::size_t length = 1; length < bytes.size(); length += length < 32 ? 1 : 97) {
        // Cut to size on the heap, so that a sanitizer sees a read outside.
        const std::vector<unsigned char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        CHECK_SAYS(refused(SignalTables::from_bytes(cut)), Errc::table, std::to_string(length) + " bytes");
    }
    for (std::size_t at = 0; at < 16; ++at) {
        auto wrong = bytes;
        wrong[at] ^= 0x81;
        CHECK_SAYS(refused(SignalTables::from_bytes(wrong)), Errc::table, "rows of 96 and 1040");
    }
    // Version 1's rows end before the horizon: the same tables, which do not say it.
    auto older = bytes;
    const std::uint32_t v1_row = 1032;
    std::memcpy(older.data() + 12, &v1_row, sizeof v1_row);
    for (std::size_t i = tables().models.size(); i > 0; --i) {
        const auto end = older.begin() + static_cast<std::ptrdiff_t>(16 + 96 * tables().instruments.size() + 1040 * i);
        older.erase(end - 8, end);
    }
    SignalTables unsaid = tables();
    for (Model& model : unsaid.models) {
        model.horizon_events = 0;
    }
    CHECK(must(SignalTables::from_bytes(older)) == unsaid);
    auto all_set = bytes;
    std::fill(all_set.begin() + 16, all_set.end(), static_cast<unsigned char>(0xff));
    const SignalTables back = must(SignalTables::from_bytes(all_set));
    CHECK(back.instruments[0].symbol.size() == 72 && back.models[0].outputs.size() == 16);
    CHECK(back.models[2].runtime.size() == 64);
}

void signals_come_in_order_in_all_forms() {
    const Place place;
    SignalWriter writer = must(SignalWriter::create(place.lane, place.clock, tables(), {8, {}}));
    SignalReader poller = must(SignalReader::attach(place.lane, place.clock, Start::first));
    SignalReader batcher = must(SignalReader::attach(place.lane, place.clock, Start::first));
    SignalReader visitor = must(SignalReader::attach(place.lane, place.clock, Start::first));
    CHECK(poller.tables() == tables());
    const std::uint64_t before = place.clock.now_ns();
    writer.publish(signal_of(0, 0, 0.25F));
    writer.publish_at(signal_of(1, 2, 0.75F), 99);
    Signal signal{};
    CHECK(poller.poll(signal) == PollStatus::record && poller.cursor() == 1);
    CHECK(signal.signal_ns >= before && signal.signal_ns <= place.clock.now_ns());
    CHECK(signal.scores().size() == 3 && signal.scores()[2] == 0.25F && signal.tick_ns == 7);
    CHECK(poller.poll(signal) == PollStatus::record && same_bytes(signal, signal_of(1, 2, 0.75F)));
    CHECK(poller.poll(signal) == PollStatus::empty);
    std::array<Signal, 4> signals{};
    const Batch batch = batcher.poll_batch(signals);
    CHECK(batch.records == 2 && batch.first == 0 && signals[1].model == 2 && signals[0].outputs[2] == 0.25F);
    float sum = 0;
    CHECK(visitor.visit([&](const Signal& one) { sum += one.outputs[2]; }, 10).records == 2 && sum == 1.0F);
    for (int i = 0; i < 20; ++i) {
        writer.publish(signal_of(0, 0, static_cast<float>(i)));
    }
    CHECK(poller.poll(signal) == PollStatus::lost && poller.last_lost() == 12);
    // More outputs than there are places are cut, not read.
    Signal odd = signal_of(0, 0, 0);
    odd.outputs_len = 0xffff;
    CHECK_EQ(odd.scores().size(), 16U);
}

void a_followed_signal_ring_brings_its_own_tables() {
    const Place place;
    std::optional<SignalWriter> writer = must(SignalWriter::create(place.lane, place.clock, tables()));
    SignalReader reader = must(SignalReader::attach(place.lane, place.clock));
    writer.reset();
    SignalTables other = tables();
    other.models.pop_back();
    std::swap(other.models[0].outputs[0], other.models[0].outputs[2]);
    writer = must(SignalWriter::create(place.lane, place.clock, other));
    CHECK(went_over(reader.follow()) && reader.tables() == other && reader.tables().models[0].output("up") == 0U);
}

/// A successor that cannot be read changes nothing: generation, tables and slots are the old ring's, at every try.
void a_signal_ring_that_cannot_be_followed_leaves_all_as_it_was() {
    const Place place;
    std::optional<SignalWriter> writer = must(SignalWriter::create(place.lane, place.clock, tables(), {8, {}}));
    writer->publish(signal_of(0, 0, 0.25F));
    SignalReader reader = must(SignalReader::attach(place.lane, place.clock, Start::first));
    Signal signal{};
    CHECK(reader.poll(signal) == PollStatus::record);
    writer.reset();
    writer = must(SignalWriter::create(place.lane, place.clock, {}, {8, {}}));
    for (std::uint64_t n = 0; n < 3; ++n) {
        writer->publish(signal_of(1, 1, 0.5F));
    }
    const auto fails = [&](Errc code, const std::string& piece) {
        for (int again = 0; again < 2; ++again) {
            CHECK_SAYS(refused(reader.follow()), code, place.file(Kind::signals), piece);
            CHECK(reader.generation() == 1 && reader.tables() == tables() && reader.head() == 1);
            CHECK(reader.record_bytes() == 112 && reader.capacity() == 8 && reader.superseded());
            std::array<Signal, 4> signals{};
            CHECK(reader.poll(signal) == PollStatus::empty && reader.poll_batch(signals).records == 0);
        }
    };
    // Slots too small for a signal, at the end of the map: reading one would leave it.
    const std::uint64_t stride = place.word(Kind::signals, layout::header::stride);
    place.scribble(Kind::signals, layout::header::stride, 64);
    place.scribble(Kind::signals, layout::header::head, 0);
    fails(Errc::not_a_region, "too small");
    place.scribble(Kind::signals, layout::header::stride, stride);
    place.scribble(Kind::signals, layout::header::head, 3);
    // Tables of rows that nobody knows.
    place.scribble(Kind::signals, layout::header::table_bytes, 16);
    place.scribble(Kind::signals, layout::header_bytes, 7);
    fails(Errc::table, "7 instruments");
    place.scribble(Kind::signals, layout::header_bytes, std::uint64_t{96} << 32);
    CHECK(went_over(reader.follow()) && reader.generation() == 2 && reader.tables() == SignalTables{});
    CHECK(reader.poll(signal) == PollStatus::record && signal.outputs[2] == 0.5F);
}

void a_signal_ring_that_is_none_is_refused() {
    const Place place;
    { const SignalWriter writer = must(SignalWriter::create(place.lane, place.clock, tables(), {8, {}})); }
    place.scribble(Kind::signals, layout::header_bytes, UINT64_MAX);
    CHECK_SAYS(refused(SignalReader::attach(place.lane, place.clock)), Errc::table, place.file(Kind::signals),
               "4294967295 instruments");
    // Slots of 64 bytes have no room for a signal: as many, so that sizes still agree.
    place.scribble(Kind::signals, layout::header::stride, 64);
    CHECK_SAYS(refused(SignalReader::attach(place.lane, place.clock)), Errc::not_a_region, "too small");
}

void the_board_tells_the_last_value_of_each_cell() {
    const Place place;
    BoardWriter writer = must(BoardWriter::create(place.lane, place.clock, tables()));
    const SignalBoard board = must(SignalBoard::attach(place.lane, place.clock));
    CHECK(board.instruments() == 2 && board.models() == 3 && board.tables() == tables());
    Signal signal{};
    for (std::uint32_t instrument = 0; instrument < 2; ++instrument) {
        for (std::uint16_t model = 0; model < 3; ++model) {
            CHECK(board.latest(instrument, model, signal) == BoardStatus::never);
            for (int round = 0; round < 3; ++round) {
                const auto score = static_cast<float>(100 * instrument + 10U * model + static_cast<unsigned>(round));
                CHECK(writer.set(instrument, model, signal_of(instrument, model, score)));
                CHECK(board.latest(Cell{instrument, model}, signal) == BoardStatus::value);
                CHECK(same_bytes(signal, signal_of(instrument, model, score)));
            }
        }
    }
    const auto cell = board.find("ESH4", "trees");
    CHECK(cell && cell->instrument == 0 && cell->model == 1 && !board.find("ESH4", "none") && !board.find("", "trees"));
    CHECK(board.latest(*cell, signal) == BoardStatus::value && signal.outputs[2] == 12.0F);
    for (const auto& [instrument, model] : {std::pair{2U, 0U}, {0U, 3U}, {UINT32_MAX, UINT32_MAX}}) {
        CHECK(board.latest(instrument, model, signal) == BoardStatus::no_such_cell);
        CHECK(!writer.set(instrument, model, signal));
    }
    // A writer that died in the middle of a cell leaves it busy; the others stand.
    const std::uint64_t body = layout::body_offset(16 + 2 * 96 + 3 * 1'040);
    place.scribble(Kind::board, body + 128, 7);
    CHECK(board.latest(0, 1, signal) == BoardStatus::busy && board.latest(0, 2, signal) == BoardStatus::value);
    // The next write makes it whole again, also from the highest number there is.
    place.scribble(Kind::board, body + 128, UINT64_MAX);
    CHECK(writer.set(0, 1, signal_of(0, 1, 1.5F)) && writer.set(0, 1, signal_of(0, 1, 2.5F)));
    CHECK(board.latest(0, 1, signal) == BoardStatus::value && signal.outputs[2] == 2.5F);
}

void boards_that_lie_are_refused() {
    const Place place;
    { const BoardWriter writer = must(BoardWriter::create(place.lane, place.clock, tables())); }
    const auto lies = [&](std::uint64_t offset, std::uint64_t value) {
        const std::uint64_t was = place.word(Kind::board, offset);
        place.scribble(Kind::board, offset, value);
        CHECK_SAYS(refused(SignalBoard::attach(place.lane, place.clock)), Errc::not_a_region, place.file(Kind::board));
        place.scribble(Kind::board, offset, was);
    };
    const std::uint64_t pid = place.word(Kind::board, layout::header::owner_pid) & 0xffff'ffffU;
    lies(layout::header::stride, 64);
    lies(layout::header::capacity, 0);
    lies(layout::header::owner_pid, pid);                               // No models.
    lies(layout::header::owner_pid, pid | std::uint64_t{7} << 32);      // More models than cells.
    lies(layout::header::capacity, UINT64_MAX);
    must(SignalBoard::attach(place.lane, place.clock));
}

/// A reader beside a writer at full speed never sees halves of two values, and never an older one again.
void values_are_never_torn() {
    const Place place;
    BoardWriter writer = must(BoardWriter::create(place.lane, place.clock, tables()));
    const SignalBoard board = must(SignalBoard::attach(place.lane, place.clock));
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> written{0};
    std::thread thread{[&] {
        Signal signal = signal_of(0, 0, 0);
        for (std::uint64_t n = 1; !done.load(std::memory_order_relaxed); ++n) {
            signal.ring_seq = signal.ts_event = signal.tick_ns = signal.signal_ns = n;
            signal.outputs.fill(static_cast<float>(n));
            writer.set(0, 0, signal);
            written.store(n, std::memory_order_relaxed);
        }
    }};
    std::uint64_t last = 0;
    std::uint64_t changes = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{3};
    while (changes < 50'000 && std::chrono::steady_clock::now() < end) {
        for (int look = 0; look < 1'000; ++look) {
            Signal signal{};
            if (board.latest(0, 0, signal) != BoardStatus::value) {
                continue;
            }
            const std::uint64_t n = signal.ring_seq;
            CHECK(n >= last && signal.ts_event == n && signal.tick_ns == n && signal.signal_ns == n);
            CHECK(std::count(signal.outputs.begin(), signal.outputs.end(), static_cast<float>(n)) == 16);
            changes += n != last ? 1U : 0U;
            last = n;
        }
    }
    done = true;
    thread.join();
    Signal signal{};
    CHECK(board.latest(0, 0, signal) == BoardStatus::value && signal.ring_seq == written && changes > 0);
}

} // namespace

int main() {
    tables_come_back_and_outputs_have_names();
    tables_refuse_what_does_not_fit();
    tables_of_any_bytes_are_refused_or_read();
    signals_come_in_order_in_all_forms();
    a_followed_signal_ring_brings_its_own_tables();
    a_signal_ring_that_cannot_be_followed_leaves_all_as_it_was();
    a_signal_ring_that_is_none_is_refused();
    the_board_tells_the_last_value_of_each_cell();
    boards_that_lie_are_refused();
    values_are_never_torn();
    return 0;
}
