//! In which folders a lane's HALT may be recorded.
//!
//! A sidecar obeys the records of its configuration's `process.state_dir` and of [`SYSTEM_DIR`], where root's orders go.
//! An operator who has no configuration at hand finds the first by a note that the sidecar leaves beside its regions.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use pillion_shm::Kind;
use pillion_shm::trust::{Distrust, Trust};

use super::{Record, Recorded, read, write};
use crate::error::{Error, Result};
use crate::files;

/// Folder of root's records, in which every sidecar looks.
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
    /// True when the lane's sidecar finds a record in the first folder.
    known: bool,
    /// True when a sidecar that starts later is sure to find it as well.
    sure: bool,
    /// Number of folders that must be looked into before anybody can say that no HALT stands.
    needed: usize,
}

impl Places {
    /// A sidecar's: `configured`, or the default where that is empty, and the system's.
    pub fn of_sidecar(configured: &Path) -> Self {
        let own = if configured.as_os_str().is_empty() { default_dir() } else { configured.to_owned() };
        Self { known: true, sure: true, needed: 2, dirs: distinct([own, SYSTEM_DIR.into()]) }
    }

    /// An operator's: `asked` if it names one. Else the folder that the lane's sidecar has said, where only a user who counts
    /// in the directory of the regions can have said it: anybody may leave a note in `/dev/shm`. And the default.
    pub fn of_operator(asked: Option<&Path>, shm_dir: &Path, lane: &str) -> Self {
        let me = rustix::process::geteuid();
        let trust = Trust::own().in_dir(shm_dir).ok();
        let counts = |by: u32| trust.as_ref().is_some_and(|trust| trust.counts(by));
        let note = announced_in(shm_dir, lane).filter(|(_, by)| counts(*by));
        // The page of a user who does not count is not the lane that is meant.
        let owner = page_owner(shm_dir, lane).filter(|owner| counts(*owner));
        let (asked, own) = (asked.map(Path::to_owned), default_dir());
        // A page of another user's without a note: where its sidecar looks is not known.
        let known = asked.is_some() || note.is_some() || me.is_root() || owner.is_none_or(|owner| owner == me.as_raw());
        // A user's default folder is where that user's sidecars look, if their configuration names no other.
        let sure = asked.is_some() || note.is_some() || me.is_root();
        // Root writes where every sidecar looks, and never where another user points.
        let first = match &note {
            _ if asked.is_some() => asked,
            Some((dir, by)) if !me.is_root() || *by == 0 => Some(dir.clone()),
            _ => None,
        };
        let said = note.map(|(dir, _)| dir);
        let dirs = distinct(first.into_iter().chain([own]).chain(said).chain([SYSTEM_DIR.into()]));
        Self { known, sure, needed: 1, dirs }
    }

