//! `pillion compare` over reports made by hand: what it says, what it refuses, and its exit codes.

mod common;
mod reports_made;

use std::path::Path;
use std::process::Output;

use common::*;
use pillion::lab::compare::Comparison;
use pillion::report::{LaneReport, ReplayReport, SidecarReport};
use reports_made::*;

fn compare(dir: &Path, a: &ReplayReport, b: &ReplayReport, more: &[&str]) -> Output {
    let (a, b) = (write(dir, "a.json", a), write(dir, "b.json", b));
    output(pillion().arg("compare").arg(a).arg(b).args(more))
}

fn same(_: &str, ns: u64) -> u64 {
    ns
}

/// A change of B's reports.
type Change = fn(&mut ReplayReport);

fn slower_features(name: &str, ns: u64) -> u64 {
    match name {
        "features" => ns + 2_000,
        _ if name.starts_with("tick_to_signal") || name.starts_with("seen") => ns + 2_000,
        _ => ns,
    }
}

#[test]
fn ratios_with_intervals_and_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = (report(1, same), report(2, slower_features));
    (b.late_ticks, b.build.revision) = (7, "def456".into());
    let json = dir.path().join("out.json");
    let out = compare(dir.path(), &a, &b, &["--json", json.to_str().unwrap()]);
    let text = stdout(&out);
    assert!(out.status.success(), "{text}{}", stderr(&out));
    assert!(text.starts_with("signals    the same in both (BLAKE3 5151)"), "said first: {text}");
    for words in ["late_ticks A 0, B 7", "abc123", "def456", "Test CPU", "grade not given", "pillion ab", "95 %"] {
        assert!(text.contains(words), "{words} is missing from {text}");
    }
    let made: Comparison = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(made.rows.len(), 11 * 4, "every stage and column of the reader, four percentiles each");
    for row in &made.rows {
        let (range, ratio) = (row.interval.expect("twenty spans"), row.ratio.unwrap());
        let (in_a, in_b) = (row.a_ns.unwrap(), row.b_ns.unwrap());
        assert_eq!(ratio, in_b as f64 / in_a as f64);
        let changed = slower_features(&row.stage, 0) > 0;
        assert_eq!(range.low > 1.0, changed, "{row:?}");
        assert!(range.low <= ratio && ratio <= range.high && range.high - range.low < 0.2, "{row:?}");
    }
    let features = made.rows.iter().find(|r| r.stage == "features" && r.percentile == "p50").unwrap();
    assert_eq!(features.a_ns, Some(a.stages["features"].p50_ns));
}

#[test]
fn other_signals_are_said_first() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = (report(1, same), report(2, same));
    b.signals_blake3 = "7777".into();
    let out = compare(dir.path(), &a, &b, &[]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stdout(&out).starts_with("signals    NOT THE SAME: BLAKE3 5151 in A, 7777 in B"), "{}", stdout(&out));
}

