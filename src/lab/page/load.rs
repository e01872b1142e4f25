//! Latency against load, and cost against scale.

use super::chart::{Axis, Chart, Charts, Look, Rule, Scale, Unit};
use super::html::{Html, p, pairs, table, tag, tag_with, text};
use super::units::{bytes, ns, number, percent, rate};
use crate::report::table::thousands;
use crate::report::{Curve, CurvePoint, Series, Stage, Step, SweepReport};

/// Where the knee is, in words.
pub fn knee_words(sweep: &SweepReport) -> String {
    let bound = ns(sweep.bound_ns);
    let Some(knee) = sweep.knee_per_second else {
        return match sweep.steps.first() {
            Some(step) => format!(
                "Even the lowest rate tried, {}, was not held with p99 at most {bound}.",
                rate(step.asked_per_second)
            ),
            None => "No rate was tried.".into(),
        };
    };
    let knee_words = format!("{} was held with p99 at most {bound}", rate(knee));
    if !sweep.knee_is_bracketed {
        return format!("{knee_words}, and no higher rate was seen to fail: the knee is at least there.");
    }
    let failed = sweep.steps.iter().find(|step| !step.within && step.asked_per_second > knee);
    let why =
        failed.map_or(String::new(), |step| format!("; {} was not: {}", rate(step.asked_per_second), why(step, sweep)));
    format!("{knee_words}{why}.")
}

fn why(step: &Step, sweep: &SweepReport) -> String {
    match step.verdict.reasons.first() {
        Some(reason) => reason.clone(),
        None if !step.within => format!("p99 {} is over {}", ns(step.corrected.p99_ns), ns(sweep.bound_ns)),
        None => "not held".into(),
    }
}

/// The section of a sweep.
pub fn sweep(sweep: &SweepReport, charts: &mut Charts) -> Html {
    let x = Axis { label: "ticks per second".into(), scale: Scale::Log, unit: Unit::Plain };
    let y = Axis { label: "tick to signal".into(), scale: Scale::Log, unit: Unit::Ns };
    let mut chart = Chart::new(x, y);
    let line = |of: &dyn Fn(&Step) -> (Stage, u64)| -> Vec<(f64, f64)> {
        let counted = sweep.steps.iter().filter(|step| of(step).0.count > 0);
        counted.map(|step| (step.asked_per_second, of(step).1 as f64)).collect()
    };
    chart.line("p50", 0, Look::Solid, line(&|s| (s.corrected, s.corrected.p50_ns)));
    chart.line("p99", 1, Look::Solid, line(&|s| (s.corrected, s.corrected.p99_ns)));
    chart.line("p99.9", 2, Look::Solid, line(&|s| (s.corrected, s.corrected.p999_ns)));
    chart.line("p99, uncorrected", 3, Look::Dashed, line(&|s| (s.uncorrected, s.uncorrected.p99_ns)));
    let failed = sweep.steps.iter().filter(|step| !step.within && step.corrected.count > 0);
    let failed: Vec<_> = failed.map(|step| (step.asked_per_second, step.corrected.p99_ns as f64)).collect();
    if !failed.is_empty() {
        chart.line("FAIL, at p99", 4, Look::Points, failed);
    }
    if sweep.bound_ns > 0 {
        chart.level = Some(Rule { at: sweep.bound_ns as f64, label: format!("bound on p99: {}", ns(sweep.bound_ns)) });
    }
    chart.plumb = sweep.knee_per_second.map(|at| Rule { at, label: format!("knee {}", rate(at)) });
    let drawn =
        charts.place("Latency against load", "", chart, "Fewer than two rates made signals, so there is no curve.");
    let facts = pairs(vec![
        ("engine", text(&sweep.engine)),
        ("arrivals", text(&sweep.arrivals)),
        ("begun", text(&sweep.started)),
        ("input", tag("code", "", &sweep.input)),
        ("input, BLAKE3", tag("code", "", &sweep.input_blake3)),
    ]);
    let words = tag("p", "lead", knee_words(sweep));
    let body = Html::from([tag("h2", "", "Load and latency"), words, drawn, steps(sweep), facts]);
    tag_with("section", &[("id", "sweep")], body)
}

