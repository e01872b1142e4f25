//! A sidecar that is stopped in mid-run: its report says that the machine did it, of the ticks published meanwhile too.

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use pillion::data::{self, synth};
use pillion::report::{Cause, SidecarReport, TailTick};
use pillion_shm::{Clock, From, Kind, Lane, RingReader, State};
use rustix::process::{Pid, Signal, kill_process};

const LANE: &str = "tail";

/// Times the sidecar is stopped.
const STOPS: u64 = 5;

/// How long it stays stopped after [`MEANWHILE`] ticks were published.
const STOPPED: Duration = Duration::from_millis(25);

/// Ticks that are waited for in each stop: few enough for all to be kept. They wait at least [`STOPPED`], whatever else the machine does.
const MEANWHILE: u64 = 20;

/// Stops a process: none of its threads runs when this returns.
fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).expect("it lives");
    wait_for("all threads to be stopped", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("it lives");
        let stopped = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'))
        };
        tasks.map(|task| task.expect("readable")).all(stopped).then_some(())
    });
}

/// Runs a lane without models beside a feed, stops it, and gives its account and the ticks that were published from just
/// before each stop on: the last [`MEANWHILE`] of them while it was stopped.
fn stopped_run(dir: &Path, sample_ms: u64) -> (SidecarReport, Vec<std::ops::Range<u64>>) {
    let input = dir.join("synth.dbn.zst");
    synth::write(&input, &synth::Plan { seed: 9, instruments: 2, events: 400_000, events_per_second: 20_000 }).unwrap();
    let recording = data::load(&input).unwrap();
    let report = dir.join("report.json");
    // The process's section comes first in the file, so its key can come before the lane's section.
    let keys = format!("sample_ms = {sample_ms}\n[lane]\ntail_ns = 1000000\n{}", lane_keys(LANE, &recording, &[]));
    let config = config(dir, &keys);
    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&config).arg("--report").arg(&report));
    cnc_of(&mut sidecar, dir, LANE, State::Boot);
    let mut feed = pillion();
    feed.arg("feed").arg("--config").arg(&config).arg("--input").arg(&input);
    let feed = Running::start(feed.args(["--lane", LANE, "--rate", "5000/s", "--linger"]));
    let cnc = cnc_of(&mut sidecar, dir, LANE, State::Run);
    let clock = Clock::attach_or_create(dir).unwrap();
    let ticks = RingReader::attach(&Lane::in_dir(dir, LANE).unwrap(), Kind::Ticks, From::Next, &clock).unwrap();
    let pid = Pid::from_raw(sidecar.0.id() as i32).unwrap();
    let mut meanwhile = Vec::new();
    let consumed = |more| {
        let before = cnc.ticks_consumed();
        wait_for("ticks to be consumed", || (cnc.ticks_consumed() >= before + more).then_some(()));
    };
    for _ in 0..STOPS {
        consumed(500);
        let first = ticks.head();
        stop(pid);
        let stopped = ticks.head();
        wait_for("ticks for a stopped sidecar", || (ticks.head() >= stopped + MEANWHILE).then_some(()));
        std::thread::sleep(STOPPED);
        kill_process(pid, Signal::CONT).unwrap();
        meanwhile.push(first..stopped + MEANWHILE);
    }
    consumed(1_000);
    let out = output(pillion().args(["ctl", LANE, "stop", "--shm-dir"]).arg(dir));
    assert!(out.status.success(), "{}", stderr(&out));
    let ended = sidecar.finish();
    assert!(ended.status.success(), "{}", stderr(&ended));
    drop(feed);
    (serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap(), meanwhile)
}

#[test]
fn a_stopped_sidecar_is_the_hosts_doing() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (account, meanwhile) = stopped_run(dir.path(), 10);
    let (lane, stopped_ns) = (&account.lanes[0], STOPPED.as_nanos() as u64);
    let tail = &lane.tail;
    println!("{}", pillion::report::tail_text::tail_text(tail));
    assert_eq!((lane.lost, tail.threshold_ns), (0, 1_000_000));
    assert!(tail.over >= STOPS * MEANWHILE, "{}", tail.over);
    let told: u64 = tail.ticks.values().sum();
    assert!(told <= tail.over - tail.not_kept && (told > 0 || tail.not_kept > 0), "{tail:?}");
    assert!(tail.not_kept > 0 || tail.ticks[Cause::Host.name()] >= STOPS * MEANWHILE, "{:?}", tail.ticks);
    assert!(tail.worst.is_sorted_by(|a, b| a.latency_ns >= b.latency_ns));

    // Ticks that waited for a stop to end, as far as the report has them one by one.
    let waited = |tick: &&TailTick| {
        tick.latency_ns >= stopped_ns && meanwhile.iter().any(|ticks| ticks.contains(&tick.ring_seq))
    };
    let of_stops: Vec<_> = tail.worst.iter().filter(waited).collect();
    // Unless the machine itself stood still for longer, so often that no room was left among the worst.
    let all_longer = tail.worst.iter().all(|tick| tick.latency_ns > stopped_ns && tick.cause == Cause::Host);
    assert!(!of_stops.is_empty() || all_longer, "{:?}", tail.worst);
    for tick in &of_stops {
        assert_eq!(tick.cause, Cause::Host, "{tick:?}");
        assert!(!tick.evidence.is_empty(), "{tick:?}");
    }
    let (host, all) =
        of_stops.iter().fold((0, 0), |(host, all), t| (host + t.shares.host_ns, all + t.shares.total_ns()));
    assert!(host * 10 > all * 9, "{host} of {all} ns");

    // Each stop takes the thread off its CPU; the first may come before the first look.
    let switches = tail.host.voluntary_switches.zip(tail.host.involuntary_switches);
    assert!(switches.is_none_or(|(own, other)| own + other >= STOPS - 1), "{:?}", tail.host);
    assert!(tail.looks.period_ms == 10 && tail.looks.count >= 2 && tail.looks.cost_ns > 0, "{:?}", tail.looks);
    assert!(tail.looks.longest_gap_ns >= stopped_ns, "nobody looks while all are stopped: {:?}", tail.looks);
}

/// Without looks the tail still says what the hot thread saw itself, and nothing of the kernel's counts.
#[test]
fn without_looks_nothing_is_said_of_the_kernel() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (account, _) = stopped_run(dir.path(), 0);
    let tail = &account.lanes[0].tail;
    assert!(tail.over >= STOPS * MEANWHILE);
    assert_eq!((tail.host, tail.looks), Default::default());
    let told: u64 = tail.ticks.values().sum();
    assert!(told <= tail.over - tail.not_kept && (told > 0 || tail.not_kept > 0), "{tail:?}");
}
