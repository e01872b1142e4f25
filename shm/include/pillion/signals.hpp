/// @file
/// The signal ring: every score of every model, in order, from the sidecar to strategies.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "tables.hpp"
#include "ticks.hpp"

namespace pillion {

/// Size and access of a new signal ring.
struct SignalWriterOptions {
    std::uint64_t capacity = 65'536; ///< Slots, a power of two.
    Access access{};                 ///< Who may read it.
};

/// The writing end of a signal ring, for tests and mock sidecars. One thread at a time.
class SignalWriter {
public:
    /// Makes the ring of `lane` with `tables`, taking it over from a dead owner if need be.
    [[nodiscard]] static Result<SignalWriter> create(const Lane& lane, const Clock& clock, const SignalTables& tables,
                                                     const SignalWriterOptions& options = {}) {
        auto bytes = tables.to_bytes();
        if (!bytes) {
            return bytes.error();
        }
        auto ring = detail::OwnedRing::create(lane, Kind::signals, clock, options.capacity, sizeof(Signal),
                                              std::move(*bytes), options.access);
        return ring ? Result<SignalWriter>{SignalWriter{std::move(*ring)}} : Result<SignalWriter>{ring.error()};
    }

    /// Publishes `signal`, its signal_ns and the slot's stamp set to now; returns its number. The ring's slots are made for it.
    std::uint64_t publish(Signal signal) noexcept {
        signal.signal_ns = ring_.now_ns();
        return publish_at(signal, signal.signal_ns);
    }
    /// Publishes `signal` as it is, with a stamp of the caller's in the slot.
    std::uint64_t publish_at(const Signal& signal, std::uint64_t stamp_ns) noexcept {
        return ring_.publish<sizeof(Signal)>(&signal, stamp_ns).value_or(0);
    }

    /// Signals published so far.
    [[nodiscard]] std::uint64_t published() const noexcept { return ring_.ring().published(); }
    /// Life of this name, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return ring_.region().header().generation; }
    /// The region's file.
    [[nodiscard]] const std::string& path() const noexcept { return ring_.region().path(); }
    /// Removes the name, for tests and private lanes.
    [[nodiscard]] Status unlink() { return ring_.region().unlink(); }

private:
    explicit SignalWriter(detail::OwnedRing ring) : ring_{std::move(ring)} {}

    detail::OwnedRing ring_;
};

/// A reading end of a signal ring, mapped read-only, with a cursor of its own. One thread at a time.
class SignalReader : public detail::RingReader {
public:
    /// Attaches to the ring of `lane`, which must be of this layout and `clock`.
    /// Fails with absent (no sidecar yet: try again), mismatch, not_a_region, table, size, denied, io.
    [[nodiscard]] static Result<SignalReader> attach(const Lane& lane, const Clock& clock, Start start = Start::next) {
        auto ring = detail::AttachedRing::attach(lane.path(Kind::signals), Kind::signals, clock.id(), start,
                                                lane.trust());
        if (!ring) {
            return ring.error();
        }
        Result<SignalTables> tables = read_tables(*ring);
        return tables ? Result<SignalReader>{SignalReader{std::move(*ring), std::move(*tables)}}
                      : Result<SignalReader>{tables.error()};
    }

    /// What instrument and model numbers stand for; read at attach and at follow.
    [[nodiscard]] const SignalTables& tables() const noexcept { return tables_; }

    /// Takes the next signal; its number in this ring is `cursor() - 1` (Signal::ring_seq is the tick's). `signal` is whole
    /// only after PollStatus::record. Never waits, allocates or calls the system.
    PILLION_HOT PollStatus poll(Signal& signal) noexcept {
        std::uint64_t stamp_ns = 0;
        return take(stamp_ns, [&](const detail::Word* from) noexcept { copy(signal, from); });
    }

    /// Takes up to `signals.size()` signals at once. A loss comes alone, before the signals behind it.
    Batch poll_batch(std::span<Signal> signals) noexcept {
        return take_many(
            signals.size(), [&](std::size_t i, const detail::Word* from) noexcept { copy(signals[i], from); },
            [](std::size_t, std::uint64_t) noexcept {});
    }

    /// Calls `visit(const Signal&)` for up to `max` signals, each copied out first, so that none is ever torn.
    /// `visit` must not throw: this is noexcept, so an exception out of it ends the process (std::terminate).
    template <class Visit> Batch visit(Visit&& visit, std::size_t max) noexcept {
        Signal signal;
        return take_many(
            max, [&](std::size_t, const detail::Word* from) noexcept { copy(signal, from); },
            [&](std::size_t, std::uint64_t) noexcept { visit(static_cast<const Signal&>(signal)); });
    }

    /// Once this ring is drained: goes over to the one that stands under its name now, from its first signal, and says
    /// `followed`. Then the tables are new as well: look up rows and outputs again. `stayed` while there is no other, and while
    /// something is left here (`pending()`): poll on and call again, or give it up with `skip_to_next()`. On an error ring and
    /// tables are the old ones still: call again later (system calls).
    [[nodiscard]] Result<Follow> follow() {
        Result<std::optional<detail::AttachedRing>> next = ring_.next();
        if (!next || !*next) {
            return next ? Result<Follow>{Follow::stayed} : Result<Follow>{next.error()};
        }
        Result<SignalTables> tables = read_tables(**next);
        if (!tables) {
            return tables.error();
        }
        ring_ = std::move(**next);
        tables_ = std::move(*tables);
        return Follow::followed;
    }

private:
    SignalReader(detail::AttachedRing ring, SignalTables tables)
        : RingReader{std::move(ring)}, tables_{std::move(tables)} {}

    [[nodiscard]] static Result<SignalTables> read_tables(const detail::AttachedRing& ring) {
        if (ring.consumer.record_words() * 8 < sizeof(Signal)) {
            return ring.region.header().contradiction(ring.region.path(), "a signal ring with slots too small for one");
        }
        Result<SignalTables> tables = SignalTables::from_bytes(ring.region.table());
        return tables ? std::move(tables) : Error{Errc::table, ring.region.path() + ": " + tables.error().message};
    }

    PILLION_HOT static void copy(Signal& signal, const detail::Word* from) noexcept {
        detail::load_words<sizeof(Signal) / 8>(&signal, from);
    }

    SignalTables tables_;
};

} // namespace pillion

#endif
