/// @file
/// Pillion's shared memory for C++20: rings of ticks and signals, a board of last scores, a control page, one clock.
///
/// Header-only; needs the standard library and Linux (g++ >= 11 or clang++ >= 14, -std=c++20). No daemon, no broker, no
/// locks, and no system call, allocation or exception on the path of a record. Create and attach return a Result whose error
/// names the region, what was expected and found, and the mend.
///
/// @code
/// using namespace std::chrono_literals;
/// auto lane = pillion::Lane::named("es");
/// if (!lane) { return 1; }
/// auto clock = pillion::Clock::attach(*lane); // Who makes regions makes the clock: attach_or_create.
/// if (!clock) { return 1; }
/// auto board = pillion::SignalBoard::attach(*lane, *clock);
/// auto control = pillion::Control::attach(*lane, *clock);
/// if (!board || !control) {
///     std::fprintf(stderr, "%s\n", (board ? control.error() : board.error()).message.c_str());
///     return 1;
/// }
/// const auto cell = board->find("ESH4", "mlp-k10"); // Once, and again after attaching anew.
/// if (!cell) { return 1; }
/// pillion::Signal signal;
/// if (board->latest(*cell, signal) == pillion::BoardStatus::value) {
///     const auto verdict = pillion::judge(*control, signal, clock->now_ns(), {.heartbeat = 1s, .tick = 5ms});
///     const auto* model = board->tables().model_of(signal); // nullptr: of another revision
///     const auto up = model ? model->output("up") : std::nullopt;
///     if (up && verdict.usable()) { std::printf("up %.3f\n", double{signal.outputs[*up]}); }
/// }
/// @endcode
///
/// The protocol, the byte tables, the promises and what a strategy must do stand in shm/README.md.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "control_owner.hpp"
#include "judge.hpp"

#endif
