//! A file that has no name while it is written: whatever ends the process meanwhile, a signal or kill -9, nothing is left.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

/// Names tried where another file has the target's.
const ATTEMPTS: u32 = 100;

/// A file in a folder, without a name where the file system can do that, else with one that begins with a dot.
#[derive(Debug)]
pub struct Unnamed(Kind);

#[derive(Debug)]
enum Kind {
    Unnamed(File),
    Named(NamedTempFile),
}

impl Unnamed {
    /// An empty file in `folder`, to be read by whoever the umask lets.
    ///
    /// # Errors
    /// The folder is missing, or no file can be made there.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // A name is given through /proc.
        let opened = match Path::new("/proc/self/fd").is_dir() {
            true => rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)),
            false => Err(Errno::OPNOTSUPP),
        };
        match opened {
            Ok(file) => Ok(Self(Kind::Unnamed(file.into()))),
            // A file system, or a kernel, without such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(folder),
            Err(e) => Err(e.into()),
        }
    }

    fn named(folder: &Path) -> io::Result<Self> {
        let permissions = Permissions::from_mode(0o666); // less the umask
        let file =
            Builder::new().prefix(".pillion-").suffix(".partial").permissions(permissions).tempfile_in(folder)?;
        Ok(Self(Kind::Named(file)))
    }

    /// The file.
    pub fn as_file(&self) -> &File {
        match &self.0 {
            Kind::Unnamed(file) => file,
            Kind::Named(file) => file.as_file(),
        }
    }

    /// Gives it the name `target`, in the folder it was made in, instead of a file that may stand there: who could not read that
    /// one cannot read this one either.
    ///
    /// # Errors
    /// The system refuses; whatever stood there still does.
    pub fn persist(self, target: &Path) -> io::Result<()> {
        if let Some(old) = std::fs::symlink_metadata(target).ok().filter(Metadata::is_file) {
            self.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        match self.0 {
            Kind::Unnamed(file) => persist(&file, target),
            Kind::Named(file) => file.persist(target).map(|_| ()).map_err(|e| e.error),
        }
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Unnamed(file) => file.write(bytes),
            Kind::Named(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Unnamed(file) => file.flush(),
            Kind::Named(file) => file.flush(),
        }
    }
}

fn persist(file: &File, target: &Path) -> io::Result<()> {
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let link = |name: &Path| rustix::fs::linkat(CWD, &own, CWD, name, AtFlags::SYMLINK_FOLLOW);
    match link(target) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    // A link replaces nothing, a rename does: a name beside the target for the moment between them.
    for attempt in 0..ATTEMPTS {
        let beside = target.with_file_name(format!(".pillion-{}-{attempt}.partial", std::process::id()));
        match link(&beside) {
            Ok(()) => {
                return std::fs::rename(&beside, target).inspect_err(|_| _ = std::fs::remove_file(&beside));
            }
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(io::Error::other("every name beside it is taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_no_name_before_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for (made, text) in [(Unnamed::in_folder(dir.path()), "one"), (Unnamed::in_folder(dir.path()), "two")] {
            let mut file = made.unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let before = names(dir.path());
            assert!(before.iter().all(|name| name == "out"), "{before:?}");
            file.persist(&target).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(names(dir.path()), ["out"]);
        drop(Unnamed::in_folder(dir.path()).unwrap());
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_it_replaces_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for mode in [0o600, 0o640, 0o604] {
            std::fs::write(&target, "old").unwrap();
            std::fs::set_permissions(&target, Permissions::from_mode(mode)).unwrap();
            for made in [Unnamed::in_folder(dir.path()), Unnamed::named(dir.path())] {
                made.unwrap().persist(&target).unwrap();
                let found = std::fs::metadata(&target).unwrap();
                assert_eq!((found.mode() & 0o7777, found.len()), (mode, 0), "{mode:o}");
            }
        }
    }

    #[test]
    fn where_that_cannot_be_it_has_a_name_and_loses_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let mut file = Unnamed::named(dir.path()).unwrap();
        file.write_all(b"x").unwrap();
        file.persist(&target).unwrap();
        assert_eq!(names(dir.path()), ["out"]);
        drop(Unnamed::named(dir.path()).unwrap());
        assert_eq!(names(dir.path()), ["out"]);
        // What cannot be replaced stays, and nothing beside it.
        let folder = dir.path().join("folder");
        std::fs::create_dir_all(folder.join("full")).unwrap();
        assert!(Unnamed::in_folder(dir.path()).unwrap().persist(&folder).is_err());
        assert_eq!(names(dir.path()).len(), 2);
        assert!(Unnamed::in_folder(&dir.path().join("none")).is_err());
    }
}
