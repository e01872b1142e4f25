//! A run's latency: percentile curves, the same over time, and where a tick's time goes.

use std::collections::BTreeMap;

use super::chart::{Axis, Chart, Charts, Look, Scale, Unit};
use super::html::{Html, bar, note, p, table, tag, text};
use super::points::{over_time, percentiles};
use super::units::{many, ns, percent};
use crate::hot::stamp::STAGE_NAMES;
use crate::report::{Cause, ReplayReport, TailTick};

/// How far, as a factor, a tick may be from a percentile to stand for it.
const NEAR: f64 = 1.25;

fn latency_axis() -> Axis {
    Axis { label: "latency".into(), scale: Scale::Log, unit: Unit::Ns }
}

fn percentile_axis() -> Axis {
    Axis { label: "percentile".into(), scale: Scale::Percentile, unit: Unit::Plain }
}

/// Numbers of the stages' colours, in their order; the whole way stands apart from its parts.
const COLOURS: [usize; STAGE_NAMES.len()] = [0, 1, 2, 3, 5, 6, 4];

/// The three charts of a run.
pub fn charts(run: &ReplayReport, charts: &mut Charts) -> Html {
    tag("div", "grid", [ends(run, charts), stages(run, charts), time(run, charts)])
}

/// From tick to signal by each of its beginnings and ends.
fn ends(run: &ReplayReport, charts: &mut Charts) -> Html {
    let mut chart = Chart::new(percentile_axis(), latency_axis());
    let names = [
        ("tick_to_signal_corrected", "corrected", 0, Look::Solid),
        ("tick_to_signal", "uncorrected", 1, Look::Dashed),
        ("seen_corrected", "seen, corrected", 2, Look::Solid),
        ("seen", "seen, uncorrected", 3, Look::Dashed),
    ];
    for (column, name, colour, look) in names {
        let lane = || run.lane.histograms.get(column);
        let buckets = run.reader.histograms.get(column).filter(|b| !b.is_empty()).or_else(lane);
        if let Some(buckets) = buckets.filter(|b| !b.is_empty()) {
            chart.line(name, colour, look, percentiles(buckets));
        }
    }
    let missing = "No signal was counted, so there is no curve from tick to signal.";
    charts.place("Tick to signal by percentile", "", chart, missing)
}

/// Each stage of the hot path.
fn stages(run: &ReplayReport, charts: &mut Charts) -> Html {
    let mut chart = Chart::new(percentile_axis(), latency_axis());
    for (name, colour) in STAGE_NAMES.iter().zip(COLOURS) {
        if let Some(buckets) = run.lane.histograms.get(*name).filter(|b| !b.is_empty()) {
            let look = if *name == "tick_to_signal" { Look::Dashed } else { Look::Solid };
            chart.line(&name.replace('_', " "), colour, look, percentiles(buckets));
        }
    }
    charts.place("Stages by percentile", "", chart, "No stage counted anything.")
}

/// The run from its start to its end.
fn time(run: &ReplayReport, charts: &mut Charts) -> Html {
    let title = "Latency over time";
    let has = |stage: &str| run.reader.intervals.iter().any(|i| i.hdr.contains_key(stage));
    let (intervals, stage, what) = if has("tick_to_signal_corrected") {
        (&run.reader.intervals, "tick_to_signal_corrected", "tick to signal, corrected")
    } else if has("tick_to_signal") {
        (&run.reader.intervals, "tick_to_signal", "tick to signal, uncorrected")
    } else if run.lane.intervals.iter().any(|i| i.hdr.contains_key("tick_to_signal")) {
        (&run.lane.intervals, "tick_to_signal", "tick to signal, uncorrected")
    } else {
        (&run.lane.intervals, "wait", "publish to the start of the turn (wait)")
    };
    let x = Axis { label: "seconds of the run".into(), scale: Scale::Linear, unit: Unit::Seconds };
    let mut chart = Chart::new(x, latency_axis());
    let from = intervals.first().map_or(0, |i| i.start_ns);
    let seen = over_time(intervals, stage, from);
    let late = over_time(&run.reader.intervals, "late", from);
    for (name, colour, points) in [("p50", 0, seen.p50), ("p99", 1, seen.p99), ("max", 2, seen.max)] {
        chart.line(name, colour, Look::Solid, points);
    }
    if late.max.iter().any(|(_, y)| *y > 1.0) {
        chart.line("feed late, max", 3, Look::Dashed, late.max);
    }
    for (name, colour, host) in [("slow tick: host", 4, true), ("slow tick: other", 5, false)] {
        let points: Vec<_> = slow(run, from, host);
        if !points.is_empty() {
            chart.line(name, colour, Look::Points, points);
        }
    }
    let mut words = format!("Per interval: {what}. Points: the run's slowest ticks.");
    if seen.unread + late.unread > 0 {
        words.push_str(&format!(" Left out as damaged: {}.", many((seen.unread + late.unread) as u64, "histogram")));
    }
    let html = charts.place(title, &words, chart, "The run has fewer than two intervals with counts.");
    tag("div", "broad", html)
}

