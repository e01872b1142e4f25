// Attaches to regions that somebody scribbled over, for AddressSanitizer and UndefinedBehaviorSanitizer to watch.
//
// Usage: asan_hostile DIR CASES. Every byte of every header is spoiled in turn, then CASES times per kind some words
// anywhere; each region is refused with a reason, or read on while it is scribbled over some more. A map stands between
// two pages that nobody may touch, and its tail up to the page's end is poisoned: a read outside it is seen to the byte.
// Linked with -Wl,--wrap=mmap,--wrap=munmap.
#include <pillion/shm.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

using namespace pillion;
namespace at = pillion::layout::header;

namespace {

constexpr std::size_t page_bytes = 4096;
std::map<void*, std::size_t> maps;

std::size_t whole_pages(std::size_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::abort();
}

void expect(bool fact, const std::string& what) {
    if (!fact) {
        fail("not so: " + what);
    }
}

} // namespace

extern "C" {
void* __real_mmap(void*, std::size_t, int, int, int, off_t);
int __real_munmap(void*, std::size_t);

void* __wrap_mmap(void* hint, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (hint != nullptr || fd < 0) {
        return __real_mmap(hint, bytes, protection, flags, fd, offset);
    }
    const std::size_t room = whole_pages(bytes);
    void* fence = __real_mmap(nullptr, room + 2 * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence == MAP_FAILED) {
        return MAP_FAILED;
    }
    char* const wanted = static_cast<char*>(fence) + page_bytes;
    void* const map = __real_mmap(wanted, bytes, protection, flags | MAP_FIXED, fd, offset);
    if (map == MAP_FAILED) {
        const int number = errno;
        __real_munmap(fence, room + 2 * page_bytes);
        errno = number;
        return map;
    }
    __asan_poison_memory_region(wanted + bytes, room - bytes);
    maps[map] = bytes;
    return map;
}

int __wrap_munmap(void* map, std::size_t bytes) {
    const auto known = maps.find(map);
    if (known == maps.end()) {
        return __real_munmap(map, bytes);
    }
    expect(known->second == bytes, "a map is unmapped whole");
    const std::size_t room = whole_pages(bytes);
    char* const first = static_cast<char*>(map);
    __asan_unpoison_memory_region(first + bytes, room - bytes);
    maps.erase(known);
    return __real_munmap(first - page_bytes, room + 2 * page_bytes);
}
}

namespace {

using Bytes = std::vector<unsigned char>;

/// SplitMix64.
struct Random {
    std::uint64_t state;

    std::uint64_t next() {
        state += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t count) { return next() % count; }
    /// Often a word where arithmetic goes wrong.
    std::uint64_t word() {
        constexpr std::array<std::uint64_t, 9> edges{0, 1, UINT64_MAX, 1ULL << 63, 1ULL << 62, 1ULL << 32, 512, 128, 64};
        switch (below(4)) {
        case 0: return next();
        case 1: return below(64);
        default: return edges[below(edges.size())] + below(5) - 2;
        }
    }
};

struct Bench {
    std::string dir;
    Lane lane;
    Clock clock;
    std::size_t attached = 0;
    std::size_t refused = 0;

