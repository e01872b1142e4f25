//! `pillion lab` and `sweep` as their users run them, and a stall of each side of a replay: who is charged for it.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::*;
use pillion::data::synth;
use pillion::lab::replay::ReplayReport;
use pillion::report::{LabReport, SweepReport};
use rustix::process::{Pid, Signal, kill_process};

fn recording(dir: &Path, events: u64) -> PathBuf {
    let input = dir.join("synth.dbn.zst");
    let plan = synth::Plan { seed: 5, instruments: 2, events, events_per_second: 5_000 };
    synth::write(&input, &plan).expect("writable");
    input
}

fn with_model(dir: &Path) -> PathBuf {
    config(dir, &format!("[lane]\nengine = \"native\"\nmodels = [{:?}]\n", model("mlp-k10").display().to_string()))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).expect("written")).expect("its own schema")
}

/// One command, every load model, one JSON, one page, the histograms; each run finds the CPUs that the first one found.
#[test]
fn a_lab_plays_every_load_model() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, input) = (with_model(dir.path()), recording(dir.path(), 3_000));
    let [json, html, hgrm] = ["lab.json", "lab.html", "hgrm"].map(|name| dir.path().join(name));
    let rates = "max,flood,closed,realtime,x2,5000/s,poisson:5000/s,burst:20@100/s";
    let mut command = pillion();
    command.args([
        "lab",
        "--rates",
        rates,
        "--for",
        "0.5",
        "--min-rate",
        "2000",
        "--max-rate",
        "4000",
        "--refine",
        "0",
    ]);
    command.arg("--config").arg(config).arg("--input").arg(input);
    let out = output(command.arg("--json").arg(&json).arg("--html").arg(&html).arg("--hgrm").arg(&hgrm));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let lab: LabReport = read(&json);
    let played: Vec<_> = lab.runs.iter().map(|run| run.rate.as_str()).collect();
    assert_eq!(played, rates.split(',').collect::<Vec<_>>());
    assert_eq!(lab.runs[1].config["feed"]["slots"], 4096, "a flood gets a ring that it can overflow");
    assert!(lab.runs.iter().all(|run| run.doctor.is_some() && run.reader.stages["seen"].count > 0));
    let probe = lab.doctor.as_ref().and_then(|doctor| doctor.probe.as_ref()).expect("the host was probed");
    assert!(probe.reads > 0);
    let sweep = lab.sweep.as_ref().expect("a sweep");
    assert!(!sweep.steps.is_empty() && sweep.steps[0].asked_per_second == 2_000.0);
    let page = std::fs::read_to_string(&html).expect("written");
    for text in ["poisson:5000/s", "burst:20@100/s", &lab.runs[0].signals_blake3, &lab.build.revision] {
        assert!(page.contains(text), "the page names {text}");
    }
    let files = std::fs::read_dir(&hgrm).expect("written").count();
    assert!(files >= 8 * 5, "{files} histogram files");
    assert!(stdout(&out).contains("knee") || stdout(&out).contains("lowest rate"), "{}", stdout(&out));
}

#[test]
fn a_sweep_says_what_it_found() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (config, input) = (with_model(dir.path()), recording(dir.path(), 3_000));
    let json = dir.path().join("sweep.json");
    let sweep = |more: &[&str]| {
        let mut command = pillion();
        command.arg("sweep").arg("--config").arg(&config).arg("--input").arg(&input).arg("--json").arg(&json);
        output(command.args(["--for", "0.3"]).args(more))
    };
    // Ten seconds is a bound that any machine keeps; a busy one may still not hold a rate, and then says which side it was.
    let easy = ["--min-rate", "1000", "--max-rate", "2000", "--bound-us", "10000000", "--arrivals", "even"];
    let out = sweep(&easy);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let report: SweepReport = read(&json);
    let rates: Vec<_> = report.steps.iter().map(|step| step.asked_per_second).collect();
    assert_eq!((report.arrivals.as_str(), report.bound_ns), ("even", 10_000_000_000));
    let bad = report.steps.iter().find(|step| !step.within);
    assert!(rates.is_sorted() && rates[0] == 1_000.0, "{rates:?}");
    assert_eq!(bad.is_none(), rates == [1_000.0, 2_000.0], "without a bad step nothing is refined: {rates:?}");
    let good: Vec<_> = report.steps.iter().take_while(|step| step.within).map(|step| step.asked_per_second).collect();
    assert_eq!(report.knee_per_second, good.last().copied());
    let by_the_sidecar =
        bad.is_some_and(|step| step.verdict.held || step.verdict.reasons.iter().any(|r| !r.starts_with("feed:")));
    assert_eq!(report.knee_is_bracketed, by_the_sidecar, "{bad:?}");
    assert!(report.steps.iter().all(|step| step.corrected.count > 0 && step.utilisation > 0.0));
    // One microsecond from due to signal is one that none keeps: the lowest rate is tried twice and no knee is claimed.
    let out = sweep(&["--min-rate", "1000", "--bound-us", "1"]);
    let report: SweepReport = read(&json);
    assert!(out.status.success() && report.steps.len() == 1 && report.knee_per_second.is_none(), "{}", stdout(&out));
    assert!(stdout(&out).contains("not even the lowest rate"), "{}", stdout(&out));
    for (more, word) in [
        (&["--min-rate", "5000", "--max-rate", "1000"][..], "is above --max-rate"),
        (&["--factor", "1"], "is no factor"),
        (&["--bound-us", "0"], "is no bound"),
    ] {
        let out = sweep(more);
        assert!(out.status.code() == Some(2) && stderr(&out).contains(word), "{more:?}: {}", stderr(&out));
    }
}

