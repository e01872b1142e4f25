/// @file
/// The control page of a sidecar: state, heartbeat, counters, stage summaries, and the mailbox for operators.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "board.hpp"
#include "mailbox.hpp"

#include <chrono>

namespace pillion {

/// What a sidecar is doing; the state machine stands in shm/README.md.
enum class State : std::uint8_t {
    boot = 1,    ///< Starting, or waiting for its ticks.
    run = 2,     ///< Publishing signals.
    halt = 3,    ///< Keeping books and features warm, publishing nothing tradable.
    fail = 4,    ///< Ended by a fault.
    stopped = 5, ///< Ended as asked.
};

/// The word that stands for `state`.
[[nodiscard]] constexpr const char* state_name(State state) noexcept {
    switch (state) {
    case State::boot: return "BOOT";
    case State::run: return "RUN";
    case State::halt: return "HALT";
    case State::fail: return "FAIL";
    case State::stopped: return "STOPPED";
    }
    return "unknown";
}

/// What a sidecar has counted since it started.
struct Counters {
    std::uint64_t events = 0;             ///< Records with record_flags::last.
    std::uint64_t signals = 0;            ///< Signals published.
    std::uint64_t gaps = 0;               ///< Times that ticks were lost.
    std::uint64_t lost = 0;               ///< Ticks lost.
    std::uint64_t rejects = 0;            ///< Records that could not be decoded.
    std::uint64_t conflated = 0;          ///< Triggers skipped to catch up.
    std::uint64_t invalid = 0;            ///< Signals with an output that was not finite.
    std::uint64_t generation_changes = 0; ///< Restarts of the feed noticed.

    [[nodiscard]] bool operator==(const Counters&) const = default;
};

/// Percentiles of one stage, ns.
struct StageSummary {
    std::uint64_t count = 0; ///< Values recorded.
    std::uint64_t p50 = 0;   ///< Median.
    std::uint64_t p90 = 0;
    std::uint64_t p99 = 0;
    std::uint64_t p999 = 0;  ///< 99.9th percentile.
    std::uint64_t p9999 = 0; ///< 99.99th percentile.
    std::uint64_t max = 0;

    [[nodiscard]] bool operator==(const StageSummary&) const = default;
};

/// Stages of StageSummaries, in its order.
inline constexpr std::array<const char*, 7> stage_names = {"wait",  "decode",  "book",          "features",
                                                           "infer", "publish", "tick_to_signal"};
/// One summary for each of stage_names.
using StageSummaries = std::array<StageSummary, stage_names.size()>;
static_assert(sizeof(Counters) == 64 && sizeof(StageSummaries) == 7 * 7 * 8);
static_assert(layout::cnc::stages + 8 + sizeof(StageSummaries) <= layout::cnc::bytes);

namespace detail {

/// The body of a cnc region, known to be whole.
class Page {
public:
    [[nodiscard]] static Result<Page> over(Region region) {
        if (region.body_bytes() < layout::cnc::bytes) {
            return region.header().contradiction(region.path(),
                                                 std::string{"a cnc page of "} + std::to_string(region.body_bytes()) + " bytes, " +
                                                     std::to_string(layout::cnc::bytes) + " needed");
        }
        return Page{std::move(region)};
    }

    [[nodiscard]] const Word* at(std::size_t offset) const noexcept { return region_.body() + offset / 8; }
    [[nodiscard]] Word* at_mut(std::size_t offset) noexcept { return region_.body_mut() + offset / 8; }
    [[nodiscard]] const Region& region() const noexcept { return region_; }
    [[nodiscard]] Region& region() noexcept { return region_; }

    [[nodiscard]] State state() const noexcept {
        const Word word = load(at(layout::cnc::state));
        return word >= 1 && word <= 5 ? static_cast<State>(word) : State::fail;
    }

private:
    explicit Page(Region region) : region_{std::move(region)} {}