/// Each difference is refused with both values, and let through, and said, where it is allowed.
#[test]
fn what_must_be_equal() {
    let dir = tempfile::tempdir().unwrap();
    let a = report(1, same);
    let changes: [(&str, Change, &str, &str); 16] = [
        ("input", |r| r.input_blake3 = "9876".into(), "1234", "9876"),
        ("input", |r| r.complete = false, "true", "false"),
        ("input", |r| r.sorted = true, "false", "true"),
        ("rate", |r| r.rate = "max".into(), "20000/s", "max"),
        ("rate", |r| r.seed = Some(77), "none", "77"),
        ("engine", |r| r.engine = "ort-cpu".into(), "native", "ort-cpu"),
        ("engine", |r| r.models[0].isa = "avx512".into(), "avx2", "avx512"),
        ("engine", |r| r.models[0].runtime = "1.31".into(), "pillion 0.1.0", "1.31"),
        ("engine", |r| r.models[0].sha256 = "bb22".into(), "aa11", "bb22"),
        ("host", |r| r.host.cpu = "Other CPU".into(), "Test CPU", "Other CPU"),
        ("host", |r| r.host.kernel = "6.9".into(), "6.1", "6.9"),
        ("host", |r| r.host.cpus = 64, "\"2\"", "\"64\""),
        ("config", |r| r.lane.stamps = "ends".into(), "full", "ends"),
        ("config", |r| r.lane.trigger = "trade".into(), "event", "trade"),
        ("config", |r| r.lane.features.hash = "fea2".into(), "fea1", "fea2"),
        ("build", |r| r.build.profile = "debug".into(), "release", "debug"),
    ];
    for (kind, change, in_a, in_b) in changes {
        let mut b = report(2, same);
        change(&mut b);
        let out = compare(dir.path(), &a, &b, &[]);
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(2), "{kind}: {said}");
        assert!(said.contains(in_a) && said.contains(in_b), "{kind}: both values are named: {said}");
        assert!(said.contains(&format!("--allow {kind}")) && said.contains("mend: "), "{kind}: {said}");
        let out = compare(dir.path(), &a, &b, &["--allow", &format!("failed,{kind}")]);
        assert!(out.status.success(), "{kind}: {}", stderr(&out));
        assert!(
            stdout(&out).contains("allowed ") && stdout(&out).contains(in_b.trim_matches('"')),
            "{kind}: {}",
            stdout(&out)
        );
    }
    let mut b = report(2, same);
    (b.rate, b.host.kernel) = ("max".into(), "6.9".into());
    let out = compare(dir.path(), &a, &b, &["--allow", "rate"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("host.kernel") && !stderr(&out).contains("20000/s"), "{}", stderr(&out));
}

#[test]
fn runs_that_failed_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = (report(1, same), report(2, same));
    b.verdict.held = false;
    b.verdict.reasons = vec!["12 ticks lost, bound 0".into()];
    let out = compare(dir.path(), &a, &b, &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("12 ticks lost, bound 0") && stderr(&out).contains("b.json"), "{}", stderr(&out));
    let out = compare(dir.path(), &a, &b, &["--allow", "failed"]);
    assert!(out.status.success() && stdout(&out).contains("FAIL (12 ticks lost"), "{}", stdout(&out));
}

/// Other files say what they are; versions are both named.
#[test]
fn what_is_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good.json", &report(1, same));
    let mut old = serde_json::to_value(report(1, same)).unwrap();
    old["schema_version"] = 1.into();
    let mut torn = serde_json::to_value(report(1, same)).unwrap();
    torn.as_object_mut().unwrap().remove("stages");
    for (text, words) in [
        (old.to_string(), vec!["schema_version 1", "schema_version 2"]),
        (torn.to_string(), vec!["is no report of `pillion replay`", "stages"]),
        ("{\"schema_version\": 2, \"runs\": []}".into(), vec!["pillion lab"]),
        ("{\"schema_version\": 2, \"steps\": []}".into(), vec!["pillion sweep"]),
        ("{\"schema_version\": 2, \"lanes\": []}".into(), vec!["is no report of `pillion run`", "host"]),
        ("{\"margin_percent\": 2, \"pairs\": [], \"schema_version\": 1}".into(), vec!["pillion ab"]),
        ("{\"over_bound\": [], \"schema_version\": 1}".into(), vec!["pillion compare"]),
        ("[1, 2]".into(), vec!["no schema_version"]),
        ("not JSON".into(), vec!["is no JSON"]),
        (String::new(), vec!["is no JSON"]),
    ] {
        let bad = dir.path().join("bad.json");
        std::fs::write(&bad, text).unwrap();
        for order in [[&good, &bad], [&bad, &good]] {
            let out = output(pillion().arg("compare").args(order).args(["--allow", "input,engine,host,rate,config"]));
            let said = stderr(&out);
            assert_eq!(out.status.code(), Some(2), "{words:?}: {said}");
            assert!(words.iter().all(|w| said.contains(w)) && said.contains("bad.json"), "{words:?}: {said}");
        }
    }
    let out = output(pillion().arg("compare").arg(&good).arg(dir.path().join("missing.json")));
    assert!(out.status.code() == Some(2) && stderr(&out).contains("missing.json"), "{}", stderr(&out));
    let both = dir.path().join("old.json");
    std::fs::write(&both, old.to_string()).unwrap();
    let out = output(pillion().arg("compare").arg(&both).arg(&both));
    assert!(out.status.code() == Some(2) && stderr(&out).contains("this pillion reads 2"), "{}", stderr(&out));
}

