//! When events come: a Hawkes process (Hawkes, 1971), drawn as the branching process that it is (Hawkes and Oakes, 1974).
//!
//! Immigrants come at a constant rate; every event has a Poisson number of children after exponential delays, short ones
//! (a burst) and longer ones (a busy spell), most in its own instrument and some in another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::random::Random;

/// Mean number of children of an event; below 1, or the process explodes. Of K events a share of 0.8 are children.
const CHILDREN: f64 = 0.8;
/// exp(−[`CHILDREN`]).
const NO_CHILD: f64 = 0.449_328_964_117_221_6;
/// Most children of one event; a Poisson number of mean 0.8 exceeds it once in 10^9.
const MOST_CHILDREN: u32 = 12;
/// Mean delay of a child of a burst, ns.
const BURST_NS: f64 = 50_000.0;
/// Mean delay of a child of a busy spell, ns.
const SPELL_NS: f64 = 20_000_000.0;
/// Probability that a child belongs to a burst.
const IN_BURST: f64 = 0.6;
/// Probability that a child comes in another instrument.
const ELSEWHERE: f64 = 0.1;

/// Arrivals over all instruments, in order of time.
pub(super) struct Arrivals {
    /// Children to come: (ns, number, instrument); the number orders those of the same ns.
    pending: BinaryHeap<Reverse<(u64, u64, u32)>>,
    born: u64,
    instruments: u32,
    mean_gap_ns: f64,
    next_immigrant_ns: u64,
}

impl Arrivals {
    pub fn new(instruments: u32, events_per_second: u32, random: &mut Random) -> Self {
        let mean_gap_ns = 1e9 / (f64::from(events_per_second) * (1.0 - CHILDREN));
        let next_immigrant_ns = random.exponential(mean_gap_ns) as u64;
        Self { pending: BinaryHeap::new(), born: 0, instruments, mean_gap_ns, next_immigrant_ns }
    }

    /// Time in ns since the start and instrument of the next event.
    pub fn next(&mut self, random: &mut Random) -> (u64, u32) {
        let child = self.pending.peek().is_some_and(|Reverse((ns, ..))| *ns <= self.next_immigrant_ns);
        let (ns, instrument) = match self.pending.pop() {
            Some(Reverse((ns, _, instrument))) if child => (ns, instrument),
            other => {
                self.pending.extend(other);
                self.immigrant(random)
            }
        };
        for _ in 0..poisson(random) {
            self.bear(ns, instrument, random);
        }
        (ns, instrument)
    }

    fn immigrant(&mut self, random: &mut Random) -> (u64, u32) {
        let ns = self.next_immigrant_ns;
        self.next_immigrant_ns += random.exponential(self.mean_gap_ns) as u64;
        // The smaller of two draws: low numbers are busier, as instruments never are equally busy.
        let n = u64::from(self.instruments);
        (ns, random.below(n).min(random.below(n)) as u32)
    }

    fn bear(&mut self, ns: u64, parent: u32, random: &mut Random) {
        let mean = if random.chance(IN_BURST) { BURST_NS } else { SPELL_NS };
        let at = ns + random.exponential(mean) as u64;
        let instrument =
            if random.chance(ELSEWHERE) { random.below(u64::from(self.instruments)) as u32 } else { parent };
        self.born += 1;
        self.pending.push(Reverse((at, self.born, instrument)));
    }
}

/// Poisson number of mean [`CHILDREN`], by inversion.
fn poisson(random: &mut Random) -> u32 {
    let u = random.unit();
    let (mut probability, mut sum) = (NO_CHILD, NO_CHILD);
    let mut k = 0;
    while u > sum && k < MOST_CHILDREN {
        k += 1;
        probability *= CHILDREN / f64::from(k);
        sum += probability;
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_their_rate_and_come_in_bursts() {
        let mut random = Random::new(3);
        let mut arrivals = Arrivals::new(4, 1_000, &mut random);
        let n = 200_000u64;
        let times: Vec<u64> = (0..n).map(|_| arrivals.next(&mut random).0).collect();
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
        let rate = n as f64 * 1e9 / times[times.len() - 1] as f64;
        assert!((900.0..1_100.0).contains(&rate), "{rate}");
        // Counts per 10 ms: a Poisson process has variance over mean 1, a Hawkes process much more.
        let mut bins = vec![0.0f64; (times[times.len() - 1] / 10_000_000 + 1) as usize];
        times.iter().for_each(|t| bins[(t / 10_000_000) as usize] += 1.0);
        let mean = bins.iter().sum::<f64>() / bins.len() as f64;
        let variance = bins.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / bins.len() as f64;
        assert!(variance / mean > 3.0, "{}", variance / mean);
    }
}
