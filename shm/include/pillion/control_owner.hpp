/// @file
/// The sidecar's end of the control page, for tests and mock sidecars in C++.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "control.hpp"

namespace pillion {

/// The owner of a control page; it holds the region's lock for as long as it lives. One thread at a time.
class ControlOwner {
public:
    /// Makes the page of `lane` in state BOOT, taking it over from a dead sidecar if need be. A HALT in force is carried
    /// over; a predecessor of another layout, whose HALT cannot be read, counts as halted.
    [[nodiscard]] static Result<ControlOwner> create(const Lane& lane, const Clock& clock, const Access& access = {}) {
        const std::string path = lane.path(Kind::cnc);
        if (Status same = clock.check_lane(lane); !same) {
            return same.error();
        }
        auto region = detail::Region::build(detail::Plan{path, lane.trust(), Kind::cnc, clock.id(), clock.now_ns(), 0, 0, 0, {},
                                                         layout::cnc::bytes, access});
        if (!region) {
            return region.error();
        }
        bool start_halted = false;
        const auto carry = [&](detail::Region& own, const detail::Predecessor* old) {
            start_halted = old != nullptr && old->body_word(path, Kind::cnc, layout::cnc::halted).value_or(1) != 0;
            // Relaxed: nobody has the page before it has its name.
            detail::store(own.body_mut() + layout::cnc::halted / 8, start_halted ? 1 : 0);
            detail::store(own.body_mut() + layout::cnc::state / 8, static_cast<detail::Word>(State::boot));
            return true;
        };
        if (Result<bool> installed = region->install(carry); !installed) {
            return installed.error();
        }
        Result<detail::Page> page = detail::Page::over(std::move(*region));
        return page ? Result<ControlOwner>{ControlOwner{std::move(*page), start_halted}}
                    : Result<ControlOwner>{page.error()};
    }

    /// Whether a HALT of the predecessor is in force.
    [[nodiscard]] bool start_halted() const noexcept { return start_halted_; }
    /// Whether a HALT is in force: the predecessor's, or one asked for since.
    [[nodiscard]] bool halted() const noexcept { return detail::load(page_.at(layout::cnc::halted)) != 0; }
    [[nodiscard]] State state() const noexcept { return page_.state(); }

    /// Sets the state. HALT stays in force over BOOT, FAIL, STOPPED and restarts, until RUN.
    void set_state(State state) noexcept {
        if (state == State::halt || state == State::run) {
            detail::store(page_.at_mut(layout::cnc::halted), state == State::halt ? 1 : 0);
        }
        detail::store(page_.at_mut(layout::cnc::state), static_cast<detail::Word>(state));
    }
    /// Sets or ends the HALT without changing the state: for requests answered before RUN.
    void set_halted(bool halted) noexcept { detail::store(page_.at_mut(layout::cnc::halted), halted ? 1 : 0); }
    /// Sets the heartbeat, ns since the epoch on the shared clock.
    void beat(std::uint64_t now_ns) noexcept { detail::store(page_.at_mut(layout::cnc::heartbeat), now_ns); }

    /// Says that this many ticks are done with; release, so that whoever sees the number finds their signals published.
    void set_ticks_consumed(std::uint64_t ticks) noexcept {
        detail::store(page_.at_mut(layout::cnc::ticks_consumed), ticks, std::memory_order_release);
    }
    /// Says which generation of the tick ring is read from now on, and how many ticks were consumed before it.
    void set_ticks_ring(std::uint64_t generation, std::uint64_t before) noexcept {
        detail::store(page_.at_mut(layout::cnc::ticks_before), before);
        detail::store(page_.at_mut(layout::cnc::ticks_generation), generation, std::memory_order_release);
    }
    /// Sets all counters; each is a store of its own.
    void set_counters(const Counters& counters) noexcept {
        detail::store_words<sizeof counters / 8>(page_.at_mut(layout::cnc::counters), &counters);
    }
    /// Publishes the stages' percentiles, to be seen together.
    void publish_stages(const StageSummaries& stages) noexcept {
        detail::seqlock_write<sizeof stages / 8>(page_.at_mut(layout::cnc::stages), &stages);
    }

    /// The request that waits for an answer: one load when there is none.
    [[nodiscard]] std::optional<Request> poll_mailbox() const noexcept {
        return detail::waiting(page_.at(layout::cnc::request), last_ticket_);
    }
    /// Takes `request`: ask before a HALT is ended. False for a RESUME that was withdrawn meanwhile, which the next look at the
    /// mailbox finds as a HALT.
    [[nodiscard]] bool take(const Request& request) noexcept {
        return detail::take(page_.at_mut(layout::cnc::request), request);
    }
    /// Answers `request`. Set the state before: who sees the answer sees that state. A RESUME that was withdrawn is answered as
    /// refused, when the HALT in its place is done.
    void answer(const Request& request, Outcome outcome) noexcept {
        outcome = request.withdrawn && outcome == Outcome::done ? Outcome::refused : outcome;
        detail::answer(page_.at_mut(layout::cnc::answers), request.ticket, outcome);
        last_ticket_ = request.ticket;
    }

    /// Life of this name, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return page_.region().header().generation; }
    /// Removes the name, for tests and private lanes. A HALT in force is forgotten with it.
    [[nodiscard]] Status unlink() { return page_.region().unlink(); }

private:
    ControlOwner(detail::Page page, bool start_halted) : page_{std::move(page)}, start_halted_{start_halted} {}

    detail::Page page_;
    std::uint64_t last_ticket_ = 0;
    bool start_halted_;
};

} // namespace pillion

#endif
