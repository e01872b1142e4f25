/// @file
/// The mailbox of a cnc page: operators ask, the owner answers, and everyone gets their own answer.
///
/// One request word holds `ticket << 8 | command`; an operator claims the next ticket by compare-and-swap once the last
/// one is answered. Answer t stands in word t mod 8 as `ticket << 8 | outcome`. Each message is one word, so nobody can
/// die in the middle of one.
///
/// A RESUME that waits can be withdrawn, by its operator when time is up and by whoever asks for a HALT: the same ticket then
/// stands for a HALT. The owner takes a RESUME, by compare-and-swap as well, before it ends the HALT.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "sys.hpp"
#include "words.hpp"

#include <chrono>
#include <optional>

namespace pillion {

/// What an operator may ask.
enum class Command : std::uint8_t {
    halt = 1,   ///< Publish nothing tradable until resumed, also over restarts.
    resume = 2, ///< End a halt.
    stop = 3,   ///< End the lane.
};

/// What the owner made of a request.
enum class Outcome : std::uint8_t {
    done = 1,    ///< Done, and visible on the page: HALT is in force, or ended, or the state is STOPPED (or FAIL).
    refused = 2, ///< Not done: it makes no sense in this state.
    unknown = 3, ///< Not a command of its version.
};

/// The word that stands for `outcome`.
[[nodiscard]] constexpr const char* outcome_name(Outcome outcome) noexcept {
    switch (outcome) {
    case Outcome::done: return "done";
    case Outcome::refused: return "refused";
    case Outcome::unknown: return "unknown";
    }
    return "unknown";
}

/// A request as the owner finds it.
struct Request {
    std::uint64_t ticket;           ///< Its number, from 1.
    std::optional<Command> command; ///< Nothing when this version does not know it.
    bool withdrawn = false;         ///< A RESUME that was withdrawn, and stands as a HALT: done, it is answered as refused.
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

/// In the place of Command::resume, one that was withdrawn: obeyed as a HALT, and answered as refused.
inline constexpr Word withdrawn = 4;
/// In the place of Command::resume, one that the owner carries out: it can be withdrawn no more.
inline constexpr Word taken = 5;

/// Changes the RESUME of `ticket`, if it still is one.
inline bool change_resume(Word* request, std::uint64_t ticket, Word to) noexcept {
    Word resume = ticket << 8 | static_cast<Word>(Command::resume);
    // Relaxed: the word carries it all.
    return std::atomic_ref<Word>{*request}.compare_exchange_strong(resume, ticket << 8 | to, std::memory_order_relaxed);
}

/// Takes what is asked before it is carried out. False for a RESUME that was withdrawn, and stands as a HALT at the next look.
[[nodiscard]] inline bool take(Word* word, const Request& request) noexcept {
    return request.command != Command::resume || change_resume(word, request.ticket, taken);
}

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

/// Claims the mailbox for `command`; its ticket, or 0 while an earlier request waits or another operator was faster. A HALT
/// waits for no RESUME: it withdraws it.
[[nodiscard]] inline std::uint64_t ask(Word* request, const Word* answers, Command command) noexcept {
    // Relaxed: the word carries the whole request, nothing else is read through it.
    Word last = load(request);
    const std::uint64_t ticket = last >> 8;
    Outcome outcome{};
    if (ticket != 0 && answered(answers, ticket, outcome) == Waiting::pending) {
        if (command == Command::halt) {
            change_resume(request, ticket, withdrawn);
        }
        return 0;
    }
    // Ticket 0 is nobody's: behind the last of 56 bits, which only a scribbler reaches, comes 1.
    const std::uint64_t next = ticket == UINT64_MAX >> 8 ? 1 : ticket + 1;
    const Word mine = next << 8 | static_cast<Word>(command);
    const bool claimed =
        std::atomic_ref<Word>{*request}.compare_exchange_strong(last, mine, std::memory_order_relaxed);
    return claimed ? next : 0;
}

/// How waiting for an answer ended.
enum class Ending : std::uint8_t { answered, overwritten, no_owner, no_answer };

/// Claims the mailbox for `command` and waits for the answer, in `outcome` when there is one. `owner_alive()` is asked
/// before each sleep. A RESUME without an answer is withdrawn, or waited for a second longer where the owner has taken it.
template <class Alive>
[[nodiscard]] Ending ask_and_wait(Word* request, const Word* answers, Command command, std::chrono::nanoseconds timeout,
                                  Outcome& outcome, Alive&& owner_alive) {
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t ticket = 0;
    bool last_wait = command != Command::resume;
    for (std::optional<Ending> ending;;) {
        if (ticket == 0 && !ending) {
            ticket = ask(request, answers, command);
        }
        const Waiting found = ticket == 0 ? Waiting::pending : answered(answers, ticket, outcome);
        if (found != Waiting::pending) {
            return found == Waiting::answered ? Ending::answered : Ending::overwritten;
        }
        if (ending) {
            if (last_wait || ticket == 0 || change_resume(request, ticket, withdrawn)) {
                return *ending;
            }
            last_wait = true;
            timeout += std::chrono::seconds{1};
            ending.reset();
        }
        // The owner may have answered, and ended as asked, since the look above: then the next look is the last.
        if (!owner_alive()) {
            ending = Ending::no_owner;
        } else if (std::chrono::steady_clock::now() - start >= timeout) {
            ending = Ending::no_answer;
        } else {
            sleep_ns(200'000);
        }
    }
}

/// The request that waits, if its ticket is not `last`, the one answered last.
[[nodiscard]] inline std::optional<Request> waiting(const Word* request, std::uint64_t last) noexcept {
    const Word word = load(request);
    const std::uint64_t ticket = word >> 8;
    if (ticket == last || ticket == 0) {
        return std::nullopt;
    }
    const Word command = word & 0xffU;
    if (command == withdrawn) {
        return Request{ticket, Command::halt, true};
    }
    const bool known = command >= 1 && command <= 3;
    return Request{ticket, known ? std::optional{static_cast<Command>(command)} : std::nullopt, false};
}

/// Answers `ticket`.
inline void answer(Word* answers, std::uint64_t ticket, Outcome outcome) noexcept {
    // Answer-Answer, first half.
    store(answers + ticket % answers_kept, ticket << 8 | static_cast<Word>(outcome), std::memory_order_release);
}

} // namespace detail
} // namespace pillion

#endif
