//! What a starting sidecar says: what it will do and with what.

use pillion_shm::text::printable;

use super::halt::Places;
use super::prepare::Ready;
use crate::config::Config;
use crate::engine::Runtime;
use crate::host::clock_words;
use crate::models::Candidate;
use crate::report::table;
use crate::report::{Build, Host};
use crate::sidecar::short;

/// The banner's text, one fact a line.
pub fn banner(config: &Config, ready: &Ready) -> String {
    let (build, host) = (Build::this(), Host::this());
    let mut text = String::new();
    let mut line = |key: &str, value: String| text.push_str(&format!("{key:<9} {}\n", printable(&value)));
    line("pillion", format!("{} ({}, {}), {}", build.version, build.revision, build.profile, build.rustc));
    line(
        "host",
        format!(
            "{}, {} CPUs{}, Linux {}",
            host.cpu,
            host.cpus,
            if host.virtualised { " (virtual)" } else { "" },
            host.kernel
        ),
    );
    line("config", format!("{}, regions in {}", config.origin, config.process.shm_dir.display()));
    runtime(Runtime::opened()).into_iter().for_each(|(key, value)| line(key, value));
    if let Some(problem) = clock_words::not_a_tmpfs(&config.process.shm_dir) {
        line("  WARNING", problem);
    }
    let places = Places::of_sidecar(&config.process.state_dir);
    line("state", format!("HALTs are recorded in {}", places.first().display()));
    line("needs", ready.memory.to_string());
    for shared in &ready.shared {
        line("WARNING", format!("{shared}: each slows the other down; give one of them another CPU (lane.core)"));
    }
    for lane in &ready.lanes {
        let c = &lane.config;
        line(
            "lane",
            format!(
                "{} on CPU {}: trigger {}, stamps {:?}{}",
                c.name,
                lane.core,
                c.trigger,
                c.stamps,
                if c.conflate { ", conflating" } else { "" }
            ),
        );
        let mut symbols: Vec<_> = lane.instruments.iter().take(6).map(|i| i.symbol.as_str()).collect();
        if lane.instruments.len() > symbols.len() {
            symbols.push("…");
        }
        line("  ticks", format!("{} instruments: {}", lane.instruments.len(), symbols.join(", ")));
        line("  books", format!("{} orders, {} levels a side at most", c.max_orders, c.max_levels));
        let set = &lane.features;
        line("  set", format!("{} ({} columns, {})", set.name(), set.len(), short(&set.hash())));
        for model in &lane.models {
            let info = model.engine.info();
            let (m, sha) = (&model.manifest, short(&model.onnx_sha256));
            line(
                "  model",
                format!("{} r{} ({sha}) on {}, {}, {}", m.name, m.revision, info.engine, info.isa, info.runtime),
            );
            for remark in model.remark.iter().cloned().chain(m.trigger_remark(c.trigger)) {
                line("    remark", remark);
            }
            // An engine that was forced and served without a trial has nothing to show.
            let shown = model.candidates.iter().filter(|tried| tried.times.is_some() || tried.admitted.is_err());
            for tried in table::columns(&shown.map(engine).collect::<Vec<_>>()).lines() {
                line("    engine", tried.to_owned());
            }
        }
        lane.remarks.iter().for_each(|remark| line("  units", remark.clone()));
        if lane.models.is_empty() {
            line("  model", "none: books and features only, no signals".into());
        }
    }
    text
}

/// ONNX Runtime: which file it is, that it is one that is known, and that it tells nobody.
fn runtime(runtime: Option<&Runtime>) -> Vec<(&'static str, String)> {
    let Some(runtime) = runtime else {
        return vec![("runtime", "ONNX Runtime is not loaded: no lane has a model".into())];
    };
    let known = match runtime.wheel() {
        Some(wheel) => format!("of the pinned wheel {wheel}"),
        None => "OF NO PINNED WHEEL, which allow_unpinned = true lets in".into(),
    };
    vec![
        ("runtime", format!("ONNX Runtime {}, {}, telemetry off", runtime.version(), runtime.path().display())),
        ("  sha256", format!("{} {known}", runtime.sha256())),
    ]
}

/// An engine that was tried: its name, admitted or not, p50, p99 and p99.9 of a run, how far it was from ONNX Runtime at most.
fn engine(tried: &Candidate) -> Vec<String> {
    let mut cells = vec![tried.engine.to_owned()];
    match (&tried.admitted, tried.times) {
        (Err(reason), _) => cells.push(format!("refused: {reason}")),
        (Ok(_), None) => cells.push("admitted".into()),
        (Ok(agreement), Some(times)) => {
            cells.push("admitted".into());
            let each = [("p50", times.p50_ns), ("p99", times.p99_ns), ("p99.9", times.p999_ns)];
            cells.extend(each.map(|(name, ns)| format!("{name} {:>7} ns", table::thousands(ns))));
            if times.prepare_p99_ns > 0 {
                cells.push(format!("prepared before in {} ns", table::thousands(times.prepare_p99_ns)));
            }
            cells.push(match agreement.rows {
                0 => "the reference".into(),
                rows => format!("max error {:.1e} over {rows} rows", agreement.plain_max_abs_err),
            });
        }
    }
    cells
}
