//! Arguments that several handles share: lanes, starts, access.

use crate::fault::Result;
use pillion_shm::{Access, Clock, From, Kind, Lane, LockMemory};
use pyo3::exceptions::PyValueError;
use std::path::PathBuf;

/// The lane `name` in `dir` and the clock there: for whoever reads.
pub fn place(name: &str, dir: PathBuf) -> Result<(Lane, Clock)> {
    let lane = Lane::in_dir(dir, name)?;
    let clock = Clock::attach_by(lane.dir(), lane.trust())?;
    Ok((lane, clock))
}

/// The lane `name` in `dir` and the clock there, made if nobody has made it yet: for whoever makes a region.
pub fn place_to_write(name: &str, dir: PathBuf) -> Result<(Lane, Clock)> {
    let lane = Lane::in_dir(dir, name)?;
    let clock = Clock::attach_or_create_by(lane.dir(), lane.trust())?;
    Ok((lane, clock))
}

/// A ring's kind by its name.
pub fn kind(name: &str) -> Result<Kind> {
    one_of("kind", name, &[("ticks", Kind::Ticks), ("signals", Kind::Signals)])
}

/// Where a reader starts, by its name.
pub fn start(name: &str) -> Result<From> {
    one_of("start", name, &[("next", From::Next), ("oldest", From::Oldest), ("first", From::Start)])
}

/// Who may open a region that this process makes.
pub fn access(mode: u32, gid: Option<u32>, lock: &str) -> Result<Access> {
    let names = [("require", LockMemory::Require), ("try", LockMemory::Try), ("no", LockMemory::No)];
    Ok(Access { mode, gid, lock: one_of("lock", lock, &names)? })
}

/// What `name` stands for; a refusal names the argument, the value and what there is.
fn one_of<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<T> {
    let found = known.iter().find(|(known, _)| *known == name);
    let names = || known.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let refused = || PyValueError::new_err(format!("{what} is {name:?}, but must be one of {}", names()));
    Ok(found.ok_or_else(refused)?.1)
}
