// Whose regions and clocks are used, and a clock that lies. Root's alone are the tests that give files away.
#include "check.hpp"

using namespace pillion;
using namespace test;

namespace {

/// A user and a group that count nowhere.
constexpr std::uint32_t stranger = 65'534;
constexpr std::uint32_t group = 4'242;

void mode(const std::string& path, mode_t bits) { CHECK(::chmod(path.c_str(), bits) == 0); }

bool given(const std::string& path, std::uint32_t uid, std::uint32_t gid) {
    return ::lchown(path.c_str(), uid, gid) == 0;
}

Status create(const Lane& lane, const Clock& clock, Kind kind) {
    const auto status = [](const auto& made) { return made ? Status{} : Status{made.error()}; };
    switch (kind) {
    case Kind::ticks: return status(TickWriter::create(lane, clock, {4, 112, {}}));
    case Kind::signals: return status(SignalWriter::create(lane, clock, {}, {4, {}}));
    default: return status(ControlOwner::create(lane, clock));
    }
}

Status attach(const Lane& lane, const Clock& clock, Kind kind) {
    const auto status = [](const auto& made) { return made ? Status{} : Status{made.error()}; };
    switch (kind) {
    case Kind::ticks: return status(TickReader::attach(lane, clock));
    case Kind::signals: return status(SignalReader::attach(lane, clock));
    default: return status(Control::attach(lane, clock));
    }
}

constexpr Kind kinds[] = {Kind::ticks, Kind::signals, Kind::cnc};

void a_strangers_region_is_refused_until_he_is_named() {
    const Place place;
    for (const Kind kind : kinds) {
        must(create(place.lane, place.clock, kind));
        must(attach(place.lane, place.clock, kind));
        const std::string path = place.file(kind);
        if (!given(path, stranger, stranger)) {
            return;
        }
        mode(path, 0644);
        for (const Status& refusal : {attach(place.lane, place.clock, kind), create(place.lane, place.clock, kind)}) {
            CHECK_SAYS(refusal.error(), Errc::untrusted, path, "uid 65534, group 65534, mode 0644; root",
                       "Lane::trusting(65534)", "PILLION_TRUSTED_UIDS=65534");
        }
        must(attach(place.lane.trusting(stranger), place.clock, kind));
    }
    CHECK_SAYS(refused(Control::attach_operator(place.lane)), Errc::untrusted, place.file(Kind::cnc));
    CHECK_SAYS(refused(Control::attach_any_clock(place.lane)), Errc::untrusted, place.file(Kind::cnc));
    CHECK(std::string{errc_name(Errc::untrusted)} == "untrusted");
}

void what_others_may_write_is_refused() {
    const Place place;
    for (const Kind kind : kinds) {
        must(create(place.lane, place.clock, kind));
        const std::string path = place.file(kind);
        mode(path, 0602);
        CHECK_SAYS(attach(place.lane, place.clock, kind).error(), Errc::untrusted, "everybody may write it", "mode 0602",
                   "chmod o-w " + path);
        if (!given(path, ::geteuid(), group)) {
            return;
        }
        mode(path, 0660);
        CHECK_SAYS(attach(place.lane, place.clock, kind).error(), Errc::untrusted, "group 4242", "chmod g-w " + path);
        // Of a control page's group the first mend is not to take the kill switch from it.
        if (kind == Kind::cnc) {
            CHECK_SAYS(attach(place.lane, place.clock, kind).error(), Errc::untrusted,
                       "mend: name it, if it shall give orders: PILLION_TRUSTED_GIDS=4242", "shm_gid = 4242");
        }
        // A group may write a control page, and no other region, where it is named.
        CHECK_EQ(static_cast<bool>(attach(place.lane.trusting_group(group), place.clock, kind)), kind == Kind::cnc);
    }
    // The kill switch hangs on no group's name: the owner let it in.
    must(Control::attach_operator(place.lane));
    must(Control::attach_operator(place.lane, place.clock));
    must(Control::attach_any_clock(place.lane));
    mode(place.file(Kind::cnc), 0662);
    CHECK_SAYS(refused(Control::attach_operator(place.lane)), Errc::untrusted, "everybody may write it");
    const Access open{0660, -1, LockMemory::no};
    CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock, {4, 112, open})), Errc::spec, "0660", "nobody else");
}

