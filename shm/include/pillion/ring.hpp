/// @file
/// The broadcast ring: one producer that never waits, any number of readers, each with its own cursor.
///
/// Record n lives in slot n mod capacity. Its number is 2n+1 while it is written and 2n+2 when done. Orderings are
/// those of the Rust twin, in three named pairs (shm/README.md): **Commit-Look**, **Mark-Recheck**, **Head-Head**.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "layout.hpp"
#include "words.hpp"

#include <algorithm>

namespace pillion {

/// Where a reader starts.
enum class Start : std::uint8_t {
    next,   ///< At the next record to be published.
    oldest, ///< At the oldest record still in the ring.
    first,  ///< At the first record ever published: what is overwritten already is reported as lost.
};

/// What one poll found.
enum class PollStatus : std::uint8_t {
    empty,   ///< Nothing new.
    record,  ///< A whole record was taken.
    lost,    ///< Records were overwritten before they were read (`last_lost()` says how many): poll again.
    corrupt, ///< Slot and head contradict each other: some process scribbled over the region. The cursor stays; this
             ///< ends when the writer overwrites the slot. Trade on nothing from this ring until then.
    truncated, ///< A record was taken that a Tick has no room for: its first bytes are there. `poll_as` takes it whole.
    too_small, ///< `poll_as<T>`: the ring's slots are smaller than a T, so none will ever come. Nothing was taken.
};

/// The word that stands for `status`.
[[nodiscard]] constexpr const char* poll_status_name(PollStatus status) noexcept {
    switch (status) {
    case PollStatus::empty: return "empty";
    case PollStatus::record: return "record";
    case PollStatus::lost: return "lost";
    case PollStatus::corrupt: return "corrupt";
    case PollStatus::truncated: return "truncated";
    case PollStatus::too_small: return "too_small";
    }
    return "unknown";
}

/// What one poll_batch or visit found: first `lost` records overwritten, then `records` whole ones.
struct Batch {
    std::uint64_t lost = 0;    ///< Records lost just before `first`; then `records` is 0.
    std::uint64_t first = 0;   ///< Number in the ring of the first record.
    std::size_t records = 0;   ///< Records taken.
    bool corrupt = false;      ///< As PollStatus::corrupt; then nothing was taken.
    std::size_t truncated = 0; ///< Of the records, those that a Tick had no room for (`Tick::truncated`).
};

namespace detail {

/// The writing end over mapped words. Where the ring lies was checked once and is kept in here.
class Producer {
public:
    Producer() = default;
    Producer(Word* head, Word* slots, std::uint64_t capacity, std::uint64_t stride_words) noexcept
        : head_{head}, slots_{slots}, mask_{capacity - 1}, stride_{stride_words} {}

    /// Publishes with `fill(first record word)`, which stores the record's words, and returns its number.
    template <class Fill> PILLION_HOT std::uint64_t publish(std::uint64_t stamp_ns, Fill&& fill) noexcept {
        const std::uint64_t n = next_;
        Word* const slot = slots_ + (n & mask_) * stride_;
        // Mark-Recheck, first half: the fence keeps every word below behind this mark.
        store(slot, 2 * n + 1);
        release_fence();
        fill(slot + layout::slot::record / 8);
        store(slot + stride_ - 1, stamp_ns);
        // Commit-Look, first half: whoever sees 2n+2 sees the words above.
        store(slot, 2 * n + 2, std::memory_order_release);
        next_ = n + 1;
        // Head-Head, first half: whoever sees n+1 sees record n committed.
        store(head_, n + 1, std::memory_order_release);
        return n;
    }

    [[nodiscard]] std::uint64_t published() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }
    [[nodiscard]] std::size_t record_words() const noexcept { return stride_ - layout::slot::own / 8; }

private:
    Word* head_ = nullptr;
    Word* slots_ = nullptr;
    std::uint64_t mask_ = 0;
    std::uint64_t stride_ = 0;
    std::uint64_t next_ = 0;
};

/// The reading end over mapped words; its cursor is private, so readers never disturb the writer or each other.
class Consumer {
public:
    Consumer() = default;
    Consumer(const Word* head, const Word* slots, std::uint64_t capacity, std::uint64_t stride_words) noexcept
        : head_{head}, slots_{slots}, mask_{capacity - 1}, stride_{stride_words} {}

    void start(Start start) noexcept {
        const std::uint64_t head = std::min(this->head(), layout::most_records);
        cursor_ = start == Start::next ? head : start == Start::oldest ? less(head, capacity()) : 0;
    }

    /// Takes the record at the cursor with `copy(first record word)`, which copies words out of the slot. What it copied
    /// counts only when this is true; otherwise `seen` is the slot's number, for `missed`.
    template <class Copy>
    PILLION_HOT bool take(std::uint64_t& stamp_ns, std::uint64_t& seen, Copy&& copy) noexcept {
        const Word* const slot = slot_of(cursor_);
        const std::uint64_t done = 2 * cursor_ + 2;
        seen = load(slot);
        if (seen != done) {
            return false;
        }
        // Commit-Look, second half. A fence and not an acquire load, so that only relaxed loads touch read-only pages.
        acquire_fence();
        copy(slot + layout::slot::record / 8);
        stamp_ns = load(slot + stride_ - 1);
        // Mark-Recheck, second half: had a word above come from a later record, the load below would see its mark.
        acquire_fence();
        seen = load(slot);
        if (seen != done) [[unlikely]] {
            return false;
        }
        ++cursor_;
        lapped_ = false;
        return true;
    }

