//! A lab's report made by hand, every part filled: three runs of which one failed, a sweep, curves, tails, checks.
#![allow(dead_code)]

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use pillion::host::doctor::Diagnosis;
use pillion::report::hdr;
use pillion::report::{
    Buckets, Build, Cause, Curve, CurvePoint, EngineTried, FeaturesInUse, Flood, Host, HostTotals, Interval, LabReport,
    LaneReport, Looks, ModelInUse, Reader, ReplayReport, SCHEMA_VERSION, Series, Shares, Stage, Stages, Step,
    SweepReport, TailReport, TailTick, Verdict, buckets,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// When the runs began, ns since the epoch.
pub const START_NS: u64 = 1_795_000_000_123_456_789;

/// Intervals of a run.
pub const INTERVALS: u64 = 30;

/// How long each is, ns.
pub const INTERVAL_NS: u64 = 100_000_000;

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("valid bounds")
}

/// Latencies around a middle, with a tail: one in 200 some times as long, one in 20,000 many times.
fn record(h: &mut Histogram<u64>, rng: &mut Pcg64, middle: f64, factor: f64) {
    let spread = 0.8 + 0.5 * rng.random::<f64>() + 0.3 * rng.random::<f64>().powi(6);
    let tail = match rng.random_range(0..20_000) {
        0 => 60.0 + 80.0 * rng.random::<f64>(),
        1..=100 => 3.0 + 6.0 * rng.random::<f64>(),
        _ => 1.0,
    };
    let tail = if tail > 1.0 { 1.0_f64.max(tail * factor) } else { 1.0 };
    h.record((middle * spread * tail).max(1.0) as u64).expect("within bounds");
}

/// A column of a run: its total and its intervals.
struct Column {
    name: &'static str,
    total: Histogram<u64>,
    spans: Vec<Histogram<u64>>,
}

fn column(name: &'static str, rng: &mut Pcg64, per_interval: u64, middle: f64, factor: f64) -> Column {
    let mut total = empty();
    let spans: Vec<_> = (0..INTERVALS)
        .map(|i| {
            let mut span = empty();
            let burst = if i == 17 { 4.0 } else { 1.0 };
            (0..per_interval)
                .for_each(|_| record(&mut span, rng, middle * if i == 17 { 1.6 } else { 1.0 }, factor * burst));
            total.add(&span).expect("the same bounds");
            span
        })
        .collect();
    Column { name, total, spans }
}

fn stages(columns: &[Column]) -> Stages {
    columns.iter().map(|c| (c.name.to_owned(), Stage::of(&c.total))).collect()
}

fn histograms(columns: &[Column]) -> BTreeMap<String, Buckets> {
    columns.iter().map(|c| (c.name.to_owned(), buckets(&c.total))).collect()
}

fn intervals(columns: &[Column]) -> Vec<Interval> {
    let interval = |i: u64| Interval {
        start_ns: START_NS + i * INTERVAL_NS,
        end_ns: START_NS + (i + 1) * INTERVAL_NS,
        hdr: columns.iter().map(|c| (c.name.to_owned(), hdr::encode(&c.spans[i as usize]))).collect(),
    };
    (0..INTERVALS).map(interval).collect()
}

/// A machine.
pub fn host() -> Host {
    Host {
        cpu: "AMD EPYC 9R14 96-Core Processor".into(),
        cpus: 8,
        kernel: "6.18.2".into(),
        virtualised: true,
        isa: "avx512f".into(),
    }
}

/// A binary.
pub fn build() -> Build {
    Build {
        version: "0.1.0".into(),
        revision: "935829b4c1d7".into(),
        profile: "release".into(),
        target: "x86_64-unknown-linux-gnu".into(),
        rustc: "rustc 1.95.0".into(),
    }
}

