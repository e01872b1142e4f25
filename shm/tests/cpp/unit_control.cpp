// The control page: state and liveness, counters, and a mailbox where everyone gets their own answer.
#include "check.hpp"

#include <thread>

using namespace pillion;
using namespace test;
using namespace std::chrono_literals;

namespace {

void a_page_says_what_its_owner_said() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    const Control control = must(Control::attach(place.lane, place.clock));
    CHECK(control.state() == State::boot && !control.halted() && !owner.start_halted());
    CHECK(control.heartbeat_ns() == 0 && control.heartbeat_age_ns() == UINT64_MAX && !control.alive(std::chrono::nanoseconds::max()));
    const std::uint64_t second = 1'000'000'000;
    for (const State state : {State::boot, State::run, State::halt, State::fail, State::stopped}) {
        owner.set_state(state);
        owner.beat(place.clock.now_ns());
        CHECK(control.state() == state && owner.state() == state);
        CHECK_EQ(control.alive(1min), state != State::fail && state != State::stopped);
        owner.beat(place.clock.now_ns() - 2 * second);
        CHECK(!control.alive(1s) && control.heartbeat_age_ns() >= 2 * second);
    }
    CHECK(control.halted());
    owner.set_state(State::run);
    CHECK(!control.halted() && control.owner_alive() && control.pid() == static_cast<std::uint32_t>(::getpid()));

    const Counters counters{1, 2, 3, 4, 5, 6, 7, 8};
    owner.set_counters(counters);
    CHECK(control.counters() == counters && control.counters().generation_changes == 8);
    CHECK(!control.stages());
    StageSummaries stages{};
    stages[6] = {7, 50, 90, 99, 999, 9'999, 10'000};
    owner.publish_stages(stages);
    CHECK(control.stages() == stages && std::string{stage_names[6]} == "tick_to_signal");
    place.scribble(Kind::cnc, 512 + layout::cnc::stages, 3); // A writer that died in the middle.
    CHECK(!control.stages());

    owner.set_ticks_ring(4, 100);
    owner.set_ticks_consumed(130);
    CHECK(control.ticks_consumed() == 130 && control.consumed_of(4) == 30 && control.consumed_of(3) == 0);
    place.scribble(Kind::cnc, 512 + layout::cnc::state, 77);
    CHECK(control.state() == State::fail && std::string{state_name(control.state())} == "FAIL");
}

/// Answers whatever is asked until `stop`; returns how many it answered.
class Sidecar {
public:
    Sidecar(ControlOwner& owner, std::uint64_t now_ns) : thread_{[this, &owner, now_ns] { run(owner, now_ns); }} {}
    ~Sidecar() { end(); }
    int end() {
        if (thread_.joinable()) {
            stop_ = true;
            thread_.join();
        }
        return answered_;
    }

private:
    void run(ControlOwner& owner, std::uint64_t now_ns) {
        owner.set_state(owner.halted() ? State::halt : State::run);
        owner.beat(now_ns);
        while (!stop_) {
            if (const auto request = owner.poll_mailbox()) {
                if (request->command == Command::halt) {
                    owner.set_state(State::halt);
                } else if (request->command == Command::resume) {
                    owner.set_state(State::run);
                }
                // Whose request has an odd ticket is refused, so that an answer given to another is seen.
                owner.answer(*request, !request->command ? Outcome::unknown
                                       : request->ticket % 2 == 1 && odd_refused ? Outcome::refused : Outcome::done);
                ++answered_;
            }
            std::this_thread::yield();
        }
    }

public:
    std::atomic<bool> odd_refused{false};

private:
    std::atomic<bool> stop_{false};
    std::atomic<int> answered_{0};
    std::thread thread_;
};

