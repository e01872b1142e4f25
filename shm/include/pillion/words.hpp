/// @file
/// Shared memory as relaxed atomic words, and the two fences of the protocol.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

// Hot calls must stay small where they are inlined: what happens seldom stands in functions of its own.
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
[[nodiscard]] inline Word load(const Word* at, std::memory_order order = std::memory_order_relaxed) noexcept {
    return std::atomic_ref<Word>{*const_cast<Word*>(at)}.load(order);
}

inline void store(Word* at, Word value, std::memory_order order = std::memory_order_relaxed) noexcept {
    std::atomic_ref<Word>{*at}.store(value, order);
}

// ThreadSanitizer does not understand fences, and gcc says so at each one. It can check for plain accesses that race,
// which the words above rule out; the ordering itself is model-checked on the Rust twin of this protocol.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
inline void acquire_fence() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
inline void release_fence() noexcept { std::atomic_thread_fence(std::memory_order_release); }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Copies `count` shared words to private bytes.
inline void load_words(void* to, const Word* from, std::size_t count) noexcept {
    auto* bytes = static_cast<unsigned char*>(to);
    for (std::size_t i = 0; i < count; ++i) {
        const Word word = load(from + i);
        std::memcpy(bytes + 8 * i, &word, 8);
    }
}

/// Copies private bytes to `count` shared words.
inline void store_words(Word* to, const void* from, std::size_t count) noexcept {
    const auto* bytes = static_cast<const unsigned char*>(from);
    for (std::size_t i = 0; i < count; ++i) {
        Word word;
        std::memcpy(&word, bytes + 8 * i, 8);
        store(to + i, word);
    }
}

} // namespace pillion::detail
