//! Who may own what is used: a file is worth what those who can change it are worth.
//!
//! Root counts, the effective user, the user who owns the running binary (he can change what runs anyway) and whoever
//! was named; never the id that stands for every user outside of a user namespace, unless it was named. A file is used if one of them owns it and nobody else may write it, and if the same holds for every
//! directory on the way to it; a sticky directory of such a user, as `/dev/shm` is in order, since there nobody renames or removes
//! what is another's. Each directory and link is looked at from `/` downwards, so that nobody who does not count can
//! change the way behind the look.

mod ids;
mod members;

pub use ids::is_elevated;

use crate::text::printable_path;
use rustix::process::{getegid, geteuid};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// Environment variable with further user ids that count, separated by commas. Not read where [`is_elevated`].
pub const TRUSTED_UIDS: &str = "PILLION_TRUSTED_UIDS";
/// Environment variable with further group ids that may write control pages, separated by commas. Not read where [`is_elevated`].
pub const TRUSTED_GIDS: &str = "PILLION_TRUSTED_GIDS";

/// Links followed before a way counts as endless, as in the kernel.
const MOST_LINKS: u32 = 40;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Result with [`Distrust`].
pub type Result<T> = std::result::Result<T, Distrust>;

/// Why a file or directory is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// Somebody who does not count owns it or may write it.
    #[error("{} is not trusted: {found}; mend: {mend}", printable_path(.path))]
    Refused {
        /// The file, directory or link.
        path: PathBuf,
        /// Owner, mode and what is wrong with them.
        found: String,
        /// What to do.
        mend: String,
    },
    /// It could not be looked at, or is not there.
    #[error(
        "cannot {action} {}: {source}; mend: check the path, and that this user may search its directories",
        printable_path(.path)
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Who besides its owner may write a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody. The own group of a user who counts is nobody, while no other user is in it.
    Owner,
    /// Also a group that counts: see [`Trust::with_gid`]. For control pages.
    Group,
    /// Also any group that its owner, who counts, has let in. For orders, and for looks that nothing is traded on: a kill
    /// switch shall not hang on who else may use it.
    AnyGroup,
}

/// Which users count, and which groups may write a control page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    uids: Vec<u32>,
    gids: Vec<u32>,
    /// True when the effective user counts.
    effective: bool,
    /// The id of every user from outside this user namespace, who is not the effective user, whatever his id.
    outside: Option<u32>,
    /// Words of the environment that are no ids: they count for nothing, and refusals say so.
    unread: Vec<String>,
}

impl Trust {
    /// Root, the effective user, the owner of the running binary, and whom [`TRUSTED_UIDS`] names. This process's groups
    /// and those of [`TRUSTED_GIDS`] may write control pages.
    pub fn own() -> Self {
        let mut trust = Self::of_binary();
        trust.effective = true;
        if trust.counts(geteuid().as_raw()) {
            trust = trust.with_uid(geteuid().as_raw());
        }
        let mut groups = rustix::process::getgroups().unwrap_or_default();
        groups.push(getegid());
        let outside = ids::outside_gid();
        let groups = groups.iter().map(|group| group.as_raw()).filter(|gid| Some(*gid) != outside);
        trust = groups.fold(trust, Self::with_gid);
        if !is_elevated() {
            let (uids, gids) = (trust.named(TRUSTED_UIDS), trust.named(TRUSTED_GIDS));
            trust = uids.into_iter().fold(trust, Self::with_uid);
            trust = gids.into_iter().fold(trust, Self::with_gid);
        }
        trust
    }

    /// Root and the owner of the running binary alone: whose code a process may run that may do more than whoever started it.
    pub fn of_binary() -> Self {
        let (uids, gids, unread) = (vec![0], Vec::new(), Vec::new());
        let trust = Self { uids, gids, effective: false, outside: ids::outside_uid(), unread };
        match std::fs::metadata("/proc/self/exe") {
            Ok(binary) if Some(binary.uid()) != trust.outside => trust.with_uid(binary.uid()),
            _ => trust,
        }
    }

