/// @file
/// How a region gets its name, and how a new owner takes one over. Part of region.hpp.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "region.hpp"

#include <csignal>
#include <cstdio>
#include <dirent.h>
#include <string_view>
#include <sys/types.h>

namespace pillion::detail {

/// Take-overs tried before giving up; each failed one means that another creator succeeded.
inline constexpr unsigned install_attempts = 100;
/// Looks at a lock, 1 ms apart, before its owner counts as alive: a liveness probe holds it for a microsecond, or for a
/// time slice when it is descheduled just then.
inline constexpr unsigned lock_looks = 50;

[[nodiscard]] inline Error spec_error(const std::string& path, const char* what, const std::string& value,
                                      const char* must) {
    return Error{Errc::spec, path + ": " + what + " is " + value + ", but must be " + must +
                                 "; mend: change it where the region is created"};
}

[[nodiscard]] inline Status check_access(const Plan& plan) {
    if (plan.table.size() > layout::most_table_bytes) {
        return spec_error(plan.path, "table", std::to_string(plan.table.size()) + " bytes", "at most 128 MiB");
    }
    const std::uint32_t mode = plan.access.mode;
    const std::uint32_t others = plan.kind == Kind::cnc ? 0002U : 0022U;
    if ((mode & ~0777U) == 0 && (mode & others) == 0 && (mode & 0600U) == 0600U) {
        return {};
    }
    char octal[24];
    std::snprintf(octal, sizeof octal, "0%o", mode);
    return spec_error(plan.path, "file mode", octal,
                      plan.kind == Kind::cnc
                          ? "readable and writable by its owner and not writable by everybody, such as 0600 or 0660"
                          : "readable and writable by its owner and writable by nobody else, such as 0600 or 0640");
}

/// Locks `old`, whose owner must be dead, and reads its header.
[[nodiscard]] inline Result<Header> lock_dead(int old, const std::string& path) {
    Result<Header> header = Header::read(old, path);
    if (!header) {
        return header;
    }
    for (unsigned look = 0; look < lock_looks; ++look) {
        if (::flock(old, LOCK_EX | LOCK_NB) == 0) {
            return header;
        }
        if (errno != EWOULDBLOCK) {
            return failed("lock", path, errno);
        }
        sleep_ns(1'000'000);
    }
    return Error{Errc::held, path + " is held by live process " + std::to_string(header->owner_pid) + " for " +
                                 std::to_string(header->age_s()) + " s (generation " +
                                 std::to_string(header->generation) + "), or by a child that it forked; mend: stop it (`pillion shm ls` shows who maps it), or use another lane name"};
}

/// Refuses early, before a large file is made for nothing.
[[nodiscard]] inline Status refuse_if_held(const Plan& plan, const Trust& trust) {
    const std::string& path = plan.path;
    Result<Fd> old = open_file(path, O_RDWR, "take over");
    if (!old) {
        return old.error();
    }
    if (!*old) {
        return {};
    }
    if (Status owned = check_owner(old->get(), path, writers_of(static_cast<std::uint32_t>(plan.kind), false), trust); !owned) {
        return owned;
    }
    Result<Header> dead = lock_dead(old->get(), path);
    return dead ? Status{} : Status{dead.error()};
}

/// fallocate from the start. A signal undoes it, so that a profiler's timer could do so for ever: signals wait until it is
/// done, and what cannot wait (a stop) has it begin again.
[[nodiscard]] inline int fallocate_whole(int fd, off_t bytes) noexcept {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    const bool masked = ::pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    int done = 0;
    do {
        done = ::fallocate(fd, 0, 0, bytes);
    } while (done != 0 && errno == EINTR);
    const int number = errno;
    if (masked) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    errno = number;
    return done;
}

/// A file without a name, of `bytes` that are really there, locked by us.
[[nodiscard]] inline Result<Fd> allocate(const Plan& plan, std::uint64_t bytes) {
    const std::string& path = plan.path;
    const std::string dir = directory_of(path);
    Fd file{::open(dir.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)};
    if (!file) {
        return failed("create", path, errno);
    }
    // Not ftruncate: that succeeds on a full tmpfs and faults at the first store.
    if (fallocate_whole(file.get(), static_cast<off_t>(bytes)) != 0) {
        if (errno != ENOSPC && errno != EFBIG) {
            return failed("allocate", path, errno);
        }
        struct statvfs room {};
        const std::uint64_t free = ::fstatvfs(file.get(), &room) == 0 ? room.f_bavail * room.f_frsize : 0;
        return Error{Errc::no_space, path + " needs " + std::to_string(bytes) + " bytes, its file system has " +
                                         std::to_string(free) +
                                         " free; mend: lower the capacity, remove old regions, or enlarge it "
                                         "(mount -o remount,size=... /dev/shm)"};
    }
    if (plan.access.gid >= 0 &&
        ::fchown(file.get(), static_cast<uid_t>(-1), static_cast<gid_t>(plan.access.gid)) != 0) {
        return failed("set the group of", path, errno);
    }
    if (::fchmod(file.get(), static_cast<mode_t>(plan.access.mode)) != 0) {
        return failed("set the mode of", path, errno);
    }
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        return failed("lock", path, errno);
    }
    return file;
}