fn tick(i: u64, tail: u64) -> TailTick {
    let cause =
        [Cause::Host, Cause::Backlog, Cause::Host, Cause::Model, Cause::Ours, Cause::Unattributed][i as usize % 6];
    let latency = tail / (1 + i / 2);
    let most = latency * 8 / 10;
    let of = |wanted: Cause| if wanted == cause { most } else { 0 };
    let shares = Shares {
        host_ns: of(Cause::Host),
        backlog_ns: of(Cause::Backlog) + latency / 20,
        model_ns: of(Cause::Model),
        ours_ns: of(Cause::Ours),
        unattributed_ns: of(Cause::Unattributed),
    };
    let evidence = match cause {
        Cause::Host => {
            "2 involuntary switches in the 10 ms around it; the idle loop was silent for 84 µs before its turn"
        }
        Cause::Backlog => "63 ticks before it were served at their usual speed",
        Cause::Model => "the model's run took 41 times its median; no switch and no fault meanwhile",
        Cause::Ours => "housekeeping ran in its turn",
        Cause::Unattributed => "no counter moved; its CPU may have been slowed",
    };
    let parts = [("wait", 70), ("decode", 1), ("book", 4), ("features", 5), ("infer", 18), ("publish", 2)];
    let mut stages: BTreeMap<_, _> =
        parts.iter().map(|(name, part)| ((*name).to_owned(), latency * part / 100)).collect();
    stages.insert("tick_to_signal".into(), latency);
    TailTick {
        ring_seq: 48_211 + i * 7_919,
        tick_ns: START_NS + (i * 137_000_000 + 21_000_000) % (INTERVALS * INTERVAL_NS),
        latency_ns: latency,
        late_ns: if i.is_multiple_of(5) { 12_400 } else { 0 },
        stages_ns: stages,
        position: i * 9 % 64,
        silent_ns: 84_000,
        cause,
        shares,
        evidence: vec![evidence.into()],
    }
}

fn tail(longest: u64, p99: u64) -> TailReport {
    let counts = [("host", 812), ("backlog", 604), ("model", 95), ("ours", 41), ("unattributed", 130)];
    TailReport {
        threshold_ns: p99,
        over: 1_931,
        not_kept: 249,
        ticks: counts.map(|(name, n)| (name.to_owned(), n)).into(),
        shares: Shares {
            host_ns: 48_000_000,
            backlog_ns: 21_500_000,
            model_ns: 2_400_000,
            ours_ns: 880_000,
            unattributed_ns: 3_100_000,
        },
        worst: (0..24).map(|i| tick(i, longest)).collect(),
        usual: Stages::new(),
        host: HostTotals {
            voluntary_switches: Some(3),
            involuntary_switches: Some(412),
            minor_faults: Some(0),
            major_faults: Some(0),
            timer_ticks: Some(7_519),
            interrupts: Some(288),
            tlb_shootdowns: Some(14),
            ipis: None,
            steal_ms: Some(120),
            runqueue_wait_ns: Some(184_220_114),
        },
        looks: Looks { period_ms: 10, count: 2_996, longest_gap_ns: 14_100_000, cost_ns: 38_000 },
    }
}

/// A model and the engines tried for it.
pub fn model() -> ModelInUse {
    let tried = |engine: &str, admitted, reason: Option<&str>, p50| EngineTried {
        engine: engine.into(),
        admitted,
        reason: reason.map(str::to_owned),
        max_abs_err: admitted.then_some(2.4e-7),
        p50_ns: Some(p50),
        p99_ns: Some(p50 * 5 / 4),
        p999_ns: Some(p50 * 3),
        prepare_p99_ns: None,
    };
    ModelInUse {
        name: "mlp-k10".into(),
        revision: 3,
        sha256: "9f2c61d07a1e4b3f8d5c0e92b7a64d1835cf7e2a90b1d4c86f3e5a7b2c9d0e14".into(),
        engine: "native-f32".into(),
        isa: "avx512f".into(),
        runtime: "pillion 0.1.0".into(),
        candidates: vec![
            tried("native-f32", true, None, 118),
            tried("ort-cpu", true, None, 2_650),
            tried("native-bf16", false, Some("row 17 differs by 0.004 from ONNX Runtime, over 0.001"), 96),
        ],
    }
}

