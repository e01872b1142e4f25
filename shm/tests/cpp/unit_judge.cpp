// The strategist's rules: each reason by itself, and which one wins.
#include "check.hpp"

using namespace pillion;
using namespace test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t now = 1'000'000'000'000;
constexpr std::chrono::nanoseconds max_age = 1ms;

constexpr Signal fresh(std::uint32_t flags = 0) {
    Signal signal{};
    signal.tick_ns = now - 2'000;
    signal.signal_ns = now - 1'000;
    signal.outputs_len = 3;
    signal.flags = flags;
    return signal;
}

constexpr Judgement of(const Signal& signal) { return judge(signal, now, max_age); }

// The rules hold at compile time: they depend on nothing but their arguments.
static_assert(of(fresh()).advice == Advice::use && of(fresh()).usable());
static_assert(!Judgement{}.usable());

void each_flag_has_its_rule() {
    namespace flag = signal_flags;
    const struct {
        std::uint32_t flag;
        Advice advice;
        Reason reason;
    } rules[] = {
        {flag::over_budget, Advice::use_warily, Reason::over_budget}, {flag::conflated, Advice::use_warily, Reason::conflated},
        {flag::shadow, Advice::ignore, Reason::shadow},               {flag::invalid, Advice::ignore, Reason::invalid},
        {flag::warming, Advice::ignore, Reason::warming},             {flag::after_gap, Advice::ignore, Reason::after_gap},
        {flag::catching_up, Advice::ignore, Reason::catching_up},     {flag::halted, Advice::stand_down, Reason::halted},
    };
    std::uint32_t before = 0;
    for (const auto& rule : rules) {
        const Judgement alone = of(fresh(rule.flag));
        CHECK(alone.advice == rule.advice && alone.reason == rule.reason);
        CHECK_EQ(alone.usable(), rule.advice == Advice::use_warily);
        // Each is graver than all before it.
        before |= rule.flag;
        CHECK(of(fresh(before)).reason == rule.reason);
        CHECK(fresh(before).has(rule.flag));
    }
    // A flag of a later version is no reason by itself.
    CHECK(of(fresh(std::uint32_t{1} << 31)).advice == Advice::use);
}

void age_counts_from_the_tick() {
    Signal signal = fresh();
    CHECK(age_ns(signal, now) == 2'000 && latency_ns(signal) == 1'000 && age_ns(signal, 5) == 0);
    signal.tick_ns = now - 1'000'000;
    CHECK(of(signal).reason == Reason::fresh);
    signal.tick_ns = now - 1'000'001;
    CHECK(of(signal).reason == Reason::stale && of(signal).advice == Advice::stand_down);
    // However fresh the signal's own stamp, and whatever its flags.
    signal.signal_ns = now;
    signal.flags = signal_flags::warming;
    CHECK(of(signal).reason == Reason::stale);
    signal.flags = signal_flags::halted;
    CHECK(of(signal).reason == Reason::halted);
}

void nonsense_is_no_signal() {
    Signal signal = fresh();
    signal.outputs_len = 0;
    CHECK(of(signal).reason == Reason::malformed && !of(signal).usable());
    signal.outputs_len = 17;
    CHECK(of(signal).reason == Reason::malformed);
    signal = fresh();
    signal.signal_ns = now + max_ahead_ns;
    CHECK(of(signal).reason == Reason::fresh);
    signal.signal_ns = now + max_ahead_ns + 1;
    CHECK(of(signal).reason == Reason::malformed);
    signal = fresh();
    signal.tick_ns = UINT64_MAX;
    CHECK(of(signal).reason == Reason::malformed);
    CHECK(of(Signal{}).reason == Reason::malformed);
}

