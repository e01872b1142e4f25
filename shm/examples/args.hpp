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

/// `text` with nothing in it that a terminal obeys: names come from regions and files of other people's making. Control
/// characters, marks of direction and characters without width are written as \u001b is; `lines` keeps ends of lines.
[[nodiscard]] inline std::string printable(const std::string& text, bool lines = false) {
    const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    std::string plain;
    for (std::size_t i = 0; i < text.size();) {
        // The characters beyond ASCII that matter have two or three bytes.
        const unsigned a = at(i), b = at(i + 1), c = at(i + 2);
        const unsigned two = (a & 0x1fU) << 6U | (b & 0x3fU);
        const unsigned three = (a & 0x0fU) << 12U | (b & 0x3fU) << 6U | (c & 0x3fU);
        unsigned code = 0;
        std::size_t bytes = 1;
        if ((a < 0x20 && !(lines && (a == '\n' || a == '\t'))) || a == 0x7f) {
            code = a;
        } else if (a == 0xc2 && (b & 0xc0U) == 0x80 && (two < 0xa0 || two == 0xad)) {
            code = two, bytes = 2;
        } else if ((a & 0xf0U) == 0xe0 && (b & 0xc0U) == 0x80 && (c & 0xc0U) == 0x80 &&
                   ((three >= 0x200b && three <= 0x200f) || (three >= 0x2028 && three <= 0x202e) ||
                    (three >= 0x2060 && three <= 0x206f) || three == 0xfeff)) {
            code = three, bytes = 3;
        } else {
            plain += text[i++];
            continue;
        }
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", code);
        plain += escape;
        i += bytes;
    }
    return plain;
}

/// Ends the program with `message` and an exit code: 2 for what was refused before it began, 1 for what failed later.
[[noreturn]] inline void die(const std::string& message, int code = 1) {
    std::fprintf(stderr, "error: %s\n", printable(message, true).c_str());
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

/// A part of what is printed: a string is somebody's name and has no lines, all else is as it is.
template <class Part> [[nodiscard]] const Part& shown(const Part& part) { return part; }
[[nodiscard]] inline std::string shown(const std::string& name) { return printable(name); }

/// Prints `parts` one behind the other at once, also into a pipe. For a person, not for the path of a record.
template <class... Parts> void print(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << shown(parts));
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
