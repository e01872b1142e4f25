//! Order flow made for a scale: so many instruments, levels and orders, laid out before anything is timed.
//!
//! A flow is a circle: behind its last record every book holds the orders that it held before the first, so it can be played
//! for as long as wanted. Order numbers stay with their orders, and a cancel takes whatever is left.

use std::collections::{BTreeSet, VecDeque};

use pillion::hot::decode::Instrument;
use pillion_shm::records::{MboMsg, RecordHeader, UNDEF_PRICE, flags, rtype};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Price step, in 1e-9.
pub const TICK: i64 = 10_000_000;
/// Best bid is one tick below, best ask one above, in ticks.
const MID: i64 = 100_000;
/// More than any order holds, so that a cancel takes all.
const ALL_OF_IT: u32 = 1 << 30;
/// 09:30 in New York on a Tuesday in January 2024.
const OPEN_NS: u64 = 1_704_810_600_000_000_000;
/// Between two events of a flow, ns.
const STEP_NS: u64 = 50_000;

/// Which instruments the events come in.
#[derive(Clone, Copy, PartialEq)]
pub enum Choice {
    /// Each as often.
    Even,
    /// The n-th busiest a share of 1/n, as in real markets.
    Zipf,
}

/// Which levels the orders of a side get, one after the other.
#[derive(Clone, Copy, PartialEq)]
pub enum Placing {
    /// The best level is filled first, then the next: the first orders lie near the best.
    BestFirst,
    /// The best, the next, ..., the best again: the first orders lie on all levels.
    AllLevels,
}

impl Spec {
    /// Level of the k-th order, 0 for the best. Even numbers are bids, odd ones asks.
    pub fn level(&self, k: usize) -> usize {
        match self.placing {
            Placing::BestFirst => k * self.levels / self.orders,
            Placing::AllLevels => k / 2 % self.levels,
        }
    }
}

/// What happens to orders.
#[derive(Clone, Copy, PartialEq)]
pub enum Mix {
    /// Adds and cancels 70 %, sizes changed 10 %, prices changed 10 %, trades (three records) 10 %.
    Usual,
    /// Adds and cancels alone.
    AddCancel,
}

/// Numbers of orders.
#[derive(Clone, Copy, PartialEq)]
pub enum Ids {
    /// One after the other.
    Rising,
    /// Any 64 bits.
    Random,
}

/// What to make.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Instruments.
    pub instruments: usize,
    /// Orders that rest in each at the start; up to an eighth of the active ones may be away at a time.
    pub orders: usize,
    /// Price levels of a side, at least 1.
    pub levels: usize,
    /// Where orders lie.
    pub placing: Placing,
    /// Only so many orders, the first in the order of their placing, ever change.
    pub active: usize,
    /// Which instruments.
    pub choice: Choice,
    /// What happens.
    pub mix: Mix,
    /// Numbers.
    pub ids: Ids,
    /// Events before the circle closes.
    pub events: usize,
}

/// Records ready to be played.
pub struct Flow {
    /// The instruments, with numbers in no order.
    pub instruments: Vec<Instrument>,
    /// A clear and the orders of each instrument.
    pub snapshot: Vec<MboMsg>,
    /// The circle.
    pub live: Vec<MboMsg>,
    /// Time that the circle spans, ns.
    pub span_ns: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    id: u64,
    level: u32,
    resting: bool,
}

/// The orders of one instrument.
struct Market {
    slots: Vec<Slot>,
    away: VecDeque<u32>,
}

struct Maker {
    spec: Spec,
    rng: Pcg64,
    markets: Vec<Market>,
    numbers: Vec<u32>,
    now_ns: u64,
    out: Vec<MboMsg>,
}

impl Flow {
    /// The same flow for the same plan.
    pub fn new(spec: Spec) -> Self {
        let mut maker = Maker::new(spec);
        let snapshot = maker.snapshot();
        maker.now_ns = OPEN_NS;
        let cumulated = weights(&spec);
        for _ in 0..spec.events {
            let draw = maker.rng.random_range(0.0..1.0);
            let at = cumulated.partition_point(|&sum| sum < draw);
            maker.event(at.min(spec.instruments - 1));
        }
        maker.close();
        let instrument =
            |&id: &u32| Instrument { id, publisher: None, symbol: format!("S{id}"), tick_size: TICK, size_unit: 1.0 };
        let instruments = maker.numbers.iter().map(instrument).collect();
        Self { instruments, snapshot, live: maker.out, span_ns: maker.now_ns - OPEN_NS + STEP_NS }
    }
}

fn shuffle<T>(list: &mut [T], rng: &mut Pcg64) {
    (1..list.len()).rev().for_each(|i| list.swap(i, rng.random_range(0..=i)));
}

/// Running sums of the instruments' shares.
fn weights(spec: &Spec) -> Vec<f64> {
    let share = |at: usize| if spec.choice == Choice::Even { 1.0 } else { 1.0 / (at + 1) as f64 };
    let total: f64 = (0..spec.instruments).map(share).sum();
    let running = |sum: &mut f64, at| {
        *sum += share(at) / total;
        Some(*sum)
    };
    (0..spec.instruments).scan(0.0, running).collect()
}

