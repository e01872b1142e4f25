//! HALTs that outlive a reboot: a file `<lane>.halt` outside the tmpfs of the regions, with who asked, when and why.
//!
//! Whoever asks writes the file before the order goes to the control page, so that a HALT is never lost to a sidecar that
//! starts at the same time: the sidecar looks at the file after it has made its page, and again when it enters RUN. Only
//! a resume removes it. A file that cannot be understood counts as a HALT.

mod place;
pub mod watch;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use pillion_shm::text::printable;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use place::{
    Places, SHM_DIR, SYSTEM_DIR, Unseen, announce, announced_in, default_dir, note, page_owner, recorded_lanes,
    standing,
};

/// Longest reason, bytes.
pub const MOST_REASON: usize = 400;
/// Longest record that is read, bytes.
const MOST_BYTES: u64 = 8 << 10;

/// One HALT, as its file says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The lane.
    pub lane: String,
    /// When the HALT began, ns since the epoch by the wall clock; a HALT asked for again keeps it.
    pub since_ns: u64,
    /// When it was last asked for, ns since the epoch by the wall clock.
    pub asked_ns: u64,
    /// User who asked.
    pub uid: u32,
    /// That user's name, with the one behind `sudo`; the number where there is none.
    pub name: String,
    /// Process that asked, in its own pid namespace.
    pub pid: u32,
    /// Why.
    pub reason: String,
}

/// A HALT file that was found.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The file.
    pub path: PathBuf,
    /// Which file it was: it changes when a HALT is asked for anew.
    pub id: FileId,
    /// What it says, or why that cannot be told.
    pub record: Result<Record, String>,
}

/// Inode and the time when its content last changed, ns: another for each record that ever had the name, and the same for one
/// that was put aside and stands again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, i128);

impl Record {
    /// A HALT that this process asks for now.
    pub fn now(lane: &str, reason: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now_ns, uid) = (u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), rustix::process::getuid().as_raw());
        Self {
            lane: lane.to_owned(),
            since_ns: now_ns,
            asked_ns: now_ns,
            uid,
            name: place::user_name(uid),
            pid: std::process::id(),
            reason: reason.to_owned(),
        }
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (since, name) = (utc(self.since_ns), printable(&self.name));
        write!(f, "since {since} by {name} (uid {}, pid {})", self.uid, self.pid)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", printable(&self.reason))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.record {
            Ok(record) => write!(f, "{record} [{}]", self.path.display()),
            Err(problem) => write!(f, "by {}, whose record cannot be read: {problem}", self.path.display()),
        }
    }
}

/// ns since the epoch as RFC 3339, to the second.
pub fn utc(ns: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp((ns / 1_000_000_000) as i64).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ns} ns"))
}

/// What stands in a HALT file; `None` where there is none.
///
/// # Errors
/// The folder cannot be looked into.
pub fn read(path: &Path) -> io::Result<Option<Recorded>> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e),
    };
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let record = contents(path, metadata.is_file())
        .and_then(|text| serde_json::from_str(&text).map_err(|e| format!("no HALT record: {e}")));
    Ok(Some(Recorded { path: path.to_owned(), id: FileId(metadata.ino(), changed), record }))
}

