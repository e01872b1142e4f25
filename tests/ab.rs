//! `pillion ab` end to end: with scripts that stand for binaries and copy reports made by hand, and once for real.

mod common;
mod reports_made;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::*;
use pillion::data;
use pillion::lab::ab::{AbReport, Ended, Side};
use pillion::lab::finding::Finding;
use pillion::report::ReplayReport;
use reports_made::*;

/// A script in a folder of its own that counts its runs and does `action`, where `$n` is the run's number from 1, `$json`
/// the report to write and `$dir` the script's folder.
fn script(dir: &Path, name: &str, action: &str) -> PathBuf {
    let dir = dir.join(name);
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("pillion");
    let head = "#!/bin/sh\nset -eu\ndir=${0%/*}\n[ \"$1\" = replay ]\n\
        while [ $# -gt 0 ]; do [ \"$1\" != --json ] || json=$2; shift; done\n\
        echo run >>\"$dir/runs\"\nn=$(($(wc -l <\"$dir/runs\")))\n";
    std::fs::write(&path, format!("{head}{action}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A binary that copies the report of the run's number.
fn binary(dir: &Path, name: &str, make: impl Fn(u64) -> ReplayReport) -> PathBuf {
    let path = script(dir, name, "cp \"$dir/$n.json\" \"$json\"");
    (1..=34).for_each(|n| {
        write(path.parent().unwrap(), &format!("{n}.json"), &make(n));
    });
    path
}

/// A run whose every stage is `ns`, the whole by about 1 % slower or faster than the last run.
fn run(seed: u64, ns: impl Fn(&str, u64) -> u64) -> ReplayReport {
    let drift = 0.99 + 0.02 * pillion::lab::stats::Chance::new(seed).unit();
    spans(1, seed, move |name, _| (ns(name, usual(name)) as f64 * drift).round() as u64)
}

fn same(_: &str, ns: u64) -> u64 {
    ns
}

fn slower(name: &str, ns: u64) -> u64 {
    if name == "features" || name.starts_with("tick_to_signal") { ns + 2_000 } else { ns }
}

fn command(dir: &Path, a: &Path, b: &Path, more: &[&str]) -> Command {
    let mut command = pillion();
    command.arg("ab").arg("--a").arg(a).arg("--b").arg(b);
    command.args(["--config", "c.toml", "--input", "day.dbn", "--json"]).arg(dir.join("ab.json")).args(more);
    command
}

/// Runs it; the report where one was written.
fn ab(dir: &Path, a: &Path, b: &Path, more: &[&str]) -> (Output, Option<AbReport>) {
    let json = dir.join("ab.json");
    let _ = std::fs::remove_file(&json);
    let out = output(&mut command(dir, a, b, more));
    let report = std::fs::read(json).ok().map(|text| serde_json::from_slice(&text).expect("its own schema"));
    (out, report)
}

#[test]
fn the_same_is_not_slower() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (binary(dir.path(), "a", |n| run(n, same)), binary(dir.path(), "b", |n| run(100 + n, same)));
    let (out, report) = ab(dir.path(), &a, &b, &[]);
    let (text, report) = (stdout(&out), report.expect("written"));
    assert!(out.status.success(), "{text}{}", stderr(&out));
    for metric in &report.metrics {
        assert!(matches!(metric.finding, Finding::NoDifferenceSeen | Finding::Undecided), "{metric:?}");
        assert!(metric.interval.is_some(), "{metric:?}");
    }
    assert_eq!(report.metrics.len(), 2, "p50 and p99 of tick_to_signal");
    assert!(report.looks.contains(&report.pairs.len()), "{} pairs", report.pairs.len());
    for (i, pair) in report.pairs.iter().enumerate() {
        assert_eq!(pair.first, if i % 2 == 0 { Side::A } else { Side::B }, "which goes first alternates");
        let expected = run(i as u64 + 2, same).stages["infer"];
        assert_eq!(pair.a["infer"], expected, "the first run of each is thrown away, the others stand in their order");
    }
    let lines = stderr(&out).lines().filter(|l| l.starts_with("pair ")).count();
    assert_eq!(lines, report.pairs.len(), "a line a pair: {}", stderr(&out));
    for words in ["99 %", "margin 2 %", "thrown away", "abc123", "rustc 1.95.0", "Test CPU", "the same in every run"] {
        assert!(text.contains(words), "{words} is missing from {text}");
    }
}

#[test]
fn a_planted_delay_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (binary(dir.path(), "a", |n| run(n, same)), binary(dir.path(), "b", |n| run(100 + n, slower)));
    let (out, report) = ab(dir.path(), &a, &b, &[]);
    let report = report.expect("written, whatever the verdict");
    assert_eq!(out.status.code(), Some(1), "{}{}", stdout(&out), stderr(&out));
    assert_eq!((report.pairs.len(), report.ended), (8, Ended::Decided), "at the first look");
    for metric in &report.metrics {
        let change = &metric.changed[0];
        assert_eq!((metric.finding, change.stage.as_str()), (Finding::Slower, "features"), "{metric:?}");
        assert!((1_950.0..2_050.0).contains(&change.change_ns), "{change:?}");
        assert!(change.interval.low <= change.change_ns && change.change_ns <= change.interval.high);
    }
    assert!(stdout(&out).contains("tick_to_signal:p50 is slower: features +"), "{}", stdout(&out));
    assert!(stderr(&out).contains("over the bound of 2 %"), "{}", stderr(&out));

    // The other way round it is faster, and within a wide bound slower is no failure.
    let (c, d) = (binary(dir.path(), "c", |n| run(n, slower)), binary(dir.path(), "d", |n| run(100 + n, same)));
    let (out, report) = ab(dir.path(), &c, &d, &[]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(report.unwrap().metrics.iter().all(|m| m.finding == Finding::Faster && m.changed[0].change_ns < 0.0));
    let (e, f) = (binary(dir.path(), "e", |n| run(n, same)), binary(dir.path(), "f", |n| run(100 + n, slower)));
    let (out, report) = ab(dir.path(), &e, &f, &["--bound", "200"]);
    assert!(out.status.success() && report.unwrap().metrics[0].finding == Finding::Slower, "{}", stderr(&out));
}

/// Where noise hides what a delay does to the whole, the step that changed is still said.
#[test]
fn a_step_is_told_where_the_whole_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let noisy = |seed: u64, ns: fn(&str, u64) -> u64| {
        let burst = [1, 9, 3, 27][seed as usize % 4];
        run(seed, move |name, usual| {
            let waits = name == "wait" || name.starts_with("tick_to_signal");
            ns(name, usual) + if waits { burst * 1_000_000 } else { 0 }
        })
    };
    let a = binary(dir.path(), "a", |n| noisy(n * n % 7, same));
    let b = binary(dir.path(), "b", |n| noisy(n * n % 11, slower));
    let (out, report) = ab(dir.path(), &a, &b, &["--metric", "tick_to_signal:p50"]);
    let report = report.expect("written");
    assert!(out.status.success(), "{}", stderr(&out));
    let metric = &report.metrics[0];
    assert_eq!((report.metrics.len(), metric.finding, metric.changed.len()), (1, Finding::Undecided, 1), "{metric:?}");
    assert_eq!(metric.changed[0].stage, "features");
    assert!(stdout(&out).contains("is undecided, but steps changed: features +"), "{}", stdout(&out));
}

/// Without stamps between the stages none can be named, and that is said.
#[test]
fn ends_alone_name_no_stage() {
    let dir = tempfile::tempdir().unwrap();
    let ends = |mut r: ReplayReport| {
        r.lane.stamps = "ends".into();
        r.stages.retain(|name, _| name == "wait" || name == "tick_to_signal");
        r
    };
    let a = binary(dir.path(), "a", |n| ends(run(n, same)));
    let b = binary(dir.path(), "b", |n| ends(run(100 + n, slower)));
    let (out, _) = ab(dir.path(), &a, &b, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stdout(&out).contains("no stage can be named"), "{}", stdout(&out));
    let (c, d) = (binary(dir.path(), "c", |n| ends(run(n, same))), binary(dir.path(), "d", |n| ends(run(n, same))));
    let (out, report) = ab(dir.path(), &c, &d, &["--metric", "features:p50"]);
    assert!(out.status.code() == Some(2) && report.is_none(), "{}", stdout(&out));
    assert!(stderr(&out).contains("features:p50") && stderr(&out).contains("stamps"), "{}", stderr(&out));
}

/// Runs that did not hold their rate are made again, counted and never used; too many are an error.
#[test]
fn failed_runs_are_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let fail = |mut r: ReplayReport| {
        r.verdict.held = false;
        r.verdict.reasons = vec!["5,000 ticks over 1 ms late, bound 40".into()];
        r.signals_blake3 = "of a part".into();
        r
    };
    let a = binary(dir.path(), "a", |n| run(n, same));
    let b = binary(dir.path(), "b", |n| if n == 3 || n == 4 { fail(run(n, |_, ns| 50 * ns)) } else { run(n, same) });
    let (out, report) = ab(dir.path(), &a, &b, &[]);
    let report = report.expect("written");
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let failed: Vec<_> = report.failed.iter().map(|f| (f.side, f.run.as_str())).collect();
    assert_eq!(failed, [(Side::B, "pair-02-b-run-1"), (Side::B, "pair-02-b-run-2")]);
    assert!(report.pairs.iter().all(|p| p.b["infer"].p50_ns < 2_000), "none is averaged");
    assert!(stdout(&out).contains("2 runs failed to hold their rate and were repeated"), "{}", stdout(&out));

    let (c, d) = (binary(dir.path(), "c", |n| run(n, same)), binary(dir.path(), "d", |n| fail(run(n, same))));
    let (out, _) = ab(dir.path(), &c, &d, &["--max-failed", "2"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("3 runs did not hold") && stderr(&out).contains("5,000 ticks"), "{}", stderr(&out));
}

#[test]
fn other_signals_are_an_error_unless_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let other = |n| {
        let mut r = run(100 + n, same);
        r.signals_blake3 = "7777".into();
        r
    };
    let (a, b) = (binary(dir.path(), "a", |n| run(n, same)), binary(dir.path(), "b", other));
    let (out, _) = ab(dir.path(), &a, &b, &[]);
    assert_eq!(out.status.code(), Some(1));
    for words in ["5151", "7777", "--allow signals"] {
        assert!(stderr(&out).contains(words), "{words}: {}", stderr(&out));
    }
    let (c, d) = (binary(dir.path(), "c", |n| run(n, same)), binary(dir.path(), "d", other));
    let (out, report) = ab(dir.path(), &c, &d, &["--allow", "signals"]);
    assert!(out.status.success() && !report.unwrap().same_signals, "{}", stderr(&out));
    assert!(stdout(&out).starts_with("SIGNALS DIFFER"), "{}", stdout(&out));
}

