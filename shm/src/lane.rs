//! Names: which file a region is, who may open it.

use crate::error::{Error, Result};
use crate::layout::Kind;
use std::path::{Path, PathBuf};

/// A lane: a name, and the directory that its regions stand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    dir: PathBuf,
    name: String,
}

impl Lane {
    /// The lane `name` in `/dev/shm`.
    pub fn new(name: &str) -> Result<Self> {
        Self::in_dir("/dev/shm", name)
    }

    /// The lane `name` in `dir`, which must be a tmpfs.
    pub fn in_dir(dir: impl Into<PathBuf>, name: &str) -> Result<Self> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
            return Err(Error::Name { name: name.to_owned() });
        }
        Ok(Self { dir: dir.into(), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of its region of `kind`. The clock is one per directory, without the lane's name.
    pub fn path(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Clock => self.dir.join("pillion.clock"),
            kind => self.dir.join(format!("pillion.{}.{}", self.name, kind.name())),
        }
    }
}

/// Who may open a region, and whether its memory is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// File mode; whatever the umask. Nothing for others to write.
    pub mode: u32,
    /// Group of the file; the process's when `None`.
    pub gid: Option<u32>,
    /// Whether its pages are locked in memory.
    pub lock: LockMemory,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: 0o600, gid: None, lock: LockMemory::Try }
    }
}

/// Whether a region's pages are locked in memory, so that none can be swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMemory {
    /// Refuse when they cannot be locked.
    Require,
    /// Lock them if the limit allows it.
    Try,
    /// Do not.
    No,
}