    /// And the user `uid`.
    #[must_use]
    pub fn with_uid(mut self, uid: u32) -> Self {
        if !self.uids.contains(&uid) {
            self.uids.push(uid);
        }
        self
    }

    /// And the group `gid`, for control pages alone.
    #[must_use]
    pub fn with_gid(mut self, gid: u32) -> Self {
        if !self.gids.contains(&gid) {
            self.gids.push(gid);
        }
        self
    }

    /// The users who count, root first.
    pub fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// True when files of the user `uid` may be used. The effective user counts also after the process has become
    /// another one.
    pub fn counts(&self, uid: u32) -> bool {
        let own = self.effective && uid == geteuid().as_raw() && Some(uid) != self.outside;
        own || self.uids.contains(&uid)
    }

    /// Whether the group `gid` may write a control page.
    pub fn group_counts(&self, gid: u32) -> bool {
        self.gids.contains(&gid)
    }

    /// Opens the file at `path` for reading, links followed, once the way to it and the opened file are in order.
    ///
    /// # Errors
    /// [`Distrust::Refused`] for a directory, link or file that somebody else owns or may write, and for what is no
    /// regular file; [`Distrust::Io`] when it is not there or not readable.
    pub fn open(&self, path: &Path) -> Result<File> {
        let io = |source| Distrust::Io { action: "open", path: path.to_owned(), source };
        let at = self.check_way(path)?;
        // Not to wait for whoever is at the other end of a pipe; a regular file does not mind.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(nonblock).open(&at).map_err(io)?;
        self.check_file(path, &file.metadata().map_err(io)?, Writers::Owner)?;
        Ok(file)
    }

