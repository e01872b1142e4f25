/// @file
/// One clock for all processes of a boot: the invariant counter, and one conversion to ns that everybody shares.
///
/// Whoever makes the first region calibrates and leaves the numbers in `pillion.clock`; the others read them. Every rule about
/// age rests on that file, so it is believed only of an owner who counts, and only if it runs as fast as the kernel's clock
/// does. So stamps of different processes differ by no more than their counters do, and a step of the wall clock moves nothing. Against the wall
/// clock they drift by the calibration's error of about a ppm.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "region.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pillion {

/// Stamps may lie ahead of a reader's clock by no more than this: counters of two cores differ by less than 1 µs.
inline constexpr std::uint64_t max_ahead_ns = 1'000'000;

/// Which counter a clock reads; the number stands in the clock's region.
enum class Counter : std::uint64_t {
    unsaid = 0,    ///< Version 1 did not say.
    tsc = 1,       ///< x86's invariant time stamp counter.
    cntvct = 2,    ///< Arm's virtual counter.
    monotonic = 3, ///< CLOCK_MONOTONIC in ns, where there is no such counter.
};

/// The counter numbered `number` in a clock's region, for messages.
[[nodiscard]] constexpr const char* counter_name(std::uint64_t number) noexcept {
    constexpr const char* names[] = {"an unsaid counter", "the time stamp counter (TSC)",
                                     "the virtual counter (CNTVCT)", "CLOCK_MONOTONIC"};
    return number < 4 ? names[number] : "an unknown counter";
}

/// The conversion from the raw counter to ns since the epoch. Plain numbers, copied freely.
class Clock {
public:
    /// The clock of this boot in `dir`: for whoever reads. Who makes a region makes the clock: wait for one, or say that there
    /// is none. Fails with absent (nobody has made one since the machine started: try again), untrusted, not_a_region (also for
    /// one that does not run as fast as CLOCK_MONOTONIC_RAW does), mismatch (of another counter), denied, io.
    [[nodiscard]] static Result<Clock> attach(const std::string& dir = default_dir) { return attach(dir, Trust::own()); }
    /// The same in the directory of `lane`, of those whom it trusts.
    [[nodiscard]] static Result<Clock> attach(const Lane& lane) { return attach(lane.dir(), lane.trust()); }

    /// The clock of this boot in `dir`, made if nobody has made it yet (which takes some 150 ms): for whoever makes regions.
    /// Fails as `attach`, and with no_space.
    [[nodiscard]] static Result<Clock> attach_or_create(const std::string& dir = default_dir) {
        return attach_or_create(dir, Trust::own());
    }
    /// The same in the directory of `lane`, of those whom it trusts.
    [[nodiscard]] static Result<Clock> attach_or_create(const Lane& lane) {
        return attach_or_create(lane.dir(), lane.trust());
    }

    /// Whether the clock that stands in the directory of `lane` now is this one. Fails with absent when it is gone, mismatch
    /// when another has its place, or as `attach`.
    [[nodiscard]] Status check_lane(const Lane& lane) const;

    /// ns that this clock is ahead of the wall clock now; less than 0 behind it. It was set by the wall clock when it was made,
    /// and steps of that since show here.
    [[nodiscard]] std::int64_t offset_ns() const noexcept {
        const Look now = look(CLOCK_REALTIME, check_readings);
        return static_cast<std::int64_t>(ns(now.raw) - now.ns);
    }

    /// Now, in ns since the epoch. No system call; some 10 to 20 ns.
    [[nodiscard]] std::uint64_t now_ns() const noexcept { return ns(raw()); }