    Region region_;
};

} // namespace detail

/// A look at a sidecar's page, and with write access its mailbox. One thread at a time.
class Control {
public:
    /// How long an operator waits for its answer unless told otherwise.
    static constexpr std::chrono::milliseconds default_timeout{1'000};

    /// Age of a heartbeat that there is none of; never within any limit.
    static constexpr std::uint64_t no_heartbeat = UINT64_MAX;

    /// Attaches to the page of `lane` for reading.
    /// Fails with absent (no sidecar yet: try again), mismatch, not_a_region, size, denied, io.
    [[nodiscard]] static Result<Control> attach(const Lane& lane, const Clock& clock) {
        return open(lane.path(Kind::cnc), lane.trust(), clock, clock.id(), false);
    }
    /// Attaches to the page of `lane` for reading, whatever clock it is on: the state stands for itself, ages are unknown.
    [[nodiscard]] static Result<Control> attach_any_clock(const Lane& lane) {
        return open(lane.path(Kind::cnc), lane.trust(), std::nullopt, 0, false);
    }
    /// Attaches to the page of `lane` as an operator, who may give orders: needs write access to the file. Orders need no clock:
    /// whatever became of the clock's file, a lane can be halted. Ages are unknown.
    [[nodiscard]] static Result<Control> attach_operator(const Lane& lane) {
        return open(lane.path(Kind::cnc), lane.trust(), std::nullopt, 0, true);
    }
    /// The same for who has a clock too: ages are reckoned by it if the page is on it.
    [[nodiscard]] static Result<Control> attach_operator(const Lane& lane, const Clock& clock) {
        return open(lane.path(Kind::cnc), lane.trust(), clock, 0, true);
    }

    /// The state that the page says, whether or not anybody still keeps it: see `alive`.
    [[nodiscard]] State state() const noexcept { return page_.state(); }
    /// Whether a HALT is in force, over restarts.
    [[nodiscard]] bool halted() const noexcept { return detail::load(page_.at(layout::cnc::halted)) != 0; }
    /// The last heartbeat, ns since the epoch on the shared clock; 0 before the first.
    [[nodiscard]] std::uint64_t heartbeat_ns() const noexcept {
        return detail::load(page_.at(layout::cnc::heartbeat));
    }
    /// ns since the last heartbeat; `no_heartbeat` before the first, without a clock, and for one from the future (by more
    /// than `max_ahead_ns`): somebody scribbled it, and it would count as fresh until then.
    [[nodiscard]] std::uint64_t heartbeat_age_ns() const noexcept {
        if (!clock_) {
            return no_heartbeat;
        }
        const std::uint64_t beat = heartbeat_ns();
        const std::uint64_t now = clock_->now_ns();
        if (beat == 0 || (beat > now && beat - now > max_ahead_ns)) {
            return no_heartbeat;
        }
        return now > beat ? now - beat : 0;
    }
    /// Whether there is a heartbeat, at most `max_age` old.
    [[nodiscard]] bool beats(std::chrono::nanoseconds max_age) const noexcept {
        const std::uint64_t age = heartbeat_age_ns();
        return age != no_heartbeat && within(age, max_age);
    }
    /// Whether the sidecar has said so lately: its heartbeat is at most `max_age` old and its state BOOT, RUN or HALT. One that
    /// was killed is alive by this for another `max_age`: `owner_alive` asks the kernel. It says nothing of what may be traded:
    /// that takes RUN, no HALT, and `judge`. No system call.
    [[nodiscard]] bool alive(std::chrono::nanoseconds max_age) const noexcept {
        const State now = state();
        return now != State::fail && now != State::stopped && beats(max_age);
    }
    /// Whether the sidecar's process lives: a look at its lock (system call). It may live and hang: see `alive`.
    [[nodiscard]] bool owner_alive() const noexcept { return page_.region().owner_alive(); }

    /// Ticks done with since the sidecar started, lost ones included, over all generations of the feed; whoever sees the
    /// number finds their signals published.
    [[nodiscard]] std::uint64_t ticks_consumed() const noexcept {
        return acquire(layout::cnc::ticks_consumed);
    }
    /// Ticks done with of this generation of the tick ring, lost ones included; 0 until the sidecar reads it.
    [[nodiscard]] std::uint64_t consumed_of(std::uint64_t generation) const noexcept {
        if (acquire(layout::cnc::ticks_generation) != generation) {
            return 0;
        }
        const std::uint64_t all = ticks_consumed();
        const std::uint64_t before = detail::load(page_.at(layout::cnc::ticks_before));
        return all > before ? all - before : 0;
    }
    /// The counters, each as last stored.
    [[nodiscard]] Counters counters() const noexcept {
        Counters counters;
        detail::load_words<sizeof counters / 8>(&counters, page_.at(layout::cnc::counters));
        return counters;
    }
    /// The stages' percentiles; nothing before the first, or from a writer that died in the middle.
    [[nodiscard]] std::optional<StageSummaries> stages() const noexcept {
        StageSummaries stages;
        const auto look = detail::seqlock_read<sizeof stages / 8>(page_.at(layout::cnc::stages), &stages);
        return look == detail::Look::value ? std::optional{stages} : std::nullopt;
    }

    /// Has the lane publish nothing tradable, whether its sidecar lives or not. The HALT outlives the sidecar: the next one
    /// starts halted. See `order`.
    [[nodiscard]] Result<Outcome> halt(std::chrono::nanoseconds timeout = default_timeout) {
        return order(Command::halt, timeout);
    }
    /// Ends a HALT, whether the sidecar lives or not. See `order`.
    [[nodiscard]] Result<Outcome> resume(std::chrono::nanoseconds timeout = default_timeout) {
        return order(Command::resume, timeout);
    }
    /// Asks the sidecar to end the lane; `done` when the page says so. Fails as `order`, and with no_owner when it is gone.
    [[nodiscard]] Result<Outcome> stop(std::chrono::nanoseconds timeout = default_timeout) {
        return order(Command::stop, timeout);
    }
    /// Gives an order. A live sidecar is asked through its mailbox (`request`). Where it is dead, HALT and RESUME are written on
    /// its page while the dead owner's lock is held, under which the next sidecar reads the word. Where a successor has taken the
    /// name over meanwhile, this goes over to its page.
    /// Fails with no_answer (in this time: it may still obey later), answer_lost (eight others were answered meanwhile), denied
    /// (attached for reading), absent (the page has been removed), no_owner (STOP alone).
    [[nodiscard]] Result<Outcome> order(Command command, std::chrono::nanoseconds timeout = default_timeout);
    /// Asks a live sidecar `command`, looking for the answer every 200 µs. Several operators may ask at once; each gets its own
    /// answer. Fails as `order`, and with no_owner when the sidecar is gone.
    [[nodiscard]] Result<Outcome> request(Command command, std::chrono::nanoseconds timeout);

    /// Process id of the sidecar, in its own pid namespace: for messages.
    [[nodiscard]] std::uint32_t pid() const noexcept { return page_.region().header().owner_pid; }
    /// When the page was made, ns since the epoch on the shared clock.
    [[nodiscard]] std::uint64_t created_ns() const noexcept { return page_.region().header().created_ns; }
    /// Life of the name that this client attached to, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return page_.region().header().generation; }
    /// Whether a successor has marked this page (no system call): attach again.
    [[nodiscard]] bool successor() const noexcept { return page_.region().successor(); }
    /// Whether the name stands for another page now, or for none (system call).
    [[nodiscard]] bool superseded() const noexcept { return successor() || page_.region().renamed(); }
    /// Touches the page, so that it does not fault later, and locks it as asked (system calls).
    [[nodiscard]] Status touch_and_lock(LockMemory lock = LockMemory::attempt) {
        return page_.region().touch_and_lock(lock);
    }

private:
    Control(detail::Page page, std::optional<Clock> clock) : page_{std::move(page)}, clock_{clock} {}

    /// `clock_id` 0 takes a page on any clock; then `clock` is kept only if it is that one.
    [[nodiscard]] static Result<Control> open(const std::string& path, const Trust& trust, std::optional<Clock> clock,
                                              std::uint64_t clock_id, bool writable) {
        auto region = detail::Region::attach(path, Kind::cnc, clock_id, writable, trust);
        if (!region) {
            return region.error();
        }
        if (clock && region->header().clock_id != clock->id()) {
            clock.reset();
        }
        Result<detail::Page> page = detail::Page::over(std::move(*region));
        return page ? Result<Control>{Control{std::move(*page), clock}} : Result<Control>{page.error()};
    }

    [[nodiscard]] static constexpr bool within(std::uint64_t age_ns, std::chrono::nanoseconds limit) noexcept {
        return limit.count() >= 0 && age_ns <= static_cast<std::uint64_t>(limit.count());
    }

    [[nodiscard]] Error no_answer(Command command, std::chrono::nanoseconds timeout) const {
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
        return Error{Errc::no_answer, page_.region().path() + ": process " + std::to_string(pid()) + " did not answer " +
                                          command_name(command) + " within " + std::to_string(ms) +
                                          " ms; mend: look at its heartbeat and log"};
    }

    [[nodiscard]] std::uint64_t acquire(std::size_t offset) const noexcept {
        // The other half is the sidecar's release store: who sees the number sees what came before it.
        const std::uint64_t value = detail::load(page_.at(offset));
        detail::acquire_fence();
        return value;
    }

    detail::Page page_;
    std::optional<Clock> clock_;
};

inline Result<Outcome> Control::order(Command command, std::chrono::nanoseconds timeout) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const auto left = std::max<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now(), {});
        Result<Outcome> said = request(command, left);
        if (!said && said.error().code == Errc::no_answer) {
            return no_answer(command, timeout);
        }
        if (said || said.error().code != Errc::no_owner) {
            return said;
        }
        if (superseded()) {
            const detail::Region& old = page_.region();
            Result<Control> next = open(old.path(), old.trust(), clock_, 0, true);
            if (!next) {
                return next.error();
            }
            *this = std::move(*next);
            continue;
        }
        if (command == Command::stop) {
            return said;
        }
        // The next sidecar reads the word under this lock: it finds the order, or is there already to be asked.
        Result<bool> written = page_.region().with_dead_lock([&] {
            const bool ours = !superseded();
            if (ours) {
                detail::store(page_.at_mut(layout::cnc::halted), command == Command::halt ? 1 : 0);
            }
            return ours;
        });
        if (!written) {
            return written.error();
        }
        if (*written) {
            return Outcome::done;
        }
        if (left.count() == 0) {
            return no_answer(command, timeout);
        }
        detail::sleep_ns(200'000);
    }
}

