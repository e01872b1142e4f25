// Places to die at, as the Rust crate's feature `crash` has them: the test puts calls of these into a copy of the header.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace crash {

inline bool armed = false;
inline unsigned long passed = 0;

/// From here on points count.
inline void arm() noexcept { armed = true; }

/// Dies here (SIGKILL) when this is point number PILLION_CRASH_AT; says where on standard error first.
[[gnu::noinline]] inline void point(const char* place) noexcept {
    if (!armed) {
        return;
    }
    static const char* const asked = std::getenv("PILLION_CRASH_AT");
    static const unsigned long deadly = asked == nullptr ? 0 : std::strtoul(asked, nullptr, 10);
    if (++passed == deadly) {
        std::fprintf(stderr, "crash point %lu: %s\n", passed, place);
        ::kill(::getpid(), SIGKILL);
        for (;;) {
            ::pause();
        }
    }
}

/// What a step gave, behind the point that follows it; `errno` stays.
template <class T> T after(const char* place, T result) noexcept {
    point(place);
    return result;
}

} // namespace crash
