//! The tail as the feed knows it: ticks that it sent late are charged from when they were due.

use std::collections::BTreeMap;

use super::sent::Sent;
use crate::cold::report::{Cause, Shares, TailReport, TailTick};
use crate::cold::signals::Seen;

/// Slow ticks that a report lists.
const LISTED: usize = 20;

/// Adds the feed's lateness to the slow ticks, and the ticks that only its lateness made slow: its thread was not running
/// when they were due, so theirs is the host's.
pub fn charge_feed(tail: &mut TailReport, sent: &Sent, arrivals: &[Seen]) {
    for tick in &mut tail.worst {
        tick.late_ns = sent.late_ns(tick.ring_seq);
        if tick.late_ns > tail.threshold_ns {
            charge(tick);
        }
    }
    let known: BTreeMap<u64, ()> = tail.worst.iter().map(|tick| (tick.ring_seq, ())).collect();
    let (mut latest, mut last_seq) = (Vec::new(), None);
    for seen in arrivals {
        let late_ns = sent.late_ns(seen.ring_seq);
        let latency_ns = seen.signal_ns.saturating_sub(seen.tick_ns);
        let slow_by_feed_alone = latency_ns <= tail.threshold_ns && latency_ns + late_ns > tail.threshold_ns;
        // Several models answer one tick.
        if !slow_by_feed_alone || tail.threshold_ns == 0 || last_seq.replace(seen.ring_seq) == Some(seen.ring_seq) {
            continue;
        }
        tail.over += 1;
        *tail.ticks.entry(Cause::Host.name().to_owned()).or_default() += 1;
        tail.shares.host_ns += late_ns;
        if !known.contains_key(&seen.ring_seq) {
            latest.push((late_ns, latency_ns, *seen));
        }
    }
    latest.sort_unstable_by_key(|(late_ns, ..)| std::cmp::Reverse(*late_ns));
    tail.worst
        .extend(latest.iter().take(LISTED).map(|&(late_ns, latency_ns, seen)| held_back(late_ns, latency_ns, seen)));
    tail.worst.sort_by_key(|tick| std::cmp::Reverse(tick.latency_ns + tick.late_ns));
    tail.worst.truncate(LISTED);
}

/// A tick that was slow anyway, and late as well.
fn charge(tick: &mut TailTick) {
    tick.shares.host_ns += tick.late_ns;
    let Shares { host_ns, backlog_ns, model_ns, ours_ns, unattributed_ns } = tick.shares;
    if host_ns >= backlog_ns.max(model_ns).max(ours_ns).max(unattributed_ns) {
        tick.cause = Cause::Host;
    }
    tick.evidence.push(late(tick.late_ns));
}

fn held_back(late_ns: u64, latency_ns: u64, seen: Seen) -> TailTick {
    TailTick {
        ring_seq: seen.ring_seq,
        tick_ns: seen.tick_ns,
        latency_ns,
        late_ns,
        stages_ns: BTreeMap::from([("tick_to_signal".to_owned(), latency_ns)]),
        position: 0,
        silent_ns: 0,
        cause: Cause::Host,
        shares: Shares { host_ns: late_ns, ..Shares::default() },
        evidence: vec![late(late_ns)],
    }
}

fn late(ns: u64) -> String {
    format!("the feed sent it {:.1} us after it was due", ns as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_join_the_tail_as_the_hosts() {
        let mut sent = Sent::with_room(4);
        for (due, at) in [(100, 100), (200, 5_200), (300, 5_300), (400, 400)] {
            sent.push(due, at);
        }
        let seen = |ring_seq, tick_ns: u64, took: u64| Seen {
            ring_seq,
            tick_ns,
            signal_ns: tick_ns + took,
            seen_ns: tick_ns + took,
        };
        // The second has two models; the third was slow by itself too.
        let arrivals =
            [seen(0, 100, 50), seen(1, 5_200, 50), seen(1, 5_200, 60), seen(2, 5_300, 2_000), seen(3, 400, 50)];
        let slow = TailTick {
            latency_ns: 2_000,
            shares: Shares { model_ns: 1_900, ..Shares::default() },
            cause: Cause::Model,
            ..held_back(0, 0, arrivals[3])
        };
        let mut tail = TailReport { threshold_ns: 1_000, over: 1, worst: vec![slow], ..TailReport::default() };
        charge_feed(&mut tail, &sent, &arrivals);
        let listed: Vec<_> = tail.worst.iter().map(|t| (t.ring_seq, t.late_ns, t.latency_ns, t.cause)).collect();
        assert_eq!(listed, [(2, 5_000, 2_000, Cause::Host), (1, 5_000, 50, Cause::Host)]);
        assert_eq!((tail.over, tail.ticks["host"], tail.shares.host_ns), (2, 1, 5_000));
    }
}
