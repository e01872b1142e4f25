//! Who maps a file, as far as /proc shows it: processes of this user, or of all when root, in this pid namespace.

use super::Found;
use std::collections::HashMap;

/// Device and inode as /proc/PID/maps writes them.
fn key(dev: u64, inode: u64) -> (String, u64) {
    (format!("{:02x}:{:02x}", rustix::fs::major(dev), rustix::fs::minor(dev)), inode)
}

/// Adds to each file the processes that map it.
pub(super) fn fill(found: &mut [(Found, (u64, u64))]) {
    let mut by_file = HashMap::new();
    for (i, (_, (dev, inode))) in found.iter().enumerate() {
        by_file.insert(key(*dev, *inode), i);
    }
    if by_file.is_empty() {
        return;
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        // One that has ended meanwhile, or is another user's, shows nothing.
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace().skip(3);
            let (Some(dev), Some(inode)) = (fields.next(), fields.next().and_then(|inode| inode.parse().ok())) else {
                continue;
            };
            if inode == 0 {
                continue;
            }
            if let Some(&i) = by_file.get(&(dev.to_owned(), inode))
                && found[i].0.mapped_by.last() != Some(&pid)
            {
                found[i].0.mapped_by.push(pid);
            }
        }
    }
}
