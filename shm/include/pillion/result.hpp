/// @file
/// How create, attach and requests say that they failed: an error code and a message that names the region, what was
/// expected and found, and the mend. Nothing here throws; nothing on the path of a record can fail this way.
#pragma once

#include "require.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
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

/// A refusal or failure.
struct Error {
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
