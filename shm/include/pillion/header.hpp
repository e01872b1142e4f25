/// @file
/// The header of a region as numbers, and the checks before anybody trusts it.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "lane.hpp"
#include "sys.hpp"

#include <array>
#include <algorithm>
#include <cctype>

namespace pillion::detail {

/// The fields that never change once a region has its name, copied out of it.
struct Header {
    std::uint32_t version = 0;
    std::uint32_t kind = 0;
    std::uint64_t layout_hash = 0;
    std::uint64_t region_bytes = 0;
    std::uint64_t generation = 0;
    std::uint64_t clock_id = 0;
    std::uint64_t stride = 0;
    std::uint64_t capacity = 0;
    std::uint64_t table_offset = 0;
    std::uint64_t table_bytes = 0;
    std::uint64_t body_offset = 0;
    std::uint64_t created_ns = 0;
    std::uint32_t owner_pid = 0;
    std::uint32_t models = 0;
    std::uint64_t owner_start = 0;
    std::array<unsigned char, 16> boot_id{};

    /// Calls `f(offset, field)` for each field: the one list for reading and writing.
    template <class Self, class F> static void each(Self& self, F&& f) {
        namespace at = layout::header;
        f(at::version, self.version);
        f(at::kind, self.kind);
        f(at::layout_hash, self.layout_hash);
        f(at::region_bytes, self.region_bytes);
        f(at::generation, self.generation);
        f(at::clock_id, self.clock_id);
        f(at::stride, self.stride);
        f(at::capacity, self.capacity);
        f(at::table_offset, self.table_offset);
        f(at::table_bytes, self.table_bytes);
        f(at::body_offset, self.body_offset);
        f(at::created_ns, self.created_ns);
        f(at::owner_pid, self.owner_pid);
        f(at::models, self.models);
        f(at::owner_start, self.owner_start);
        f(at::boot_id, self.boot_id);
    }

    [[nodiscard]] std::array<unsigned char, layout::header_bytes> to_bytes() const {
        std::array<unsigned char, layout::header_bytes> bytes{};
        std::memcpy(bytes.data(), layout::magic, 8);
        each(*this, [&](std::size_t at, const auto& field) { std::memcpy(bytes.data() + at, &field, sizeof field); });
        return bytes;
    }

    /// Reads the header of `fd`; refuses what is no region at all.
    [[nodiscard]] static Result<Header> read(int fd, const std::string& path) {
        struct stat stat {};
        if (::fstat(fd, &stat) != 0) {
            return failed("stat", path, errno);
        }
        const auto foreign = [&](const std::string& found) {
            return not_a_region(path, found + "; it belongs to uid " + std::to_string(stat.st_uid));
        };
        if (!S_ISREG(stat.st_mode)) {
            return foreign("not a regular file");
        }
        std::array<unsigned char, layout::header_bytes> bytes{};
        if (!read_at(fd, bytes.data(), bytes.size(), 0)) {
            return foreign(std::to_string(stat.st_size) + " bytes, a header has " +
                           std::to_string(layout::header_bytes));
        }
        if (std::memcmp(bytes.data(), layout::magic, 8) != 0) {
            std::uint64_t found = 0;
            std::uint64_t wanted = 0;
            std::memcpy(&found, bytes.data(), 8);
            std::memcpy(&wanted, layout::magic, 8);
            return foreign("it starts with " + hex(found) + ", a region with " + hex(wanted));
        }
        Header header;
        each(header, [&](std::size_t at, auto& field) { std::memcpy(&field, bytes.data() + at, sizeof field); });
        return header;
    }

    /// Seconds since it was made, by the wall clock: for messages.
    [[nodiscard]] std::uint64_t age_s() const noexcept {
        const std::uint64_t now = system_ns(CLOCK_REALTIME);
        return now > created_ns ? (now - created_ns) / 1'000'000'000U : 0;
    }

    /// Who made it, for messages: "process 7 12 s ago".
    [[nodiscard]] std::string maker() const {
        return std::string{"process "} + std::to_string(owner_pid) + " " + std::to_string(age_s()) + " s ago";
    }

    /// What the region and this process do not agree on.
    [[nodiscard]] Error mismatch(const std::string& path, const std::string& what, const std::string& found,
                                 const std::string& wanted, const char* mend) const {
        return Error{Errc::mismatch, path + ": its " + what + " is " + found + ", this process has " + wanted +
                                         "; it was made by " + maker() + "; mend: " + mend};
    }

    [[nodiscard]] Error contradiction(const std::string& path, const std::string& found) const {
        return not_a_region(path, found + " (made by " + maker() + ")");
    }

