/// @file
/// Shared memory as relaxed atomic words, and the two fences of the protocol.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

// The path of a record is inlined where it is called, and what happens seldom stands in functions of its own.
#define PILLION_HOT [[gnu::always_inline]] inline
#define PILLION_COLD [[gnu::cold, gnu::noinline]]

namespace pillion::detail {

using Word = std::uint64_t;

static_assert(std::atomic_ref<Word>::is_always_lock_free, "Pillion needs lock-free 8-byte atomics");
static_assert(std::atomic_ref<Word>::required_alignment <= 8);

/// A word of shared memory, as it was at some time.
///
/// `atomic_ref` wants a non-const object, so constness is cast away, also where the page is mapped read-only. That is
/// sound: no object in a map was ever defined const, and a lock-free load of 8 bytes is a plain load, which writes nothing.
/// Read-only maps get relaxed loads and nothing stronger, since no more is promised for them; fences do the rest.
[[nodiscard]] PILLION_HOT Word load(const Word* at, std::memory_order order = std::memory_order_relaxed) noexcept {
    return std::atomic_ref<Word>{*const_cast<Word*>(at)}.load(order);
}

PILLION_HOT void store(Word* at, Word value, std::memory_order order = std::memory_order_relaxed) noexcept {
    std::atomic_ref<Word>{*at}.store(value, order);
}

// ThreadSanitizer does not understand fences, and gcc says so at each one. It can check for plain accesses that race,
// which the words above rule out; the ordering itself is model-checked on the Rust twin of this protocol.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
PILLION_HOT void acquire_fence() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
PILLION_HOT void release_fence() noexcept { std::atomic_thread_fence(std::memory_order_release); }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Copies one shared word to 8 private bytes.
PILLION_HOT void load_word(void* to, const Word* from) noexcept {
    const Word word = load(from);
    std::memcpy(to, &word, 8);
}

/// Copies 8 private bytes to one shared word.
PILLION_HOT void store_word(Word* to, const void* from) noexcept {
    Word word;
    std::memcpy(&word, from, 8);
    store(to, word);
}

template <std::size_t... I>
PILLION_HOT void load_each(unsigned char* to, const Word* from, std::index_sequence<I...>) noexcept {
    (load_word(to + 8 * I, from + I), ...);
}
template <std::size_t... I>
PILLION_HOT void store_each(Word* to, const unsigned char* from, std::index_sequence<I...>) noexcept {
    (store_word(to + I, from + 8 * I), ...);
}

/// Words up to which a copy has no loop: the longest market data record has 46. clang folds no more than 256.
inline constexpr std::size_t most_unrolled = 64;

/// Copies `count` shared words to private bytes.
PILLION_HOT void load_words(void* to, const Word* from, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        load_word(static_cast<unsigned char*>(to) + 8 * i, from + i);
    }
}

/// Copies private bytes to `count` shared words.
PILLION_HOT void store_words(Word* to, const void* from, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        store_word(to + i, static_cast<const unsigned char*>(from) + 8 * i);
    }
}

/// Copies `Count` shared words to private bytes; no loop, since compilers do not unroll atomic accesses.
template <std::size_t Count> PILLION_HOT void load_words(void* to, const Word* from) noexcept {
    if constexpr (Count <= most_unrolled) {
        load_each(static_cast<unsigned char*>(to), from, std::make_index_sequence<Count>{});
    } else {
        load_words(to, from, Count);
    }
}

/// Copies private bytes to `Count` shared words; no loop.
template <std::size_t Count> PILLION_HOT void store_words(Word* to, const void* from) noexcept {
    if constexpr (Count <= most_unrolled) {
        store_each(to, static_cast<const unsigned char*>(from), std::make_index_sequence<Count>{});
    } else {
        store_words(to, from, Count);
    }
}

} // namespace pillion::detail

#endif