#[test]
fn what_compares_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let a = binary(dir.path(), "a", |n| run(n, same));
    let b = binary(dir.path(), "b", |n| {
        let mut r = run(n, same);
        (r.engine, r.models[0].engine) = ("ort-cpu".into(), "ort-cpu".into());
        r
    });
    let (out, report) = ab(dir.path(), &a, &b, &[]);
    assert!(out.status.code() == Some(2) && report.is_none(), "{}", stdout(&out));
    for words in ["native", "ort-cpu", "name the engine", "--allow engine"] {
        assert!(stderr(&out).contains(words), "{words}: {}", stderr(&out));
    }
}

/// Binaries that are none, die or write nonsense: each is named, with its last words; pairs made before are kept.
#[test]
fn binaries_that_fail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let good = binary(path, "good", |n| run(n, same));
    let plain = path.join("plain.txt");
    std::fs::write(&plain, "text").unwrap();
    for (name, b, code, words) in [
        ("missing", path.join("missing/pillion"), 2, "missing/pillion"),
        ("a folder", path.to_owned(), 2, "is no file"),
        ("not executable", plain, 2, "cannot be executed"),
        ("dies", script(path, "dies", "echo the sky fell >&2; exit 3"), 1, "the sky fell"),
        ("refuses", script(path, "refuses", "echo error: no such key >&2; exit 2"), 2, "no such key"),
        ("is killed", script(path, "killed", "kill -9 $$"), 1, "signal: 9"),
        ("writes garbage", script(path, "garbage", "echo '{' >\"$json\""), 1, "is no JSON"),
        (
            "writes an old report",
            script(path, "old", "echo '{\"schema_version\":1}' >\"$json\""),
            1,
            "schema_version 1",
        ),
        ("writes nothing", script(path, "nothing", "exit 0"), 1, "wrote no report"),
    ] {
        let (out, report) = ab(path, &good, &b, &[]);
        assert_eq!(out.status.code(), Some(code), "{name}: {}", stderr(&out));
        assert!(stderr(&out).contains(words) && stderr(&out).contains("mend: "), "{name}: {}", stderr(&out));
        assert!(report.is_none(), "{name}: nothing was measured");
        let _ = std::fs::remove_file(path.join("good/runs"));
    }
    let late = binary(path, "late", |n| run(n, same));
    std::fs::remove_file(path.join("late/6.json")).unwrap();
    let (out, report) = ab(path, &good, &late, &[]);
    let report = report.expect("what there is");
    assert_eq!((out.status.code(), report.ended, report.pairs.len()), (Some(1), Ended::Error, 4));
    assert!(stdout(&out).contains("fewer than 8 pairs") && stderr(&out).contains("6.json"), "{}", stderr(&out));
}

