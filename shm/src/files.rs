//! Files of regions: opening them, whose they are, what a failed call is said to be.

use crate::error::{Error, Result};
use crate::layout::Kind;
use crate::trust::{Trust, Writers};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens `path` without following links; `None` when it does not exist.
pub(crate) fn open(path: &Path, flags: OFlags, action: &'static str) -> Result<Option<File>> {
    match rustix::fs::open(path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => {
            let owner = owner(path).map_or_else(String::new, |uid| format!("; it belongs to uid {uid}"));
            let found = format!("a symbolic link, which is not followed{owner}");
            Err(Error::NotARegion { path: path.to_owned(), found })
        }
        Err(error) => Err(failed(action, path, error)),
    }
}

/// The directory of a region's file.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Who besides its owner may write a region of the kind numbered `kind`. `acts` is for who acts on what it says of its lane's
/// market; an operator and a successor take any group that the owner of a control page let in.
pub(crate) fn writers(kind: u32, acts: bool) -> Writers {
    match (kind == Kind::Cnc as u32, acts) {
        (false, _) => Writers::Owner,
        (true, true) => Writers::Group,
        (true, false) => Writers::AnyGroup,
    }
}

/// Whether the opened `file` is one that `trust`, which knows the directory's owner, lets be used. What is no regular file
/// is left to the reader of headers.
pub(crate) fn check_owner(file: &File, path: &Path, writers: Writers, trust: &Trust) -> Result<()> {
    let metadata = file.metadata().map_err(|e| io("stat", path, e))?;
    if !metadata.is_file() {
        return Ok(());
    }
    Ok(trust.check_file(path, &metadata, writers)?)
}

/// Whether `path` still names `file`.
pub(crate) fn names(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(own)) = (std::fs::symlink_metadata(path), file.metadata()) else { return false };
    (named.dev(), named.ino()) == (own.dev(), own.ino())
}

pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            Error::Denied { path: path.to_owned(), action, uid, owner: owner(path) }
        }
        _ => Error::Io { action, path: path.to_owned(), source },
    }
}

/// Whose file has the name, for messages.
fn owner(path: &Path) -> Option<u32> {
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.uid())
}

pub(crate) fn failed(action: &'static str, path: &Path, error: Errno) -> Error {
    io(action, path, error.into())
}