    /// Whether this build knows the layout of a region that shall be of `wanted`: this version, or the one before.
    [[nodiscard]] Status check_layout(const std::string& path, Kind wanted) const {
        const std::uint64_t own_hash = layout::layout_hash(wanted);
        if ((version == layout::version && layout_hash == own_hash) || (version == 1 && layout_hash == layout::v1_hash)) {
            return {};
        }
        const auto named = [](std::uint32_t number, std::uint64_t hash) {
            return std::string{"version "} + std::to_string(number) + ", hash " + hex(hash);
        };
        return mismatch(path, "layout", named(version, layout_hash), named(layout::version, own_hash),
                        "use the same Pillion version on both sides, or remove the file once no Pillion process uses it");
    }

    /// Everything an attach relies on: layout, kind, clock (0: any) and sizes.
    [[nodiscard]] Status check(const std::string& path, std::uint64_t file_bytes, Kind wanted,
                               std::uint64_t wanted_clock) const {
        if (kind != static_cast<std::uint32_t>(wanted)) {
            const auto own = static_cast<Kind>(kind);
            const bool known = kind >= 1 && kind <= 5;
            return mismatch(path, "kind", known ? kind_name(own) : std::string{"unknown kind "} + std::to_string(kind),
                            kind_name(wanted), "attach to the right file");
        }
        if (Status known = check_layout(path, wanted); !known) {
            return known;
        }
        if (wanted_clock != 0 && clock_id != wanted_clock) {
            return mismatch(path, "clock id", hex(clock_id), hex(wanted_clock),
                            "run both sides with the same pillion.clock; restart whoever started before it was replaced");
        }
        if (file_bytes != region_bytes) {
            return Error{Errc::size, path + " has " + std::to_string(file_bytes) + " bytes where its header says " +
                                         std::to_string(region_bytes) + ", made by " + maker() +
                                         "; mend: restart its owner, which makes it anew"};
        }
        return check_sizes(path);
    }

private:
    [[nodiscard]] Status check_sizes(const std::string& path) const {
        if (table_bytes > layout::most_table_bytes) {
            return contradiction(path, std::string{"its header contradicts itself: a table of "} + std::to_string(table_bytes) +
                                           " bytes, the longest has " + std::to_string(layout::most_table_bytes));
        }
        // Each term is bounded by the file's size before it is added or multiplied, so nothing wraps.
        const std::uint64_t room = region_bytes - std::min(body_offset, region_bytes);
        const bool sound = region_bytes % 8 == 0 && region_bytes >= layout::header_bytes &&
                           table_offset == layout::header_bytes && body_offset % layout::body_align == 0 &&
                           body_offset >= layout::header_bytes && body_offset <= region_bytes &&
                           table_bytes <= body_offset - layout::header_bytes &&
                           (stride == 0 || capacity <= room / stride);
        if (sound) {
            return {};
        }
        return contradiction(path, std::string{"its header contradicts itself: "} + std::to_string(region_bytes) + " bytes, table of " +
                                       std::to_string(table_bytes) + " at " + std::to_string(table_offset) +
                                       ", body at " + std::to_string(body_offset) + " with " + std::to_string(capacity) +
                                       " × " + std::to_string(stride) + " bytes");
    }
};

/// The kernel's boot id, 16 bytes.
[[nodiscard]] inline Result<std::array<unsigned char, 16>> boot_id() {
    constexpr const char* path = "/proc/sys/kernel/random/boot_id";
    std::array<unsigned char, 16> id{};
    std::size_t digits = 0;
    for (const char c : small_file(path, 64)) {
        const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value >= 0 && digits < 32) {
            unsigned char& byte = id[digits / 2];
            byte = static_cast<unsigned char>((byte << 4) | value);
            ++digits;
        }
    }
    if (digits != 32) {
        return failed("read", path, EIO);
    }
    return id;
}

/// Start of this process in clock ticks since boot; 0 when /proc does not say.
[[nodiscard]] inline std::uint64_t start_ticks() {
    const std::string stat = small_file("/proc/self/stat", 1024);
    // The command's name may hold spaces and brackets: fields count from the last bracket, start time is the 22nd.
    std::size_t at = stat.rfind(')');
    for (int field = 0; field < 20 && at != std::string::npos; ++field) {
        at = stat.find(' ', at + 1);
    }
    std::uint64_t ticks = 0;
    for (++at; at != 0 && at < stat.size() && std::isdigit(static_cast<unsigned char>(stat[at])) != 0; ++at) {
        ticks = ticks * 10 + static_cast<std::uint64_t>(stat[at] - '0');
    }
    return ticks;
}

} // namespace pillion::detail

#endif
