//! The findings as a person reads them.

use super::{EngineFindings, Findings};
use crate::models::{Expected, evidence};
use crate::report::table::{columns, thousands};

/// Everything, a fact a line, and a table of the engines.
pub(super) fn text(found: &Findings) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| text.push_str(&format!("{key:<10} {value}\n"));
    line("file", format!("{} ({})", found.file, &found.sha256[..16]));
    if let Some(model) = &found.model {
        line("model", model.clone());
        line("trigger", found.trigger.as_deref().map_or("not said".into(), |trigger| format!("rows of \"{trigger}\"")));
        line("expected", expected(found));
    }
    for (what, how) in found.asked.iter().flat_map(evidence::text) {
        line(if what == "expected" { "compared" } else { what }, how);
    }
    for port in &found.inputs {
        let what = match found.states.iter().find(|(input, _)| *input == port.name) {
            Some((_, next)) => format!("state, 0 at first, then `{next}`"),
            None if found.rows > 1 => {
                let turned = if found.layout == "channels-first" {
                    ", turned for the file: its channels come first"
                } else {
                    ""
                };
                format!("the latest {} rows of {} values, oldest first{turned}", found.rows, found.features)
            }
            None if !found.columns.is_empty() => {
                let columns: Vec<String> = found.columns.iter().map(|name| format!("`{name}`")).collect();
                format!("a row of a value for each of {} inputs, {}", columns.len(), columns.join(", "))
            }
            None => format!("a row of {} values", found.features),
        };
        line("input", format!("`{}` {}: {what}", port.name, port.text()));
    }
    for port in &found.outputs {
        let state = found.states.iter().find(|(_, next)| *next == port.name);
        let what = match state {
            Some((input, _)) => format!("the next `{input}`"),
            None if found.published.contains(&port.name) => "published".into(),
            None => "dropped".into(),
        };
        line("output", format!("`{}` {}: {what}", port.name, port.text()));
    }
    line("values", found.values.to_string());
    let opset = found.opset.map_or("none".into(), |opset| opset.to_string());
    let operators: Vec<String> = found.operators.iter().map(|(op, count)| format!("{count} {op}")).collect();
    line("graph", format!("opset {opset}: {}", operators.join(", ")));
    line("weights", format!("{} bytes in the file", thousands(found.weight_bytes)));
    line("work", work(found));
    let Some(best) = found.engines.get(&found.auto) else { return text };
    let p99 = thousands(best.p99_ns.unwrap_or(0));
    line("auto", format!("{}: the fastest p99, {p99} ns, timed on CPU {}", found.auto, found.core));
    text.push('\n');
    text += &engines(found);
    text
}

/// What is known of the estimator's own answers.
fn expected(found: &Findings) -> String {
    match found.expected {
        None => "golden answers are ONNX Runtime's own: nothing was compared with the estimator".into(),
        Some(Expected { rows, differ, largest, decisions }) => format!(
            "{} rows were held against the estimator's own answers: {} differ, by {largest:.1e} at most; {} decisions differ",
            thousands(rows),
            thousands(differ),
            thousands(decisions)
        ),
    }
}

/// What a run computes, and how long that takes at least.
fn work(found: &Findings) -> String {
    let Some(work) = found.work else { return "not known: a run that shows every value of the graph failed".into() };
    let rate = format!("{:.1} a ns, the peak of f32 multiply-adds measured here on one thread", found.peak_macs_per_ns);
    let floor = found.floor_ns.map_or("no floor".into(), |ns| format!("floor {ns:.1} ns at {rate}"));
    format!("{} MACs, {} tree comparisons a run; {floor}", thousands(work.macs), thousands(work.comparisons))
}

const HEAD: [&str; 11] = [
    "engine",
    "admitted",
    "rows",
    "decisions",
    "max error",
    "p50 ns",
    "p99 ns",
    "p99.9 ns",
    "mallocs/run",
    "weight bytes",
    "x floor",
];

/// A line an engine, with the numbers or the reason.
fn engines(found: &Findings) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let mut named: Vec<_> = found.engines.iter().collect();
    // The reference first, what is not here last.
    named.sort_by_key(|(name, engine)| (*name != "ort-cpu", !engine.available, *name));
    for (name, engine) in named {
        let mut row = vec![name.clone()];
        match &engine.reason {
            Some(reason) => row.push(format!("{}: {reason}", if engine.available { "no" } else { "not to be had" })),
            None => row.extend(numbers(engine)),
        }
        rows.push(row);
    }
    columns(&rows)
}

fn numbers(engine: &EngineFindings) -> Vec<String> {
    let dash = || "-".to_owned();
    let count = |n: Option<u64>| n.map_or_else(dash, thousands);
    let decisions = match (engine.decisions, engine.ties) {
        (Some(same), Some(0)) => thousands(same as u64),
        (Some(same), Some(ties)) => format!("{} and {ties} ties", thousands(same as u64)),
        _ => dash(),
    };
    let mut row = vec![
        if engine.rows.is_some() { "yes" } else { "reference" }.to_owned(),
        count(engine.rows.map(|n| n as u64)),
        decisions,
        engine.max_abs_err.filter(|_| engine.rows.is_some()).map_or_else(dash, |err| format!("{err:.1e}")),
        count(engine.p50_ns),
        count(engine.p99_ns),
        count(engine.p999_ns),
        engine.mallocs_per_run.map_or("not counted".into(), thousands),
        count(engine.weight_bytes),
        engine.floor_ratio.map_or_else(dash, |ratio| format!("{ratio:.1}")),
    ];
    row.extend(engine.prepare_p99_ns.map(|ns| format!("and {} ns between rows (p99)", thousands(ns))));
    row
}
