//! `pillion report`: what a replay, a live run, a sweep or a lab wrote as JSON, as a page and as HdrHistogram's files.

use std::path::{Path, PathBuf};

use super::args::OutputArgs;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files;
use crate::lab::load::MOST_BYTES;
use crate::lab::outputs::{self, Report};
use crate::report::{LabReport, ReplayReport, SCHEMA_VERSION, SidecarReport, SweepReport};

/// Arguments of `pillion report`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["json", "html", "hgrm", "schema"]).required(true).multiple(true))]
pub struct Args {
    /// JSON of `pillion replay`, `run --report`, `sweep` or `lab`; of several files one page is made
    #[arg(required_unless_present = "schema", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    outputs: OutputArgs,
    /// Print the JSON Schema of those files
    #[arg(long, conflicts_with_all = ["files", "json", "html", "hgrm"])]
    schema: bool,
}

/// Every kind of file that the command reads, for its schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "only its schema is used")]
enum AnyReport {
    Lab(LabReport),
    Sweep(SweepReport),
    Replay(ReplayReport),
    Run(SidecarReport),
}

/// Reads, and writes what was asked for.
pub fn run(args: &Args) -> Result<()> {
    if args.schema {
        return print_schema();
    }
    let reports = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let report = outputs::merge(reports)?;
    args.outputs.open()?.write(&report)
}

fn print_schema() -> Result<()> {
    let text = serde_json::to_string_pretty(&schema_for!(AnyReport));
    let text = text.map_err(|e| Error::run("schema", e, "report this as a bug"))?;
    crate::outln!("{text}");
    Ok(())
}

/// Reads a report of any kind, told apart by what only it has.
///
/// # Errors
/// When the file cannot be read, is not JSON, is of another version, or is none of the four.
pub fn read(path: &Path) -> Result<LabReport> {
    let refused = |problem: String, mend: &str| Error::input(path.display(), problem, mend);
    let which = "give the JSON that pillion replay, run --report, sweep or lab wrote";
    let bytes = files::read(path, MOST_BYTES);
    let bytes = bytes.map_err(|unread| unread.refuse(path.display(), "name a file that can be read"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| refused(format!("is not JSON: {e}"), which))?;
    let has = |field: &str| value.get(field).is_some();
    let Some(version) = value.get("schema_version") else {
        return Err(refused("has no schema_version: it is no report of pillion's".into(), which));
    };
    if version.as_u64() != Some(u64::from(SCHEMA_VERSION)) {
        let problem = format!("is of schema version {version}, not {SCHEMA_VERSION}");
        return Err(refused(
            problem,
            "make the report again with this pillion, or read it with the pillion that made it",
        ));
    }
    if has("runs") {
        parse::<LabReport>(&bytes, path, "a lab's report")
    } else if has("steps") {
        parse::<SweepReport>(&bytes, path, "a sweep's report")
    } else if has("lane") && has("reader") {
        parse::<ReplayReport>(&bytes, path, "a replay's report")
    } else if has("lanes") {
        parse::<SidecarReport>(&bytes, path, "a live run's report")
    } else {
        let nothing =
            "has no runs (a lab), no steps (a sweep), no lane and reader (a replay), and no lanes (a live run)";
        Err(refused(nothing.into(), which))
    }
}

/// Parses the bytes and not the value, so that an error names its line and column.
fn parse<T: DeserializeOwned + Report>(bytes: &[u8], path: &Path, what: &str) -> Result<LabReport> {
    let parsed: std::result::Result<T, _> = serde_json::from_slice(bytes);
    let refused = |e| Error::input(path.display(), format!("is not {what}: {e}"), "give the report as it was written");
    let report = parsed.map_err(refused)?.to_lab();
    let other = report.runs.iter().map(|run| run.schema_version).find(|version| *version != SCHEMA_VERSION);
    match other {
        Some(version) => {
            let problem = format!("holds a run of schema version {version}, not {SCHEMA_VERSION}");
            Err(Error::input(path.display(), problem, "make the report again with this pillion"))
        }
        None => Ok(report),
    }
}
