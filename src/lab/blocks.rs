//! The noise within one run: a block bootstrap over the report's time intervals.
//!
//! Latencies that follow each other are not independent: a stall slows hundreds in a row. So whole spans of time are
//! resampled, not single ticks (moving blocks after Künsch, *Annals of Statistics* 17, 1989; here the blocks are the
//! report's own, which do not overlap). What differs between two runs of the same binary, such as where its memory
//! lies, is in no span of one run: only paired runs see it.

use super::stats::{Chance, Range, percentile_range};
use crate::report::{Interval, hdr};

/// Level of the intervals of a comparison.
pub const LEVEL: f64 = 0.95;

/// Resamples of an interval.
pub const RESAMPLES: usize = 1_000;

/// One stage's counts, span by span.
#[derive(Debug)]
pub struct Blocks {
    /// Ascending latencies, ns: upper bounds of the histograms' buckets.
    values: Vec<u64>,
    /// For each span the counts of `values`.
    counts: Vec<Vec<u64>>,
}

impl Blocks {
    /// Decodes a stage of a report. Spans without it count as empty; the error is what is wrong with which span.
    pub fn decode(intervals: &[Interval], stage: &str) -> Result<Self, String> {
        let decoded = intervals.iter().enumerate().map(|(i, interval)| match interval.hdr.get(stage) {
            None => Ok(Vec::new()),
            Some(text) => decode(text).map_err(|e| format!("intervals[{i}].hdr.{stage}: {e}")),
        });
        let spans = decoded.collect::<Result<Vec<_>, _>>()?;
        let mut values: Vec<u64> = spans.iter().flatten().map(|(value, _)| *value).collect();
        values.sort_unstable();
        values.dedup();
        let counts = spans.iter().map(|span| {
            let mut counts = vec![0; values.len()];
            for (value, count) in span {
                counts[values.binary_search(value).expect("every value was collected")] += count;
            }
            counts
        });
        Ok(Self { counts: counts.collect(), values })
    }

    /// Spans that have counts.
    pub fn filled(&self) -> usize {
        self.counts.iter().filter(|span| span.iter().any(|n| *n > 0)).count()
    }

    /// Percentiles, `quantiles` ascending, of a run in which span `i` stands `times[i]` times; `None` when that is empty.
    fn percentiles<const N: usize>(&self, times: &[u64], quantiles: [f64; N]) -> Option<[f64; N]> {
        let mut sums = vec![0u64; self.values.len()];
        for (span, times) in self.counts.iter().zip(times).filter(|(_, times)| **times > 0) {
            sums.iter_mut().zip(span).for_each(|(sum, n)| *sum = sum.saturating_add(n.saturating_mul(*times)));
        }
        let total = sums.iter().fold(0u64, |total, n| total.saturating_add(*n));
        let (mut found, mut at, mut below) = ([0.0; N], 0, 0u64);
        for (value, n) in self.values.iter().zip(sums).filter(|(_, n)| *n > 0) {
            below = below.saturating_add(n);
            while at < N && below >= ((quantiles[at] * total as f64).ceil() as u64).max(1) {
                found[at] = *value as f64;
                at += 1;
            }
        }
        (at == N).then_some(found)
    }

    /// As many spans drawn with replacement as there are.
    fn resample<const N: usize>(&self, chance: &mut Chance, quantiles: [f64; N]) -> Option<[f64; N]> {
        let mut times = vec![0; self.counts.len()];
        (0..times.len()).for_each(|_| times[chance.below(self.counts.len())] += 1);
        self.percentiles(&times, quantiles)
    }
}