/// A session that breaks off between two looks gives no verdict, however plain the ratios are.
#[test]
fn what_breaks_off_between_looks_is_undecided() {
    let dir = tempfile::tempdir().unwrap();
    // infer is up and down by turns, so that the first look, at 8 pairs, does not decide it and the session goes on.
    let swings = |name: &str, ns: u64, up: bool| if name == "infer" && up { 9 * ns } else { ns };
    let a = binary(dir.path(), "a", |n| run(n, |name, ns| swings(name, ns, n % 2 == 0)));
    let b = binary(dir.path(), "b", |n| run(100 + n, |name, ns| swings(name, slower(name, ns), n % 2 == 1)));
    // The warm-up is run 1, so pair 10 is run 11.
    std::fs::remove_file(dir.path().join("b/11.json")).unwrap();
    let (out, report) = ab(dir.path(), &a, &b, &["--metric", "tick_to_signal:p50", "--metric", "infer:p50"]);
    let report = report.expect("what there is");
    assert_eq!((out.status.code(), report.ended, report.pairs.len()), (Some(1), Ended::Error, 9), "{}", stderr(&out));
    assert!(!report.looks.contains(&9) && report.metrics[0].interval.unwrap().low > 1.02, "{:?}", report.metrics);
    assert!(report.metrics.iter().all(|metric| metric.finding == Finding::Undecided), "{:?}", report.metrics);
    assert!(report.regressions.is_empty(), "{:?}", report.regressions);
}

