/// @file
/// The tables of a signal ring or board: what instrument and model numbers stand for, so that `outputs[2]` is never a
/// guess.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "layout.hpp"
#include "result.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

namespace pillion {

/// One instrument of a lane.
struct Instrument {
    std::uint32_t id = 0;       ///< Venue's number of the instrument.
    std::string symbol;         ///< At most 71 bytes.
    std::int64_t tick_size = 0; ///< 1e-9 of the price unit.
    double size_unit = 0;       ///< Units of the underlying per size 1.

    [[nodiscard]] bool operator==(const Instrument&) const = default;
};

/// One model of a lane.
struct Model {
    std::string name;                             ///< At most 63 bytes.
    std::uint32_t revision = 0;                   ///< Signals carry theirs: compare before using one.
    std::array<std::uint8_t, 32> sha256{};        ///< Of its file.
    std::array<std::uint8_t, 32> features_hash{}; ///< Of the feature set it was trained on.
    std::vector<std::string> outputs;             ///< Names by index, such as down, flat, up; at most 16 of 31 bytes.
    std::string meaning;                          ///< What they mean: kind of score, class order, horizon; at most 255 bytes.
    std::string engine;                           ///< Engine that runs it, at most 31 bytes.
    std::string isa;                              ///< Instruction set that the engine uses, at most 31 bytes.
    std::string runtime;                          ///< Runtime and version, at most 63 bytes.
    std::uint32_t horizon_events = 0;             ///< How far ahead it looks, in book events; 0 where that is not said.

    /// Index in Signal::outputs of the output `output`; nothing when the model has none of that name. Look it up once
    /// after attach, and again after every follow.
    [[nodiscard]] std::optional<std::size_t> output(std::string_view output) const {
        const auto at = std::find(outputs.begin(), outputs.end(), output);
        return at == outputs.end() ? std::nullopt : std::optional{static_cast<std::size_t>(at - outputs.begin())};
    }

    [[nodiscard]] bool operator==(const Model&) const = default;
};

/// What instrument and model numbers stand for.
struct SignalTables {
    std::vector<Instrument> instruments; ///< By Signal::instrument.
    std::vector<Model> models;           ///< By Signal::model.

    /// Row of the instrument with this symbol.
    [[nodiscard]] std::optional<std::uint32_t> instrument(std::string_view symbol) const {
        return row<std::uint32_t>(instruments, [&](const Instrument& one) { return one.symbol == symbol; });
    }
    /// Row of the instrument with this venue number.
    [[nodiscard]] std::optional<std::uint32_t> instrument(std::uint32_t id) const {
        return row<std::uint32_t>(instruments, [&](const Instrument& one) { return one.id == id; });
    }
    /// Row of the model with this name.
    [[nodiscard]] std::optional<std::uint16_t> model(std::string_view name) const {
        return row<std::uint16_t>(models, [&](const Model& one) { return one.name == name; });
    }

    /// The row of a signal's instrument; nullptr when there is none.
    [[nodiscard]] const Instrument* instrument_of(const Signal& signal) const noexcept {
        return signal.instrument < instruments.size() ? &instruments[signal.instrument] : nullptr;
    }
    /// The row of a signal's model; nullptr when there is none, or when the signal is of another revision than the row:
    /// then its outputs may mean something else.
    [[nodiscard]] const Model* model_of(const Signal& signal) const noexcept {
        const Model* model = signal.model < models.size() ? &models[signal.model] : nullptr;
        return model != nullptr && model->revision == signal.revision ? model : nullptr;
    }

    /// The bytes that stand in the region. Fails (table) when a text or list is too long for its place.
    [[nodiscard]] Result<std::vector<unsigned char>> to_bytes() const;

    /// Reads what to_bytes wrote; never outside `bytes`, whatever they say. Fails (table) when they are cut or of
    /// other row sizes. No bytes at all are empty tables: a board of version 1.
    [[nodiscard]] static Result<SignalTables> from_bytes(const std::vector<unsigned char>& bytes);

