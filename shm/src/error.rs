//! What is refused, with its name, value and place, and what to do about it.

use crate::text::printable_path;
use crate::trust::Distrust;
use std::path::PathBuf;

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or failure at create, attach or request. Nothing on the path of a record can fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A lane's name is not usable.
    #[error("lane name {name:?} is not 1 to 32 characters of a-z, 0-9, _ and -; mend: choose such a name")]
    Name {
        /// The name as given.
        name: String,
    },
    /// A size or mode asked for makes no sense.
    #[error("{path}: {what} is {value}, but must be {must}; mend: change it where the region is created", path = printable_path(.path))]
    Spec {
        /// The region.
        path: PathBuf,
        /// What was asked for.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        must: &'static str,
    },
    /// There is no such region.
    #[error("{path} does not exist; mend: start its owner first, or check the lane's name", path = printable_path(.path))]
    Absent {
        /// The region.
        path: PathBuf,
    },
    /// A live process owns the name.
    #[error(
        "{path} is held by {} for {} s (generation {generation}), or by a child that it forked; mend: stop it \
         (`pillion shm ls` shows who maps it), or use another lane name",
        holder(.maker), .maker.age_s, path = printable_path(.path)
    )]
    Held {
        /// The region.
        path: PathBuf,
        /// Who made it and holds it.
        maker: Maker,
        /// Generation it holds.
        generation: u64,
    },
    /// Other creators were always faster.
    #[error("{path} changed hands {attempts} times while it was being taken over; mend: start one owner only", path = printable_path(.path))]
    Contended {
        /// The region.
        path: PathBuf,
        /// Take-overs tried.
        attempts: u32,
    },
    /// The file is something else.
    #[error(
        "{path} is not a Pillion region: {found}; mend: `pillion shm rm {path}` as its owner or root if nothing needs it, \
         or use a directory of your own", path = printable_path(.path)
    )]
    NotARegion {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{path} has {found} bytes where its header says {expected}, made by {maker}; mend: restart its owner, which makes it anew", path = printable_path(.path)
    )]
    Size {
        /// The region.
        path: PathBuf,
        /// Bytes by the header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
        /// Who made it.
        maker: Maker,
    },
    /// The two sides do not agree.
    #[error("{path}: its {what} is {found}, this process has {wanted}; it was made by {maker}; mend: {mend}", path = printable_path(.path))]
    Mismatch {
        /// The region.
        path: PathBuf,
        /// What they disagree on.
        what: &'static str,
        /// The region's.
        found: String,
        /// Ours.
        wanted: String,
        /// Who made it.
        maker: Maker,
        /// What to do.
        mend: &'static str,
    },
    /// The file system is too small.
    #[error(
        "{path} needs {needed} bytes, its file system has {free} free; \
         mend: lower the capacity, remove old regions, or enlarge it (mount -o remount,size=... /dev/shm)", path = printable_path(.path)
    )]
    NoSpace {
        /// The region.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The kernel forbids it to this user.
    #[error(
        "not allowed to {action} {path} as uid {uid}{}; \
         mend: run as its owner, or have the owner give it to a group that this user is in",
        belongs(*.owner), path = printable_path(.path)
    )]
    Denied {
        /// The region.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Effective user.
        uid: u32,
        /// Whose file it is, where that could be seen.
        owner: Option<u32>,
    },
    /// Somebody who does not count owns it, or may write it, or may put another file in its place.
    #[error(transparent)]
    Untrusted(#[from] Distrust),
    /// The memory cannot be locked.
    #[error(
        "{path}: its {bytes} bytes cannot be locked in memory, the limit is {limit} bytes ({source}); \
         mend: raise it (ulimit -l, LimitMEMLOCK=) or set lock = \"try\"", path = printable_path(.path)
    )]
    Lock {
        /// The region.
        path: PathBuf,
        /// Bytes to be locked.
        bytes: u64,
        /// RLIMIT_MEMLOCK, bytes; `unlimited` when there is none.
        limit: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A call of the operating system failed.
    #[error("cannot {action} {path}: {source}; mend: see that its directory is a tmpfs with room, such as /dev/shm", path = printable_path(.path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A text or list does not fit its place in the tables.
    #[error("signal tables: {what} is {value}, at most {limit} fit; mend: shorten it")]
    Table {
        /// The field, with its row.
        what: String,
        /// Its length or value.
        value: String,
        /// The limit.
        limit: String,
    },
    /// Nobody is there to answer.
    #[error("{path}: its owner, process {pid}, is gone; mend: start the sidecar again", path = printable_path(.path))]
    NoOwner {
        /// The cnc region.
        path: PathBuf,
        /// The late owner.
        pid: u32,
    },
    /// The owner did not answer in time.
    #[error(
        "{path}: process {pid} did not answer {command} within {waited_ms} ms; mend: look at its heartbeat and log", path = printable_path(.path)
    )]
    NoAnswer {
        /// The cnc region.
        path: PathBuf,
        /// Its owner.
        pid: u32,
        /// What was asked.
        command: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The answer came and was overwritten by eight later ones.
    #[error(
        "{path}: the answer to {command} was overwritten by later ones; mend: read the state, ask again if need be", path = printable_path(.path)
    )]
    AnswerLost {
        /// The cnc region.
        path: PathBuf,
        /// What was asked.
        command: String,
    },
}

fn belongs(owner: Option<u32>) -> String {
    owner.map_or_else(String::new, |owner| format!(", it belongs to uid {owner}"))
}

/// Who holds a region, as far as this process can see: its maker may have died, and left the lock to another.
fn holder(maker: &Maker) -> String {
    if std::path::Path::new("/proc").join(maker.pid.to_string()).exists() {
        return format!("live process {}", maker.pid);
    }
    format!("a lock that outlived process {}, which made it (or lives where this process cannot see it),", maker.pid)
}

/// Who made a region, as its header says: for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Process id, in its own pid namespace.
    pub pid: u32,
    /// Seconds since then, by the wall clock.
    pub age_s: u64,
}

impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "process {} {} s ago", self.pid, self.age_s)
    }
}

impl Error {
    /// Whether the region is simply not there yet: its owner may still come.
    pub fn is_absent(&self) -> bool {
        matches!(self, Error::Absent { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anybody may name a directory.
    #[test]
    fn no_path_steers_a_terminal() {
        let path = PathBuf::from("/dev/shm/\x1b[31m\u{202e}/pillion.es.cnc");
        let refused = Distrust::Refused { path: path.clone(), found: String::new(), mend: String::new() };
        let texts = [
            Error::Absent { path: path.clone() }.to_string(),
            Error::NotARegion { path: path.clone(), found: String::new() }.to_string(),
            Error::Denied { path: path.clone(), action: "open", uid: 1, owner: None }.to_string(),
            Error::NoOwner { path, pid: 1 }.to_string(),
            Error::Untrusted(refused).to_string(),
        ];
        for text in texts {
            assert!(text.contains("/dev/shm/\\u001b[31m\\u202e/pillion.es.cnc"), "{text}");
            assert_eq!(crate::text::unprintable(&text), None, "{text}");
        }
    }
}
