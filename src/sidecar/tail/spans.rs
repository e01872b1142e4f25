//! Times that are explained already: what stopped the thread then also stopped whoever queued behind.

use std::collections::VecDeque;

use crate::report::Cause;

/// Spans kept. A queue behind a stall is told by a few hundred slow ticks, each of which can add some.
const KEPT: usize = 4096;

/// A stretch of time, on the host's clock, with its one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its start, ns.
    pub from_ns: u64,
    /// Its end, ns.
    pub to_ns: u64,
    /// Why.
    pub cause: Cause,
    /// What it was, with its article.
    pub what: &'static str,
    /// Length of the whole of which this is a part, ns.
    pub whole_ns: u64,
    /// Start of the turn of the tick that told of it, ns.
    pub told_by_ns: u64,
}

/// Explained times, in order and apart.
#[derive(Debug, Default)]
pub struct Spans(VecDeque<Span>);

impl Spans {
    /// Adds those parts of `span` that nothing explains yet: who was there first stays.
    pub fn add(&mut self, span: Span) {
        for (from_ns, to_ns) in self.gaps(span.from_ns, span.to_ns) {
            let at = self.0.partition_point(|other| other.to_ns <= from_ns);
            self.0.insert(at, Span { from_ns, to_ns, ..span });
        }
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }

    /// Spans that lie in `from_ns..to_ns`, clipped to it, in order.
    pub fn within(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = Span> {
        let first = self.0.partition_point(|span| span.to_ns <= from_ns);
        let spans = self.0.range(first..).take_while(move |span| from_ns < to_ns && span.from_ns < to_ns);
        spans.map(move |span| Span { from_ns: span.from_ns.max(from_ns), to_ns: span.to_ns.min(to_ns), ..*span })
    }

    /// Parts of `from_ns..to_ns` that nothing explains.
    pub fn gaps(&self, from_ns: u64, to_ns: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut at) = (Vec::new(), from_ns);
        for span in self.within(from_ns, to_ns) {
            if at < span.from_ns {
                gaps.push((at, span.from_ns));
            }
            at = span.to_ns;
        }
        if at < to_ns {
            gaps.push((at, to_ns));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from_ns: u64, to_ns: u64, told_by_ns: u64) -> Span {
        Span { from_ns, to_ns, cause: Cause::Host, what: "a stall", whole_ns: to_ns - from_ns, told_by_ns }
    }

    proptest! {
        /// Against a twin that paints every ns: the first to come keeps its place.
        #[test]
        fn the_first_explanation_stays(
            spans in prop::collection::vec((0_u64..60, 0_u64..20), 0..20),
            (from, len) in (0_u64..80, 0_u64..30),
        ) {
            let (mut kept, mut painted) = (Spans::default(), [None; 128]);
            for (i, (from, len)) in spans.into_iter().enumerate() {
                kept.add(span(from, from + len, i as u64));
                for ns in &mut painted[from as usize..(from + len) as usize] {
                    *ns = ns.or(Some(i as u64));
                }
            }
            let to = from + len;
            let mut seen = [None; 128];
            for span in kept.within(from, to) {
                prop_assert!(span.from_ns < span.to_ns && span.from_ns >= from && span.to_ns <= to);
                for ns in &mut seen[span.from_ns as usize..span.to_ns as usize] {
                    prop_assert!(ns.is_none(), "spans overlap");
                    *ns = Some(span.told_by_ns);
                }
            }
            prop_assert_eq!(&seen[from as usize..to as usize], &painted[from as usize..to as usize]);
            let open: u64 = kept.gaps(from, to).iter().map(|(from, to)| to - from).sum();
            prop_assert_eq!(open, painted[from as usize..to as usize].iter().filter(|ns| ns.is_none()).count() as u64);
        }
    }

    #[test]
    fn the_oldest_go() {
        let mut spans = Spans::default();
        (0..2 * KEPT as u64).for_each(|i| spans.add(span(2 * i, 2 * i + 1, i)));
        assert_eq!(spans.0.len(), KEPT);
        assert_eq!(spans.within(0, u64::MAX).next().map(|s| s.told_by_ns), Some(KEPT as u64));
    }
}
