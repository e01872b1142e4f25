//! A run's section.

use std::collections::BTreeMap;

use super::chart::Charts;
use super::html::{Html, details, note, p, pairs, table, tag, tag_with, text};
use super::units::{bytes, many, ns, percent, rate};
use super::{anchor, badge, latency, short, tail};
use crate::hot::stamp::STAGE_NAMES;
use crate::report::table::thousands;
use crate::report::{EngineTried, Flood, LaneReport, ModelInUse, Reader, ReplayReport, Stage, Stages};

/// The section of run `i` of `of`.
pub fn section(run: &ReplayReport, i: usize, of: usize, charts: &mut Charts) -> Html {
    let rate = if run.live { format!("live {}", run.rate) } else { format!("rate {}", run.rate) };
    let name = if of == 1 { rate } else { format!("Run {}: {rate}", i + 1) };
    let head = tag("h2", "", [text(capital(&name)), text(" "), badge(run)]);
    let reasons: Html = run.verdict.reasons.iter().map(|reason| tag("li", "", reason)).collect();
    let reasons = if reasons.is_empty() { Html::default() } else { tag("ul", "reasons", reasons) };
    let body = Html::from([
        head,
        reasons,
        counts(run),
        tag("h3", "", "Latency"),
        latency::charts(run, charts),
        stages(run),
        latency::waterfall(run),
        tail::section(run),
        run.flood.as_ref().map_or(Html::default(), flood),
        models(run),
        outcomes(run),
        origin(run),
    ]);
    tag_with("section", &[("id", &anchor(i)), ("class", "run")], body)
}

/// With a capital at its beginning.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn counts(run: &ReplayReport) -> Html {
    let n = |value: u64| text(thousands(value));
    let mut list = vec![
        ("ticks", n(run.ticks)),
        ("events", n(run.events)),
        ("signals", n(run.signals)),
        ("lost", text(format!("{} in {}", thousands(run.lost), many(run.gaps, "gap")))),
        ("rejects", n(run.rejects)),
        ("conflated", n(run.conflated)),
        ("invalid signals", n(run.invalid)),
        ("reached", text(rate(run.ticks_per_second))),
        ("span", text(ns(run.span_ns))),
    ];
    if run.live {
        list.push(("of before the start", n(run.lane.catching_up)));
    } else if run.paced_ticks > 0 {
        let late = format!("{} over 1 ms late, worst {}", many(run.late_ticks, "tick"), ns(run.max_late_ns));
        list.push(("feed", text(late)));
    } else {
        list.push(("feed", text("no tick had a due time")));
    }
    if run.signals_lost_by_reader > 0 {
        let lost = format!("{} (the signal hash is not of all)", thousands(run.signals_lost_by_reader));
        list.push(("lost by reader", tag("span", "bad", lost)));
    }
    match (run.complete, run.live) {
        (true, _) => {}
        (false, true) => list.push(("ended", text("not yet: the report was written while the lane ran"))),
        (false, false) => {
            list.push(("ended", text("before the end of the input: hashes and counts speak of a part")));
        }
    }
    pairs(list)
}

/// Percentiles of every stage and column.
fn stages(run: &ReplayReport) -> Html {
    let row = |side: &str, name: &str, stages: &Stages| -> Option<Vec<Html>> {
        let s: Stage = stages.get(name).copied().filter(|stage| stage.count > 0)?;
        let figures = [s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns, s.p9999_ns, s.max_ns];
        let head = [tag("span", "nowrap", name.replace('_', " ")), text(thousands(s.count))];
        let side = [tag("span", "muted nowrap", side)];
        Some(head.into_iter().chain(figures.map(|figure| text(ns(figure)))).chain(side).collect())
    };
    let lane = STAGE_NAMES.iter().filter_map(|name| row("sidecar, every tick", name, &run.stages));
    let reader = Reader::NAMES.iter().filter_map(|name| row("reader, ticks with due times", name, &run.reader.stages));
    let rows: Vec<_> = lane.chain(reader).collect();
    let head = tag("h3", "", "Percentiles");
    if rows.is_empty() {
        return Html::from([head, p("No stage counted anything.")]);
    }
    Html::from([
        head,
        table(&["stage", "#count", "#p50", "#p90", "#p99", "#p99.9", "#p99.99", "#max", "measured by"], rows),
    ])
}

fn flood(flood: &Flood) -> Html {
    let loss = match (flood.first_loss_tick, flood.first_loss_after_ns) {
        (Some(tick), after) => {
            let after = after.map_or(String::new(), |after| format!(", {} after the first", ns(after)));
            format!("The first loss came after {} ticks{after}.", thousands(tick))
        }
        (None, _) => "This ring lost none.".into(),
    };
    let list = pairs(vec![
        ("slots of the ring", text(thousands(flood.slots))),
        ("offered", text(rate(flood.offered_per_second))),
        ("taken meanwhile", text(rate(flood.taken_per_second))),
        ("deepest backlog", text(format!("{} ticks", thousands(flood.deepest_backlog)))),
    ]);
    let row = |(slots, tick): &(u64, u64)| vec![text(thousands(*slots)), text(thousands(*tick))];
    let smaller = if flood.first_over.is_empty() {
        Html::default()
    } else {
        let rows = flood.first_over.iter().map(row).collect();
        table(&["#a ring of so many slots", "#would have lost from tick"], rows)
    };
    Html::from([tag("h3", "", "Flood: where losses begin"), p(loss), list, smaller])
}

