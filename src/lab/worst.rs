//! The tail as the feed knows it: ticks that it sent late are charged from when they were due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::sent::Sent;
use crate::lab::signals::Seen;
use crate::report::{Cause, Shares, TailReport, TailTick};

/// Slow ticks that a report lists.
const LISTED: usize = 20;

/// Lateness below this is no evidence, ns: publishing takes that long.
const TOLD_NS: u64 = 1_000;

/// A tick's last signal, and how late the tick was sent.
#[derive(Clone, Copy)]
struct Answer {
    seen: Seen,
    latency_ns: u64,
    late_ns: u64,
    /// Of its latency, what goes beyond a median tick's.
    excess_ns: u64,
}

impl Answer {
    /// The larger of its lateness, which is the host's, and of what it lost after its publish.
    fn cause(&self) -> Cause {
        if self.late_ns >= self.excess_ns { Cause::Host } else { Cause::Unattributed }
    }
}

/// Adds the feed's lateness to the slow ticks, and the ticks that only its lateness made slow: its thread was not running
/// when they were due, so theirs is the host's. Of ticks sent ahead of the play none is listed.
pub fn charge_feed(tail: &mut TailReport, sent: &Sent, arrivals: &[Seen]) {
    tail.worst.retain(|tick| sent.due_ns(tick.ring_seq).is_some());
    for tick in &mut tail.worst {
        tick.late_ns = sent.late_ns(tick.ring_seq);
        let before = (tick.shares.total_ns() > 0).then_some(tick.cause);
        charge(tick);
        if tick.shares.total_ns() > 0 && before != Some(tick.cause) {
            move_tick(&mut tail.ticks, before, tick.cause);
        }
    }
    let known: BTreeSet<u64> = tail.worst.iter().map(|tick| tick.ring_seq).collect();
    let mut late = Vec::new();
    let usual_ns = tail.usual.get("tick_to_signal").map_or(0, |stage| stage.p50_ns);
    for answer in answers(sent, arrivals, usual_ns) {
        let Answer { seen, latency_ns, late_ns, excess_ns } = answer;
        if tail.threshold_ns == 0 || late_ns == 0 || latency_ns + late_ns <= tail.threshold_ns {
            continue;
        }
        tail.shares.host_ns = tail.shares.host_ns.saturating_add(late_ns);
        if latency_ns <= tail.threshold_ns {
            // The sidecar counted it nowhere.
            tail.over += 1;
            tail.shares.unattributed_ns = tail.shares.unattributed_ns.saturating_add(excess_ns);
            move_tick(&mut tail.ticks, None, answer.cause());
        }
        if !known.contains(&seen.ring_seq) {
            late.push(answer);
        }
    }
    late.sort_unstable_by_key(|answer| Reverse(answer.late_ns + answer.latency_ns));
    tail.worst.extend(late.iter().take(LISTED).map(held_back));
    tail.worst.sort_by_key(|tick| Reverse(tick.latency_ns + tick.late_ns));
    tail.worst.truncate(LISTED);
}

/// The last signal of each tick of the play: several models answer one, one after the other.
fn answers<'a>(sent: &'a Sent, arrivals: &'a [Seen], usual_ns: u64) -> impl Iterator<Item = Answer> + 'a {
    let ticks = arrivals.chunk_by(|a, b| a.ring_seq == b.ring_seq);
    ticks.filter_map(move |signals| {
        let seen = *signals.iter().max_by_key(|seen| seen.signal_ns)?;
        sent.due_ns(seen.ring_seq)?;
        let latency_ns = seen.signal_ns.saturating_sub(seen.tick_ns);
        let excess_ns = latency_ns.saturating_sub(usual_ns);
        Some(Answer { seen, latency_ns, late_ns: sent.late_ns(seen.ring_seq), excess_ns })
    })
}

fn move_tick(ticks: &mut BTreeMap<String, u64>, from: Option<Cause>, to: Cause) {
    if let Some(count) = from.and_then(|from| ticks.get_mut(from.name())) {
        *count = count.saturating_sub(1);
    }
    *ticks.entry(to.name().to_owned()).or_default() += 1;
}

/// A tick that was slow anyway, and late as well.
fn charge(tick: &mut TailTick) {
    tick.shares.host_ns += tick.late_ns;
    let Shares { host_ns, backlog_ns, model_ns, ours_ns, unattributed_ns } = tick.shares;
    if host_ns > 0 && host_ns >= backlog_ns.max(model_ns).max(ours_ns).max(unattributed_ns) {
        tick.cause = Cause::Host;
    }
    if tick.late_ns >= TOLD_NS {
        tick.evidence.push(late(tick.late_ns));
    }
}

/// A tick that the sidecar did not keep: to what it lost its time after its publish is not known.
fn held_back(answer: &Answer) -> TailTick {
    let Answer { seen, latency_ns, late_ns, excess_ns } = *answer;
    let unknown =
        format!("{:.1} us after its publish are of unknown cause: the sidecar kept nothing of it", us(excess_ns));
    let mut evidence = vec![late(late_ns)];
    if excess_ns >= TOLD_NS {
        evidence.push(unknown);
        evidence.rotate_right(usize::from(answer.cause() == Cause::Unattributed));
    }
    TailTick {
        ring_seq: seen.ring_seq,
        tick_ns: seen.tick_ns,
        latency_ns,
        late_ns,
        stages_ns: BTreeMap::from([("tick_to_signal".to_owned(), latency_ns)]),
        position: 0,
        silent_ns: 0,
        cause: answer.cause(),
        shares: Shares { host_ns: late_ns, unattributed_ns: excess_ns, ..Shares::default() },
        evidence,
    }
}

