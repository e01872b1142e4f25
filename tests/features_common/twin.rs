//! The naive twin: every feature recomputed in `f64` from the whole history, by its definition and nothing else.

use pillion::hot::features::{Column, Kind, Memory, Series};

use super::Seen;

pub struct Twin<'h> {
    history: &'h [Seen],
    tick: f64,
    /// `ts_event` in ns, never going back.
    times: Vec<u64>,
    /// In ticks, carried over events without one.
    mids: Vec<Option<f64>>,
}

type Levels = [(i64, u64, u32)];

impl<'h> Twin<'h> {
    pub fn new(history: &'h [Seen], tick_size: i64) -> Self {
        let tick = tick_size as f64;
        let (mut times, mut mids) = (Vec::new(), Vec::new());
        let (mut latest, mut mid) = (history[0].ts_event, None);
        for seen in history {
            latest = latest.max(seen.ts_event);
            times.push(latest);
            mid = mid_of(seen, tick).or(mid);
            mids.push(mid);
        }
        Self { history, tick, times, mids }
    }

    /// The column after the last event of the history.
    pub fn value(&self, column: &Column) -> f64 {
        let x = self.raw(column);
        if !column.log {
            return x;
        }
        match column.kind {
            Kind::InterArrival | Kind::TimeSinceTrade | Kind::TimeSinceMidChange => (x * 1e6).ln_1p(),
            _ => x.ln_1p(),
        }
    }

    fn raw(&self, column: &Column) -> f64 {
        let now = self.history.last().unwrap();
        let [bids, asks] = &now.levels;
        let k = column.level.unwrap_or(1) as usize;
        let s = column.side.map_or(0, |side| side as usize);
        let side = &now.levels[s];
        let memory = column.memory;
        let (qb, qa, q) = (size_to(bids, k), size_to(asks, k), size_to(side, k));
        match column.kind {
            Kind::Spread => self.spread(now),
            Kind::Mid => self.mid(),
            Kind::Microprice => match (bids.first(), asks.first()) {
                (Some(b), Some(a)) if b.1 + a.1 > 0 => {
                    (b.0 as f64 * a.1 as f64 + a.0 as f64 * b.1 as f64) / (a.1 + b.1) as f64 / self.tick
                }
                _ => self.mid(),
            },
            Kind::MicropriceDistance => self.spread(now) / 2.0 * fraction(qb - qa, qb + qa),
            Kind::Imbalance => fraction(qb - qa, qb + qa),
            Kind::LevelImbalance => {
                let (b, a) = (size_at(bids, k), size_at(asks, k));
                fraction(b - a, b + a)
            }
            Kind::Depth => q,
            Kind::DepthRatio => ((1.0 + qb) / (1.0 + qa)).ln(),
            Kind::DepthConcentration => fraction(size_at(side, 1), q),
            Kind::DepthDistance => {
                let moment: f64 = self.distances(now, s, k).iter().zip(side).map(|(d, level)| d * level.1 as f64).sum();
                fraction(moment, q)
            }
            Kind::LevelGap if side.len() > k => (side[k].0 - side[k - 1].0).abs() as f64 / self.tick,
            Kind::LevelGap => 0.0,
            Kind::BookSlope => {
                let distances = self.distances(now, s, k);
                let top: f64 = distances.iter().enumerate().map(|(i, d)| d * size_to(side, i + 1)).sum();
                fraction(top, distances.iter().map(|d| d * d).sum())
            }
            Kind::OrderCount => count_to(side, k),
            Kind::OrderCountImbalance => {
                let (b, a) = (count_to(bids, k), count_to(asks, k));
                fraction(b - a, b + a)
            }
            Kind::MeanOrderSize => fraction(q, count_to(side, k)),
            Kind::LevelPrice => match (side.get(k - 1), mid_of(now, self.tick)) {
                (Some(level), Some(mid)) => level.0 as f64 / self.tick - mid,
                _ => 0.0,
            },
            Kind::LevelSize => fraction(size_at(side, k), size_to(bids, 10) + size_to(asks, 10)),
            Kind::Ofi => self.sum(memory, |i| self.ofi(i, k)),
            Kind::OfiMean => self.sum(memory, |i| (1..=k).map(|k| self.ofi(i, k)).sum::<f64>() / k as f64),
            Kind::OfiScaled => self.ratio(
                memory,
                |i| self.ofi(i, k),
                |i| self.levels(i).map(|side| size_at(side, k)).iter().sum::<f64>() / 2.0,
            ),
            Kind::SignedVolume => self.sum(memory, |i| self.signed(i)),
            Kind::Volume => self.sum(memory, |i| self.volume(i)),
            Kind::VolumeImbalance => self.ratio(memory, |i| self.signed(i), |i| self.volume(i)),
            Kind::TradeImbalance => self.ratio(memory, |i| sign(self.signed(i)), |i| f64::from(self.traded(i))),
            Kind::AddIntensity => self.rate(memory, |i| self.history[i].event.added[s].count.into()),
            Kind::CancelIntensity => self.rate(memory, |i| self.history[i].event.cancelled[s].count.into()),
            Kind::ModifyIntensity => self.rate(memory, |i| self.history[i].event.modified[s].count.into()),
            Kind::FillIntensity => self.rate(memory, |i| self.history[i].event.filled[s].count.into()),
            Kind::TradeIntensity => self.rate(memory, |i| self.history[i].event.trades.into()),
            Kind::NetOrderFlow => self.sum(memory, |i| {
                let e = &self.history[i].event;
                let net = |s: usize| e.added[s].size as f64 - e.cancelled[s].size as f64 - e.filled[s].size as f64;
                net(0) - net(1)
            }),
            Kind::InterArrival if memory == Memory::Plain => self.gap(self.last()),
            Kind::InterArrival => self.ratio(memory, |i| self.gap(i), |i| f64::from(i > 0)),
            Kind::TimeSinceTrade => self.since((0..self.history.len()).rfind(|&i| self.traded(i))),
            Kind::TimeSinceMidChange => self.since((0..self.history.len()).rfind(|&i| self.mid_step(i) != 0.0)),
            Kind::LastMidChange => {
                (0..self.history.len()).map(|i| self.mid_step(i)).rfind(|&d| d != 0.0).unwrap_or(0.0)
            }
            Kind::MidChange => {
                let Memory::Window { events } = memory else { panic!("a lag is a window") };
                let filled = self.mids.iter().flatten().next().copied().unwrap_or(0.0);
                let then = self.history.len().saturating_sub(1 + events as usize);
                self.mid() - self.mids[then].unwrap_or(filled)
            }
            Kind::MidDeviation => {
                let seen = |i: usize| f64::from(self.mids[i].is_some());
                let mean = self.ratio(memory, |i| self.mids[i].unwrap_or(0.0), seen);
                if self.sum(memory, seen) < 1e-12 { 0.0 } else { self.mid() - mean }
            }
            Kind::EwmaReturn => self.sum(memory, |i| self.change(i)),
            Kind::EwmaVolatility => self.rate(memory, |i| self.change(i).powi(2)).sqrt(),
            Kind::RealisedVolatility => self.sum(memory, |i| self.mid_step(i).powi(2)).sqrt(),
            Kind::VwapDistance => self.vwap_distance(memory),
            Kind::Zscore => self.zscore(memory, column.of.unwrap()),
        }
    }