fn models(run: &ReplayReport) -> Html {
    let head = tag("h3", "", "Models and engines");
    if run.models.is_empty() {
        return Html::from([
            head,
            p("No model ran: the lane made no signals, so there is no latency from tick to signal."),
        ]);
    }
    let row = |m: &ModelInUse| {
        let sha = tag_with("code", &[("title", &m.sha256)], short(&m.sha256, 16));
        vec![tag("b", "", format!("{} r{}", m.name, m.revision)), text(&m.engine), text(&m.isa), text(&m.runtime), sha]
    };
    let rows = run.models.iter().map(row).collect();
    let tried: Vec<_> =
        run.models.iter().flat_map(|m| m.candidates.iter().map(|c| candidate(&m.name, c, &m.engine))).collect();
    let tried = if tried.is_empty() {
        note("No other engine was tried.")
    } else {
        let heads =
            ["model", "engine tried", "may serve", "#largest difference", "#p50", "#p99", "#p99.9", "#prepare p99"];
        Html::from([tag("h4", "", "Engines tried at start"), table(&heads, tried)])
    };
    Html::from([head, table(&["model", "engine", "instructions", "runtime", "SHA-256"], rows), tried])
}

fn candidate(model: &str, c: &EngineTried, serves: &str) -> Vec<Html> {
    let time = |value: Option<u64>| value.map_or("–".into(), ns);
    let may = match (&c.reason, c.admitted) {
        (_, true) if c.engine == serves => "serves".into(),
        (_, true) => "yes".into(),
        (Some(reason), false) => format!("no: {reason}"),
        (None, false) => "no".into(),
    };
    let apart = c.max_abs_err.map_or("–".into(), |apart| format!("{apart:.1e}"));
    let times = [c.p50_ns, c.p99_ns, c.p999_ns, c.prepare_p99_ns].map(|value| text(time(value)));
    [text(model), text(&c.engine), text(may), text(apart)].into_iter().chain(times).collect()
}

fn outcomes(run: &ReplayReport) -> Html {
    let LaneReport { book, rejects_by_reason, regimes_ns, .. } = &run.lane;
    let list = |counts: &BTreeMap<String, u64>| {
        let each: Vec<_> =
            counts.iter().map(|(name, n)| format!("{} {}", name.replace('_', " "), thousands(*n))).collect();
        text(if each.is_empty() { "none".into() } else { each.join(" · ") })
    };
    let whole: f64 = regimes_ns.iter().map(|part| *part as f64).sum();
    let regimes = ["idle", "working", "housekeeping", "preparing"].iter().zip(regimes_ns);
    let regimes: Vec<_> = regimes.map(|(name, part)| format!("{name} {}", percent(*part as f64, whole))).collect();
    let lane = &run.lane;
    let first_lost = lane.first_lost.map_or("none".into(), |seq| format!("number {}", thousands(seq)));
    let both = format!("hot thread {}, feed and reader {}", lane.core, run.reader.core);
    let rows = vec![
        ("book updates", list(book)),
        ("rejects by reason", list(rejects_by_reason)),
        ("signals by flag", list(&lane.flags)),
        ("books not whole at the end", list(&lane.not_whole)),
        ("books became not whole", list(&lane.became_not_whole)),
        ("the hot thread's time", text(regimes.join(" · "))),
        ("runs not prepared in time", text(thousands(lane.unprepared))),
        ("first tick lost", text(first_lost)),
        ("gaps with a corrupt ring", text(thousands(lane.corrupt))),
        ("feed restarts", text(thousands(lane.generation_changes))),
        ("lane and its end", text(format!("{}, {}", lane.lane, lane.end))),
        ("trigger and stamps", text(format!("{}, {}", lane.trigger, lane.stamps))),
        (
            "features",
            text(format!(
                "{}, {} columns, {}",
                lane.features.set,
                lane.features.columns,
                short(&lane.features.hash, 16)
            )),
        ),
        ("state of an instrument", text(bytes(lane.state_bytes_per_instrument))),
        ("CPUs", text(if run.live { format!("hot thread {}", lane.core) } else { both })),
        ("memory locked", text(if lane.locked { "yes" } else { "no" })),
    ];
    Html::from([tag("h3", "", "Counts and outcomes"), pairs(rows)])
}

/// What the run was made of and from: enough to make it again.
fn origin(run: &ReplayReport) -> Html {
    let code = |value: &String| tag("code", "", value);
    let build = &run.build;
    let mut rows = vec![];
    if !run.live {
        rows.push(("signals, BLAKE3", code(&run.signals_blake3)));
        rows.push(("input", code(&run.input)));
        rows.push(("input, BLAKE3", code(&run.input_blake3)));
        rows.push(("records of the input", text(thousands(run.input_ticks))));
    }
    rows.extend([
        ("begun", text(&run.started)),
        ("pillion", text(format!("{} {} · {} · {}", build.version, build.revision, build.profile, build.target))),
        ("compiler", text(&build.rustc)),
        (
            "machine",
            text(format!(
                "{} · {} · {} · Linux {}",
                run.host.cpu,
                many(run.host.cpus as u64, "CPU"),
                run.host.isa,
                run.host.kernel
            )),
        ),
    ]);
    if let Some(seed) = run.seed {
        rows.push(("seed of the arrivals", text(seed)));
    }
    let config = serde_json::to_string_pretty(&run.config).unwrap_or_else(|e| format!("cannot be shown: {e}"));
    let config = details("Effective configuration", tag("pre", "", config));
    Html::from([tag("h3", "", "Origin"), pairs(rows), config])
}
