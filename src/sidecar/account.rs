//! The report of a run in its file: at the end, when a signal asks for it, and now and then.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ReportTo;
use super::lanes::Lanes;
use crate::config::Config;
use crate::data::OutputFile;
use crate::data::json::write_json;
use crate::error::{Error, Result};
use crate::report::{Build, Host, SCHEMA_VERSION, SidecarReport, now_utc};

/// A running sidecar's report is written this long after its start, then in twice the time again and again.
const FIRST_REPORT: Duration = Duration::from_secs(10);

/// But at least this often.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// What the report says beside its lanes, and when it is due.
pub(super) struct Account {
    target: PathBuf,
    /// Held from the start where it is standard output, a pipe or a device: that is written once, at the end.
    opened: Option<OutputFile>,
    started: String,
    host: Host,
    config: serde_json::Value,
    due: Option<Instant>,
    wait: Duration,
}

impl Account {
    /// The account that is asked for, before this thread keeps off the hot CPUs, since it would count too few of them.
    ///
    /// # Errors
    /// Its file could not be written in the end.
    pub fn of(report: Option<ReportTo<'_>>, config: &Config) -> Result<Option<Self>> {
        report.map(|to| Self::open(to, config, Host::this())).transpose()
    }

    fn open(to: ReportTo<'_>, config: &Config, host: Host) -> Result<Self> {
        let opened = OutputFile::create(to.file)?;
        let plain = !opened.is_stream();
        Ok(Self {
            target: to.file.to_owned(),
            // Nothing is left beside a plain file if the process is killed.
            opened: (!plain).then_some(opened),
            started: now_utc(),
            host,
            config: serde_json::to_value(config).unwrap_or_default(),
            due: (plain && to.meanwhile).then(|| Instant::now() + FIRST_REPORT),
            wait: FIRST_REPORT,
        })
    }

    /// True when the report can be written while the lanes run: not to standard output, a pipe or a device.
    pub fn takes_many(&self) -> bool {
        self.opened.is_none()
    }

    /// Where the report goes.
    pub fn target(&self) -> &std::path::Path {
        &self.target
    }

    /// Writes the report of the lanes as they are now, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still there.
    pub fn write_report_now(&self, lanes: &Lanes) -> Result<()> {
        write_json(OutputFile::create(&self.target)?, &self.report(lanes, false))
    }

    /// The same when it is due. A failure is said, and it is tried again when it is due again.
    pub fn meanwhile(&mut self, lanes: &Lanes, now: Instant) {
        if self.due.is_some_and(|due| now >= due) {
            if let Err(error) = self.write_report_now(lanes) {
                crate::errln!("the report cannot be written now; the run goes on\n  {error}");
            }
            self.wait = (self.wait * 2).min(REPORT_EVERY);
            self.due = Some(now + self.wait);
        }
    }

    /// The last one.
    ///
    /// # Errors
    /// The file cannot be written, after a run: exit code 1, whatever the reason.
    pub fn end(mut self, lanes: &Lanes) -> Result<()> {
        let file = self.opened.take().map_or_else(|| OutputFile::create(&self.target), Ok);
        let written = file.and_then(|file| write_json(file, &self.report(lanes, true)));
        written.map_err(|error| Error { exit_code: Error::RUN, ..error })
    }

    fn report(&self, lanes: &Lanes, ended: bool) -> SidecarReport {
        SidecarReport {
            schema_version: SCHEMA_VERSION,
            started: self.started.clone(),
            written: now_utc(),
            ended,
            host: self.host.clone(),
            build: Build::this(),
            config: self.config.clone(),
            lanes: lanes.reports(),
        }
    }
}
