/// @file
/// Names: which file a region is, who may open it.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "layout.hpp"
#include "result.hpp"
#include "trust.hpp"

#include <string>
#include <string_view>
#include <sys/vfs.h>
#include <utility>

namespace pillion {

/// Where regions stand unless told otherwise.
inline constexpr const char* default_dir = "/dev/shm";

/// Whether a region's pages are locked in memory, so that none can be swapped out.
enum class LockMemory : std::uint8_t {
    require, ///< Refuse when they cannot be locked.
    attempt, ///< Lock them if the limit (ulimit -l) allows it.
    no,      ///< Do not.
};

/// Who may open a new region, and whether its memory is locked.
struct Access {
    std::uint32_t mode = 0600;             ///< File mode, whatever the umask; never writable by others.
    std::int64_t gid = -1;                 ///< Group of the file; the process's when negative.
    LockMemory lock = LockMemory::attempt; ///< Whether its pages are locked.
};

/// A lane: a name, the directory that its regions stand in, and whose regions are used.
class Lane {
public:
    /// The lane `name` in /dev/shm. Fails (name) unless it is 1 to 32 characters of a-z, 0-9, _ and -.
    [[nodiscard]] static Result<Lane> named(std::string_view name) { return in_dir(default_dir, name); }

    /// The lane `name` in `dir`, which must be a tmpfs: on a disk, writing pages back stops who publishes (see `on_tmpfs`).
    /// Regions are used of those whom Trust::own names and of the directory's owner (see Trust::in_dir).
    [[nodiscard]] static Result<Lane> in_dir(std::string_view dir, std::string_view name) {
        const auto plain = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        };
        bool sound = !name.empty() && name.size() <= 32;
        for (const char c : name) {
            sound = sound && plain(c);
        }
        if (!sound) {
            return Error{Errc::name, "lane name \"" + std::string{name} +
                                         "\" is not 1 to 32 characters of a-z, 0-9, _ and -; mend: choose such a name"};
        }
        return Lane{std::string{dir}, std::string{name}};
    }

    /// This lane, which also uses regions that the user `uid` owns: a sidecar's or a feed's that runs as another user.
    [[nodiscard]] Lane trusting(std::uint32_t uid) const { return with_trust(trust_.with_uid(uid)); }
    /// This lane, which also uses a control page that the group `gid` may write.
    [[nodiscard]] Lane trusting_group(std::uint32_t gid) const { return with_trust(trust_.with_gid(gid)); }
    /// This lane with `trust` in place of Trust::own().
    [[nodiscard]] Lane with_trust(Trust trust) const {
        Lane lane = *this;
        lane.trust_ = std::move(trust);
        return lane;
    }
    /// Whose regions are used, the directory's owner apart.
    [[nodiscard]] const Trust& trust() const noexcept { return trust_; }

    /// Whether its directory lies on a tmpfs (system call); also true where nobody can tell.
    [[nodiscard]] bool on_tmpfs() const noexcept {
        struct statfs room {};
        constexpr std::uint64_t tmpfs = 0x0102'1994;
        constexpr std::uint64_t ramfs = 0x8584'58f6;
        const bool told = ::statfs(dir_.c_str(), &room) == 0;
        const std::uint64_t type = static_cast<std::uint64_t>(room.f_type) & 0xffff'ffffU;
        return !told || type == tmpfs || type == ramfs;
    }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& dir() const noexcept { return dir_; }

    /// The file of its region of `kind`. The clock is one per directory, without the lane's name.
    [[nodiscard]] std::string path(Kind kind) const {
        return kind == Kind::clock ? dir_ + "/pillion.clock" : dir_ + "/pillion." + name_ + "." + kind_name(kind);
    }

private:
    Lane(std::string dir, std::string name) : dir_{std::move(dir)}, name_{std::move(name)} {}

    std::string dir_;
    std::string name_;
    Trust trust_ = Trust::own();
};

} // namespace pillion

#endif