impl Maker {
    fn new(spec: Spec) -> Self {
        let mut rng = Pcg64::seed_from_u64(5);
        let mut numbers = BTreeSet::new();
        while numbers.len() < spec.instruments {
            numbers.insert(rng.random_range(1..u32::MAX));
        }
        let mut numbers: Vec<u32> = numbers.into_iter().collect();
        // In no order, or busy instruments would lie side by side.
        shuffle(&mut numbers, &mut rng);
        let mut id = 1_000_000;
        let mut slot = |k: usize| {
            id = if spec.ids == Ids::Random { rng.random_range(1..u64::MAX) } else { id + 1 };
            Slot { id, level: spec.level(k) as u32, resting: true }
        };
        let market = |_| Market { slots: (0..spec.orders).map(&mut slot).collect(), away: VecDeque::new() };
        let markets = (0..spec.instruments).map(market).collect();
        Self { spec, rng, markets, numbers, now_ns: OPEN_NS - 1_000_000_000, out: Vec::new() }
    }

    fn snapshot(&mut self) -> Vec<MboMsg> {
        let mark = flags::SNAPSHOT;
        for at in 0..self.spec.instruments {
            let clear = MboMsg { price: UNDEF_PRICE, order_id: 0, ..self.record(at, 0, b'R', 0, mark) };
            self.out.push(MboMsg { side: b'N', ..clear });
            let orders = self.spec.orders;
            for k in 0..orders {
                let last = if k + 1 == orders { flags::LAST } else { 0 };
                let size = self.rng.random_range(1..50);
                self.out.push(self.record(at, k, b'A', size, mark | last));
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Brings back who is away, instruments in no order: one after the other they would be in the caches.
    fn close(&mut self) {
        let away = self.markets.iter().enumerate();
        let mut order: Vec<usize> = away.flat_map(|(at, market)| vec![at; market.away.len()]).collect();
        shuffle(&mut order, &mut self.rng);
        for at in order {
            self.now_ns += STEP_NS;
            self.bring_back(at);
        }
    }

    fn event(&mut self, at: usize) {
        self.now_ns += STEP_NS;
        let draw: f64 = if self.spec.mix == Mix::AddCancel { 0.0 } else { self.rng.random_range(0.0..1.0) };
        let (busy, k) = self.pick(at);
        let room = self.markets[at].away.len() < (self.spec.active / 8).max(1);
        match draw {
            // As many come back as go, since trades take orders away too.
            d if d < 0.7 && (!room || self.rng.random_bool(if d == 0.0 { 0.5 } else { 0.57 })) => {
                if !self.bring_back(at) {
                    self.take_away(at, k);
                }
            }
            d if d < 0.7 || !busy => self.take_away(at, k),
            d if d < 0.8 => {
                let size = self.rng.random_range(1..50);
                self.out.push(self.record(at, k, b'M', size, flags::LAST));
            }
            d if d < 0.9 || !room => self.reprice(at, k),
            _ => self.trade(at, k),
        }
    }

    /// An order that may change, and whether it rests; in the books used here most do.
    fn pick(&mut self, at: usize) -> (bool, usize) {
        let mut k = 0;
        for _ in 0..16 {
            k = self.rng.random_range(0..self.spec.active);
            if self.markets[at].slots[k].resting {
                return (true, k);
            }
        }
        (false, k)
    }

    fn take_away(&mut self, at: usize, k: usize) {
        if self.markets[at].slots[k].resting {
            self.out.push(self.record(at, k, b'C', ALL_OF_IT, flags::LAST));
            self.gone(at, k);
        } else {
            self.bring_back(at);
        }
    }

    fn gone(&mut self, at: usize, k: usize) {
        self.markets[at].slots[k].resting = false;
        self.markets[at].away.push_back(k as u32);
    }

    /// The order that is away longest comes back where it stood; false when none is away.
    fn bring_back(&mut self, at: usize) -> bool {
        let Some(k) = self.markets[at].away.pop_front() else { return false };
        self.markets[at].slots[k as usize].resting = true;
        let size = self.rng.random_range(1..50);
        self.out.push(self.record(at, k as usize, b'A', size, flags::LAST));
        true
    }

    /// To the level of another order of its side.
    fn reprice(&mut self, at: usize, k: usize) {
        let other = (self.rng.random_range(0..self.spec.active) & !1 | k & 1).min(self.spec.active - 1);
        self.markets[at].slots[k].level = self.spec.level(other) as u32;
        let size = self.rng.random_range(1..50);
        self.out.push(self.record(at, k, b'M', size, flags::LAST));
    }

    fn trade(&mut self, at: usize, k: usize) {
        let fill = self.record(at, k, b'F', 5, 0);
        let aggressor = if fill.side == b'B' { b'A' } else { b'B' };
        self.out.push(MboMsg { action: b'T', side: aggressor, order_id: 0, ..fill });
        self.out.push(fill);
        self.out.push(self.record(at, k, b'C', ALL_OF_IT, flags::LAST));
        self.gone(at, k);
    }

    fn record(&self, at: usize, k: usize, action: u8, size: u32, flags: u8) -> MboMsg {
        let slot = self.markets[at].slots[k];
        let away = i64::from(slot.level) + 1;
        let (side, price) = if k.is_multiple_of(2) { (b'B', MID - away) } else { (b'A', MID + away) };
        MboMsg {
            hd: RecordHeader {
                length: (size_of::<MboMsg>() / 4) as u8,
                rtype: rtype::MBO,
                publisher_id: 0,
                instrument_id: self.numbers[at],
                ts_event: self.now_ns,
            },
            order_id: slot.id,
            price: price * TICK,
            size,
            flags,
            channel_id: 0,
            action,
            side,
            ts_recv: self.now_ns,
            ts_in_delta: 0,
            sequence: 0,
        }
    }
}
