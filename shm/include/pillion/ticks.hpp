/// @file
/// The tick ring: market data records from a feed to the sidecar and whoever else listens.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "handles.hpp"

#include <concepts>
#include <new>
#include <span>

namespace pillion {

/// A record whose bytes a ring can carry.
template <class T>
concept Record = std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0 && (sizeof(T) > 0);

/// A market data record: it knows its own `rtype`.
template <class T>
concept MarketRecord = Record<T> && requires { { T::record_type } -> std::convertible_to<std::uint8_t>; };

/// One record as a reader takes it: a private copy that nobody changes. Holds records of up to 368 bytes (MBP-10).
struct Tick {
    static constexpr std::size_t max_words = 46;

    std::uint64_t ring_seq = 0; ///< Its number in the ring, from 0.
    std::uint64_t stamp_ns = 0; ///< Its publish stamp, ns since the epoch on the shared clock.
    std::size_t words = 0;      ///< 8-byte words copied: all that a slot holds, and at most `max_words`. Those past the
                                ///< record's own length are left over from earlier records.
    bool truncated = false;     ///< The slot holds more than was copied, and the record does not say that it is short.

    /// The bytes copied.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data, 8 * words}; }

    /// The record's header; only of market data.
    [[nodiscard]] const RecordHeader& header() const noexcept {
        return *std::launder(reinterpret_cast<const RecordHeader*>(data));
    }

    /// The record as a `T`, such as `tick.as<MboMsg>()`; nullptr when its `rtype` or length says that it is none.
    template <MarketRecord T> [[nodiscard]] const T* as() const noexcept {
        static_assert(sizeof(T) <= 8 * max_words);
        const RecordHeader& hd = header();
        const bool is = words * 8 >= sizeof(T) && hd.rtype == T::record_type && hd.length * 4U == sizeof(T);
        return is ? std::launder(reinterpret_cast<const T*>(data)) : nullptr;
    }

    /// The first bytes as a `T`, whatever they are: for rings of records of your own.
    template <Record T> [[nodiscard]] const T& raw() const noexcept {
        static_assert(sizeof(T) <= 8 * max_words);
        return *std::launder(reinterpret_cast<const T*>(data));
    }

    alignas(8) std::byte data[8 * max_words]; ///< Not zeroed: `words` says what counts.
};

/// Size and access of a new tick ring.
struct TickWriterOptions {
    std::uint64_t capacity = 65'536; ///< Slots, a power of two.
    std::uint64_t record_bytes = 112; ///< Bytes of the largest record: 112 for MBO, trades, MBP-1; 368 for MBP-10.
    Access access{};                  ///< Who may read it.
};

/// The writing end of a tick ring; it holds the region's lock for as long as it lives. One thread at a time.
class TickWriter {
public:
    /// Makes the ring of `lane`, generation 1, or the next one when a dead owner's ring has the name.
    /// Fails with held (a live process has it), spec, no_space, denied, lock, contended, io.
    [[nodiscard]] static Result<TickWriter> create(const Lane& lane, const Clock& clock,
                                                   const TickWriterOptions& options = {}) {
        auto ring = detail::OwnedRing::create(lane, Kind::ticks, clock, options.capacity, options.record_bytes, {},
                                              options.access);
        return ring ? Result<TickWriter>{TickWriter{std::move(*ring)}} : Result<TickWriter>{ring.error()};
    }

    /// Publishes `record`, stamped with now, and returns its number. Never waits, allocates or calls the system.
    /// Nothing, and no record, when it is longer than the ring's `record_bytes()`.
    template <Record T> [[nodiscard]] PILLION_HOT std::optional<std::uint64_t> publish(const T& record) noexcept {
        return publish_at(record, ring_.now_ns());
    }

    /// The same with a stamp of the caller's, ns since the epoch on the shared clock.
    template <Record T>
    [[nodiscard]] PILLION_HOT std::optional<std::uint64_t> publish_at(const T& record, std::uint64_t stamp_ns) noexcept {
        return ring_.publish<sizeof(T)>(&record, stamp_ns);
    }

    /// A record of any type as its bytes, such as one read from a .dbn file, stamped with now.
    [[nodiscard]] std::optional<std::uint64_t> publish_bytes(std::span<const std::byte> record) noexcept {
        return ring_.publish(record.data(), record.size(), ring_.now_ns());
    }
    /// The same with a stamp of the caller's.
    [[nodiscard]] std::optional<std::uint64_t> publish_bytes_at(std::span<const std::byte> record,
                                                                std::uint64_t stamp_ns) noexcept {
        return ring_.publish(record.data(), record.size(), stamp_ns);
    }

    /// Records published so far: the number of the next one.
    [[nodiscard]] std::uint64_t published() const noexcept { return ring_.ring().published(); }
    /// Life of this name, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return ring_.region().header().generation; }
    /// Number of slots.
    [[nodiscard]] std::uint64_t capacity() const noexcept { return ring_.ring().capacity(); }
    /// Bytes of the largest record, rounded up to fill the slot.
    [[nodiscard]] std::size_t record_bytes() const noexcept { return 8 * ring_.ring().record_words(); }
    /// Whether its pages are locked in memory.
    [[nodiscard]] bool locked() const noexcept { return ring_.region().locked(); }
    /// The region's file.
    [[nodiscard]] const std::string& path() const noexcept { return ring_.region().path(); }
    /// Removes the name, for tests and private lanes. Readers keep what they have mapped; end the writer after it.
    [[nodiscard]] Status unlink() { return ring_.region().unlink(); }

private:
    explicit TickWriter(detail::OwnedRing ring) : ring_{std::move(ring)} {}

