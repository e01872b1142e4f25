//! What a starting sidecar says: what it will do and with what.

use super::config::Config;
use super::prepare::Prepared;
use super::report::{Build, Host};
use super::sidecar::short;

/// The banner's text, one fact a line.
pub fn banner(config: &Config, lanes: &[Prepared]) -> String {
    let (build, host) = (Build::this(), Host::this());
    let mut text = String::new();
    let mut line = |key: &str, value: String| text.push_str(&format!("{key:<9} {value}\n"));
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
    for lane in lanes {
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
            if let Some(remark) = model.engine.remark() {
                line("    remark", remark.to_owned());
            }
            for candidate in &model.candidates {
                let said = match (&candidate.admitted, candidate.times) {
                    (Ok(a), Some(t)) => format!(
                        "p50 {} ns, p99 {} ns, {:.1e} from ONNX Runtime at most over {} rows",
                        t.p50_ns, t.p99_ns, a.max_abs_err, a.rows
                    ),
                    (Ok(_), None) => continue,
                    (Err(reason), _) => format!("does not serve: {reason}"),
                };
                line("    engine", format!("{}: {said}", candidate.engine));
            }
        }
        if lane.models.is_empty() {
            line("  model", "none: books and features only, no signals".into());
        }
    }
    text
}
