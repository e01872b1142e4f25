/// @file
/// Rings in regions: what writers of tick and signal rings have in common, and what readers have.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "clock.hpp"
#include "ring.hpp"

#include <optional>

namespace pillion::detail {

/// A ring that this process writes, and its region.
class OwnedRing {
public:
    [[nodiscard]] static Result<OwnedRing> create(const Lane& lane, Kind kind, const Clock& clock,
                                                  std::uint64_t capacity, std::uint64_t record_bytes,
                                                  std::vector<unsigned char> table, const Access& access) {
        const std::string path = lane.path(kind);
        const bool sound = capacity != 0 && (capacity & (capacity - 1)) == 0 && capacity <= std::uint64_t{1} << 40 &&
                           record_bytes != 0 && record_bytes <= 8U << 16;
        if (!sound) {
            return spec_error(path, "ring size",
                              std::to_string(capacity) + " slots of " + std::to_string(record_bytes) + " bytes",
                              "a power of two of slots, for records of 1 to 524288 bytes");
        }
        const std::uint64_t stride = layout::stride_bytes(record_bytes);
        if (Status same = clock.check_lane(lane); !same) {
            return same.error();
        }
        Result<Region> region = Region::build(Plan{path, lane.trust(), kind, clock.id(), clock.now_ns(), stride, capacity, 0,
                                                   std::move(table), stride * capacity, access});
        if (!region) {
            return region.error();
        }
        const auto always = [](Region&, const Predecessor*) { return true; };
        if (Result<bool> installed = region->install(always); !installed) {
            return installed.error();
        }
        const Producer ring{region->word_mut(layout::header::head), region->body_mut(), capacity, stride / 8};
        return OwnedRing{std::move(*region), clock, ring};
    }

    /// Publishes `Bytes` bytes at `from`, a multiple of 8; unrolled. Nothing, and no record, when they do not fit a slot.
    template <std::size_t Bytes>
    [[nodiscard]] PILLION_HOT std::optional<std::uint64_t> publish(const void* from, std::uint64_t stamp_ns) noexcept {
        if (Bytes / 8 > ring_.record_words()) [[unlikely]] {
            return std::nullopt;
        }
        return ring_.publish(stamp_ns, [from](Word* to) noexcept { store_words<Bytes / 8>(to, from); });
    }

    /// Publishes `bytes` bytes at `from`; a last word that is not full is filled with zeros. Nothing, and no record, when they
    /// do not fit a slot.
    [[nodiscard]] std::optional<std::uint64_t> publish(const void* from, std::size_t bytes,
                                                       std::uint64_t stamp_ns) noexcept {
        if (bytes > 8 * ring_.record_words()) [[unlikely]] {
            return std::nullopt;
        }
        return ring_.publish(stamp_ns, [from, bytes](Word* to) noexcept {
            store_words(to, from, bytes / 8);
            if (bytes % 8 != 0) {
                Word last = 0;
                std::memcpy(&last, static_cast<const unsigned char*>(from) + bytes / 8 * 8, bytes % 8);
                store(to + bytes / 8, last);
            }
        });
    }

    [[nodiscard]] std::uint64_t now_ns() const noexcept { return clock_.now_ns(); }
    [[nodiscard]] const Producer& ring() const noexcept { return ring_; }
    [[nodiscard]] const Region& region() const noexcept { return region_; }

private:
    OwnedRing(Region region, const Clock& clock, const Producer& ring)
        : region_{std::move(region)}, clock_{clock}, ring_{ring} {}

    Region region_;
    Clock clock_;
    Producer ring_;
};

/// A ring that this process reads, and its region.
class AttachedRing {
public:
    [[nodiscard]] static Result<AttachedRing> attach(const std::string& path, Kind kind, std::uint64_t clock_id,
                                                     Start start, const Trust& trust) {
        Result<Region> region = Region::attach(path, kind, clock_id, false, trust);
        if (!region) {
            return region.error();
        }
        const Header& header = region->header();
        const std::uint64_t capacity = header.capacity;
        const std::string found =
            std::string{"a ring of "} + std::to_string(capacity) + " slots of " + std::to_string(header.stride) + " bytes";
        if (capacity == 0 || (capacity & (capacity - 1)) != 0 || header.stride % 64 != 0 ||
            header.stride <= layout::slot::own) {
            return header.contradiction(path, found);
        }
        AttachedRing ring{std::move(*region)};
        ring.consumer.start(start);
        if (!ring.consumer.check()) {
            return ring.region.header().contradiction(path, "a ring whose head says " +
                                                                std::to_string(ring.consumer.head()) +
                                                                " records and whose slots do not");
        }
        return ring;
    }

    /// The ring that stands under the name now, at its first record, for the caller to look at and then to put in the place of
    /// this one. Nothing while there is no other, and while something is left here.
    [[nodiscard]] Result<std::optional<AttachedRing>> next() const {
        // Only the name counts here: a mark that no successor made would lead back to this file, read once already.
        // Who finds the name changed finds all that its dead owner published.
        if (!region.renamed() || consumer.pending()) {
            return std::optional<AttachedRing>{};
        }
        const auto kind = static_cast<Kind>(region.header().kind);
        Result<AttachedRing> found = attach(region.path(), kind, region.header().clock_id, Start::first, region.trust());
        if (!found) {
            // Its name is gone: the successor may still come.
            return found.error().code == Errc::absent ? Result<std::optional<AttachedRing>>{std::nullopt}
                                                      : Result<std::optional<AttachedRing>>{found.error()};
        }
        found->consumer.carry_lost(consumer.lost());
        return std::optional<AttachedRing>{std::move(*found)};
    }

