//! The tail of a run, for people.

use std::fmt::Write;

use super::table::thousands;
use crate::report::{Cause, HostTotals, Looks, TailReport, TailTick};

/// Slow ticks told of one by one.
const SHOWN: usize = 5;

/// A few lines: how many ticks were slow, what they lost their time to, the slowest with the first evidence each, and what
/// the kernel counted.
pub fn tail_text(tail: &TailReport) -> String {
    let n = thousands;
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:<11}{value}");
    };
    let unknown = if tail.not_kept > 0 { format!(", {} of them not kept", n(tail.not_kept)) } else { String::new() };
    line("tail", format!("{} ticks over {} us{unknown}", n(tail.over), us(tail.threshold_ns)));
    if let Some(causes) = causes(tail) {
        line("lost to", causes);
    }
    for tick in tail.worst.iter().take(SHOWN) {
        line("", slow(tick));
    }
    line("host", host(&tail.host));
    line("looks", looks(&tail.looks));
    text
}

/// "host 80 % of the time (12 ticks), backlog 20 % (3)", largest share first; `None` where nothing was lost.
fn causes(tail: &TailReport) -> Option<String> {
    let all = tail.shares.total_ns();
    let mut causes = Cause::ALL.map(|cause| (tail.shares.of(cause), cause));
    causes.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    let part = |(ns, cause): (u64, Cause)| {
        let ticks = tail.ticks.get(cause.name()).copied().unwrap_or(0);
        let share = ns as f64 * 100.0 / all.max(1) as f64;
        (ns > 0 || ticks > 0).then(|| format!("{} {share:.1} % ({} ticks)", cause.name(), thousands(ticks)))
    };
    let parts: Vec<_> = causes.into_iter().filter_map(part).collect();
    (all > 0).then(|| format!("{}, of {} us beyond the usual", parts.join(", "), us(all)))
}

fn slow(tick: &TailTick) -> String {
    let evidence = tick.evidence.first().map_or("no evidence", String::as_str);
    let (seq, latency) = (thousands(tick.ring_seq), us(tick.late_ns + tick.latency_ns));
    format!("tick {seq}: {latency} us, {}: {evidence}", tick.cause.name())
}

fn host(host: &HostTotals) -> String {
    let count = |count: Option<u64>| count.map_or("?".to_owned(), thousands);
    format!(
        "{} voluntary and {} involuntary switches, {} minor and {} major faults, {} timer ticks, {} device interrupts, \
         {} TLB shootdowns, {} other IPIs, {} ms stolen, {} us ready and not running",
        count(host.voluntary_switches),
        count(host.involuntary_switches),
        count(host.minor_faults),
        count(host.major_faults),
        count(host.timer_ticks),
        count(host.interrupts),
        count(host.tlb_shootdowns),
        count(host.ipis),
        count(host.steal_ms),
        count(host.runqueue_wait_ns.map(|ns| ns / 1000)),
    )
}

fn looks(looks: &Looks) -> String {
    match (looks.period_ms, looks.count) {
        (0, _) => "none (sample_ms = 0): the tail rests on what the hot thread saw itself".into(),
        (period, count) => format!(
            "{} every {period} ms, {} us each, at most {} us apart",
            thousands(count),
            us(looks.cost_ns),
            us(looks.longest_gap_ns)
        ),
    }
}

fn us(ns: u64) -> String {
    if ns < 100_000 { format!("{:.1}", ns as f64 / 1e3) } else { thousands(ns / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Shares;

    #[test]
    fn a_few_lines_say_it_all() {
        let tick = |ring_seq, latency_ns, cause, evidence: &[&str]| TailTick {
            ring_seq,
            tick_ns: 0,
            latency_ns,
            late_ns: 0,
            stages_ns: [].into(),
            position: 0,
            silent_ns: 0,
            cause,
            shares: Shares::default(),
            evidence: evidence.iter().map(|line| (*line).to_owned()).collect(),
        };
        let mut tail = TailReport {
            threshold_ns: 7_400,
            over: 1_234,
            not_kept: 4,
            ticks: [("host".into(), 1_200), ("model".into(), 30)].into(),
            shares: Shares { host_ns: 9_000_000, model_ns: 1_000_000, ..Shares::default() },
            worst: vec![
                tick(5_012, 5_900_000, Cause::Host, &["the idle loop stood still for 5,012 us", "more"]),
                tick(7, 8_000, Cause::Model, &[]),
            ],
            host: HostTotals { voluntary_switches: Some(3), ..HostTotals::default() },
            looks: Looks { period_ms: 10, count: 1_000, longest_gap_ns: 15_000_000, cost_ns: 41_500 },
            ..TailReport::default()
        };
        let want = "\
tail       1,234 ticks over 7.4 us, 4 of them not kept
lost to    host 90.0 % (1,200 ticks), model 10.0 % (30 ticks), of 10,000 us beyond the usual
           tick 5,012: 5,900 us, host: the idle loop stood still for 5,012 us
           tick 7: 8.0 us, model: no evidence
host       3 voluntary and ? involuntary switches, ? minor and ? major faults, ? timer ticks, ? device interrupts, \
? TLB shootdowns, ? other IPIs, ? ms stolen, ? us ready and not running
looks      1,000 every 10 ms, 41.5 us each, at most 15,000 us apart
";
        assert_eq!(tail_text(&tail), want);
        tail.worst = (0..20).map(|seq| tick(seq, 9_000, Cause::Ours, &["x"])).collect();
        assert_eq!(tail_text(&tail).matches(": 9.0 us, ours: x").count(), SHOWN);
        let none = tail_text(&TailReport::default());
        assert!(none.starts_with("tail       0 ticks over 0.0 us\nhost ") && none.contains("sample_ms = 0"), "{none}");
    }
}
