/// @file
/// What the examples share: command lines, lines of output, the end of a program that cannot go on. Nothing of Pillion.
#pragma once

#include <pillion/result.hpp>

#include <algorithm>
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
    if (!result) {
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

    /// The same as a number that is not negative.
    [[nodiscard]] double number(const std::string& name, double otherwise) {
        const std::string value = text(name, "");
        return value.empty() ? otherwise : to_number(name, value);
    }

    /// The same as a whole number.
    [[nodiscard]] std::uint64_t count(const std::string& name, std::uint64_t otherwise) {
        const double value = number(name, static_cast<double>(otherwise));
        if (value > 1e15 || value != static_cast<double>(static_cast<std::uint64_t>(value))) {
            refuse(name + " wants a whole number");
        }
        return static_cast<std::uint64_t>(value);
    }

    /// `value` as a number that is not negative; `name` is what the message names.
    [[nodiscard]] double to_number(const std::string& name, const std::string& value) const {
        char* end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        if (value.empty() || *end != '\0' || !(number >= 0) || number > 1e18) {
            refuse(name + " wants a number, not \"" + value + "\"");
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