/// The slowest ticks that the host slowed, or the others, as (seconds, ns).
fn slow(run: &ReplayReport, from_ns: u64, host: bool) -> Vec<(f64, f64)> {
    let fits = |tick: &&TailTick| (tick.cause == Cause::Host) == host && tick.tick_ns >= from_ns;
    let point = |tick: &TailTick| ((tick.tick_ns - from_ns) as f64 / 1e9, tick.latency_ns as f64);
    run.lane.tail.worst.iter().filter(fits).map(point).collect()
}

/// Where the median tick's time goes, and where that of a tick at the 99.9th percentile.
pub fn waterfall(run: &ReplayReport) -> Html {
    let head = tag("h3", "", "Where the time goes");
    let whole = run.stages.get("tick_to_signal").copied().unwrap_or_default();
    let steps = || STAGE_NAMES.iter().filter(|name| **name != "tick_to_signal");
    let of = |pick: &dyn Fn(&str) -> u64| steps().map(|name| (*name, pick(name))).collect::<Vec<_>>();
    let stage = |name: &str| run.stages.get(name).copied().unwrap_or_default();
    let median = of(&|name| stage(name).p50_ns);
    if median.iter().filter(|(_, ns)| *ns > 0).count() < 2 {
        let mode = &run.lane.stamps;
        return Html::from([
            head,
            p(format!(
                "Not known: with stamps = \"{mode}\" the steps between are not stamped, or nothing was counted."
            )),
        ]);
    }
    let near = |tick: &&TailTick| {
        let ratio = tick.latency_ns.max(1) as f64 / whole.p999_ns.max(1) as f64;
        tick.stages_ns.len() > 2 && (1.0 / NEAR..=NEAR).contains(&ratio)
    };
    let tick = run.lane.tail.worst.iter().filter(near).min_by_key(|t| t.latency_ns.abs_diff(whole.p999_ns));
    let (slow, name, what) = match tick {
        Some(tick) => {
            let stages = of(&|name| tick.stages_ns.get(name).copied().unwrap_or(0));
            let words = format!("tick {} of the tail, {} from tick to signal", tick.ring_seq, ns(tick.latency_ns));
            (stages, "A tick at p99.9", words)
        }
        None => (of(&|name| stage(name).p999_ns), "p99.9", "each stage's own p99.9: not one tick".into()),
    };
    let words = "The median is of each stage by itself. Each bar is drawn to its own length.";
    let middle = format!("each stage's p50; tick to signal {}", ns(whole.p50_ns));
    Html::from([
        head,
        note(words),
        one_bar("Median", &middle, &median),
        one_bar(name, &what, &slow),
        comparison(&median, &slow, name),
    ])
}

fn one_bar(name: &str, what: &str, stages: &[(&'static str, u64)]) -> Html {
    let parts: Vec<_> =
        stages.iter().zip(COLOURS).map(|((name, part), colour)| (*name, ns(*part), *part, colour)).collect();
    let head = tag("p", "barhead", [tag("b", "", name), text(" "), tag("span", "muted", what)]);
    tag("div", "waterfall", [head, bar(&parts)])
}

fn comparison(median: &[(&'static str, u64)], slow: &[(&'static str, u64)], name: &str) -> Html {
    let sum = |stages: &[(&str, u64)]| stages.iter().map(|(_, part)| *part as f64).sum::<f64>();
    let (all, all_slow) = (sum(median), sum(slow));
    let slow: BTreeMap<_, _> = slow.iter().copied().collect();
    let row = |(stage, part): &(&str, u64)| {
        let slow = slow.get(stage).copied().unwrap_or(0);
        let figures = [ns(*part), percent(*part as f64, all), ns(slow), percent(slow as f64, all_slow)];
        std::iter::once(text(stage)).chain(figures.into_iter().map(text)).collect()
    };
    table(&["stage", "#median", "#share", &format!("#{name}"), "#share"], median.iter().map(row).collect())
}