inline Result<Region> Region::build(const Plan& plan) {
    if (Status sound = check_access(plan); !sound) {
        return sound.error();
    }
    Result<Trust> trust = plan.trust.in_dir(directory_of(plan.path));
    if (!trust) {
        return trust.error();
    }
    if (Status free = refuse_if_held(plan, *trust); !free) {
        return free.error();
    }
    auto boot = boot_id();
    if (!boot) {
        return boot.error();
    }
    Header header;
    header.version = layout::version;
    header.kind = static_cast<std::uint32_t>(plan.kind);
    header.layout_hash = layout::layout_hash(plan.kind);
    header.body_offset = layout::body_offset(plan.table.size());
    header.region_bytes = header.body_offset + plan.body_bytes;
    header.generation = 1;
    header.clock_id = plan.clock_id;
    header.stride = plan.stride;
    header.capacity = plan.capacity;
    header.table_offset = layout::header_bytes;
    header.table_bytes = plan.table.size();
    header.created_ns = plan.created_ns;
    header.owner_pid = static_cast<std::uint32_t>(::getpid());
    header.models = plan.models;
    header.owner_start = start_ticks();
    header.boot_id = *boot;
    Result<Fd> file = allocate(plan, header.region_bytes);
    if (!file) {
        return file.error();
    }
    const auto bytes = header.to_bytes();
    if (!write_at(file->get(), bytes.data(), bytes.size(), 0) ||
        !write_at(file->get(), plan.table.data(), plan.table.size(), layout::header_bytes)) {
        return failed("write", plan.path, errno);
    }
    Result<Region> region = map(std::move(*file), plan.path, *trust, header, true, MAP_POPULATE);
    if (region) {
        if (Status locked = region->touch_and_lock(plan.access.lock); !locked) {
            return locked.error();
        }
    }
    return region;
}

/// Removes what creators of this name that died between link and exchange left beside it: `.NAME.PID.next`, unlocked.
inline void sweep(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string dir = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const std::string start = std::string{"."} + path.substr(slash == std::string::npos ? 0 : slash + 1) + ".";
    constexpr std::string_view end = ".next";
    DIR* const entries = ::opendir(dir.c_str());
    while (const dirent* entry = entries == nullptr ? nullptr : ::readdir(entries)) {
        const std::string_view name = entry->d_name;
        if (name.size() <= start.size() + end.size() || !name.starts_with(start) || !name.ends_with(end) ||
            name.substr(start.size(), name.size() - start.size() - end.size()).find_first_not_of("0123456789") !=
                std::string_view::npos) {
            continue;
        }
        const std::string beside = dir + "/" + std::string{name};
        Result<Fd> file = open_file(beside, O_RDWR, "sweep");
        if (file && *file && ::flock(file->get(), LOCK_EX | LOCK_NB) == 0 && names(beside, file->get())) {
            ::unlink(beside.c_str());
        }
    }
    if (entries != nullptr) {
        ::closedir(entries);
    }
}

