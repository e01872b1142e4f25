//! What bends a curve, in words, from what was measured: the law that fits, and the place where the slope changes most.

use super::caches::{self, Cache};
use super::fit;
use pillion::report::CurvePoint;

/// Least change of the slope that is called a bend: in a doubling of x, y then changes by 11 % more than before.
const BEND: f64 = 0.15;
/// Slopes within this of each other are drawn as level: y within 7 % over a doubling of x.
const LEVEL: f64 = 0.1;

/// A slope from here on is growth with x itself, which no cache explains.
const IN_PROPORTION: f64 = 0.8;

/// The place where the slope changes most: indexes of the segment behind it, and the slopes before and in it, both of
/// log y over log x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bend {
    /// Index of the point where it begins.
    pub from: usize,
    /// Slope of the segment before; of the first segment, 0.
    pub before: f64,
    /// Slope of the segment from it on.
    pub after: f64,
}

/// The bend with the greatest change of slope; `None` where nothing changes by 0.15 or x is not above 0.
///
/// A curve that is level at first and rises in its first segment bends at its first point.
pub fn bend(points: &[CurvePoint]) -> Option<Bend> {
    if points.iter().any(|point| point.x <= 0.0 || point.y <= 0.0) {
        return None;
    }
    let slope = |pair: &[CurvePoint]| (pair[1].y / pair[0].y).ln() / (pair[1].x / pair[0].x).ln();
    let slopes: Vec<f64> = points.windows(2).map(slope).collect();
    let change = |from: usize| Bend { from, before: slopes[from - 1], after: slopes[from] };
    let bends = (1..slopes.len()).map(change);
    let most = bends.max_by(|a, b| (a.after - a.before).abs().total_cmp(&(b.after - b.before).abs()))?;
    ((most.after - most.before).abs() >= BEND).then_some(most)
}

/// The sentence for a series. A point at x = 0, where there is nothing yet of what x counts, is no part of the law.
pub fn say(points: &[CurvePoint], caches: &[Cache]) -> String {
    if let [none, rest @ ..] = points
        && none.x == 0.0
        && rest.len() > 2
    {
        let first = fit::figure(rest[0].y - none.y);
        return format!("{} ns at 0, the first adds {first} ns; {}", fit::figure(none.y), say(rest, caches));
    }
    let pairs: Vec<_> = points.iter().map(|point| (point.x, point.y)).collect();
    let law = fit::best(&pairs).map_or_else(|| "too few points for a law".to_owned(), |law| law.to_string());
    match (bend(points), points) {
        (Some(bend), _) => format!("{law}; {}", at_bend(points, bend, caches)),
        (None, []) => law,
        (None, _) => format!("{law}; no bend, {} from first to last", ratio(points, points.len() - 1)),
    }
}

fn at_bend(points: &[CurvePoint], bend: Bend, caches: &[Cache]) -> String {
    let (from, to) = (&points[bend.from], &points[bend.from + 1]);
    let until = if bend.before.abs() < LEVEL { "flat" } else { "rising" };
    let until = if bend.before <= -LEVEL { "falling" } else { until };
    let grows = if bend.after >= IN_PROPORTION && bend.after <= 1.0 / IN_PROPORTION {
        "; from there on nearly in proportion: the work itself grows"
    } else {
        ""
    };
    format!(
        "{until} to {} ({}); bends between {} and {} (slope {:.2}, then {:.2}), {}{grows}",
        count(from.x),
        ratio(points, bend.from),
        count(from.x),
        count(to.x),
        bend.before,
        bend.after,
        growth(from.working_set_bytes, to.working_set_bytes, caches)
    )
}

/// What the working set does over the segment, and which caches it leaves.
fn growth(from: u64, to: u64, caches: &[Cache]) -> String {
    if from == 0 || to == 0 {
        return "where the working set is not what changes".to_owned();
    }
    let span = format!("where the working set goes from {} to {}", caches::bytes(from), caches::bytes(to));
    if caches.is_empty() {
        return format!("{span}; the caches are unknown");
    }
    let left: Vec<_> = caches.iter().filter(|cache| from <= cache.bytes && cache.bytes < to).collect();
    match left.as_slice() {
        [] => format!("{span}, {}", within(from, to, caches)),
        _ => format!("{span}, past {}", caches::text(&left.into_iter().cloned().collect::<Vec<_>>())),
    }
}

/// Where a working set stays that leaves no cache.
fn within(from: u64, to: u64, caches: &[Cache]) -> String {
    if to < from {
        return "shrinking".to_owned();
    }
    caches.iter().find(|cache| to <= cache.bytes).map_or_else(
        || "beyond every cache already".to_owned(),
        |cache| format!("all within {} ({}): not a cache that is left", cache.name, caches::bytes(cache.bytes)),
    )
}

fn ratio(points: &[CurvePoint], at: usize) -> String {
    format!("x{:.2}", points[at].y / points[0].y)
}

/// A whole number with separators.
pub fn count(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
