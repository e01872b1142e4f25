//! What a reader sees first: whether the run held, its latency, its losses, and how much the host can be trusted.

use super::html::{Html, link, note, p, pairs, table, tag, text};
use super::units::{many, ns, number, rate};
use super::{anchor, short};
use crate::host::doctor::{Check, Diagnosis, Verdict};
use crate::report::table::thousands;
use crate::report::{LabReport, ReplayReport, Stage, SweepReport};

/// A column of the reader with counts.
pub fn column(run: &ReplayReport, name: &str) -> Option<Stage> {
    run.reader.stages.get(name).copied().filter(|stage| stage.count > 0)
}

/// Tick to signal from the publish stamp: of the ticks with due times, else of all.
pub fn uncorrected(run: &ReplayReport) -> Option<Stage> {
    let lane = || run.stages.get("tick_to_signal").copied().filter(|stage| stage.count > 0);
    column(run, "tick_to_signal").or_else(lane)
}

/// Tick to signal from when the tick was due; none where no tick had a due time, since there is nothing to correct.
pub fn corrected(run: &ReplayReport) -> Option<Stage> {
    column(run, "tick_to_signal_corrected").filter(|_| run.paced_ticks > 0)
}

/// Until the reader had the signal: from when the tick was due, else from its publish stamp.
pub fn seen(run: &ReplayReport) -> Option<Stage> {
    column(run, if run.paced_ticks > 0 { "seen_corrected" } else { "seen" })
}

/// The run that the head of the page speaks of: the first that held and has due times, else that held and has signals, else
/// that has signals, else the first.
fn foremost(runs: &[ReplayReport]) -> Option<usize> {
    let held = |run: &ReplayReport| run.verdict.held;
    let first = |fits: &dyn Fn(&ReplayReport) -> bool| runs.iter().position(fits);
    first(&|run| held(run) && corrected(run).is_some())
        .or_else(|| first(&|run| held(run) && uncorrected(run).is_some()))
        .or_else(|| first(&|run| uncorrected(run).is_some()))
        .or(if runs.is_empty() { None } else { Some(0) })
}

/// The head of the page.
pub fn top(report: &LabReport) -> Html {
    let foremost = foremost(&report.runs);
    let run = foremost.map(|i| &report.runs[i]);
    let doctor = report.doctor.as_ref().or_else(|| run.and_then(|run| run.doctor.as_ref()));
    let middle = match (foremost, &report.sweep) {
        (Some(i), _) => latency(&report.runs, i),
        (None, Some(sweep)) => knee(sweep),
        (None, None) if report.curves.is_empty() => {
            tag("div", "card wide", p("This report holds no run and no sweep."))
        }
        (None, None) => tag("div", "card wide", p("Curves of cost against scale: no run, no rate to hold.")),
    };
    let title = [tag("h1", "", &report.title), tag("p", "sub", format!("made {}", report.made))];
    let judged = !report.runs.is_empty() || report.sweep.is_some() || report.curves.is_empty();
    let cards = [if judged { verdict(report) } else { Html::default() }, middle, host(doctor)];
    let head = Html::from([tag("header", "", title), tag("div", "cards", cards), facts(report, run)]);
    tag("section", "top", head)
}

/// PASS or FAIL of all runs; of a sweep alone, whether it found a rate that is held.
fn verdict(report: &LabReport) -> Html {
    let runs = &report.runs;
    if !runs.is_empty() && runs.iter().all(|run| run.live) {
        return live(report);
    }
    let failed: Vec<_> = runs.iter().enumerate().filter(|(_, run)| !run.verdict.held).collect();
    let held = match &report.sweep {
        Some(sweep) if runs.is_empty() => sweep.knee_per_second.is_some(),
        _ => failed.is_empty() && !runs.is_empty(),
    };
    let why = if runs.is_empty() {
        note(if held { "a rate is held within the bound" } else { "no rate was held within the bound" })
    } else if held {
        let words = "the run held its rate";
        note(if runs.len() == 1 { words.into() } else { format!("all {} runs held their rates", runs.len()) })
    } else {
        let reason = |(i, run): &(usize, &ReplayReport)| {
            let reasons = match run.verdict.reasons.join("; ") {
                none if none.is_empty() => "no reason was noted".into(),
                reasons => reasons,
            };
            let name = if runs.len() == 1 { Html::default() } else { link(&anchor(*i), format!("run {}", i + 1)) };
            tag("li", "", [name, text(" "), text(reasons)])
        };
        let list = tag("ul", "reasons", failed.iter().take(3).map(reason).collect::<Html>());
        let count = format!("{} of {} runs did not hold", failed.len(), runs.len());
        Html::from([if runs.len() == 1 { Html::default() } else { note(count) }, list])
    };
    let (class, word) = if held { ("card verdict pass", "PASS") } else { ("card verdict fail", "FAIL") };
    tag("div", class, [tag("h2", "", "Verdict"), tag("div", "big", word), why, lost(report)])
}