template <class Prepare> Result<bool> Region::install(Prepare&& prepare) {
    for (unsigned attempt = 0; attempt < install_attempts; ++attempt) {
        Result<Fd> file = open_file(path_, O_RDWR, "take over");
        if (!file) {
            return file.error();
        }
        if (!*file) {
            if (Status set = set_generation(1); !set) {
                return set.error();
            }
            if (!prepare(*this, static_cast<const Predecessor*>(nullptr))) {
                return false;
            }
            const int error = link(path_);
            if (error == 0) {
                sweep(path_);
                return true;
            }
            if (error != EEXIST) {
                return failed("link", path_, error);
            }
            continue;
        }
        // What stands in a page that others wrote is nothing to carry over.
        if (Status owned = check_owner(file->get(), path_, writers_of(header_.kind, false), trust_); !owned) {
            return owned.error();
        }
        Result<Header> header = lock_dead(file->get(), path_);
        if (!header) {
            return header.error();
        }
        if (!names(path_, file->get())) {
            continue;
        }
        const Predecessor old{*header, std::move(*file)};
        const std::uint64_t before = old.header.generation;
        if (Status set = set_generation(before == UINT64_MAX ? before : before + 1); !set) {
            return set.error();
        }
        if (!prepare(*this, &old)) {
            return false;
        }
        Result<bool> exchanged = exchange(old);
        if (exchanged && *exchanged) {
            sweep(path_);
        }
        if (!exchanged || *exchanged) {
            return exchanged;
        }
    }
    return Error{Errc::contended, path_ + " changed hands " + std::to_string(install_attempts) +
                                      " times while it was being taken over; mend: start one owner only"};
}

/// Puts this file in the place of `old`, which we hold the lock of. False when the name was lost in between.
inline Result<bool> Region::exchange(const Predecessor& old) const {
    constexpr unsigned rename_exchange = 2;
    const std::size_t slash = path_.rfind('/');
    const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
    const std::string beside =
        path_.substr(0, name) + "." + path_.substr(name) + "." + std::to_string(::getpid()) + ".next";
    // A creator with our pid that died in here may have left the name behind.
    ::unlink(beside.c_str());
    if (const int error = link(beside); error != 0) {
        return failed("link", beside, error);
    }
    const auto swap = [&]() -> int {
        const long done =
            ::syscall(SYS_renameat2, AT_FDCWD, beside.c_str(), AT_FDCWD, path_.c_str(), rename_exchange);
        return done == 0 ? 0 : errno;
    };
    const int swapped = swap();
    // Our lock keeps creators away, but not somebody who removed the name and let another creator link it: then
    // that file is beside now, and goes back.
    const bool replaced = swapped == 0 && names(beside, old.file.get());
    if (swapped == 0 && !replaced) {
        swap();
    }
    ::unlink(beside.c_str());
    if (replaced) {
        // Best effort by contract: readers also find that the path names another file.
        static_cast<void>(write_at(old.file.get(), &header_.generation, 8, layout::header::successor));
        return true;
    }
    if (swapped != 0 && swapped != ENOENT) {
        return failed("replace", path_, swapped);
    }
    return false;
}

inline int Region::link(const std::string& to) const {
    const std::string from = std::string{"/proc/self/fd/"} + std::to_string(file_.get());
    return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

inline Status Region::set_generation(std::uint64_t generation) {
    header_.generation = generation;
    if (!write_at(file_.get(), &generation, sizeof generation, layout::header::generation)) {
        return failed("write", path_, errno);
    }
    return {};
}

} // namespace pillion::detail

#endif
