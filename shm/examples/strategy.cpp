/// A strategy's side: reads scores from the signal ring (or one cell of the board), applies the strategist's rules and
/// prints what it would do.
///
///   strategy --lane es                                         # every score of every model, in order
///   strategy --lane es --board --symbol ESH4 --model mlp-k10   # the latest of one, when asked for
///
/// It never guesses: outputs are found by name, once after attach and again after each restart of the sidecar, and no
/// score is used before `pillion::judge` has looked at the sidecar and at the score. It never clings: each millisecond it
/// judges again what it stands for, because a sidecar that died, a HALT and a feed that stopped send no signal.
#include "decision.hpp"

#include <pillion/shm.hpp>

#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

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
  --show N        changes of mind over a score to print; default 20. Those over a sidecar or a ring are always printed
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

/// Says when it is time again: by the clock, not by polls, so that it comes round whatever the ring does.
class Every {
public:
    explicit Every(milliseconds period) : period_ns_{static_cast<std::uint64_t>(period.count()) * 1'000'000} {}

    [[nodiscard]] bool due(std::uint64_t now_ns) noexcept {
        if (now_ns < next_ns_) {
            return false;
        }
        next_ns_ = now_ns + period_ns_;
        return true;
    }

private:
    std::uint64_t period_ns_;
    std::uint64_t next_ns_ = 0;
};

/// How often to judge again what it stands for. No system call; a score outlives its time by no more than this.
constexpr milliseconds look_period{1};
/// How often to do what takes system calls: look for another sidecar, and whether to end.
constexpr milliseconds rare_period{20};

/// Whether to end now: asked for, or out of time.
bool over(const Options& options) { return interrupted != 0 || steady_clock::now() > options.end; }

/// Goes over to the page of a sidecar that took over, once it is there; says whether it did.
bool renew(pillion::Control& control, const pillion::Lane& lane, const pillion::Clock& clock) {
    if (!control.superseded()) {
        return false;
    }
    auto next = pillion::Control::attach(lane, clock);
    if (next) {
        control = std::move(next).value();
    }
    return static_cast<bool>(next); // Else the old page stays, whose heartbeat has stopped: judge() says stand down.
}

/// Touches every page of the ring, so that the first lap does not fault on the path, and locks them if the limit allows it.
void lock_pages(pillion::SignalReader& signals) {
    if (const pillion::Status touched = signals.touch_and_lock(); !touched) {
        die(touched.error().message);
    }
}

constexpr const char* restarted = "stand down: the sidecar was restarted, this score is its predecessor's";
constexpr const char* scribbled_over = "stand down: somebody scribbles over the signals";
constexpr const char* ends = "stand down: the strategy ends";

void follow_ring(const pillion::Lane& lane, const pillion::Clock& clock, const Options& options, pillion::Start start) {
    auto control = wait_for("a sidecar", [&] { return pillion::Control::attach(lane, clock); });
    auto signals = wait_for("its signals", [&] { return pillion::SignalReader::attach(lane, clock, start); });
    lock_pages(signals);
    Meaning meaning{signals.tables(), options.rules};
    Strategy strategy{options.rules, clock};
    std::uint64_t read = 0;
    std::uint64_t restarts = 0;
    bool scribbled = false; // Until a record comes again.
    bool stopped = false;
    Every look{look_period};
    Every rarely{rare_period};
    Signal signal;
    for (;;) {
        const pillion::PollStatus status = signals.poll(signal);
        switch (status) {
        case pillion::PollStatus::record:
            ++read;
            scribbled = false;
            strategy.decide(signal, control, meaning);
            break;
        case pillion::PollStatus::lost: // Counted by the reader.
            strategy.stand_aside("stand down: signals were lost, this score is history", meaning);
            break;
        case pillion::PollStatus::corrupt:
        case pillion::PollStatus::truncated: // Not of signals: their slots are made for them.
        case pillion::PollStatus::too_small:
        case pillion::PollStatus::empty: // A strategy with a core of its own spins here.
            sleep_for(std::chrono::microseconds{50});
            break;
        }
        // From here on nothing may hang on a record: a dead sidecar sends none, and a busy one always has one more.
        const std::uint64_t now_ns = clock.now_ns();
        const bool rare = rarely.due(now_ns);
        if (look.due(now_ns)) {
            strategy.look(control, meaning);
        }
        // A slot scribbled over may also look empty: check() tells.
        if (status == pillion::PollStatus::corrupt || (rare && !signals.check())) {
            strategy.stand_aside(scribbled_over, meaning);
            if (!std::exchange(scribbled, true)) {
                print("corrupt    ", signals.path(), " contradicts itself at signal ", signals.cursor(),
                      ": find out who writes there besides the sidecar\n");
            }
        }
        if (!rare) {
            continue;
        }
        if (scribbled) {
            signals.skip_to_next(); // What is left there nobody can tell; it counts as lost.
        }
        if (renew(control, lane, clock)) {
            strategy.stand_aside(restarted, meaning);
        }
        // A ring that was taken over is read to its end first; its dead writer cannot keep us there.
        auto followed = status == pillion::PollStatus::record ? pillion::Result<pillion::Follow>{pillion::Follow::stayed}
                                                              : signals.follow();
        if (!followed.has_value()) {
            strategy.stand_aside("stand down: the restarted sidecar's signals cannot be read", meaning);
        }
        if (must(std::move(followed)) == pillion::Follow::followed) {
            lock_pages(signals);
            ++restarts;
            scribbled = false;
            strategy.stand_aside(restarted, meaning);
            print("restart    signals of generation ", signals.generation(), ": rows and outputs looked up again\n");
            meaning = Meaning{signals.tables(), options.rules};
            continue;
        }
        // A sidecar that was stopped publishes nothing more: seen at the last look and nothing since, all is read.
        const bool was_stopped = std::exchange(stopped, control.state() == pillion::State::stopped);
        if (over(options) || (was_stopped && stopped && status != pillion::PollStatus::record)) {
            break;
        }
    }
    strategy.stand_aside(ends, meaning);
    strategy.summary(read, signals.lost(), restarts);
}

