//! What a run is asked to leave behind: JSON, the page, HdrHistogram's files. Opened before the work, written after it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{hdr_export, page};
use crate::data::json::write_json;
use crate::data::output::STDOUT;
use crate::data::{OutputFile, write_failed};
use crate::error::{Error, Result};
use crate::report::{LabReport, ReplayReport, SCHEMA_VERSION, SidecarReport, SweepReport, now_utc};

/// Files to write; `-` is standard output.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The report as JSON.
    pub json: Option<PathBuf>,
    /// The report as one HTML page that opens offline.
    pub html: Option<PathBuf>,
    /// A folder, made where it is missing, for every histogram as .hgrm and every run's intervals as .hlog.
    pub hgrm: Option<PathBuf>,
}

/// Targets that can be written. Dropped, they leave nothing behind but the folder.
#[derive(Debug)]
pub struct Opened {
    json: Option<OutputFile>,
    html: Option<OutputFile>,
    hgrm: Option<PathBuf>,
}

/// A report that has a page: as it is for JSON, as a [`LabReport`] for the rest.
pub trait Report: Serialize {
    /// The same as a lab's report.
    fn to_lab(&self) -> LabReport;
}

impl Report for LabReport {
    fn to_lab(&self) -> LabReport {
        self.clone()
    }
}

impl Report for ReplayReport {
    fn to_lab(&self) -> LabReport {
        LabReport {
            schema_version: SCHEMA_VERSION,
            title: format!("Replay of {} at {}", file_name(&self.input), self.rate),
            made: self.started.clone(),
            host: self.host.clone(),
            doctor: self.doctor.clone(),
            build: self.build.clone(),
            runs: vec![self.clone()],
            sweep: None,
            curves: vec![],
        }
    }
}

impl Report for SidecarReport {
    fn to_lab(&self) -> LabReport {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| lane.lane.as_str()).collect();
        let so_far = if self.ended { "" } else { ", so far" };
        LabReport {
            schema_version: self.schema_version,
            title: format!(
                "Live run of {}{so_far}",
                if lanes.is_empty() { "no lane".into() } else { lanes.join(", ") }
            ),
            made: self.written.clone(),
            host: self.host.clone(),
            doctor: None,
            build: self.build.clone(),
            runs: self.runs(),
            sweep: None,
            curves: vec![],
        }
    }
}

impl Report for SweepReport {
    fn to_lab(&self) -> LabReport {
        LabReport {
            schema_version: SCHEMA_VERSION,
            title: format!("Sweep of {}, {} arrivals", file_name(&self.input), self.arrivals),
            made: self.started.clone(),
            host: self.host.clone(),
            doctor: self.doctor.clone(),
            build: self.build.clone(),
            runs: vec![],
            sweep: Some(self.clone()),
            curves: vec![],
        }
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// Several reports as one: the runs and curves of all, the first sweep, host, checks and binary.
///
/// # Errors
/// With two sweeps: a page has one.
pub fn merge(mut reports: Vec<LabReport>) -> Result<LabReport> {
    let several = reports.len() > 1;
    let Some(mut first) = (!reports.is_empty()).then(|| reports.remove(0)) else {
        return Err(Error::input(
            "report",
            "no file was given",
            "name the JSON of a replay, a live run, a sweep or a lab",
        ));
    };
    for other in reports {
        if let (Some(one), Some(two)) = (&first.sweep, &other.sweep) {
            let problem = format!("two sweeps, of {} and of {}", one.input, two.input);
            return Err(Error::input("sweep", problem, "give one sweep a page"));
        }
        first.runs.extend(other.runs);
        first.sweep = first.sweep.or(other.sweep);
        first.curves.extend(other.curves);
        first.doctor = first.doctor.or(other.doctor);
    }
    if several {
        let n = first.runs.len();
        let sweep = if first.sweep.is_some() { " and a sweep" } else { "" };
        first.title = format!("{n} run{}{sweep}", if n == 1 { "" } else { "s" });
        first.made = now_utc();
    }
    Ok(first)
}

impl Outputs {
    /// Opens every target, so that one that cannot be written is refused before the work and not after.
    pub fn open(&self) -> Result<Opened> {
        self.apart()?;
        let file = |path: &Option<PathBuf>| path.as_ref().map(OutputFile::create).transpose();
        let opened = Opened { json: file(&self.json)?, html: file(&self.html)?, hgrm: self.hgrm.clone() };
        if let Some(dir) = &self.hgrm {
            if dir == Path::new(STDOUT) {
                return Err(Error::input("--hgrm -", "writes several files", "name a folder"));
            }
            let mend = "name a folder that can be made and written";
            let refused = |e| Error::input(dir.display(), format!("cannot hold files: {e}"), mend);
            std::fs::create_dir_all(dir).map_err(refused)?;
            tempfile::tempfile_in(dir).map_err(refused)?;
        }
        Ok(opened)
    }

    /// Refuses two targets of the same path: the second would take the place of the first.
    fn apart(&self) -> Result<()> {
        let named = [("--json", &self.json), ("--html", &self.html), ("--hgrm", &self.hgrm)];
        let named = named.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
        let mut seen: Vec<(&str, PathBuf)> = Vec::new();
        for (flag, path) in named {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            if let Some((other, _)) = seen.iter().find(|(_, seen)| *seen == whole) {
                let problem = format!("both {other} and {flag} are to be written there");
                return Err(Error::input(path.display(), problem, "give each a path of its own"));
            }
            seen.push((flag, whole));
        }
        Ok(())
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.json.is_none() && self.html.is_none() && self.hgrm.is_none()
    }
}

impl Opened {
    /// Writes what was asked for; each file appears under its name only when it is whole.
    pub fn write(self, report: &impl Report) -> Result<()> {
        if let Some(file) = self.json {
            write_json(file, report)?;
        }
        if self.html.is_none() && self.hgrm.is_none() {
            return Ok(());
        }
        let lab = report.to_lab();
        if let Some(mut file) = self.html {
            let target = file.target().to_owned();
            file.write_all(page::render(&lab).as_bytes()).map_err(|e| write_failed(&target, e))?;
            file.commit()?;
        }
        if let Some(dir) = self.hgrm {
            hdr_export::write(&lab.runs, &dir)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_targets_of_one_path_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [plain, dotted] = ["x", "./x"].map(|name| Some(dir.path().join(name)));
        for (json, html, hgrm, flags) in [
            (&plain, &dotted, &None, ["--json", "--html"]),
            (&plain, &None, &dotted, ["--json", "--hgrm"]),
            (&None, &plain, &plain, ["--html", "--hgrm"]),
        ] {
            let [json, html, hgrm] = [json, html, hgrm].map(Option::clone);
            let error = Outputs { json, html, hgrm }.open().unwrap_err();
            let text = error.to_string();
            assert!(error.exit_code == 2 && flags.iter().all(|flag| text.contains(flag)), "{text}");
        }
        let apart = Outputs { json: plain, html: Some(dir.path().join("y")), hgrm: Some(dir.path().join("z")) };
        assert!(apart.open().is_ok());
    }
}
