/// @file
/// Regions: the files, their locks and their mapping. Nothing in here stands on the path of a record.
///
/// A region is made whole as a file without a name, locked, and only then linked to its name, so that nobody ever
/// sees half of one. Its owner holds a `flock` for life: the kernel drops it at death, whatever the pid namespace.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "header.hpp"
#include "words.hpp"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <vector>

namespace pillion::detail {

/// What a new region shall be.
struct Plan {
    std::string path;
    Trust trust; ///< Whose directory it may stand in, and whose region it may succeed.
    Kind kind;
    std::uint64_t clock_id;
    std::uint64_t created_ns;
    std::uint64_t stride;
    std::uint64_t capacity;
    std::uint32_t models;
    std::vector<unsigned char> table;
    std::uint64_t body_bytes;
    Access access;
};

/// The dead owner's region, locked, while its successor takes the name over.
struct Predecessor {
    Header header;
    Fd file;

    /// The u64 at byte `offset` of its body; nothing when its layout is not ours or it is cut short.
    [[nodiscard]] std::optional<Word> body_word(const std::string& path, Kind kind, std::uint64_t offset) const {
        Word word = 0;
        if (!header.check_layout(path, kind) || header.body_offset > header.region_bytes ||
            !read_at(file.get(), &word, sizeof word, header.body_offset + offset)) {
            return std::nullopt;
        }
        return word;
    }
};

/// A mapped region. Its header was copied and checked at attach, and is not read from shared memory again.
class Region {
public:
    /// Maps the region at `path` for reading, or also for writing, after checking
    /// whose it is and all that its header says. `clock_id` 0 takes any clock.
    [[nodiscard]] static Result<Region> attach(const std::string& path, Kind kind, std::uint64_t clock_id,
                                               bool writable, const Trust& trust);

    /// Makes a whole region that has no name yet, locked by us, its memory allocated, mapped and, if asked, locked.
    [[nodiscard]] static Result<Region> build(const Plan& plan);

    /// Gives the region its name, taking it over from a dead owner if need be. Its value is false when
    /// `prepare(region, predecessor or nullptr)`, which runs while the predecessor is locked, keeps the predecessor.
    template <class Prepare> [[nodiscard]] Result<bool> install(Prepare&& prepare);

    [[nodiscard]] const Header& header() const noexcept { return header_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// Whose regions are used; of a region that was built, with the directory's owner.
    [[nodiscard]] const Trust& trust() const noexcept { return trust_; }
    [[nodiscard]] bool locked() const noexcept { return locked_; }
    [[nodiscard]] bool writable() const noexcept { return writable_; }

    /// The word at byte `offset` of the region, which is a multiple of 8 and inside.
    [[nodiscard]] const Word* word(std::uint64_t offset) const noexcept {
        return static_cast<const Word*>(map_.at()) + offset / 8;
    }
    /// The same, to be stored to: writable regions only.
    [[nodiscard]] Word* word_mut(std::uint64_t offset) noexcept { return static_cast<Word*>(map_.at()) + offset / 8; }
    /// First word of the body.
    [[nodiscard]] const Word* body() const noexcept { return word(header_.body_offset); }
    [[nodiscard]] Word* body_mut() noexcept { return word_mut(header_.body_offset); }
    /// Bytes from the body's start to the region's end.
    [[nodiscard]] std::uint64_t body_bytes() const noexcept { return header_.region_bytes - header_.body_offset; }

    /// A copy of the table: written before the region had a name, never again.
    [[nodiscard]] std::vector<unsigned char> table() const {
        // Whole words: the body starts behind the table's last one.
        std::vector<unsigned char> bytes((header_.table_bytes + 7) / 8 * 8);
        load_words(bytes.data(), word(layout::header_bytes), bytes.size() / 8);
        bytes.resize(header_.table_bytes);
        return bytes;
    }

    /// Touches every page, so that none faults later, and locks them as asked (system calls).
    [[nodiscard]] Status touch_and_lock(LockMemory lock);

    /// Whether somebody holds the owner's lock (system call).
    [[nodiscard]] bool owner_alive() const noexcept {
        if (::flock(file_.get(), LOCK_SH | LOCK_NB) == 0) {
            ::flock(file_.get(), LOCK_UN);
            return false;
        }
        return errno == EWOULDBLOCK;
    }

    /// Calls `act` while it holds the lock of a dead owner, as a creator does who takes the name over; nobody takes it over
    /// meanwhile. False while somebody else holds the lock (system calls).
    template <class Act> [[nodiscard]] Result<bool> with_dead_lock(Act&& act) const {
        if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
            return errno == EWOULDBLOCK ? Result<bool>{false} : Result<bool>{failed("lock", path_, errno)};
        }
        const bool done = act();
        ::flock(file_.get(), LOCK_UN);
        return done;
    }

    /// Whether a successor marked this region (no system call).
    [[nodiscard]] bool successor() const noexcept {
        // Relaxed: the mark says only that there is something to attach to; attaching is a system call of its own.
        return load(word(layout::header::successor)) != 0;
    }