void an_operator_is_answered_and_sees_the_state() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    Sidecar sidecar{owner, place.clock.now_ns()};
    Control control = must(Control::attach_operator(place.lane, place.clock));
    for (int round = 0; round < 20; ++round) {
        CHECK(must(control.halt(10s)) == Outcome::done && control.halted() && control.state() == State::halt);
        CHECK(must(control.resume(10s)) == Outcome::done && !control.halted() && control.state() == State::run);
    }
    CHECK(must(control.stop(10s)) == Outcome::done);
    // A command that the owner does not know: 9, ticket 42.
    place.scribble(Kind::cnc, 512 + layout::cnc::request, 42U << 8 | 9U);
    while (place.word(Kind::cnc, 512 + layout::cnc::answers + 8 * (42 % 8)) >> 8 != 42) {
        std::this_thread::yield();
    }
    CHECK_EQ(place.word(Kind::cnc, 512 + layout::cnc::answers + 8 * (42 % 8)), 42U << 8 | 3U);
    CHECK_EQ(sidecar.end(), 42);
}

/// Operators in two processes race; each request has its own answer, and the sidecar answered each exactly once.
void two_operators_race_and_both_are_answered() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    constexpr int rounds = 150;
    const auto race = [&](Command command) {
        // From the clock on, all its own: nothing is shared but the page.
        return child([&place, command] {
            const Clock clock = must(Clock::attach_or_create(place.dir.path()));
            Control control = must(Control::attach_operator(place.lane, clock));
            for (int round = 0; round < rounds; ++round) {
                const auto answer = control.request(command, 30s);
                if (!answer) { // Descheduled while the other asked eight times: then it is told just that.
                    CHECK_SAYS(answer.error(), Errc::answer_lost, "overwritten");
                    continue;
                }
                CHECK(*answer == Outcome::done || *answer == Outcome::refused);
            }
            return 0;
        });
    };
    const pid_t one = race(Command::halt);
    const pid_t two = race(Command::resume);
    Sidecar sidecar{owner, place.clock.now_ns()};
    sidecar.odd_refused = true;
    int status = 0;
    CHECK(::waitpid(one, &status, 0) == one && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(::waitpid(two, &status, 0) == two && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_EQ(sidecar.end(), 2 * rounds);
    CHECK_EQ(place.word(Kind::cnc, 512 + layout::cnc::request) >> 8, 2U * rounds);
}

/// Threads that claim as fast as they can never hold the same ticket, and none is left out.
void a_ticket_is_claimed_once() {
    detail::Word request = 0;
    detail::Word answers[8] = {};
    constexpr std::size_t claims = 200'000;
    std::atomic<int> ready{0};
    std::vector<std::uint64_t> tickets[2];
    const auto claim = [&](std::vector<std::uint64_t>& mine) {
        for (++ready; ready < 2;) {
        }
        while (mine.size() < claims) {
            if (const std::uint64_t ticket = detail::ask(&request, answers, Command::halt); ticket != 0) {
                mine.push_back(ticket);
                detail::answer(answers, ticket, Outcome::done);
            }
        }
    };
    std::thread other{[&] { claim(tickets[1]); }};
    claim(tickets[0]);
    other.join();
    std::vector<bool> claimed(2 * claims + 1);
    for (const auto& mine : tickets) {
        for (const std::uint64_t ticket : mine) {
            CHECK(ticket < claimed.size() && !claimed[ticket]);
            claimed[ticket] = true;
        }
    }
    CHECK_EQ(request >> 8, 2 * claims);
}

void who_is_not_answered_is_told_why() {
    const Place place;
    std::optional<ControlOwner> owner = must(ControlOwner::create(place.lane, place.clock));
    const std::string pid = "process " + std::to_string(::getpid());
    Control reader = must(Control::attach(place.lane, place.clock));
    CHECK_SAYS(refused(reader.halt(0s)), Errc::denied, place.file(Kind::cnc), "attached for reading", "attach_operator");
    Control control = must(Control::attach_operator(place.lane, place.clock));
    CHECK_SAYS(refused(control.halt(5ms)), Errc::no_answer, place.file(Kind::cnc), pid, "halt within 5 ms", "heartbeat");
    // The next one waits for its turn, since the first was not answered yet: no ticket was claimed.
    CHECK_SAYS(refused(control.resume(5ms)), Errc::no_answer, "resume");
    CHECK_EQ(place.word(Kind::cnc, 512 + layout::cnc::request), 1U << 8 | 1U);
    // Eight later answers overwrite the first one's, and none of them is taken for it.
    detail::Word answers[8] = {};
    Outcome outcome{};
    CHECK(detail::answered(answers, 5, outcome) == detail::Waiting::pending);
    for (std::uint64_t ticket = 1; ticket <= 12; ++ticket) {
        detail::answer(answers, ticket, Outcome::done);
    }
    CHECK(detail::answered(answers, 5, outcome) == detail::Waiting::answered && outcome == Outcome::done);
    CHECK(detail::answered(answers, 4, outcome) == detail::Waiting::overwritten);
    CHECK(detail::answered(answers, 13, outcome) == detail::Waiting::pending);
    owner.reset();
    CHECK_SAYS(refused(control.request(Command::halt, 10s)), Errc::no_owner, place.file(Kind::cnc), pid, "start the sidecar");
    CHECK_SAYS(refused(control.stop(10s)), Errc::no_owner, place.file(Kind::cnc), pid, "start the sidecar");
}

/// An owner that answers and ends as asked between the operator's look and its question who lives has answered; so has one
/// that answers just when time is up.
void an_answer_in_the_last_moment_is_taken() {
    detail::Word request = 0;
    detail::Word answers[8] = {};
    for (std::uint64_t ticket = 1; ticket <= 20; ++ticket) {
        const bool lives = ticket % 2 == 0;
        Outcome outcome{};
        const auto answer_now = [&] {
            detail::answer(answers, ticket, Outcome::refused);
            return lives;
        };
        const auto ending = detail::ask_and_wait(&request, answers, Command::stop, 0s, outcome, answer_now);
        CHECK(ending == detail::Ending::answered && outcome == Outcome::refused);
    }
    Outcome outcome{};
    const auto gone = [] { return false; };
    const auto silent = [] { return true; };
    CHECK(detail::ask_and_wait(&request, answers, Command::stop, 0s, outcome, gone) == detail::Ending::no_owner);
    CHECK(detail::ask_and_wait(&request, answers, Command::stop, 0s, outcome, silent) == detail::Ending::no_answer);
}

/// A RESUME without an answer is withdrawn: the owner finds a HALT in its place and refuses. One that the owner has taken is not;
/// and a HALT waits for no RESUME.
void a_resume_that_is_late_is_withdrawn() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    owner.set_halted(true);
    Control control = must(Control::attach_operator(place.lane, place.clock));
    CHECK(refused(control.resume(10ms)).code == Errc::no_answer);
    const auto late = owner.poll_mailbox();
    CHECK(late && late->command == Command::halt && late->withdrawn && owner.take(*late));
    owner.answer(*late, Outcome::done);
    CHECK_EQ(place.word(Kind::cnc, 512 + layout::cnc::answers + 8), 1U << 8 | 2U);

    detail::Word request = 1U << 8 | 2U;
    detail::Word answers[8] = {};
    const auto asked = detail::waiting(&request, 0);
    CHECK_EQ(detail::ask(&request, answers, Command::halt), 0U);
    CHECK(!detail::take(&request, *asked) && detail::waiting(&request, 0)->withdrawn);
    request = 1U << 8 | 2U;
    CHECK(detail::take(&request, *asked));
    Outcome outcome{};
    const auto taken_now = [&] {
        const auto next = detail::waiting(&request, 1);
        if (next && next->command == Command::resume && detail::take(&request, *next)) {
            detail::answer(answers, 2, Outcome::done);
        }
        return true;
    };
    detail::answer(answers, 1, Outcome::done);
    CHECK(detail::ask_and_wait(&request, answers, Command::resume, 0s, outcome, taken_now) == detail::Ending::answered);
}

