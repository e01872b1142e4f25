/// @file
/// Every byte offset of a region and the hash that two builds compare before they trust each other.
///
/// The same numbers stand in shm/README.md and in the Rust crate; a test holds the three against each other.
/// All integers are native-endian. Extend only at the end, and raise `layout::version`.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "records.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace pillion {

/// What a region holds; the number stands in its header.
enum class Kind : std::uint32_t {
    ticks = 1,   ///< Ring of market data records, written by the feed.
    signals = 2, ///< Ring of signals, written by the sidecar.
    board = 3,   ///< Last signal of every instrument and model.
    cnc = 4,     ///< State, counters and mailbox of a sidecar.
    clock = 5,   ///< The conversion from the raw counter to time, one per boot.
};

/// The word that stands for `kind` in file names; "unknown" for a number that is none.
[[nodiscard]] constexpr const char* kind_name(Kind kind) noexcept {
    switch (kind) {
    case Kind::ticks: return "ticks";
    case Kind::signals: return "signals";
    case Kind::board: return "board";
    case Kind::cnc: return "cnc";
    case Kind::clock: return "clock";
    }
    return "unknown";
}

namespace layout {

/// First eight bytes of every region.
inline constexpr char magic[9] = "PILLION1";
/// Version that this header writes. It reads this one and the one before.
inline constexpr std::uint32_t version = 2;
/// Layout hash of every region of version 1, which had one for all kinds.
inline constexpr std::uint64_t v1_hash = 2'800'763'798'228'019'825U;
/// Size of the header, and the offset of the table.
inline constexpr std::size_t header_bytes = 512;
/// The body starts at a multiple of this.
inline constexpr std::size_t body_align = 128;
/// Records that a ring can number: 2n+2 fits 64 bits. Some 15,000 years at 20 million a second.
inline constexpr std::uint64_t most_records = UINT64_MAX / 2;
/// Longest table: what 65,536 models and half a million instruments need. A reader copies it, so a header that claims more
/// is refused.
inline constexpr std::uint64_t most_table_bytes = std::uint64_t{128} << 20;

/// Byte offsets of the header's fields.
namespace header {
inline constexpr std::size_t magic = 0;          ///< 8 bytes.
inline constexpr std::size_t version = 8;        ///< u32.
inline constexpr std::size_t kind = 12;          ///< u32, a pillion::Kind.
inline constexpr std::size_t layout_hash = 16;   ///< u64.
inline constexpr std::size_t region_bytes = 24;  ///< u64, size of the whole file.
inline constexpr std::size_t generation = 32;    ///< u64, life of this name, from 1.
inline constexpr std::size_t clock_id = 40;      ///< u64, clock that every stamp in here is on.
inline constexpr std::size_t stride = 48;        ///< u64, bytes from one slot or cell to the next.
inline constexpr std::size_t capacity = 56;      ///< u64, slots (a power of two) or cells.
inline constexpr std::size_t table_offset = 64;  ///< u64.
inline constexpr std::size_t table_bytes = 72;   ///< u64.
inline constexpr std::size_t body_offset = 80;   ///< u64, a multiple of body_align.
inline constexpr std::size_t created_ns = 88;    ///< u64, ns since the epoch.
inline constexpr std::size_t owner_pid = 96;     ///< u32, for messages, never for liveness.
inline constexpr std::size_t models = 100;       ///< u32, board only.
inline constexpr std::size_t owner_start = 104;  ///< u64, clock ticks since boot.
inline constexpr std::size_t boot_id = 112;      ///< 16 bytes.
inline constexpr std::size_t successor = 192;    ///< u64, generation of the successor, 0 while there is none.
inline constexpr std::size_t head = 256;         ///< u64, ring only: records published so far.
inline constexpr std::size_t end = 264;          ///< First byte that no field uses.
} // namespace header

/// Byte offsets inside a ring slot or a board cell; the stamp is the last word.
namespace slot {
inline constexpr std::size_t seq = 0;    ///< u64: 2n+1 while record n is written, 2n+2 when done.
inline constexpr std::size_t record = 8; ///< First byte of the record.
inline constexpr std::size_t own = 16;   ///< Bytes beside the record: seq and stamp.
} // namespace slot

/// Byte offsets inside the body of a cnc region.
namespace cnc {
inline constexpr std::size_t state = 0;             ///< u64.
inline constexpr std::size_t heartbeat = 8;         ///< u64, ns since the epoch.
inline constexpr std::size_t halted = 16;           ///< u64, 1 while HALT is in force.
inline constexpr std::size_t ticks_consumed = 64;   ///< u64.
inline constexpr std::size_t ticks_generation = 72; ///< u64.
inline constexpr std::size_t ticks_before = 80;     ///< u64.
inline constexpr std::size_t counters = 128;        ///< 8 × u64.
inline constexpr std::size_t request = 192;         ///< u64, ticket << 8 | command.
inline constexpr std::size_t answers = 256;         ///< 8 × u64, ticket << 8 | outcome.
inline constexpr std::size_t stages = 320;          ///< u64 seq, then 7 × 7 u64.
inline constexpr std::size_t bytes = 768;           ///< Size of the body.
} // namespace cnc

/// Byte offsets inside the body of the clock region.
namespace clock {
inline constexpr std::size_t base_raw = 0; ///< u64.
inline constexpr std::size_t base_ns = 8;  ///< u64.
inline constexpr std::size_t mult = 16;    ///< u64.
inline constexpr std::size_t shift = 24;   ///< u64.
inline constexpr std::size_t counter = 32; ///< u64: 1 x86 TSC, 2 Arm CNTVCT, 3 CLOCK_MONOTONIC; 0 in version 1.
inline constexpr std::size_t bytes = 64;   ///< Size of the body.
} // namespace clock

inline constexpr std::uint64_t fnv_basis = 0xcbf2'9ce4'8422'2325U;

/// FNV-1a, 64 bits, carried on from `hash` over the little-endian bytes of `values`.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::uint64_t hash, std::initializer_list<std::uint64_t> values) noexcept {
    for (const std::uint64_t value : values) {
        for (unsigned byte = 0; byte < 8; ++byte) {
            hash = (hash ^ ((value >> (8 * byte)) & 0xffU)) * 0x0100'0000'01b3U;
        }
    }
    return hash;
}

