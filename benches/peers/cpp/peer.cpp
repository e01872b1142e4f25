// The C++ ends of rings and board for the benchmarks: each function is one call of the header's, inlined here.

#include <pillion/shm.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

template <std::size_t Words> struct Payload {
    std::uint64_t words[Words];
};

template <class T> T sound(pillion::Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "C++ peer: %s\n", result.error().message.c_str());
        std::abort();
    }
    return std::move(result).value();
}

struct Place {
    pillion::Clock clock;
    pillion::Lane lane;

    Place(const char* dir, const char* lane)
        : clock{sound(pillion::Clock::attach_or_create(dir))}, lane{sound(pillion::Lane::in_dir(dir, lane))} {}
};

constexpr std::size_t batch = 64;

struct Reader {
    pillion::TickReader ring;
    std::vector<pillion::Tick> ticks = std::vector<pillion::Tick>(batch);
};

} // namespace

extern "C" {

// What a batch or a visit found.
struct PillionTaken {
    std::uint64_t records;
    std::uint64_t lost;
    std::uint64_t sum; // of the records' first words
};

pillion::TickWriter* pillion_writer(const char* dir, const char* lane, std::uint64_t capacity, std::uint64_t bytes) {
    const Place place{dir, lane};
    auto writer = sound(pillion::TickWriter::create(place.lane, place.clock, {capacity, bytes, {}}));
    return std::make_unique<pillion::TickWriter>(std::move(writer)).release();
}

void pillion_writer_free(pillion::TickWriter* writer) {
    (void)writer->unlink();
    delete writer;
}

void pillion_publish_8(pillion::TickWriter* writer, const std::uint64_t* words) {
    static_cast<void>(writer->publish_at(*reinterpret_cast<const Payload<8>*>(words), words[0]));
}

void pillion_publish_46(pillion::TickWriter* writer, const std::uint64_t* words) {
    static_cast<void>(writer->publish_at(*reinterpret_cast<const Payload<46>*>(words), words[0]));
}

void pillion_publish_stamped_8(pillion::TickWriter* writer, const std::uint64_t* words) {
    static_cast<void>(writer->publish(*reinterpret_cast<const Payload<8>*>(words)));
}

Reader* pillion_reader(const char* dir, const char* lane) {
    const Place place{dir, lane};
    Reader reader{sound(pillion::TickReader::attach(place.lane, place.clock))};
    (void)reader.ring.touch_and_lock();
    return std::make_unique<Reader>(std::move(reader)).release();
}

void pillion_reader_free(Reader* reader) { delete reader; }

bool pillion_poll_8(Reader* reader, std::uint64_t* words) {
    std::uint64_t stamp_ns = 0;
    return reader->ring.poll_as(*reinterpret_cast<Payload<8>*>(words), stamp_ns) == pillion::PollStatus::record;
}

bool pillion_poll_46(Reader* reader, std::uint64_t* words) {
    std::uint64_t stamp_ns = 0;
    return reader->ring.poll_as(*reinterpret_cast<Payload<46>*>(words), stamp_ns) == pillion::PollStatus::record;
}

PillionTaken pillion_batch(Reader* reader) {
    const pillion::Batch found = reader->ring.poll_batch(reader->ticks);
    PillionTaken taken{found.records, found.lost, 0};
    for (std::size_t i = 0; i < found.records; ++i) {
        taken.sum += reader->ticks[i].raw<Payload<1>>().words[0];
    }
    return taken;
}

pillion::SignalBoard* pillion_board(const char* dir, const char* lane) {
    const Place place{dir, lane};
    auto board = sound(pillion::SignalBoard::attach(place.lane, place.clock));
    return std::make_unique<pillion::SignalBoard>(std::move(board)).release();
}

void pillion_board_free(pillion::SignalBoard* board) { delete board; }

// Reads the cell `times` times, as a strategy does that takes a look at each of its own events; returns how often there was
// a whole value, and a sum that keeps the compiler from leaving anything out.
PillionTaken pillion_board_reads(const pillion::SignalBoard* board, std::uint64_t times) {
    PillionTaken taken{0, 0, 0};
    pillion::Signal signal;
    for (std::uint64_t i = 0; i < times; ++i) {
        taken.records += board->latest(0, 0, signal) == pillion::BoardStatus::value;
        asm volatile("" : : "r"(&signal) : "memory");
        taken.sum += signal.ring_seq;
    }
    return taken;
}
}
