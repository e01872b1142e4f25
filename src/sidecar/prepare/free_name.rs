//! Whether a lane's names are free: what `run` needs, and `check` asks.

use std::path::Path;
use std::time::{Duration, Instant};

use pillion_shm::{Kind, Lane as LaneName};

use crate::error::{Error, Result};

/// How long a process that is ending may take to let go of its regions: the kernel takes them apart after a kill -9.
const ENDING: Duration = Duration::from_secs(2);

/// The region of a lane that is held, and its maker by the header.
fn held(name: &LaneName) -> Result<Option<(Kind, u32)>> {
    use pillion_shm::Error::{Denied, NotARegion, Untrusted};
    let mut held = None;
    for kind in [Kind::Cnc, Kind::Signals, Kind::Board] {
        match name.holder(kind) {
            Ok(Some(holder)) if holder.alive => held = held.or(Some((kind, holder.pid))),
            Err(e @ (NotARegion { .. } | Denied { .. } | Untrusted(_))) => return Err(e.into()),
            // A dead sidecar's, another layout's or nobody's: taken over when the lane starts.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(held)
}

/// The process that holds the lane, if one does.
///
/// # Errors
/// Something that is no region stands under one of its names, or one may not be opened.
pub(super) fn holder(name: &LaneName) -> Result<Option<u32>> {
    Ok(held(name)?.map(|(_, pid)| pid))
}

/// Refuses a lane whose regions are held; waits for a process that is just ending.
///
/// # Errors
/// They are, and those of [`holder`].
pub(super) fn free(name: &LaneName) -> Result<()> {
    let begun = Instant::now();
    loop {
        let Some((kind, pid)) = held(name)? else { return Ok(()) };
        let lives = lives(pid);
        if lives || begun.elapsed() > ENDING {
            return Err(refused(name, kind, pid, lives));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn refused(name: &LaneName, kind: Kind, pid: u32, lives: bool) -> Error {
    let path = name.path(kind);
    if lives {
        let mend = format!("stop it (`pillion ctl {} stop`) or choose another lane name", name.name());
        return Error::input(path.display(), format!("is held by the live process {pid}"), mend);
    }
    // A child that it forked, a reader that took the lock, or a process of another pid namespace.
    let problem =
        format!("is held by a lock of another process than {pid}, which made it and cannot be seen here any more");
    Error::input(
        path.display(),
        problem,
        "see who maps it (`pillion shm ls`) and end that process, or choose another lane name",
    )
}

/// Whether a process is there and not a zombie. One of another pid namespace counts as gone.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    // The state stands behind the name, which may hold brackets.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X' | 'x'))
}