    /// Whether an opened file may be used: `metadata` are its own (fstat), `path` is its name for messages.
    ///
    /// # Errors
    /// [`Distrust::Refused`], naming owner, mode and the mend.
    pub fn check_file(&self, path: &Path, metadata: &Metadata, writers: Writers) -> Result<()> {
        if !metadata.is_file() {
            let mend = "name a regular file".to_owned();
            return Err(refused(path, format!("it is {}, not a regular file", kind(metadata)), mend));
        }
        self.check_owner(path, metadata)?;
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(self.writable(path, metadata, "everybody may write it", "o-w"));
        }
        let by_group = metadata.mode() & GROUP_WRITES != 0;
        match writers {
            _ if !by_group => Ok(()),
            Writers::AnyGroup => Ok(()),
            Writers::Group if self.group_counts(metadata.gid()) => Ok(()),
            Writers::Group => {
                self.check_members(path, metadata).map_err(|distrust| naming_group(distrust, metadata.gid()))
            }
            Writers::Owner => self.check_members(path, metadata),
        }
    }

    /// Whether every directory and link from `/` to the last name of `path` is in order; a relative path starts at the
    /// working directory. Says where the path leads, without links. The last name is followed if it is a link, and is
    /// otherwise not looked at: open what is returned, then [`Trust::check_file`].
    ///
    /// # Errors
    /// As [`Trust::open`]: also when something on the way, or the last name, is not there.
    pub fn check_way(&self, path: &Path) -> Result<PathBuf> {
        Ok(self.walk(path)?.at)
    }

    /// [`Trust::check_way`], and the directory at its end.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn check_dir(&self, path: &Path) -> Result<PathBuf> {
        let end = self.walk(path)?;
        self.check_owner(&end.at, &end.metadata)?;
        self.check_sharing(&end.at, &end.metadata)?;
        Ok(end.at)
    }

    /// These users for files right in the directory `dir`, and its owner.
    ///
    /// The owner of a directory decides what stands under each name in it, whoever looks. So whoever trusts the
    /// directory trusts him; and if only users who count can have put the directory there, as root does in `/run`,
    /// naming it is naming him. In a sticky directory of everybody's anybody may have made it: there its owner must
    /// count already.
    ///
    /// # Errors
    /// As [`Trust::check_dir`], but for the owner. The directory's group may write the control pages in it.
    pub fn in_dir(&self, dir: &Path) -> Result<Self> {
        let end = self.walk(dir)?;
        if end.shared {
            self.check_owner(&end.at, &end.metadata)?;
        }
        let open = end.metadata.mode() & (OTHERS_WRITE | GROUP_WRITES) != 0;
        // One id stands for all users outside of a user namespace: what anybody puts there would be that owner's.
        let anybodys = open && Some(end.metadata.uid()) == self.outside;
        let all = if anybodys { self.clone() } else { self.clone().with_uid(end.metadata.uid()) };
        all.check_sharing(&end.at, &end.metadata)?;
        // That of a sticky directory for everybody is nobody's choice, and neither is that of all groups outside.
        let chosen = end.metadata.mode() & OTHERS_WRITE == 0 && Some(end.metadata.gid()) != ids::outside_gid();
        Ok(if chosen { all.with_gid(end.metadata.gid()) } else { all })
    }

    /// From `/` to the end of `path`, one name at a time.
    fn walk(&self, path: &Path) -> Result<End> {
        let whole = std::path::absolute(path).map_err(|source| look(path, source))?;
        let mut todo: VecDeque<OsString> = names(&whole).collect();
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        let mut metadata = stat(&at)?;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                // What lies above has been looked at on the way here.
                at.pop();
                metadata = stat(&at)?;
                continue;
            }
            self.check_owner(&at, &metadata)?;
            self.check_sharing(&at, &metadata)?;
            let next = at.join(&name);
            metadata = stat(&next)?;
            if !metadata.is_symlink() {
                at = next;
                continue;
            }
            self.check_owner(&next, &metadata)?;
            links += 1;
            if links > MOST_LINKS {
                let source = std::io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error());
                return Err(look(path, source));
            }
            let target = std::fs::read_link(&next).map_err(|source| look(&next, source))?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            metadata = stat(&at)?;
            names(&target).collect::<Vec<_>>().into_iter().rev().for_each(|name| todo.push_front(name));
        }
        let above = stat(at.parent().unwrap_or(&at))?.mode();
        // One that is not sticky is written by users who count alone, or the walk had ended there.
        let shared = above & STICKY != 0 && above & (OTHERS_WRITE | GROUP_WRITES) != 0;
        Ok(End { at, metadata, shared })
    }

    fn check_owner(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        let uid = metadata.uid();
        if self.counts(uid) {
            return Ok(());
        }
        let outside = if Some(uid) == self.outside { " (here every user outside of this user namespace)" } else { "" };
        let found = format!("it belongs to {}{outside}; {}", owner(metadata), self.who_counts());
        let mend = format!(
            "have uid {uid} or root give it to one of these, use a directory of your own, or, if uid {uid} shall count, \
             name it: {TRUSTED_UIDS}={uid} in the environment, or, for what a configuration names, \
             trusted_uids = [{uid}] under its [process]"
        );
        Err(refused(path, found, mend))
    }

    /// Whether nobody who does not count can put other files into the directory of `metadata`, or take files away.
    fn check_sharing(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        if !metadata.is_dir() {
            let source = std::io::Error::from_raw_os_error(rustix::io::Errno::NOTDIR.raw_os_error());
            return Err(look(path, source));
        }
        if metadata.mode() & STICKY != 0 {
            return Ok(());
        }
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(self.writable(path, metadata, "everybody may replace what is in it", "o-w"));
        }
        if metadata.mode() & GROUP_WRITES != 0 { self.check_members(path, metadata) } else { Ok(()) }
    }

    /// Refuses `path` where a user who does not count can write it through its group: the group must be the own group
    /// of a user who counts, without another member.
    fn check_members(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        let gid = metadata.gid();
        let counts = |uid: u32| self.counts(uid);
        let found = match members::of(gid) {
            Some(group) if group.is_own(gid, counts) => {
                if !members::has_list(path) {
                    return Ok(());
                }
                "its access control list lets others write it".to_owned()
            }
            Some(group) => match group.members.iter().find(|uid| !counts(**uid)) {
                Some(stranger) => format!("its group may write it, and uid {stranger} is in group {gid}"),
                None => format!("its group may write it, and group {gid} is not the own one of a user who counts"),
            },
            None => format!("its group may write it, and nobody can tell who is in group {gid}"),
        };
        Err(self.writable(path, metadata, &found, "g-w"))
    }

    fn writable(&self, path: &Path, metadata: &Metadata, found: &str, mend: &str) -> Distrust {
        let own = geteuid().as_raw();
        let who = if own == 0 || own == metadata.uid() { String::new() } else { format!(" (uid {})", metadata.uid()) };
        let found = format!("{found}: it belongs to {}", owner(metadata));
        refused(path, found, format!("`chmod {mend} {}`{who}", printable_path(path)))
    }

    /// "root, uid 1001 and uid 1002 count", for messages.
    fn who_counts(&self) -> String {
        let name = |uid: &u32| if *uid == 0 { "root".to_owned() } else { format!("uid {uid}") };
        let names: Vec<_> = self.uids.iter().map(name).collect();
        let unread = self.unread.iter().map(|word| format!(" ({word:?} in {TRUSTED_UIDS} or {TRUSTED_GIDS} is no id)"));
        let unread: String = unread.collect();
        match names.split_last() {
            Some((last, [])) => format!("{last} alone counts{unread}"),
            Some((last, rest)) => format!("{} and {last} count{unread}", rest.join(", ")),
            None => unread,
        }
    }

    /// The ids that the environment's `variable` names; what is none is kept for messages.
    fn named(&mut self, variable: &str) -> Vec<u32> {
        let value = std::env::var_os(variable).unwrap_or_default().to_string_lossy().into_owned();
        let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
        let (ids, unread): (Vec<_>, Vec<_>) =
            words.map(|word| (word, word.parse::<u32>().ok())).partition(|w| w.1.is_some());
        self.unread.extend(unread.into_iter().map(|(word, _)| word.to_owned()));
        ids.into_iter().filter_map(|(_, id)| id).collect()
    }
}