    Region region;
    Consumer consumer;

private:
    explicit AttachedRing(Region from)
        : region{std::move(from)},
          consumer{region.word(layout::header::head), region.body(), region.header().capacity,
                   region.header().stride / 8} {}
};

/// What readers of tick and signal rings have in common.
class RingReader {
public:
    /// Records lost since this reader attached, over all generations that it followed.
    [[nodiscard]] std::uint64_t lost() const noexcept { return ring_.consumer.lost(); }
    /// Records lost at the last PollStatus::lost, or batch with a loss.
    [[nodiscard]] std::uint64_t last_lost() const noexcept { return ring_.consumer.last_lost(); }
    /// Number of the record that the next poll looks for.
    [[nodiscard]] std::uint64_t cursor() const noexcept { return ring_.consumer.cursor(); }
    /// Records published so far, as far as this reader can see.
    [[nodiscard]] std::uint64_t head() const noexcept { return ring_.consumer.head(); }
    /// Number of slots.
    [[nodiscard]] std::uint64_t capacity() const noexcept { return ring_.consumer.capacity(); }
    /// Bytes of a record, as many as fill a slot.
    [[nodiscard]] std::size_t record_bytes() const noexcept { return 8 * ring_.consumer.record_words(); }

    /// Whether the next poll finds a record or a loss.
    [[nodiscard]] bool pending() const noexcept { return ring_.consumer.pending(); }
    /// Whether the ring agrees with itself and with this reader. False is somebody's scribbling: a head that its slot does
    /// not bear out or that is behind the cursor, or a record that the head promises and the slot at the cursor does not
    /// hold. (One behind is sound while the writer stands, or died, between a record and its head.) A scribbled slot can also look empty, so look when nothing has come for long; not on the path of a record.
    [[nodiscard]] bool check() const noexcept { return ring_.consumer.check(); }
    /// Gives up what is left, or what a scribbler made of it: goes on at the next record to be published, and returns (and
    /// counts as lost) how many records it passed. Goes nowhere while the head cannot be believed. After a cursor that was
    /// led astray it goes back, and passes none; but not to a record that it has read and whose head is still to come.
    std::uint64_t skip_to_next() noexcept { return ring_.consumer.skip_to_next(); }

    /// Whether a successor has marked this ring (no system call). What is left here can still be read.
    [[nodiscard]] bool successor() const noexcept { return ring_.region.successor(); }
    /// Whether the name stands for another ring now, or for none (system call).
    [[nodiscard]] bool superseded() const noexcept { return successor() || ring_.region.renamed(); }
    /// Whether the owner lives: a look at its lock (system call).
    [[nodiscard]] bool owner_alive() const noexcept { return ring_.region.owner_alive(); }
    /// Process id of the owner, in its own pid namespace: for messages.
    [[nodiscard]] std::uint32_t owner_pid() const noexcept { return ring_.region.header().owner_pid; }
    /// Life of the name that this reader reads now, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return ring_.region.header().generation; }
    /// When the ring was made, ns since the epoch on the shared clock.
    [[nodiscard]] std::uint64_t created_ns() const noexcept { return ring_.region.header().created_ns; }
    /// Inode of the file that is mapped, whatever its name stands for now (system call).
    [[nodiscard]] std::uint64_t file_number() const noexcept { return ring_.region.file_number(); }
    /// The region's file.
    [[nodiscard]] const std::string& path() const noexcept { return ring_.region.path(); }
    /// Touches every page, so that none faults later, and locks them as asked (system calls).
    [[nodiscard]] Status touch_and_lock(LockMemory lock = LockMemory::attempt) {
        return ring_.region.touch_and_lock(lock);
    }
    /// Whether its pages are locked in memory.
    [[nodiscard]] bool locked() const noexcept { return ring_.region.locked(); }

protected:
    explicit RingReader(AttachedRing ring) : ring_{std::move(ring)} {}

    /// Takes one record with `copy`.
    template <class Copy> PILLION_HOT PollStatus take(std::uint64_t& stamp_ns, Copy&& copy) noexcept {
        std::uint64_t seen = 0;
        if (ring_.consumer.take(stamp_ns, seen, copy)) [[likely]] {
            return PollStatus::record;
        }
        return ring_.consumer.missed(seen);
    }

    /// Takes up to `max` records; record i with `copy(i, words)` into place and its stamp in `stamp(i)`, and then tells
    /// `done(i)`. Stops at the end, at a loss and at a contradiction. These stand before the records that they precede, so
    /// in mid-batch they are left for the next call.
    template <class Copy, class Done> PILLION_HOT Batch take_many(std::size_t max, Copy&& copy, Done&& done) noexcept {
        Batch batch;
        batch.first = cursor();
        for (; batch.records < max; ++batch.records) {
            std::uint64_t stamp_ns = 0;
            std::uint64_t seen = 0;
            const auto into = [&](const Word* from) noexcept { copy(batch.records, from); };
            if (!ring_.consumer.take(stamp_ns, seen, into)) {
                if (batch.records == 0) {
                    const PollStatus status = ring_.consumer.missed(seen);
                    batch.lost = status == PollStatus::lost ? last_lost() : 0;
                    batch.corrupt = status == PollStatus::corrupt;
                    batch.first = cursor();
                }
                break;
            }
            done(batch.records, stamp_ns);
        }
        return batch;
    }

    AttachedRing ring_;
};

} // namespace pillion::detail

#endif
