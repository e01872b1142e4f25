//! `pillion report`: what it reads, what it refuses, and the files that HdrHistogram's tools read.

mod common;
#[path = "common/sample_report.rs"]
mod sample_report;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use pillion::lab::hdr_export;
use pillion::lab::outputs::{Outputs, Report};
use pillion::report::hdr;
use pillion::report::{Buckets, Stage, buckets};

fn pillion(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pillion")).arg("report").args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Writes a value as JSON and answers its path.
fn json(dir: &Path, name: &str, value: &impl serde::Serialize) -> String {
    let path = dir.join(name);
    std::fs::write(&path, serde_json::to_vec(value).unwrap()).unwrap();
    path.display().to_string()
}

/// 53 of 100 ns, 40 of 200 ns, 7 of 1,000 to 1,003 ns, worked out by hand: five steps to each halving, a mean of the buckets'
/// middles, (53·100 + 40·200 + 7·1002) / 100.
const HGRM: &str = "       Value     Percentile TotalCount 1/(1-Percentile)

      100.00 0.000000000000         53           1.00
      100.00 0.100000000000         53           1.11
      100.00 0.200000000000         53           1.25
      100.00 0.300000000000         53           1.43
      100.00 0.400000000000         53           1.67
      100.00 0.500000000000         53           2.00
      200.00 0.550000000000         93           2.22
      200.00 0.600000000000         93           2.50
      200.00 0.650000000000         93           2.86
      200.00 0.700000000000         93           3.33
      200.00 0.750000000000         93           4.00
      200.00 0.775000000000         93           4.44
      200.00 0.800000000000         93           5.00
      200.00 0.825000000000         93           5.71
      200.00 0.850000000000         93           6.67
      200.00 0.875000000000         93           8.00
      200.00 0.887500000000         93           8.89
      200.00 0.900000000000         93          10.00
      200.00 0.912500000000         93          11.43
      200.00 0.925000000000         93          13.33
     1003.00 0.937500000000        100          16.00
     1003.00 1.000000000000        100
#[Mean    =       203.14, StdDeviation   =       224.31]
#[Max     =      1003.00, Total count    =          100]
#[Buckets =           27, SubBuckets     =          256]
#[Value, Mean, StdDeviation and Max are in nanoseconds, unscaled]
";

#[test]
fn a_distribution_is_what_the_tools_print() {
    let h = hdr::of_buckets(&vec![(100, 53), (200, 40), (1_003, 7)], "x").unwrap();
    assert_eq!(hdr_export::hgrm(&h), HGRM);
}

/// The log's lines, read by the crate's own reader, add up to the run's histograms, stage by stage.
#[test]
fn a_log_adds_up_to_its_run() {
    let run = sample_report::run("poisson 20000/s", 1.0, false, 5);
    let log = hdr_export::hlog(&run, "run 1").unwrap();
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let (mut base, mut last, mut lines) = (None, 0.0, 0);
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        match entry.expect("a log") {
            LogEntry::BaseTime(at) => base = Some(at.as_millis()),
            LogEntry::StartTime(_) => {}
            LogEntry::Interval(interval) => {
                let start = interval.start_timestamp().as_secs_f64();
                assert!(start >= last && start < 3.0, "{start} after {last}");
                assert!((interval.duration().as_secs_f64() - 0.1).abs() < 2e-6);
                let h = hdr::decode(interval.encoded_histogram(), "line").unwrap();
                assert!((interval.max() - h.max() as f64 / 1e6).abs() < 1e-6, "the longest in ms");
                let tag = interval.tag().expect("a tag").as_str().to_owned();
                sums.entry(tag).and_modify(|sum| sum.add(&h).unwrap()).or_insert(h);
                (last, lines) = (start, lines + 1);
            }
        }
    }
    assert_eq!(base, Some(u128::from(sample_report::START_NS / 1_000_000)));
    assert_eq!(lines, sample_report::INTERVALS * 12);
    let own = |name: &str, all: &BTreeMap<String, Buckets>, tag: &str| {
        assert_eq!(buckets(&sums[tag]), all[name], "{tag}");
    };
    for name in run.reader.histograms.keys() {
        own(name, &run.reader.histograms, name);
    }
    for name in run.lane.histograms.keys() {
        let tag = if name == "tick_to_signal" { "lane_tick_to_signal" } else { name };
        own(name, &run.lane.histograms, tag);
    }
    assert_eq!(sums.len(), 12);
}

/// The command's files: one page of all, a distribution for each stage and column, a log for each run; nothing half-written.
#[test]
fn the_command_writes_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let lab = json(dir.path(), "lab.json", &sample_report::lab());
    let more = json(dir.path(), "run.json", &sample_report::run("../x200 & more", 1.0, false, 9));
    let (page, files) = (dir.path().join("page.html"), dir.path().join("new/files"));
    let merged = dir.path().join("all.json");
    let paths = [&page, &files, &merged].map(|path| path.to_str().unwrap());
    let done = pillion(&[&lab, &more, "--html", paths[0], "--hgrm", paths[1], "--json", paths[2]]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("4 runs and a sweep") && html.contains("../x200 &amp; more"));
    let mut names: Vec<_> =
        std::fs::read_dir(&files).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 4 * (12 + 1), "{names:?}");
    for name in ["01-poisson-20000-s.hlog", "03-flood-lane_tick_to_signal.hgrm", "04-x200---more-seen_corrected.hgrm"] {
        assert!(names.iter().any(|other| other == name), "no {name} in {names:?}");
    }
    let one = std::fs::read_to_string(files.join("01-poisson-20000-s-tick_to_signal_corrected.hgrm")).unwrap();
    let run = &sample_report::lab().runs[0];
    let buckets = &run.reader.histograms["tick_to_signal_corrected"];
    assert_eq!(one, hdr_export::hgrm(&hdr::of_buckets(buckets, "x").unwrap()));
    assert!(one.contains("Total count    =        60000]"), "{one}");
    let again = pillion(&[merged.to_str().unwrap(), "--html", dir.path().join("b.html").to_str().unwrap()]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(dir.path().join("b.html")).unwrap(), html, "the same report is the same page");
}

