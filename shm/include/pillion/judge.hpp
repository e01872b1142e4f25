/// @file
/// The strategist's rules (shm/README.md, "What a strategy must do") in one call.
///
/// | what is seen | what a strategy must do |
/// |---|---|
/// | HALT (state, flag halted) | Open nothing and pull quotes. It lasts over restarts until an operator resumes. |
/// | FAIL, STOPPED, a heartbeat that stopped or is from the future | The same: nobody is computing. Wait for RUN and a fresh signal. |
/// | an old stamp | The same for this instrument: the market has moved on, or ticks stopped coming. |
/// | warming, after_gap | Ignore the score: its features or book are not whole. Resting orders rest on nothing newer. |
/// | invalid | Ignore the score: some outputs are 0 because they were not finite. |
/// | catching_up | Ignore the score: it is about a tick of before the sidecar's start, which it works through. |
/// | shadow | Never trade on it: the model is on trial. |
/// | over_budget, conflated | May be used; it came late, or stands for several events. Widen or shrink as you see fit. |
/// | PollStatus::lost, corrupt | Lost: the scores before are history. Corrupt: stand down until polls say record again. |
/// | a new generation | Rows, names and revisions may differ: look up tables again before using a score. |
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "control.hpp"

namespace pillion {

/// What to do with a signal.
enum class Advice : std::uint8_t {
    use,        ///< Fresh and whole.
    use_warily, ///< Whole, but late or standing for several events.
    ignore,     ///< Do not act on this score; others may be fine.
    stand_down, ///< Open nothing on this source and pull what rests on it.
};

/// The word that stands for `advice`.
[[nodiscard]] constexpr const char* advice_name(Advice advice) noexcept {
    switch (advice) {
    case Advice::use: return "use";
    case Advice::use_warily: return "use_warily";
    case Advice::ignore: return "ignore";
    case Advice::stand_down: return "stand_down";
    }
    return "unknown";
}

/// Why.
enum class Reason : std::uint8_t {
    fresh,          ///< Nothing speaks against it.
    over_budget,    ///< The sidecar took longer than its budget.
    conflated,      ///< Ticks were skipped before it.
    shadow,         ///< A model on trial.
    invalid,        ///< An output was not finite.
    warming,        ///< Features have not seen enough events yet.
    after_gap,      ///< The book is not whole: beginning never seen, ticks lost, feed restarted or in doubt, overflow.
    catching_up,    ///< Its tick is of before the sidecar's start.
    malformed,      ///< It contradicts itself: no outputs, more than 16, or a stamp from the future.
    stale,          ///< Its tick is older than allowed.
    halted,         ///< HALT is in force.
    not_running,    ///< The sidecar is in BOOT, FAIL or STOPPED.
    heartbeat_lost, ///< The sidecar's heartbeat is older than allowed (it hangs, is stopped or dead), or from the future.
};

/// What to do and why.
struct Judgement {
    Advice advice = Advice::stand_down;
    Reason reason = Reason::malformed;