    /// The counter now.
    [[nodiscard]] std::uint64_t raw() const noexcept {
#if defined(__x86_64__)
        if (counter_ == Counter::tsc) [[likely]] {
            return __builtin_ia32_rdtsc();
        }
#elif defined(__aarch64__)
        if (counter_ == Counter::cntvct) [[likely]] {
            std::uint64_t value;
            __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(value));
            return value;
        }
#endif
        return detail::system_ns(CLOCK_MONOTONIC);
    }

    /// `raw` in ns since the epoch; never less for a later `raw`, and the base for any before it.
    [[nodiscard]] std::uint64_t ns(std::uint64_t raw) const noexcept { return base_ns_ + span_ns(base_raw_, raw); }

    /// ns from `raw_from` to `raw_to`, 0 when they are the wrong way round.
    [[nodiscard]] std::uint64_t span_ns(std::uint64_t raw_from, std::uint64_t raw_to) const noexcept {
        // 64 × 64 bits never overflow 128, and the result fits 64 for as long as ns since the epoch do (until 2554).
        const auto counts = static_cast<Wide>(raw_to > raw_from ? raw_to - raw_from : 0);
        return static_cast<std::uint64_t>((counts * mult_) >> shift_);
    }

    /// Id of the conversion, in the header of every region whose stamps are on it; never 0.
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    /// The counter that it reads.
    [[nodiscard]] Counter counter() const noexcept { return counter_; }

    /// The counter that this machine would use.
    [[nodiscard]] static Counter best_counter() noexcept;

private:
    __extension__ using Wide = unsigned __int128;
    struct Look {
        std::uint64_t raw;
        std::uint64_t ns;
    };

    /// Readings per look at a clock that somebody else calibrated.
    static constexpr int check_readings = 20;

    Clock() = default;
    [[nodiscard]] static Result<Clock> attach(const std::string& dir, const Trust& trust);
    [[nodiscard]] static Result<Clock> attach_or_create(const std::string& dir, const Trust& trust);
    [[nodiscard]] static Result<std::optional<detail::Region>> find(const std::string& path, const Trust& trust);
    [[nodiscard]] static Clock calibrate() noexcept;
    [[nodiscard]] Look look(clockid_t reference, int readings = 200) const noexcept;
    [[nodiscard]] Status check_rate(const detail::Region& region) const;
    void convert(std::uint64_t counts, std::uint64_t ns) noexcept;
    [[nodiscard]] std::uint64_t fingerprint() const noexcept {
        return layout::fnv1a(layout::fnv_basis, {base_raw_, base_ns_, mult_, shift_}) | 1U;
    }
    [[nodiscard]] Status offer(const std::string& path, const std::array<unsigned char, 16>& boot,
                               const Trust& trust) const;
    [[nodiscard]] static Result<Clock> read(const detail::Region& region);

    Counter counter_ = Counter::unsaid;
    std::uint64_t id_ = 0;
    std::uint64_t base_raw_ = 0;
    std::uint64_t base_ns_ = 0;
    std::uint64_t mult_ = 1;
    std::uint32_t shift_ = 0;
};

