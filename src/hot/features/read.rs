//! From state to a row: one step of the plan per column.

use super::incremental::Features;
use super::math::ln_1p;
use super::plan::{Now, Op, Past, Step, input};
use super::view::{Shape, outward};

/// Below this, a denominator of decayed weights counts as 0.
const NO_WEIGHT: f64 = 1e-12;

impl Features {
    /// Writes the row of the last event. `out` has one place per column; every value is finite.
    ///
    /// # Panics
    /// When `out` is not as long as the set.
    #[inline]
    pub fn write(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.plan.steps.len(), "a row has one place per column");
        let shape = self.shape();
        for (out, step) in out.iter_mut().zip(&self.plan.steps) {
            *out = self.value(step, &shape) as f32;
        }
    }

    /// The same row before it is rounded to `f32`.
    ///
    /// # Panics
    /// When `out` is not as long as the set.
    pub fn write_f64(&self, out: &mut [f64]) {
        assert_eq!(out.len(), self.plan.steps.len(), "a row has one place per column");
        let shape = self.shape();
        for (out, step) in out.iter_mut().zip(&self.plan.steps) {
            *out = self.value(step, &shape);
        }
    }

    #[inline]
    fn shape(&self) -> Shape {
        Shape::of(&self.views[0], self.plan.depth, self.plan.distances, self.half_ticks)
    }

    /// One column, finite also as `f32`.
    #[inline]
    fn value(&self, step: &Step, shape: &Shape) -> f64 {
        let raw = match step.op {
            Op::Now(now) => self.now(now, shape),
            Op::Past(past) => self.past(past),
        };
        let value = if step.log == 0.0 { raw } else { ln_1p(raw * step.log) };
        const MOST: f64 = f32::MAX as f64;
        if value.is_nan() { 0.0 } else { value.clamp(-MOST, MOST) }
    }

    #[inline]
    fn now(&self, op: Now, shape: &Shape) -> f64 {
        let [sizes, counts] = [&shape.sizes, &shape.counts];
        let best = self.views[0].sides.each_ref();
        match op {
            Now::Spread => self.spread(),
            Now::Mid => self.mid(),
            Now::Microprice => self.mid() + self.spread() * 0.5 * self.tilt(shape, 1),
            Now::MicropriceDistance { k } => self.spread() * 0.5 * self.tilt(shape, usize::from(k)),
            Now::Imbalance { k } => self.tilt(shape, usize::from(k)),
            Now::LevelImbalance { k } => {
                let i = usize::from(k) - 1;
                balance(best[0].sizes[i], best[1].sizes[i])
            }
            Now::Depth { s, k } => at(sizes, s, k),
            Now::DepthRatio { k } => ln_1p(at(sizes, 0, k)) - ln_1p(at(sizes, 1, k)),
            Now::Concentration { s, k } => over(at(sizes, s, 1), at(sizes, s, k)),
            Now::DepthDistance { s, k } => over(at(&shape.moments, s, k), at(sizes, s, k)),
            Now::LevelGap { s, k } => self.gap(usize::from(s), usize::from(k)),
            Now::Slope { s, k } => {
                let (sum, squares) = shape.slopes[usize::from(s)][usize::from(k)];
                over(sum, squares)
            }
            Now::Orders { s, k } => at(counts, s, k),
            Now::OrderImbalance { k } => balance(at(counts, 0, k), at(counts, 1, k)),
            Now::MeanOrder { s, k } => over(at(sizes, s, k), at(counts, s, k)),
            Now::LevelPrice { s, k } => self.level_price(usize::from(s), usize::from(k) - 1),
            Now::LevelSize { s, k } => {
                over(best[usize::from(s)].sizes[usize::from(k) - 1], at(sizes, 0, 10) + at(sizes, 1, 10))
            }
        }
    }

    /// Columns that look back.
    #[inline]
    fn past(&self, op: Past) -> f64 {
        let past = &self.past;
        let sum = |at: u16| self.sums[usize::from(at)];
        let window = |at: u16| &self.windows[usize::from(at)];
        match op {
            Past::Input { input, gain } => self.inputs[usize::from(input) % input::ROOM] * gain,
            Past::Sum { sum: at, gain } => sum(at) * gain,
            Past::SumRoot { sum: at, gain } => (sum(at) * gain).sqrt(),
            Past::SumRatio { over, under } => weighted(sum(over), sum(under)),
            Past::SumPrice { over, under } if sum(under) >= NO_WEIGHT => self.from_trades(sum(over) / sum(under)),
            Past::MidDeviation { sum: at, weight } if sum(weight) >= NO_WEIGHT => {
                past.moved2() as f64 * self.half_ticks - sum(at) / sum(weight)
            }
            Past::SumPrice { .. } | Past::MidDeviation { .. } => 0.0,
            Past::Window { window: at, gain } => window(at).sum as f64 * gain,
            Past::WindowRatio { over: a, under: b } => over(window(a).sum as f64, window(b).sum as f64),
            Past::WindowRoot { window: at } => (window(at).squares as f64).sqrt() * self.half_ticks,
            Past::WindowPrice { over: a, under: b } => self.vwap(window(a).sum, window(b).sum),
            Past::TotalPrice => self.vwap(past.notional, past.volume.into()),
            Past::Zscore { window: at } => window(at).zscore(&self.rings, past.seen),
            Past::MidChange { ring, lag } => {
                let then = (past.seen)
                    .checked_sub(1 + u64::from(lag))
                    .map_or(0, |event| self.rings[usize::from(ring)].at(event));
                (past.moved2() - then) as f64 * self.half_ticks
            }
            Past::SinceTrade => (past.now_ns - past.trade_ns) as f64 * 1e-9,
            Past::SinceMidChange => (past.now_ns - past.mid_change_ns) as f64 * 1e-9,
            Past::LastMidChange => past.last_mid2_change as f64 * self.half_ticks,
        }
    }

    /// Ticks; 0 when a side is empty.
    #[inline]
    fn spread(&self) -> f64 {
        let view = &self.views[0];
        if view.two_sided() { view.spread() as f64 * 2.0 * self.half_ticks } else { 0.0 }
    }

    /// Ticks; the last one, 0 before the first.
    #[inline]
    fn mid(&self) -> f64 {
        self.past.mid2.unwrap_or(0) as f64 * self.half_ticks
    }

    #[inline]
    fn tilt(&self, shape: &Shape, k: usize) -> f64 {
        balance(shape.sizes[0][k], shape.sizes[1][k])
    }

    #[inline]
    fn gap(&self, s: usize, k: usize) -> f64 {
        let side = &self.views[0].sides[s];
        if k < side.levels { (side.keys[k - 1] - side.keys[k]) as f64 * 2.0 * self.half_ticks } else { 0.0 }
    }

    #[inline]
    fn level_price(&self, s: usize, i: usize) -> f64 {
        let view = &self.views[0];
        if !view.two_sided() || i >= view.sides[s].levels {
            return 0.0;
        }
        let ticks = outward(view, s, i) as f64 * self.half_ticks;
        if s == 0 { -ticks } else { ticks }
    }

    /// Mid less a volume-weighted price, from exact sums.
    #[inline]
    fn vwap(&self, notional: i128, volume: i128) -> f64 {
        if volume > 0 { self.from_trades(notional as f64 * self.half_ticks / volume as f64) } else { 0.0 }
    }

    /// Mid less a price that is given in ticks above the trades' reference; 0 before the first mid.
    #[inline]
    fn from_trades(&self, above: f64) -> f64 {
        match (self.past.mid2, self.past.trade_mid2) {
            (Some(mid2), Some(reference)) => {
                (i128::from(mid2) - i128::from(reference)) as f64 * self.half_ticks - above
            }
            _ => 0.0,
        }
    }
}

#[inline]
fn at<const N: usize>(sums: &[[f64; N]; 2], s: u8, k: u8) -> f64 {
    sums[usize::from(s)][usize::from(k)]
}

#[inline]
fn over(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[inline]
fn balance(bid: f64, ask: f64) -> f64 {
    over(bid - ask, bid + ask)
}

#[inline]
fn weighted(sum: f64, weight: f64) -> f64 {
    if weight >= NO_WEIGHT { sum / weight } else { 0.0 }
}
