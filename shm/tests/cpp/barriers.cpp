// The protocol's steps as functions of their own, for the test that reads what compilers make of them.
//
// Two words stand for a record and eight for the board's, so that no loop hides the order of the accesses.
#include <pillion/shm.hpp>

using pillion::Outcome;
using pillion::detail::Consumer;
using pillion::detail::Producer;
using pillion::detail::Word;

extern "C" {

std::uint64_t publish(Producer* ring, const Word* record, std::uint64_t stamp_ns) noexcept {
    return ring->publish(stamp_ns, [record](Word* to) noexcept { pillion::detail::store_words<2>(to, record); });
}

bool take(Consumer* ring, Word* record, std::uint64_t* stamp_ns, std::uint64_t* seen) noexcept {
    return ring->take(*stamp_ns, *seen, [record](const Word* from) noexcept { pillion::detail::load_words<2>(record, from); });
}

std::uint64_t head(const Consumer* ring) noexcept { return ring->head(); }

void board_write(Word* cell, const Word* value) noexcept { pillion::detail::seqlock_write<2>(cell, value); }

bool board_read(const Word* cell, Word* value) noexcept {
    return pillion::detail::seqlock_read<2>(cell, value) == pillion::detail::Look::value;
}

void answer(Word* state, Word* answers, std::uint64_t ticket) noexcept {
    pillion::detail::store(state, 3);
    pillion::detail::answer(answers, ticket, Outcome::done);
}

Word answered(const Word* state, const Word* answers, std::uint64_t ticket) noexcept {
    Outcome outcome{};
    const bool is = pillion::detail::answered(answers, ticket, outcome) == pillion::detail::Waiting::answered;
    return is ? pillion::detail::load(state) : 0;
}

} // extern "C"