inline Counter Clock::best_counter() noexcept {
#if defined(__x86_64__)
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    const bool invariant = __get_cpuid(0x8000'0007U, &a, &b, &c, &d) != 0 && (d & (1U << 8)) != 0;
    const bool rdtscp = __get_cpuid(0x8000'0001U, &a, &b, &c, &d) != 0 && (d & (1U << 27)) != 0;
    return invariant && rdtscp ? Counter::tsc : Counter::monotonic;
#elif defined(__aarch64__)
    return Counter::cntvct;
#else
    return Counter::monotonic;
#endif
}

inline Clock Clock::calibrate() noexcept {
    constexpr std::uint64_t span = 150'000'000; // At a look's error of some 30 ns, this is 0.2 ppm.
    Clock clock;
    clock.counter_ = best_counter();
    const Look from = clock.look(CLOCK_MONOTONIC_RAW);
    const Look wall = clock.look(CLOCK_REALTIME);
    detail::sleep_ns(span);
    const Look to = clock.look(CLOCK_MONOTONIC_RAW);
    clock.convert(to.raw > from.raw ? to.raw - from.raw : 1, to.ns > from.ns ? to.ns - from.ns : 1);
    clock.base_raw_ = wall.raw;
    clock.base_ns_ = wall.ns;
    clock.id_ = clock.fingerprint();
    return clock;
}

/// Counter and reference at the same moment, as well as one can tell: the reading with the least time around it.
inline Clock::Look Clock::look(clockid_t reference, int readings) const noexcept {
    Look best{0, 0};
    std::uint64_t least = UINT64_MAX;
    for (int reading = 0; reading < readings; ++reading) {
        const std::uint64_t before = raw();
        const std::uint64_t ns = detail::system_ns(reference);
        const std::uint64_t after = raw();
        const std::uint64_t width = after > before ? after - before : 0;
        if (width < least) {
            least = width;
            best = Look{before + width / 2, ns};
        }
    }
    return best;
}

/// Sets ns / counts as mult / 2^shift with as many bits as mult holds.
inline void Clock::convert(std::uint64_t counts, std::uint64_t ns) noexcept {
    for (shift_ = 64; shift_ > 0; --shift_) {
        const Wide mult = ((static_cast<Wide>(ns) << shift_) + counts / 2) / counts;
        if (mult <= UINT64_MAX) {
            mult_ = static_cast<std::uint64_t>(mult);
            return;
        }
    }
    mult_ = 1;
}

/// Puts this clock under `path`, unless one of this boot is there.
inline Status Clock::offer(const std::string& path, const std::array<unsigned char, 16>& boot, const Trust& trust) const {
    // Readable for all: it is no secret, and every user's stamps must be on the same clock.
    const detail::Plan plan{path, trust, Kind::clock, id_, now_ns(), 0, 0, 0, {}, layout::clock::bytes,
                            Access{0644, -1, LockMemory::no}};
    Result<detail::Region> region = detail::Region::build(plan);
    if (!region) {
        return region.error();
    }
    detail::Word* body = region->body_mut();
    // Relaxed: readers come through the name, which the region gets only now.
    detail::store(body + layout::clock::base_raw / 8, base_raw_);
    detail::store(body + layout::clock::base_ns / 8, base_ns_);
    detail::store(body + layout::clock::mult / 8, mult_);
    detail::store(body + layout::clock::shift / 8, shift_);
    detail::store(body + layout::clock::counter / 8, static_cast<std::uint64_t>(counter_));
    Result<bool> installed = region->install([&](detail::Region&, const detail::Predecessor* old) {
        return old == nullptr || old->header.boot_id != boot;
    });
    return installed ? Status{} : Status{installed.error()};
}

inline Result<Clock> Clock::read(const detail::Region& region) {
    const auto refused = [&](const std::string& found) { return region.header().contradiction(region.path(), found); };
    if (region.body_bytes() < layout::clock::bytes) {
        return refused("a clock without a body");
    }
    const auto number = [&](std::size_t offset) { return detail::load(region.body() + offset / 8); };
    Clock clock;
    clock.counter_ = best_counter();
    clock.base_raw_ = number(layout::clock::base_raw);
    clock.base_ns_ = number(layout::clock::base_ns);
    clock.mult_ = number(layout::clock::mult);
    const std::uint64_t shift = number(layout::clock::shift);
    clock.shift_ = shift <= 64 ? static_cast<std::uint32_t>(shift) : 64;
    clock.id_ = region.header().clock_id;
    if (clock.mult_ == 0 || shift > 64 || clock.fingerprint() != clock.id_) {
        return refused("a clock whose numbers do not make its id " + detail::hex(clock.id_));
    }
    const std::uint64_t counter = number(layout::clock::counter); // 0 in version 1, which did not say.
    if (counter != 0 && counter != static_cast<std::uint64_t>(clock.counter_)) {
        return region.header().mismatch(
            region.path(), "counter", counter_name(counter), counter_name(static_cast<std::uint64_t>(clock.counter_)),
            "run all processes of a boot on one kind of virtual machine, or remove the file once none runs");
    }
    if (Status runs = clock.check_rate(region); !runs) {
        return runs.error();
    }
    return clock;
}

/// Refuses a conversion that does not run as fast as CLOCK_MONOTONIC_RAW: by it a dead sidecar would look alive.
inline Status Clock::check_rate(const detail::Region& region) const {
    // Calibration errs by some 1e-6 and two looks 2 ms apart by some 1e-4; a counter whose rate changed when its machine moved
    // deviates not at all, since the kernel's clock counts it too. This finds what stands still, crawls or races.
    constexpr double most_deviation = 0.1;
    double rate = 0;
    for (int tries = 0; tries < 3; ++tries) {
        const Look from = look(CLOCK_MONOTONIC_RAW, check_readings);
        detail::sleep_ns(2'000'000);
        const Look to = look(CLOCK_MONOTONIC_RAW, check_readings);
        const std::uint64_t raw = to.ns > from.ns ? to.ns - from.ns : 1;
        rate = static_cast<double>(ns(to.raw) - ns(from.raw)) / static_cast<double>(raw);
        if (rate >= 1 - most_deviation && rate <= 1 + most_deviation) {
            return {};
        }
    }
    return region.header().contradiction(
        region.path(), "a clock that runs " + std::to_string(rate) + " times as fast as CLOCK_MONOTONIC_RAW");
}

/// The clock's region, if it was made since the machine started.
inline Result<std::optional<detail::Region>> Clock::find(const std::string& path, const Trust& trust) {
    auto boot = detail::boot_id();
    if (!boot) {
        return boot.error();
    }
    Result<detail::Region> region = detail::Region::attach(path, Kind::clock, 0, false, trust);
    // Absent, or left over from another boot where the directory outlives one.
    if (region ? region->header().boot_id != *boot : region.error().code == Errc::absent) {
        return std::optional<detail::Region>{};
    }
    return region ? Result<std::optional<detail::Region>>{std::optional{std::move(*region)}}
                  : Result<std::optional<detail::Region>>{region.error()};
}

inline Result<Clock> Clock::attach(const std::string& dir, const Trust& trust) {
    const std::string path = dir + "/pillion.clock";
    Result<std::optional<detail::Region>> found = find(path, trust);
    if (!found) {
        return found.error();
    }
    if (*found) {
        return read(**found);
    }
    return Error{Errc::absent, path + " does not exist; mend: start its owner first, or check the lane's name"};
}

inline Status Clock::check_lane(const Lane& lane) const {
    const std::string path = lane.path(Kind::clock);
    Result<std::optional<detail::Region>> found = find(path, lane.trust());
    if (!found) {
        return found.error();
    }
    if (!*found) {
        return Error{Errc::absent, path + " does not exist; mend: start its owner first, or check the lane's name"};
    }
    const detail::Header& header = (*found)->header();
    if (header.clock_id == id_) {
        return {};
    }
    return header.mismatch(path, "clock id", detail::hex(header.clock_id), detail::hex(id_),
                           "take the clock of the lane's directory; restart whoever started before it was replaced");
}

inline Result<Clock> Clock::attach_or_create(const std::string& dir, const Trust& trust) {
    const std::string path = dir + "/pillion.clock";
    auto boot = detail::boot_id();
    if (!boot) {
        return boot.error();
    }
    std::optional<Clock> own;
    Error refused{Errc::contended, path + " changed hands 100 times; mend: see who removes it"};
    for (int attempt = 0; attempt < 100; ++attempt) {
        Result<std::optional<detail::Region>> found = find(path, trust);
        if (!found) {
            return found.error();
        }
        if (*found) {
            return read(**found);
        }
        if (!own) {
            own = calibrate();
        }
        if (Status offered = own->offer(path, *boot, trust); !offered) {
            // Held or denied: another process, perhaps another user's, has just made it, and the next look finds it.
            if (offered.error().code != Errc::held && offered.error().code != Errc::denied) {
                return offered.error();
            }
            refused = offered.error();
            detail::sleep_ns(1'000'000);
        }
    }
    return refused;
}

} // namespace pillion

#endif
