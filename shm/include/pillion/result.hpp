/// @file
/// How create, attach and requests say that they failed: an error code and a message that names the region, what was
/// expected and found, and the mend. Nothing here throws; nothing on the path of a record can fail this way.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace pillion {

/// Why something was refused or failed.
enum class Errc : std::uint8_t {
    none,         ///< Nothing failed.
    name,         ///< A lane's name is not usable.
    spec,         ///< A size or mode asked for makes no sense.
    absent,       ///< There is no such region: its owner may still come.
    held,         ///< A live process owns the name.
    contended,    ///< Other creators were always faster.
    not_a_region, ///< The file is something else, or contradicts itself.
    size,         ///< The file is shorter or longer than its header says.
    mismatch,     ///< Layout version, layout hash, kind, clock or counter of another build or process.
    no_space,     ///< The file system is too small.
    denied,       ///< The kernel forbids it to this user.
    lock,         ///< The memory cannot be locked.
    io,           ///< A call of the operating system failed.
    table,        ///< A text or list does not fit its place in the tables, or the tables are not whole.
    no_owner,     ///< The sidecar is gone: nobody will answer.
    no_answer,    ///< The sidecar did not answer in time; it may still obey later.
    answer_lost,  ///< The answer came and was overwritten by eight later ones.
    untrusted,    ///< Somebody who does not count owns it, or may write it or put another file in its place.
};

/// The word that stands for `code`.
[[nodiscard]] constexpr const char* errc_name(Errc code) noexcept {
    constexpr const char* names[] = {"none",      "name",         "spec",   "absent",   "held",  "contended",
                                     "not_a_region", "size",      "mismatch", "no_space", "denied", "lock",
                                     "io",        "table",        "no_owner", "no_answer", "answer_lost",
                                     "untrusted"};
    return static_cast<std::size_t>(code) < std::size(names) ? names[static_cast<std::size_t>(code)] : "unknown";
}

namespace detail {

/// Length in bytes of the character at the beginning of `text`, in UTF-8, that steers a terminal or hides in a text: C0 and C1
/// controls, DEL, separators, marks of direction, characters without width. 0 where it is none.
[[nodiscard]] inline std::size_t unprintable_at(std::string_view text) noexcept {
    constexpr std::pair<std::uint32_t, std::uint32_t> ranges[] = {
        {0x0, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},
        {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0x1d173, 0x1d17a}, {0xe0000, 0xe007f}};
    const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
    const std::uint32_t first = text.empty() ? 0x20U : byte(0);
    const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    std::uint32_t code = length == 1 ? first : first & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if (i >= text.size() || (byte(i) & 0xc0U) != 0x80U) {
            return 0;
        }
        code = code << 6 | (byte(i) & 0x3fU);
    }
    for (const auto& [from, to] : ranges) {
        if (!text.empty() && code >= from && code <= to) {
            return length;
        }
    }
    return 0;
}

/// `text` on one line: what `unprintable_at` names is written byte by byte, `\x1b`.
[[nodiscard]] inline std::string printable(std::string_view text) {
    constexpr const char* digits = "0123456789abcdef";
    std::string plain;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t bad = unprintable_at(text.substr(i));
        for (std::size_t end = i + std::max<std::size_t>(bad, 1); i < end; ++i) {
            const auto value = static_cast<unsigned char>(text[i]);
            plain += bad == 0 ? std::string{text[i]} : std::string{"\\x"} + digits[value >> 4] + digits[value & 15];
        }
    }
    return plain;
}

} // namespace detail

/// A refusal or failure.
struct Error {
    Error() = default;
    /// With what steers a terminal in `said` (a path, another's words) escaped.
    Error(Errc why, std::string_view said) : code{why}, message{detail::printable(said)} {}

    Errc code = Errc::none;
    std::string message; ///< One line for a person: region, expected, found, mend.
};

/// What a `follow` did.
enum class Follow : std::uint8_t {
    stayed,   ///< There is no other region, or something is left to be read here.
    followed, ///< The reader reads another generation now: what was looked up in its tables has to be looked up again.
};

/// The word that stands for `follow`.
[[nodiscard]] constexpr const char* follow_name(Follow follow) noexcept {
    return follow == Follow::followed ? "followed" : "stayed";
}

/// A value, or why there is none.
template <class T> class [[nodiscard]] Result {
public:
    Result(T value) : value_{std::move(value)} {}
    Result(Error error) : error_{std::move(error)} {}

    /// Whether there is a value. Not of a `follow`, where it would be taken for whether the reader went over: there ask
    /// `has_value()`, and then the value.
    [[nodiscard]] explicit operator bool() const noexcept
        requires(!std::is_same_v<T, Follow>)
    {
        return value_.has_value();
    }
    explicit operator bool() const noexcept
        requires(std::is_same_v<T, Follow>)
    = delete;
    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    /// Why there is none; code `none` when there is one.
    [[nodiscard]] const Error& error() const noexcept { return error_; }

    /// The value. To ask for one that is not there ends the process with the error's message.
    [[nodiscard]] T& operator*() & { return checked(), *value_; }
    [[nodiscard]] const T& operator*() const& { return checked(), *value_; }
    [[nodiscard]] T operator*() && { return checked(), std::move(*value_); }
    [[nodiscard]] T* operator->() { return checked(), &*value_; }
    [[nodiscard]] const T* operator->() const { return checked(), &*value_; }
    [[nodiscard]] T& value() & { return **this; }
    [[nodiscard]] const T& value() const& { return **this; }
    [[nodiscard]] T value() && { return *std::move(*this); }

private:
    void checked() const {
        if (!value_) [[unlikely]] {
            std::fprintf(stderr, "pillion: value of a failed result: %s\n", error_.message.c_str());
            std::abort();
        }
    }

    std::optional<T> value_;
    Error error_;
};

/// Success, or why not.
class [[nodiscard]] Status {
public:
    Status() = default;
    Status(Error error) : error_{std::move(error)} {}

    /// Whether it succeeded.
    [[nodiscard]] explicit operator bool() const noexcept { return error_.code == Errc::none; }
    /// Why it did not.
    [[nodiscard]] const Error& error() const noexcept { return error_; }

private:
    Error error_;
};

} // namespace pillion

#endif
