/// A strategy's side: reads scores from the signal ring (or one cell of the board), applies the strategist's rules and
/// prints what it would do.
///
///   strategy --lane es                                         # every score of every model, in order
///   strategy --lane es --board --symbol ESH4 --model mlp-k10   # the latest of one, when asked for
///
/// It never guesses: outputs are found by name, once after attach and again after each restart of the sidecar, and no
/// score is used before `pillion::judge` has looked at the sidecar and at the score.
#include "decision.hpp"

#include <pillion/shm.hpp>

#include <chrono>
#include <csignal>
#include <thread>

namespace {

constexpr const char* usage = R"(usage: strategy --lane NAME [options]
  --max-age MS    age of a score's tick from which it is history; default 5
  --heartbeat MS  age of the sidecar's heartbeat from which it counts as hung; default 1000
  --buy OUTPUT    name of the output that speaks for buying; default up
  --sell OUTPUT   name of the output that speaks for selling; default down
  --edge X        by how much one must be above the other; default 0.2
  --symbol S      only this instrument
  --model M       only this model
  --board         read the latest score of --symbol and --model from the board, ten times a second
  --oldest        start with the oldest signal in the ring, not with the next
  --show N        changes of mind to print; default 20
  --for SECONDS   end after this time; default when the sidecar is stopped
  --dir DIR       where the regions stand; default /dev/shm
)";

using pillion::Signal;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::this_thread::sleep_for;

volatile std::sig_atomic_t interrupted = 0;

struct Options {
    Rules rules;
    steady_clock::time_point end = steady_clock::time_point::max();
};

/// Attaches with `attach()`, waiting while the sidecar has not made the region yet.
template <class Attach> auto wait_for(const char* what, Attach&& attach) {
    auto handle = attach();
    if (!handle && handle.error().code == pillion::Errc::absent) {
        print("waiting    for ", what, "\n");
    }
    while (!handle && handle.error().code == pillion::Errc::absent && interrupted == 0) {
        sleep_for(milliseconds{20});
        handle = attach();
    }
    return must(std::move(handle));
}

/// Whether to end: asked for, out of time, or the sidecar was stopped for good.
bool over(const Options& options, const pillion::Control& control) {
    return interrupted != 0 || steady_clock::now() > options.end || control.state() == pillion::State::stopped;
}

/// Goes over to the page of a sidecar that took over, once it is there.
void renew(pillion::Control& control, const pillion::Lane& lane, const pillion::Clock& clock) {
    if (control.superseded()) {
        if (auto next = pillion::Control::attach(lane, clock)) {
            control = std::move(next).value();
        }
    }
}

void follow_ring(const pillion::Lane& lane, const pillion::Clock& clock, const Options& options, pillion::Start start) {
    auto control = wait_for("a sidecar", [&] { return pillion::Control::attach(lane, clock); });
    auto signals = wait_for("its signals", [&] { return pillion::SignalReader::attach(lane, clock, start); });
    Meaning meaning{signals.tables(), options.rules};
    Strategy strategy{options.rules, clock};
    std::uint64_t read = 0;
    std::uint64_t restarts = 0;
    Signal signal;
    for (std::uint64_t empty = 0; interrupted == 0;) {
        switch (signals.poll(signal)) {
        case pillion::PollStatus::record:
            ++read;
            strategy.decide(signal, control, meaning);
            continue;
        case pillion::PollStatus::lost: continue; // Counted by the reader; what comes next is newer.
        case pillion::PollStatus::corrupt:
        case pillion::PollStatus::empty: break; // Corrupt: nothing is decided until the writer has healed the slot.
        }
        // A strategy with a core of its own spins here. What takes system calls is done now and then, when all is read.
        sleep_for(std::chrono::microseconds{50});
        if (++empty % 128 != 0) {
            continue;
        }
        renew(control, lane, clock);
        if (must(signals.follow())) {
            ++restarts;
            print("restart    signals of generation ", signals.generation(), ": rows and outputs looked up again\n");
            meaning = Meaning{signals.tables(), options.rules};
        } else if (over(options, control)) {
            break;
        }
    }
    strategy.summary(read, signals.lost(), restarts);
}

void watch_board(const pillion::Lane& lane, const pillion::Clock& clock, const Options& options) {
    auto control = wait_for("a sidecar", [&] { return pillion::Control::attach(lane, clock); });
    auto board = wait_for("its board", [&] { return pillion::SignalBoard::attach(lane, clock); });
    Meaning meaning{board.tables(), options.rules};
    Strategy strategy{options.rules, clock};
    std::uint64_t read = 0;
    std::uint64_t restarts = 0;
    Signal signal;
    while (!over(options, control)) {
        const auto cell = board.find(options.rules.symbol, options.rules.model);
        if (!cell) {
            die("the board has no cell of these: " + options.rules.symbol + ", " + options.rules.model);
        }
        if (board.latest(*cell, signal) == pillion::BoardStatus::value) {
            ++read;
            strategy.decide(signal, control, meaning);
        }
        sleep_for(milliseconds{100});
        renew(control, lane, clock);
        if (board.superseded()) {
            if (auto next = pillion::SignalBoard::attach(lane, clock)) {
                ++restarts;
                board = std::move(next).value();
                meaning = Meaning{board.tables(), options.rules};
            }
        }
    }
    strategy.summary(read, 0, restarts);
}

} // namespace

int main(int argc, char** argv) {
    Args args{argc, argv, usage};
    const std::string lane_name = args.text("--lane", "");
    const std::string dir = args.text("--dir", pillion::default_dir);
    Options options;
    options.rules.max_age_ns = static_cast<std::uint64_t>(args.number("--max-age", 5) * 1e6);
    options.rules.heartbeat_ns = static_cast<std::uint64_t>(args.number("--heartbeat", 1'000) * 1e6);
    options.rules.buy = args.text("--buy", "up");
    options.rules.sell = args.text("--sell", "down");
    options.rules.edge = args.number("--edge", 0.2);
    options.rules.symbol = args.text("--symbol", "");
    options.rules.model = args.text("--model", "");
    options.rules.show = args.count("--show", 20);
    if (const double seconds = args.number("--for", 0); seconds > 0) {
        options.end = steady_clock::now() + milliseconds{static_cast<std::int64_t>(seconds * 1e3)};
    }
    const bool board = args.flag("--board");
    const auto start = args.flag("--oldest") ? pillion::Start::oldest : pillion::Start::next;
    args.finish();
    if (lane_name.empty() || (board && (options.rules.symbol.empty() || options.rules.model.empty()))) {
        args.refuse(lane_name.empty() ? "no --lane" : "--board wants a --symbol and a --model");
    }
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    const auto lane = must(pillion::Lane::in_dir(dir, lane_name));
    const auto clock = must(pillion::Clock::attach_or_create(dir));
    if (board) {
        watch_board(lane, clock, options);
    } else {
        follow_ring(lane, clock, options, start);
    }
}