inline Result<Outcome> Control::request(Command command, std::chrono::nanoseconds timeout) {
    const std::string& path = page_.region().path();
    const std::string name = command_name(command);
    if (!page_.region().writable()) {
        return Error{Errc::denied, path + ": attached for reading, so its mailbox cannot be used to " + name +
                                       "; mend: use Control::attach_operator"};
    }
    const std::string owner = std::string{"process "} + std::to_string(pid());
    const Error gone{Errc::no_owner, path + ": its owner, " + owner + ", is gone; mend: start the sidecar again"};
    // Nobody answers a claim on a dead owner's page.
    if (!owner_alive()) {
        return gone;
    }
    Outcome outcome{};
    const auto alive = [this]() noexcept { return owner_alive(); };
    const auto ending = detail::ask_and_wait(page_.at_mut(layout::cnc::request), page_.at(layout::cnc::answers), command,
                                             timeout, outcome, alive);
    switch (ending) {
    case detail::Ending::answered: break;
    case detail::Ending::overwritten:
        return Error{Errc::answer_lost, path + ": the answer to " + name +
                                            " was overwritten by later ones; mend: read the state, ask again if need be"};
    case detail::Ending::no_owner:
        return gone;
    case detail::Ending::no_answer:
        return no_answer(command, timeout);
    }
    return outcome;
}

} // namespace pillion

#endif