/// A run at a rate: how slow it is as a factor, and whether it failed.
pub fn run(rate: &str, slow: f64, failed: bool, seed: u64) -> ReplayReport {
    let mut rng = Pcg64::seed_from_u64(seed);
    let n = 2_000;
    let parts = [("wait", 210.0, 3.0), ("decode", 22.0, 1.0), ("book", 95.0, 1.0), ("features", 130.0, 1.0)];
    let rest = [("infer", 150.0, 1.0), ("publish", 60.0, 1.0), ("tick_to_signal", 700.0, 2.0)];
    let all: Vec<_> = parts.into_iter().chain(rest).collect();
    let lane: Vec<_> = all.iter().map(|(name, ns, f)| column(name, &mut rng, n, ns * slow, f * slow)).collect();
    let columns = [
        ("tick_to_signal", 700.0, 2.0),
        ("tick_to_signal_corrected", 760.0, 6.0),
        ("seen", 980.0, 2.0),
        ("seen_corrected", 1_040.0, 6.0),
        ("late", 55.0, 5.0),
    ];
    let reader: Vec<_> = columns.iter().map(|(name, ns, f)| column(name, &mut rng, n, ns * slow, f * slow)).collect();
    let whole = Stage::of(&reader[1].total);
    let lost = if failed { 4_123 } else { 0 };
    let ticks = INTERVALS * n;
    ReplayReport {
        schema_version: SCHEMA_VERSION,
        live: false,
        verdict: Verdict {
            held: !failed,
            reasons: if failed {
                vec![
                    "4,123 ticks were lost, over 0".into(),
                    "2,914 ticks were published over 1 ms late, over 0.1 % of them".into(),
                ]
            } else {
                vec![]
            },
        },
        started: "2026-11-27T22:14:03Z".into(),
        ticks,
        events: ticks * 9 / 10,
        signals: ticks * 9 / 10,
        gaps: u64::from(failed),
        lost,
        rejects: 12,
        conflated: 0,
        invalid: 0,
        signals_blake3: "c7a1d20f5b8e63947af1e0d2b6c5984f3e7d1a20b9c8f6e5d4c3b2a190817263".into(),
        signals_lost_by_reader: 0,
        engine: "native-f32".into(),
        host: host(),
        doctor: None,
        build: build(),
        config: serde_json::json!({
            "process": { "shm_dir": "/dev/shm/pillion" },
            "lane": [{ "name": "es", "engine": "auto", "stamps": "full", "core": 2, "models": ["models/mlp-k10"] }],
        }),
        models: vec![model()],
        input: "../shared/data/dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst".into(),
        input_blake3: "0d9b1f6a2c3e4857b6a5948372615f4e3d2c1b0a9f8e7d6c5b4a392817065f4e".into(),
        input_ticks: 68_792,
        instruments: Vec::new(),
        out_of_order: 0,
        sorted: false,
        complete: true,
        rate: rate.into(),
        seed: rate.contains("poisson").then_some(7),
        span_ns: INTERVALS * INTERVAL_NS,
        ticks_per_second: ticks as f64 / (INTERVALS * INTERVAL_NS) as f64 * 1e9,
        paced_ticks: ticks,
        late_ticks: 3,
        max_late_ns: 1_420_000,
        stages: stages(&lane),
        reader: Reader {
            stages: stages(&reader),
            histograms: histograms(&reader),
            intervals: intervals(&reader),
            core: 3,
        },
        flood: failed.then(|| Flood {
            slots: 65_536,
            offered_per_second: 6_120_000.0,
            taken_per_second: 4_480_000.0,
            deepest_backlog: 65_536,
            first_loss_tick: Some(244_910),
            first_loss_after_ns: Some(40_018_000),
            first_over: vec![(1_024, 3_810), (4_096, 15_320), (16_384, 61_270)],
        }),
        lane: lane_report(&lane, ticks, lost, tail(whole.max_ns, whole.p99_ns)),
    }
}

fn lane_report(lane: &[Column], ticks: u64, lost: u64, tail: TailReport) -> LaneReport {
    LaneReport {
        lane: "es".into(),
        end: "stopped".into(),
        ticks,
        events: ticks * 9 / 10,
        signals: ticks * 9 / 10,
        lost,
        rejects: 12,
        rejects_by_reason: [("crossed".to_owned(), 12)].into(),
        book: [("added".to_owned(), ticks / 2), ("cancelled".to_owned(), ticks / 3), ("unknown_order".to_owned(), 7)]
            .into(),
        stamps: "full".into(),
        trigger: "event".into(),
        features: FeaturesInUse { set: "default".into(), hash: "5e1f09c2aa".into(), columns: 41 },
        models: vec![model()],
        core: 2,
        locked: true,
        state_bytes_per_instrument: 1_150_000,
        regimes_ns: [21_000_000_000, 8_400_000_000, 590_000_000, 10_000_000],
        stages: stages(lane),
        histograms: histograms(lane),
        intervals: intervals(lane),
        tail,
        first_lost: (lost > 0).then_some(244_910),
        ..LaneReport::default()
    }
}

/// The checks of a host that is worth a C.
pub fn doctor() -> Diagnosis {
    let check = |id: &str, value: &str, verdict: &str| {
        serde_json::json!({
            "id": id, "value": value, "verdict": verdict, "weight": "major",
            "why": "a core that is taken away or slows down is a tick that waits",
            "mend": "boot with isolcpus=2,3 nohz_full=2,3 rcu_nocbs=2,3",
        })
    };
    let checks = [
        check("isolcpus", "CPU 2 is isolated", "good"),
        check("governor", "powersave on CPU 2", "poor"),
        check("hyperthreading", "CPU 6 shares a core with CPU 2", "poor"),
        check("smi_count", "MSRs cannot be read in this virtual machine", "unknown"),
        check("transparent_hugepages", "madvise", "good"),
        check("irq_affinity", "3 device interrupts may land on CPU 2", "poor"),
        check("tsc", "invariant", "good"),
        check("swap", "off", "good"),
    ];
    serde_json::from_value(serde_json::json!({ "grade": "C", "core": 2, "checks": checks })).expect("a diagnosis")
}

