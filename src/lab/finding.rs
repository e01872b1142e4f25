//! Whether B is slower or faster than A, from paired runs: pure functions of the pairs' ratios.
//!
//! Each pair gives the logarithm of B's percentile over A's. Under "no difference" A and B are exchangeable within a
//! pair, since which of them goes first alternates, so the logarithms lie symmetrically about 0 however heavy their
//! tails. Their median gets a percentile bootstrap interval (see [`super::stats`]), and the interval is held against an
//! equivalence margin, as in two one-sided tests (Schuirmann, *Journal of Pharmacokinetics and Biopharmaceutics* 15,
//! 1987): "no difference seen" is a finding with the same burden of proof as "slower", not the lack of one.
//!
//! Looking again and again at growing data finds differences that are not there (Armitage, McPherson and Rowe, *Journal
//! of the Royal Statistical Society A* 132, 1969). Two measures bound that: intervals at [`LEVEL`] = 99 %, and looks at
//! few sizes fixed beforehand ([`Rule::looks`], at most five by default). No interval is trusted below [`FEWEST`] = 8
//! pairs: without assumptions on the noise, the whole range of 7 pairs covers the median in 98.4 % of cases, that of 8
//! in 99.2 %. The simulation below holds the rates of the whole procedure, looks included.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stats::{self, Range};

/// Level of the intervals that verdicts rest on.
pub const LEVEL: f64 = 0.99;

/// Fewest pairs that can carry an interval of [`LEVEL`].
pub const FEWEST: usize = 8;

/// Resamples of an interval.
pub const RESAMPLES: usize = 2_000;

/// What the pairs say of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// B is faster than A by more than the margin.
    Faster,
    /// B is slower than A by more than the margin.
    Slower,
    /// Whatever the difference is, it is within the margin.
    NoDifferenceSeen,
    /// The interval reaches over the margin, or there are too few pairs.
    Undecided,
}

impl Finding {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifferenceSeen => "no difference seen",
            Self::Undecided => "undecided",
        }
    }
}

