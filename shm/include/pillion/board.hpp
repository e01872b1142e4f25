/// @file
/// The signal board: the last signal of every instrument and model, one cell each.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "signals.hpp"

namespace pillion {

/// What a look at a cell found.
enum class BoardStatus : std::uint8_t {
    value,        ///< The last signal.
    never,        ///< No signal was ever set.
    busy,         ///< Being written at each of a thousand looks, some 10 to 50 µs: the writer was descheduled or died in
                  ///< the middle. A cell that died so costs that at each `latest`, until a successor: look less often at
                  ///< it, and ask `owner_alive()` and `successor()`.
    no_such_cell, ///< The board has no such instrument or model.
};

/// The word that stands for `status`.
[[nodiscard]] constexpr const char* board_status_name(BoardStatus status) noexcept {
    switch (status) {
    case BoardStatus::value: return "value";
    case BoardStatus::never: return "never";
    case BoardStatus::busy: return "busy";
    case BoardStatus::no_such_cell: return "no_such_cell";
    }
    return "unknown";
}

/// Row of an instrument and row of a model: looked up once, used for every read.
struct Cell {
    std::uint32_t instrument = 0;
    std::uint32_t model = 0;
};

namespace detail {

/// What a look at a seqlock found.
enum class Look : std::uint8_t { value, never, busy };

/// Writes `words` words behind the number `cell[0]`. Only one thread may write a cell.
template <std::size_t Words> PILLION_HOT void seqlock_write(Word* cell, const void* from) noexcept {
    // Its own last store: no ordering needed. A predecessor never wrote here, since a take-over makes new memory.
    const Word seq = load(cell) & ~Word{1};
    // Mark-Recheck, first half.
    store(cell, seq + 1);
    release_fence();
    store_words<Words>(cell + 1, from);
    // Commit-Look, first half.
    store(cell, seq + 2, std::memory_order_release);
}

/// Copies the last value to `to`, which is whole only after Look::value. Gives up after a thousand looks: a write takes
/// tens of ns, so only a writer that died or was descheduled in the middle of one outlasts them.
template <std::size_t Words> [[nodiscard]] PILLION_HOT Look seqlock_read(const Word* cell, void* to) noexcept {
    for (int look = 0; look < 1'000; ++look) {
        const Word seen = load(cell);
        if (seen == 0) {
            return Look::never;
        }
        if ((seen & 1U) != 0) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
            continue;
        }
        // Commit-Look, second half.
        acquire_fence();
        load_words<Words>(to, cell + 1);
        // Mark-Recheck, second half.
        acquire_fence();
        if (load(cell) == seen) [[likely]] {
            return Look::value;
        }
    }
    return Look::busy;
}

/// The cells of a board, all models of the first instrument, then the next; checked once and kept in here.
class Board {
public:
    static constexpr std::uint64_t cell_bytes = layout::slot::own + sizeof(Signal);
    static_assert(cell_bytes == 128);

    [[nodiscard]] static Result<Board> over(Region region) {
        const Header& header = region.header();
        const std::uint64_t instruments = header.models == 0 ? 0 : header.capacity / header.models;
        if (header.stride != cell_bytes || instruments == 0 || instruments > UINT32_MAX) {
            return header.contradiction(region.path(), std::string{"a board of "} + std::to_string(header.capacity) +
                                                           " cells for " + std::to_string(header.models) + " models, " +
                                                           std::to_string(header.stride) + " bytes each");
        }
        return Board{std::move(region), static_cast<std::uint32_t>(instruments)};
    }

    /// Offset in words of a cell from the body; nothing when there is no such.
    [[nodiscard]] bool has(std::uint32_t instrument, std::uint32_t model) const noexcept {
        return instrument < instruments_ && model < models_;
    }
    [[nodiscard]] std::size_t at(std::uint32_t instrument, std::uint32_t model) const noexcept {
        return (std::size_t{instrument} * models_ + model) * (cell_bytes / 8);
    }

    [[nodiscard]] const Region& region() const noexcept { return region_; }
    [[nodiscard]] Region& region() noexcept { return region_; }
    [[nodiscard]] std::uint32_t instruments() const noexcept { return instruments_; }
    [[nodiscard]] std::uint32_t models() const noexcept { return models_; }

private:
    Board(Region region, std::uint32_t instruments)
        : region_{std::move(region)}, instruments_{instruments}, models_{region_.header().models} {}

    Region region_;
    std::uint32_t instruments_;
    std::uint32_t models_;
};

} // namespace detail

