//! A report as one HTML file that needs nothing else: no network, no font, no second file. Text is laid out here; page.js
//! only draws the charts, by uPlot (vendor/uplot), from data that the page carries.

mod chart;
mod host;
mod html;
mod latency;
mod load;
mod points;
mod run;
mod tail;
mod top;
mod units;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use self::chart::Charts;
use self::html::{Html, link, table, tag, tag_with, text};
use self::top::{corrected, seen, uncorrected};
use self::units::{ns, rate};
use crate::report::table::thousands;
use crate::report::{LabReport, ReplayReport};

const UPLOT_JS: &str = include_str!("vendor/uplot/uPlot.iife.min.js");
const UPLOT_CSS: &str = include_str!("vendor/uplot/uPlot.min.css");
const PAGE_JS: &str = include_str!("page.js");
const PAGE_CSS: &str = include_str!("page.css");

/// The page of a report. Whatever its texts hold, they are shown and never run: all are escaped, and the page's own policy
/// allows no script but its two and no request at all.
pub fn render(report: &LabReport) -> String {
    let mut charts = Charts::default();
    let body =
        Html::from([nav(report), top::top(report), overview(report), sections(report, &mut charts), foot(report)]);
    let head = Html::from([
        Html::own(
            "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        ),
        policy(),
        tag("title", "", &report.title),
        tag("style", "", Html::own(UPLOT_CSS)),
        tag("style", "", Html::own(PAGE_CSS)),
    ]);
    let data = tag_with("script", &[("type", "application/json"), ("id", "charts")], Html::json(&charts));
    let scripts = Html::from([script(UPLOT_JS), script(PAGE_JS)]);
    let expected = charts.count().to_string();
    let body = tag_with("body", &[("data-charts", &expected)], [tag("main", "", body), data, scripts]);
    let html = tag_with("html", &[("lang", "en")], [tag("head", "", head), body]);
    format!("<!doctype html>\n{}", html.into_string())
}

fn script(text: &'static str) -> Html {
    tag("script", "", Html::own(text))
}

/// No request, no form, no frame; scripts by their hashes.
fn policy() -> Html {
    let hash = |script: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)));
    let scripts = format!("{} {}", hash(UPLOT_JS), hash(PAGE_JS));
    let policy = format!(
        "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    );
    tag_with("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)], Html::default())
}

/// The place of run `i` on the page.
fn anchor(i: usize) -> String {
    format!("run-{}", i + 1)
}

/// At most so many characters of a text.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.into() } else { text.chars().take(most).chain(['…']).collect() }
}

fn nav(report: &LabReport) -> Html {
    let mut links = Vec::new();
    if report.runs.len() > 1 {
        links.push(link("runs", "runs"));
    }
    links.extend(report.sweep.as_ref().map(|_| link("sweep", "load")));
    for (i, run) in report.runs.iter().enumerate() {
        links.push(link(&anchor(i), short(&run.rate, 24)));
    }
    links.extend(report.curves.first().map(|_| link("curves", "scale")));
    links.extend(doctor(report).map(|_| link("host", "host")));
    tag("nav", "", [tag("b", "", "pillion"), links.into_iter().collect()])
}

fn doctor(report: &LabReport) -> Option<&crate::host::doctor::Diagnosis> {
    report.doctor.as_ref().or_else(|| report.runs.iter().find_map(|run| run.doctor.as_ref()))
}

/// All runs, a line each.
fn overview(report: &LabReport) -> Html {
    if report.runs.len() < 2 {
        return Html::default();
    }
    let heads =
        ["rate", "", "#ticks/s", "#lost", "#p50", "#p99", "#p99.9", "#max", "#seen p99", "the tail's main cause"];
    let rows = report.runs.iter().enumerate().map(|(i, run)| overview_row(run, i)).collect();
    let words = "Latency from tick to signal, corrected for coordinated omission; a rate without due times has nothing to \
                 correct, and its figures (*) run from the publish stamp.";
    let body = [tag("h2", "", "Runs"), table(&heads, rows), html::note(words)];
    tag_with("section", &[("id", "runs")], body)
}

fn overview_row(run: &ReplayReport, i: usize) -> Vec<Html> {
    let verdict = badge(run);
    let mark = if corrected(run).is_some() { "" } else { "*" };
    let stage = corrected(run).or_else(|| uncorrected(run));
    let figure =
        |value: Option<u64>, mark: &str| text(value.map_or("–".into(), |value| format!("{}{mark}", ns(value))));
    vec![
        link(&anchor(i), &run.rate),
        verdict,
        text(rate(run.ticks_per_second).trim_end_matches("/s")),
        if run.lost > 0 { tag("b", "bad", thousands(run.lost)) } else { text(0) },
        figure(stage.map(|s| s.p50_ns), mark),
        figure(stage.map(|s| s.p99_ns), mark),
        figure(stage.map(|s| s.p999_ns), mark),
        figure(stage.map(|s| s.max_ns), mark),
        figure(seen(run).map(|s| s.p99_ns), if run.paced_ticks > 0 { "" } else { "*" }),
        text(tail::main_cause(&run.lane.tail).unwrap_or_else(|| "none kept".into())),
    ]
}

/// PASS or FAIL; of a live run, which held no rate, only that it failed.
fn badge(run: &ReplayReport) -> Html {
    match (run.verdict.held, run.live) {
        (true, true) => tag("span", "muted", "live"),
        (true, false) => tag("span", "badge pass", "PASS"),
        (false, _) => tag("span", "badge fail", "FAIL"),
    }
}

fn sections(report: &LabReport, charts: &mut Charts) -> Html {
    let mut all = Html::default();
    if let Some(sweep) = &report.sweep {
        all.push(load::sweep(sweep, charts));
    }
    for (i, run) in report.runs.iter().enumerate() {
        all.push(run::section(run, i, report.runs.len(), charts));
    }
    if !report.curves.is_empty() {
        all.push(load::curves(&report.curves, charts));
    }
    if let Some(doctor) = doctor(report) {
        all.push(host::section(doctor));
    }
    all
}

fn foot(report: &LabReport) -> Html {
    let build = &report.build;
    let made = format!(
        "pillion {} · {} · {} · {} · {} · report schema {}",
        build.version, build.revision, build.profile, build.target, build.rustc, report.schema_version
    );
    let script = tag("noscript", "", "The charts need JavaScript; every figure stands in the tables too.");
    tag("footer", "", [tag("p", "", made), script])
}