    [[nodiscard]] bool operator==(const SignalTables&) const = default;

private:
    template <class Index, class Rows, class Is>
    [[nodiscard]] static std::optional<Index> row(const Rows& rows, Is&& is) {
        const auto at = std::find_if(rows.begin(), rows.end(), is);
        return at == rows.end() ? std::nullopt : std::optional{static_cast<Index>(at - rows.begin())};
    }
};

namespace detail {

/// What stands before the rows: their counts and sizes, 16 bytes.
struct TablesHead {
    std::uint32_t instruments;
    std::uint32_t instrument_bytes;
    std::uint32_t models;
    std::uint32_t model_bytes;
};

/// Puts `text` with a 0 behind it into `to`. False when it is too long, or holds a 0 or another character that steers a
/// terminal.
template <std::size_t N> [[nodiscard]] bool put_text(std::array<char, N>& to, std::string_view text) noexcept {
    bool unprintable = false;
    for (std::size_t i = 0; i < text.size() && i < N; ++i) {
        unprintable = unprintable || unprintable_at(text.substr(i)) != 0;
    }
    if (text.size() >= N || unprintable) {
        return false;
    }
    to.fill('\0');
    std::memcpy(to.data(), text.data(), text.size());
    return true;
}

/// The text in `from`, up to its first 0 or its end.
template <std::size_t N> [[nodiscard]] std::string get_text(const std::array<char, N>& from) {
    return {from.begin(), std::find(from.begin(), from.end(), '\0')};
}

[[nodiscard]] inline Error too_long(const std::string& what, const std::string& value, const std::string& limit) {
    return Error{Errc::table, "signal tables: " + what + " is " + value + ", at most " + limit +
                                  " fit; mend: shorten it"};
}

/// The error for a text that `put_text` refused: too long for its place, or with a character that steers a terminal.
[[nodiscard]] inline Error not_put(const std::string& what, const std::string& value, std::size_t bytes) {
    return too_long(what, "\"" + value + "\", " + std::to_string(value.size()) + " bytes",
                    std::to_string(bytes) + " bytes without a 0 or another control character");
}

template <class Row> void append(std::vector<unsigned char>& bytes, const Row& row) {
    const auto* from = reinterpret_cast<const unsigned char*>(&row);
    bytes.insert(bytes.end(), from, from + sizeof row);
}

[[nodiscard]] inline Result<ModelRow> model_row(const Model& model, std::size_t i) {
    const auto refused = [&](const char* field, const std::string& value, std::size_t limit) {
        const std::string what = std::string{field} + " of model " + std::to_string(i) + " (\"" + model.name + "\")";
        return not_put(what, value, limit);
    };
    ModelRow row{};
    if (model.outputs.size() > max_outputs) {
        return too_long(std::string{"outputs of model "} + std::to_string(i) + " (\"" + model.name + "\")",
                        std::to_string(model.outputs.size()), std::to_string(max_outputs));
    }
    row.sha256 = model.sha256;
    row.features_hash = model.features_hash;
    row.revision = model.revision;
    row.horizon_events = model.horizon_events;
    row.outputs_len = static_cast<std::uint32_t>(model.outputs.size());
    for (std::size_t output = 0; output < model.outputs.size(); ++output) {
        if (!put_text(row.outputs[output], model.outputs[output])) {
            return refused("an output name", model.outputs[output], row.outputs[output].size() - 1);
        }
    }
    if (!put_text(row.name, model.name)) {
        return refused("name", model.name, row.name.size() - 1);
    }
    if (!put_text(row.meaning, model.meaning)) {
        return refused("meaning", model.meaning, row.meaning.size() - 1);
    }
    if (!put_text(row.engine, model.engine)) {
        return refused("engine", model.engine, row.engine.size() - 1);
    }
    if (!put_text(row.isa, model.isa)) {
        return refused("isa", model.isa, row.isa.size() - 1);
    }
    if (!put_text(row.runtime, model.runtime)) {
        return refused("runtime", model.runtime, row.runtime.size() - 1);
    }
    return row;
}

[[nodiscard]] inline Model model_of(const ModelRow& row) {
    Model model;
    model.name = get_text(row.name);
    model.revision = row.revision;
    model.sha256 = row.sha256;
    model.features_hash = row.features_hash;
    for (std::size_t output = 0; output < row.outputs.size() && output < row.outputs_len; ++output) {
        model.outputs.push_back(get_text(row.outputs[output]));
    }
    model.meaning = get_text(row.meaning);
    model.engine = get_text(row.engine);
    model.isa = get_text(row.isa);
    model.runtime = get_text(row.runtime);
    model.horizon_events = row.horizon_events;
    return model;
}

} // namespace detail

inline Result<std::vector<unsigned char>> SignalTables::to_bytes() const {
    if (models.size() > 65'536) {
        return detail::too_long("models", std::to_string(models.size()), "65536");
    }
    std::vector<unsigned char> bytes;
    detail::append(bytes, detail::TablesHead{static_cast<std::uint32_t>(instruments.size()), sizeof(InstrumentRow),
                                             static_cast<std::uint32_t>(models.size()), sizeof(ModelRow)});
    for (std::size_t i = 0; i < instruments.size(); ++i) {
        const Instrument& from = instruments[i];
        InstrumentRow row{};
        row.tick_size = from.tick_size;
        row.size_unit = from.size_unit;
        row.id = from.id;
        if (!detail::put_text(row.symbol, from.symbol)) {
            return detail::not_put(std::string{"symbol of instrument "} + std::to_string(i), from.symbol,
                                   row.symbol.size() - 1);
        }
        detail::append(bytes, row);
    }
    for (std::size_t i = 0; i < models.size(); ++i) {
        Result<ModelRow> row = detail::model_row(models[i], i);
        if (!row) {
            return row.error();
        }
        detail::append(bytes, *row);
    }
    return bytes;
}

inline Result<SignalTables> SignalTables::from_bytes(const std::vector<unsigned char>& bytes) {
    SignalTables tables;
    if (bytes.empty()) {
        return tables;
    }
    detail::TablesHead head{};
    const std::uint64_t rows = bytes.size() - std::min(sizeof head, bytes.size());
    std::memcpy(&head, bytes.data(), std::min(sizeof head, bytes.size()));
    // Rows of layout version 1 end before the horizon. 32-bit counts times such sizes do not wrap 64 bits.
    constexpr std::uint32_t v1_model_bytes = offsetof(ModelRow, horizon_events);
    const bool known = head.model_bytes == sizeof(ModelRow) || head.model_bytes == v1_model_bytes;
    const std::uint64_t wanted =
        std::uint64_t{head.instruments} * sizeof(InstrumentRow) + std::uint64_t{head.models} * head.model_bytes;
    if (bytes.size() < sizeof head || head.instrument_bytes != sizeof(InstrumentRow) || !known || wanted != rows ||
        head.models > 65'536) {
        return Error{Errc::table, std::string{"signal tables: "} + std::to_string(bytes.size()) + " bytes say " +
                                      std::to_string(head.instruments) + " instruments of " +
                                      std::to_string(head.instrument_bytes) + " bytes and " +
                                      std::to_string(head.models) + " models of " + std::to_string(head.model_bytes) +
                                      ", this process knows rows of " + std::to_string(sizeof(InstrumentRow)) + " and " +
                                      std::to_string(sizeof(ModelRow)) + "; mend: restart the sidecar, which makes them anew"};
    }
    const unsigned char* at = bytes.data() + sizeof head;
    for (std::uint32_t i = 0; i < head.instruments; ++i, at += sizeof(InstrumentRow)) {
        InstrumentRow row;
        std::memcpy(&row, at, sizeof row);
        tables.instruments.push_back({row.id, detail::get_text(row.symbol), row.tick_size, row.size_unit});
    }
    for (std::uint32_t i = 0; i < head.models; ++i, at += head.model_bytes) {
        ModelRow row{};
        std::memcpy(&row, at, head.model_bytes);
        tables.models.push_back(detail::model_of(row));
    }
    return tables;
}

} // namespace pillion

#endif
