//! A HALT of a lane that no process has taken: whether a sidecar of that name will find it.

use std::path::PathBuf;

use pillion_shm::leftovers::{self, Found};
use pillion_shm::{Kind, Lane};

use super::Where;
use crate::error::{Error, Result};
use crate::sidecar::halt::{self, Places};

/// True when anything here belongs to a lane of this name: a page, its sidecar's note, a record, or the configuration.
pub(super) fn is_known(place: &Where, lane: &Lane, places: &Places) -> bool {
    place.config.is_some() || has_begun(lane) || !places.look(lane.name()).0.is_empty()
}

/// True when a sidecar of this name has left its page or its note here.
pub(super) fn has_begun(lane: &Lane) -> bool {
    let note = halt::note(lane.dir(), lane.name());
    [lane.path(Kind::Cnc), note].iter().any(|path| path.symlink_metadata().is_ok())
}

/// Refuses to promise that a sidecar of that name will come up halted, where it is not sure to find the record.
///
/// # Errors
/// There may be no lane of that name, or its sidecar may look elsewhere. The record stands all the same.
pub(super) fn will_hold(lane: &Lane, places: &Places, known: bool) -> Result<()> {
    let (name, path) = (lane.name(), record(places, lane));
    let recorded = format!("a HALT is recorded in {} and has halted nothing yet", path.display());
    if !known {
        let live = match live(lane) {
            lanes if lanes.is_empty() => "none is live".to_owned(),
            lanes => format!("live: {}", lanes.join(", ")),
        };
        let problem = format!("no lane of this name is known in {} ({live}); {recorded}", lane.dir().display());
        let mend = format!("check the name: `pillion ctl {name} resume` takes the record away; or give --config");
        return Err(Error::run(format!("lane {name}"), problem, mend));
    }
    if !places.is_sure() {
        let problem = format!("{recorded}; whether its sidecar looks there is not known");
        let mend = "give --config or --state-dir, or halt it as root: every sidecar looks where root's orders are";
        return Err(Error::run(format!("lane {name}"), problem, mend));
    }
    Ok(())
}

/// Path of the record of the lane's HALT.
pub(super) fn record(places: &Places, lane: &Lane) -> PathBuf {
    places.first().join(format!("{}.halt", lane.name()))
}

/// Lanes with a live process beside this one.
fn live(lane: &Lane) -> Vec<String> {
    let found = leftovers::list(lane.dir()).unwrap_or_default();
    found.iter().filter(|file| file.owner_alive && file.distrust.is_none()).filter_map(page_of).collect()
}

/// The lane whose control page has this name, whatever it holds: what cannot be read may be halted by its record.
pub(super) fn page_of(file: &Found) -> Option<String> {
    let name = file.path.file_name()?.to_str()?.strip_prefix("pillion.")?;
    let lane = name.strip_suffix(Kind::Cnc.name())?.strip_suffix('.')?;
    Lane::new(lane).is_ok().then(|| lane.to_owned())
}
