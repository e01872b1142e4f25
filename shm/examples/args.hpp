/// @file
/// What the examples share: command lines, lines of output, the end of a program that cannot go on. Nothing of Pillion.
#pragma once

#include <pillion/result.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

/// Ends the program with `message` and an exit code: 2 for what was refused before it began, 1 for what failed later.
[[noreturn]] inline void die(const std::string& message, int code = 1) {
    std::fprintf(stderr, "error: %s\n", message.c_str());
    std::exit(code);
}

/// The value of `result`, or the end of the program with its reason.
template <class T> [[nodiscard]] T must(pillion::Result<T> result) {
    if (!result.has_value()) {
        die(result.error().message, 2);
    }
    return std::move(result).value();
}

/// The words of a command line, taken one option at a time; whatever nobody takes is refused.
class Args {
public:
    Args(int argc, char** argv, std::string usage) : words_{argv + 1, argv + argc}, usage_{std::move(usage)} {
        if (flag("--help")) {
            std::printf("%s", usage_.c_str());
            std::exit(0);
        }
    }

    /// Whether the option `name` is there.
    [[nodiscard]] bool flag(const std::string& name) {
        const auto at = std::find(words_.begin(), words_.end(), name);
        if (at == words_.end()) {
            return false;
        }
        words_.erase(at);
        return true;
    }

    /// The word behind the option `name`, or `otherwise`.
    [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) {
        const auto at = std::find(words_.begin(), words_.end(), name);
        if (at == words_.end()) {
            return otherwise;
        }
        if (at + 1 == words_.end()) {
            refuse(name + " has no value");
        }
        const std::string value = *(at + 1);
        words_.erase(at, at + 2);
        return value;
    }

    /// The same as a number from 0 to `most`.
    [[nodiscard]] double number(const std::string& name, double otherwise, double most = 1e18) {
        const std::string value = text(name, "");
        return value.empty() ? otherwise : to_number(name, value, most);
    }

    /// The same as a time: `unit_ns` is what the option counts in. At most 31 years, so that sums of times fit.
    [[nodiscard]] std::uint64_t time_ns(const std::string& name, double otherwise, double unit_ns) {
        return static_cast<std::uint64_t>(number(name, otherwise, 1e18 / unit_ns) * unit_ns);
    }

    /// The same as a duration.
    [[nodiscard]] std::chrono::nanoseconds duration(const std::string& name, double otherwise, double unit_ns) {
        return std::chrono::nanoseconds{static_cast<std::int64_t>(time_ns(name, otherwise, unit_ns))};
    }

    /// The same as a whole number from 0 to `most`.
    [[nodiscard]] std::uint64_t count(const std::string& name, std::uint64_t otherwise, std::uint64_t most) {
        const std::string value = text(name, "");
        return value.empty() ? otherwise : to_count(name, value, most);
    }

    /// `value` as a whole number from 0 to `most`, itself at most 2^53; `name` is what the message names.
    [[nodiscard]] std::uint64_t to_count(const std::string& name, const std::string& value, std::uint64_t most) const {
        const double number = to_number(name, value, static_cast<double>(most));
        const auto whole = static_cast<std::uint64_t>(number); // In range: a double beyond it has no integer to become.
        if (static_cast<double>(whole) != number) {
            refuse(name + " wants a whole number, not \"" + value + "\"");
        }
        return whole;
    }

    /// `value` as a number from 0 to `most`; `name` is what the message names.
    [[nodiscard]] double to_number(const std::string& name, const std::string& value, double most = 1e18) const {
        char* end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        if (value.empty() || *end != '\0' || !(number >= 0 && number <= most)) {
            std::ostringstream limit;
            limit << std::setprecision(17) << most;
            refuse(name + " wants a number from 0 to " + limit.str() + ", not \"" + value + "\"");
        }
        return number;
    }

    /// The next word that is no option, or nothing. Take the options first.
    [[nodiscard]] std::string next() {
        const auto at = std::find_if(words_.begin(), words_.end(), [](const auto& w) { return !w.starts_with("-"); });
        if (at == words_.end()) {
            return "";
        }
        const std::string word = *at;
        words_.erase(at);
        return word;
    }

    /// Refuses what is left.
    void finish() const {
        if (!words_.empty()) {
            refuse("\"" + words_.front() + "\" is not understood");
        }
    }

    /// Ends the program with the reason and the usage.
    [[noreturn]] void refuse(const std::string& what) const { die(what + "\n" + usage_, 2); }

private:
    std::vector<std::string> words_;
    std::string usage_;
};

/// Prints `parts` one behind the other at once, also into a pipe. For a person, not for the path of a record.
template <class... Parts> void print(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    std::fputs(text.str().c_str(), stdout);
    std::fflush(stdout);
}

/// `number` with commas: 68,792.
[[nodiscard]] inline std::string grouped(std::uint64_t number) {
    const std::string digits = std::to_string(number);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0) {
            text += ',';
        }
        text += digits[i];
    }
    return text;
}

/// `number` with this many digits behind the point.
[[nodiscard]] inline std::string fixed(double number, int digits) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << number;
    return text.str();
}
