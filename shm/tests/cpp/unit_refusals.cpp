// Every way to be refused: its code, and a message with the region, what was expected and found, and the mend.
#include "check.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/time.h>

using namespace pillion;
using namespace test;

namespace {

namespace at = layout::header;

void names_and_sizes() {
    const Place place;
    for (const char* name : {"", "ES", "a/b", "012345678901234567890123456789012"}) {
        CHECK_SAYS(refused(Lane::in_dir(place.dir.path(), name)), Errc::name, "\"" + std::string{name} + "\"", "a-z");
    }
    CHECK(must(Lane::named("es")).path(Kind::ticks) == "/dev/shm/pillion.es.ticks");
    CHECK(must(Lane::named("es")).path(Kind::clock) == "/dev/shm/pillion.clock");
    for (const std::uint64_t capacity : {0U, 3U}) {
        CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {capacity, 112, {}})), Errc::spec,
                   place.file(Kind::ticks), std::to_string(capacity) + " slots", "power of two");
    }
    CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {4, 0, {}})), Errc::spec, "0 bytes");
    for (const std::uint32_t mode : {0602U, 0400U, 01600U}) {
        CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {4, 112, {mode, -1, LockMemory::no}})), Errc::spec,
                   "file mode", "0640");
    }
    CHECK_SAYS(refused(BoardWriter::create(place.lane, place.clock, {})), Errc::spec, "0 instruments", "1 to 2^32");
}

void modes_are_as_asked_whatever_the_umask() {
    const Place place;
    const mode_t old = ::umask(0777);
    const TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {0640, -1, LockMemory::no}}));
    ::umask(old);
    struct stat stat {};
    CHECK(::stat(writer.path().c_str(), &stat) == 0 && (stat.st_mode & 07777U) == 0640);
    CHECK(::stat(place.file(Kind::clock).c_str(), &stat) == 0 && (stat.st_mode & 07777U) == 0644);
}

void absent_and_foreign_files() {
    const Place place;
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::absent, place.file(Kind::ticks));
    CHECK_SAYS(refused(SignalReader::attach(place.lane, place.clock)), Errc::absent, place.file(Kind::signals));
    CHECK_SAYS(refused(SignalBoard::attach(place.lane, place.clock)), Errc::absent, place.file(Kind::board));
    CHECK_SAYS(refused(Control::attach(place.lane, place.clock)), Errc::absent, place.file(Kind::cnc));
    const std::string path = place.file(Kind::ticks);
    std::filesystem::create_directory(path);
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::not_a_region, path, "not a regular file");
    std::filesystem::remove(path);
    const auto write = [&](const std::string& text) {
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        ::close(fd);
    };
    write("short");
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::not_a_region, path, "5 bytes", "512");
    CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock)), Errc::not_a_region, path, "5 bytes");
    write("PILLION2" + std::string(504, 'x'));
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::not_a_region, path, "0x324e4f494c4c4950",
               "0x314e4f494c4c4950");
    CHECK(::unlink(path.c_str()) == 0 && ::symlink("/etc/passwd", path.c_str()) == 0);
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::not_a_region, path, "a symbolic link",
               "belongs to uid " + std::to_string(::geteuid()), "as its owner or root", "a directory of your own");
}

/// Each field of the header, scribbled one at a time, is refused, with the owner's pid.
void headers_that_lie() {
    const Place place;
    const TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    const std::string path = place.file(Kind::ticks);
    const std::string pid = "process " + std::to_string(::getpid());
    const auto lies = [&](std::uint64_t offset, std::uint64_t value, Errc code, std::vector<std::string> says) {
        const std::uint64_t was = place.word(Kind::ticks, offset);
        place.scribble(Kind::ticks, offset, value);
        for (const std::string& word : says) {
            CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), code, path, word, pid, " s ago");
        }
        place.scribble(Kind::ticks, offset, was);
    };
    const std::uint64_t kind = std::uint64_t{1} << 32;
    const std::string hash = detail::hex(layout::layout_hash(Kind::ticks));
    lies(at::version, 3 | kind, Errc::mismatch, {"version 3, hash " + hash, "version 2, hash " + hash});
    lies(at::version, 1 | kind, Errc::mismatch, {"version 1, hash " + hash});
    lies(at::version, 2 | (kind * 2), Errc::mismatch, {"kind is signals", "has ticks"});
    lies(at::version, 2 | (kind * 77), Errc::mismatch, {"unknown kind 77"});
    lies(at::layout_hash, 0xabc, Errc::mismatch, {"hash 0x0000000000000abc", hash});
    lies(at::clock_id, 7, Errc::mismatch, {"clock id", "0x0000000000000007", detail::hex(place.clock.id())});
    const std::uint64_t bytes = place.word(Kind::ticks, at::region_bytes);
    lies(at::region_bytes, bytes + 8, Errc::size, {std::to_string(bytes), std::to_string(bytes + 8)});
    for (const std::uint64_t wild : {std::uint64_t{3}, std::uint64_t{1} << 63, UINT64_MAX, UINT64_MAX / 128}) {
        lies(at::stride, wild, Errc::not_a_region, {"made by"});
        lies(at::capacity, wild, Errc::not_a_region, {"made by"});
        lies(at::table_bytes, wild == 3 ? 1 : wild, Errc::not_a_region, {"contradicts itself"});
        lies(at::table_offset, wild, Errc::not_a_region, {"contradicts itself"});
        lies(at::body_offset, wild, Errc::not_a_region, {"contradicts itself"});
        lies(at::head, wild, Errc::not_a_region, {"whose slots do not"});
    }
    lies(at::stride, 0, Errc::not_a_region, {"slots of 0 bytes"});
    lies(at::capacity, 0, Errc::not_a_region, {"ring of 0 slots"});
    must(TickReader::attach(place.lane, place.clock));
}