void directories_count_too() {
    const Place place;
    must(create(place.lane, place.clock, Kind::ticks));
    mode(place.dir.path(), 0777);
    CHECK_SAYS(attach(place.lane, place.clock, Kind::ticks).error(), Errc::untrusted, "everybody may replace");
    CHECK_SAYS(create(place.lane, place.clock, Kind::cnc).error(), Errc::untrusted, "everybody may replace");
    mode(place.dir.path(), 01777);
    must(attach(place.lane, place.clock, Kind::ticks));
    mode(place.dir.path(), 0755);
    // A private directory of the sidecar's user: who is told of it need not be told of the user.
    const std::string dir = place.dir.path() + "/private";
    CHECK(::mkdir(dir.c_str(), 0755) == 0);
    const Lane lane = must(Lane::in_dir(dir, "test"));
    CHECK(lane.on_tmpfs() && !must(Lane::in_dir("/proc", "test")).on_tmpfs());
    const Clock clock = must(Clock::attach_or_create(lane));
    must(create(lane, clock, Kind::ticks));
    must(create(lane, clock, Kind::cnc));
    mode(lane.path(Kind::cnc), 0660);
    if (!given(dir, stranger, group) || !given(lane.path(Kind::clock), stranger, group) ||
        !given(lane.path(Kind::ticks), stranger, group) || !given(lane.path(Kind::cnc), stranger, group)) {
        return;
    }
    must(attach(lane, must(Clock::attach(lane)), Kind::ticks));
    must(attach(lane, clock, Kind::cnc));
    // Through a link of root's it is the same directory; in one that anybody could have made, nobody was named with it.
    const std::string link = place.dir.path() + "/link";
    CHECK(::symlink("./private/../private", link.c_str()) == 0);
    must(attach(must(Lane::in_dir(link, "test")), clock, Kind::ticks));
    mode(place.dir.path(), 01777);
    CHECK_SAYS(attach(lane, clock, Kind::ticks).error(), Errc::untrusted, "private is not trusted", "uid 65534");
}

