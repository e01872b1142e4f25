/// @file
/// The mailbox of a cnc page: operators ask, the owner answers, and everyone gets their own answer.
///
/// One request word holds `ticket << 8 | command`; an operator claims the next ticket by compare-and-swap once the last
/// one is answered. Answer t stands in word t mod 8 as `ticket << 8 | outcome`. Each message is one word, so nobody can
/// die in the middle of one.
#pragma once

#include "words.hpp"

#include <optional>

namespace pillion {

/// What an operator may ask.
enum class Command : std::uint8_t {
    halt = 1,   ///< Publish nothing tradable until resumed, also over restarts.
    resume = 2, ///< End a halt.
    stop = 3,   ///< End the process.
};

/// What the owner made of a request.
enum class Outcome : std::uint8_t {
    done = 1,    ///< Done, and visible on the page.
    refused = 2, ///< Not done: it makes no sense in this state.
    unknown = 3, ///< Not a command of its version.
};

/// A request as the owner finds it.
struct Request {
    std::uint64_t ticket;           ///< Its number, from 1.
    std::optional<Command> command; ///< Nothing when this version does not know it.
};

/// The word that stands for `command`.
[[nodiscard]] constexpr const char* command_name(Command command) noexcept {
    switch (command) {
    case Command::halt: return "halt";
    case Command::resume: return "resume";
    case Command::stop: return "stop";
    }
    return "unknown";
}

namespace detail {

/// Answers kept: an operator may be so many requests late.
inline constexpr std::uint64_t answers_kept = 8;

/// How it stands with a request.
enum class Waiting : std::uint8_t { answered, pending, overwritten };

/// The answer to `ticket`, in `outcome` when there is one.
[[nodiscard]] inline Waiting answered(const Word* answers, std::uint64_t ticket, Outcome& outcome) noexcept {
    const Word answer = load(answers + ticket % answers_kept);
    // Answer-Answer, second half: who sees an answer sees what the owner did before it.
    acquire_fence();
    if (answer >> 8 != ticket) {
        return answer >> 8 < ticket ? Waiting::pending : Waiting::overwritten;
    }
    const Word said = answer & 0xffU;
    outcome = said == 1 ? Outcome::done : said == 2 ? Outcome::refused : Outcome::unknown;
    return Waiting::answered;
}

/// Claims the mailbox for `command`; its ticket, or 0 while an earlier request waits or another operator was faster.
[[nodiscard]] inline std::uint64_t ask(Word* request, const Word* answers, Command command) noexcept {
    // Relaxed: the word carries the whole request, nothing else is read through it.
    Word last = load(request);
    const std::uint64_t ticket = last >> 8;
    Outcome outcome{};
    if (ticket != 0 && answered(answers, ticket, outcome) == Waiting::pending) {
        return 0;
    }
    const Word mine = (ticket + 1) << 8 | static_cast<Word>(command);
    const bool claimed =
        std::atomic_ref<Word>{*request}.compare_exchange_strong(last, mine, std::memory_order_relaxed);
    return claimed ? ticket + 1 : 0;
}

/// The request that waits, if its ticket is not `last`, the one answered last.
[[nodiscard]] inline std::optional<Request> waiting(const Word* request, std::uint64_t last) noexcept {
    const Word word = load(request);
    const std::uint64_t ticket = word >> 8;
    if (ticket == last || ticket == 0) {
        return std::nullopt;
    }
    const Word command = word & 0xffU;
    const bool known = command >= 1 && command <= 3;
    return Request{ticket, known ? std::optional{static_cast<Command>(command)} : std::nullopt};
}

/// Answers `ticket`.
inline void answer(Word* answers, std::uint64_t ticket, Outcome outcome) noexcept {
    // Answer-Answer, first half.
    store(answers + ticket % answers_kept, ticket << 8 | static_cast<Word>(outcome), std::memory_order_release);
}

} // namespace detail
} // namespace pillion
