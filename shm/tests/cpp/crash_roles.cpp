// What the victims of the crash tests do, written against the C++ header: the twin of crash/roles.rs, role by role, with
// the points to die at that crash_cpp.rs puts into a copy of the header.
#include "pillion/shm.hpp"

#include "crash_points.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>

namespace {

using std::uint64_t;

constexpr uint64_t slots = 4;
constexpr uint64_t burst = 6;
constexpr uint64_t sets = 3;
constexpr std::chrono::seconds soon{30};

using Record = std::array<uint64_t, 14>;

[[noreturn]] void give_up(const std::string& why) {
    std::cerr << why << std::endl;
    std::exit(3);
}

template <class T> T must(pillion::Result<T> result) {
    if (!result.has_value()) {
        give_up(result.error().message);
    }
    return std::move(result).value();
}

template <class... Words> void say(const Words&... words) {
    std::cout << "@@";
    ((std::cout << ' ' << words), ...);
    std::cout << std::endl;
}

void wait() {
    std::string line;
    std::getline(std::cin, line);
}

Record record(uint64_t n) {
    Record made;
    for (std::size_t i = 0; i < made.size(); ++i) {
        made[i] = std::rotl((n + 1) * 0x9e37'79b9'7f4a'7c15U, static_cast<int>(4 * i));
    }
    return made;
}

pillion::Signal signal(uint64_t n) {
    pillion::Signal made{};
    made.ring_seq = n;
    made.ts_event = ~n;
    made.tick_ns = n ^ 0x5555U;
    made.signal_ns = n << 7;
    made.instrument = static_cast<std::uint32_t>(n);
    made.revision = static_cast<std::uint32_t>(n + 1);
    made.outputs_len = 16;
    for (std::size_t i = 0; i < made.outputs.size(); ++i) {
        made.outputs[i] = static_cast<float>(n * 17 + i);
    }
    return made;
}

pillion::StageSummaries stages(uint64_t n) {
    pillion::StageSummaries made;
    for (uint64_t i = 0; i < made.size(); ++i) {
        made[i] = {n, n + i, n, n, n, n, n + i};
    }
    return made;
}

/// Two instruments and two models.
pillion::SignalTables tables() {
    pillion::SignalTables made;
    for (std::uint32_t i = 0; i < 2; ++i) {
        made.instruments.push_back({i + 1, "ES" + std::to_string(i), 250'000'000, 0.5});
        pillion::Model model;
        model.name = "model-" + std::to_string(i);
        model.outputs = {"down", "up"};
        made.models.push_back(std::move(model));
    }
    return made;
}

void publish(pillion::TickWriter& ring, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
        const uint64_t n = ring.published();
        static_cast<void>(ring.publish_at(record(n), n + 7));
    }
}

void whole(const pillion::Tick& tick) {
    const Record wanted = record(tick.ring_seq);
    if (tick.stamp_ns != tick.ring_seq + 7 || std::memcmp(tick.data, &wanted, sizeof wanted) != 0) {
        give_up("torn record " + std::to_string(tick.ring_seq));
    }
}

/// Reads until nothing is left.
uint64_t drain(pillion::TickReader& reader) {
    pillion::Tick tick;
    for (uint64_t read = 0;;) {
        switch (reader.poll(tick)) {
        case pillion::PollStatus::empty: return read;
        case pillion::PollStatus::record:
            whole(tick);
            ++read;
            break;
        case pillion::PollStatus::lost: break;
        case pillion::PollStatus::truncated:
        case pillion::PollStatus::too_small: give_up("a record that a tick has no room for");
        case pillion::PollStatus::corrupt: give_up("corrupt at " + std::to_string(reader.cursor()));
        }
    }
}

bool obey(pillion::ControlOwner& page) {
    const auto request = page.poll_mailbox();
    if (!request) {
        return false;
    }
    const auto command = request->command.value();
    page.set_state(command == pillion::Command::halt     ? pillion::State::halt
                   : command == pillion::Command::resume ? pillion::State::run
                                                         : pillion::State::stopped);
    page.answer(*request, pillion::Outcome::done);
    return true;
}

struct Victim {
    pillion::Lane lane;
    pillion::Clock clock;