/// Ctrl-C ends the child and prints what there is; a killed ab takes its child with it.
#[test]
fn no_child_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    for (name, signal) in [("int", rustix::process::Signal::INT), ("kill", rustix::process::Signal::KILL)] {
        let good = binary(dir.path(), &format!("{name}-a"), |n| run(n, same));
        let hangs = binary(dir.path(), &format!("{name}-b"), |n| run(n, same));
        let text = std::fs::read_to_string(&hangs).unwrap();
        let hang =
            "if [ $n = 4 ]; then echo $$ >\"$dir/pid.new\"; mv \"$dir/pid.new\" \"$dir/pid\"; exec sleep 600; fi\ncp ";
        std::fs::write(&hangs, text.replace("cp ", hang)).unwrap();
        let running = Running::start(&mut heard(&command(dir.path(), &good, &hangs, &[])));
        let pid_file = hangs.with_file_name("pid");
        let pid = wait_for("the child to hang", || std::fs::read_to_string(&pid_file).ok());
        let process = PathBuf::from(format!("/proc/{}", pid.trim()));
        rustix::process::kill_process(rustix::process::Pid::from_child(&running.0), signal).unwrap();
        let out = running.finish();
        wait_for("the child to end", || (!alive(&process)).then_some(()));
        if name == "int" {
            assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
            assert!(stderr(&out).contains("interrupted after 2 pairs"), "{}", stderr(&out));
            assert!(stdout(&out).contains("(interrupted)"), "{}", stdout(&out));
        }
    }
}

