//! Names: which file a region is, who may open it.

use crate::error::{Error, Result};
use crate::layout::Kind;
use crate::region::Region;
use crate::trust::Trust;
use std::path::{Path, PathBuf};

/// A lane: a name, the directory that its regions stand in, and whose regions are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    dir: PathBuf,
    name: String,
    trust: Trust,
}

impl Lane {
    /// The lane `name` in `/dev/shm`.
    pub fn new(name: &str) -> Result<Self> {
        Self::in_dir("/dev/shm", name)
    }

    /// The lane `name` in `dir`, which must be a tmpfs. Regions are used of those whom [`Trust::own`] names and of the
    /// directory's owner (see [`Trust::in_dir`]).
    pub fn in_dir(dir: impl Into<PathBuf>, name: &str) -> Result<Self> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
            return Err(Error::Name { name: name.to_owned() });
        }
        Ok(Self { dir: dir.into(), name: name.to_owned(), trust: Trust::own() })
    }

    /// Also uses regions that the user `uid` owns: a sidecar's or a feed's that runs as another user.
    #[must_use]
    pub fn trusting(self, uid: u32) -> Self {
        Self { trust: self.trust.with_uid(uid), ..self }
    }

    /// Also uses a control page that the group `gid` may write.
    #[must_use]
    pub fn trusting_group(self, gid: u32) -> Self {
        Self { trust: self.trust.with_gid(gid), ..self }
    }

    /// With `trust` in place of [`Trust::own`].
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Whose regions are used, the directory's owner apart.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Who holds the region of `kind`, by its lock; `None` where there is none (system calls). Needs no clock.
    ///
    /// # Errors
    /// As an attach for reading.
    pub fn holder(&self, kind: Kind) -> Result<Option<Holder>> {
        match Region::attach(&self.path(kind), kind, None, false, &self.trust) {
            Ok(region) => Ok(Some(Holder { alive: region.owner_alive(), pid: region.header().owner_pid })),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
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

/// Who holds a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whether somebody holds its lock.
    pub alive: bool,
    /// Who made it, in its own pid namespace: for messages.
    pub pid: u32,
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