void the_sidecar_is_judged_first() {
    const Place place;
    ControlOwner owner = must(ControlOwner::create(place.lane, place.clock));
    const Control control = must(Control::attach(place.lane, place.clock));
    const std::uint64_t minute = 60'000'000'000;
    constexpr Limits limits{.heartbeat = 1min, .tick = max_age};
    const auto all = [&] { return judge(control, fresh(), now, limits); };
    owner.beat(place.clock.now_ns());
    for (const State state : {State::boot, State::fail, State::stopped}) {
        owner.set_state(state);
        CHECK(judge(control, 1min).reason == Reason::not_running && all().advice == Advice::stand_down);
    }
    owner.set_state(State::halt);
    CHECK(all().reason == Reason::halted);
    owner.set_state(State::fail); // The HALT is still in force.
    CHECK(all().reason == Reason::halted);
    owner.set_state(State::run);
    CHECK(all().reason == Reason::fresh && all().usable());
    owner.set_halted(true);
    CHECK(all().reason == Reason::halted);
    owner.set_halted(false);
    owner.beat(place.clock.now_ns() - 2 * minute);
    CHECK(all().reason == Reason::heartbeat_lost && !all().usable());
    // A heartbeat from the future is none, however long one would wait.
    for (const std::uint64_t beat : {place.clock.now_ns() + minute, UINT64_MAX, std::uint64_t{0}}) {
        owner.beat(beat);
        CHECK(all().reason == Reason::heartbeat_lost && judge(control, std::chrono::nanoseconds::max()).reason == Reason::heartbeat_lost);
        CHECK(control.heartbeat_age_ns() == Control::no_heartbeat && !control.alive(std::chrono::nanoseconds::max()));
    }
    // Two cores' counters may differ a little.
    owner.beat(place.clock.now_ns() + max_ahead_ns / 2);
    CHECK(all().usable() && control.heartbeat_age_ns() < minute && control.alive(1min));
    owner.beat(place.clock.now_ns());
    CHECK(judge(control, fresh(signal_flags::warming), now, limits).reason == Reason::warming);
    Signal own = fresh();
    own.tick_ns = place.clock.now_ns();
    CHECK(age_ns(own, place.clock) < minute);
}

void every_reason_has_its_words() {
    std::vector<std::string> said;
    for (int reason = 0; reason <= static_cast<int>(Reason::heartbeat_lost); ++reason) {
        said.emplace_back(Judgement{Advice::use, static_cast<Reason>(reason)}.text());
        CHECK(said.back() != "unknown" && std::count(said.begin(), said.end(), said.back()) == 1);
    }
}

/// What is logged is a word, for each value of each of these, and no two have the same.
void every_outcome_has_its_name() {
    const std::string words[][6] = {
        {poll_status_name(PollStatus::empty), poll_status_name(PollStatus::record), poll_status_name(PollStatus::lost),
         poll_status_name(PollStatus::corrupt), poll_status_name(PollStatus::truncated), poll_status_name(PollStatus::too_small)},
        {board_status_name(BoardStatus::value), board_status_name(BoardStatus::never), board_status_name(BoardStatus::busy),
         board_status_name(BoardStatus::no_such_cell), "-", "--"},
        {advice_name(Advice::use), advice_name(Advice::use_warily), advice_name(Advice::ignore),
         advice_name(Advice::stand_down), follow_name(Follow::stayed), follow_name(Follow::followed)},
        {outcome_name(Outcome::done), outcome_name(Outcome::refused), "-", "--", "---", "----"},
    };
    for (const auto& names : words) {
        for (const std::string& name : names) {
            CHECK(!name.empty() && name != "unknown" && std::count(std::begin(names), std::end(names), name) == 1);
        }
    }
    CHECK(outcome_name(Outcome::unknown) == std::string{"unknown"});
    CHECK(poll_status_name(static_cast<PollStatus>(99)) == std::string{"unknown"});
}

/// A limit of less than nothing lets nothing through, and swapped ones do not compile as anything else.
void a_negative_limit_lets_nothing_through() {
    CHECK(judge(fresh(), now, -1ns).reason == Reason::stale);
    static_assert(!std::is_invocable_v<decltype([](auto... args) -> decltype(judge(args...)) { return judge(args...); }),
                                       Signal, std::uint64_t, std::uint64_t>);
}

} // namespace

int main() {
    each_flag_has_its_rule();
    age_counts_from_the_tick();
    nonsense_is_no_signal();
    the_sidecar_is_judged_first();
    every_reason_has_its_words();
    every_outcome_has_its_name();
    a_negative_limit_lets_nothing_through();
    return 0;
}
