//! In which folders a lane's HALT may be recorded.
//!
//! A sidecar obeys the records of its configuration's `process.state_dir` and of [`SYSTEM_DIR`], where root's orders go.
//! An operator who has no configuration at hand finds the first by a note that the sidecar leaves beside its regions.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Record, Recorded, read, write};

/// Where root's orders are recorded, and every sidecar looks.
pub const SYSTEM_DIR: &str = "/var/lib/pillion";

/// Longest path in a note, bytes.
const MOST_NOTE: u64 = 4096;

/// The folder of a user who names none: root's is [`SYSTEM_DIR`].
pub fn default_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return SYSTEM_DIR.into();
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map_or(SYSTEM_DIR.into(), |dir| dir.join("pillion"))
}

/// The file of a lane's HALT in `dir`.
pub(super) fn file(dir: &Path, lane: &str) -> PathBuf {
    dir.join(format!("{lane}.halt"))
}

/// Folders in which a lane's HALT may stand; the first is where a new one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    dirs: Vec<PathBuf>,
    known: bool,
}

impl Places {
    /// A sidecar's: `configured`, or the default where that is empty, and the system's.
    pub fn of_sidecar(configured: &Path) -> Self {
        let own = if configured.as_os_str().is_empty() { default_dir() } else { configured.to_owned() };
        Self::all([own, SYSTEM_DIR.into()], true)
    }

    /// An operator's: `asked` if it names one. Else the folder that the lane's sidecar has said, unless somebody could have
    /// said it who is neither root nor this user nor `owner`, the user who owns the lane's page; and the default.
    pub fn of_operator(asked: Option<&Path>, shm_dir: &Path, lane: &str, owner: Option<u32>) -> Self {
        let me = rustix::process::geteuid();
        let counts = |by: u32| by == 0 || by == me.as_raw() || Some(by) == owner;
        let note = announced_in(shm_dir, lane).filter(|(_, by)| counts(*by));
        let (asked, own) = (asked.map(Path::to_owned), default_dir());
        // A page of another user's without a note: where its sidecar looks is not known.
        let known = asked.is_some() || note.is_some() || me.is_root() || owner.is_none_or(|owner| owner == me.as_raw());
        // Root writes where every sidecar looks, and never where another user points.
        let first = match &note {
            _ if asked.is_some() => asked,
            Some((dir, by)) if !me.is_root() || *by == 0 => Some(dir.clone()),
            _ => None,
        };
        let said = note.map(|(dir, _)| dir);
        Self::all(first.into_iter().chain([own]).chain(said).chain([SYSTEM_DIR.into()]), known)
    }

    fn all(dirs: impl IntoIterator<Item = PathBuf>, known: bool) -> Self {
        let mut all: Vec<PathBuf> = Vec::new();
        for dir in dirs {
            if !all.contains(&dir) {
                all.push(dir);
            }
        }
        Self { dirs: all, known }
    }

    /// Records a HALT where the lane's sidecar looks.
    ///
    /// # Errors
    /// It cannot be written there, or it is not known where that is.
    pub fn record(&self, record: &Record) -> io::Result<PathBuf> {
        if !self.known {
            return Err(io::Error::other("the lane is another user's, and has not said where its sidecar looks"));
        }
        write(self.first(), record)
    }

    /// Where a new HALT is written.
    pub fn first(&self) -> &Path {
        &self.dirs[0]
    }

    /// Every HALT of `lane` that stands. A folder that this user may not look into is left out, but not the first.
    ///
    /// # Errors
    /// The first folder cannot be looked into, so nobody knows whether a HALT stands there.
    pub fn find(&self, lane: &str) -> io::Result<Vec<Recorded>> {
        let mut found = Vec::new();
        for (i, dir) in self.dirs.iter().enumerate() {
            match read(&file(dir, lane)) {
                Ok(recorded) => found.extend(recorded),
                Err(e) if i == 0 => return Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display()))),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Lanes with a HALT file in any of the folders.
    pub fn lanes(&self) -> Vec<String> {
        let files = self.dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
        let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".halt")?.to_owned());
        let mut lanes: Vec<_> = files.filter_map(name).filter(|lane| pillion_shm::Lane::new(lane).is_ok()).collect();
        lanes.sort();
        lanes.dedup();
        lanes
    }
}