/// Ticket 0 is nobody's: a request word that somebody scribbled full of ones is answered, and then comes 1.
void behind_the_last_ticket_comes_the_first() {
    detail::Word request = UINT64_MAX;
    detail::Word answers[8] = {};
    CHECK_EQ(detail::ask(&request, answers, Command::halt), 0U);
    const auto odd = detail::waiting(&request, 0);
    CHECK(odd && !odd->command && odd->ticket == UINT64_MAX >> 8);
    detail::answer(answers, odd->ticket, Outcome::unknown);
    CHECK_EQ(detail::ask(&request, answers, Command::halt), 1U);
    CHECK_EQ(request, 1U << 8 | 1U);
    const auto asked = detail::waiting(&request, odd->ticket);
    CHECK(asked && asked->ticket == 1 && asked->command == Command::halt);
    detail::answer(answers, 1, Outcome::done);
    Outcome outcome{};
    CHECK(detail::answered(answers, 1, outcome) == detail::Waiting::answered && outcome == Outcome::done);
}

/// An operator whose answer was overwritten while it slept is told so: the page has nine later ones.
void a_lost_answer_is_told() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    Control control = must(Control::attach_operator(place.lane, place.clock));
    std::thread other{[&] {
        while (place.word(Kind::cnc, 512 + layout::cnc::request) == 0) {
            std::this_thread::yield();
        }
        place.scribble(Kind::cnc, 512 + layout::cnc::answers + 8, 9U << 8 | 1U);
    }};
    CHECK_SAYS(refused(control.halt(30s)), Errc::answer_lost, place.file(Kind::cnc), "halt", "read the state");
    other.join();
}

