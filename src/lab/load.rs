//! Reads reports of replays and of live runs back, and says what else a file is when it is neither.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::files;
use crate::report::{ReplayReport, SCHEMA_VERSION, SidecarReport};

/// Longest report, bytes: that of a whole day's lab is a tenth of it.
pub const MOST_BYTES: u64 = 64 * files::MIB;

/// A report and where it came from.
pub struct Loaded {
    /// File, as given.
    pub path: PathBuf,
    /// What it holds.
    pub report: ReplayReport,
}

/// Reads two reports that are to be held against each other; of live runs with several lanes, that `lane` of each. Refused:
/// what is no such report, a replay beside a live run, and reports of different versions or of one that this binary does not
/// know, both named.
pub fn pair(a: &Path, b: &Path, lane: Option<&str>) -> Result<(Loaded, Loaded)> {
    let (of_a, of_b) = (value(a)?, value(b)?);
    let (version_a, version_b) = (version(a, &of_a)?, version(b, &of_b)?);
    if version_a != version_b {
        let problem = format!(
            "schema_version {version_b}, but {} has schema_version {version_a}: fields may have changed their meaning",
            a.display()
        );
        return Err(Error::input(b.display(), problem, MEND_VERSION));
    }
    let (a, b) = (read(a, of_a, lane)?, read(b, of_b, lane)?);
    if a.report.live != b.report.live {
        let kind = |live| if live { "a live run (pillion run --report)" } else { "a replay" };
        let (of_a, of_b) = (kind(a.report.live), kind(b.report.live));
        let problem = format!("is of {of_b}, and {} of {of_a}: a live run has no input and no rate", a.path.display());
        return Err(Error::input(b.path.display(), problem, "give two replays or two live runs"));
    }
    Ok((a, b))
}

/// Reads one report.
pub fn one(path: &Path) -> Result<Loaded> {
    let value = value(path)?;
    version(path, &value)?;
    read(path, value, None)
}

const MEND: &str = "give the file that `pillion replay --json FILE` or `pillion run --report FILE` wrote";
const MEND_VERSION: &str = "make both reports anew with `pillion replay --json FILE` of one version";

fn value(path: &Path) -> Result<Value> {
    let text = files::read(path, MOST_BYTES).map_err(|unread| unread.refuse(path.display(), MEND))?;
    serde_json::from_slice(&text).map_err(|e| Error::input(path.display(), format!("is no JSON: {e}"), MEND))
}

/// The version of what looks like a replay's or a live run's report.
fn version(path: &Path, value: &Value) -> Result<u64> {
    let refused = |problem: &str, mend: &str| Err(Error::input(path.display(), problem, mend));
    let has = |key: &str| value.get(key).is_some();
    if has("runs") {
        return refused("is a report of `pillion lab`, which holds several runs", MEND);
    }
    if has("knee_is_bracketed") || has("steps") {
        return refused("is a report of `pillion sweep`, which holds several rates", MEND);
    }
    if has("over_bound") {
        return refused("is a report of `pillion compare`, which holds two reports against each other already", MEND);
    }
    if has("margin_percent") && has("pairs") {
        return refused("is a report of `pillion ab`, which has its verdict already", MEND);
    }
    match value.get("schema_version").and_then(Value::as_u64) {
        Some(version) => Ok(version),
        None => refused("has no schema_version: it is no report of `pillion replay` or `pillion run`", MEND),
    }
}

fn read(path: &Path, value: Value, lane: Option<&str>) -> Result<Loaded> {
    let version = version(path, &value)?;
    if version != u64::from(SCHEMA_VERSION) {
        let problem = format!("schema_version {version}; this pillion reads {SCHEMA_VERSION}");
        return Err(Error::input(path.display(), problem, MEND_VERSION));
    }
    let no = |what: &str, e| Error::input(path.display(), format!("is no report of `pillion {what}`: {e}"), MEND);
    if value.get("lanes").is_some() {
        let sidecar: SidecarReport = serde_json::from_value(value).map_err(|e| no("run", e))?;
        let report = one_lane(path, &sidecar, lane)?;
        return Ok(Loaded { path: path.to_owned(), report });
    }
    let report: ReplayReport = serde_json::from_value(value).map_err(|e| no("replay", e))?;
    if let Some(lane) = lane {
        let problem = format!("is of a replay, which has one lane of its own, and no lane {lane:?}");
        return Err(Error::input(path.display(), problem, "leave --lane out"));
    }
    Ok(Loaded { path: path.to_owned(), report })
}

/// The lane of this name, or the only one.
fn one_lane(path: &Path, sidecar: &SidecarReport, lane: Option<&str>) -> Result<ReplayReport> {
    let mut runs = sidecar.runs();
    let names = || sidecar.lanes.iter().map(|lane| lane.lane.as_str()).collect::<Vec<_>>().join(", ");
    let found = match lane {
        Some(lane) => runs.iter().position(|run| run.lane.lane == lane),
        None => (runs.len() == 1).then_some(0),
    };
    let Some(at) = found else {
        let problem = match (lane, runs.len()) {
            (_, 0) => "has no lane".to_owned(),
            (Some(lane), _) => format!("has no lane {lane:?}, only {}", names()),
            (None, n) => format!("has {n} lanes: {}", names()),
        };
        return Err(Error::input(path.display(), problem, "say which lane is meant with --lane NAME"));
    };
    Ok(runs.swap_remove(at))
}