    /// Whether the name no longer stands for this file (system call).
    [[nodiscard]] bool renamed() const noexcept { return !names(path_, file_.get()); }

    /// Inode of the file (system call).
    [[nodiscard]] std::uint64_t file_number() const noexcept {
        struct stat stat {};
        return ::fstat(file_.get(), &stat) == 0 ? std::uint64_t{stat.st_ino} : 0;
    }

    /// Removes the name, if it still stands for this file. Readers keep what they have mapped.
    [[nodiscard]] Status unlink() const {
        if (renamed() || ::unlink(path_.c_str()) == 0) {
            return {};
        }
        return failed("remove", path_, errno);
    }

private:
    Region(Map map, Fd file, std::string path, Trust trust, const Header& header, bool writable)
        : map_{std::move(map)}, file_{std::move(file)}, path_{std::move(path)}, trust_{std::move(trust)},
          header_{header}, writable_{writable} {}

    [[nodiscard]] static Result<Region> map(Fd file, const std::string& path, const Trust& trust, const Header& header,
                                            bool writable, int flags);
    [[nodiscard]] int link(const std::string& to) const;
    [[nodiscard]] Status set_generation(std::uint64_t generation);
    [[nodiscard]] Result<bool> exchange(const Predecessor& old) const;

    Map map_;
    Fd file_;
    std::string path_;
    Trust trust_;
    Header header_;
    bool locked_ = false;
    bool writable_ = false;
};

inline Result<Region> Region::map(Fd file, const std::string& path, const Trust& trust, const Header& header,
                                  bool writable, int flags) {
    const auto bytes = static_cast<std::size_t>(header.region_bytes);
    const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED | flags, file.get(), 0);
    if (at == MAP_FAILED) {
        return failed("map", path, errno);
    }
    return Region{Map{at, bytes}, std::move(file), path, trust, header, writable};
}

/// Who besides its owner may write a region of this kind. `acts` is for who acts on what it says; an operator and a successor
/// take any group that the owner of a control page let in.
[[nodiscard]] constexpr Writers writers_of(std::uint32_t kind, bool acts) noexcept {
    if (kind != static_cast<std::uint32_t>(Kind::cnc)) {
        return Writers::owner;
    }
    return acts ? Writers::group : Writers::any_group;
}

/// Whether the opened file is one that `trust`, which knows the directory's owner, lets be used. What is no regular file is
/// left to Header::read.
[[nodiscard]] inline Status check_owner(int fd, const std::string& path, Writers writers, const Trust& trust) {
    struct stat stat {};
    if (::fstat(fd, &stat) != 0) {
        return failed("stat", path, errno);
    }
    if (!S_ISREG(stat.st_mode)) {
        return {};
    }
    return trust.check_file(path, stat, writers);
}

inline Result<Region> Region::attach(const std::string& path, Kind kind, std::uint64_t clock_id, bool writable,
                                     const Trust& trust) {
    Result<Fd> file =
        open_file(path, writable ? O_RDWR : O_RDONLY, writable ? "open for writing" : "open");
    if (!file) {
        return file.error();
    }
    if (!*file) {
        return Error{Errc::absent,
                     path + " does not exist; mend: start its owner first, or check the lane's name"};
    }
    Result<Trust> all = trust.in_dir(directory_of(path));
    if (!all) {
        return all.error();
    }
    if (Status owned = check_owner(file->get(), path, writers_of(static_cast<std::uint32_t>(kind), clock_id != 0), *all); !owned) {
        return owned.error();
    }
    Result<Header> header = Header::read(file->get(), path);
    if (!header) {
        return header.error();
    }
    struct stat stat {};
    if (::fstat(file->get(), &stat) != 0) {
        return failed("stat", path, errno);
    }
    if (Status sound = header->check(path, static_cast<std::uint64_t>(stat.st_size), kind, clock_id); !sound) {
        return sound.error();
    }
    return map(std::move(*file), path, trust, *header, writable, 0);
}

inline Status Region::touch_and_lock(LockMemory lock) {
    constexpr std::uint64_t page_bytes = 4096;
    for (std::uint64_t at = 0; at < header_.region_bytes; at += page_bytes) {
        static_cast<void>(load(word(at)));
    }
    if (lock == LockMemory::no) {
        return {};
    }
    if (::mlock(map_.at(), map_.bytes()) == 0) {
        locked_ = true;
        return {};
    }
    if (lock != LockMemory::require) {
        return {};
    }
    const int number = errno;
    struct rlimit limit {};
    const bool unlimited = ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY;
    return Error{Errc::lock, path_ + ": its " + std::to_string(header_.region_bytes) +
                                 " bytes cannot be locked in memory, the limit is " +
                                 (unlimited ? std::string{"unlimited"} : std::to_string(limit.rlim_cur)) + " bytes (" +
                                 std::strerror(number) +
                                 "); mend: raise it (ulimit -l, LimitMEMLOCK=) or lock with LockMemory::attempt"};
}

} // namespace pillion::detail

#include "create.hpp"

#endif