void watch_board(const pillion::Lane& lane, const pillion::Clock& clock, const Options& options) {
    auto control = wait_for("a sidecar", [&] { return pillion::Control::attach(lane, clock); });
    auto board = wait_for("its board", [&] { return pillion::SignalBoard::attach(lane, clock); });
    const auto find = [&] {
        const auto found = board.find(options.rules.symbol, options.rules.model);
        if (!found) {
            die("the board has no cell of these: " + options.rules.symbol + ", " + options.rules.model);
        }
        return *found;
    };
    pillion::Cell cell = find();
    Meaning meaning{board.tables(), options.rules};
    Strategy strategy{options.rules, clock};
    std::uint64_t read = 0;
    std::uint64_t restarts = 0;
    Every ask{milliseconds{100}};
    Signal signal;
    while (!over(options) && control.state() != pillion::State::stopped) {
        sleep_for(look_period);
        strategy.look(control, meaning); // Also when its cell is busy for ever, half written by a sidecar that died.
        if (!ask.due(clock.now_ns())) {
            continue;
        }
        if (board.latest(cell, signal) == pillion::BoardStatus::value) {
            ++read;
            strategy.decide(signal, control, meaning);
        }
        if (renew(control, lane, clock)) {
            strategy.stand_aside(restarted, meaning);
        }
        if (!board.superseded()) {
            continue;
        }
        if (auto next = pillion::SignalBoard::attach(lane, clock)) {
            ++restarts;
            strategy.stand_aside(restarted, meaning);
            board = std::move(next).value();
            print("restart    board of generation ", board.generation(), ": rows and outputs looked up again\n");
            meaning = Meaning{board.tables(), options.rules};
            cell = find();
        }
    }
    strategy.stand_aside(ends, meaning);
    strategy.summary(read, 0, restarts);
}

} // namespace

int main(int argc, char** argv) {
    Args args{argc, argv, usage};
    const std::string lane_name = args.text("--lane", "");
    const std::string dir = args.text("--dir", pillion::default_dir);
    Options options;
    options.rules.limits.tick = args.duration("--max-age", 5, 1e6);
    options.rules.limits.heartbeat = args.duration("--heartbeat", 1'000, 1e6);
    options.rules.buy = args.text("--buy", "up");
    options.rules.sell = args.text("--sell", "down");
    options.rules.edge = args.number("--edge", 0.2);
    options.rules.symbol = args.text("--symbol", "");
    options.rules.model = args.text("--model", "");
    options.rules.show = args.count("--show", 20, 1'000'000'000);
    if (const std::uint64_t ns = args.time_ns("--for", 0, 1e9); ns > 0) {
        options.end = steady_clock::now() + std::chrono::nanoseconds{ns};
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
    // Whoever makes the first region makes the clock: a strategy waits for it.
    const auto clock = wait_for("a clock", [&] { return pillion::Clock::attach(lane); });
    if (board) {
        watch_board(lane, clock, options);
    } else {
        follow_ring(lane, clock, options, start);
    }
}