/// Live lanes held no rate: how they ended, and what they lost.
fn live(report: &LabReport) -> Html {
    let failed = report.runs.iter().filter(|run| !run.verdict.held);
    let reason = |run: &ReplayReport| tag("li", "", format!("{}: {}", run.rate, run.verdict.reasons.join("; ")));
    let reasons: Html = failed.map(reason).collect();
    let ends = report.runs.iter().map(|run| format!("{} {}", run.rate, run.lane.end)).collect::<Vec<_>>().join(", ");
    let body = if reasons.is_empty() { note(ends) } else { tag("ul", "reasons", reasons) };
    tag("div", "card", [tag("h2", "", "Live run"), body, lost(report)])
}

fn lost(report: &LabReport) -> Html {
    if report.runs.is_empty() {
        return Html::default();
    }
    // A flood is meant to lose: its section says from where.
    let meant = |run: &&ReplayReport| run.flood.is_some() && run.verdict.held;
    let counted: Vec<_> = report.runs.iter().filter(|run| !meant(run)).collect();
    if counted.is_empty() {
        return note("a flood: see where its losses begin");
    }
    let sum = |of: fn(&ReplayReport) -> u64| counted.iter().fold(0_u64, |sum, run| sum.saturating_add(of(run)));
    let (lost, ticks) = (sum(|run| run.lost), sum(|run| run.ticks));
    let class = if lost > 0 { "lost bad" } else { "lost" };
    let aside = if counted.len() < report.runs.len() { ", floods aside" } else { "" };
    let words = format!(" ticks lost of {}{aside}", thousands(ticks.saturating_add(lost)));
    tag("p", class, [tag("b", "", thousands(lost)), text(words)])
}

/// A row of latencies: its name, then p50, p99, p99.9 and the longest.
fn latencies(name: &str, stage: Option<Stage>, none: &str) -> Vec<Html> {
    let Some(s) = stage else { return vec![name.into(), tag("span", "missing", none)] };
    let figures = [s.p50_ns, s.p99_ns, s.p999_ns, s.max_ns];
    std::iter::once(name.into()).chain(figures.map(|figure| text(ns(figure)))).collect()
}

/// Tick to signal, corrected beside uncorrected.
fn latency(runs: &[ReplayReport], i: usize) -> Html {
    let run = &runs[i];
    let rate = if run.live { run.rate.clone() } else { format!("rate {}", run.rate) };
    let which = if runs.len() == 1 { rate } else { format!("run {} of {}, {rate}", i + 1, runs.len()) };
    let body = if uncorrected(run).is_none() && corrected(run).is_none() {
        p("No signal was made, so there is no latency from tick to signal.")
    } else {
        let none = match (run.live, run.paced_ticks) {
            (true, _) => "a live run: nobody else measured",
            (false, 0) => "no due times at this rate: nothing to correct",
            _ => "not counted",
        };
        let mut rows = vec![
            latencies("corrected", corrected(run), none),
            latencies("uncorrected", uncorrected(run), "not counted"),
            latencies("seen", seen(run), none),
        ];
        if corrected(run).is_none() {
            rows.swap(0, 1); // the first row is the headline
        }
        tag("div", "headline", table(&["", "#p50", "#p99", "#p99.9", "#max"], rows))
    };
    let what = "Corrected for coordinated omission: from when a tick was due, so that a stall is charged to every tick it \
                delayed. Uncorrected: from when it was published. Seen: corrected, until the reader had the signal.";
    tag("div", "card wide", [tag("h2", "", format!("Tick to signal, {which}")), body, note(what)])
}

