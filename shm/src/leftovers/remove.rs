//! Removing what nobody uses any more.
//!
//! The owner's lock is taken first, then the name is looked at again: whoever takes a name over holds that lock while the
//! name changes, so no racing creator loses its new region.

use super::{Found, look_at, open};
use crate::layout::Kind;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks at a lock before its owner counts as alive: probes hold it for a moment too.
const LOCK_LOOKS: u32 = 50;

/// What may be removed beyond dead regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// A control page with a HALT in force: with it the HALT is forgotten.
    pub halted: bool,
    /// The clock of this boot.
    pub clock: bool,
    /// A file that bears a region's name and is none.
    pub broken: bool,
}

/// Why a file stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is none.
    #[error("{path} does not exist; mend: see `pillion shm ls`")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// It bears no region's name.
    #[error("{path} is not named like a region; mend: name pillion.LANE.KIND, or remove the file by hand")]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// Its owner lives.
    #[error("{path} is held by a live process (its header names {pid}); mend: stop that process first")]
    Owned {
        /// The region.
        path: PathBuf,
        /// The owner by the header, in its own pid namespace.
        pid: u32,
    },
    /// Its owner is dead, but others map it.
    #[error("{path} is still mapped by process {}; mend: stop it, or start the region's owner again", join(.pids))]
    Mapped {
        /// The region.
        path: PathBuf,
        /// Who maps it.
        pids: Vec<u32>,
    },
    /// A HALT stands in it.
    #[error("{path}: a HALT is in force{detail}, and is forgotten with the page; mend: `--halted` if that is meant")]
    Halted {
        /// The control page.
        path: PathBuf,
        /// Why it counts as halted, if the word could not be read.
        detail: &'static str,
    },
    /// It is the clock, and others are on it.
    #[error("{path} is the clock of {user}, which is in use; mend: stop its owner first")]
    ClockInUse {
        /// The clock.
        path: PathBuf,
        /// A region on it.
        user: PathBuf,
    },
    /// It is the clock of this boot.
    #[error(
        "{path} is the clock of this boot: a process that has read it would refuse the next one's; \
         mend: leave it, or `--clock` once no Pillion process runs"
    )]
    Clock {
        /// The clock.
        path: PathBuf,
    },
    /// It is no region.
    #[error("{path} is not a Pillion region: {found}; mend: name its path if it shall go")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// This user may not open it: what it holds, and whether it is in use, is not known.
    #[error("{path} belongs to uid {owner}, and this user may not open it; mend: run as uid {owner} or root")]
    Denied {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It is no plain file.
    #[error("{path} is {found}; mend: remove it by hand if nothing needs it")]
    NotAFile {
        /// The link, folder or pipe.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The name changed hands meanwhile.
    #[error("{path} has just been taken over by another process; mend: look again")]
    Changed {
        /// The region.
        path: PathBuf,
    },
    /// A call of the operating system failed.
    #[error("cannot {action} {path}: {source}; mend: run as the file's owner")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

fn join(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether `found` may go, `all` being what its directory holds; touches nothing.
pub fn check(found: &Found, all: &[Found], allow: &Allow) -> Result<(), Refusal> {
    let path = found.path.clone();
    let pid = found.what.as_ref().map_or(0, |region| region.owner_pid);
    if found.owner_alive {
        return Err(Refusal::Owned { path, pid });
    }
    if !found.mapped_by.is_empty() {
        return Err(Refusal::Mapped { path, pids: found.mapped_by.clone() });
    }
    match &found.what {
        Err(_) if !super::is_ours(&path.file_name().unwrap_or_default().to_string_lossy()) => {
            Err(Refusal::Name { path })
        }
        Err(reason) if !found.regular => Err(Refusal::NotAFile { path, found: reason.clone() }),
        Err(_) if found.denied => Err(Refusal::Denied { path, owner: found.uid }),
        Err(reason) if !allow.broken => Err(Refusal::Foreign { path, found: reason.clone() }),
        Ok(region) if region.kind == Kind::Clock && !region.beside => {
            let known = region.problem.is_none();
            let on_it = |other: &&Found| {
                let id = other.what.as_ref().map(|region| region.clock_id);
                other.path != path && other.in_use() && (!known || id.is_ok_and(|id| id == region.clock_id))
            };
            match all.iter().find(on_it) {
                Some(user) => Err(Refusal::ClockInUse { path, user: user.path.clone() }),
                None if known && region.this_boot && !allow.clock => Err(Refusal::Clock { path }),
                None => Ok(()),
            }
        }
        // Beside the name a page is never the only one that holds a HALT: it is carried before the names change.
        Ok(region) if region.kind == Kind::Cnc && !region.beside && region.halted && !allow.halted => {
            let detail = if region.problem.is_some() { " as far as this version can tell" } else { "" };
            Err(Refusal::Halted { path, detail })
        }
        _ => Ok(()),
    }
}

/// Removes the file at `path`, if [`check`] has nothing against it once its lock is ours. `all` is what its directory
/// holds, which only the clock's removal asks.
pub fn remove(path: &Path, all: &[Found], allow: &Allow) -> Result<(), Refusal> {
    remove_with(path, all, allow, || ())
}

/// [`remove`], which calls `locked` between taking the lock and its second look.
fn remove_with(path: &Path, all: &[Found], allow: &Allow, locked: impl FnOnce()) -> Result<(), Refusal> {
    let io = |action, source| Refusal::Io { action, path: path.to_owned(), source };
    let Some(before) = look_at(path) else { return Err(Refusal::Absent { path: path.to_owned() }) };
    check(&before, all, allow)?;
    let file = open(path).map_err(|found| Refusal::Foreign { path: path.to_owned(), found })?;
    lock(&file, path, &before)?;
    locked();
    // What was seen without the lock may have changed: a HALT, an owner that has died since, who maps it.
    let now = super::numbered(path).filter(|(_, id)| Some(*id) == number(&file));
    let Some((mut now, _)) = now else { return Err(Refusal::Changed { path: path.to_owned() }) };
    now.owner_alive = false;
    check(&now, all, allow)?;
    rustix::fs::unlink(path).map_err(|error| io("remove", error.into()))
}

fn lock(file: &File, path: &Path, before: &Found) -> Result<(), Refusal> {
    for _ in 0..LOCK_LOOKS {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => {
                return Err(Refusal::Io { action: "lock", path: path.to_owned(), source: error.into() });
            }
        }
    }
    let pid = before.what.as_ref().map_or(0, |region| region.owner_pid);
    Err(Refusal::Owned { path: path.to_owned(), pid })
}

fn number(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Access, Clock, From, Lane, RingReader, RingSpec, RingWriter};

    /// A dead owner's ring, which a reader attaches to after the first look at it and before the second.
    #[test]
    fn who_comes_between_the_looks_is_seen() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let (lane, clock) = (Lane::in_dir(dir.path(), "test").unwrap(), Clock::attach_or_create(dir.path()).unwrap());
        let spec = RingSpec { capacity: 4, record_words: 14, table: Vec::new() };
        drop(RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()).unwrap());
        let (path, mut reader) = (lane.path(Kind::Ticks), None);
        let attach = || reader = Some(RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).unwrap());
        let kept = remove_with(&path, &[], &Allow::default(), attach).unwrap_err();
        assert!(matches!(&kept, Refusal::Mapped { pids, .. } if *pids == [std::process::id()]), "{kept}");
        assert!(!reader.take().unwrap().superseded(), "the name still stands for its ring");
        remove(&path, &[], &Allow::default()).unwrap();
    }
}
