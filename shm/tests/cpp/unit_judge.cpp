// The strategist's rules: each reason by itself, and which one wins.
#include "check.hpp"

using namespace pillion;
using namespace test;

namespace {

constexpr std::uint64_t now = 1'000'000'000'000;
constexpr std::uint64_t max_age = 1'000'000;

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
    signal.tick_ns = now - max_age;
    CHECK(of(signal).reason == Reason::fresh);
    signal.tick_ns = now - max_age - 1;
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
    const auto all = [&] { return judge(control, minute, fresh(), now, max_age); };
    owner.beat(place.clock.now_ns());
    for (const State state : {State::boot, State::fail, State::stopped}) {
        owner.set_state(state);
        CHECK(judge(control, minute).reason == Reason::not_running && all().advice == Advice::stand_down);
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
        CHECK(all().reason == Reason::heartbeat_lost && judge(control, UINT64_MAX).reason == Reason::heartbeat_lost);
        CHECK(control.heartbeat_age_ns() == Control::no_heartbeat && !control.alive(UINT64_MAX));
    }
    // Two cores' counters may differ a little.
    owner.beat(place.clock.now_ns() + max_ahead_ns / 2);
    CHECK(all().usable() && control.heartbeat_age_ns() < minute && control.alive(minute));
    owner.beat(place.clock.now_ns());
    CHECK(judge(control, minute, fresh(signal_flags::warming), now, max_age).reason == Reason::warming);
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

} // namespace

int main() {
    each_flag_has_its_rule();
    age_counts_from_the_tick();
    nonsense_is_no_signal();
    the_sidecar_is_judged_first();
    every_reason_has_its_words();
    return 0;
}