#[test]
fn damaged_histograms_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = (report(1, same), report(2, same));
    b.lane.intervals[3].hdr.insert("infer".into(), "AAAA".into());
    let out = compare(dir.path(), &a, &b, &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("intervals[3].hdr.infer") && stderr(&out).contains("b.json"), "{}", stderr(&out));
}

/// Beyond the bound is exit code 1 with the figures, and the comparison is written all the same.
#[test]
fn a_bound_is_kept_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("out.json");
    let bound = |a: &ReplayReport, b: &ReplayReport, percent: &str| {
        let out = compare(dir.path(), a, b, &["--bound", percent, "--json", json.to_str().unwrap()]);
        (out.status.code(), stderr(&out))
    };
    let (a, slow) = (report(1, same), report(2, slower_features));
    let (code, said) = bound(&a, &slow, "5");
    assert!(
        code == Some(1) && said.contains("tick_to_signal_corrected p50") && said.contains("bound of 5 %"),
        "{said}"
    );
    let made: Comparison = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((made.over_bound.len(), made.bound_percent), (2, Some(5.0)), "p50 and p99: {:?}", made.over_bound);
    assert_eq!(bound(&slow, &a, "5").0, Some(0), "faster is fine");
    assert_eq!(bound(&a, &slow, "150").0, Some(0), "within the bound");
    assert_eq!(bound(&a, &report(3, same), "5").0, Some(0));

    let only_corrected = report(2, |name, ns| if name == "tick_to_signal_corrected" { 2 * ns } else { ns });
    assert_eq!(bound(&a, &only_corrected, "5").0, Some(1), "stalls are charged to the ticks they delayed");
    let uncorrected = |mut r: ReplayReport| {
        r.reader.stages.remove("tick_to_signal_corrected");
        r
    };
    let (code, said) = bound(&uncorrected(a.clone()), &uncorrected(slow.clone()), "5");
    assert!(code == Some(1) && said.contains("tick_to_signal p50"), "{said}");
    let silent = |mut r: ReplayReport| {
        r.stages.remove("tick_to_signal");
        uncorrected(r)
    };
    let (code, said) = bound(&silent(a.clone()), &silent(a), "5");
    assert!(code == Some(2) && said.contains("no tick_to_signal"), "{said}");
}

/// Runs too short to know their own noise are undecided, whatever their ratio: said, and no failure.
#[test]
fn too_few_intervals_decide_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("out.json");
    let short = |n, ns: fn(&str, u64) -> u64| spans(n, 1, move |name, _| ns(name, usual(name)));
    for n in [1, 2, 7, 8] {
        for (b, over) in [(short(n, slower_features), true), (short(n, same), false)] {
            let out = compare(dir.path(), &short(n, same), &b, &["--bound", "5", "--json", json.to_str().unwrap()]);
            let made: Comparison = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
            let text = format!("{}{}", stdout(&out), stderr(&out));
            if n < 8 {
                assert_eq!((out.status.code(), made.over_bound.len(), made.undecided.len()), (Some(0), 0, 2), "{text}");
                assert!(text.contains("UNDECIDED") && text.contains(&format!("{n} time intervals")), "{text}");
                assert!(!text.contains("nothing is shown"), "{text}");
            } else {
                assert_eq!((out.status.code(), made.undecided.len()), (Some(i32::from(over)), 0), "{text}");
                assert_eq!(made.over_bound.len(), if over { 2 } else { 0 }, "{text}");
            }
        }
    }
    let help = stdout(&output(pillion().args(["compare", "--help"])));
    assert!(help.contains("undecided"), "{help}");
}

/// A live run's report, of lanes with these names; their stages are the replay's.
fn live(dir: &Path, name: &str, made: &ReplayReport, lanes: &[&str]) -> std::path::PathBuf {
    let lane = |name: &&str| {
        let (name, stages) = ((*name).to_owned(), made.stages.clone());
        LaneReport { lane: name, end: "stopped".into(), stages, models: made.models.clone(), ..made.lane.clone() }
    };
    let (host, build) = (made.host.clone(), made.build.clone());
    let config = serde_json::json!({ "lanes": lanes.iter().map(|l| serde_json::json!({ "name": l, "batch": 1 })).collect::<Vec<_>>() });
    let lanes = lanes.iter().map(lane).collect();
    let (started, written) = ("2026-11-28T08:00:00Z".into(), "2026-11-28T18:00:00Z".into());
    let report = SidecarReport { schema_version: 2, started, written, ended: true, host, build, config, lanes };
    let path = dir.join(name);
    std::fs::write(&path, serde_json::to_vec(&report).unwrap()).unwrap();
    path
}