/// A stop of the whole sidecar, or of the feed, in mid-run: every tick that was due meanwhile is charged from when it was
/// due, whichever side stood still; and the report blames the host.
fn stopped(dir: &Path, feed: bool) -> ReplayReport {
    const STOP: Duration = Duration::from_millis(60);
    let json = dir.join("report.json");
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(with_model(dir)).arg("--input").arg(recording(dir, 120_000));
    let replay = Running::start(command.args(["--rate", "10000/s", "--for", "8"]).arg("--json").arg(&json));
    let parent = replay.0.id();
    let child = wait_for("the sidecar", || {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().next()?.parse::<i32>().ok()
    });
    let lane = wait_for("the lane", || {
        let names = std::fs::read_dir(dir)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        names
            .filter(|name| name.starts_with(&format!("pillion.replay-{parent}-")))
            .find_map(|name| name.strip_prefix("pillion.")?.strip_suffix(".cnc").map(str::to_owned))
    });
    let cnc = cnc_in(dir, &lane, pillion_shm::State::Run);
    wait_for("live ticks", || (cnc.ticks_consumed() > 3_000).then_some(()));
    let pid = Pid::from_raw(if feed { parent as i32 } else { child }).expect("a process");
    kill_process(pid, Signal::STOP).expect("it lives");
    let start = Instant::now();
    while start.elapsed() < STOP {
        std::thread::sleep(STOP / 4);
    }
    kill_process(pid, Signal::CONT).expect("it lives");
    let out = replay.finish();
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let report: ReplayReport = read(&json);
    let over =
        |name: &str| report.reader.histograms[name].iter().filter(|b| b.0 >= 20_000_000).map(|b| b.1).sum::<u64>();
    // Due in the first 40 of 60 ms: 400 ticks; two in three end an event and make a signal.
    assert!(over("tick_to_signal_corrected") >= 200, "{} signals over 20 ms", over("tick_to_signal_corrected"));
    assert!(report.stages["tick_to_signal"].count == report.signals && report.lost == 0);
    let worst = &report.lane.tail.worst;
    assert!(
        worst.len() == 20 && worst.windows(2).all(|w| w[0].latency_ns + w[0].late_ns >= w[1].latency_ns + w[1].late_ns)
    );
    report
}

#[test]
fn a_stopped_sidecar_is_the_hosts_doing() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let report = stopped(dir.path(), false);
    let tail = &report.lane.tail;
    let blamed = tail.worst.iter().filter(|tick| tick.latency_ns + tick.late_ns > 20_000_000);
    let causes: std::collections::BTreeSet<_> = blamed.map(|tick| tick.cause.name()).collect();
    assert_eq!(causes.into_iter().collect::<Vec<_>>(), ["host"], "{:#?}", tail.worst);
}

#[test]
fn a_stopped_feed_is_charged_to_the_ticks_it_held_back() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let report = stopped(dir.path(), true);
    let column = |name: &str| report.reader.stages[name];
    assert!(column("late").max_ns >= 40_000_000 && report.late_ticks >= 400, "{:?}", column("late"));
    assert!(column("tick_to_signal_corrected").max_ns >= 40_000_000);
    let held: Vec<_> = report.lane.tail.worst.iter().filter(|tick| tick.late_ns > 20_000_000).collect();
    assert!(!held.is_empty() && held.iter().all(|tick| tick.cause.name() == "host"), "{:#?}", report.lane.tail.worst);
    let late = report.reader.histograms["late"].iter().filter(|b| b.0 >= 20_000_000).map(|b| b.0 * b.1).sum::<u64>();
    let host = report.lane.tail.shares.host_ns;
    // Two in three ticks end an event and have a signal to be charged; buckets are told by their upper ends.
    assert!(host >= late / 3, "{host} ns of the host's, {late} ns late");
    assert!(held[0].evidence.iter().any(|text| text.contains("after it was due")), "{:?}", held[0].evidence);
}
