//! One instrument's order flow: a zero-intelligence book (Smith, Farmer, Gillemot, Krishnamurthy, 2003) whose takers lean
//! on the queue imbalance and on the trade before, so that there is something to predict.

use std::collections::{BTreeMap, VecDeque};

use pillion_shm::records::UNDEF_PRICE;

use super::TICK_SIZE;
use super::random::Random;

/// One record to be: DBN's bytes for action and side, price in 1e-9.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub action: u8,
    pub side: u8,
    pub order_id: u64,
    pub price: i64,
    pub size: u32,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    id: u64,
    size: u32,
}

/// Levels of each side at the open, and fewest that are left standing.
const OPENING_LEVELS: i64 = 20;
const FEWEST_LEVELS: usize = 8;
/// Orders per side that the flow reverts to.
const USUAL_ORDERS: usize = 120;

const BID: usize = 0;
const ASK: usize = 1;

pub(super) struct Market {
    /// Queues by rank, best first: minus the price in ticks for bids, the price for asks.
    sides: [BTreeMap<i64, VecDeque<Order>>; 2],
    orders: [usize; 2],
    opening_price: i64,
    last_taker: usize,
}

fn byte(side: usize) -> u8 {
    [b'B', b'A'][side]
}

fn rank(side: usize, price: i64) -> i64 {
    if side == BID { -price } else { price }
}

impl Market {
    pub fn new(random: &mut Random) -> Self {
        let opening_price = 2_000 + random.below(30_000) as i64;
        Self { sides: Default::default(), orders: [0; 2], opening_price, last_taker: BID }
    }

    /// The snapshot: a clear, then every order that rests.
    pub fn open(&mut self, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        out.push(Report { action: b'R', side: b'N', order_id: 0, price: UNDEF_PRICE, size: 0 });
        for side in [BID, ASK] {
            for i in 0..OPENING_LEVELS {
                let away = if side == BID { -1 - i } else { 1 + i };
                for _ in 0..=random.below(8) {
                    self.add(side, self.opening_price + away, random, next_order, out);
                }
            }
        }
    }

    /// One event.
    pub fn turn(&mut self, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        let side = random.below(2) as usize;
        if self.sides[side].len() < FEWEST_LEVELS {
            return self.deepen(side, random, next_order, out);
        }
        // Cancels grow with what there is to cancel: the queue lengths revert.
        let crowding = self.orders[side] as f64 / USUAL_ORDERS as f64;
        let draw = random.unit() * (0.54 + 0.36 * crowding + 0.10);
        if draw < 0.46 {
            self.add_somewhere(side, random, next_order, out);
        } else if draw < 0.54 {
            self.take(random, out);
        } else if draw < 0.64 {
            self.modify(side, random, next_order, out);
        } else {
            self.cancel(side, random, out);
        }
    }

    fn best(&self, side: usize) -> Option<i64> {
        self.sides[side].first_key_value().map(|(&r, _)| if side == BID { -r } else { r })
    }

    fn add(&mut self, side: usize, price: i64, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        let size = 1 + random.geometric(0.2, 30) as u32 + if random.chance(0.1) { 20 } else { 0 };
        let order = Order { id: *next_order, size };
        *next_order += 1;
        self.sides[side].entry(rank(side, price)).or_default().push_back(order);
        self.orders[side] += 1;
        out.push(report(b'A', side, order.id, price, size));
    }

    /// A limit order near the best, inside the spread at times, never across it.
    fn add_somewhere(&mut self, side: usize, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        let price = self.limit_price(side, random);
        self.add(side, price, random, next_order, out);
    }

    fn limit_price(&self, side: usize, random: &mut Random) -> i64 {
        let inward = if side == BID { 1 } else { -1 };
        let best = self.best(side).unwrap_or(self.opening_price - inward);
        let gap = self.best(1 - side).map_or(1, |other| (other - best).abs());
        // A wide spread draws orders into it; 1 tick cannot be improved.
        let price = if gap > 1 && random.chance(1.0 - 1.0 / gap as f64) {
            best + inward * (1 + random.below(gap as u64 - 1) as i64)
        } else {
            best - inward * random.geometric(0.3, OPENING_LEVELS as u64) as i64
        };
        // Only bids can sink that far, and below an ask of at least 2 they cross nothing.
        price.max(1)
    }

    /// A level beyond the worst.
    fn deepen(&mut self, side: usize, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        let outward = if side == BID { -1 } else { 1 };
        let worst = self.sides[side].last_key_value().map(|(&r, _)| if side == BID { -r } else { r });
        let near = self.best(1 - side).unwrap_or(self.opening_price);
        let price = worst.unwrap_or(near) + outward;
        if price < 1 {
            return self.add_somewhere(side, random, next_order, out);
        }
        self.add(side, price, random, next_order, out);
    }

