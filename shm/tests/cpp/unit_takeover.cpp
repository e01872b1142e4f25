// Names change hands: take-over with a new generation, readers that follow, live owners that are left alone.
#include "check.hpp"

using namespace pillion;
using namespace test;

namespace {

std::vector<std::string> files(const Place& place) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(place.dir.path())) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

void a_dead_writers_name_is_taken_over_and_readers_follow() {
    const Place place;
    std::optional<TickWriter> writer = must(TickWriter::create(place.lane, place.clock, {8, 112, {}}));
    CHECK_EQ(writer->generation(), 1U);
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    CHECK(reader.owner_alive() && !reader.superseded() && reader.owner_pid() == static_cast<std::uint32_t>(::getpid()));
    static_cast<void>(writer->publish(order(0)));
    static_cast<void>(writer->publish(order(1)));
    writer.reset();
    CHECK(!reader.owner_alive() && !reader.superseded());
    CHECK_EQ(went_over(reader.follow()), false);

    writer = must(TickWriter::create(place.lane, place.clock, {16, 368, {}}));
    CHECK_EQ(writer->generation(), 2U);
    static_cast<void>(writer->publish(order(10)));
    Tick tick;
    // What was left is still there, and the mark needs no system call.
    CHECK(reader.successor() && reader.superseded() && reader.generation() == 1);
    CHECK(reader.poll(tick) == PollStatus::record && reader.poll(tick) == PollStatus::record);
    CHECK(reader.poll(tick) == PollStatus::empty);
    const std::uint64_t old_file = reader.file_number();
    CHECK_EQ(went_over(reader.follow()), true);
    CHECK(reader.file_number() != old_file && reader.generation() == 2 && reader.capacity() == 16);
    CHECK(reader.poll(tick) == PollStatus::record && tick.ring_seq == 0 && tick.as<MboMsg>()->order_id == 70);
    CHECK_EQ(tick.words, 46U);
    CHECK_EQ(went_over(reader.follow()), false);
    CHECK((files(place) == std::vector<std::string>{"pillion.clock", "pillion.test.ticks"}));
}

