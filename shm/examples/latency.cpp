/// How long a record takes: there over one tick ring, back over another, between two processes (or threads).
///
///   latency --count 1000000 --pin 2,3
///
/// Pin to two cores that nothing else uses, of one socket; else the tail is the scheduler's. `there` and `back` are
/// one-way times, from a record's publish stamp to the moment its reader has it: all processes share one clock.
#include "args.hpp"

#include <pillion/shm.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>

namespace {

constexpr const char* usage = R"(usage: latency [options]
  --count N    round trips to measure, at most 100000000; default 100000, after a tenth as many to warm up
  --threads    between two threads of one process; default between two processes
  --pin A,B    CPUs of the two sides; default wherever the scheduler puts them
  --mbp-10     records of 368 bytes in slots of 384 (MBP-10); default 56 bytes in 128 (MBO)
  --dir DIR    where the rings stand; default /dev/shm
)";

struct Options {
    std::uint64_t count = 0;
    int here = -1;  ///< CPU of the side that measures; -1 for any.
    int there = -1; ///< CPU of the side that answers.
    std::string dir;
    std::string lane;
};

/// Runs the calling thread on `cpu` alone.
void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET(static_cast<std::size_t>(cpu), &set);
        if (::sched_setaffinity(0, sizeof set, &set) != 0) {
            die("cannot run on CPU " + std::to_string(cpu) + "; mend: name CPUs that `taskset -p $$` allows", 2);
        }
    }
}

/// One side: the ring it writes, the ring it reads, and the record that it sends.
template <class Msg> struct Side {
    pillion::Clock clock;
    pillion::TickWriter out;
    pillion::TickReader in;
    Msg record{};
    pillion::Tick tick{};

    /// Makes the ring `name`-`own` and waits for the other side's.
    static Side open(const Options& options, const char* own, const char* other) {
        const pillion::Clock clock = must(pillion::Clock::attach_or_create(options.dir));
        const auto lane_out = must(pillion::Lane::in_dir(options.dir, options.lane + own));
        const auto lane_in = must(pillion::Lane::in_dir(options.dir, options.lane + other));
        auto out = must(pillion::TickWriter::create(lane_out, clock, {.capacity = 1024, .record_bytes = sizeof(Msg)}));
        auto in = pillion::TickReader::attach(lane_in, clock, pillion::Start::first);
        for (int look = 0; !in && in.error().code == pillion::Errc::absent && look < 1'000; ++look) {
            std::this_thread::sleep_for(std::chrono::milliseconds{5});
            in = pillion::TickReader::attach(lane_in, clock, pillion::Start::first);
        }
        Side side{clock, std::move(out), must(std::move(in))};
        side.record.hd.length = sizeof(Msg) / 4;
        side.record.hd.rtype = Msg::record_type;
        return side;
    }

    /// Spins for the next record: what a thread with a core of its own does. Yields now and then in case it has none.
    const Msg& next() {
        for (std::uint32_t spins = 1;; ++spins) {
            const pillion::PollStatus status = in.poll(tick);
            if (status == pillion::PollStatus::record) {
                return *tick.template as<Msg>();
            }
            if (status != pillion::PollStatus::empty) {
                die("a record was lost, though only one is ever under way: some other process writes these rings");
            }
            if (spins % 4'096 == 0) {
                std::this_thread::yield();
            }
            if (spins % 4'194'304 == 0 && !in.owner_alive()) {
                die("the other side is gone");
            }
        }
    }
};

/// Ends the program where a record did not fit its ring, which is made for it.
void send(const std::optional<std::uint64_t>& number) {
    if (!number) {
        die("the ring has no room for its own records");
    }
}

/// The answering side: sends each record back, with the time it took in ts_recv. A size of 1 is the end.
template <class Msg> void answer(const Options& options) {
    pin(options.there);
    auto side = Side<Msg>::open(options, "-back", "-there");
    for (bool end = false; !end;) {
        const Msg& got = side.next();
        side.record.ts_recv = side.clock.now_ns() - side.tick.stamp_ns;
        side.record.sequence = got.sequence;
        end = got.size == 1;
        send(side.out.publish(side.record));
    }
    static_cast<void>(side.out.unlink());
}