/// A replay's and a sweep's own JSON are pages too; a run without signals has no distribution of them.
#[test]
fn each_kind_of_report_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let sweep = json(dir.path(), "sweep.json", &sample_report::sweep());
    assert!(pillion(&[&sweep, "--html", page.to_str().unwrap()]).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().contains("Highest rate held within the bound"));
    let mut run = sample_report::run("max", 1.0, false, 4);
    run.lane.histograms.insert("infer".into(), vec![]);
    run.reader = Default::default();
    run.stages.insert("infer".into(), Stage::default());
    let replay = json(dir.path(), "replay.json", &run);
    let files = dir.path().join("files");
    let done = pillion(&[&replay, "--html", page.to_str().unwrap(), "--hgrm", files.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(std::fs::read_to_string(&page).unwrap().contains("Replay of esh4-glbx-mdp3-20231225.mbo.dbn.zst at max"));
    assert!(files.join("max-wait.hgrm").exists() && files.join("max.hlog").exists());
    assert!(!files.join("max-infer.hgrm").exists());
}

/// What cannot be read is refused with its name, what it is, and what to do; and nothing is left behind.
#[test]
fn what_is_no_report_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let mut old = serde_json::to_value(sample_report::sweep()).unwrap();
    old["schema_version"] = 1.into();
    let mut inner = serde_json::to_value(sample_report::lab()).unwrap();
    inner["runs"][1]["schema_version"] = 1.into();
    let mut damaged = serde_json::to_value(sample_report::lab()).unwrap();
    damaged["runs"][0]["ticks"] = "many".into();
    std::fs::write(dir.path().join("text.json"), "no { json").unwrap();
    let cases = [
        (dir.path().join("none.json").display().to_string(), "cannot be read"),
        (dir.path().join("text.json").display().to_string(), "is not JSON"),
        (json(dir.path(), "a.json", &[1, 2]), "has no schema_version"),
        (json(dir.path(), "b.json", &old), "is of schema version 1, not 2"),
        (json(dir.path(), "c.json", &inner), "holds a run of schema version 1, not 2"),
        (
            json(dir.path(), "d.json", &damaged),
            "is not a lab's report: invalid type: string \"many\", expected u64 at line 1",
        ),
        (
            json(dir.path(), "e.json", &serde_json::json!({ "schema_version": 2, "lanes": [] })),
            "is not a live run's report",
        ),
        (json(dir.path(), "f.json", &serde_json::json!({ "schema_version": 2 })), "has no runs (a lab)"),
    ];
    for (file, problem) in cases {
        let refused = pillion(&[&file, "--html", page.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&file) && said.contains(problem) && said.contains("mend: "), "{said}");
        assert!(!page.exists());
    }
    let sweep = json(dir.path(), "sweep.json", &sample_report::sweep());
    let twice = pillion(&[&sweep, &sweep, "--html", page.to_str().unwrap()]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("two sweeps"));
    for args in [&[sweep.as_str()][..], &[], &["--html", "x.html"], &["--schema", "--html", "x.html"]] {
        assert_eq!(pillion(args).status.code(), Some(2), "{args:?}");
    }
}

/// A damaged interval is named by its place; the page says how many it left out.
#[test]
fn a_damaged_interval_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = sample_report::run("x1", 1.0, false, 4);
    run.reader.intervals[4].hdr.insert("seen".into(), "HISTFAAA".into());
    run.reader.intervals[4].hdr.insert("tick_to_signal_corrected".into(), "?".into());
    let (file, files) = (json(dir.path(), "run.json", &run), dir.path().join("files"));
    let refused = pillion(&[&file, "--hgrm", files.to_str().unwrap()]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("run 1, reader interval 5, stage seen"), "{said}");
    let page = dir.path().join("page.html");
    assert!(pillion(&[&file, "--html", page.to_str().unwrap()]).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().contains("Left out as damaged: 1 histogram."));
}

/// The schema is JSON Schema and names what a reader needs.
#[test]
fn the_schema_is_printed() {
    let done = pillion(&["--schema"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let schema: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    for kind in ["LabReport", "SweepReport", "ReplayReport", "SidecarReport"] {
        let kind = &schema["$defs"][kind];
        assert!(kind["properties"]["schema_version"].is_object() && kind["description"].is_string(), "{kind}");
    }
}

/// Targets that cannot be written are refused before any work, and what was opened beside them is not left behind.
#[test]
fn targets_are_tried_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let json = Some(dir.path().join("report.json"));
    let folder_is_a_file = Outputs { json: json.clone(), html: None, hgrm: Some(file.clone()) };
    let error = folder_is_a_file.open().unwrap_err();
    assert!(error.to_string().contains("cannot hold files") && error.exit_code == 2, "{error}");
    let no_folder = Outputs { json, html: Some(dir.path().join("none/page.html")), hgrm: None };
    assert!(no_folder.open().unwrap_err().to_string().contains("none/page.html"));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["file"]);
    assert!(Outputs::default().is_empty());
    Outputs::default().open().unwrap().write(&sample_report::sweep().to_lab()).unwrap();
}