void a_halt_outlives_its_sidecar() {
    const Place place;
    std::optional<ControlOwner> owner = must(ControlOwner::create(place.lane, place.clock));
    owner->set_state(State::halt);
    owner->set_state(State::fail);
    for (int life = 2; life < 5; ++life) {
        owner.reset();
        owner = must(ControlOwner::create(place.lane, place.clock));
        CHECK(owner->start_halted() && owner->halted() && owner->state() == State::boot);
        CHECK_EQ(owner->generation(), static_cast<std::uint64_t>(life));
        CHECK(must(Control::attach(place.lane, place.clock)).halted());
    }
    owner->set_state(State::run);
    owner.reset();
    owner = must(ControlOwner::create(place.lane, place.clock));
    CHECK(!owner->start_halted());
    owner->set_halted(true);
    CHECK(owner->halted() && owner->state() == State::boot);
    owner->set_halted(false);
    // A page whose layout is not known counts as halted.
    owner.reset();
    place.scribble(Kind::cnc, layout::header::layout_hash, 1);
    owner = must(ControlOwner::create(place.lane, place.clock));
    CHECK(owner->start_halted() && owner->halted());
}

/// The kill switch when the sidecar is down: the next one starts halted, or not, as was ordered.
void a_dead_sidecars_lane_is_halted_and_resumed() {
    const Place place;
    std::optional<ControlOwner> owner = must(ControlOwner::create(place.lane, place.clock));
    owner->set_state(State::run);
    owner->beat(place.clock.now_ns());
    owner.reset();
    Control control = must(Control::attach_operator(place.lane));
    const Control look = must(Control::attach(place.lane, place.clock));
    CHECK(judge(look, 1h).reason == Reason::fresh);
    CHECK(must(control.halt()) == Outcome::done && control.halted() && look.halted() && !look.owner_alive());
    CHECK(look.state() == State::run && judge(look, 1h).reason == Reason::halted);
    owner = must(ControlOwner::create(place.lane, place.clock));
    CHECK(owner->start_halted() && owner->state() == State::boot);
    CHECK(judge(must(Control::attach(place.lane, place.clock)), 1h).reason == Reason::halted);
    owner.reset();
    // This operator's page has been taken over since: the order reaches whoever has the name.
    CHECK(must(control.resume()) == Outcome::done && control.generation() == 2);
    owner = must(ControlOwner::create(place.lane, place.clock));
    CHECK(!owner->start_halted() && owner->generation() == 3);
    Sidecar sidecar{*owner, place.clock.now_ns()};
    CHECK(must(control.halt(10s)) == Outcome::done && control.generation() == 3 && owner->halted());
    CHECK_EQ(sidecar.end(), 1);
    owner.reset();
    CHECK(::unlink(place.file(Kind::cnc).c_str()) == 0);
    CHECK_SAYS(refused(control.halt()), Errc::absent, place.file(Kind::cnc));
}

