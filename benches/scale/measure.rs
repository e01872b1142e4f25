//! Points of curves, measured in turn.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use super::bends;
use super::caches::Cache;
use pillion::report::{Curve, CurvePoint, Series};

/// A place on a curve: something of a certain scale that can be worked a batch at a time.
pub trait Point {
    /// Works a batch: nanoseconds it took, and the ticks (or events, records, gaps) it was for, at least 1.
    fn batch(&mut self) -> (f64, u64);

    /// Batches after which the caches are as they would be had nothing else run.
    fn warm_batches(&self) -> usize;

    /// Batches of a round; `usual` where the point has no reason for fewer.
    fn batches(&self, usual: usize) -> usize {
        usual
    }

    /// Bytes that a batch may touch.
    fn working_set_bytes(&self) -> u64;

    /// Where the time goes: stages with what they cost a unit, ns; none where there are no stages.
    fn stages(&mut self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// Points by rising x.
pub type Line = Vec<(f64, Box<dyn Point>)>;

/// What the curve is about; its points come in series.
pub struct Dimension {
    /// As in the report.
    pub id: &'static str,
    /// For people.
    pub title: String,
    /// What x is.
    pub x_label: &'static str,
    /// What y is.
    pub y_label: &'static str,
    /// Whether x goes by tenfolds.
    pub x_log: bool,
    /// Whether y does.
    pub y_log: bool,
    /// The lines: name, and x with its point.
    pub series: Vec<(String, Line)>,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds over all points of a curve.
    pub rounds: usize,
    /// Batches of a point in a round.
    pub batches: usize,
}

impl Effort {
    /// For the record.
    pub const FULL: Self = Self { rounds: 15, batches: 200 };
    /// To see whether it works.
    pub const QUICK: Self = Self { rounds: 3, batches: 40 };
}

/// What a measured point is: x, its working set, and the medians of its rounds.
pub type Measured = (f64, u64, Vec<f64>);

/// Every point in turn, round by round; the median over a round's batches is the round's. What others do to the machine
/// falls on all points alike, and a batch that lost the CPU is no median.
pub fn interleaved(dimension: &mut Dimension, effort: Effort) -> Vec<Vec<Measured>> {
    let mut all: Vec<Vec<Measured>> = dimension
        .series
        .iter()
        .map(|(_, points)| points.iter().map(|(x, point)| (*x, point.working_set_bytes(), Vec::new())).collect())
        .collect();
    // One round more, not kept: books and windows of a lane that has only begun lie closer together than they ever will again.
    for number in 0..=effort.rounds {
        for ((_, points), measured) in dimension.series.iter_mut().zip(&mut all) {
            for ((_, point), (.., rounds)) in points.iter_mut().zip(measured) {
                let figure = round(point.as_mut(), effort.batches);
                rounds.extend((number > 0).then_some(figure));
            }
        }
    }
    all
}

fn round(point: &mut dyn Point, batches: usize) -> f64 {
    for _ in 0..point.warm_batches() {
        point.batch();
    }
    let mean = |(ns, units): (f64, u64)| ns / units as f64;
    median((0..point.batches(batches)).map(|_| mean(point.batch())).collect())
}

/// The middle value; the higher of the two middle ones of an even number. At least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The curve of a dimension, for the report: medians over rounds, least and most, and what bends each line.
pub fn curve_of(dimension: &mut Dimension, all: Vec<Vec<Measured>>, caches: &[Cache]) -> Curve {
    let mut series = Vec::new();
    let mut said = Vec::new();
    for ((name, points), measured) in dimension.series.iter_mut().zip(all) {
        let line = series_of(name, measured);
        said.push(format!("{name}: {}{}", bends::say(&line.points, caches), growth_by_stage(points)));
        series.push(line);
    }
    Curve {
        id: dimension.id.into(),
        title: dimension.title.clone(),
        x_label: dimension.x_label.into(),
        y_label: dimension.y_label.into(),
        x_log: dimension.x_log,
        y_log: dimension.y_log,
        series,
        bends: said.join(". "),
    }
}

/// What each stage does from the first point to the last, where there are stages.
fn growth_by_stage(points: &mut Line) -> String {
    let end = points.len().saturating_sub(1);
    let mut stages = |at: usize| points.get_mut(at).map_or_else(Vec::new, |(_, point)| point.stages());
    let first = stages(0);
    let last = stages(end);
    let pairs = first.iter().zip(&last).filter(|((_, a), (_, b))| a + b > 0.0);
    let each: Vec<_> = pairs.map(|((name, a), (_, b))| format!("{name} {a:.0} to {b:.0} ns")).collect();
    if each.is_empty() { String::new() } else { format!("; by stage {}", each.join(", ")) }
}

fn series_of(name: &str, measured: Vec<Measured>) -> Series {
    let point = |(x, working_set_bytes, rounds): Measured| CurvePoint {
        x,
        low: rounds.iter().copied().fold(f64::INFINITY, f64::min),
        high: rounds.iter().copied().fold(0.0, f64::max),
        y: median(rounds),
        working_set_bytes,
    };
    Series { name: name.into(), points: measured.into_iter().map(point).collect() }
}

/// Nanoseconds of some work, with what two looks at the clock cost.
pub fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

/// As long as a thread may lose its CPU to others in the midst of one piece of work, ns.
const LONG_NS: f64 = 100_000.0;

/// [`timed`], for single pieces of work that may take milliseconds: of long ones only the time that this thread had the CPU
/// counts, since on a busy machine nearly each of them is interrupted and no median helps.
pub fn timed_alone(work: impl FnOnce()) -> f64 {
    let cpu_ns = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
    };
    let before = cpu_ns();
    let wall = timed(work);
    if wall < LONG_NS { wall } else { cpu_ns() - before }
}