    [[nodiscard]] pillion::TickWriter ring_of(uint64_t capacity) const {
        return must(pillion::TickWriter::create(lane, clock, {capacity, sizeof(Record)}));
    }
    [[nodiscard]] pillion::SignalWriter new_signals() const {
        return must(pillion::SignalWriter::create(lane, clock, tables(), {slots}));
    }
    [[nodiscard]] pillion::BoardWriter new_board() const {
        return must(pillion::BoardWriter::create(lane, clock, tables()));
    }
    [[nodiscard]] pillion::ControlOwner new_page() const { return must(pillion::ControlOwner::create(lane, clock)); }
    [[nodiscard]] pillion::ControlOwner start_page() const {
        pillion::ControlOwner page = new_page();
        page.set_state(page.start_halted() ? pillion::State::halt : pillion::State::run);
        return page;
    }
    [[nodiscard]] pillion::TickReader reader(pillion::Start start) const {
        return must(pillion::TickReader::attach(lane, clock, start));
    }

    void ring(uint64_t before) const;
    void board(uint64_t before) const;
    void page() const;
    void ask() const;
    void order(uint64_t command) const;
    void read() const;
    void create(const std::string& kind) const;
    void sidecar(uint64_t ticks) const;
    void endless(const std::string& what) const;
};

void Victim::ring(uint64_t before) const {
    pillion::TickWriter ring = ring_of(slots);
    publish(ring, before);
    say(ring.generation());
    wait();
    crash::arm();
    publish(ring, burst);
}

void Victim::board(uint64_t before) const {
    pillion::BoardWriter board = new_board();
    // What stands beside the cell that it dies at, as in crash/script.rs.
    board.set(0, 1, signal(1000));
    board.set(1, 0, signal(1001));
    for (uint64_t n = 1; n <= before; ++n) {
        board.set(1, 1, signal(n));
    }
    say(board.generation());
    wait();
    crash::arm();
    for (uint64_t n = before + 1; n <= before + sets; ++n) {
        board.set(1, 1, signal(n));
    }
}

/// Keeps its page, and answers one request in the middle of it.
void Victim::page() const {
    pillion::ControlOwner page = start_page();
    page.publish_stages(stages(1));
    say(page.generation(), page.start_halted() ? "true" : "false");
    wait();
    crash::arm();
    page.beat(clock.now_ns());
    page.set_ticks_ring(3, 10);
    page.set_ticks_consumed(12);
    while (!obey(page)) {
        pillion::detail::sleep_ns(50'000);
    }
    page.set_counters({1, 2});
    page.publish_stages(stages(2));
}

void Victim::ask() const {
    pillion::Control control = must(pillion::Control::attach_operator(lane, clock));
    say("ready");
    wait();
    crash::arm();
    if (must(control.halt(soon)) != pillion::Outcome::done) {
        give_up("not halted");
    }
}

/// Orders a lane whose sidecar is dead: 1 halts, anything else resumes, as commands are numbered.
void Victim::order(uint64_t command) const {
    pillion::Control control = must(pillion::Control::attach_operator(lane, clock));
    say("ready");
    wait();
    crash::arm();
    const bool halt = command == static_cast<uint64_t>(pillion::Command::halt);
    if (must(halt ? control.halt(soon) : control.resume(soon)) != pillion::Outcome::done) {
        give_up("the order was not carried out");
    }
}

/// Attaches and reads: it has nothing to store, so it passes no point.
void Victim::read() const {
    crash::arm();
    pillion::TickReader from = reader(pillion::Start::oldest);
    const uint64_t read = drain(from);
    static_cast<void>(from.owner_alive() || from.superseded());
    say(read, from.lost(), crash::passed);
    wait();
}

void Victim::create(const std::string& kind) const {
    crash::arm();
    if (kind == "ticks") {
        static_cast<void>(ring_of(slots));
    } else if (kind == "signals") {
        static_cast<void>(new_signals());
    } else if (kind == "board") {
        static_cast<void>(new_board());
    } else {
        static_cast<void>(new_page());
    }
}

/// For each tick a signal in the ring and on the board, then the counts: the sidecar's order of stores.
void Victim::sidecar(uint64_t ticks) const {
    pillion::ControlOwner page = start_page();
    pillion::SignalWriter signals = new_signals();
    pillion::BoardWriter board = new_board();
    pillion::TickReader from = reader(pillion::Start::first);
    page.set_ticks_ring(from.generation(), 0);
    pillion::Counters counters;
    pillion::Tick tick;
    say(page.generation(), page.start_halted() ? "true" : "false");
    wait();
    crash::arm();
    while (ticks == 0 || from.cursor() < ticks) {
        const pillion::PollStatus found = from.poll(tick);
        if (found == pillion::PollStatus::corrupt) {
            give_up("corrupt at " + std::to_string(from.cursor()));
        }
        if (found == pillion::PollStatus::record) {
            whole(tick);
            const uint64_t n = signals.published();
            signals.publish_at(signal(n), n + 7);
            board.set(1, 1, signal(n + 1));
            ++counters.signals;
        }
        counters.lost = from.lost();
        page.set_ticks_consumed(from.cursor());
        page.set_counters(counters);
        page.beat(clock.now_ns());
        obey(page);
    }
}

/// Goes on until somebody kills it.
void Victim::endless(const std::string& what) const {
    if (what == "ring") {
        pillion::TickWriter ring = ring_of(64);
        say(ring.generation());
        for (;;) {
            publish(ring, 1);
        }
    } else if (what == "board") {
        pillion::BoardWriter board = new_board();
        say(board.generation());
        for (uint64_t n = 1;; ++n) {
            board.set(1, 1, signal(n));
        }
    } else if (what == "page") {
        pillion::ControlOwner page = start_page();
        say(page.generation());
        for (uint64_t n = 1;; ++n) {
            page.beat(n);
            page.publish_stages(stages(n));
            obey(page);
        }
    } else if (what == "create") {
        say("ready");
        for (;;) {
            create("ticks");
            create("cnc");
        }
    } else if (what == "read") {
        pillion::TickReader from = reader(pillion::Start::next);
        say("ready");
        for (;;) {
            drain(from);
            static_cast<void>(from.follow().has_value());
        }
    } else if (what == "operate") {
        pillion::Control control = must(pillion::Control::attach_operator(lane, clock));
        say("ready");
        for (;;) {
            static_cast<void>(control.halt(soon));
        }
    } else if (what == "sidecar") {
        sidecar(0);
    } else {
        give_up("nothing endless is called " + what);
    }
}

} // namespace

int main() {
    const std::string dir = std::getenv("PILLION_TEST_DIR");
    const std::string asked = std::getenv("PILLION_TEST_ROLE");
    const std::size_t colon = asked.find(':');
    const std::string role = asked.substr(0, colon);
    const std::string arg = colon == std::string::npos ? "0" : asked.substr(colon + 1);
    if (asked == "create:clock") {
        crash::arm();
        must(pillion::Clock::attach_or_create(dir));
        return 0;
    }
    const Victim victim{must(pillion::Lane::in_dir(dir, "test")), must(pillion::Clock::attach_or_create(dir))};
    if (role == "ring") {
        victim.ring(std::stoull(arg));
    } else if (role == "board") {
        victim.board(std::stoull(arg));
    } else if (role == "page") {
        victim.page();
    } else if (role == "operator") {
        victim.ask();
    } else if (role == "order") {
        victim.order(std::stoull(arg));
    } else if (role == "reader") {
        victim.read();
    } else if (role == "create") {
        victim.create(arg);
    } else if (role == "sidecar") {
        victim.sidecar(std::stoull(arg));
    } else if (role == "endless") {
        victim.endless(arg);
    } else {
        give_up("no role " + asked);
    }
}