    /// Whether the score may be acted on.
    [[nodiscard]] constexpr bool usable() const noexcept { return advice <= Advice::use_warily; }
    /// The reason as a sentence for a log.
    [[nodiscard]] constexpr const char* text() const noexcept {
        switch (reason) {
        case Reason::fresh: return "fresh";
        case Reason::over_budget: return "usable, but it took longer than its budget";
        case Reason::conflated: return "usable, but ticks were skipped before it to catch up";
        case Reason::shadow: return "ignored: from a model that only shadows";
        case Reason::invalid: return "ignored: an output was not finite";
        case Reason::warming: return "ignored: features are still warming up";
        case Reason::after_gap: return "ignored: the book is not whole (its beginning was never seen, ticks were lost, the feed restarted or "
                   "doubts it, or it overflowed)";
        case Reason::catching_up: return "ignored: its tick is of before the sidecar's start";
        case Reason::malformed: return "stand down: the signal contradicts itself";
        case Reason::stale: return "stand down: the signal's tick is too old";
        case Reason::halted: return "stand down: HALT is in force until an operator resumes";
        case Reason::not_running: return "stand down: the sidecar is not in RUN";
        case Reason::heartbeat_lost: return "stand down: the sidecar's heartbeat has stopped";
        }
        return "unknown";
    }
};

/// Age of what a signal knows: ns from its tick's publish stamp to `now_ns`, 0 if that lies ahead.
[[nodiscard]] constexpr std::uint64_t age_ns(const Signal& signal, std::uint64_t now_ns) noexcept {
    return now_ns > signal.tick_ns ? now_ns - signal.tick_ns : 0;
}
/// The same against the clock now.
[[nodiscard]] inline std::uint64_t age_ns(const Signal& signal, const Clock& clock) noexcept {
    return age_ns(signal, clock.now_ns());
}
/// ns that the sidecar took from the tick's stamp to the signal's.
[[nodiscard]] constexpr std::uint64_t latency_ns(const Signal& signal) noexcept {
    return age_ns(signal, signal.signal_ns);
}

/// How old what a strategy acts on may be. Named, so that the two cannot be mistaken for each other:
/// `Limits{.heartbeat = 1s, .tick = 5ms}`.
struct Limits {
    std::chrono::nanoseconds heartbeat; ///< Age of the sidecar's heartbeat from which it counts as hanging or dead.
    std::chrono::nanoseconds tick;      ///< Age of a signal's tick from which the score is history to you.
};

/// Applies the rules for a signal: the gravest reason wins. `now_ns` is Clock::now_ns(), and `max_age` the age of the tick
/// from which the score is history to you.
[[nodiscard]] constexpr Judgement judge(const Signal& signal, std::uint64_t now_ns,
                                        std::chrono::nanoseconds max_age) noexcept {
    namespace flag = signal_flags;
    const std::uint32_t flags = signal.flags;
    if ((flags & flag::halted) != 0) {
        return {Advice::stand_down, Reason::halted};
    }
    const std::uint64_t latest = signal.tick_ns > signal.signal_ns ? signal.tick_ns : signal.signal_ns;
    if (signal.outputs_len == 0 || signal.outputs_len > max_outputs ||
        (latest > now_ns && latest - now_ns > max_ahead_ns)) {
        return {Advice::stand_down, Reason::malformed};
    }
    if (max_age.count() < 0 || age_ns(signal, now_ns) > static_cast<std::uint64_t>(max_age.count())) {
        return {Advice::stand_down, Reason::stale};
    }
    if ((flags & flag::catching_up) != 0) {
        return {Advice::ignore, Reason::catching_up};
    }
    if ((flags & flag::after_gap) != 0) {
        return {Advice::ignore, Reason::after_gap};
    }
    if ((flags & flag::warming) != 0) {
        return {Advice::ignore, Reason::warming};
    }
    if ((flags & flag::invalid) != 0) {
        return {Advice::ignore, Reason::invalid};
    }
    if ((flags & flag::shadow) != 0) {
        return {Advice::ignore, Reason::shadow};
    }
    if ((flags & flag::conflated) != 0) {
        return {Advice::use_warily, Reason::conflated};
    }
    if ((flags & flag::over_budget) != 0) {
        return {Advice::use_warily, Reason::over_budget};
    }
    return {Advice::use, Reason::fresh};
}

/// Applies the rules for a sidecar: use only in RUN, not halted, with a heartbeat at most `max_age` old.
[[nodiscard]] inline Judgement judge(const Control& control, std::chrono::nanoseconds max_age) noexcept {
    const State state = control.state();
    if (control.halted() || state == State::halt) {
        return {Advice::stand_down, Reason::halted};
    }
    if (state != State::run) {
        return {Advice::stand_down, Reason::not_running};
    }
    if (!control.beats(max_age)) {
        return {Advice::stand_down, Reason::heartbeat_lost};
    }
    return {Advice::use, Reason::fresh};
}

/// Both: the sidecar first, since a dead one cannot set a flag.
[[nodiscard]] inline Judgement judge(const Control& control, const Signal& signal, std::uint64_t now_ns,
                                     const Limits& limits) noexcept {
    const Judgement sidecar = judge(control, limits.heartbeat);
    return sidecar.usable() ? judge(signal, now_ns, limits.tick) : sidecar;
}

} // namespace pillion

#endif