    void refuse(const Error& error) {
        expect(error.message.find(dir) != std::string::npos && error.message.find("mend:") != std::string::npos,
               "a refusal names the region and the mend: " + error.message);
        ++refused;
    }
};

Bytes read_file(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

/// A file of its own each time: a reader may still map the one before.
int place(const std::string& path, const Bytes& bytes) {
    ::unlink(path.c_str());
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    expect(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "room for a region");
    return fd;
}

void put(Bytes& bytes, std::uint64_t offset, std::uint64_t word) {
    if (offset + 8 <= bytes.size()) {
        std::memcpy(bytes.data() + offset, &word, 8);
    }
}

void scribble(int fd, std::size_t bytes, Random& random) {
    const std::uint64_t word = random.word();
    const std::array<std::uint64_t, 4> places{at::head, at::successor, random.below(bytes / 8) * 8,
                                              random.below(bytes / 8) * 8};
    const std::uint64_t offset = places[random.below(places.size())];
    if (offset + 8 <= bytes) {
        expect(::pwrite(fd, &word, 8, static_cast<off_t>(offset)) == 8, "the region can be scribbled over");
    }
}

template <class Reader, class Item> void read_ring(Bench& bench, Result<Reader> attached, int fd, std::size_t bytes, Random& random) {
    if (!attached) {
        return bench.refuse(attached.error());
    }
    ++bench.attached;
    Reader& reader = *attached;
    expect(static_cast<bool>(reader.touch_and_lock(LockMemory::no)), "every page is there");
    std::array<Item, 3> items;
    for (int step = 0; step < 16; ++step) {
        const std::uint64_t cursor = reader.cursor();
        const std::uint64_t lost = reader.lost();
        switch (random.below(6)) {
        case 0:
        case 1: {
            const PollStatus status = reader.poll(items[0]);
            const std::uint64_t moved = status == PollStatus::record ? 1 : reader.lost() - lost;
            expect(reader.cursor() - cursor == moved, "the cursor moves by what is told");
            break;
        }
        case 2: {
            const Batch batch = reader.poll_batch(std::span{items});
            expect(reader.cursor() - cursor == batch.lost + batch.records, "a batch says how far it went");
            break;
        }
        case 3: {
            std::uint64_t seen = 0;
            const Batch batch = reader.visit([&](const Item&) { ++seen; }, 5);
            expect(seen == batch.records, "every record is visited");
            break;
        }
        case 4:
            static_cast<void>(reader.check());
            static_cast<void>(reader.skip_to_next());
            static_cast<void>(reader.successor() || reader.superseded() || reader.owner_alive());
            if (auto followed = reader.follow(); !followed.has_value()) {
                bench.refuse(followed.error());
                return;
            }
            break;
        default: scribble(fd, bytes, random);
        }
    }
}

void read_board(Bench& bench, int fd, std::size_t bytes, Random& random) {
    auto board = SignalBoard::attach(bench.lane, bench.clock);
    if (!board) {
        return bench.refuse(board.error());
    }
    ++bench.attached;
    Signal signal;
    for (int step = 0; step < 8; ++step) {
        const std::uint32_t last_row = board->instruments() - 1;
        const std::uint32_t last_column = board->models() - 1;
        static_cast<void>(board->latest(last_row, last_column, signal));
        static_cast<void>(board->latest(0, 0, signal));
        expect(board->latest(board->instruments(), 0, signal) == BoardStatus::no_such_cell, "no cell past the last");
        static_cast<void>(board->latest(static_cast<std::uint32_t>(random.word()), static_cast<std::uint32_t>(random.word()), signal));
        static_cast<void>(judge(signal, bench.clock.now_ns(), std::chrono::microseconds{1}));
        static_cast<void>(board->find("ES1", "mlp"));
        scribble(fd, bytes, random);
    }
}

void read_page(Bench& bench, int fd, std::size_t bytes, Random& random) {
    auto control = Control::attach_operator(bench.lane, bench.clock);
    if (!control) {
        return bench.refuse(control.error());
    }
    ++bench.attached;
    for (int step = 0; step < 8; ++step) {
        static_cast<void>(control->state());
        static_cast<void>(control->halted() || control->alive(std::chrono::microseconds{1}) || control->owner_alive());
        static_cast<void>(control->heartbeat_age_ns());
        static_cast<void>(control->counters());
        static_cast<void>(control->stages());
        static_cast<void>(control->consumed_of(random.word()));
        static_cast<void>(judge(*control, std::chrono::microseconds{1}));
        if (auto outcome = control->request(Command::halt, std::chrono::nanoseconds{0}); !outcome) {
            expect(outcome.error().message.find("mend:") != std::string::npos, outcome.error().message);
        }
        scribble(fd, bytes, random);
    }
}

void read_clock(Bench& bench, const std::string& dir) {
    auto clock = Clock::attach_or_create(dir);
    if (!clock) {
        return bench.refuse(clock.error());
    }
    ++bench.attached;
    expect(clock->now_ns() <= clock->now_ns(), "time does not run backwards");
}

/// Puts `bytes` under the name of a region of `kind`, and does what its peers do.
void attach(Bench& bench, Kind kind, const Bytes& bytes, Random& random) {
    const std::string clocks = bench.dir + "/clocks";
    const std::string path = kind == Kind::clock ? clocks + "/pillion.clock" : bench.lane.path(kind);
    const int fd = place(path, bytes);
    const Start start = static_cast<Start>(random.below(3));
    switch (kind) {
    case Kind::ticks: read_ring<TickReader, Tick>(bench, TickReader::attach(bench.lane, bench.clock, start), fd, bytes.size(), random); break;
    case Kind::signals: read_ring<SignalReader, Signal>(bench, SignalReader::attach(bench.lane, bench.clock, start), fd, bytes.size(), random); break;
    case Kind::board: read_board(bench, fd, bytes.size(), random); break;
    case Kind::cnc: read_page(bench, fd, bytes.size(), random); break;
    case Kind::clock: read_clock(bench, clocks); break;
    }
    ::close(fd);
    ::unlink(path.c_str());
}

template <class T> T made(Result<T> result) {
    if (!result) {
        fail(result.error().message);
    }
    return std::move(*result);
}

SignalTables tables() {
    SignalTables tables;
    tables.instruments.resize(2);
    tables.instruments[0].symbol = "ES1";
    tables.instruments[1].symbol = "ES2";
    tables.models.resize(2);
    tables.models[0].name = "mlp";
    tables.models[1].name = "lstm";
    return tables;
}

/// An honest region of every kind, as its owner left it.
std::vector<std::pair<Kind, Bytes>> honest(const Bench& bench) {
    std::vector<std::pair<Kind, Bytes>> all;
    const auto keep = [&](Kind kind) { all.emplace_back(kind, read_file(bench.lane.path(kind))); };
    {
        auto ring = made(TickWriter::create(bench.lane, bench.clock, {.capacity = 8, .record_bytes = 112}));
        for (int n = 0; n < 19; ++n) {
            static_cast<void>(ring.publish(std::array<std::uint64_t, 7>{}));
        }
        keep(Kind::ticks);
    }
    {
        auto ring = made(SignalWriter::create(bench.lane, bench.clock, tables(), {.capacity = 4}));
        for (int n = 0; n < 6; ++n) {
            static_cast<void>(ring.publish(Signal{}));
        }
        keep(Kind::signals);
    }
    {
        auto board = made(BoardWriter::create(bench.lane, bench.clock, tables()));
        expect(board.set(1, 1, Signal{}), "the last cell");
        keep(Kind::board);
    }
    {
        auto page = made(ControlOwner::create(bench.lane, bench.clock));
        page.set_state(State::halt);
        page.publish_stages({});
        keep(Kind::cnc);
    }
    keep(Kind::clock);
    return all;
}

void every_header_byte(Bench& bench, Kind kind, const Bytes& whole, Random& random) {
    for (std::size_t i = 0; i < layout::header_bytes; ++i) {
        // A clock of another boot is made anew, which takes its time.
        if (kind == Kind::clock && i >= at::boot_id && i < at::boot_id + 16) {
            continue;
        }
        for (const int value : {0x00, 0xff, whole[i] ^ 0x01, whole[i] ^ 0x80, whole[i] + 1}) {
            Bytes bytes = whole;
            bytes[i] = static_cast<unsigned char>(value);
            attach(bench, kind, bytes, random);
        }
    }
}

void some_words(Bench& bench, Kind kind, const Bytes& whole, Random& random) {
    Bytes bytes = whole;
    constexpr std::array<std::uint64_t, 7> fields{at::stride,       at::capacity,    at::table_bytes, at::body_offset,
                                                  at::region_bytes, at::table_offset, at::head};
    for (std::uint64_t left = random.below(4); left > 0; --left) {
        put(bytes, fields[random.below(fields.size())], random.word());
    }
    for (std::uint64_t left = random.below(6); left > 0; --left) {
        put(bytes, random.below(bytes.size()), random.word());
    }
    if (random.below(4) == 0) {
        bytes.resize(random.below(2 * whole.size()));
    }
    if (random.below(2) == 0) {
        put(bytes, at::region_bytes, bytes.size());
    }
    if (kind == Kind::clock && bytes.size() >= layout::header_bytes) {
        std::memcpy(bytes.data() + at::boot_id, whole.data() + at::boot_id, 16);
    }
    attach(bench, kind, bytes, random);
}

} // namespace

int main(int argc, char** argv) {
    expect(argc == 3, "two arguments");
    Bench bench{argv[1], made(Lane::in_dir(argv[1], "asan")), made(Clock::attach_or_create(argv[1]))};
    expect(::mkdir((bench.dir + "/clocks").c_str(), 0700) == 0, "a folder for clocks");
    Random random{42};
    const auto regions = honest(bench);
    for (const auto& [kind, whole] : regions) {
        attach(bench, kind, whole, random);
        expect(bench.refused == 0, "an honest region is attached to");
    }
    for (const auto& [kind, whole] : regions) {
        every_header_byte(bench, kind, whole, random);
        for (int n = std::atoi(argv[2]); n > 0; --n) {
            some_words(bench, kind, whole, random);
        }
    }
    expect(maps.empty(), "nothing is left mapped");
    std::printf("attached %zu, refused %zu\n", bench.attached, bench.refused);
}