/// Whether a process runs; one that nobody waits for stays listed for a while.
fn alive(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn arguments_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let a = binary(dir.path(), "a", |n| run(n, same));
    let full = dir.path().display().to_string();
    for (more, words) in [
        (["--metric", "infer:p95"], "infer:p95"),
        (["--pairs", "9..3"], "9..3"),
        (["--pairs", "0..3"], "0..3"),
        (["--margin", "0"], "--margin 0"),
        (["--allow", "failed"], "never used"),
        (["--keep", full.as_str()], "is not empty"),
        (["--json", "/nowhere/at/all.json"], "/nowhere/at"),
    ] {
        let mut command = pillion();
        command.arg("ab").arg("--a").arg(&a).arg("--b").arg(&a).args(["--config", "c", "--input", "i"]);
        let out = output(command.args(more));
        assert_eq!(out.status.code(), Some(2), "{words}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{words}: {}", stderr(&out));
        assert!(!dir.path().join("a/runs").exists(), "{words}: refused before anything ran");
    }
    let help = stdout(&output(pillion().args(["ab", "--help"])));
    assert!(help.contains("Exit codes:") && help.contains("Fewer than 8 pairs decide nothing"), "{help}");
}

/// This binary against itself, for real: two pairs, every run's report kept. Verdicts are the machine's affair.
#[test]
fn for_real() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 1, instruments: 2, events: 1_500, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    let models = has_onnxruntime();
    let lane = format!("[lane]\nengine = \"ort-cpu\"\nmodels = [{:?}]\n", model("mlp-k10").display().to_string());
    let config = config(dir.path(), if models { &lane } else { "" });
    let (keep, json) = (dir.path().join("kept"), dir.path().join("ab.json"));
    let mut command = pillion();
    command.arg("ab").args(["--a", env!("CARGO_BIN_EXE_pillion"), "--b", env!("CARGO_BIN_EXE_pillion")]);
    command.arg("--config").arg(config).arg("--input").arg(input).args(["--rate", "max", "--pairs", "2"]);
    command.arg("--keep").arg(&keep).arg("--json").arg(&json);
    if !models {
        command.args(["--metric", "wait:p50"]);
    }
    let out = output(&mut command);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let report: AbReport = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((report.pairs.len(), report.ended, report.same_signals), (2, Ended::Cap, true));
    assert!(report.metrics.iter().all(|m| m.finding == Finding::Undecided), "two pairs decide nothing");
    assert!(report.stages.iter().any(|s| s.stage == "features" && s.percentile == "p50"), "{:?}", report.stages);
    let kept = std::fs::read_dir(&keep).unwrap().count();
    assert_eq!(kept, 6 + report.failed.len(), "a warm-up and two pairs");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|f| !f.to_string_lossy().contains("replay-")), "private regions are removed: {left:?}");
}
