//! What pairs say of metrics and stages.

use super::super::columns::{Metric, NAMES, Percentile, STEPS};
use super::super::finding::{FEWEST, Finding, Rule};
use super::super::stats::{Range, median};
use super::{Change, MetricResult, Pair, StageResult};

/// One percentile over all pairs: A's and B's, ns, each at least 1 where a ratio is taken.
struct Paired(Vec<(f64, f64)>);

impl Paired {
    /// `None` where a pair lacks the stage, or there is no pair.
    fn of(pairs: &[Pair], metric: Metric) -> Option<Self> {
        let value =
            |stages: &crate::report::Stages| stages.get(metric.stage).map(|stage| metric.percentile.of(stage) as f64);
        let values: Option<Vec<_>> = pairs.iter().map(|pair| value(&pair.a).zip(value(&pair.b))).collect();
        values.filter(|values| !values.is_empty()).map(Self)
    }

    fn logs(&self) -> Vec<f64> {
        self.0.iter().map(|(a, b)| (b.max(1.0) / a.max(1.0)).ln()).collect()
    }

    fn result(&self, metric: Metric, rule: &Rule) -> StageResult {
        let middle = |f: fn(&(f64, f64)) -> f64| median(&mut self.0.iter().map(f).collect::<Vec<_>>());
        let changes: Vec<f64> = self.0.iter().map(|(a, b)| b - a).collect();
        StageResult {
            stage: metric.stage.into(),
            percentile: metric.percentile.name().into(),
            a_ns: middle(|pair| pair.0),
            b_ns: middle(|pair| pair.1),
            ratio: median(&mut self.logs()).exp(),
            ratio_interval: rule.interval(&self.logs()).map(|log| log.map(f64::exp)),
            change_ns: median(&mut changes.clone()),
            change_interval: rule.interval(&changes),
        }
    }
}

/// Whether every metric is decided.
pub(super) fn decided(pairs: &[Pair], metrics: &[Metric], rule: &Rule) -> bool {
    let finding = |metric: &Metric| Paired::of(pairs, *metric).map(|paired| rule.find(&paired.logs()));
    metrics.iter().all(|metric| finding(metric).is_some_and(|found| found != Finding::Undecided))
}

/// Every percentile of every stage that all pairs counted.
pub(super) fn stages(pairs: &[Pair], rule: &Rule) -> Vec<StageResult> {
    let metrics = NAMES.into_iter().flat_map(|stage| Percentile::ALL.map(|percentile| Metric { stage, percentile }));
    metrics.filter_map(|metric| Some(Paired::of(pairs, metric)?.result(metric, rule))).collect()
}

/// What the pairs say of the metrics; `stages` is [`stages`] of the same pairs.
pub(super) fn metrics(pairs: &[Pair], metrics: &[Metric], stages: &[StageResult], rule: &Rule) -> Vec<MetricResult> {
    let result = |metric: &Metric| {
        let paired = Paired::of(pairs, *metric)?;
        let StageResult { a_ns, b_ns, ratio, ratio_interval, .. } = paired.result(*metric, rule);
        let finding = rule.find(&paired.logs());
        let changed = if enough(pairs) { changed(stages, *metric, finding, rule) } else { Vec::new() };
        Some(MetricResult { metric: metric.to_string(), a_ns, b_ns, ratio, interval: ratio_interval, finding, changed })
    };
    metrics.iter().filter_map(result).collect()
}

/// The steps that changed at the metric's percentile, largest first: the way the metric did where it is slower or faster;
/// either way, but beyond the margin, where it is undecided, since a step may be told from noise when the whole cannot.
fn changed(stages: &[StageResult], metric: Metric, finding: Finding, rule: &Rule) -> Vec<Change> {
    let counts = |s: &StageResult| match finding {
        Finding::Slower => s.change_ns > 0.0,
        Finding::Faster => s.change_ns < 0.0,
        Finding::Undecided => {
            s.ratio_interval.is_some_and(|ratio| matches!(rule.judge(ratio), Finding::Slower | Finding::Faster))
        }
        Finding::NoDifferenceSeen => false,
    };
    let change = |s: &StageResult| {
        let interval = s.change_interval.filter(|range: &Range| range.excludes_zero())?;
        let named = STEPS.contains(&s.stage.as_str()) && s.percentile == metric.percentile.name();
        (named && counts(s)).then(|| Change {
            stage: s.stage.clone(),
            percentile: s.percentile.clone(),
            change_ns: s.change_ns,
            interval,
        })
    };
    let mut found: Vec<_> = stages.iter().filter_map(change).collect();
    found.sort_by(|a, b| b.change_ns.abs().total_cmp(&a.change_ns.abs()));
    found
}

/// Slower beyond the bound, in words.
pub(super) fn regressions(metrics: &[MetricResult], bound: f64) -> Vec<String> {
    let over =
        |m: &&MetricResult| m.finding == Finding::Slower && m.interval.is_some_and(|range| range.low > 1.0 + bound);
    let words = |m: &MetricResult| {
        let low = m.interval.map_or(m.ratio, |range| range.low);
        let stage = m.changed.first().map_or(String::new(), |c| format!(", {}", super::text::change(c)));
        format!(
            "{} is {:.1} % slower (at least {:.1} %), over the bound of {} %{stage}",
            m.metric,
            (m.ratio - 1.0) * 100.0,
            (low - 1.0) * 100.0,
            bound * 100.0
        )
    };
    metrics.iter().filter(over).map(words).collect()
}

/// Whether there are pairs enough for the level that is stated.
pub(super) fn enough(pairs: &[Pair]) -> bool {
    pairs.len() >= FEWEST
}