    fn last(&self) -> usize {
        self.history.len() - 1
    }

    fn levels(&self, i: usize) -> [&Levels; 2] {
        [&self.history[i].levels[0], &self.history[i].levels[1]]
    }

    fn spread(&self, seen: &Seen) -> f64 {
        match (seen.levels[0].first(), seen.levels[1].first()) {
            (Some(b), Some(a)) => (a.0 - b.0) as f64 / self.tick,
            _ => 0.0,
        }
    }

    fn mid(&self) -> f64 {
        self.mids.last().unwrap().unwrap_or(0.0)
    }

    fn mid_step(&self, i: usize) -> f64 {
        if i == 0 { 0.0 } else { self.mids[i - 1].zip(self.mids[i]).map_or(0.0, |(then, now)| now - then) }
    }

    fn change(&self, i: usize) -> f64 {
        let step = self.mid_step(i);
        if step == 0.0 { 0.0 } else { self.mids[i - 1].map_or(0.0, |then| fraction(step, then.abs()) * 1e4) }
    }

    /// Distances from the mid of at most k levels; none without a mid.
    fn distances(&self, seen: &Seen, s: usize, k: usize) -> Vec<f64> {
        let Some(mid) = mid_of(seen, self.tick) else { return Vec::new() };
        let sign = if s == 0 { 1.0 } else { -1.0 };
        seen.levels[s].iter().take(k).map(|level| sign * (mid - level.0 as f64 / self.tick)).collect()
    }

    fn seconds(&self, from: usize, to: usize) -> f64 {
        (self.times[to] - self.times[from]) as f64 / 1e9
    }

    fn gap(&self, i: usize) -> f64 {
        if i == 0 { 0.0 } else { self.seconds(i - 1, i) }
    }

    fn since(&self, event: Option<usize>) -> f64 {
        self.seconds(event.unwrap_or(0), self.last())
    }

    fn traded(&self, i: usize) -> bool {
        self.history[i].event.trades > 0
    }

    fn signed(&self, i: usize) -> f64 {
        self.history[i].event.buy_volume as f64 - self.history[i].event.sell_volume as f64
    }

    fn volume(&self, i: usize) -> f64 {
        self.history[i].event.volume as f64
    }