/// Two live runs compare by the lane's own stages; what does not compare is refused by name.
#[test]
fn live_runs_compare() {
    let dir = tempfile::tempdir().unwrap();
    let (usual, slow) = (report(1, same), report(2, slower_features));
    let run = |args: &[&std::path::PathBuf], more: &[&str]| output(pillion().arg("compare").args(args).args(more));
    let (a, b) = (live(dir.path(), "a.json", &usual, &["es"]), live(dir.path(), "b.json", &slow, &["es"]));
    let json = dir.path().join("out.json");
    let out = run(&[&a, &b], &["--bound", "5", "--json", json.to_str().unwrap()]);
    let said = format!("{}{}", stdout(&out), stderr(&out));
    assert!(out.status.code() == Some(1) && said.contains("tick_to_signal p50 is"), "{said}");
    assert!(said.contains("a live run") && said.contains("not hashed"), "{said}");
    let made: Comparison = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(made.same_signals, None, "nobody knows");
    assert_eq!(made.rows.len(), 7 * 4, "the lane's stages, four percentiles each");
    assert_eq!(run(&[&a, &a], &["--bound", "5"]).status.code(), Some(0));

    let two = live(dir.path(), "two.json", &usual, &["es", "nq"]);
    let out = run(&[&two, &two], &[]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("2 lanes: es, nq"), "{}", stderr(&out));
    assert_eq!(run(&[&two, &two], &["--lane", "nq"]).status.code(), Some(0));
    let out = run(&[&two, &a], &["--lane", "nq"]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("no lane \"nq\", only es"), "{}", stderr(&out));
    let other = live(dir.path(), "other.json", &usual, &["nq"]);
    let out = run(&[&a, &other], &[]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("lane is \"es\""), "{}", stderr(&out));
    assert_eq!(run(&[&a, &other], &["--allow", "config"]).status.code(), Some(0));

    let replay = write(dir.path(), "replay.json", &usual);
    for pair in [[&a, &replay], [&replay, &a]] {
        let out = run(&pair, &[]);
        let said = stderr(&out);
        assert!(out.status.code() == Some(2) && said.contains("a replay") && said.contains("a live run"), "{said}");
    }
    let out = run(&[&replay, &replay], &["--lane", "es"]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("leave --lane out"), "{}", stderr(&out));
}

/// One span in twenty is a storm in B: its p99 is far over A's, but one storm is no regression of p99 that is shown.
#[test]
fn a_storm_widens_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let a = spans(20, 1, |name, chance| usual(name) + chance.below(100) as u64);
    let mut n = 0;
    let b = spans(20, 2, |name, chance| {
        n += 1;
        let storm = n / 100 % 20 == 4 && chance.unit() < 0.4;
        usual(name) + chance.below(100) as u64 + if storm { 50_000 } else { 0 }
    });
    let out = compare(dir.path(), &a, &b, &["--bound", "5"]);
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    assert!(b.stages["tick_to_signal"].p99_ns > 10 * a.stages["tick_to_signal"].p99_ns, "the storm is in p99");
}

#[test]
fn arguments_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (report(1, same), report(2, same));
    for (more, words) in [
        (["--allow", "weather"], "weather"),
        (["--allow", "signals"], "leave it out"),
        (["--bound", "-3"], "-3"),
        (["--bound", "much"], "much"),
        (["--json", "/nowhere/at/all.json"], "/nowhere/at"),
    ] {
        let out = compare(dir.path(), &a, &b, &more);
        assert_eq!(out.status.code(), Some(2), "{more:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{more:?}: {}", stderr(&out));
    }
    let help = stdout(&output(pillion().args(["compare", "--help"])));
    assert!(help.contains("Exit codes:") && help.contains("B is over --bound"), "{help}");
}
