/// @file
/// Names: which file a region is, who may open it.
#pragma once

#include "layout.hpp"
#include "result.hpp"

#include <string>
#include <string_view>
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

/// A lane: a name, and the directory that its regions stand in.
class Lane {
public:
    /// The lane `name` in /dev/shm. Fails (name) unless it is 1 to 32 characters of a-z, 0-9, _ and -.
    [[nodiscard]] static Result<Lane> named(std::string_view name) { return in_dir(default_dir, name); }

    /// The lane `name` in `dir`, which must be a tmpfs.
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
};

} // namespace pillion