/// What a sweep found.
fn knee(sweep: &SweepReport) -> Html {
    let figure = match sweep.knee_per_second {
        Some(knee) => format!("{}{}", if sweep.knee_is_bracketed { "" } else { "≥ " }, rate(knee)),
        None => "none".into(),
    };
    let words = super::load::knee_words(sweep);
    let bound = format!("bound: p99 of tick to signal, corrected, at most {}", ns(sweep.bound_ns));
    let head = tag("h2", "", "Highest rate held within the bound");
    tag("div", "card wide", [head, tag("div", "big", figure), p(words), note(bound)])
}

/// How bad a check is: by verdict, then by its weight in the grade.
fn badness(check: &Check) -> (Verdict, usize) {
    let weights = ["critical", "major", "minor"];
    (check.verdict, weights.iter().position(|weight| *weight == check.weight).unwrap_or(weights.len()))
}

/// Checks, the worst first, otherwise in their own order.
pub fn worst_first(doctor: &Diagnosis) -> Vec<&Check> {
    let mut checks: Vec<_> = doctor.checks.iter().collect();
    checks.sort_by_key(|check| badness(check));
    checks
}

fn host(doctor: Option<&Diagnosis>) -> Html {
    let head = tag("h2", "", "Host");
    let Some(doctor) = doctor else {
        return tag("div", "card host", [head, p("The host was not checked: pillion doctor does it.")]);
    };
    let grade = match doctor.grade.trim() {
        "A" | "B" => "big good",
        "C" | "D" => "big fair",
        _ => "big bad",
    };
    let worst: Vec<_> =
        worst_first(doctor).into_iter().filter(|check| check.verdict != Verdict::Good).take(3).collect();
    let item =
        |check: &&Check| tag("li", "", [tag("b", "", &check.id), text(format!(": {}", short(&check.value, 90)))]);
    let list = if worst.is_empty() {
        note("every check is good")
    } else {
        tag("ul", "reasons", worst.iter().map(item).collect::<Html>())
    };
    let more = p(link("host", format!("all {} checks", doctor.checks.len())));
    let grade = tag("div", grade, &doctor.grade);
    tag("div", "card host", [head, grade, list, more])
}

/// Engine, input, rate and binary on one line.
fn facts(report: &LabReport, run: Option<&ReplayReport>) -> Html {
    let build = &report.build;
    let mut list = Vec::new();
    if let Some(run) = run {
        let models: Vec<_> = run.models.iter().map(|m| format!("{} r{}", m.name, m.revision)).collect();
        let models = if models.is_empty() { "no model".into() } else { models.join(", ") };
        list.push(("engine and model", text(format!("{} · {models}", run.engine))));
        if run.live {
            list.push(("lane", text(format!("{} · {} on average", run.lane.lane, rate(run.ticks_per_second)))));
        } else {
            list.push(("input", text(format!("{} · {} ticks", file_name(&run.input), thousands(run.input_ticks)))));
            list.push(("rate", text(format!("{} · {} reached", run.rate, rate(run.ticks_per_second)))));
        }
    } else if let Some(sweep) = &report.sweep {
        list.push(("engine", text(&sweep.engine)));
        list.push(("input", text(file_name(&sweep.input))));
        list.push(("arrivals", text(format!("{}, {} rates", sweep.arrivals, number(sweep.steps.len() as f64)))));
    }
    let profile = if build.profile == "release" { Html::default() } else { tag("b", "bad", " not a release build") };
    let revision = format!("{} · {}", short(&build.revision, 24), build.profile);
    list.push(("git revision and profile", Html::from([text(revision), profile])));
    list.push((
        "machine",
        text(format!("{} · {} · Linux {}", report.host.cpu, many(report.host.cpus as u64, "CPU"), report.host.kernel)),
    ));
    tag("div", "facts", pairs(list))
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
