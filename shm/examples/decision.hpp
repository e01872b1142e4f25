/// @file
/// The deciding part of the strategy example: what the tables mean, what a score would make it do, and the count of it.
#pragma once

#include "args.hpp"

#include <pillion/shm.hpp>

#include <array>
#include <bit>
#include <ctime>
#include <optional>

/// What a strategy decides by.
struct Rules {
    pillion::Limits limits{};       ///< Ages from which the sidecar counts as hung and a score's tick is history.
    std::string buy;                ///< Name of the output that speaks for buying.
    std::string sell;               ///< Name of the output that speaks for selling.
    double edge = 0;                ///< By how much one must be above the other.
    std::string symbol;             ///< Only this instrument; any when empty.
    std::string model;              ///< Only this model; any when empty.
    std::uint64_t show = 0;         ///< Changes of mind to print; what concerns all scores is always printed.
};

/// What it would do.
enum class Intent : std::uint8_t { stand_aside, stay_flat, buy, sell };
inline constexpr std::array<const char*, 4> intent_names = {"stand aside", "stay flat", "BUY", "SELL"};

/// What it would do now about one instrument by one model, and the score that it rests on.
struct Stance {
    Intent intent = Intent::stay_flat;
    pillion::Signal score{};

    /// Whether orders would rest on it.
    [[nodiscard]] bool open() const noexcept { return intent == Intent::buy || intent == Intent::sell; }
};

/// What the tables say that a strategy needs for each signal: looked up once, not for each.
class Meaning {
public:
    struct Outputs {
        std::size_t buy;
        std::size_t sell;
    };

    Meaning(const pillion::SignalTables& tables, const Rules& rules) : tables_{tables} {
        for (const pillion::Model& model : tables_.models) {
            const auto buy = model.output(rules.buy);
            const auto sell = model.output(rules.sell);
            const bool wanted = rules.model.empty() || rules.model == model.name;
            outputs_.push_back(wanted && buy && sell ? std::optional{Outputs{*buy, *sell}} : std::nullopt);
            print("model      ", model.name, " revision ", model.revision, ", ", model.engine, " ", model.isa, ": ",
                  model.meaning, outputs_.back() ? "\n" : " (not used)\n");
        }
        for (const pillion::Instrument& instrument : tables_.instruments) {
            wanted_.push_back(rules.symbol.empty() || rules.symbol == instrument.symbol);
            print("instrument ", instrument.symbol, ", id ", instrument.id, ", tick size ",
                  static_cast<double>(instrument.tick_size) / 1e9, wanted_.back() ? "\n" : " (not used)\n");
        }
        stances_.resize(tables_.instruments.size() * tables_.models.size());
    }

    /// Where this signal's buying and selling outputs stand; nothing when it is of no concern, or of a model's revision
    /// that the tables do not speak of.
    [[nodiscard]] std::optional<Outputs> outputs(const pillion::Signal& signal) const noexcept {
        if (signal.instrument >= wanted_.size() || signal.model >= outputs_.size() || !wanted_[signal.instrument] ||
            signal.revision != tables_.models[signal.model].revision) {
            return std::nullopt;
        }
        return outputs_[signal.model];
    }

    /// Of a signal that `outputs` knows, as for all below.
    [[nodiscard]] Stance& stance(const pillion::Signal& signal) noexcept {
        return stances_[signal.instrument * tables_.models.size() + signal.model];
    }
    [[nodiscard]] std::vector<Stance>& stances() noexcept { return stances_; }
    [[nodiscard]] const std::string& symbol(const pillion::Signal& signal) const noexcept {
        return tables_.instruments[signal.instrument].symbol;
    }
    [[nodiscard]] const std::string& model(const pillion::Signal& signal) const noexcept {
        return tables_.models[signal.model].name;
    }

private:
    pillion::SignalTables tables_;
    std::vector<std::optional<Outputs>> outputs_;
    std::vector<bool> wanted_;
    std::vector<Stance> stances_; ///< All models of the first instrument, then the next.
};