    /// A resting order, more likely near the best: its rank and place in the queue.
    fn pick(&self, side: usize, random: &mut Random) -> Option<(i64, usize)> {
        let depth = self.sides[side].len() as u64;
        let level = random.geometric(0.25, depth.checked_sub(1)?) as usize;
        let (&rank, queue) = self.sides[side].iter().nth(level)?;
        Some((rank, random.below(queue.len() as u64) as usize))
    }

    fn cancel(&mut self, side: usize, random: &mut Random, out: &mut Vec<Report>) {
        let Some((rank, place)) = self.pick(side, random) else { return };
        let Some(queue) = self.sides[side].get_mut(&rank) else { return };
        let order = &mut queue[place];
        let whole = order.size == 1 || random.chance(0.85);
        let taken = if whole { order.size } else { 1 + random.below(u64::from(order.size) - 1) as u32 };
        order.size -= taken;
        out.push(report(b'C', side, order.id, rank.abs(), taken));
        if whole {
            self.remove(side, rank, place);
        }
    }

    /// A new size in place, or a new price at the back of another queue.
    fn modify(&mut self, side: usize, random: &mut Random, next_order: &mut u64, out: &mut Vec<Report>) {
        let Some((old, place)) = self.pick(side, random) else {
            return self.add_somewhere(side, random, next_order, out);
        };
        let size = 1 + random.geometric(0.2, 30) as u32;
        let Some(queue) = self.sides[side].get_mut(&old) else { return };
        let id = queue[place].id;
        if random.chance(0.5) {
            queue[place].size = size;
            out.push(report(b'M', side, id, old.abs(), size));
            return;
        }
        self.remove(side, old, place);
        let price = self.limit_price(side, random);
        self.sides[side].entry(rank(side, price)).or_default().push_back(Order { id, size });
        self.orders[side] += 1;
        out.push(report(b'M', side, id, price, size));
    }

    fn remove(&mut self, side: usize, rank: i64, place: usize) {
        let Some(queue) = self.sides[side].get_mut(&rank) else { return };
        queue.remove(place);
        self.orders[side] -= 1;
        if queue.is_empty() {
            self.sides[side].remove(&rank);
        }
    }

    /// A market order: trades and fills level by level, then what they leave of the resting orders.
    fn take(&mut self, random: &mut Random, out: &mut Vec<Report>) {
        let taker = self.taker(random);
        self.last_taker = taker;
        let maker = 1 - taker;
        let mut left = 1 + random.geometric(0.08, 200) as u32;
        let mut after = Vec::new();
        while left > 0 && self.sides[maker].len() > FEWEST_LEVELS / 2 {
            let Some(mut level) = self.sides[maker].first_entry() else { break };
            let price = level.key().abs();
            let there: u32 = level.get().iter().map(|order| order.size).sum();
            let traded = left.min(there);
            left -= traded;
            out.push(report(b'T', taker, 0, price, traded));
            self.orders[maker] -= fill(level.get_mut(), traded, maker, price, out, &mut after);
            if level.get().is_empty() {
                level.remove();
            }
        }
        if out.is_empty() {
            out.push(Report { action: b'N', side: b'N', order_id: 0, price: UNDEF_PRICE, size: 0 });
        }
        out.append(&mut after);
    }

    /// Buyers come when the bid queue is the longer one, and after buyers.
    fn taker(&self, random: &mut Random) -> usize {
        let queue = |side: usize| {
            self.sides[side].first_key_value().map_or(0, |(_, q)| q.iter().map(|o| u64::from(o.size)).sum::<u64>())
                as f64
        };
        let (bid, ask) = (queue(BID), queue(ASK));
        let imbalance = if bid + ask > 0.0 { (bid - ask) / (bid + ask) } else { 0.0 };
        let habit = if self.last_taker == BID { 0.15 } else { -0.15 };
        if random.chance(0.5 + 0.25 * imbalance + habit) { BID } else { ASK }
    }
}

/// Takes `traded` from the front of a queue that holds as much. Returns how many orders are done.
fn fill(
    queue: &mut VecDeque<Order>,
    mut traded: u32,
    side: usize,
    price: i64,
    out: &mut Vec<Report>,
    after: &mut Vec<Report>,
) -> usize {
    let mut done = 0;
    while traded > 0 {
        let Some(front) = queue.front_mut() else { break };
        let part = traded.min(front.size);
        traded -= part;
        out.push(report(b'F', side, front.id, price, part));
        front.size -= part;
        if front.size > 0 {
            after.push(report(b'M', side, front.id, price, front.size));
        } else {
            after.push(report(b'C', side, front.id, price, part));
            queue.pop_front();
            done += 1;
        }
    }
    done
}

fn report(action: u8, side: usize, order_id: u64, price_ticks: i64, size: u32) -> Report {
    Report { action, side: byte(side), order_id, price: price_ticks * TICK_SIZE, size }
}