void only_a_users_own_group_is_nobody_else() {
    const std::string groups = "root:x:0:\nada:x:1000:\ntrading:x:4000:ada,bo\nghosts:x:4001:unknown\nempty:x:4002:\n";
    const std::string users = "root:x:0:0::/root:\nada:x:1000:1000::/home/ada:\nbo:x:1001:4000::/:\n";
    const auto of = [&](std::uint32_t gid, const char* names_from = "passwd: files systemd\ngroup: files [X=return] # sss") {
        return detail::group_of_lists(gid, groups, users, names_from);
    };
    using Ids = std::vector<std::uint32_t>;
    CHECK(of(1'000) && of(1'000)->first_of == Ids{1'000} && of(1'000)->members == Ids{1'000});
    CHECK(of(4'000) && of(4'000)->first_of == Ids{1'001} && of(4'000)->members.size() == 3);
    CHECK(of(4'002) && of(4'002)->members.empty());
    CHECK(!of(4'001) && !of(4'242));
    for (const char* elsewhere :
         {"passwd: files sss", "group:\tldap", " passwd : files [!UNAVAIL=return] nis", "initgroups: sss"}) {
        CHECK(!of(1'000, elsewhere));
    }
    CHECK(of(1'000, "") && of(1'000, "hosts: dns\npasswd: compat\nnetgroup: nis\n"));
    CHECK(!detail::group_of_lists(1'000, groups, users + "+::::::\n", "passwd: compat"));
    // A list that cannot be read, or not whole, tells nothing.
    CHECK(!detail::whole_file("/no/such/file", 10) && !detail::whole_file("/proc/self/status", 10));
    CHECK(detail::whole_file("/proc/self/status", detail::most_list));
    // Root's group and a group without a user of its own: their members may be told elsewhere.
    const Place place;
    must(create(place.lane, place.clock, Kind::ticks));
    if (given(place.file(Kind::ticks), ::geteuid(), 0)) {
        mode(place.file(Kind::ticks), 0660);
        CHECK_SAYS(attach(place.lane, place.clock, Kind::ticks).error(), Errc::untrusted, "group 0", "chmod g-w");
    }
}

void lane_and_clock_stand_in_one_directory() {
    const Place place;
    const Place other;
    for (const Kind kind : kinds) {
        CHECK_SAYS(create(place.lane, other.clock, kind).error(), Errc::mismatch, place.file(Kind::clock), "clock id",
                   "take the clock of the lane's directory");
    }
}

void who_only_reads_makes_no_clock() {
    const Dir dir;
    const std::string path = dir.path() + "/pillion.clock";
    CHECK_SAYS(refused(Clock::attach(dir.path())), Errc::absent, path);
    CHECK(std::filesystem::is_empty(dir.path()));
    const Clock made = must(Clock::attach_or_create(dir.path()));
    CHECK(must(Clock::attach(dir.path())).id() == made.id() && std::abs(made.offset_ns()) < 60'000'000'000);
    if (given(path, stranger, stranger)) {
        CHECK_SAYS(refused(Clock::attach(dir.path())), Errc::untrusted, path, "uid 65534", "a directory of your own");
        CHECK_SAYS(refused(Clock::attach_or_create(dir.path())), Errc::untrusted, path, "uid 65534");
    }
}

/// By a clock that crawls or stands still a dead sidecar would look alive for ever.
void a_clock_that_does_not_run_as_time_does_is_refused() {
    namespace at = layout::clock;
    const auto planted = [](const auto& change) {
        const Place place;
        const std::uint64_t body = 512;
        std::uint64_t numbers[4] = {};
        const std::size_t offsets[4] = {at::base_raw, at::base_ns, at::mult, at::shift};
        for (std::size_t i = 0; i < 4; ++i) {
            numbers[i] = place.word(Kind::clock, body + offsets[i]);
        }
        change(numbers);
        for (std::size_t i = 0; i < 4; ++i) {
            place.scribble(Kind::clock, body + offsets[i], numbers[i]);
        }
        const std::uint64_t id =
            layout::fnv1a(layout::fnv_basis, {numbers[0], numbers[1], numbers[2], numbers[3]}) | 1U;
        place.scribble(Kind::clock, layout::header::clock_id, id);
        return Clock::attach(place.lane);
    };
    using Numbers = std::uint64_t (&)[4];
    CHECK_SAYS(refused(planted([](Numbers n) { n[2] /= 1'000; })), Errc::not_a_region, "CLOCK_MONOTONIC_RAW");
    CHECK_SAYS(refused(planted([](Numbers n) { n[2] = 1, n[3] = 64; })), Errc::not_a_region, "CLOCK_MONOTONIC_RAW");
    CHECK_SAYS(refused(planted([](Numbers n) { n[2] += n[2] / 5; })), Errc::not_a_region, "CLOCK_MONOTONIC_RAW");
    CHECK_SAYS(refused(planted([](Numbers n) { n[0] = UINT64_MAX / 2; })), Errc::not_a_region, "CLOCK_MONOTONIC_RAW");
    must(planted([](Numbers n) { n[2] += n[2] / 100; }));
    const std::int64_t hour = 3'600'000'000'000;
    const Clock behind = must(planted([](Numbers n) { n[1] -= 3'600'000'000'000U; }));
    CHECK(std::abs(behind.offset_ns() + hour) < hour / 60);
}

void the_environment_names_users() {
    const Place place;
    must(create(place.lane, place.clock, Kind::ticks));
    if (!given(place.file(Kind::ticks), stranger, stranger)) {
        return;
    }
    const auto now = [&] { return attach(must(Lane::in_dir(place.dir.path(), "test")), place.clock, Kind::ticks); };
    CHECK(::setenv("PILLION_TRUSTED_UIDS", "7, 65534", 1) == 0 && now());
    CHECK(::setenv("PILLION_TRUSTED_UIDS", "7,nobody", 1) == 0);
    CHECK_SAYS(now().error(), Errc::untrusted, "uid 7", "\"nobody\"");
    CHECK(::unsetenv("PILLION_TRUSTED_UIDS") == 0 && !now());
}

} // namespace

int main() {
    a_strangers_region_is_refused_until_he_is_named();
    what_others_may_write_is_refused();
    directories_count_too();
    only_a_users_own_group_is_nobody_else();
    lane_and_clock_stand_in_one_directory();
    who_only_reads_makes_no_clock();
    a_clock_that_does_not_run_as_time_does_is_refused();
    the_environment_names_users();
    return 0;
}