/// The writing end of a board, for tests and mock sidecars. One thread at a time.
class BoardWriter {
public:
    /// Makes the board of `lane`, empty, with a cell for each instrument and model of `tables`.
    [[nodiscard]] static Result<BoardWriter> create(const Lane& lane, const Clock& clock, const SignalTables& tables,
                                                    const Access& access = {}) {
        auto bytes = tables.to_bytes();
        if (!bytes) {
            return bytes.error();
        }
        const std::uint64_t cells = std::uint64_t{tables.instruments.size()} * tables.models.size();
        const std::string path = lane.path(Kind::board);
        if (cells == 0 || cells > std::uint64_t{1} << 32) {
            return detail::spec_error(path, "board size",
                                      std::to_string(tables.instruments.size()) + " instruments × " +
                                          std::to_string(tables.models.size()) + " models",
                                      "1 to 2^32 cells");
        }
        constexpr std::uint64_t stride = detail::Board::cell_bytes;
        if (Status same = clock.check_lane(lane); !same) {
            return same.error();
        }
        Result<detail::Region> region = detail::Region::build(
            detail::Plan{path, lane.trust(), Kind::board, clock.id(), clock.now_ns(), stride, cells,
                         static_cast<std::uint32_t>(tables.models.size()), std::move(*bytes), stride * cells, access});
        if (!region) {
            return region.error();
        }
        const auto always = [](detail::Region&, const detail::Predecessor*) { return true; };
        if (Result<bool> installed = region->install(always); !installed) {
            return installed.error();
        }
        Result<detail::Board> board = detail::Board::over(std::move(*region));
        return board ? Result<BoardWriter>{BoardWriter{std::move(*board)}} : Result<BoardWriter>{board.error()};
    }

    /// Sets the last signal of its instrument and model; false when there is no such cell. Never waits.
    bool set(std::uint32_t instrument, std::uint32_t model, const Signal& signal) noexcept {
        if (!board_.has(instrument, model)) {
            return false;
        }
        detail::Word* const cell = board_.region().body_mut() + board_.at(instrument, model);
        detail::seqlock_write<sizeof(Signal) / 8>(cell, &signal);
        return true;
    }

    /// Life of this name, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return board_.region().header().generation; }
    /// Removes the name, for tests and private lanes.
    [[nodiscard]] Status unlink() { return board_.region().unlink(); }

private:
    explicit BoardWriter(detail::Board board) : board_{std::move(board)} {}

    detail::Board board_;
};

/// A reading end of a board, mapped read-only. Any number of threads may read through one.
class SignalBoard {
public:
    /// Attaches to the board of `lane`, which must be of this layout and `clock`.
    [[nodiscard]] static Result<SignalBoard> attach(const Lane& lane, const Clock& clock) {
        auto region = detail::Region::attach(lane.path(Kind::board), Kind::board, clock.id(), false, lane.trust());
        if (!region) {
            return region.error();
        }
        Result<SignalTables> tables = SignalTables::from_bytes(region->table());
        if (!tables) {
            return Error{Errc::table, region->path() + ": " + tables.error().message};
        }
        Result<detail::Board> board = detail::Board::over(std::move(*region));
        return board ? Result<SignalBoard>{SignalBoard{std::move(*board), std::move(*tables)}}
                     : Result<SignalBoard>{board.error()};
    }

    /// The last signal of this instrument and model. `signal` is whole only after BoardStatus::value. Judge its age: a
    /// dead sidecar's last score stands here for ever.
    [[nodiscard]] BoardStatus latest(std::uint32_t instrument, std::uint32_t model, Signal& signal) const noexcept {
        if (!board_.has(instrument, model)) [[unlikely]] {
            return BoardStatus::no_such_cell;
        }
        const detail::Word* const cell = board_.region().body() + board_.at(instrument, model);
        switch (detail::seqlock_read<sizeof(Signal) / 8>(cell, &signal)) {
        case detail::Look::value: return BoardStatus::value;
        case detail::Look::never: return BoardStatus::never;
        case detail::Look::busy: break;
        }
        return BoardStatus::busy;
    }
    [[nodiscard]] BoardStatus latest(Cell cell, Signal& signal) const noexcept {
        return latest(cell.instrument, cell.model, signal);
    }

    /// The cell of a symbol and a model's name; nothing when the tables name no such, as in a board of version 1.
    [[nodiscard]] std::optional<Cell> find(std::string_view symbol, std::string_view model) const {
        const auto instrument_row = tables_.instrument(symbol);
        const auto model_row = tables_.model(model);
        if (!instrument_row || !model_row || !board_.has(*instrument_row, *model_row)) {
            return std::nullopt;
        }
        return Cell{*instrument_row, *model_row};
    }

    /// What instrument and model numbers stand for; empty in a board of version 1 (take the signal ring's then).
    [[nodiscard]] const SignalTables& tables() const noexcept { return tables_; }
    /// Instruments and models that it has cells for.
    [[nodiscard]] std::uint32_t instruments() const noexcept { return board_.instruments(); }
    [[nodiscard]] std::uint32_t models() const noexcept { return board_.models(); }
    /// Life of the name that this reader attached to, from 1.
    [[nodiscard]] std::uint64_t generation() const noexcept { return board_.region().header().generation; }
    /// Whether a successor has marked this board (no system call): attach again.
    [[nodiscard]] bool successor() const noexcept { return board_.region().successor(); }
    /// Whether the name stands for another board now, or for none (system call).
    [[nodiscard]] bool superseded() const noexcept { return successor() || board_.region().renamed(); }
    /// Whether the owner lives: a look at its lock (system call).
    [[nodiscard]] bool owner_alive() const noexcept { return board_.region().owner_alive(); }
    /// Touches every page, so that none faults later, and locks them as asked (system calls).
    [[nodiscard]] Status touch_and_lock(LockMemory lock = LockMemory::attempt) {
        return board_.region().touch_and_lock(lock);
    }

private:
    SignalBoard(detail::Board board, SignalTables tables) : board_{std::move(board)}, tables_{std::move(tables)} {}

    detail::Board board_;
    SignalTables tables_;
};

} // namespace pillion

#endif
