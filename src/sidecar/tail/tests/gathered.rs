//! The tail as it gathers: thresholds, bounds and what waits for what.

use std::collections::BTreeMap;

use super::*;
use crate::hot::tail::SLOW_KEPT;

fn set_with(stage: Stage, values: impl Iterator<Item = u64>) -> StageSet {
    let mut set = StageSet::default();
    values.for_each(|ns| set.record(stage, ns));
    set
}

#[test]
fn the_threshold_follows_the_run() {
    let mut tail = Tail::new(0, 0, Stamps::Full);
    let mut totals = Totals::default();
    assert_eq!((tail.first_threshold_ns(), tail.threshold_ns(&totals)), (FIRST_THRESHOLD_NS, FIRST_THRESHOLD_NS));
    totals.add(&set_with(Stage::Wait, 1..=999));
    assert_eq!(tail.threshold_ns(&totals), FIRST_THRESHOLD_NS, "too few to say");
    totals.add(&set_with(Stage::Wait, 1..=1));
    assert_eq!(tail.threshold_ns(&totals), LEAST_THRESHOLD_NS);
    totals.add(&set_with(Stage::Wait, (1..=9_000).map(|_| 20_000)));
    assert!(tail.threshold_ns(&totals).abs_diff(20_000) <= 200);
    // Signals count more than waits, once there are any: their own 99th percentile.
    totals.add(&set_with(Stage::TickToSignal, (1..=1_000).map(|i| i * 100)));
    assert!(tail.threshold_ns(&totals).abs_diff(99_000) <= 1_000);
    let mut fixed = Tail::new(5_000, 0, Stamps::Full);
    assert_eq!((fixed.first_threshold_ns(), fixed.threshold_ns(&totals)), (5_000, 5_000));
}

/// Ticks wait for the look after their end; what no look brackets is settled at the end.
#[test]
fn ticks_are_settled_once_they_are_bracketed() {
    let totals = Totals::default();
    let mut tail = Tail::new(1_000, 0, Stamps::Full);
    tail.await_looks();
    let look = |at| Look { before_ns: at, after_ns: at + 10, counts: HostTotals::default() };
    let mut set = StageSet::default();
    [T, T + 10 * MS].into_iter().for_each(|at| set.slow.keep(tick(at, 70, 50_000)));
    tail.look(look(T - MS));
    tail.add(&set);
    let settled = |tail: &Tail| tail.report(&totals, 10).ticks.values().sum::<u64>();
    tail.settle(&totals, [0; 2]);
    assert_eq!(settled(&tail), 0);
    tail.look(look(T + 5 * MS));
    tail.settle(&totals, [0; 2]);
    assert_eq!(settled(&tail), 1);
    tail.settle_all(&totals, [0; 2]);
    assert_eq!(settled(&tail), 2);
    assert_eq!(tail.report(&totals, 10).looks.longest_gap_ns, 6 * MS + 10);
    let mut alone = Tail::new(1_000, 0, Stamps::Full);
    alone.add(&set);
    alone.settle(&totals, [0; 2]);
    assert_eq!(settled(&alone), 2, "nobody looks, so nothing is waited for");
}

#[test]
fn all_are_counted_and_the_slowest_kept() {
    let (totals, mut tail) = (Totals::default(), Tail::new(1_000, 0, Stamps::Full));
    tail.await_looks();
    // More in each set than it has room for.
    let each = SLOW_KEPT as u64 + 44;
    for round in 0..40 {
        let mut set = StageSet::default();
        for i in 0..each {
            set.slow.keep(tick(T + round * MS + i, 70, 50_000 + (i * 7_919 + round) % 10_007));
        }
        tail.add(&set);
        tail.settle(&totals, [0; 2]);
        assert!(tail.pending.len() <= PENDING, "no look ever comes");
    }
    tail.settle_all(&totals, [0; 2]);
    let report = tail.report(&totals, 10);
    let kept = 40 * SLOW_KEPT as u64;
    assert_eq!((report.over, report.not_kept), (40 * each, 40 * 44));
    assert_eq!(report.ticks.values().sum::<u64>(), kept);
    assert_eq!(
        report.ticks.keys().map(String::as_str).collect::<Vec<_>>(),
        ["backlog", "host", "model", "ours", "unattributed"]
    );
    assert_eq!(report.worst.len(), WORST);
    assert!(report.worst.is_sorted_by(|a, b| a.latency_ns >= b.latency_ns));
    let mut all: Vec<_> = (0..40).flat_map(|r| (0..each).map(move |i| 50_390 + (i * 7_919 + r) % 10_007)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(report.worst.iter().map(|t| t.latency_ns).collect::<Vec<u64>>(), all[..WORST]);
    let stages: BTreeMap<_, _> = [("wait", 70), ("decode", 20)].map(|(k, v)| (k.to_owned(), v)).into();
    assert!(stages.iter().all(|(name, ns)| report.worst[0].stages_ns.get(name) == Some(ns)));
}
