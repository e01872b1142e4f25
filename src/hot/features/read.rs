//! From state to a row: one step of the plan per column.

use super::incremental::Features;
use super::input;
use super::math::{ln, ln_1p};
use super::plan::{Op, Step};
use super::view::{MAX_LEVELS, View};

/// Below this, a denominator of decayed weights counts as 0.
const NO_WEIGHT: f64 = 1e-12;

/// Running sums of sizes over the levels of both sides: entry k is of levels 1..=k, entry 0 is 0.
type Sizes = [[f64; MAX_LEVELS + 1]; 2];

impl Features {
    /// Writes the row of the last event. `out` has one place per column; every value is finite.
    ///
    /// # Panics
    /// When `out` is not as long as the set.
    #[inline]
    pub fn write(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.plan.steps.len(), "a row has one place per column");
        let sizes = running(self.view());
        for (out, step) in out.iter_mut().zip(&self.plan.steps) {
            *out = self.value(step, &sizes) as f32;
        }
        // All at once: vectors, where a test of each would be a branch of each.
        if !out.iter().fold(true, |finite, x| finite & x.is_finite()) {
            out.iter_mut().for_each(|x| *x = finite(f64::from(*x)) as f32);
        }
    }

    /// The same row before it is rounded to `f32`.
    ///
    /// # Panics
    /// When `out` is not as long as the set.
    pub fn write_f64(&self, out: &mut [f64]) {
        assert_eq!(out.len(), self.plan.steps.len(), "a row has one place per column");
        let sizes = running(self.view());
        for (out, step) in out.iter_mut().zip(&self.plan.steps) {
            *out = finite(self.value(step, &sizes));
        }
    }

    #[inline(always)]
    fn value(&self, step: &Step, sizes: &Sizes) -> f64 {
        let raw = self.raw(step.op, sizes);
        match step.log {
            None => raw,
            Some(unit) => ln_1p(raw * unit),
        }
    }

    #[inline(always)]
    fn raw(&self, op: Op, sizes: &Sizes) -> f64 {
        let (past, sides) = (&self.past, &self.view().sides);
        let size = |s: u8, k: u8| sizes[usize::from(s)][usize::from(k)];
        let tilt = |k| balance(size(0, k), size(1, k));
        let sum = |at: u16| self.sums[usize::from(at)];
        let window = |at: u16| &self.windows[usize::from(at)];
        match op {
            Op::Spread => self.spread(),
            Op::Mid => self.mid(),
            Op::Microprice => self.mid() + self.spread() * 0.5 * tilt(1),
            Op::MicropriceDistance { k } => self.spread() * 0.5 * tilt(k),
            Op::Imbalance { k } => tilt(k),
            Op::LevelImbalance { k } => {
                let i = usize::from(k) - 1;
                balance(sides[0].sizes[i], sides[1].sizes[i])
            }
            Op::Depth { s, k } => size(s, k),
            Op::DepthRatio { k } => ln((1.0 + size(0, k)) / (1.0 + size(1, k))),
            Op::Concentration { s, k } => over(size(s, 1), size(s, k)),
            Op::DepthDistance { s, k } => over(self.moment(s, k), size(s, k)),
            Op::LevelGap { s, k } => self.gap(usize::from(s), usize::from(k)),
            Op::Slope { s, k } => self.slope(s, k, sizes),
            Op::Orders { s, k } => self.orders(s, k),
            Op::OrderImbalance { k } => balance(self.orders(0, k), self.orders(1, k)),
            Op::MeanOrder { s, k } => over(size(s, k), self.orders(s, k)),
            Op::LevelPrice { s, k } => self.level_price(usize::from(s), usize::from(k) - 1),
            Op::LevelSize { s, k } => {
                over(sides[usize::from(s)].sizes[usize::from(k) - 1], sizes[0][MAX_LEVELS] + sizes[1][MAX_LEVELS])
            }

            Op::Input { input, gain } => self.inputs[usize::from(input) % input::ROOM] * gain,
            Op::Sum { sum: at, gain } => sum(at) * gain,
            Op::SumRoot { sum: at, gain } => (sum(at) * gain).sqrt(),
            Op::SumRatio { over, under } => weighted(sum(over), sum(under)),
            Op::SumPrice { over, under } if sum(under) >= NO_WEIGHT => self.to_trades(sum(over) / sum(under)),
            Op::MidDeviation { sum: at, weight } if sum(weight) >= NO_WEIGHT => {
                past.moved2() * self.half_ticks - sum(at) / sum(weight)
            }
            Op::SumPrice { .. } | Op::MidDeviation { .. } => 0.0,
            Op::Window { window: at, gain } => to_f64(window(at).sum) * gain,
            Op::WindowRatio { over: a, under: b } => over(to_f64(window(a).sum), to_f64(window(b).sum)),
            Op::WindowRoot { window: at } => to_f64(window(at).squares).sqrt() * self.half_ticks,
            Op::WindowPrice { over: a, under: b } => self.vwap(window(a).sum, window(b).sum),
            Op::TotalPrice => self.vwap(past.notional, past.volume.into()),
            Op::Zscore { window: at } => window(at).zscore(&self.rings, past.seen),
            Op::MidChange { ring, lag } => {
                let then = past.seen.checked_sub(1 + u64::from(lag));
                let then = then.map_or(0, |event| self.rings[usize::from(ring)].at(event));
                (past.moved2() - then as f64) * self.half_ticks
            }
            Op::SinceTrade => (past.now_ns - past.trade_ns) as f64 * 1e-9,
            Op::SinceMidChange => (past.now_ns - past.mid_change_ns) as f64 * 1e-9,
            Op::LastMidChange => past.last_mid2_change * self.half_ticks,
        }
    }

    /// Ticks; 0 when a side is empty.
    #[inline]
    fn spread(&self) -> f64 {
        let view = self.view();
        if view.two_sided() { view.spread() * 2.0 * self.half_ticks } else { 0.0 }
    }

    /// Ticks; the last one, 0 before the first.
    #[inline]
    fn mid(&self) -> f64 {
        self.past.mid2.unwrap_or(0.0) * self.half_ticks
    }

    #[inline]
    fn gap(&self, s: usize, k: usize) -> f64 {
        let side = &self.view().sides[s];
        if k < side.levels { (side.keys[k - 1] - side.keys[k]) * 2.0 * self.half_ticks } else { 0.0 }
    }

    #[inline]
    fn level_price(&self, s: usize, i: usize) -> f64 {
        let view = self.view();
        if !view.two_sided() || i >= view.sides[s].levels {
            return 0.0;
        }
        let ticks = view.outward(s, i) * self.half_ticks;
        if s == 0 { -ticks } else { ticks }
    }

    #[inline]
    fn orders(&self, s: u8, k: u8) -> f64 {
        self.view().sides[usize::from(s)].counts.iter().take(k.into()).sum()
    }

    /// Distances from the mid in ticks of the levels that there are among the first k; none without a mid.
    #[inline]
    fn distances(&self, s: usize, k: u8) -> impl Iterator<Item = f64> {
        let view = self.view();
        let levels = if view.two_sided() { view.sides[s].levels.min(k.into()) } else { 0 };
        (0..levels).map(move |i| view.outward(s, i) * self.half_ticks)
    }

    /// Σ size × distance from the mid.
    #[inline]
    fn moment(&self, s: u8, k: u8) -> f64 {
        let s = usize::from(s);
        self.distances(s, k).zip(&self.view().sides[s].sizes).map(|(distance, size)| distance * size).sum()
    }

    #[inline]
    fn slope(&self, s: u8, k: u8, sizes: &Sizes) -> f64 {
        let s = usize::from(s);
        let (mut sum, mut squares) = (0.0, 0.0);
        for (distance, running) in self.distances(s, k).zip(&sizes[s][1..]) {
            sum += distance * running;
            squares += distance * distance;
        }
        over(sum, squares)
    }

    /// Mid less a volume-weighted price, from exact sums.
    #[inline]
    fn vwap(&self, notional: i128, volume: i128) -> f64 {
        if volume > 0 { self.to_trades(to_f64(notional) * self.half_ticks / to_f64(volume)) } else { 0.0 }
    }

    /// Mid less a price that is given in ticks above the trades' reference; 0 before the first mid.
    #[inline]
    fn to_trades(&self, above: f64) -> f64 {
        match (self.past.mid2, self.past.trade_mid2) {
            (Some(mid2), Some(reference)) => (mid2 - reference as f64) * self.half_ticks - above,
            _ => 0.0,
        }
    }
}

#[inline]
fn running(view: &View) -> Sizes {
    let mut sizes = [[0.0; MAX_LEVELS + 1]; 2];
    for (running, side) in sizes.iter_mut().zip(&view.sides) {
        for i in 0..MAX_LEVELS {
            running[i + 1] = running[i] + side.sizes[i];
        }
    }
    sizes
}

/// The nearest value that is a finite `f32`; 0 for what is not a number.
fn finite(value: f64) -> f64 {
    const MOST: f64 = f32::MAX as f64;
    if value.is_nan() { 0.0 } else { value.clamp(-MOST, MOST) }
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

/// Sums nearly always fit `i64`, from which the processor converts by itself.
#[inline]
fn to_f64(x: i128) -> f64 {
    match i64::try_from(x) {
        Ok(x) => x as f64,
        Err(_) => wide(x),
    }
}

/// Kept apart, or the compiler converts both ways before it chooses.
#[cold]
#[inline(never)]
fn wide(x: i128) -> f64 {
    x as f64
}
