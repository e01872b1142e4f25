//! Reads replay reports back, and says what else a file is when it is none.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cold::report::{ReplayReport, SCHEMA_VERSION};
use crate::error::{Error, Result};
use crate::files;

/// Longest report, bytes: that of a whole day's lab is a tenth of it.
pub const MOST_BYTES: u64 = 64 * files::MIB;

/// A report and where it came from.
pub struct Loaded {
    /// File, as given.
    pub path: PathBuf,
    /// What it holds.
    pub report: ReplayReport,
}

/// Reads two reports that are to be held against each other. Refused: what is no replay report, and reports of
/// different versions or of one that this binary does not know, both named.
pub fn pair(a: &Path, b: &Path) -> Result<(Loaded, Loaded)> {
    let (of_a, of_b) = (value(a)?, value(b)?);
    let (version_a, version_b) = (version(a, &of_a)?, version(b, &of_b)?);
    if version_a != version_b {
        let problem = format!(
            "schema_version {version_b}, but {} has schema_version {version_a}: fields may have changed their meaning",
            a.display()
        );
        return Err(Error::input(b.display(), problem, MEND_VERSION));
    }
    Ok((read(a, of_a)?, read(b, of_b)?))
}

/// Reads one report.
pub fn one(path: &Path) -> Result<Loaded> {
    let value = value(path)?;
    version(path, &value)?;
    read(path, value)
}

const MEND: &str = "give the file that `pillion replay --json FILE` wrote";
const MEND_VERSION: &str = "make both reports anew with `pillion replay --json FILE` of one version";

fn value(path: &Path) -> Result<Value> {
    let text = files::read(path, MOST_BYTES).map_err(|unread| unread.refuse(path.display(), MEND))?;
    serde_json::from_slice(&text).map_err(|e| Error::input(path.display(), format!("is no JSON: {e}"), MEND))
}

/// The version of what looks like a replay's report.
fn version(path: &Path, value: &Value) -> Result<u64> {
    let refused = |problem: &str, mend: &str| Err(Error::input(path.display(), problem, mend));
    let has = |key: &str| value.get(key).is_some();
    if has("runs") {
        return refused("is a report of `pillion lab`, which holds several runs", MEND);
    }
    if has("knee_is_bracketed") || has("steps") {
        return refused("is a report of `pillion sweep`, which holds several rates", MEND);
    }
    if has("lanes") {
        return refused("is a report of `pillion run --report`, which knows neither its input nor its rate", MEND);
    }
    if has("over_bound") {
        return refused("is a report of `pillion compare`, which holds two reports against each other already", MEND);
    }
    if has("margin_percent") && has("pairs") {
        return refused("is a report of `pillion ab`, which has its verdict already", MEND);
    }
    match value.get("schema_version").and_then(Value::as_u64) {
        Some(version) => Ok(version),
        None => refused("has no schema_version: it is no report of `pillion replay`", MEND),
    }
}

fn read(path: &Path, value: Value) -> Result<Loaded> {
    let version = version(path, &value)?;
    if version != u64::from(SCHEMA_VERSION) {
        let problem = format!("schema_version {version}; this pillion reads {SCHEMA_VERSION}");
        return Err(Error::input(path.display(), problem, MEND_VERSION));
    }
    let report = serde_json::from_value(value)
        .map_err(|e| Error::input(path.display(), format!("is no report of `pillion replay`: {e}"), MEND))?;
    Ok(Loaded { path: path.to_owned(), report })
}
