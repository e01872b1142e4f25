/// @file
/// Trust in the owners of regions: a region is worth as much as the users who can change it.
///
/// Root counts, the effective user, the user who owns the running binary (he can change what runs anyway) and whoever was
/// named; never the id that stands for every user outside of a user namespace, unless it was named. A region is used if one of
/// them owns it and nobody else may write it, and if the same holds for every directory on the way to it; a sticky directory of
/// such a user, as /dev/shm, is in order, since there nobody renames or removes what is another's.
#pragma once

#include "require.hpp"
#if __cplusplus >= 202002L // Below C++20 the error of require.hpp stands alone.

#include "members.hpp"
#include "sys.hpp"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string_view>
#include <sys/auxv.h>
#include <sys/xattr.h>
#include <utility>
#include <vector>

namespace pillion {

/// Environment variable with further user ids that count, separated by commas. Not read in a process that may do more
/// than whoever started it: set-user-id, set-group-id, file capabilities.
inline constexpr const char* trusted_uids_variable = "PILLION_TRUSTED_UIDS";
/// Environment variable with further group ids that may write control pages, separated by commas.
inline constexpr const char* trusted_gids_variable = "PILLION_TRUSTED_GIDS";

/// Users besides its owner who may write a file.
enum class Writers : std::uint8_t {
    owner, ///< Nobody. The own group of a user who counts is nobody, while no other user is in it.
    group, ///< Also a group that counts: for control pages.
    /// Also any group that its owner, who counts, has let in: for orders, and for looks that nothing is traded on.
    any_group,
};

/// Which users count, and which groups may write a control page.
class Trust {
public:
    /// Root, the effective user, the owner of the running binary, and whom PILLION_TRUSTED_UIDS names. This process's groups
    /// and those of PILLION_TRUSTED_GIDS may write control pages.
    [[nodiscard]] static Trust own();

    /// And the user `uid`.
    [[nodiscard]] Trust with_uid(std::uint32_t uid) const {
        Trust trust = *this;
        if (std::find(uids_.begin(), uids_.end(), uid) == uids_.end()) {
            trust.uids_.push_back(uid);
        }
        return trust;
    }
    /// And the group `gid`, for control pages alone.
    [[nodiscard]] Trust with_gid(std::uint32_t gid) const {
        Trust trust = *this;
        if (!group_counts(gid)) {
            trust.gids_.push_back(gid);
        }
        return trust;
    }

    /// True when files of the user `uid` may be used. The effective user counts also after the process has become
    /// another one.
    [[nodiscard]] bool counts(std::uint32_t uid) const noexcept {
        const bool own = uid == ::geteuid() && uid != outside_;
        return own || std::find(uids_.begin(), uids_.end(), uid) != uids_.end();
    }
    /// Whether the group `gid` may write a control page.
    [[nodiscard]] bool group_counts(std::uint32_t gid) const noexcept {
        return std::find(gids_.begin(), gids_.end(), gid) != gids_.end();
    }

    /// Whether an opened file may be used: `file` is its own state (fstat), `path` its name for messages. Fails with untrusted.
    [[nodiscard]] Status check_file(const std::string& path, const struct stat& file, Writers writers) const;

    /// These users for files right in the directory `dir`, and its owner.
    ///
    /// The owner of a directory decides what stands under each name in it, whoever looks. So whoever trusts the directory
    /// trusts him; and if only users who count can have put the directory there, as root does in /run, naming it is naming
    /// him. In a sticky directory of everybody's anybody may have made it: there its owner must count already.
    /// Fails with untrusted, io.
    [[nodiscard]] Result<Trust> in_dir(const std::string& dir) const;

private:
    /// Where a way leads, and whether users who do not count may have put it there.
    struct End {
        std::string at;
        struct stat state;
        bool shared;
    };

