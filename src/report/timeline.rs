//! Histograms over time: consecutive spans of a run, few enough to keep however long it lasts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::hdr::encode;
use crate::hot::stamp::MAX_NS;
use crate::report::{Interval, buckets};

/// Length of a span to begin with, ns.
pub const FIRST_SPAN_NS: u64 = 100_000_000;

/// Spans kept at most; from then on two neighbours become one, and new ones are twice as long.
const MOST_SPANS: usize = 512;

/// Counts of one histogram, as (value, count).
type Sparse = Vec<(u64, u64)>;

/// Spans of a run, each with the counts of several histograms.
#[derive(Clone, Debug)]
pub struct Timeline {
    names: &'static [&'static str],
    span_ns: u64,
    start_ns: u64,
    /// What the totals were at the last span's end.
    before: Vec<Histogram<u64>>,
    spans: Vec<(u64, u64, Vec<Sparse>)>,
}

/// A histogram like those of the stages: 1 ns to 10 s at 2 significant digits.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_NS, 2).expect("1 ns to 10 s at 2 digits are valid bounds")
}

impl Timeline {
    /// Spans from `start_ns` on, of as many histograms as there are names.
    pub fn new(names: &'static [&'static str], start_ns: u64) -> Self {
        let before = names.iter().map(|_| empty()).collect();
        Self { names, span_ns: FIRST_SPAN_NS, start_ns, before, spans: Vec::new() }
    }

    /// Whether a span is over at `now_ns`.
    pub fn due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.start_ns) >= self.span_ns
    }

    /// Ends the span at `now_ns`: what the totals have more than at the last end belongs to it. Empty spans leave no trace.
    pub fn end_span<'a>(&mut self, now_ns: u64, totals: impl Iterator<Item = &'a Histogram<u64>>) {
        let mut counts = Vec::with_capacity(self.names.len());
        for (before, total) in self.before.iter_mut().zip(totals) {
            let mut here = total.clone();
            // Totals only grow, and both have the same bounds.
            here.subtract(&*before).expect("a total never shrinks");
            before.clone_from(total);
            counts.push(buckets(&here));
        }
        if counts.iter().any(|counts| !counts.is_empty()) {
            self.spans.push((self.start_ns, now_ns, counts));
        }
        self.start_ns = now_ns;
        if self.spans.len() >= MOST_SPANS {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.span_ns *= 2;
        let spans = std::mem::take(&mut self.spans);
        for pair in spans.chunks(2) {
            let mut whole = pair[0].clone();
            if let Some((_, end, counts)) = pair.get(1) {
                whole.1 = *end;
                whole.2.iter_mut().zip(counts).for_each(|(sum, more)| sum.extend(more));
            }
            self.spans.push(whole);
        }
    }

    /// The spans as reports hold them.
    pub fn intervals(&self) -> Vec<Interval> {
        self.spans.iter().map(|(start, end, counts)| self.interval(*start, *end, counts)).collect()
    }

    fn interval(&self, start_ns: u64, end_ns: u64, counts: &[Sparse]) -> Interval {
        let named = self.names.iter().zip(counts).filter(|(_, counts)| !counts.is_empty());
        let hdr = named.map(|(name, counts)| ((*name).to_owned(), encode(&histogram(counts)))).collect();
        Interval { start_ns, end_ns, hdr }
    }
}

/// The histogram of sparse counts.
fn histogram(counts: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = empty();
    counts.iter().for_each(|&(ns, count)| histogram.saturating_record_n(ns, count));
    histogram
}

/// One histogram of each name, from the counts of a whole run put into spans of equal length.
pub fn spread(points: impl Iterator<Item = (u64, &'static str, u64)>, start_ns: u64, span_ns: u64) -> Vec<Interval> {
    let mut spans = BTreeMap::<u64, BTreeMap<&'static str, Histogram<u64>>>::new();
    for (at_ns, name, value_ns) in points {
        let span = spans.entry(at_ns.saturating_sub(start_ns) / span_ns).or_default();
        span.entry(name).or_insert_with(empty).saturating_record(value_ns);
    }
    let interval = |(i, named): (u64, BTreeMap<&str, Histogram<u64>>)| Interval {
        start_ns: start_ns + i * span_ns,
        end_ns: start_ns + (i + 1) * span_ns,
        hdr: named.into_iter().map(|(name, h)| (name.to_owned(), encode(&h))).collect(),
    };
    spans.into_iter().map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hdr::decode;

    /// However long a run lasts, its spans are few, in order, and hold every count once.
    #[test]
    fn spans_are_few_and_lose_nothing() {
        let mut line = Timeline::new(&["a", "b"], 1_000);
        let (mut a, b) = (empty(), empty());
        let mut now = 1_000;
        for i in 0..5_000u64 {
            a.saturating_record(100 + i);
            now += 40_000_000;
            if line.due(now) {
                line.end_span(now, [&a, &b].into_iter());
            }
        }
        line.end_span(now, [&a, &b].into_iter());
        let intervals = line.intervals();
        assert!((MOST_SPANS / 4..=MOST_SPANS).contains(&intervals.len()), "{}", intervals.len());
        assert!(intervals.windows(2).all(|w| w[0].end_ns <= w[1].start_ns));
        assert!(intervals.iter().all(|i| !i.hdr.contains_key("b")), "what has no counts is left out");
        let mut sum = empty();
        for interval in &intervals {
            sum.add(decode(&interval.hdr["a"], "a").unwrap()).unwrap();
        }
        assert_eq!(buckets(&sum), buckets(&a));
    }
}