void a_region_of_version_1_is_read() {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    static_cast<void>(writer.publish(order(1)));
    place.scribble(Kind::ticks, at::version, 1 | std::uint64_t{1} << 32);
    place.scribble(Kind::ticks, at::layout_hash, layout::v1_hash);
    Tick tick;
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    CHECK(reader.poll(tick) == PollStatus::record);
}

void a_cut_file_is_refused() {
    const Place place;
    { const TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}})); }
    const std::string path = place.file(Kind::ticks);
    CHECK(::truncate(path.c_str(), 768) == 0);
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::size, path, "768 bytes", "1024");
}

void clocks() {
    const Place place;
    const Clock again = must(Clock::attach_or_create(place.dir.path()));
    CHECK(again.id() == place.clock.id() && again.counter() == Clock::best_counter());
    const std::uint64_t one = place.clock.now_ns();
    const std::uint64_t two = again.now_ns();
    const std::uint64_t wall = detail::system_ns(CLOCK_REALTIME);
    CHECK(two >= one && (wall > two ? wall - two : two - wall) < 1'000'000'000);
    CHECK(place.clock.span_ns(9, 3) == 0 && place.clock.ns(0) == place.clock.ns(1));
    const std::uint64_t body = 512;
    const std::string path = place.file(Kind::clock);
    const auto refuses = [&](std::uint64_t offset, std::uint64_t value, Errc code, const std::string& piece) {
        const std::uint64_t was = place.word(Kind::clock, body + offset);
        place.scribble(Kind::clock, body + offset, value);
        CHECK_SAYS(refused(Clock::attach_or_create(place.dir.path())), code, path, piece);
        place.scribble(Kind::clock, body + offset, was);
    };
    refuses(layout::clock::mult, 0, Errc::not_a_region, detail::hex(place.clock.id()));
    refuses(layout::clock::shift, 65, Errc::not_a_region, "do not make its id");
    refuses(layout::clock::base_ns, 1, Errc::not_a_region, "do not make its id");
    refuses(layout::clock::counter, 9, Errc::mismatch, "an unknown counter");
    place.scribble(Kind::clock, body + layout::clock::counter, 0); // Version 1 did not say.
    CHECK_EQ(must(Clock::attach_or_create(place.dir.path())).id(), place.clock.id());
    // A clock of another boot is replaced, with the next generation.
    place.scribble(Kind::clock, at::boot_id, 0);
    CHECK(must(Clock::attach_or_create(place.dir.path())).id() != place.clock.id());
    CHECK_EQ(place.word(Kind::clock, at::generation), 2U);
    CHECK_SAYS(refused(Clock::attach_or_create("/nowhere")), Errc::io, "/nowhere");
}

/// A timer's signals, every millisecond and not restarting calls, neither cut a sleep short nor keep a region from being made.
void signals_cut_nothing_short() {
    const Place place;
    const pid_t pid = child([&] {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        const struct itimerval often {{0, 1'000}, {0, 1'000}};
        CHECK(::sigaction(SIGALRM, &action, nullptr) == 0 && ::setitimer(ITIMER_REAL, &often, nullptr) == 0);
        const std::uint64_t start = detail::system_ns(CLOCK_MONOTONIC);
        detail::sleep_ns(100'000'000);
        CHECK(detail::system_ns(CLOCK_MONOTONIC) - start >= 100'000'000);
        must(TickWriter::create(place.lane, place.clock, {1U << 19, 112, {0600, -1, LockMemory::no}}));
        return 0;
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// A reader copies the table, so it believes no more than 128 MiB: here a file that has more, without memory behind it.
void a_table_too_long_is_refused() {
    const Place place;
    { const SignalWriter writer = must(SignalWriter::create(place.lane, place.clock, {}, {4, {}})); }
    const auto claim = [&](std::uint64_t bytes) {
        const std::uint64_t body = layout::body_offset(bytes);
        CHECK(::truncate(place.file(Kind::signals).c_str(), static_cast<off_t>(body + 512)) == 0);
        place.scribble(Kind::signals, at::body_offset, body);
        place.scribble(Kind::signals, at::region_bytes, body + 512);
        place.scribble(Kind::signals, at::table_bytes, bytes);
        return refused(SignalReader::attach(place.lane, place.clock));
    };
    const std::uint64_t most = std::uint64_t{128} << 20;
    CHECK_SAYS(claim(most + 1), Errc::not_a_region, "a table of 134217729 bytes", "134217728");
    CHECK_SAYS(claim(std::uint64_t{1} << 40), Errc::not_a_region, "a table of 1099511627776 bytes");
    SignalTables tables;
    tables.instruments.resize(1'400'000);
    tables.models.resize(1);
    CHECK_SAYS(refused(SignalWriter::create(place.lane, place.clock, tables)), Errc::spec, "table", "134401056", "128 MiB");
}

void memory_that_cannot_be_locked() {
    const Place place;
    const pid_t pid = child([&] {
        // As nobody, who may lock 16 KiB: the ring below has 33.
        const struct rlimit limit {16'384, 16'384};
        CHECK(::chmod(place.dir.path().c_str(), 01777) == 0 && ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        if (::setgid(65'534) != 0 || ::setgroups(0, nullptr) != 0 || ::setuid(65'534) != 0) {
            return 0; // Not root: then the limit alone does it.
        }
        Access access{0600, -1, LockMemory::require};
        CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {256, 112, access})), Errc::lock,
                   place.file(Kind::ticks), "16384", "33280");
        access.lock = LockMemory::attempt;
        CHECK(!must(TickWriter::create(place.lane, place.clock, {256, 112, access})).locked());
        access.gid = 0;
        CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {4, 112, access})), Errc::denied, "the group of",
                   "uid 65534");
        return 0;
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void other_users_are_denied() {
    const Place place;
    const TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    const pid_t pid = child([&] {
        CHECK(::chmod(place.dir.path().c_str(), 01777) == 0);
        if (::setgid(65'534) != 0 || ::setgroups(0, nullptr) != 0 || ::setuid(65'534) != 0) {
            return 0;
        }
        CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::denied, place.file(Kind::ticks),
                   "uid 65534");
        CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock)), Errc::denied, "take over");
        return 0;
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// A full file system is found at create, and nothing is left behind.
void no_room() {
    const Place place;
    const std::string dir = place.dir.path() + "/small";
    std::filesystem::create_directory(dir);
    const pid_t pid = child([&] {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("small", dir.c_str(), "tmpfs", 0, "size=64k") != 0) {
            return 0; // Needs root.
        }
        const Lane lane = must(Lane::in_dir(dir, "test"));
        const Clock clock = must(Clock::attach_or_create(lane));
        const std::string free = std::to_string(std::filesystem::space(dir).available) + " free";
        CHECK_SAYS(refused(TickWriter::create(lane, clock, {4'096, 112, {}})), Errc::no_space, lane.path(Kind::ticks),
                   "524800 bytes", free);
        CHECK(std::filesystem::remove(lane.path(Kind::clock)) && std::filesystem::is_empty(dir));
        const Clock again = must(Clock::attach_or_create(lane));
        must(TickWriter::create(lane, again, {64, 112, {}}));
        return 0;
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// Some word for every code, and a stop with the message for whoever takes a value that is not there.
void results() {
    CHECK(std::string{errc_name(Errc::none)} == "none" && std::string{errc_name(Errc::answer_lost)} == "answer_lost");
    CHECK(std::string{errc_name(static_cast<Errc>(99))} == "unknown");
    const pid_t pid = child([] {
        ::close(2);
        return *Result<int>{Error{Errc::io, "x"}};
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

} // namespace

int main() {
    names_and_sizes();
    modes_are_as_asked_whatever_the_umask();
    absent_and_foreign_files();
    headers_that_lie();
    a_region_of_version_1_is_read();
    a_cut_file_is_refused();
    clocks();
    signals_cut_nothing_short();
    a_table_too_long_is_refused();
    memory_that_cannot_be_locked();
    other_users_are_denied();
    no_room();
    results();
    return 0;
}