    Trust() = default;
    [[nodiscard]] Result<End> walk(const std::string& path) const;
    [[nodiscard]] Status check_owner(const std::string& path, const struct stat& file) const;
    [[nodiscard]] Status check_sharing(const std::string& path, const struct stat& dir) const;
    [[nodiscard]] Status check_members(const std::string& path, const struct stat& file, Writers writers) const;
    [[nodiscard]] std::string who_counts() const;
    void take(const char* variable, bool groups);

    std::vector<std::uint32_t> uids_;
    std::vector<std::uint32_t> gids_;
    /// The id of every user from outside this user namespace, who is not the effective user, whatever his id.
    std::optional<std::uint32_t> outside_;
    /// Words of the environment that are no ids: they count for nothing, and refusals say so.
    std::vector<std::string> unread_;
};

namespace detail {

[[nodiscard]] inline Error untrusted(const std::string& path, const std::string& found, const std::string& mend) {
    return Error{Errc::untrusted, path + " is not trusted: " + found + "; mend: " + mend};
}

/// "uid 1002, group 1002, mode 0644", for messages.
[[nodiscard]] inline std::string owner_text(const struct stat& file) {
    std::string mode(4, '0');
    for (unsigned digit = 0; digit < 4; ++digit) {
        mode[3 - digit] = static_cast<char>('0' + ((file.st_mode >> (3 * digit)) & 7U));
    }
    return "uid " + std::to_string(file.st_uid) + ", group " + std::to_string(file.st_gid) + ", mode " + mode;
}

/// What others may write, with the command that ends it.
[[nodiscard]] inline Error writable(const std::string& path, const struct stat& file, const std::string& found,
                                    const char* mend, const std::string& ways = "") {
    const bool own = ::geteuid() == 0 || ::geteuid() == file.st_uid;
    return untrusted(path, found + ": it belongs to " + owner_text(file),
                     ways + "`chmod " + mend + " " + path + "`" +
                         (own ? "" : " (uid " + std::to_string(file.st_uid) + ")"));
}

/// The directory of a region's file.
[[nodiscard]] inline std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

} // namespace detail

inline Trust Trust::own() {
    Trust trust;
    trust.outside_ = detail::outside_id("uid");
    const std::optional<std::uint32_t> outside_group = detail::outside_id("gid");
    trust = trust.with_uid(0);
    if (::geteuid() != trust.outside_) {
        trust = trust.with_uid(::geteuid());
    }
    struct stat binary {};
    if (::stat("/proc/self/exe", &binary) == 0 && binary.st_uid != trust.outside_) {
        trust = trust.with_uid(binary.st_uid);
    }
    std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
    groups.resize(static_cast<std::size_t>(std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
    groups.push_back(::getegid());
    for (const gid_t group : groups) {
        trust = group == outside_group ? trust : trust.with_gid(group);
    }
    // The user who starts a program with more rights than his own chooses its environment, and shall not choose whom it
    // trusts.
    if (::getauxval(AT_SECURE) == 0 && ::getuid() == ::geteuid() && ::getgid() == ::getegid()) {
        trust.take(trusted_uids_variable, false);
        trust.take(trusted_gids_variable, true);
    }
    return trust;
}

inline void Trust::take(const char* variable, bool groups) {
    const char* const value = std::getenv(variable);
    for (std::string word : detail::pieces(value == nullptr ? "" : value, ',')) {
        word.erase(0, word.find_first_not_of(" \t"));
        word.erase(word.find_last_not_of(" \t") + 1);
        if (const auto id = detail::to_id(word)) {
            *this = groups ? with_gid(*id) : with_uid(*id);
        } else if (!word.empty()) {
            unread_.push_back(word);
        }
    }
}

inline Status Trust::check_file(const std::string& path, const struct stat& file, Writers writers) const {
    if (Status owned = check_owner(path, file); !owned) {
        return owned;
    }
    if ((file.st_mode & S_IWOTH) != 0) {
        return detail::writable(path, file, "everybody may write it", "o-w");
    }
    const bool let_in = writers == Writers::any_group || (writers == Writers::group && group_counts(file.st_gid));
    if ((file.st_mode & S_IWGRP) == 0 || let_in) {
        return {};
    }
    return check_members(path, file, writers);
}

inline Result<Trust> Trust::in_dir(const std::string& dir) const {
    Result<End> end = walk(dir);
    if (!end) {
        return end.error();
    }
    if (end->shared) {
        if (Status owned = check_owner(end->at, end->state); !owned) {
            return owned.error();
        }
    }
    const bool open = (end->state.st_mode & (S_IWOTH | S_IWGRP)) != 0;
    // One id stands for all users outside of a user namespace: what anybody puts there would be that owner's.
    const bool anybodys = open && outside_ == end->state.st_uid;
    const Trust all = anybodys ? *this : with_uid(end->state.st_uid);
    if (Status sound = all.check_sharing(end->at, end->state); !sound) {
        return sound.error();
    }
    // That of a directory which everybody may write is nobody's choice, and neither is that of all groups outside.
    const bool chosen = (end->state.st_mode & S_IWOTH) == 0 && detail::outside_id("gid") != end->state.st_gid;
    return chosen ? all.with_gid(end->state.st_gid) : all;
}

/// From / to the end of `path`, one name at a time.
inline Result<Trust::End> Trust::walk(const std::string& path) const {
    const auto look = [](const std::string& at, int number) {
        return Error{Errc::io, "cannot look at " + at + ": " + std::strerror(number) +
                                   "; mend: check the path, and that this user may search its directories"};
    };
    std::string whole = path;
    if (whole.empty() || whole[0] != '/') {
        char here[PATH_MAX];
        if (::getcwd(here, sizeof here) == nullptr) {
            return look(path, errno);
        }
        whole = std::string{here} + "/" + path;
    }
    std::vector<std::string> names = detail::pieces(whole, '/');
    std::deque<std::string> todo{names.begin(), names.end()};
    std::string at; // "/" is the empty text here.
    struct stat state {};
    if (::lstat("/", &state) != 0) {
        return look("/", errno);
    }
    int links = 0;
    while (!todo.empty()) {
        const std::string name = todo.front();
        todo.pop_front();
        if (name.empty() || name == ".") {
            continue;
        }
        if (name == "..") {
            // What lies above has been looked at on the way here.
            at.erase(std::min(at.rfind('/'), at.size()));
            if (::lstat(at.empty() ? "/" : at.c_str(), &state) != 0) {
                return look(at, errno);
            }
            continue;
        }
        const std::string here = at.empty() ? "/" : at;
        if (Status owned = check_owner(here, state); !owned) {
            return owned.error();
        }
        if (Status sound = check_sharing(here, state); !sound) {
            return sound.error();
        }
        const std::string next = at + "/" + name;
        if (::lstat(next.c_str(), &state) != 0) {
            return look(next, errno);
        }
        if (!S_ISLNK(state.st_mode)) {
            at = next;
            continue;
        }
        if (Status owned = check_owner(next, state); !owned) {
            return owned.error();
        }
        char target[PATH_MAX];
        const ssize_t length = ::readlink(next.c_str(), target, sizeof target);
        if (length < 0 || ++links > 40) {
            return look(next, length < 0 ? errno : ELOOP);
        }
        if (length > 0 && target[0] == '/') {
            at.clear();
        }
        if (::lstat(at.empty() ? "/" : at.c_str(), &state) != 0) {
            return look(at, errno);
        }
        names = detail::pieces({target, static_cast<std::size_t>(length)}, '/');
        todo.insert(todo.begin(), names.begin(), names.end());
    }
    struct stat above {};
    const std::string parent = at.empty() ? "/" : detail::directory_of(at);
    if (::lstat(parent.c_str(), &above) != 0) {
        return look(parent, errno);
    }
    // One that is not sticky is written by users who count alone, or the walk had ended there.
    const bool shared = (above.st_mode & S_ISVTX) != 0 && (above.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    return End{at.empty() ? "/" : at, state, shared};
}

inline Status Trust::check_owner(const std::string& path, const struct stat& file) const {
    if (counts(file.st_uid)) {
        return {};
    }
    const std::string uid = std::to_string(file.st_uid);
    const char* const outside = file.st_uid == outside_ ? " (here every user outside of this user namespace)" : "";
    return detail::untrusted(path, "it belongs to " + detail::owner_text(file) + outside + "; " + who_counts(),
                             "have uid " + uid +
                                 " or root give it to one of these, use a directory of your own, or, if uid " + uid +
                                 " shall count, name it: Lane::trusting(" + uid + "), or " + trusted_uids_variable + "=" +
                                 uid + " in the environment");
}

/// Whether nobody who does not count can put other files into a directory, or take files away.
inline Status Trust::check_sharing(const std::string& path, const struct stat& dir) const {
    if (!S_ISDIR(dir.st_mode)) {
        return Error{Errc::io, "cannot look at " + path + ": it is no directory; mend: check the path"};
    }
    if ((dir.st_mode & S_ISVTX) != 0) {
        return {};
    }
    if ((dir.st_mode & S_IWOTH) != 0) {
        return detail::writable(path, dir, "everybody may replace what is in it", "o-w");
    }
    return (dir.st_mode & S_IWGRP) != 0 ? check_members(path, dir, Writers::owner) : Status{};
}

/// Refuses `path` where a user who does not count can write it through its group: the group must be the own group of a
/// user who counts, without another member.
inline Status Trust::check_members(const std::string& path, const struct stat& file, Writers writers) const {
    const std::string gid = std::to_string(file.st_gid);
    // Taking it from a control page's group would take the kill switch from it.
    const std::string ways = writers != Writers::group
                                 ? ""
                                 : "name it, if it shall give orders: " + std::string{trusted_gids_variable} + "=" + gid +
                                       " in the environment, Lane::trusting_group(" + gid + "), or shm_gid = " + gid +
                                       " under [process] of a configuration; if it shall not, ";
    const auto refuse = [&](const std::string& found) { return detail::writable(path, file, found, "g-w", ways); };
    const auto counted = [&](std::uint32_t uid) { return counts(uid); };
    const auto group = detail::group_of(file.st_gid);
    if (!group) {
        return refuse("its group may write it, and nobody can tell who is in group " + gid);
    }
    const auto stranger = std::find_if_not(group->members.begin(), group->members.end(), counted);
    if (stranger != group->members.end()) {
        return refuse("its group may write it, and uid " + std::to_string(*stranger) + " is in group " + gid);
    }
    // Root's and `users` are the first group of many who were not told so.
    const bool everybodys = file.st_gid == 0 || file.st_gid == 100;
    if (everybodys || std::none_of(group->first_of.begin(), group->first_of.end(), counted)) {
        return refuse("its group may write it, and group " + gid + " is not the own one of a user who counts");
    }
    // Behind an access control list the mode's group bits are only its mask.
    char value[1];
    const ssize_t list = ::getxattr(path.c_str(), "system.posix_acl_access", value, sizeof value);
    if (list >= 0 || (errno != ENODATA && errno != EOPNOTSUPP)) {
        return refuse("its access control list lets others write it");
    }
    return {};
}

/// "root, uid 1001 and uid 1002 count", for messages.
inline std::string Trust::who_counts() const {
    std::string text;
    for (std::size_t i = 0; i < uids_.size(); ++i) {
        text += i == 0 ? "" : i + 1 == uids_.size() ? " and " : ", ";
        text += uids_[i] == 0 ? "root" : "uid " + std::to_string(uids_[i]);
    }
    text += uids_.size() == 1 ? " alone counts" : " count";
    for (const std::string& word : unread_) {
        text += " (\"" + word + "\" in " + trusted_uids_variable + " or " + trusted_gids_variable + " is no id)";
    }
    return text;
}

} // namespace pillion

#endif
