// The strategy's side of a live run, for tests: takes every signal of a lane until its sidecar has stopped, and writes
// them to a file as they are; then what stands in the board, and what the tables say.
//
//   live_reader DIR LANE FILE
#include <pillion/shm.hpp>

#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <thread>

namespace {

[[noreturn]] void die(const std::string& message) {
    std::fprintf(stderr, "live_reader: %s\n", message.c_str());
    std::exit(1);
}

template <class T> T must(pillion::Result<T> result) {
    if (!result) {
        die(result.error().message);
    }
    return std::move(result).value();
}

/// The value of `attach()` once its region is there: for half a minute at most.
template <class Attach> auto wait_for(Attach&& attach) {
    auto result = attach();
    for (int look = 0; !result && result.error().code == pillion::Errc::absent && look < 6'000; ++look) {
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
        result = attach();
    }
    return must(std::move(result));
}

void write(std::FILE* file, const pillion::Signal& signal) {
    if (std::fwrite(&signal, sizeof signal, 1, file) != 1) {
        die("cannot write");
    }
}

void tell(const char* what, const std::array<std::uint8_t, 32>& hash) {
    std::printf("  %s ", what);
    for (const std::uint8_t byte : hash) {
        std::printf("%02x", byte);
    }
    std::printf("\n");
}

/// Every field of every row.
void tell(const pillion::SignalTables& tables) {
    for (const pillion::Instrument& instrument : tables.instruments) {
        std::printf("instrument %u %s %" PRId64 " %g\n", instrument.id, instrument.symbol.c_str(),
                    instrument.tick_size, instrument.size_unit);
    }
    for (const pillion::Model& model : tables.models) {
        std::printf("model %s %u\n", model.name.c_str(), model.revision);
        tell("sha256", model.sha256);
        tell("features", model.features_hash);
        for (const std::string& output : model.outputs) {
            std::printf("  output %s\n", output.c_str());
        }
        std::printf("  meaning %s\n  horizon %u\n", model.meaning.c_str(), model.horizon_events);
        std::printf("  runs on %s, %s, %s\n", model.engine.c_str(), model.isa.c_str(), model.runtime.c_str());
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        die("wants DIR LANE FILE");
    }
    const auto lane = must(pillion::Lane::in_dir(argv[1], argv[2]));
    const auto clock = must(pillion::Clock::attach(lane));
    const auto control = must(pillion::Control::attach(lane, clock));
    auto reader = wait_for([&] { return pillion::SignalReader::attach(lane, clock, pillion::Start::first); });
    const auto board = wait_for([&] { return pillion::SignalBoard::attach(lane, clock); });
    if (!(board.tables() == reader.tables())) {
        die("the board's tables are not the signal ring's");
    }
    std::FILE* const file = std::fopen(argv[3], "wb");
    if (file == nullptr) {
        die(std::string{"cannot write "} + argv[3]);
    }
    std::uint64_t read = 0;
    for (;;) {
        // Looked at before the ring: what was published before STOPPED is then in it.
        const bool stopped = control.state() == pillion::State::stopped || !control.owner_alive();
        const auto keep = [&](const pillion::Signal& signal) { write(file, signal); };
        const pillion::Batch batch = reader.visit(keep, 4096);
        read += batch.records;
        if (batch.corrupt) {
            die("the signal ring contradicts itself");
        }
        if (batch.records == 0 && batch.lost == 0) {
            if (stopped) {
                break;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
    }
    pillion::Signal signal;
    std::uint64_t cells = 0;
    for (std::uint32_t instrument = 0; instrument < board.instruments(); ++instrument) {
        for (std::uint32_t model = 0; model < board.models(); ++model) {
            if (board.latest(instrument, model, signal) == pillion::BoardStatus::value) {
                write(file, signal);
                ++cells;
            }
        }
    }
    tell(reader.tables());
    const pillion::Counters counters = control.counters();
    std::printf("signals %" PRIu64 " lost %" PRIu64 " cells %" PRIu64, read, reader.lost(), cells);
    std::printf(" published %" PRIu64 " consumed %" PRIu64 "\n", counters.signals, control.ticks_consumed());
    return std::fclose(file) == 0 ? 0 : 1;
}