/// The note of a lane's sidecar: which folder it looks in.
pub fn note(shm_dir: &Path, lane: &str) -> PathBuf {
    shm_dir.join(format!(".pillion.{lane}.state"))
}

/// Leaves the note, readable for all as the folder's name is no secret.
///
/// # Errors
/// It cannot be written.
pub fn announce(shm_dir: &Path, lane: &str, places: &Places) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let builder = Permissions::from_mode(0o644);
    let mut file =
        tempfile::Builder::new().prefix(".pillion-").suffix(".partial").permissions(builder).tempfile_in(shm_dir)?;
    file.write_all(places.first().as_os_str().as_bytes())?;
    file.persist(note(shm_dir, lane)).map_err(|e| e.error)?;
    Ok(())
}

/// The folder that a lane's sidecar has said, and the user who said it. A note that others could have written is none.
pub fn announced_in(shm_dir: &Path, lane: &str) -> Option<(PathBuf, u32)> {
    use std::os::unix::ffi::OsStringExt;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(note(shm_dir, lane)).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST_NOTE).read_to_end(&mut bytes).ok()?;
    let dir = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    dir.is_absolute().then_some((dir, metadata.uid()))
}

/// A user's name by /etc/passwd, with who is behind `sudo`; the number where it has none.
pub(super) fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, of) = (fields.next()?, fields.nth(1)?);
        (of.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let name = named.unwrap_or_else(|| uid.to_string());
    match std::env::var("SUDO_USER") {
        Ok(behind) if uid == 0 && !behind.is_empty() && behind.len() <= 64 => format!("{name}, sudo of {behind}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_looks_in_its_own_folder_and_in_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::of_sidecar(dir.path());
        assert_eq!(places.dirs, [dir.path().to_owned(), SYSTEM_DIR.into()]);
        assert!(places.find("no-such-lane-in-tests").unwrap().is_empty());
        write(dir.path(), &Record::now("es", "")).unwrap();
        std::fs::write(dir.path().join("No Lane.halt"), "").unwrap();
        assert_eq!(places.find("es").unwrap().len(), 1);
        assert!(places.lanes().contains(&"es".to_owned()) && !places.lanes().contains(&"No Lane".to_owned()));
        assert_eq!(Places::of_sidecar(Path::new("")).first(), default_dir());
    }

    #[test]
    fn an_operator_follows_a_note_only_of_whom_it_trusts() {
        let dir = tempfile::tempdir().unwrap();
        let said = Places::of_sidecar(Path::new("/some/state"));
        announce(dir.path(), "es", &said).unwrap();
        assert_eq!(Places::of_operator(None, dir.path(), "es", None).first(), Path::new("/some/state"));
        assert_eq!(Places::of_operator(None, dir.path(), "nq", None).first(), default_dir());
        let asked = Some(Path::new("/asked"));
        assert_eq!(Places::of_operator(asked, dir.path(), "es", None).first(), Path::new("/asked"));
        let note = note(dir.path(), "es");
        std::fs::set_permissions(&note, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(Places::of_operator(None, dir.path(), "es", None).first(), default_dir());
        if rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&note, Permissions::from_mode(0o644)).unwrap();
            std::os::unix::fs::chown(&note, Some(65534), None).unwrap();
            let places = Places::of_operator(None, dir.path(), "es", Some(65534));
            assert_eq!(places.dirs, [PathBuf::from(SYSTEM_DIR), "/some/state".into()]);
            assert!(places.known);
        }
    }
}