/// A HALT and a take-over at once: whoever comes first, the sidecar that has the name at the end is halted.
void a_halt_is_never_lost_between_two_sidecars() {
    const Place place;
    for (int round = 0; round < 100; ++round) {
        {
            ControlOwner before = must(ControlOwner::create(place.lane, place.clock));
            before.set_halted(false);
        }
        Control control = must(Control::attach_operator(place.lane));
        std::optional<ControlOwner> next;
        std::optional<Sidecar> sidecar;
        std::thread heir{[&] {
            next = must(ControlOwner::create(place.lane, place.clock));
            sidecar.emplace(*next, place.clock.now_ns());
        }};
        CHECK(must(control.halt(20s)) == Outcome::done);
        heir.join();
        CHECK(next->halted());
        sidecar->end();
    }
}

/// Whatever became of the clock's file, orders are taken; only ages are unknown.
void orders_need_no_clock() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    owner.beat(place.clock.now_ns());
    Sidecar sidecar{owner, place.clock.now_ns()};
    CHECK(::unlink(place.file(Kind::clock).c_str()) == 0);
    CHECK_SAYS(refused(Clock::attach(place.lane)), Errc::absent, place.file(Kind::clock));
    Control control = must(Control::attach_operator(place.lane));
    CHECK(must(control.halt(10s)) == Outcome::done && control.heartbeat_age_ns() == Control::no_heartbeat);
    const Clock other = must(Clock::attach_or_create(place.lane));
    CHECK(other.id() != place.clock.id());
    CHECK_SAYS(place.clock.check_lane(place.lane).error(), Errc::mismatch, place.file(Kind::clock), "clock id");
    CHECK_SAYS(refused(Control::attach(place.lane, other)), Errc::mismatch, "clock id");
    Control late = must(Control::attach_operator(place.lane, other));
    CHECK(must(late.resume(10s)) == Outcome::done && !late.beats(1h) && !late.halted());
    CHECK(must(Control::attach_any_clock(place.lane)).state() == State::run);
    CHECK(must(Control::attach_operator(place.lane, place.clock)).beats(1h));
    CHECK_EQ(sidecar.end(), 2);
}

void a_page_too_small_is_refused() {
    const Place place;
    { const ControlOwner owner = must(ControlOwner::create(place.lane, place.clock)); }
    CHECK(::truncate(place.file(Kind::cnc).c_str(), 1'024) == 0);
    place.scribble(Kind::cnc, layout::header::region_bytes, 1'024);
    CHECK_SAYS(refused(Control::attach(place.lane, place.clock)), Errc::not_a_region, "512 bytes", "768");
}

} // namespace

int main() {
    a_page_says_what_its_owner_said();
    an_operator_is_answered_and_sees_the_state();
    two_operators_race_and_both_are_answered();
    a_ticket_is_claimed_once();
    who_is_not_answered_is_told_why();
    an_answer_in_the_last_moment_is_taken();
    a_resume_that_is_late_is_withdrawn();
    behind_the_last_ticket_comes_the_first();
    a_lost_answer_is_told();
    a_halt_outlives_its_sidecar();
    a_dead_sidecars_lane_is_halted_and_resumed();
    a_halt_is_never_lost_between_two_sidecars();
    orders_need_no_clock();
    a_page_too_small_is_refused();
    return 0;
}