/// Intervals of the ratios of B's percentiles to A's, each run resampled on its own. `None` where a run has fewer than
/// two spans with counts.
pub fn ratios<const N: usize>(a: &Blocks, b: &Blocks, quantiles: [f64; N], seed: u64) -> [Option<Range>; N] {
    if a.filled() < 2 || b.filled() < 2 {
        return [None; N];
    }
    let (mut chance, mut drawn) = (Chance::new(seed), [(); N].map(|()| Vec::with_capacity(RESAMPLES)));
    for _ in 0..RESAMPLES {
        if let (Some(a), Some(b)) = (a.resample(&mut chance, quantiles), b.resample(&mut chance, quantiles)) {
            // A latency of 0 ns is one below the clock's step.
            (0..N).for_each(|i| drawn[i].push(b[i].max(1.0) / a[i].max(1.0)));
        }
    }
    drawn.map(|ratios| percentile_range(ratios, LEVEL))
}

/// Bucket bounds, ns, and counts of an encoded histogram.
fn decode(text: &str) -> Result<Vec<(u64, u64)>, String> {
    Ok(crate::report::buckets(&hdr::read(text)?))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
    use proptest::prelude::*;

    use super::*;

    const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut h = Histogram::new_with_bounds(1, 10_000_000_000, 2).unwrap();
        values.iter().for_each(|v| h.record(*v).unwrap());
        h
    }

    fn span(values: &[u64]) -> Interval {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram(values), &mut bytes).unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        Interval { hdr: [("infer".to_owned(), text)].into(), ..Interval::default() }
    }

    proptest! {
        /// With every span once, percentiles are those of one histogram of everything.
        #[test]
        fn whole_runs_have_the_histograms_percentiles(
            spans in prop::collection::vec(prop::collection::vec(1u64..5_000_000, 0..40), 1..8)
        ) {
            let blocks = Blocks::decode(&spans.iter().map(|s| span(s)).collect::<Vec<_>>(), "infer").unwrap();
            let all = histogram(&spans.concat());
            let expected = (!all.is_empty()).then(|| QUANTILES.map(|q| all.value_at_quantile(q) as f64));
            prop_assert_eq!(blocks.percentiles(&vec![1; spans.len()], QUANTILES), expected);
        }

        /// Damaged text is an error or another histogram, never a panic.
        #[test]
        fn damaged_text_is_refused(at in 0usize..200, byte in 32u8..127) {
            let mut one = span(&[1, 1_000, 1_000_000]);
            let text = one.hdr.get_mut("infer").unwrap();
            let at = at % text.len();
            text.replace_range(at..=at, std::str::from_utf8(&[byte]).unwrap());
            let _ = Blocks::decode(&[one], "infer");
        }
    }

    #[test]
    fn ratios_of_steady_runs_are_narrow_and_one_span_has_none() {
        let steady = |ns: u64| (0..20).map(|i| span(&[ns + i % 3, ns, ns, ns + 1])).collect::<Vec<_>>();
        let blocks = |spans: &[Interval]| Blocks::decode(spans, "infer").unwrap();
        let (a, b) = (blocks(&steady(100)), blocks(&steady(200)));
        let [median, ..] = ratios(&a, &b, QUANTILES, 1);
        let median = median.unwrap();
        assert!(1.96 < median.low && median.low <= 2.0 && 2.0 <= median.high && median.high < 2.04, "{median:?}");
        assert_eq!(ratios(&a, &b, QUANTILES, 1), ratios(&a, &b, QUANTILES, 1), "seeded");
        assert_eq!(ratios(&a, &blocks(&steady(200)[..1]), QUANTILES, 1), [None; 4]);
        assert_eq!(ratios(&a, &blocks(&[]), QUANTILES, 1), [None; 4]);
    }

    #[test]
    fn what_is_no_histogram_is_named() {
        let bad = |text: &str| {
            let hdr = [("infer".to_owned(), text.to_owned())].into();
            Blocks::decode(&[span(&[1]), Interval { hdr, ..Interval::default() }], "infer").unwrap_err()
        };
        assert!(bad("no base64!").contains("intervals[1].hdr.infer: is no base64"));
        assert!(bad("AAAA").contains("intervals[1].hdr.infer: is no histogram"));
    }
}