    /// Cont, Kukanov and Stoikov's e at level k, by its cases.
    fn ofi(&self, i: usize, k: usize) -> f64 {
        if i == 0 {
            return 0.0;
        }
        let [bids, asks] = self.levels(i);
        let [old_bids, old_asks] = self.levels(i - 1);
        let bid = match (bids.get(k - 1), old_bids.get(k - 1)) {
            (None, None) => 0.0,
            (Some(new), None) => new.1 as f64,
            (None, Some(old)) => -(old.1 as f64),
            (Some(new), Some(old)) if new.0 > old.0 => new.1 as f64,
            (Some(new), Some(old)) if new.0 < old.0 => -(old.1 as f64),
            (Some(new), Some(old)) => new.1 as f64 - old.1 as f64,
        };
        let ask = match (asks.get(k - 1), old_asks.get(k - 1)) {
            (None, None) => 0.0,
            (Some(new), None) => -(new.1 as f64),
            (None, Some(old)) => old.1 as f64,
            (Some(new), Some(old)) if new.0 < old.0 => -(new.1 as f64),
            (Some(new), Some(old)) if new.0 > old.0 => old.1 as f64,
            (Some(new), Some(old)) => old.1 as f64 - new.1 as f64,
        };
        bid + ask
    }

    fn weight(&self, memory: Memory, i: usize) -> f64 {
        let age = self.last() - i;
        match memory {
            Memory::Plain => f64::from(age == 0),
            Memory::Time { half_life_ns } => 0.5_f64.powf(self.seconds(i, self.last()) * 1e9 / half_life_ns as f64),
            Memory::Events { half_life } => 0.5_f64.powf(age as f64 / f64::from(half_life)),
            Memory::Window { events } => f64::from(age < events as usize),
        }
    }

    fn sum(&self, memory: Memory, x: impl Fn(usize) -> f64) -> f64 {
        (0..self.history.len()).map(|i| self.weight(memory, i) * x(i)).sum()
    }

    fn ratio(&self, memory: Memory, a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64) -> f64 {
        let under = self.sum(memory, b);
        if under < 1e-12 { 0.0 } else { self.sum(memory, a) / under }
    }

    fn rate(&self, memory: Memory, x: impl Fn(usize) -> f64) -> f64 {
        let gain = match memory {
            Memory::Time { half_life_ns } => std::f64::consts::LN_2 / (half_life_ns as f64 / 1e9),
            Memory::Events { half_life } => 1.0 - 0.5_f64.powf(1.0 / f64::from(half_life)),
            other => panic!("{other:?} has no rate"),
        };
        gain * self.sum(memory, x)
    }

    fn vwap_distance(&self, memory: Memory) -> f64 {
        let all = Memory::Window { events: u32::MAX };
        let memory = if memory == Memory::Plain { all } else { memory };
        let weight = self.sum(memory, |i| self.volume(i));
        if weight < 1e-12 || self.mids[self.last()].is_none() {
            return 0.0;
        }
        self.mid() - self.sum(memory, |i| self.history[i].event.notional as f64 / self.tick) / weight
    }

    fn zscore(&self, memory: Memory, of: Series) -> f64 {
        let Memory::Window { events } = memory else { panic!("a z-score has a window") };
        let first_mid = self.mids.iter().flatten().next().copied().unwrap_or(0.0);
        let x = |i: usize| match of {
            Series::Mid => self.mids[i].unwrap_or(first_mid) - first_mid,
            Series::Spread => self.spread(&self.history[i]),
            Series::BidSize => size_at(&self.history[i].levels[0], 1),
            Series::AskSize => size_at(&self.history[i].levels[1], 1),
            Series::Ofi => self.ofi(i, 1),
            Series::SignedVolume => self.signed(i),
            Series::Volume => self.volume(i),
            Series::InterArrival => self.gap(i),
        };
        let xs: Vec<f64> = (self.history.len().saturating_sub(events as usize)..self.history.len()).map(x).collect();
        if xs.iter().all(|x| *x == xs[0]) {
            return 0.0;
        }
        let mean = xs.iter().sum::<f64>() / xs.len() as f64;
        let variance = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / xs.len() as f64;
        (xs.last().unwrap() - mean) / variance.sqrt()
    }
}

fn mid_of(seen: &Seen, tick: f64) -> Option<f64> {
    let (b, a) = (seen.levels[0].first()?, seen.levels[1].first()?);
    Some((b.0 as f64 + a.0 as f64) / 2.0 / tick)
}

fn size_at(side: &Levels, k: usize) -> f64 {
    side.get(k - 1).map_or(0.0, |level| level.1 as f64)
}

fn size_to(side: &Levels, k: usize) -> f64 {
    side.iter().take(k).map(|level| level.1 as f64).sum()
}

fn count_to(side: &Levels, k: usize) -> f64 {
    side.iter().take(k).map(|level| f64::from(level.2)).sum()
}

fn fraction(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
