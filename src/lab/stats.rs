//! Medians, seeded resampling and bootstrap intervals: the arithmetic below every verdict, pure and repeatable.
//!
//! Intervals are percentile bootstrap intervals (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993,
//! chapter 13). The statistic is the median, which a burst of noise in a few runs does not move.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Both ends of an interval, in the unit of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Range {
    /// The same interval on another scale; `f` must be increasing.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { low: f(self.low), high: f(self.high) }
    }

    /// Whether 0 lies outside.
    pub fn excludes_zero(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Source of all chance in a comparison: the same seed gives the same intervals on every machine.
pub struct Chance(Pcg64);

impl Chance {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Uniform in `0..n`; `n` must not be 0. The bias, below 2^-64 × n, does not matter here.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// The median; NaN of nothing. Sorts in place.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

/// The median's interval at `level` (0.99) from `resamples` resamples. `None` of fewer than two values: one value
/// knows nothing of its noise.
pub fn median_interval(values: &[f64], level: f64, resamples: usize, seed: u64) -> Option<Range> {
    if values.len() < 2 {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (mut chance, mut times) = (Chance::new(seed), vec![0u32; sorted.len()]);
    let medians = (0..resamples).map(|_| {
        times.fill(0);
        (0..sorted.len()).for_each(|_| times[chance.below(sorted.len())] += 1);
        weighted_median(&sorted, &times)
    });
    percentile_range(medians.collect(), level)
}

/// The median of ascending values, each taken so many times: `sorted.len()` in all. Counting spares a sort for each resample.
fn weighted_median(sorted: &[f64], times: &[u32]) -> f64 {
    let n = sorted.len() as u32;
    let (mut below, mut lower) = (0, f64::NAN);
    for (value, times) in sorted.iter().zip(times) {
        below += times;
        if lower.is_nan() && below >= n.div_ceil(2) {
            lower = *value;
        }
        if below > n / 2 {
            return if n % 2 == 1 { lower } else { (lower + value) / 2.0 };
        }
    }
    f64::NAN
}

/// The middle `level` of resampled statistics, its ends rounded outwards; `None` of nothing or where one is not a number.
pub fn percentile_range(mut statistics: Vec<f64>, level: f64) -> Option<Range> {
    if statistics.is_empty() || statistics.iter().any(|s| s.is_nan()) {
        return None;
    }
    statistics.sort_unstable_by(f64::total_cmp);
    // 1e-9 keeps what is a whole number on paper (1,000 × 0.025) from being one less in floating point.
    let outside = (statistics.len() as f64 * (1.0 - level) / 2.0 + 1e-9).floor() as usize;
    let outside = outside.min((statistics.len() - 1) / 2);
    Some(Range { low: statistics[outside], high: statistics[statistics.len() - 1 - outside] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_small_sets() {
        assert!(median(&mut []).is_nan());
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0]), 5.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
    }

    /// The counted median against the sorted one.
    #[test]
    fn counting_gives_the_sorted_median() {
        let mut chance = Chance::new(5);
        for round in 0..500 {
            let sorted: Vec<f64> = (0..=round % 9).map(|i| f64::from(i * i)).collect();
            let (mut times, mut drawn) = (vec![0; sorted.len()], Vec::new());
            for _ in 0..sorted.len() {
                let at = chance.below(sorted.len());
                times[at] += 1;
                drawn.push(sorted[at]);
            }
            assert_eq!(weighted_median(&sorted, &times), median(&mut drawn), "{sorted:?} {times:?}");
        }
    }

    #[test]
    fn the_range_leaves_out_the_same_number_at_both_ends() {
        let statistics: Vec<f64> = (0..1000).rev().map(f64::from).collect();
        assert_eq!(percentile_range(statistics.clone(), 0.95), Some(Range { low: 25.0, high: 974.0 }));
        assert_eq!(percentile_range(statistics, 0.99), Some(Range { low: 5.0, high: 994.0 }));
        assert_eq!(percentile_range(vec![4.0], 0.5), Some(Range { low: 4.0, high: 4.0 }));
        assert_eq!(percentile_range(vec![], 0.5), None);
        assert_eq!(percentile_range(vec![1.0, f64::NAN], 0.5), None);
    }

    /// The bootstrap distribution of a median is known in closed form for an odd number of values: the k-th smallest is
    /// at or below the i-th value when at least k of n draws are.
    #[test]
    fn the_median_interval_is_that_of_the_exact_bootstrap() {
        let n = 9u64;
        let values: Vec<f64> = (0..n).map(|i| (i * i) as f64).collect();
        let choose = |k: u64| (1..=k).fold(1.0, |c, j| c * (n - k + j) as f64 / j as f64);
        let at_most = |i: u64| -> f64 {
            let p = (i + 1) as f64 / n as f64;
            (n / 2 + 1..=n).map(|k| choose(k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)).sum()
        };
        let exact = |q: f64| values[(0..n).find(|&i| at_most(i) >= q).unwrap() as usize];
        let found = median_interval(&values, 0.9, 20_000, 3).unwrap();
        assert_eq!((found.low, found.high), (exact(0.05), exact(0.95)));
        assert_eq!(median_interval(&values, 0.9, 20_000, 3), Some(found), "the same seed, the same interval");
        assert_eq!(median_interval(&values[..1], 0.9, 100, 3), None);
    }
}