    /// What it means that `take` found `seen` in the slot.
    [[nodiscard]] PILLION_HOT PollStatus missed(std::uint64_t seen) noexcept {
        return seen < 2 * cursor_ + 2 ? PollStatus::empty : lapped(seen);
    }

    /// Whether the next poll finds a record or a loss.
    [[nodiscard]] bool pending() const noexcept {
        const std::uint64_t seen = load(slot_of(cursor_));
        acquire_fence();
        const std::uint64_t done = 2 * cursor_ + 2;
        return seen == done || (seen > done && honest(less(seen, 1) / 2, head()));
    }

    /// Records published so far, as far as this reader can see.
    [[nodiscard]] std::uint64_t head() const noexcept {
        // Head-Head, second half.
        const std::uint64_t head = load(head_);
        acquire_fence();
        return head;
    }

    /// Whether the ring agrees with itself and with this reader; see RingReader::check.
    [[nodiscard]] bool check() const noexcept {
        const std::uint64_t head = this->head();
        const bool agrees = head == cursor_ || (head > cursor_ && load(slot_of(cursor_)) >= 2 * cursor_ + 2);
        return bears_out(head) && (agrees || before_head_store(head));
    }

    /// Goes on at the next record to be published; see RingReader::skip_to_next.
    std::uint64_t skip_to_next() noexcept {
        const std::uint64_t head = this->head();
        if (!bears_out(head) || before_head_store(head)) {
            return 0;
        }
        lapped_ = false;
        const std::uint64_t passed = less(head, cursor_);
        cursor_ = head;
        lost_ += passed;
        return passed;
    }

    [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    [[nodiscard]] std::uint64_t last_lost() const noexcept { return last_lost_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }
    [[nodiscard]] std::size_t record_words() const noexcept { return stride_ - layout::slot::own / 8; }
    /// Takes over another's count, when a reader goes on in a new ring.
    void carry_lost(std::uint64_t lost) noexcept { lost_ = lost; }

private:
    [[nodiscard]] PILLION_HOT const Word* slot_of(std::uint64_t n) const noexcept {
        return slots_ + (n & mask_) * stride_;
    }

    /// a - b, or 0: all arithmetic on what other processes wrote wraps or saturates.
    [[nodiscard]] static constexpr std::uint64_t less(std::uint64_t a, std::uint64_t b) noexcept {
        return a > b ? a - b : 0;
    }

    /// Whether the slot of the last record below `head`, loaded with acquire, says that it was committed.
    [[nodiscard]] bool bears_out(std::uint64_t head) const noexcept {
        // Head-Head: what was seen as published is in its slot, or a later one is.
        return head == 0 || (head <= layout::most_records && load(slot_of(head - 1)) >= 2 * head);
    }

    /// Whether the writer stands, or died, between the commit of the record below the cursor and the store of its head.
    [[nodiscard]] bool before_head_store(std::uint64_t head) const noexcept {
        return head != UINT64_MAX && head + 1 == cursor_ && bears_out(cursor_);
    }

    /// Whether a writer that left this head can have put record `in_slot` where the cursor's was.
    [[nodiscard]] bool honest(std::uint64_t in_slot, std::uint64_t head) const noexcept {
        const bool later = in_slot > cursor_ && ((in_slot - cursor_) & mask_) == 0;
        return later && (in_slot <= head || in_slot - head == 1) && bears_out(head);
    }

    /// Moves the cursor to the oldest record left, given the later number seen in its slot, and counts what it passed;
    /// corrupt, with the cursor where it was, when that number or the head cannot be an honest writer's.
    ///
    /// Lapped again before one record was read, it gives up half the ring, or it would be lapped for ever.
    PILLION_COLD PollStatus lapped(std::uint64_t seen) noexcept {
        // Who sees the mark of record m sees, past this fence, the head that record m-2 left, or a later one.
        acquire_fence();
        const std::uint64_t head = this->head();
        const std::uint64_t in_slot = less(seen, 1) / 2;
        if (!honest(in_slot, head)) {
            return PollStatus::corrupt;
        }
        const std::uint64_t keep = lapped_ ? std::max<std::uint64_t>(capacity() / 2, 1) : capacity();
        const std::uint64_t resume = std::max({less(in_slot + 1, capacity()), less(head, keep), cursor_ + 1});
        last_lost_ = resume - cursor_;
        lost_ += last_lost_;
        cursor_ = resume;
        lapped_ = true;
        return PollStatus::lost;
    }

    const Word* head_ = nullptr;
    const Word* slots_ = nullptr;
    std::uint64_t mask_ = 0;
    std::uint64_t stride_ = 0;
    std::uint64_t cursor_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t last_lost_ = 0;
    bool lapped_ = false;
};

} // namespace detail
} // namespace pillion

#endif