/// Where a way leads.
struct End {
    /// Without links.
    at: PathBuf,
    metadata: Metadata,
    /// Whether users who do not count may have put it there.
    shared: bool,
}

/// The names of `path` in turn, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn stat(path: &Path) -> Result<Metadata> {
    std::fs::symlink_metadata(path).map_err(|source| look(path, source))
}

fn refused(path: &Path, found: String, mend: String) -> Distrust {
    Distrust::Refused { path: path.to_owned(), found, mend }
}

/// A control page that `gid` may write: taking that away would take the kill switch from the group.
fn naming_group(distrust: Distrust, gid: u32) -> Distrust {
    match distrust {
        Distrust::Refused { path, found, mend } => {
            let name = "name it, if it shall give orders";
            let ways = format!("Lane::trusting_group({gid}), or shm_gid = {gid} under [process] of a configuration");
            let mend = format!("{name}: {TRUSTED_GIDS}={gid} in the environment, {ways}; if it shall not, {mend}");
            Distrust::Refused { path, found, mend }
        }
        other => other,
    }
}

fn look(path: &Path, source: std::io::Error) -> Distrust {
    Distrust::Io { action: "look at", path: path.to_owned(), source }
}

/// "uid 1002, group 1002, mode 0644".
fn owner(metadata: &Metadata) -> String {
    format!("uid {}, group {}, mode {:04o}", metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_symlink() => "a symbolic link",
        () => "a device",
    }
}

#[cfg(test)]
mod tests;
