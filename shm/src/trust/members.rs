//! Who is in a group, as far as this machine's own files say.

use std::io::Read;
use std::path::Path;

/// Longest user or group list that is read.
const MOST_BYTES: u64 = 16 << 20;

/// The users in group `gid`: those it lists and those whose first group it is. `None` when `/etc/group` does not know it,
/// or lists a name that `/etc/passwd` does not: such a group may have members that these files do not tell.
pub fn of(gid: u32) -> Option<Vec<u32>> {
    of_lists(gid, &read("/etc/group")?, &read("/etc/passwd")?)
}

/// Whether an access control list stands behind the mode of `path`, whose group bits are then only its mask.
pub fn has_list(path: &Path) -> bool {
    let mut value = [0_u8; 1];
    // Anything but "there is none" counts: a list too long for the buffer is one.
    let none = [rustix::io::Errno::NODATA, rustix::io::Errno::NOTSUP];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut value).err().is_none_or(|error| !none.contains(&error))
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn of_lists(gid: u32, groups: &str, users: &str) -> Option<Vec<u32>> {
    // name:password:uid:gid:…
    let user = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        Some(((*fields.first()?).to_owned(), fields.get(2)?.parse::<u32>().ok()?, fields.get(3)?.parse::<u32>().ok()?))
    };
    let users: Vec<_> = users.lines().filter_map(user).collect();
    // name:password:gid:member,member
    let of_gid = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(gid);
    let mut found: Vec<u32> = users.iter().filter(|user| user.2 == gid).map(|user| user.1).collect();
    let mut known = false;
    for line in groups.lines().filter(of_gid) {
        known = true;
        for name in line.split(':').nth(3).unwrap_or("").split(',').filter(|name| !name.is_empty()) {
            found.push(users.iter().find(|user| user.0 == name)?.1);
        }
    }
    found.sort_unstable();
    found.dedup();
    known.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nada:x:1000:\ntrading:x:4000:ada,bo\nghosts:x:4001:nobody-knows\nempty:x:4002:\n";
    const USERS: &str =
        "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbo:x:1001:4000::/:/bin/sh\n";

    #[test]
    fn a_group_has_those_it_lists_and_those_whose_first_group_it_is() {
        assert_eq!(of_lists(1000, GROUPS, USERS), Some(vec![1000]));
        assert_eq!(of_lists(4000, GROUPS, USERS), Some(vec![1000, 1001]));
        assert_eq!(of_lists(4002, GROUPS, USERS), Some(vec![]));
    }

    #[test]
    fn an_unknown_group_or_member_is_told_from_an_empty_one() {
        assert_eq!(of_lists(4242, GROUPS, USERS), None);
        assert_eq!(of_lists(4001, GROUPS, USERS), None);
    }
}
