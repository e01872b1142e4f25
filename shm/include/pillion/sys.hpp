/// @file
/// The operating system's calls, each with an error that says what was tried on which file.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "result.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace pillion::detail {

/// An open file, closed at the end of its life; a `flock` on it ends then too.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) noexcept : fd_{fd} {}
    Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/// A shared mapping of a file from its start, unmapped at the end of its life.
class Map {
public:
    Map() = default;
    Map(void* at, std::size_t bytes) noexcept : at_{at}, bytes_{bytes} {}
    Map(Map&& other) noexcept : at_{std::exchange(other.at_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}
    Map& operator=(Map&& other) noexcept {
        std::swap(at_, other.at_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;
    ~Map() {
        if (at_ != nullptr) {
            ::munmap(at_, bytes_);
        }
    }
    [[nodiscard]] void* at() const noexcept { return at_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

private:
    void* at_ = nullptr;
    std::size_t bytes_ = 0;
};

/// `value` in hexadecimal, as all of Pillion prints hashes and ids.
[[nodiscard]] inline std::string hex(std::uint64_t value) {
    constexpr const char* digits = "0123456789abcdef";
    std::string text = "0x0000000000000000";
    for (std::size_t i = 0; i < 16; ++i) {
        text[17 - i] = digits[(value >> (4 * i)) & 15U];
    }
    return text;
}

/// Whose file has the name, for messages: "it belongs to uid 1002" behind `before`; nothing where that cannot be seen.
[[nodiscard]] inline std::string belongs(const std::string& path, const char* before) {
    struct stat named {};
    return ::lstat(path.c_str(), &named) == 0 ? before + ("it belongs to uid " + std::to_string(named.st_uid)) : "";
}

/// The error of a system call that failed with `number` at `action` ("open", "lock", ...) on `path`.
[[nodiscard]] inline Error failed(const char* action, const std::string& path, int number) {
    if (number == EACCES || number == EPERM) {
        return Error{Errc::denied, std::string{"not allowed to "} + action + " " + path + " as uid " +
                                       std::to_string(::geteuid()) + belongs(path, ", ") +
                                       "; mend: run as its owner, or have the owner give it to a group that this user is in"};
    }
    return Error{Errc::io, std::string{"cannot "} + action + " " + path + ": " + std::strerror(number) +
                               " (os error " + std::to_string(number) +
                               "); mend: see that its directory is a tmpfs with room, such as /dev/shm"};
}

/// What stands under a region's name and is none.
[[nodiscard]] inline Error not_a_region(const std::string& path, const std::string& found) {
    return Error{Errc::not_a_region, path + " is not a Pillion region: " + found + "; mend: `pillion shm rm " + path +
                                         "` as its owner or root if nothing needs it, or use a directory of your own"};
}

/// Opens `path` without following a link. Without a file and without an error when it does not exist.
[[nodiscard]] inline Result<Fd> open_file(const std::string& path, int flags, const char* action) {
    const int fd = ::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        return Fd{fd};
    }
    if (errno == ENOENT) {
        return Fd{};
    }
    if (errno == ELOOP) {
        return not_a_region(path, "a symbolic link, which is not followed" + belongs(path, "; "));
    }
    return failed(action, path, errno);
}

/// Whether `path` still names the file of `fd`.
[[nodiscard]] inline bool names(const std::string& path, int fd) noexcept {
    struct stat named {};
    struct stat own {};
    return ::lstat(path.c_str(), &named) == 0 && ::fstat(fd, &own) == 0 && named.st_dev == own.st_dev &&
           named.st_ino == own.st_ino;
}

/// All of `bytes` at `offset`, or false: with errno, or 0 at the file's end.
[[nodiscard]] inline bool read_at(int fd, void* to, std::size_t bytes, std::uint64_t offset) noexcept {
    auto* at = static_cast<unsigned char*>(to);
    while (bytes > 0) {
        const ssize_t got = ::pread(fd, at, bytes, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? 0 : errno;
            return false;
        }
        at += got;
        bytes -= static_cast<std::size_t>(got);
        offset += static_cast<std::uint64_t>(got);
    }
    return true;
}

/// All of `bytes` at `offset`, or false with errno.
[[nodiscard]] inline bool write_at(int fd, const void* from, std::size_t bytes, std::uint64_t offset) noexcept {
    const auto* at = static_cast<const unsigned char*>(from);
    while (bytes > 0) {
        const ssize_t put = ::pwrite(fd, at, bytes, static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            errno = put == 0 ? EIO : errno;
            return false;
        }
        at += put;
        bytes -= static_cast<std::size_t>(put);
        offset += static_cast<std::uint64_t>(put);
    }
    return true;
}

/// `clock` now, in ns.
[[nodiscard]] inline std::uint64_t system_ns(clockid_t clock) noexcept {
    struct timespec time {};
    ::clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
}

/// Sleeps for `ns`, whatever signals come: a calibration cut short would be a wrong one.
inline void sleep_ns(std::uint64_t ns) noexcept {
    const std::uint64_t end = system_ns(CLOCK_MONOTONIC) + ns;
    const struct timespec time {
        static_cast<time_t>(end / 1'000'000'000U), static_cast<long>(end % 1'000'000'000U)
    };
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
    }
}

/// The first `limit` bytes of a small file such as those in /proc.
[[nodiscard]] inline std::string small_file(const char* path, std::size_t limit) {
    std::string text(limit, '\0');
    const Fd fd{::open(path, O_RDONLY | O_CLOEXEC)};
    std::size_t length = 0;
    while (fd && length < limit) {
        const ssize_t got = ::read(fd.get(), text.data() + length, limit - length);
        if (got <= 0) {
            break;
        }
        length += static_cast<std::size_t>(got);
    }
    text.resize(length);
    return text;
}

/// The whole of a file of fewer than `limit` bytes; nothing where it cannot be read or is longer.
[[nodiscard]] inline std::optional<std::string> whole_file(const char* path, std::size_t limit) {
    const Fd fd{::open(path, O_RDONLY | O_CLOEXEC)};
    std::string text;
    char part[4096];
    while (fd && text.size() < limit) {
        const ssize_t got = ::read(fd.get(), part, sizeof part);
        if (got == 0) {
            return text;
        }
        if (got < 0) {
            break;
        }
        text.append(part, static_cast<std::size_t>(got));
    }
    return std::nullopt;
}

} // namespace pillion::detail

#endif