/// Market time as hh:mm:ss.µs UTC.
[[nodiscard]] inline std::string time_of_day(std::uint64_t ns) {
    const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%H:%M:%S", &utc);
    return std::string{text.data()} + fixed(static_cast<double>(ns % 1'000'000'000) / 1e9, 6).substr(1);
}

/// Decides, counts, prints.
class Strategy {
public:
    Strategy(const Rules& rules, const pillion::Clock& clock) : rules_{rules}, clock_{clock} {}

    /// What to do about `signal`, after a look at its sidecar, which cannot set a flag when it is dead.
    void decide(const pillion::Signal& signal, const pillion::Control& sidecar, Meaning& meaning) {
        const auto outputs = meaning.outputs(signal);
        if (!outputs) {
            ++other_;
            return;
        }
        const std::uint64_t now_ns = clock_.now_ns();
        const auto judgement = pillion::judge(sidecar, signal, now_ns, rules_.limits);
        ++reasons_[static_cast<std::size_t>(judgement.reason)];
        const double edge = static_cast<double>(signal.outputs[outputs->buy] - signal.outputs[outputs->sell]);
        const Intent intent = !judgement.usable()     ? Intent::stand_aside
                              : edge > rules_.edge  ? Intent::buy
                              : edge < -rules_.edge ? Intent::sell
                                                      : Intent::stay_flat;
        if (judgement.usable()) {
            ++ages_[static_cast<std::size_t>(std::bit_width(pillion::age_ns(signal, now_ns)))];
        }
        Stance& stance = meaning.stance(signal);
        stance.score = signal;
        if (stance.intent != intent) {
            turn(stance, intent, judgement.text(), meaning, false);
        }
    }

    /// Stands aside wherever the last score counts no more: its sidecar is halted, hangs or died, or its tick has grown
    /// old because nothing newer comes. No signal tells of that, so look again and again, whether or not signals come.
    void look(const pillion::Control& sidecar, Meaning& meaning) {
        const std::uint64_t now_ns = clock_.now_ns();
        for (Stance& stance : meaning.stances()) {
            if (stance.open()) {
                const auto judgement = pillion::judge(sidecar, stance.score, now_ns, rules_.limits);
                if (!judgement.usable()) {
                    // Scores grow old all day in a quiet market; the rest an operator wants to read each time.
                    const bool always = judgement.reason != pillion::Reason::stale;
                    turn(stance, Intent::stand_aside, judgement.text(), meaning, always);
                }
            }
        }
    }

    /// Stands aside everywhere, for a reason that is no score's.
    void stand_aside(const char* why, Meaning& meaning) {
        for (Stance& stance : meaning.stances()) {
            if (stance.open()) {
                turn(stance, Intent::stand_aside, why, meaning, true);
            }
        }
    }

    void summary(std::uint64_t read, std::uint64_t lost, std::uint64_t restarts) const {
        print("summary    ", grouped(read), " signals read, ", grouped(lost), " lost, ", grouped(other_),
              " of no concern, ", restarts, " restarts of the sidecar\n");
        for (std::size_t i = 0; i < reasons_.size(); ++i) {
            if (reasons_[i] > 0) {
                const pillion::Judgement judgement{pillion::Advice::ignore, static_cast<pillion::Reason>(i)};
                print("           ", grouped(reasons_[i]), " ", judgement.text(), "\n");
            }
        }
        print("would      buy ", grouped(changes_[2]), " times, sell ", grouped(changes_[3]), ", go flat ",
              grouped(changes_[1]), ", stand aside ", grouped(changes_[0]), "\n");
        if (age_us(1.0) > 0) {
            print("age        when used: half below ", fixed(age_us(0.5), 1), " us, 99 % below ",
                  fixed(age_us(0.99), 1), " us\n");
        }
    }

private:
    /// Changes its mind: here a real strategy sends, changes or pulls its orders.
    void turn(Stance& stance, Intent intent, const char* why, const Meaning& meaning, bool always) {
        stance.intent = intent;
        ++changes_[static_cast<std::size_t>(intent)];
        if (!always && ++shown_ > rules_.show) {
            return;
        }
        const pillion::Signal& score = stance.score;
        const auto outputs = meaning.outputs(score).value_or(Meaning::Outputs{0, 0});
        print(time_of_day(score.ts_event), " ", meaning.symbol(score), " ", meaning.model(score), ": ",
              intent_names[static_cast<std::size_t>(intent)], ", ", rules_.buy, " ",
              fixed(static_cast<double>(score.outputs[outputs.buy]), 3), " ", rules_.sell, " ",
              fixed(static_cast<double>(score.outputs[outputs.sell]), 3), ", ",
              fixed(static_cast<double>(pillion::age_ns(score, clock_)) / 1e3, 1), " us old: ", why, "\n");
    }

    /// Upper bound of the ages of this share of the scores used, µs, to a factor of two.
    [[nodiscard]] double age_us(double share) const {
        std::uint64_t all = 0;
        for (const std::uint64_t count : ages_) {
            all += count;
        }
        std::uint64_t below = 0;
        std::size_t bits = 0;
        while (bits < 63 && static_cast<double>(below += ages_[bits]) < share * static_cast<double>(all)) {
            ++bits;
        }
        return all == 0 ? 0 : static_cast<double>(std::uint64_t{1} << bits) / 1e3;
    }

    Rules rules_;
    pillion::Clock clock_;
    std::array<std::uint64_t, static_cast<std::size_t>(pillion::Reason::heartbeat_lost) + 1> reasons_{}; ///< By pillion::Reason.
    std::array<std::uint64_t, 4> changes_{};  ///< By Intent: how often it went there.
    std::array<std::uint64_t, 65> ages_{};    ///< By bits of the age in ns.
    std::uint64_t other_ = 0;
    std::uint64_t shown_ = 0;
};
