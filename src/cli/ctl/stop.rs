//! `pillion ctl LANE stop`: done when nobody holds the lane's page any more.

use std::time::{Duration, Instant};

use pillion_shm::leftovers;
use pillion_shm::{CncClient, Command, Kind, Lane};

use super::answered;
use crate::error::{Error, Result};

/// Longest time that a stopped lane may take to let go of its page: the lane writes its report first.
const LETTING_GO: Duration = Duration::from_secs(10);

/// Asks, and waits until nobody holds the page any more.
pub(super) fn stop(lane: &Lane) -> Result<String> {
    let name = lane.name();
    let mut cnc = CncClient::attach_operator(lane)?;
    if !cnc.owner_alive() {
        let problem = format!("no live sidecar (state {})", cnc.state());
        return Err(Error::input(format!("lane {name}"), problem, "it has stopped already; see `pillion status`"));
    }
    let pid = cnc.pid();
    answered(lane, &mut cnc, Command::Stop)?;
    let start = Instant::now();
    while cnc.owner_alive() && start.elapsed() < LETTING_GO {
        std::thread::sleep(Duration::from_millis(2));
    }
    if cnc.owner_alive() {
        let problem =
            format!("took the stop, but process {pid} still holds it {LETTING_GO:?} later (state {})", cnc.state());
        return Err(Error::run(format!("lane {name}"), problem, format!("look at process {pid}")));
    }
    let others = others_of(lane, pid);
    let others = match others.len() {
        0 => String::new(),
        _ => format!(", which stays up with {}", others.join(", ")),
    };
    Ok(format!("lane {name}: {}; process {pid} has let go of it{others}", cnc.state()))
}

/// Other lanes that this process holds.
fn others_of(lane: &Lane, pid: u32) -> Vec<String> {
    let found = leftovers::list(lane.dir()).unwrap_or_default();
    let held = found.into_iter().filter(|file| file.owner_alive).filter_map(|file| file.what.ok());
    let pages = held.filter(|region| region.kind == Kind::Cnc && !region.beside && region.owner_pid == pid);
    pages.filter_map(|region| region.lane).filter(|other| other != lane.name()).collect()
}