    /// Refuses folders that a sidecar cannot rely on: it must see every record in them, and only users who count may
    /// take a record away from the folder where records are written.
    ///
    /// # Errors
    /// The folder, and what is wrong with it.
    pub fn check(&self, lane: &str, trust: &Trust) -> Result<()> {
        let thing = |dir: &Path| format!("process.state_dir {}", dir.display());
        check_folder(self.first(), trust).map_err(|distrust| {
            let mend = "make process.state_dir a folder that this user may search and write";
            files::distrusted(self.first(), distrust).refuse(thing(self.first()), mend)
        })?;
        match self.look(lane).1 {
            None => Ok(()),
            Some(Unseen { dir, error }) => {
                let problem = format!("it cannot be seen whether a HALT of lane {lane} is recorded there: {error}");
                let mend =
                    format!("let this user search it (`chmod a+x {}`), or name another state_dir", dir.display());
                Err(Error::input(thing(&dir), problem, mend))
            }
        }
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

    /// True when a sidecar that starts later is sure to find the record: the folder was named, or a sidecar of this
    /// lane has said it, or it is the one where all look.
    pub fn is_sure(&self) -> bool {
        self.sure
    }

    /// Folder of a new record.
    pub fn first(&self) -> &Path {
        &self.dirs[0]
    }

    /// Every HALT of `lane` that stands. An operator leaves out a folder that it may not look into, but not the first.
    ///
    /// # Errors
    /// A folder cannot be looked into, so nobody knows whether a HALT stands there.
    pub fn find(&self, lane: &str) -> io::Result<Vec<Recorded>> {
        match self.look(lane) {
            (found, None) => Ok(found),
            (_, Some(Unseen { dir, error })) => {
                Err(io::Error::new(error.kind(), format!("{}: {error}", dir.display())))
            }
        }
    }

    /// Every HALT of `lane` that is seen to stand, and a folder in which others may stand unseen.
    pub fn look(&self, lane: &str) -> (Vec<Recorded>, Option<Unseen>) {
        let (mut found, mut unseen) = (Vec::new(), None);
        for (i, dir) in self.dirs.iter().enumerate() {
            match read(&file(dir, lane)) {
                Ok(recorded) => found.extend(recorded),
                Err(error) if i < self.needed => unseen = unseen.or(Some(Unseen { dir: dir.clone(), error })),
                Err(_) => {}
            }
        }
        (found, unseen)
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

/// Each once, in their order.
fn distinct(dirs: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        if !all.contains(&dir) {
            all.push(dir);
        }
    }
    all
}

/// A folder that cannot be looked into.
#[derive(Debug)]
pub struct Unseen {
    /// The folder.
    pub dir: PathBuf,
    /// The kernel's answer.
    pub error: io::Error,
}

/// The folder of the records, or the nearest one above it that exists: nobody who does not count may take a record away, or
/// make the folder first.
fn check_folder(dir: &Path, trust: &Trust) -> std::result::Result<(), Distrust> {
    match trust.check_dir(dir) {
        Err(Distrust::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            dir.parent().map_or(Ok(()), |above| check_folder(above, trust))
        }
        checked => checked.map(|_| ()),
    }
}

/// Directory of the regions where none is named.
pub const SHM_DIR: &str = "/dev/shm";

/// HALTs of `lane` that stand in a record: for commands that show.
pub fn standing(shm_dir: &Path, state_dir: Option<&Path>, lane: &str) -> Vec<Recorded> {
    Places::of_operator(state_dir, shm_dir, lane).look(lane).0
}

/// Lanes with a recorded HALT, page or not. The default folder speaks of the default directory's lanes alone.
pub fn recorded_lanes(shm_dir: &Path, state_dir: Option<&Path>) -> Vec<String> {
    match state_dir {
        None if shm_dir != Path::new(SHM_DIR) => Vec::new(),
        _ => Places::of_operator(state_dir, shm_dir, "").lanes(),
    }
}

/// Owner of the lane's control page, where there is one.
pub fn page_owner(shm_dir: &Path, lane: &str) -> Option<u32> {
    let page = shm_dir.join(format!("pillion.{lane}.{}", Kind::Cnc.name()));
    std::fs::symlink_metadata(page).ok().map(|metadata| metadata.uid())
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
    let mut file = tempfile::Builder::new().prefix(".pillion-").suffix(".partial").tempfile_in(shm_dir)?;
    file.write_all(places.first().as_os_str().as_bytes())?;
    // The umask does not matter.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
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
        let of = |asked: Option<&Path>, lane: &str| Places::of_operator(asked, dir.path(), lane);
        assert_eq!(of(None, "es").first(), Path::new("/some/state"));
        assert_eq!(of(None, "nq").first(), default_dir());
        assert_eq!(of(Some(Path::new("/asked")), "es").first(), Path::new("/asked"));
        let note = note(dir.path(), "es");
        std::fs::set_permissions(&note, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(of(None, "es").first(), default_dir());
        if rustix::process::geteuid().is_root() {
            // A stranger's note is none, also where the page is his: he chooses both.
            std::fs::set_permissions(&note, Permissions::from_mode(0o644)).unwrap();
            let page = dir.path().join("pillion.es.cnc");
            std::fs::write(&page, "").unwrap();
            for path in [&note, &page] {
                std::os::unix::fs::chown(path, Some(65534), None).unwrap();
            }
            assert_eq!(of(None, "es").dirs, [PathBuf::from(SYSTEM_DIR)]);
            // The owner of a private directory counts in it; root still writes where every sidecar looks.
            let private = dir.path().join("private");
            std::fs::create_dir(&private).unwrap();
            announce(&private, "es", &said).unwrap();
            for path in [&private, &super::note(&private, "es")] {
                std::os::unix::fs::chown(path, Some(65534), None).unwrap();
            }
            let places = Places::of_operator(None, &private, "es");
            assert_eq!(places.dirs, [PathBuf::from(SYSTEM_DIR), "/some/state".into()]);
            assert!(places.known);
        }
    }

    #[test]
    fn a_sidecar_refuses_a_folder_that_it_cannot_rely_on() {
        let (dir, trust) = (tempfile::tempdir().unwrap(), Trust::own());
        let state = dir.path().join("state");
        let check = || Places::of_sidecar(&state).check("es", &trust).map_err(|error| error.to_string());
        check().expect("a folder that is not there yet");
        std::fs::create_dir(&state).unwrap();
        check().expect("a folder of one's own");
        std::fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        let words = check().unwrap_err();
        assert!(words.contains("everybody may replace what is in it") && words.contains("chmod o-w"), "{words}");
        std::fs::remove_dir(&state).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let words = check().unwrap_err();
        assert!(words.contains("everybody may replace what is in it"), "whoever makes it first owns it: {words}");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&state, "").unwrap();
        assert!(check().is_err(), "no folder");
    }
}