/// How verdicts are reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Differences up to this share are none: 0.02 is 2 %. Above 0 and below 1.
    pub margin: f64,
    /// Pairs before the first look, from 1.
    pub min_pairs: usize,
    /// Pairs after which it is over.
    pub max_pairs: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Rule {
    /// The sizes at which the pairs are looked at: the first at `min_pairs` (but [`FEWEST`] at least), each next 1.4
    /// times the last, the last at `max_pairs`.
    pub fn looks(&self) -> Vec<usize> {
        let mut looks = Vec::new();
        let mut at = self.min_pairs.max(FEWEST);
        while at < self.max_pairs {
            looks.push(at);
            at = (at * 7).div_ceil(5);
        }
        looks.push(self.max_pairs);
        looks
    }

    /// The interval of the median of `values`, one for each pair; `None` of fewer than two.
    pub fn interval(&self, values: &[f64]) -> Option<Range> {
        stats::median_interval(values, LEVEL, RESAMPLES, self.seed)
    }

    /// What the logarithms of the pairs' ratios, B over A, say.
    pub fn find(&self, logs: &[f64]) -> Finding {
        match self.interval(logs) {
            Some(log) if logs.len() >= FEWEST => self.judge(log.map(f64::exp)),
            _ => Finding::Undecided,
        }
    }

    /// What an interval of the ratio says.
    pub fn judge(&self, ratio: Range) -> Finding {
        let (low, high) = (1.0 - self.margin, 1.0 + self.margin);
        if ratio.low > high {
            Finding::Slower
        } else if ratio.high < low {
            Finding::Faster
        } else if ratio.low >= low && ratio.high <= high {
            Finding::NoDifferenceSeen
        } else {
            Finding::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::Chance;
    use super::*;

    const RULE: Rule = Rule { margin: 0.02, min_pairs: 8, max_pairs: 30, seed: 1 };

    #[test]
    fn looks_are_few_and_fixed() {
        assert_eq!(RULE.looks(), [8, 12, 17, 24, 30]);
        assert_eq!(Rule { min_pairs: 2, max_pairs: 2, ..RULE }.looks(), [2]);
        assert_eq!(Rule { min_pairs: 5, max_pairs: 9, ..RULE }.looks(), [8, 9]);
        assert_eq!(Rule { min_pairs: 30, max_pairs: 30, ..RULE }.looks(), [30]);
    }

    #[test]
    fn an_interval_is_held_against_the_margin() {
        for (low, high, finding) in [
            (1.021, 1.5, Finding::Slower),
            (0.5, 0.979, Finding::Faster),
            (0.98, 1.02, Finding::NoDifferenceSeen),
            (1.001, 1.019, Finding::NoDifferenceSeen),
            (1.019, 1.5, Finding::Undecided),
            (0.5, 1.5, Finding::Undecided),
            (0.97, 1.0, Finding::Undecided),
        ] {
            assert_eq!(RULE.judge(Range { low, high }), finding, "{low}..{high}");
        }
    }

    #[test]
    fn too_few_pairs_decide_nothing() {
        assert_eq!(RULE.find(&[0.7; 7]), Finding::Undecided);
        assert_eq!(RULE.find(&[0.7; 8]), Finding::Slower);
        assert_eq!(RULE.find(&[0.0; 8]), Finding::NoDifferenceSeen);
    }

    fn normal(chance: &mut Chance) -> f64 {
        (-2.0 * chance.unit().ln()).sqrt() * (std::f64::consts::TAU * chance.unit()).cos()
    }

    type Noise = (&'static str, fn(&mut Chance) -> f64);

    /// Noise of the logarithm of a pair's ratio, from a machine that is quiet to one with neighbours. Wide noise is the
    /// hard case for false findings: the margin then hardly helps.
    const NOISES: [Noise; 5] = [
        ("quiet, 1 %", |c| 0.01 * normal(c)),
        ("busy, 5 %", |c| 0.05 * normal(c)),
        ("very busy, 30 %", |c| 0.3 * normal(c)),
        ("Student's t with 2 degrees", |c| 0.05 * normal(c) / (-c.unit().ln()).sqrt()),
        ("one run in ten four times as slow", |c| {
            let mut burst = || if c.unit() <= 0.1 { 4f64.ln() } else { 0.0 };
            let bursts = burst() - burst();
            0.03 * normal(c) + bursts
        }),
    ];

    /// Sessions of 400 with each finding, and pairs used.
    fn sessions(noise: Noise, shift: f64) -> ([u32; 4], usize) {
        let (mut chance, mut found, mut pairs) = (Chance::new(20), [0; 4], 0);
        for seed in 0..400 {
            let rule = Rule { seed, ..RULE };
            let logs: Vec<f64> = (0..rule.max_pairs).map(|_| noise.1(&mut chance) + shift).collect();
            let looks = rule.looks().into_iter().map(|n| (n, rule.find(&logs[..n])));
            let end = looks.reduce(|last, next| if last.1 == Finding::Undecided { next } else { last });
            let (n, finding) = end.expect("there is a look");
            found[finding as usize] += 1;
            pairs += n;
        }
        (found, pairs)
    }

    /// The whole procedure, looks and all: no difference is called one in fewer than 5 % of sessions.
    #[test]
    fn no_difference_is_rarely_called_one() {
        for noise in NOISES {
            let (found, _) = sessions(noise, 0.0);
            let wrong = found[Finding::Faster as usize] + found[Finding::Slower as usize];
            assert!(wrong < 20, "{}: {found:?}", noise.0);
        }
    }

    /// And a difference of 20 % either way is found in over 90 %, early where the machine is quiet. Noise of 30 % is too
    /// much for 30 pairs.
    #[test]
    fn a_fifth_is_found() {
        for noise in NOISES.into_iter().filter(|noise| !noise.0.starts_with("very")) {
            for (ratio, finding) in [(1.2f64, Finding::Slower), (1.0 / 1.2, Finding::Faster)] {
                let (found, pairs) = sessions(noise, ratio.ln());
                assert!(found[finding as usize] > 360, "{}: {found:?}", noise.0);
                assert!(pairs < 400 * 16, "{}: {pairs} pairs", noise.0);
            }
        }
    }

    /// On a quiet machine the same is found to be the same, mostly before the end.
    #[test]
    fn the_same_is_found_to_be_the_same() {
        let (found, pairs) = sessions(NOISES[0], 0.0);
        assert!(found[Finding::NoDifferenceSeen as usize] > 380, "{found:?}");
        assert!(pairs < 400 * 24, "{pairs} pairs");
    }
}