fn stage(count: u64, p50_ns: u64, tail: f64) -> Stage {
    let at = |factor: f64| (p50_ns as f64 * factor * tail) as u64;
    Stage { count, p50_ns, p90_ns: at(1.4), p99_ns: at(2.2), p999_ns: at(7.0), p9999_ns: at(19.0), max_ns: at(60.0) }
}

/// A sweep over ten rates that finds its knee.
pub fn sweep() -> SweepReport {
    let step = |i: u32| {
        let asked = 25_000.0 * 2_f64.powf(f64::from(i) * 0.75);
        let load = (asked / 2_600_000.0).min(0.98);
        let wait = 1.0 + load * load / (1.0 - load);
        let within = wait < 6.0;
        let corrected = stage((asked * 5.0) as u64, (720.0 * wait.sqrt()) as u64, wait);
        let reasons = if within { vec![] } else { vec![format!("p99 {} ns is over 12,000 ns", corrected.p99_ns)] };
        Step {
            asked_per_second: asked,
            offered_per_second: asked * if within { 1.0 } else { 0.97 },
            verdict: Verdict { held: within, reasons },
            within,
            uncorrected: stage(corrected.count, 700, wait.sqrt()),
            corrected,
            seen: stage(corrected.count, 990, wait),
            utilisation: load,
            lost: if wait > 20.0 { 812 } else { 0 },
        }
    };
    let steps: Vec<_> = (0..10).map(step).collect();
    SweepReport {
        schema_version: SCHEMA_VERSION,
        started: "2026-11-27T22:20:00Z".into(),
        host: host(),
        doctor: Some(doctor()),
        build: build(),
        input: "synth.dbn.zst".into(),
        input_blake3: "77aa".into(),
        engine: "native-f32".into(),
        arrivals: "poisson".into(),
        bound_ns: 12_000,
        knee_per_second: steps.iter().rfind(|s| s.within).map(|s| s.asked_per_second),
        knee_is_bracketed: true,
        steps,
    }
}

/// Two curves: one logarithmic with two lines, one linear.
pub fn curves() -> Vec<Curve> {
    let series = |name: &str, base: f64, rise: f64| Series {
        name: name.into(),
        points: (0..8)
            .map(|i| {
                let (x, y) = (4_f64.powi(i), base + rise * f64::from(i).powi(2));
                let working_set_bytes = 1_150_000 * x as u64;
                CurvePoint { x, y, low: y * 0.94, high: y * 1.13, working_set_bytes }
            })
            .collect(),
    };
    let linear = Series {
        name: "p50".into(),
        points: (1..=6)
            .map(|i| {
                let y = 640.0 + 118.0 * f64::from(i);
                CurvePoint { x: f64::from(i), y, low: y - 20.0, high: y + 55.0, working_set_bytes: 0 }
            })
            .collect(),
    };
    vec![
        Curve {
            id: "instruments".into(),
            title: "Instruments of a lane".into(),
            x_label: "instruments".into(),
            y_label: "tick to signal, ns".into(),
            x_log: true,
            y_log: true,
            series: vec![series("p50", 640.0, 21.0), series("p99", 1_400.0, 160.0)],
            bends: "Past 16 instruments the books no longer fit the 32 MiB of L3: each tick's levels come from memory."
                .into(),
        },
        Curve {
            id: "models".into(),
            title: "Models of a lane".into(),
            x_label: "models".into(),
            y_label: "tick to signal, ns".into(),
            x_log: false,
            y_log: false,
            series: vec![linear],
            bends: "A straight line: each model adds its own run.".into(),
        },
    ]
}

/// All of it.
pub fn lab() -> LabReport {
    LabReport {
        schema_version: SCHEMA_VERSION,
        title: "ES 2023-12-25, one dense net, every load model".into(),
        made: "2026-11-27T22:31:40Z".into(),
        host: host(),
        doctor: Some(doctor()),
        build: build(),
        runs: vec![run("poisson 20000/s", 1.0, false, 1), run("x200", 1.2, false, 2), run("flood", 3.0, true, 3)],
        sweep: Some(sweep()),
        curves: curves(),
    }
}