/// Prints one line of percentiles.
void report(const char* name, std::vector<std::uint64_t>& ns) {
    std::sort(ns.begin(), ns.end());
    const auto at = [&](double share) {
        return ns[std::min(ns.size() - 1, static_cast<std::size_t>(share * static_cast<double>(ns.size())))];
    };
    std::printf("%-11s", name);
    for (const std::uint64_t value : {at(0.5), at(0.9), at(0.99), at(0.999), at(0.9999), ns.back()}) {
        std::printf("%14s", grouped(value).c_str());
    }
    std::printf("\n");
}

/// The measuring side.
template <class Msg> void measure(const Options& options) {
    pin(options.here);
    auto side = Side<Msg>::open(options, "-there", "-back");
    std::vector<std::uint64_t> there(options.count);
    std::vector<std::uint64_t> back(options.count);
    std::vector<std::uint64_t> round(options.count);
    const std::uint64_t warm = options.count / 10;
    for (std::uint64_t i = 0; i < warm + options.count; ++i) {
        side.record.sequence = static_cast<std::uint32_t>(i);
        side.record.size = i + 1 == warm + options.count ? 1 : 0;
        const std::uint64_t sent_ns = side.clock.now_ns();
        send(side.out.publish_at(side.record, sent_ns));
        const Msg& got = side.next();
        const std::uint64_t now_ns = side.clock.now_ns();
        if (got.sequence != side.record.sequence) {
            die("answer " + std::to_string(got.sequence) + " to record " + std::to_string(side.record.sequence));
        }
        if (i >= warm) {
            there[i - warm] = got.ts_recv;
            back[i - warm] = now_ns - side.tick.stamp_ns;
            round[i - warm] = now_ns - sent_ns;
        }
    }
    static_cast<void>(side.out.unlink());
    std::printf("%-11s%14s%14s%14s%14s%14s%14s\n", "ns", "p50", "p90", "p99", "p99.9", "p99.99", "max");
    report("there", there);
    report("back", back);
    report("round trip", round);
}

template <class Msg> int run(const Options& options, bool threads) {
    print("latency    ", threads ? "two threads, " : "two processes, ", grouped(options.count), " round trips of ",
          sizeof(Msg), " bytes, ", options.here < 0 ? "not pinned" : "pinned to CPUs " + std::to_string(options.here),
          options.here < 0 ? "" : " and " + std::to_string(options.there), "\n");
    if (threads) {
        std::thread other{[&] { answer<Msg>(options); }};
        measure<Msg>(options);
        other.join();
        return 0;
    }
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) {
        die(std::string{"no second process: fork says "} + std::strerror(errno) + "; mend: raise `ulimit -u`, or --threads");
    }
    if (child == 0) {
        // The other side does not outlive this one, however this one ends.
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent) {
            answer<Msg>(options);
        }
        std::exit(0);
    }
    measure<Msg>(options);
    int status = 0;
    return ::waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    Args args{argc, argv, usage};
    Options options;
    options.count = args.count("--count", 100'000, 100'000'000);
    options.dir = args.text("--dir", pillion::default_dir);
    options.lane = "latency-" + std::to_string(::getpid());
    const std::string cpus = args.text("--pin", "");
    const bool threads = args.flag("--threads");
    const bool mbp_10 = args.flag("--mbp-10");
    args.finish();
    if (options.count == 0) {
        args.refuse("--count 0 measures nothing");
    }
    if (!cpus.empty()) {
        const std::size_t comma = cpus.find(',');
        if (comma == std::string::npos) {
            args.refuse("--pin wants two CPUs, such as 2,3");
        }
        options.here = static_cast<int>(args.to_count("--pin", cpus.substr(0, comma), CPU_SETSIZE - 1));
        options.there = static_cast<int>(args.to_count("--pin", cpus.substr(comma + 1), CPU_SETSIZE - 1));
    }
    pin(options.there); // Whether both CPUs are there is known before anything is made.
    pin(options.here);
    return mbp_10 ? run<pillion::Mbp10Msg>(options, threads) : run<pillion::MboMsg>(options, threads);
}