/// FNV-1a over the header's offsets and those of this kind's body: what two builds compare.
[[nodiscard]] constexpr std::uint64_t layout_hash(Kind kind) noexcept {
    const std::uint64_t common = fnv1a(
        fnv_basis, {header_bytes, body_align, header::magic, header::version, header::kind, header::layout_hash,
                    header::region_bytes, header::generation, header::clock_id, header::stride, header::capacity,
                    header::table_offset, header::table_bytes, header::body_offset, header::created_ns,
                    header::owner_pid, header::models, header::owner_start, header::boot_id, header::successor,
                    header::head});
    switch (kind) {
    case Kind::ticks:
        return fnv1a(common, {slot::seq, slot::own, slot::record, sizeof(MboMsg), sizeof(TradeMsg), sizeof(Mbp1Msg),
                              sizeof(Mbp10Msg), sizeof(StatusMsg)});
    case Kind::signals:
    case Kind::board:
        return fnv1a(common, {slot::seq, slot::own, slot::record, sizeof(Signal), sizeof(InstrumentRow),
                              sizeof(ModelRow)});
    case Kind::cnc:
        return fnv1a(common, {cnc::state, cnc::heartbeat, cnc::ticks_consumed, cnc::ticks_generation,
                              cnc::ticks_before, cnc::halted, cnc::counters, cnc::request, cnc::answers, cnc::stages,
                              cnc::bytes});
    case Kind::clock: break;
    }
    return fnv1a(common, {clock::base_raw, clock::base_ns, clock::mult, clock::shift, clock::counter, clock::bytes});
}

/// Bytes of a slot that holds records of `record_bytes`: its own 16 beside them, rounded up to whole cache lines.
[[nodiscard]] constexpr std::uint64_t stride_bytes(std::uint64_t record_bytes) noexcept {
    return (record_bytes + slot::own + 63) / 64 * 64;
}

/// Offset of the body behind a table of `table_bytes`.
[[nodiscard]] constexpr std::uint64_t body_offset(std::uint64_t table_bytes) noexcept {
    return (header_bytes + table_bytes + body_align - 1) / body_align * body_align;
}

static_assert(stride_bytes(112) == 128 && stride_bytes(368) == 384 && stride_bytes(48) == 64);

} // namespace layout
} // namespace pillion

#endif