void losses_add_up_over_generations() {
    const Place place;
    std::optional<TickWriter> writer = must(TickWriter::create(place.lane, place.clock, {2, 112, {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    Tick tick;
    for (std::uint64_t life = 1; life <= 3; ++life) {
        for (std::uint64_t n = 0; n < 5; ++n) {
            static_cast<void>(writer->publish(order(n)));
        }
        CHECK(reader.poll(tick) == PollStatus::lost && reader.last_lost() == 3 && reader.lost() == 3 * life);
        CHECK(reader.poll(tick) == PollStatus::record && reader.poll(tick) == PollStatus::record);
        writer.reset();
        writer = must(TickWriter::create(place.lane, place.clock, {2, 112, {}}));
        CHECK_EQ(went_over(reader.follow()), true);
    }
}

void a_live_owner_is_left_alone() {
    const Place place;
    int pipe_fds[2];
    CHECK(::pipe(pipe_fds) == 0);
    const pid_t pid = child([&] {
        TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
        static_cast<void>(writer.publish(order(7)));
        CHECK(::write(pipe_fds[1], "x", 1) == 1);
        ::pause();
        return 0;
    });
    char word = 0;
    CHECK(::read(pipe_fds[0], &word, 1) == 1);
    CHECK_SAYS(refused(TickWriter::create(place.lane, place.clock)), Errc::held, place.file(Kind::ticks),
               "live process " + std::to_string(pid), "generation 1", " s (");
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    CHECK(reader.owner_alive());
    CHECK(::kill(pid, SIGKILL) == 0 && ::waitpid(pid, nullptr, 0) == pid);
    CHECK(!reader.owner_alive());
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<MboMsg>()->order_id == 49);
    TickWriter next = must(TickWriter::create(place.lane, place.clock));
    CHECK(next.generation() == 2 && reader.successor());
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}

/// Creators that race, in processes of their own: one has the name at the end, the rest were refused, nothing is left over.
void one_of_many_creators_wins() {
    const Place place;
    must(TickWriter::create(place.lane, place.clock, {4, 112, {}})); // A dead predecessor, generation 1.
    int start[2];
    int hold[2];
    CHECK(::pipe(start) == 0 && ::pipe(hold) == 0);
    std::vector<pid_t> pids;
    for (int i = 0; i < 8; ++i) {
        pids.push_back(child([&] {
            ::close(start[1]);
            ::close(hold[1]);
            char word = 0;
            CHECK(::read(start[0], &word, 1) == 0);
            auto writer = TickWriter::create(place.lane, place.clock, {4, 112, {}});
            CHECK(writer || writer.error().code == Errc::held);
            // Whoever has it holds it until all have tried.
            CHECK(!writer || ::read(hold[0], &word, 1) == 0);
            return writer ? 10 + static_cast<int>(writer->generation()) : 1;
        }));
    }
    ::close(start[1]);
    int lost = 0;
    int won = 0;
    for (int i = 0; i < 7; ++i) {
        int status = 0;
        CHECK(::wait(&status) > 0 && WIFEXITED(status));
        lost += WEXITSTATUS(status) == 1 ? 1 : 0;
    }
    ::close(hold[1]);
    int status = 0;
    CHECK(::wait(&status) > 0 && WIFEXITED(status));
    won += WEXITSTATUS(status) == 12 ? 1 : 0;
    CHECK_EQ(lost, 7);
    CHECK_EQ(won, 1);
    CHECK((files(place) == std::vector<std::string>{"pillion.clock", "pillion.test.ticks"}));
    ::close(start[0]);
    ::close(hold[0]);
}

void leftovers_beside_the_name_are_swept() {
    const Place place;
    const std::string beside = place.dir.path() + "/.pillion.test.ticks.";
    const auto leave = [](const std::string& path) {
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
        CHECK(fd >= 0);
        return detail::Fd{fd};
    };
    leave(beside + "4194305.next");
    leave(beside + "x.next");
    const detail::Fd live = leave(beside + "4194306.next");
    CHECK(::flock(live.get(), LOCK_EX) == 0);
    const TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    CHECK(!std::filesystem::exists(beside + "4194305.next"));
    CHECK(std::filesystem::exists(beside + "4194306.next") && std::filesystem::exists(beside + "x.next"));
}

void a_removed_name_is_noticed_and_comes_back_later() {
    const Place place;
    std::optional<TickWriter> writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    must(writer->unlink());
    CHECK(!reader.successor() && reader.superseded() && reader.owner_alive());
    CHECK_EQ(went_over(reader.follow()), false);
    writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    CHECK(writer->generation() == 1 && went_over(reader.follow()));
}

void a_false_mark_of_a_successor_leads_nowhere() {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    static_cast<void>(writer.publish(order(3)));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::record);
    place.scribble(Kind::ticks, layout::header::successor, 9);
    CHECK(reader.successor() && !went_over(reader.follow()) && reader.poll(tick) == PollStatus::empty);
}

void a_successor_that_cannot_be_read_leaves_the_reader_where_it_is() {
    const Place place;
    std::optional<TickWriter> writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    static_cast<void>(writer->publish(order(3)));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    writer.reset();
    writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    place.scribble(Kind::ticks, layout::header::layout_hash, 1);
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::record);
    for (int again = 0; again < 2; ++again) {
        CHECK_SAYS(refused(reader.follow()), Errc::mismatch, "layout", "0x0000000000000001");
        CHECK(reader.poll(tick) == PollStatus::empty && reader.generation() == 1 && reader.head() == 1);
    }
}

/// What was published behind the last poll that found nothing is neither lost nor passed over in silence.
void a_ring_is_followed_only_once_it_is_drained() {
    const Place place;
    std::optional<TickWriter> writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock));
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::empty);
    const auto next_life = [&](std::uint64_t records) {
        for (std::uint64_t n = 0; n < records; ++n) {
            static_cast<void>(writer->publish_at(order(n), writer->generation()));
        }
        writer.reset();
        writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    };
    next_life(1);
    CHECK(reader.superseded() && reader.pending() && !went_over(reader.follow()) && reader.generation() == 1);
    CHECK(reader.poll(tick) == PollStatus::record && tick.stamp_ns == 1 && !reader.pending());
    CHECK(went_over(reader.follow()) && reader.generation() == 2 && !reader.pending());
    // A loss is something to read too, and counted.
    next_life(6);
    CHECK(reader.pending() && !went_over(reader.follow()));
    CHECK(reader.poll(tick) == PollStatus::lost && reader.last_lost() == 2 && !went_over(reader.follow()));
    for (int i = 0; i < 4; ++i) {
        CHECK(reader.poll(tick) == PollStatus::record && went_over(reader.follow()) == (i == 3));
    }
    // Whoever does not want what is left says so.
    next_life(3);
    CHECK(!went_over(reader.follow()) && reader.skip_to_next() == 3 && went_over(reader.follow()) && reader.generation() == 4);
    // What somebody scribbled can never be read, and holds nobody back: no writer will come and heal it.
    static_cast<void>(writer->publish(order(0)));
    place.scribble(Kind::ticks, 512, 2 * 2 + 2);
    next_life(0);
    CHECK(reader.poll(tick) == PollStatus::corrupt && !reader.pending() && went_over(reader.follow()));
    CHECK_EQ(reader.generation(), 5U);
}

void handles_move() {
    const Place place;
    TickWriter one = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    TickWriter two = std::move(one);
    TickReader first = must(TickReader::attach(place.lane, place.clock, Start::first));
    TickReader second = must(TickReader::attach(place.lane, place.clock, Start::first));
    static_cast<void>(two.publish(order(1)));
    second = std::move(first);
    Tick tick;
    CHECK(second.poll(tick) == PollStatus::record && second.owner_alive());
    static_assert(!std::is_copy_constructible_v<TickWriter> && !std::is_copy_assignable_v<TickReader>);
    static_assert(!std::is_copy_constructible_v<SignalBoard> && !std::is_copy_constructible_v<Control>);
    static_assert(std::is_nothrow_move_constructible_v<TickReader> && std::is_nothrow_move_constructible_v<Control>);
}

} // namespace

int main() {
    a_dead_writers_name_is_taken_over_and_readers_follow();
    losses_add_up_over_generations();
    a_live_owner_is_left_alone();
    one_of_many_creators_wins();
    leftovers_beside_the_name_are_swept();
    a_removed_name_is_noticed_and_comes_back_later();
    a_false_mark_of_a_successor_leads_nowhere();
    a_successor_that_cannot_be_read_leaves_the_reader_where_it_is();
    a_ring_is_followed_only_once_it_is_drained();
    handles_move();
    return 0;
}