fn late(ns: u64) -> String {
    format!("the feed sent it {:.1} us after it was due", us(ns))
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Stage, Stages};

    fn seen(ring_seq: u64, tick_ns: u64, took: u64) -> Seen {
        Seen { ring_seq, tick_ns, signal_ns: tick_ns + took, seen_ns: tick_ns + took }
    }

    fn slow(ring_seq: u64, cause: Cause, shares: Shares) -> TailTick {
        let answer = Answer { seen: seen(ring_seq, 0, 2_000), latency_ns: 2_000, late_ns: 0, excess_ns: 2_000 };
        TailTick { shares, cause, evidence: vec![], ..held_back(&answer) }
    }

    #[test]
    fn late_ticks_join_the_tail_as_the_hosts() {
        let mut sent = Sent::with_room(5);
        for (due, at) in [(0, 50), (100, 100), (200, 5_200), (300, 5_300), (400, 400)] {
            sent.push(due, at);
        }
        // Tick 2 has two models, and tick 3 was slow by itself too; tick 0 went ahead of the play.
        let arrivals = [
            seen(0, 50, 9_000),
            seen(1, 100, 50),
            seen(2, 5_200, 50),
            seen(2, 5_200, 60),
            seen(3, 5_300, 2_000),
            seen(4, 400, 50),
        ];
        let model = Shares { model_ns: 1_900, ..Shares::default() };
        let worst = vec![slow(0, Cause::Ours, Shares::default()), slow(3, Cause::Model, model)];
        let ticks = BTreeMap::from([("model".to_owned(), 1), ("ours".to_owned(), 1)]);
        let mut tail =
            TailReport { threshold_ns: 1_000, over: 2, worst, ticks, shares: model, ..TailReport::default() };
        charge_feed(&mut tail, &sent, &arrivals);
        let listed: Vec<_> = tail.worst.iter().map(|t| (t.ring_seq, t.late_ns, t.latency_ns, t.cause)).collect();
        assert_eq!(listed, [(3, 5_000, 2_000, Cause::Host), (2, 5_000, 60, Cause::Host)]);
        assert_eq!((tail.over, tail.ticks["host"], tail.ticks["model"]), (3, 2, 0));
        assert_eq!(
            (tail.shares.host_ns, tail.shares.model_ns, tail.shares.unattributed_ns),
            (10_000, 1_900, 60),
            "every late tick's lateness is in the sum, and what the one that only it made slow took besides"
        );
    }

    /// What a tick that the sidecar did not keep lost after its publish is time of unknown cause, not none: its shares add up
    /// to its excess and its lateness, whichever is the larger.
    #[test]
    fn the_unknown_part_of_a_tick_is_unattributed_time() {
        let median = Stage { count: 100, p50_ns: 800, ..Stage::default() };
        for (late_ns, took, cause) in
            [(9_000, 5_000, Cause::Host), (3_000, 9_000, Cause::Unattributed), (2_000, 700, Cause::Host)]
        {
            let mut sent = Sent::with_room(1);
            sent.push(1_000, 1_000 + late_ns);
            let arrivals = [seen(0, 1_000 + late_ns, took)];
            let usual: Stages = [("tick_to_signal".to_owned(), median)].into();
            // With the higher threshold only its lateness makes it slow, so the sidecar counted it nowhere.
            for (threshold_ns, joins) in [(1_000, took <= 1_000), (10_000, true)] {
                let mut tail =
                    TailReport { threshold_ns, over: 5, not_kept: 5, usual: usual.clone(), ..TailReport::default() };
                charge_feed(&mut tail, &sent, &arrivals);
                let slow = late_ns + took > threshold_ns;
                let Some(tick) = tail.worst.first() else {
                    assert!(!slow);
                    continue;
                };
                let excess_ns = took.saturating_sub(800);
                assert_eq!((tick.shares.host_ns, tick.shares.unattributed_ns), (late_ns, excess_ns));
                assert_eq!((tick.cause, tick.shares.total_ns()), (cause, late_ns + excess_ns));
                assert!(tick.shares.of(tick.cause) >= tick.shares.total_ns().div_ceil(2), "{tick:?}");
                let unknown = tick.evidence.iter().position(|line| line.contains("unknown cause"));
                assert_eq!(
                    unknown,
                    (excess_ns > 0).then_some(usize::from(cause == Cause::Host)),
                    "{:?}",
                    tick.evidence
                );
                let summed = if joins { excess_ns } else { 0 };
                assert_eq!((tail.shares.host_ns, tail.shares.unattributed_ns), (late_ns, summed));
                assert_eq!(
                    (tail.over, tail.ticks.get(cause.name()).copied()),
                    (5 + u64::from(joins), joins.then_some(1))
                );
            }
        }
    }

    /// After a stop the feed sends what it owes at once: the first is the latest, and stands first though it waited least.
    #[test]
    fn the_latest_of_a_burst_stands_first() {
        let (mut sent, mut arrivals) = (Sent::with_room(100), Vec::new());
        for i in 0..100 {
            let (due, at) = (1_000 + i * 50_000, 5_100_000 + i * 10);
            sent.push(due, at);
            arrivals.push(seen(i, at, 20_000 + i * 700));
        }
        let mut tail = TailReport { threshold_ns: 10_000, over: 100, ..TailReport::default() };
        charge_feed(&mut tail, &sent, &arrivals);
        assert_eq!(tail.worst.iter().map(|t| t.ring_seq).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        let late: u64 = (0..100).map(|i| sent.late_ns(i)).sum();
        assert_eq!((tail.shares.host_ns, tail.over), (late, 100));
    }
}