    detail::OwnedRing ring_;
};

/// A reading end of a tick ring, mapped read-only, with a cursor of its own. One thread at a time.
class TickReader : public detail::RingReader {
public:
    /// Attaches to the ring of `lane`, which must be of this layout and `clock`.
    /// Fails with absent (no feed yet: try again), mismatch, not_a_region, size, denied, io.
    [[nodiscard]] static Result<TickReader> attach(const Lane& lane, const Clock& clock, Start start = Start::next) {
        auto ring = detail::AttachedRing::attach(lane.path(Kind::ticks), Kind::ticks, clock.id(), start,
                                                lane.trust());
        return ring ? Result<TickReader>{TickReader{std::move(*ring)}} : Result<TickReader>{ring.error()};
    }

    /// Takes the next record. `tick` is whole only after PollStatus::record. In a ring whose slots hold more than a Tick does
    /// (`record_bytes() > 368`), a record that does not itself say that it is short comes as PollStatus::truncated. Never
    /// waits, allocates or calls the system.
    PILLION_HOT PollStatus poll(Tick& tick) noexcept {
        tick.ring_seq = cursor();
        tick.words = words_;
        tick.truncated = false;
        const PollStatus status = take(tick.stamp_ns, [&](const detail::Word* from) noexcept { copy(tick, from); });
        if (wider() && status == PollStatus::record) [[unlikely]] {
            tick.truncated = cut(tick);
            return tick.truncated ? PollStatus::truncated : status;
        }
        return status;
    }

    /// Takes the next record as the bytes of a `T`, whatever its type: the quickest for rings of one type. Its number is
    /// `cursor() - 1`. PollStatus::too_small, for ever, where a `T` is longer than the ring's `record_bytes()`.
    template <Record T> PILLION_HOT PollStatus poll_as(T& record, std::uint64_t& stamp_ns) noexcept {
        if (sizeof(T) > record_bytes()) [[unlikely]] {
            return PollStatus::too_small;
        }
        return take(stamp_ns, [&](const detail::Word* from) noexcept {
            detail::load_words<sizeof(T) / 8>(&record, from);
        });
    }

    /// Takes up to `ticks.size()` records at once. A loss comes alone, before the records behind it.
    Batch poll_batch(std::span<Tick> ticks) noexcept {
        const std::uint64_t first = cursor();
        std::size_t truncated = 0;
        Batch batch = take_many(
            ticks.size(), [&](std::size_t i, const detail::Word* from) noexcept { copy(ticks[i], from); },
            [&](std::size_t i, std::uint64_t stamp_ns) noexcept {
                ticks[i].ring_seq = first + i;
                ticks[i].stamp_ns = stamp_ns;
                ticks[i].words = words_;
                ticks[i].truncated = wider() && cut(ticks[i]);
                truncated += ticks[i].truncated ? 1U : 0U;
            });
        batch.truncated = truncated;
        return batch;
    }

    /// Calls `visit(const Tick&)` for up to `max` records, each copied out first, so that none is ever torn.
    /// `visit` must not throw: this is noexcept, so an exception out of it ends the process (std::terminate).
    template <class Visit> Batch visit(Visit&& visit, std::size_t max) noexcept {
        Tick tick;
        tick.words = words_;
        const std::uint64_t first = cursor();
        std::size_t truncated = 0;
        Batch batch = take_many(
            max, [&](std::size_t, const detail::Word* from) noexcept { copy(tick, from); },
            [&](std::size_t i, std::uint64_t stamp_ns) noexcept {
                tick.ring_seq = first + i;
                tick.stamp_ns = stamp_ns;
                tick.truncated = wider() && cut(tick);
                truncated += tick.truncated ? 1U : 0U;
                visit(static_cast<const Tick&>(tick));
            });
        batch.truncated = truncated;
        return batch;
    }

    /// Once this ring is drained: goes over to the one that stands under its name now, from its first record, and says
    /// `followed`; how much was lost in between is unknown. `stayed` while there is no other, and while something is left here
    /// (`pending()`): a dead writer's last record may have come after the poll that found none. Poll on and call again, or
    /// give it up with `skip_to_next()`. On an error nothing has changed: call again later (system calls).
    [[nodiscard]] Result<Follow> follow() {
        Result<std::optional<detail::AttachedRing>> next = ring_.next();
        if (!next || !*next) {
            return next ? Result<Follow>{Follow::stayed} : Result<Follow>{next.error()};
        }
        ring_ = std::move(**next);
        words_ = copied_words();
        return Follow::followed;
    }

private:
    explicit TickReader(detail::AttachedRing ring) : RingReader{std::move(ring)}, words_{copied_words()} {}

    [[nodiscard]] std::size_t copied_words() const noexcept {
        return std::min(record_bytes() / 8, Tick::max_words);
    }

    /// Whether a slot holds more than a Tick does.
    [[nodiscard]] PILLION_HOT bool wider() const noexcept { return record_bytes() > 8 * Tick::max_words; }

    /// Whether a record of such a slot may go on behind what was copied: market data says how long it is.
    [[nodiscard]] PILLION_COLD static bool cut(const Tick& tick) noexcept {
        return tick.as<MboMsg>() == nullptr && tick.as<TradeMsg>() == nullptr && tick.as<Mbp1Msg>() == nullptr &&
               tick.as<Mbp10Msg>() == nullptr && tick.as<StatusMsg>() == nullptr;
    }

    PILLION_HOT void copy(Tick& tick, const detail::Word* from) const noexcept {
        if (words_ == 14) [[likely]] { // 128-byte slots, unrolled.
            detail::load_words<14>(tick.data, from);
        } else {
            detail::load_words(tick.data, from, words_);
        }
    }

    std::size_t words_;
};

} // namespace pillion

#endif
