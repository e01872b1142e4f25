/// @file
/// Pillion's shared memory for C++20: rings of ticks and signals, a board of last scores, a control page, one clock.
///
/// Header-only; needs the standard library and Linux (g++ >= 12 or clang++ >= 14, -std=c++20). No daemon, no broker, no
/// locks, and no system call, allocation or exception on the path of a record. Create and attach return a Result whose error
/// names the region, what was expected and found, and the mend.
///
/// @code
/// auto lane = pillion::Lane::named("es");
/// auto clock = pillion::Clock::attach_or_create();
/// auto board = pillion::SignalBoard::attach(*lane, *clock);
/// if (!board) { std::fprintf(stderr, "%s\n", board.error().message.c_str()); return 1; }
/// auto cell = board->find("ESH4", "mlp-k10");
/// pillion::Signal signal;
/// if (board->latest(*cell, signal) == pillion::BoardStatus::value &&
///     pillion::judge(signal, clock->now_ns(), 1'000'000).usable()) { ... signal.outputs[2] ... }
/// @endcode
///
/// The protocol, the byte tables, the promises and what a strategy must do stand in shm/README.md.
#pragma once

#include "control_owner.hpp"
#include "judge.hpp"