fn contents(path: &Path, regular: bool) -> Result<String, String> {
    if !regular {
        return Err("not a plain file".into());
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

/// Records a HALT in `dir`, which is made if it is missing: whole, on the disk, in one step. A HALT that stands there
/// already keeps its beginning, and its reason where the new order has none. The file's path.
///
/// # Errors
/// The folder or the file cannot be written; the file that stood there still does.
pub fn write(dir: &Path, record: &Record) -> io::Result<PathBuf> {
    make_dir(dir)?;
    let path = place::file(dir, &record.lane);
    let mut record = record.clone();
    if let Some(Ok(before)) = read(&path)?.map(|found| found.record) {
        record.since_ns = record.since_ns.min(before.since_ns);
        if record.reason.is_empty() {
            record.reason = before.reason;
        }
    }
    let mut text = serde_json::to_string(&record).map_err(io::Error::other)?;
    text.push('\n');
    place_whole(dir, &path, text.as_bytes())?;
    Ok(path)
}

/// Gives `bytes` the name `path` in `dir` in one step, synced before and after.
fn place_whole(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".halt-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    // The umask does not matter: the lane's sidecar may be another user's.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_dir(dir)
}

/// Makes the folder, and its name durable.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    if dir == Path::new(SYSTEM_DIR) {
        // The umask does not matter: every user's sidecar looks there.
        std::fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    }
    dir.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// HALT files on their way out: put aside, so that they stand no more, and back by [`Aside::put_back`] where the rest of
/// the resume fails.
#[derive(Debug, Default)]
#[must_use = "dropped, what was put aside stays aside"]
pub struct Aside(Vec<(PathBuf, PathBuf)>);

impl Aside {
    /// Puts all these files aside, or none.
    ///
    /// # Errors
    /// The file that could not be, and why; those before it stand again.
    pub fn put(files: &[Recorded]) -> Result<Self, (PathBuf, io::Error)> {
        let mut aside = Self::default();
        for found in files {
            let beside = found.path.with_extension(format!("halt-resumed-{}", std::process::id()));
            if let Err(e) = std::fs::rename(&found.path, &beside) {
                // Somebody else resumed at the same time: what should go has gone.
                if e.kind() == io::ErrorKind::NotFound {
                    continue;
                }
                // What was put aside a moment ago can be put back, or its own error stands in the next look.
                let _ = aside.put_back();
                return Err((found.path.clone(), e));
            }
            aside.0.push((found.path.clone(), beside));
        }
        Ok(aside)
    }

    /// Lets them stand again; a HALT asked for meanwhile keeps its place.
    ///
    /// # Errors
    /// A file that could not be put back.
    pub fn put_back(self) -> io::Result<()> {
        for (path, beside) in self.0 {
            match std::fs::hard_link(&beside, &path) {
                Ok(()) => std::fs::remove_file(&beside)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => std::fs::remove_file(&beside)?,
                // A file system without hard links.
                Err(_) => std::fs::rename(&beside, &path)?,
            }
            path.parent().map_or(Ok(()), sync_dir)?;
        }
        Ok(())
    }

    /// Removes them for good. The paths they had.
    ///
    /// # Errors
    /// A file that could not be removed: it stands aside and is no HALT any more.
    pub fn remove(self) -> io::Result<Vec<PathBuf>> {
        let mut gone = Vec::new();
        for (path, beside) in self.0 {
            let removed = if beside.is_dir() { std::fs::remove_dir(&beside) } else { std::fs::remove_file(&beside) };
            removed.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", beside.display())))?;
            path.parent().map_or(Ok(()), sync_dir)?;
            gone.push(path);
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lane: &str, reason: &str) -> Record {
        Record::now(lane, reason)
    }

    #[test]
    fn a_record_reads_back_and_keeps_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/yet");
        let first = asked("es", "the feed is wrong");
        let path = write(&state, &first).unwrap();
        assert_eq!(path, state.join("es.halt"));
        let found = read(&path).unwrap().expect("just written");
        assert_eq!(found.record, Ok(first.clone()));
        // Asked again without a reason: the beginning and the reason stay, and the file is another one.
        let again = Record { since_ns: first.since_ns + 5, asked_ns: first.asked_ns + 5, ..asked("es", "") };
        write(&state, &again).unwrap();
        let second = read(&path).unwrap().unwrap();
        assert_ne!(second.id, found.id);
        let second = second.record.unwrap();
        assert_eq!((second.since_ns, second.reason.as_str()), (first.since_ns, "the feed is wrong"));
        assert_eq!(second.asked_ns, first.asked_ns + 5);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_understood_is_a_halt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("es.halt");
        assert!(read(&path).unwrap().is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap().expect("there").record.is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/no/such/place", &path).unwrap();
        assert!(read(&path).unwrap().expect("there").record.unwrap_err().contains("plain file"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let found = read(&path).unwrap().expect("there");
        assert!(found.record.is_err());
        Aside::put(&[found]).unwrap().remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "an empty folder goes as a file does");
    }

    #[test]
    fn a_resume_that_fails_leaves_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &asked("es", "")).unwrap();
        let found = || vec![read(&path).unwrap().unwrap()];
        let before = found();
        let aside = Aside::put(&before).unwrap();
        assert!(read(&path).unwrap().is_none());
        aside.put_back().unwrap();
        assert_eq!(found()[0].record, before[0].record);
        assert_eq!(found()[0].id, before[0].id, "a HALT that stands again is the order that it was");
        // A HALT asked for in between keeps its place.
        let aside = Aside::put(&found()).unwrap();
        write(dir.path(), &asked("es", "newer")).unwrap();
        aside.put_back().unwrap();
        assert_eq!(found()[0].record.as_ref().unwrap().reason, "newer");
        Aside::put(&found()).unwrap().remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_in_a_record_steers_a_terminal() {
        let record = Record { reason: "\u{1b}]0;x\u{7}\n".into(), name: "\u{9b}31m".into(), ..asked("es", "") };
        assert!(!record.to_string().chars().any(char::is_control), "{record}");
    }
}
