/// @file
/// The control page of a sidecar: state, heartbeat, counters, stage summaries, and the mailbox for operators.
#pragma once

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

    /// Attaches to the page of `lane` for reading.
    /// Fails with absent (no sidecar yet: try again), mismatch, not_a_region, size, denied, io.
    [[nodiscard]] static Result<Control> attach(const Lane& lane, const Clock& clock) {
        return open(lane, clock, false);
    }
    /// Attaches to the page of `lane` as an operator, who may use the mailbox: needs write access to the file.
    [[nodiscard]] static Result<Control> attach_operator(const Lane& lane, const Clock& clock) {
        return open(lane, clock, true);
    }

    /// The state that the page says, whether or not anybody still keeps it: see `alive`.
    [[nodiscard]] State state() const noexcept { return page_.state(); }
    /// Whether a HALT is in force, over restarts.
    [[nodiscard]] bool halted() const noexcept { return detail::load(page_.at(layout::cnc::halted)) != 0; }
    /// The last heartbeat, ns since the epoch on the shared clock; 0 before the first.
    [[nodiscard]] std::uint64_t heartbeat_ns() const noexcept {
        return detail::load(page_.at(layout::cnc::heartbeat));
    }
    /// ns since the last heartbeat; UINT64_MAX before the first.
    [[nodiscard]] std::uint64_t heartbeat_age_ns() const noexcept {
        const std::uint64_t beat = heartbeat_ns();
        const std::uint64_t now = clock_.now_ns();
        return beat == 0 ? UINT64_MAX : now > beat ? now - beat : 0;
    }
    /// Whether the sidecar beats and has not ended: its heartbeat is at most `max_age_ns` old and its state BOOT, RUN or
    /// HALT. It says nothing of what may be traded: that takes RUN, no HALT, and `judge`. No system call.
    [[nodiscard]] bool alive(std::uint64_t max_age_ns) const noexcept {
        const State now = state();
        return now != State::fail && now != State::stopped && heartbeat_age_ns() <= max_age_ns;
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

    /// Asks the sidecar to publish nothing tradable, and waits for its answer. The HALT outlives the sidecar.
    /// Fails with no_owner (it is gone), no_answer (in this time: it may still obey later), answer_lost (eight others were
    /// answered meanwhile), denied (attached for reading).
    [[nodiscard]] Result<Outcome> halt(std::chrono::nanoseconds timeout = default_timeout) {
        return request(Command::halt, timeout);
    }
    /// Asks the sidecar to end a HALT. Fails as `halt`.
    [[nodiscard]] Result<Outcome> resume(std::chrono::nanoseconds timeout = default_timeout) {
        return request(Command::resume, timeout);
    }
    /// Asks the sidecar to end. Fails as `halt`.
    [[nodiscard]] Result<Outcome> stop(std::chrono::nanoseconds timeout = default_timeout) {
        return request(Command::stop, timeout);
    }
    /// Asks `command`, looking for the answer every 200 µs. Several operators may ask at once; each gets its own answer.
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
    Control(detail::Page page, const Clock& clock) : page_{std::move(page)}, clock_{clock} {}

    [[nodiscard]] static Result<Control> open(const Lane& lane, const Clock& clock, bool writable) {
        auto region = detail::Region::attach(lane.path(Kind::cnc), Kind::cnc, clock.id(), writable);
        if (!region) {
            return region.error();
        }
        Result<detail::Page> page = detail::Page::over(std::move(*region));
        return page ? Result<Control>{Control{std::move(*page), clock}} : Result<Control>{page.error()};
    }

    [[nodiscard]] std::uint64_t acquire(std::size_t offset) const noexcept {
        // The other half is the sidecar's release store: who sees the number sees what came before it.
        const std::uint64_t value = detail::load(page_.at(offset));
        detail::acquire_fence();
        return value;
    }

    detail::Page page_;
    Clock clock_;
};

inline Result<Outcome> Control::request(Command command, std::chrono::nanoseconds timeout) {
    const std::string& path = page_.region().path();
    const std::string name = command_name(command);
    if (!page_.region().writable()) {
        return Error{Errc::denied, path + ": attached for reading, so its mailbox cannot be used to " + name +
                                       "; mend: use Control::attach_operator"};
    }
    const std::string owner = std::string{"process "} + std::to_string(pid());
    const auto start = std::chrono::steady_clock::now();
    const detail::Word* const answers = page_.at(layout::cnc::answers);
    std::uint64_t ticket = 0;
    for (;;) {
        if (ticket == 0) {
            ticket = detail::ask(page_.at_mut(layout::cnc::request), answers, command);
        }
        Outcome outcome{};
        const auto waiting = ticket == 0 ? detail::Waiting::pending : detail::answered(answers, ticket, outcome);
        if (waiting == detail::Waiting::answered) {
            return outcome;
        }
        if (waiting == detail::Waiting::overwritten) {
            return Error{Errc::answer_lost, path + ": the answer to " + name +
                                                " was overwritten by later ones; mend: read the state, ask again if "
                                                "need be"};
        }
        if (!owner_alive()) {
            return Error{Errc::no_owner,
                         path + ": its owner, " + owner + ", is gone; mend: start the sidecar again"};
        }
        if (std::chrono::steady_clock::now() - start >= timeout) {
            const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
            return Error{Errc::no_answer, path + ": " + owner + " did not answer " + name + " within " +
                                              std::to_string(ms) + " ms; mend: look at its heartbeat and log"};
        }
        detail::sleep_ns(200'000);
    }
}

} // namespace pillion
