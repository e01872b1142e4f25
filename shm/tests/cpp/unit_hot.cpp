// The path of a record: no exception, no allocation, no system call.
#include "check.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <cstddef>
#include <sys/prctl.h>

namespace {
std::size_t allocations = 0;
} // namespace

void* operator new(std::size_t bytes) {
    ++allocations;
    void* at = std::malloc(bytes);
    CHECK(at != nullptr);
    return at;
}
// Not inlined: gcc would see new without its malloc, and warn of the free.
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { std::free(at); }

using namespace pillion;
using namespace test;

namespace {

template <class T> T& any() noexcept;

static_assert(noexcept(any<TickWriter>().publish(any<MboMsg>())) && noexcept(any<TickWriter>().publish_bytes({})));
static_assert(noexcept(any<TickReader>().poll(any<Tick>())) && noexcept(any<TickReader>().poll_batch({})));
static_assert(noexcept(any<TickReader>().successor()) && noexcept(any<TickReader>().check()));
static_assert(noexcept(any<SignalWriter>().publish(any<Signal>())) && noexcept(any<SignalReader>().poll(any<Signal>())));
static_assert(noexcept(any<SignalReader>().poll_batch({})) && noexcept(any<BoardWriter>().set(0, 0, any<Signal>())));
static_assert(noexcept(any<SignalBoard>().latest(Cell{}, any<Signal>())) && noexcept(any<Clock>().now_ns()));
static_assert(noexcept(any<Control>().alive({})) && noexcept(any<ControlOwner>().poll_mailbox()));
static_assert(noexcept(judge(any<Control>(), any<Signal>(), 1, Limits{})));

struct Handles {
    TickWriter writer;
    TickReader reader;
    SignalWriter signals;
    SignalReader signal_reader;
    BoardWriter board;
    SignalBoard last;
    ControlOwner owner;
    Control control;
};

/// Each hot call, over laps and losses; how many records came.
std::size_t all_hot_calls(Handles& h, const Clock& clock) {
    static Tick ticks[4];
    static Signal signals[4];
    Tick tick;
    Signal signal{};
    signal.outputs_len = 1;
    MboMsg mbo{};
    std::uint64_t stamp_ns = 0;
    std::size_t records = 0;
    for (std::uint64_t n = 0; n < 1'000; ++n) {
        for (std::uint64_t i = 0; i < n % 13; ++i) {
            static_cast<void>(h.writer.publish(mbo));
            static_cast<void>(h.writer.publish_bytes(std::as_bytes(std::span{&mbo, 1})));
            signal.tick_ns = clock.now_ns();
            h.signals.publish(signal);
            h.board.set(0, 0, signal);
        }
        records += h.reader.poll(tick) == PollStatus::record ? 1U : 0U;
        records += h.reader.poll_as(mbo, stamp_ns) == PollStatus::record ? 1U : 0U;
        records += h.reader.poll_batch(ticks).records;
        records += h.reader.visit([](const Tick& one) { CHECK(one.words == 14); }, 2).records;
        records += h.signal_reader.poll(signal) == PollStatus::record ? 1U : 0U;
        records += h.signal_reader.poll_batch(signals).records;
        records += h.signal_reader.visit([](const Signal&) {}, 2).records;
        records += h.last.latest(Cell{0, 0}, signal) == BoardStatus::value ? 1U : 0U;
        h.owner.beat(clock.now_ns());
        h.owner.set_ticks_consumed(n);
        CHECK(h.control.alive(std::chrono::hours{1}) && !h.reader.successor() && h.reader.check() && !h.owner.poll_mailbox());
        CHECK(!judge(h.control, signal, clock.now_ns(), Limits{}).usable() && h.control.counters().events == 0);
    }
    return records;
}

/// From here on the kernel kills this process at any call but exit. (Strict mode would also forbid the counter.)
bool only_exit_is_allowed() {
    struct sock_filter filter[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_exit},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
    };
    const struct sock_fprog program {4, filter};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

} // namespace

int main() {
    const Place place;
    SignalTables tables;
    tables.instruments.resize(1);
    tables.models.resize(1);
    Handles handles{must(TickWriter::create(place.lane, place.clock, {8, 112, {}})),
                    must(TickReader::attach(place.lane, place.clock)),
                    must(SignalWriter::create(place.lane, place.clock, tables, {8, {}})),
                    must(SignalReader::attach(place.lane, place.clock)),
                    must(BoardWriter::create(place.lane, place.clock, tables)),
                    must(SignalBoard::attach(place.lane, place.clock)),
                    must(ControlOwner::create(place.lane, place.clock)),
                    must(Control::attach(place.lane, place.clock))};
    CHECK(allocations > 0);
    const std::size_t before = allocations;
    CHECK(all_hot_calls(handles, place.clock) > 1'000);
    CHECK(handles.reader.lost() > 0 && handles.signal_reader.lost() > 0);
    CHECK_EQ(allocations, before);
    if (place.clock.counter() == Counter::monotonic) {
        std::cout << "no invariant counter here: CLOCK_MONOTONIC may be a system call" << std::endl;
        return skipped;
    }
    const pid_t pid = child([&]() -> int {
        if (!only_exit_is_allowed()) {
            return skipped;
        }
        all_hot_calls(handles, place.clock);
        ::syscall(SYS_exit, 0);
        return 1;
    });
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status) == skipped) {
        std::cout << "seccomp is refused here, so that system calls of hot calls cannot be seen" << std::endl;
        return skipped;
    }
    CHECK_EQ(WEXITSTATUS(status), 0);
    return 0;
}
