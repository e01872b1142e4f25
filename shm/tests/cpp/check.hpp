// What the C++ tests share: checks that name file and line, and a private directory with a lane and its clock.
#pragma once

#include <pillion/shm.hpp>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <sys/wait.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::cerr << __FILE__ << ":" << __LINE__ << ": not so: " #condition << std::endl;                          \
            std::_Exit(1);                                                                                             \
        }                                                                                                              \
    } while (false)

#define CHECK_EQ(left, right)                                                                                          \
    do {                                                                                                               \
        const auto& left_ = (left);                                                                                    \
        const auto& right_ = (right);                                                                                  \
        if (!(left_ == right_)) {                                                                                      \
            std::cerr << __FILE__ << ":" << __LINE__ << ": " #left " is " << test::shown(left_) << ", " #right " is "  \
                      << test::shown(right_) << std::endl;                                                             \
            std::_Exit(1);                                                                                             \
        }                                                                                                              \
    } while (false)

// The error is of this kind, and every piece stands in its message; a mend does in any.
#define CHECK_SAYS(error, wanted, ...) test::check_says(__FILE__, __LINE__, error, wanted, {__VA_ARGS__, "mend: "})

namespace test {

/// Exit status of a test that could not look at all it should; it says why on standard output.
inline constexpr int skipped = 77;

template <class T> std::string shown(const T& value) {
    std::ostringstream out;
    if constexpr (std::is_enum_v<T>) {
        out << static_cast<std::uint64_t>(value);
    } else {
        out << value;
    }
    return out.str();
}

inline void check_says(const char* file, int line, const pillion::Error& error, pillion::Errc wanted,
                       std::initializer_list<std::string> pieces) {
    bool said = error.code == wanted;
    for (const std::string& piece : pieces) {
        said = said && error.message.find(piece) != std::string::npos;
        if (!said) {
            std::cerr << file << ":" << line << ": wanted " << pillion::errc_name(wanted) << " with \"" << piece
                      << "\", got " << pillion::errc_name(error.code) << ": " << error.message << std::endl;
            std::_Exit(1);
        }
    }
}

/// The value, or the end of the test with the error's message.
template <class T> T must(pillion::Result<T> result) {
    if (!result.has_value()) {
        std::cerr << "failed: " << result.error().message << std::endl;
        std::_Exit(1);
    }
    return std::move(result).value();
}

inline void must(const pillion::Status& status) {
    if (!status) {
        std::cerr << "failed: " << status.error().message << std::endl;
        std::_Exit(1);
    }
}

/// Whether a `follow`, which must not fail, went over to another region.
inline bool went_over(pillion::Result<pillion::Follow> followed) {
    return must(std::move(followed)) == pillion::Follow::followed;
}

/// The error of what must have failed.
template <class T> pillion::Error refused(const pillion::Result<T>& result) {
    CHECK(!result.has_value());
    return result.error();
}

/// A directory of its own in /dev/shm, removed at the end of its life.
class Dir {
public:
    Dir() {
        // A test that fails ends at once: then whoever runs it removes the directory around this one.
        const char* around = std::getenv("PILLION_TEST_DIR");
        path_ = std::string{around == nullptr ? "/dev/shm" : around} + "/pillion-cpp-XXXXXX";
        CHECK(::mkdtemp(path_.data()) != nullptr);
    }
    ~Dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Dir(const Dir&) = delete;
    Dir& operator=(const Dir&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// A lane of its own, with its clock.
struct Place {
    Dir dir;
    pillion::Clock clock = must(pillion::Clock::attach_or_create(dir.path()));
    pillion::Lane lane = must(pillion::Lane::in_dir(dir.path(), "test"));

    std::string file(pillion::Kind kind) const { return lane.path(kind); }
    /// Overwrites the u64 at byte `at` of a region's file.
    void scribble(pillion::Kind kind, std::uint64_t at, std::uint64_t value) const {
        const int fd = ::open(file(kind).c_str(), O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0 && ::pwrite(fd, &value, 8, static_cast<off_t>(at)) == 8);
        ::close(fd);
    }
    std::uint64_t word(pillion::Kind kind, std::uint64_t at) const {
        std::uint64_t value = 0;
        const int fd = ::open(file(kind).c_str(), O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0 && ::pread(fd, &value, 8, static_cast<off_t>(at)) == 8);
        ::close(fd);
        return value;
    }
};

/// An order of `n`, every field of it made from `n`.
inline pillion::MboMsg order(std::uint64_t n) {
    pillion::MboMsg mbo{};
    mbo.hd = {sizeof mbo / 4, pillion::rtype::mbo, static_cast<std::uint16_t>(n), static_cast<std::uint32_t>(n * 3), n * 5};
    mbo.order_id = n * 7;
    mbo.price = static_cast<std::int64_t>(n) * 250'000'000;
    mbo.size = static_cast<std::uint32_t>(n);
    mbo.flags = pillion::record_flags::last;
    mbo.action = 'A';
    mbo.side = 'B';
    mbo.ts_recv = n * 11;
    mbo.ts_in_delta = -static_cast<std::int32_t>(n % 1'000);
    mbo.sequence = static_cast<std::uint32_t>(n);
    return mbo;
}

template <class T> bool same_bytes(const T& a, const T& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// Runs `role` in a process of its own and returns its pid; what it returns is its exit status.
template <class Role> pid_t child(Role&& role) {
    const pid_t pid = ::fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        std::_Exit(role());
    }
    return pid;
}

/// A small generator (splitmix64), so that a run can be repeated from its seed.
struct Random {
    std::uint64_t state;
    std::uint64_t next() {
        std::uint64_t z = (state += 0x9e37'79b9'7f4a'7c15U);
        z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9U;
        z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebU;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t limit) { return next() % limit; }
};

} // namespace test
