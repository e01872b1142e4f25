//! Points of the charts, out of histograms.

use crate::report::{Buckets, Interval, hdr};

/// Steps of a percentile curve per decade of 1/(1 - p).
const STEPS_PER_DECADE: i32 = 20;

/// A histogram's percentiles as (1/(1 - p), ns): from the median on, even steps of the logarithm, and its longest last, at
/// 1/(1 - p) = its count.
pub fn percentiles(buckets: &Buckets) -> Vec<(f64, f64)> {
    let total: u64 = buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let Some((longest, _)) = buckets.iter().rfind(|(_, count)| *count > 0) else { return vec![] };
    let at = |x: f64| {
        let rank = ((1.0 - 1.0 / x) * total as f64).ceil().max(1.0) as u64;
        let mut sum = 0_u64;
        let over = |(_, count): &&(u64, u64)| {
            sum = sum.saturating_add(*count);
            sum >= rank
        };
        buckets.iter().find(over).map_or(*longest, |(upper, _)| *upper)
    };
    let grid = (0..).map(|step| 10_f64.powf(f64::from(step) / f64::from(STEPS_PER_DECADE)));
    let below = grid.skip_while(|x| *x < 1.99).take_while(|x| *x < total as f64);
    let mut points: Vec<_> = below.map(|x| (x, at(x) as f64)).collect();
    points.push((total as f64, *longest as f64));
    points
}

/// A stage over time: p50, p99 and the longest of each interval as (seconds since `from_ns`, ns), and how many intervals could
/// not be read.
#[derive(Debug, Default, PartialEq)]
pub struct OverTime {
    /// Medians.
    pub p50: Vec<(f64, f64)>,
    /// 99th percentiles.
    pub p99: Vec<(f64, f64)>,
    /// Longest.
    pub max: Vec<(f64, f64)>,
    /// Intervals whose histogram is damaged.
    pub unread: usize,
}

/// Reads a stage of consecutive intervals; each stands at its middle.
pub fn over_time(intervals: &[Interval], stage: &str, from_ns: u64) -> OverTime {
    let mut out = OverTime::default();
    for interval in intervals {
        let Some(text) = interval.hdr.get(stage) else { continue };
        let Ok(h) = hdr::decode(text, stage) else {
            out.unread += 1;
            continue;
        };
        if h.is_empty() {
            continue;
        }
        let middle = interval.start_ns / 2 + interval.end_ns / 2;
        let x = (middle as f64 - from_ns as f64) / 1e9;
        out.p50.push((x, h.value_at_quantile(0.5) as f64));
        out.p99.push((x, h.value_at_quantile(0.99) as f64));
        out.max.push((x, h.max() as f64));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_curve_rises_to_the_longest() {
        let buckets = vec![(100, 900), (200, 90), (5_000, 9), (9_000, 1)];
        let points = percentiles(&buckets);
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{points:?}");
        assert!(points.first().unwrap().0 < 2.0 + 1e-9);
        assert_eq!(points.last().unwrap(), &(1000.0, 9_000.0));
        let at = |x: f64| points.iter().rfind(|p| p.0 <= x + 1e-9).unwrap().1;
        assert_eq!((at(2.0), at(10.0), at(99.9), at(100.0)), (100.0, 100.0, 200.0, 200.0));
        assert_eq!(percentiles(&vec![]), vec![]);
        assert_eq!(percentiles(&vec![(7, 1)]), vec![(1.0, 7.0)]);
    }

    #[test]
    fn time_runs_from_the_start() {
        let hdr =
            |ns| BTreeMap::from([("wait".to_owned(), hdr::encode(&hdr::of_buckets(&vec![(ns, 3)], "x").unwrap()))]);
        let at = |start_ns, hdr| Interval { start_ns, end_ns: start_ns + 1_000_000_000, hdr };
        let damaged = BTreeMap::from([("wait".to_owned(), "?".to_owned())]);
        let intervals = [at(5_000_000_000, hdr(50)), at(6_000_000_000, BTreeMap::new()), at(7_000_000_000, damaged)];
        let seen = over_time(&intervals, "wait", 5_000_000_000);
        let one = vec![(0.5, 50.0)];
        assert_eq!(seen, OverTime { p50: one.clone(), p99: one.clone(), max: one, unread: 1 });
    }
}
