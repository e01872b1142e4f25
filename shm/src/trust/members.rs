//! Members of a group, by this machine's own files.

use std::io::Read;
use std::path::Path;

/// Longest user or group list that is read.
const MOST_BYTES: u64 = 16 << 20;
/// Groups that many users have as their first one without being told: root's own, and `users`.
const EVERYBODYS: [u32; 2] = [0, 100];
/// Sources of names in `/etc/nsswitch.conf` whose members all stand in the machine's own files.
const SOURCES: [&str; 3] = ["files", "compat", "systemd"];

/// A group of which these files tell every member.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Users whose first group it is.
    pub first_of: Vec<u32>,
    /// All users in it, those among them.
    pub members: Vec<u32>,
}

impl Group {
    /// True when this group is the own group of a user who `counts`, and has no other member.
    pub fn is_own(&self, gid: u32, counts: impl Fn(u32) -> bool) -> bool {
        let first = self.first_of.iter().any(|uid| counts(*uid));
        first && !EVERYBODYS.contains(&gid) && self.members.iter().all(|uid| counts(*uid))
    }
}

/// The group `gid`: users it lists and those whose first group it is. `None` when nobody can tell: `/etc/group` does not know
/// it, or lists a name that `/etc/passwd` does not; one of them cannot be read whole; or the machine takes names from elsewhere
/// too.
pub fn of(gid: u32) -> Option<Group> {
    let switch = match read("/etc/nsswitch.conf") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        switch => switch.ok()?,
    };
    of_lists(gid, &read("/etc/group").ok()?, &read("/etc/passwd").ok()?, &switch)
}

/// Whether an access control list stands behind the mode of `path`, whose group bits are then only its mask.
pub fn has_list(path: &Path) -> bool {
    let mut value = [0_u8; 1];
    // Anything but "there is none" counts: a list too long for the buffer is one.
    let none = [rustix::io::Errno::NODATA, rustix::io::Errno::NOTSUP];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut value).err().is_none_or(|error| !none.contains(&error))
}

/// A whole file; one that is longer than may be is none.
fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
    let whole = (read as u64) < MOST_BYTES;
    if whole { Ok(text) } else { Err(std::io::ErrorKind::FileTooLarge.into()) }
}

/// True when `/etc/nsswitch.conf` takes users and groups from the machine's own files alone.
fn is_local(switch: &str) -> bool {
    let lines = switch.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| line.split_once(':')).all(|(database, sources)| {
        // Brackets hold an action and name no source: [NOTFOUND=return].
        let named = sources.split(['[', ']']).step_by(2).flat_map(str::split_whitespace);
        let concerned = ["passwd", "group", "initgroups"].contains(&database.trim());
        !concerned || named.into_iter().all(|source| SOURCES.contains(&source))
    })
}

fn of_lists(gid: u32, groups: &str, users: &str, switch: &str) -> Option<Group> {
    // A line that begins with a plus takes in names from elsewhere.
    if !is_local(switch) || [groups, users].iter().any(|list| list.lines().any(|line| line.starts_with('+'))) {
        return None;
    }
    // name:password:uid:gid:…
    let user = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        Some(((*fields.first()?).to_owned(), fields.get(2)?.parse::<u32>().ok()?, fields.get(3)?.parse::<u32>().ok()?))
    };
    let users: Vec<_> = users.lines().filter_map(user).collect();
    // name:password:gid:member,member
    let of_gid = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(gid);
    let first_of: Vec<u32> = users.iter().filter(|user| user.2 == gid).map(|user| user.1).collect();
    let (mut members, mut known) = (first_of.clone(), false);
    for line in groups.lines().filter(of_gid) {
        known = true;
        for name in line.split(':').nth(3).unwrap_or("").split(',').filter(|name| !name.is_empty()) {
            members.push(users.iter().find(|user| user.0 == name)?.1);
        }
    }
    members.sort_unstable();
    members.dedup();
    known.then_some(Group { first_of, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str =
        "root:x:0:\nada:x:1000:\ntrading:x:4000:ada,bo\nghosts:x:4001:nobody-knows\nempty:x:4002:\nusers:x:100:\n";
    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbo:x:1001:4000::/:/bin/sh\n\
        cy:x:1002:100::/:/bin/sh\n";

    fn of(gid: u32) -> Option<Group> {
        of_lists(
            gid,
            GROUPS,
            USERS,
            "passwd: files systemd\ngroup: files [NOTFOUND=return] systemd # sss\nhosts: dns\n",
        )
    }

    #[test]
    fn a_group_has_those_it_lists_and_those_whose_first_group_it_is() {
        assert_eq!(of(1000), Some(Group { first_of: vec![1000], members: vec![1000] }));
        assert_eq!(of(4000), Some(Group { first_of: vec![1001], members: vec![1000, 1001] }));
        assert_eq!(of(4002), Some(Group { first_of: vec![], members: vec![] }));
    }

    #[test]
    fn an_unknown_group_or_member_is_told_from_an_empty_one() {
        assert_eq!(of(4242), None);
        assert_eq!(of(4001), None);
    }

    #[test]
    fn only_a_users_own_group_is_his() {
        let own = |gid: u32, who: &[u32]| of(gid).unwrap().is_own(gid, |uid| who.contains(&uid));
        assert!(own(1000, &[1000]) && own(4000, &[1000, 1001]));
        assert!(!own(4000, &[1001]), "another is in it");
        assert!(!own(4002, &[1000]), "nobody's first group: who is in it may be told elsewhere");
        assert!(!own(0, &[0]) && !own(100, &[1002]), "everybody's");
    }

    #[test]
    fn names_from_elsewhere_are_not_told() {
        for switch in ["passwd: files sss", "group:\tldap", "  passwd : files [!UNAVAIL=return] nis", "initgroups: sss"]
        {
            assert_eq!(of_lists(1000, GROUPS, USERS, switch), None, "{switch}");
        }
        assert_eq!(of_lists(1000, GROUPS, &format!("{USERS}+::::::\n"), "passwd: compat"), None);
        assert!(of_lists(1000, GROUPS, USERS, "passwd: compat systemd\nshadow: sss\nnetgroup: nis").is_some());
        assert!(of_lists(1000, GROUPS, USERS, "").is_some());
    }
}
