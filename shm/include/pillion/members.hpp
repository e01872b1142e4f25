/// @file
/// Members of a group, by this machine's own files, and the id that stands for users from outside a user namespace.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "sys.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pillion::detail {

/// `text` cut at each `at`, empty pieces among them.
[[nodiscard]] inline std::vector<std::string> pieces(std::string_view text, char at) {
    std::vector<std::string> found;
    for (std::size_t from = 0; from <= text.size();) {
        const std::size_t end = std::min(text.find(at, from), text.size());
        found.emplace_back(text.substr(from, end - from));
        from = end + 1;
    }
    return found;
}

/// `text` as an id, if it is nothing else.
[[nodiscard]] inline std::optional<std::uint32_t> to_id(std::string_view text) {
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool whole = error == std::errc{} && end == text.data() + text.size() && !text.empty();
    return whole ? std::optional{id} : std::nullopt;
}

/// Longest user or group list that is read.
inline constexpr std::size_t most_list = std::size_t{16} << 20;

/// A group of which this machine's own files tell every member.
struct Group {
    std::vector<std::uint32_t> first_of; ///< Users whose first group it is.
    std::vector<std::uint32_t> members;  ///< All users in it, those among them.
};

/// True when the text of /etc/nsswitch.conf takes users and groups from the machine's own files alone.
[[nodiscard]] inline bool names_are_local(std::string_view text) {
    for (std::string line : pieces(text, '\n')) {
        line.erase(std::min(line.find('#'), line.size()));
        const std::size_t colon = line.find(':');
        const std::string database = line.substr(0, std::min(colon, line.size()));
        const std::size_t first = database.find_first_not_of(" \t");
        const std::size_t last = database.find_last_not_of(" \t");
        const std::string name = first == std::string::npos ? "" : database.substr(first, last + 1 - first);
        if (colon == std::string::npos || (name != "passwd" && name != "group" && name != "initgroups")) {
            continue;
        }
        // Brackets hold an action and name no source: [NOTFOUND=return].
        std::string sources;
        bool brackets = false;
        for (const char c : line.substr(colon + 1)) {
            brackets = (brackets || c == '[') && c != ']';
            sources += brackets || c == ']' || c == '\t' ? ' ' : c;
        }
        for (const std::string& source : pieces(sources, ' ')) {
            if (!source.empty() && source != "files" && source != "compat" && source != "systemd") {
                return false;
            }
        }
    }
    return true;
}

/// The group `gid` by the texts of /etc/group, /etc/passwd and /etc/nsswitch.conf. Nothing when nobody can tell.
[[nodiscard]] inline std::optional<Group> group_of_lists(std::uint32_t gid, std::string_view groups, std::string_view users,
                                                         std::string_view names_from) {
    if (!names_are_local(names_from)) {
        return std::nullopt;
    }
    std::vector<std::pair<std::string, std::uint32_t>> known_users;
    Group found;
    for (const std::string& line : pieces(users, '\n')) {
        const std::vector<std::string> fields = pieces(line, ':');
        const auto uid = fields.size() > 3 ? to_id(fields[2]) : std::nullopt;
        if (line.starts_with('+')) {
            return std::nullopt; // Takes in names from elsewhere.
        }
        if (!uid) {
            continue;
        }
        known_users.emplace_back(fields[0], *uid);
        if (to_id(fields[3]) == gid) {
            found.first_of.push_back(*uid);
        }
    }
    found.members = found.first_of;
    bool known = false;
    for (const std::string& line : pieces(groups, '\n')) {
        const std::vector<std::string> fields = pieces(line, ':');
        if (line.starts_with('+')) {
            return std::nullopt;
        }
        if (fields.size() < 3 || to_id(fields[2]) != gid) {
            continue;
        }
        known = true;
        for (const std::string& name : pieces(fields.size() > 3 ? fields[3] : "", ',')) {
            const auto user =
                std::find_if(known_users.begin(), known_users.end(), [&](const auto& u) { return u.first == name; });
            if (!name.empty() && user == known_users.end()) {
                return std::nullopt;
            }
            if (!name.empty()) {
                found.members.push_back(user->second);
            }
        }
    }
    return known ? std::optional{found} : std::nullopt;
}

/// The group `gid`. Nothing when nobody can tell who is in it: /etc/group does not know it, or lists a name that /etc/passwd
/// does not; one of them cannot be read whole; or the machine takes names from elsewhere too.
[[nodiscard]] inline std::optional<Group> group_of(std::uint32_t gid) {
    std::optional<std::string> names_from = whole_file("/etc/nsswitch.conf", most_list);
    if (!names_from && ::access("/etc/nsswitch.conf", F_OK) != 0 && errno == ENOENT) {
        names_from = "";
    }
    const std::optional<std::string> groups = whole_file("/etc/group", most_list);
    const std::optional<std::string> users = whole_file("/etc/passwd", most_list);
    return names_from && groups && users ? group_of_lists(gid, *groups, *users, *names_from) : std::nullopt;
}

/// The id that the kernel shows for every user (`"uid"`) or group (`"gid"`) from outside this process's namespace of them;
/// nothing where there is no outside.
[[nodiscard]] inline std::optional<std::uint32_t> outside_id(const std::string& what) {
    std::string map = small_file(("/proc/self/" + what + "_map").c_str(), 256);
    map.erase(std::remove_if(map.begin(), map.end(), [](char c) { return c == ' ' || c == '\n'; }), map.end());
    if (map == "004294967295") {
        return std::nullopt;
    }
    const std::string number = small_file(("/proc/sys/kernel/overflow" + what).c_str(), 32);
    return to_id(std::string_view{number}.substr(0, number.find('\n'))).value_or(65'534);
}

} // namespace pillion::detail

#endif
