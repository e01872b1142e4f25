//! The trust in this process's own ids: the user who chose its environment, and the id that stands for users from
//! outside its user namespace.

use rustix::process::{getegid, geteuid, getgid, getuid};

/// The id that the kernel shows for what a user namespace does not know, unless it was told of another.
const OVERFLOW: u32 = 65_534;
/// Key of the word that says whether a process got more rights than whoever started it.
const AT_SECURE: u64 = 23;

/// True when this process may do more than the user who started it: set-user-id, set-group-id or file capabilities (the
/// kernel's `AT_SECURE`), or another user since. That user chooses the environment, and shall not choose whom the
/// process believes.
#[must_use]
pub fn is_elevated() -> bool {
    is_secure() || getuid() != geteuid() || getgid() != getegid()
}

/// The kernel's `AT_SECURE` for this process. A process that may not read it counts as secure: it is, or it has become
/// another user.
fn is_secure() -> bool {
    std::fs::read("/proc/self/auxv").map_or(true, |words| told(&words, AT_SECURE) != Some(0))
}

/// The value of `key` in an auxiliary vector: pairs of words.
fn told(vector: &[u8], key: u64) -> Option<u64> {
    let words: Vec<_> = vector.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    words.as_chunks::<2>().0.iter().find(|pair| pair[0] == key).map(|pair| pair[1])
}

/// The uid that every user from outside this process's user namespace has; none where there is no outside.
pub(super) fn outside_uid() -> Option<u32> {
    outside("/proc/self/uid_map", "/proc/sys/kernel/overflowuid")
}

/// The gid that every group from outside this process's user namespace has; none where there is no outside.
pub(super) fn outside_gid() -> Option<u32> {
    outside("/proc/self/gid_map", "/proc/sys/kernel/overflowgid")
}

fn outside(map: &str, overflow: &str) -> Option<u32> {
    if std::fs::read_to_string(map).is_ok_and(|map| is_whole(&map)) {
        return None;
    }
    let known = std::fs::read_to_string(overflow).ok().and_then(|text| text.trim().parse().ok());
    Some(known.unwrap_or(OVERFLOW))
}

/// True when a namespace's id map holds every id there is.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_told_is_found() {
        let vector: Vec<u8> = [6_u64, 4096, AT_SECURE, 1, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!((told(&vector, AT_SECURE), told(&vector, 6), told(&vector, 7)), (Some(1), Some(4096), None));
        assert!(!is_secure(), "a test is started by whom it runs as");
    }

    #[test]
    fn only_the_whole_map_has_no_outside() {
        assert!(is_whole("         0          0 4294967295\n"));
        for part in ["", "         0       1234          1\n", "0 100000 65536\n", "0 0 65535\n65535 65535 1\n"] {
            assert!(!is_whole(part), "{part}");
        }
        assert_eq!(outside("/no/such/map", "/no/such/number"), Some(OVERFLOW));
    }
}