fn steps(sweep: &SweepReport) -> Html {
    let row = |step: &Step| {
        let verdict = if step.within { tag("span", "badge pass", "PASS") } else { tag("span", "badge fail", "FAIL") };
        let stage = |s: Stage, figure: u64| text(if s.count > 0 { ns(figure) } else { "–".into() });
        let c = step.corrected;
        let words = if step.within { String::new() } else { why(step, sweep) };
        vec![
            verdict,
            text(rate(step.asked_per_second)),
            text(rate(step.offered_per_second)),
            stage(c, c.p50_ns),
            stage(c, c.p99_ns),
            stage(c, c.p999_ns),
            stage(c, c.max_ns),
            stage(step.uncorrected, step.uncorrected.p99_ns),
            stage(step.seen, step.seen.p99_ns),
            text(percent(step.utilisation, 1.0)),
            text(thousands(step.lost)),
            if words.is_empty() { text("") } else { tag("span", "why", words) },
        ]
    };
    let heads = [
        "",
        "#asked",
        "#offered",
        "#p50",
        "#p99",
        "#p99.9",
        "#max",
        "#p99 uncorrected",
        "#p99 seen",
        "#busy",
        "#lost",
        "why not",
    ];
    table(&heads, sweep.steps.iter().map(row).collect())
}

/// The section of the scale curves.
pub fn curves(curves: &[Curve], charts: &mut Charts) -> Html {
    let all: Html = curves.iter().map(|curve| one(curve, charts)).collect();
    tag_with("section", &[("id", "curves")], [tag("h2", "", "Cost against scale"), tag("div", "grid", all)])
}

fn one(curve: &Curve, charts: &mut Charts) -> Html {
    let scale = |log: bool| if log { Scale::Log } else { Scale::Linear };
    // An axis said to be in ns is labelled in the unit that keeps it short.
    let in_ns = |label: &str| label.split(|c: char| !c.is_alphanumeric()).any(|word| word == "ns");
    let y_unit = if in_ns(&curve.y_label) { Unit::Ns } else { Unit::Plain };
    let x = Axis { label: curve.x_label.clone(), scale: scale(curve.x_log), unit: Unit::Plain };
    let y = Axis { label: curve.y_label.clone(), scale: scale(curve.y_log), unit: y_unit };
    let mut chart = Chart::new(x, y);
    for (colour, series) in curve.series.iter().enumerate() {
        let points = |of: fn(&CurvePoint) -> f64| series.points.iter().map(|p| (p.x, of(p))).collect::<Vec<_>>();
        chart.line(&series.name, colour, Look::Solid, points(|p| p.y));
        chart.band(colour, points(|p| p.high), points(|p| p.low));
    }
    let touches = |series: &Series| series.points.iter().any(|point| point.working_set_bytes > 0);
    let touched = if curve.series.iter().any(touches) { " Touched: bytes that a tick's turn may touch." } else { "" };
    let note = format!("{}: median over rounds; the band is from the least to the most.{touched}", curve.y_label);
    let drawn = charts.place(&curve.title, &note, chart, "Fewer than two points were measured.");
    let bends = if curve.bends.is_empty() { Html::default() } else { p(&curve.bends) };
    tag("div", "curve", [drawn, bends, points(curve)])
}

/// A row for each x, a column for each line: its median, and from the least to the most.
fn points(curve: &Curve) -> Html {
    let mut xs: Vec<f64> = curve.series.iter().flat_map(|series| series.points.iter().map(|point| point.x)).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let cell = |series: &Series, x: f64| match series.points.iter().find(|point| point.x.total_cmp(&x).is_eq()) {
        Some(CurvePoint { y, low, high, .. }) => {
            let range = format!(" ({}–{})", number(*low), number(*high));
            Html::from([text(number(*y)), tag("span", "muted", range)])
        }
        None => text("–"),
    };
    let touched = |x: f64| {
        let points = curve.series.iter().flat_map(|series| series.points.iter().filter(move |point| point.x == x));
        points.map(|point| point.working_set_bytes).max().unwrap_or(0)
    };
    let any_touched = xs.iter().any(|x| touched(*x) > 0);
    let row = |x: &f64| {
        let cells = curve.series.iter().map(|series| cell(series, *x));
        let bytes = any_touched.then(|| text(bytes(touched(*x))));
        std::iter::once(text(number(*x))).chain(cells).chain(bytes).collect()
    };
    let heads = std::iter::once(format!("#{}", curve.x_label))
        .chain(curve.series.iter().map(|series| format!("#{}", series.name)))
        .chain(any_touched.then(|| "#touched".to_owned()));
    let heads: Vec<_> = heads.collect();
    table(&heads.iter().map(String::as_str).collect::<Vec<_>>(), xs.iter().map(row).collect())
}
