//! A run's tail: its slowest ticks, what they lost their time to, and what the kernel counted.

use super::html::{Html, bar, note, p, pairs, table, tag, text};
use super::units::{ns, percent};
use crate::report::table::thousands;
use crate::report::{Cause, HostTotals, ReplayReport, Shares, TailReport, TailTick};

/// Ticks that the table shows.
const SHOWN: usize = 20;

/// Time by cause, in the order of [`Cause::ALL`], with the number of each cause's colour.
fn by_cause(shares: &Shares) -> [(&'static str, u64, usize); 5] {
    let Shares { host_ns, backlog_ns, model_ns, ours_ns, unattributed_ns } = *shares;
    let parts = [host_ns, backlog_ns, model_ns, ours_ns, unattributed_ns];
    let colours = [1, 5, 0, 2, 7];
    std::array::from_fn(|i| (Cause::ALL[i].name(), parts[i], colours[i]))
}

/// What cost the tail most of its time, with its share; nothing where no time was kept.
pub fn main_cause(tail: &TailReport) -> Option<String> {
    let parts = by_cause(&tail.shares);
    let whole: f64 = parts.iter().map(|(_, part, _)| *part as f64).sum();
    let (name, part, _) = parts.into_iter().rev().max_by_key(|(_, part, _)| *part).filter(|(_, part, _)| *part > 0)?;
    Some(format!("{name} {}", percent(part as f64, whole)))
}

/// The tail's section.
pub fn section(run: &ReplayReport) -> Html {
    let tail = &run.lane.tail;
    let head = tag("h3", "", "Tail");
    let kernel =
        Html::from([tag("h4", "", "What the kernel counted for the hot thread and its CPU"), host(&tail.host)]);
    if tail.over == 0 && tail.worst.is_empty() {
        return Html::from([head, p("No tick was slower than the tail's threshold, or none was kept."), kernel]);
    }
    let kept: u64 = tail.ticks.values().fold(0, |sum, n| sum.saturating_add(*n));
    let mut words = format!(
        "{} ticks were over the threshold of their time ({} at the end); {} of them were kept with their cause.",
        thousands(tail.over),
        ns(tail.threshold_ns),
        thousands(kept)
    );
    if tail.not_kept > 0 {
        words.push_str(&format!(" Of {} nothing more is known.", thousands(tail.not_kept)));
    }
    Html::from([head, p(words), causes(tail), note(looks(tail)), kernel, worst(run)])
}

fn causes(tail: &TailReport) -> Html {
    let ticks = |name: &str| thousands(tail.ticks.get(name).copied().unwrap_or(0));
    let parts = by_cause(&tail.shares);
    let part = |(name, part, colour): &(&'static str, u64, usize)| {
        (*name, format!("{} in {} ticks", ns(*part), ticks(name)), *part, *colour)
    };
    let parts: Vec<_> = parts.iter().map(part).collect();
    if parts.iter().all(|(_, _, part, _)| *part == 0) {
        return p("None of their time went beyond what a median tick takes.");
    }
    Html::from([tag("p", "barhead", "Time beyond a median tick's, by cause:"), bar(&parts)])
}

fn looks(tail: &TailReport) -> String {
    let looks = &tail.looks;
    if looks.period_ms == 0 {
        return "Nobody sampled the kernel's counters: causes rest on what the hot thread saw itself.".into();
    }
    format!(
        "Kernel counters were sampled {} times, aimed at every {} ms; the longest gap was {}, and evidence is no finer than that.",
        thousands(looks.count),
        looks.period_ms,
        ns(looks.longest_gap_ns)
    )
}

fn host(host: &HostTotals) -> Html {
    let count = |value: Option<u64>| text(value.map_or("not readable".into(), thousands));
    pairs(vec![
        ("taken off its CPU", count(host.involuntary_switches)),
        ("gave its CPU up", count(host.voluntary_switches)),
        ("minor faults", count(host.minor_faults)),
        ("major faults", count(host.major_faults)),
        ("timer interrupts", count(host.timer_ticks)),
        ("device interrupts", count(host.interrupts)),
        ("TLB shootdowns", count(host.tlb_shootdowns)),
        ("other IPIs", count(host.ipis)),
        (
            "stolen by the hypervisor",
            text(host.steal_ms.map_or("not readable".into(), |ms| format!("{} ms", thousands(ms)))),
        ),
        ("ready, not running", text(host.runqueue_wait_ns.map_or("not readable".into(), ns))),
    ])
}

fn worst(run: &ReplayReport) -> Html {
    let tail = &run.lane.tail;
    if tail.worst.is_empty() {
        return Html::default();
    }
    let start = run.reader.intervals.first().or(run.lane.intervals.first()).map(|i| i.start_ns);
    let rows: Vec<_> = tail.worst.iter().take(SHOWN).enumerate().map(|(i, tick)| row(i, tick, start)).collect();
    let head = format!("The slowest {} ticks", rows.len());
    let heads = ["#", "#latency", "#feed late", "main cause", "time by cause", "#served before it", "#at", "evidence"];
    tag("div", "worst", [tag("h4", "", head), table(&heads, rows)])
}

fn row(i: usize, tick: &TailTick, start: Option<u64>) -> Vec<Html> {
    let shares: Vec<_> = by_cause(&tick.shares)
        .into_iter()
        .filter(|(_, part, _)| *part > 0)
        .map(|(name, part, _)| format!("{name} {}", ns(part)))
        .collect();
    let (_, _, colour) = by_cause(&tick.shares)[Cause::ALL.iter().position(|c| *c == tick.cause).unwrap_or(4)];
    let cause = [tag("i", &format!("b{colour}"), Html::default()), text(tick.cause.name())];
    let at = start.and_then(|start| tick.tick_ns.checked_sub(start));
    vec![
        text(i + 1),
        tag("b", "", ns(tick.latency_ns)),
        text(if tick.late_ns == 0 { "–".into() } else { ns(tick.late_ns) }),
        tag("span", "cause", cause),
        tag("span", "shares", if shares.is_empty() { "–".into() } else { shares.join(" · ") }),
        text(thousands(tick.position)),
        text(at.map_or("–".into(), |at| format!("{:.3} s", at as f64 / 1e9))),
        tag("span", "evidence", if tick.evidence.is_empty() { "–".into() } else { tick.evidence.join("; ") }),
    ]
}
