use std::collections::{BTreeMap, HashMap};

use pillion_shm::records::{BidAskPair, UNDEF_PRICE, flags};
use proptest::prelude::*;

use super::*;

mod whole;

const ROOMY: Limits = Limits { max_orders: 64, max_levels: 32 };

fn tick(body: Body<'_>, flags: u8) -> Tick<'_> {
    Tick { instrument: 0, publisher: 0, ts_event: 1, sequence: 1, flags, body }
}

fn add(side: Side, order_id: u64, price: i64, size: u32) -> Body<'static> {
    Body::Add { side, order_id, price, size }
}

fn cancel(order_id: u64, size: u32) -> Body<'static> {
    Body::Cancel { side: Side::Bid, order_id, price: 0, size }
}

fn modify(side: Side, order_id: u64, price: i64, size: u32) -> Body<'static> {
    Body::Modify { side, order_id, price, size }
}

fn run(book: &mut Book, bodies: &[Body<'_>]) -> Vec<Applied> {
    bodies.iter().map(|&body| book.apply(&tick(body, 0))).collect()
}

/// The book as anyone would write it first: maps, and the sum of all orders taken anew each time.
struct Naive {
    orders: HashMap<u64, (Side, i64, u32)>,
    limits: Limits,
    degraded: bool,
}

impl Naive {
    fn levels(&self, side: Side) -> Vec<Level> {
        let mut levels: BTreeMap<i64, Level> = BTreeMap::new();
        for &(s, price, size) in self.orders.values().filter(|order| order.0 == side) {
            let level = levels.entry(if s == Side::Bid { price } else { -price }).or_default();
            *level = Level { price, size: level.size + u64::from(size), orders: level.orders + 1 };
        }
        levels.into_values().collect()
    }

    fn place(&mut self, id: u64, side: Side, price: i64, size: u32) -> bool {
        let levels = self.levels(side);
        let new_level = levels.iter().all(|level| level.price != price);
        let fits = self.orders.len() < self.limits.max_orders && !(new_level && levels.len() >= self.limits.max_levels);
        if fits {
            self.orders.insert(id, (side, price, size));
        }
        self.degraded |= !fits;
        fits
    }

    fn apply(&mut self, body: Body<'_>) -> Applied {
        let placed = |fits, ok| if fits { ok } else { Applied::Overflow };
        match body {
            Body::Add { side, order_id, price, size } => {
                let known = self.orders.remove(&order_id).is_some();
                let ok = if known { Applied::DuplicateAdd } else { Applied::Changed };
                placed(self.place(order_id, side, price, size), ok)
            }
            Body::Modify { side, order_id, price, size } => {
                let Some(&(s, p, old)) = self.orders.get(&order_id) else {
                    let unknown = Applied::UnknownModify;
                    return if size == 0 { unknown } else { placed(self.place(order_id, side, price, size), unknown) };
                };
                if (s, p, old) == (side, price, size) {
                    return Applied::Unchanged;
                }
                self.orders.remove(&order_id);
                if size == 0 {
                    Applied::Changed
                } else {
                    placed(self.place(order_id, side, price, size), Applied::Changed)
                }
            }
            Body::Cancel { order_id, size, .. } => match self.orders.get_mut(&order_id) {
                None => Applied::UnknownCancel,
                Some(_) if size == 0 => Applied::Unchanged,
                Some(order) => {
                    order.2 -= size.min(order.2);
                    if order.2 == 0 {
                        self.orders.remove(&order_id);
                    }
                    Applied::Changed
                }
            },
            Body::Clear => {
                let empty = self.orders.is_empty();
                self.orders.clear();
                self.degraded = false;
                if empty { Applied::Unchanged } else { Applied::Changed }
            }
            Body::Fill { order_id, .. } if !self.orders.contains_key(&order_id) => Applied::UnknownFill,
            _ => Applied::Unchanged,
        }
    }
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Bid), Just(Side::Ask)]
}

/// Few ids and prices, so that they meet; ids that share hash homes come with the small table.
fn any_body() -> impl Strategy<Value = Body<'static>> {
    let id = prop_oneof![0..24u64, any::<u64>()];
    (0..40u8, any_side(), id, -6..30i64, 0..9u32).prop_map(|(kind, side, order_id, price, size)| match kind {
        0..16 => Body::Add { side, order_id, price, size: size + 1 },
        16..27 => Body::Cancel { side, order_id, price, size },
        27..35 => Body::Modify { side, order_id, price, size },
        35..37 => Body::Fill { resting: side, order_id, price, size: size + 1 },
        37 => Body::Trade { aggressor: side, price, size: size + 1 },
        38 => Body::Nothing,
        _ => Body::Clear,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn equals_its_naive_twin(
        bodies in prop::collection::vec(any_body(), 1..400),
        max_orders in 1..40usize,
        max_levels in 1..24usize,
    ) {
        let limits = Limits { max_orders, max_levels };
        let mut book = Book::new(limits);
        let bytes = book.state_bytes();
        prop_assert_eq!(bytes, Book::bytes_for(limits));
        let mut naive = Naive { orders: HashMap::new(), limits, degraded: false };
        for body in bodies {
            prop_assert_eq!(book.apply(&tick(body, flags::LAST)), naive.apply(body), "{:?}", body);
            prop_assert_eq!(book.orders(), naive.orders.len());
            prop_assert_eq!(book.degraded(), naive.degraded);
            for side in Side::BOTH {
                let levels = naive.levels(side);
                prop_assert_eq!(book.top(side), &levels[..]);
                prop_assert_eq!(book.best(side), levels.last().copied());
                prop_assert_eq!(book.depth(side), levels.len());
                for i in 0..=levels.len() {
                    prop_assert_eq!(book.level(side, i), levels.iter().rev().nth(i).copied());
                }
            }
        }
        prop_assert_eq!(book.state_bytes(), bytes);
    }
}

#[test]
fn far_levels_are_found_by_the_binary_search() {
    let mut book = Book::new(Limits { max_orders: 200, max_levels: 100 });
    for i in 0..100 {
        book.apply(&tick(add(Side::Ask, i, 1_000 + i as i64, 1), 0));
    }
    assert_eq!(book.apply(&tick(cancel(99, 1), 0)), Applied::Changed);
    assert_eq!(book.apply(&tick(add(Side::Ask, 300, 1_050, 5), 0)), Applied::Changed);
    assert_eq!(book.level(Side::Ask, 50), Some(Level { price: 1_050, size: 6, orders: 2 }));
    assert_eq!((book.depth(Side::Ask), book.best(Side::Ask).unwrap().price), (99, 1_000));
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let mut book = Book::new(Limits { max_orders: 2, max_levels: 1 });
    let bodies = [add(Side::Bid, 1, 10, 5), add(Side::Bid, 2, 11, 5), cancel(2, 5), modify(Side::Bid, 1, 12, 4)];
    let outcomes = [Applied::Changed, Applied::Overflow, Applied::UnknownCancel, Applied::Changed];
    assert_eq!(run(&mut book, &bodies), outcomes);
    assert!(book.degraded());
    assert_eq!(book.top(Side::Bid), [Level { price: 12, size: 4, orders: 1 }]);
    run(&mut book, &[Body::Clear]);
    assert!(!book.degraded());
    assert_eq!((book.orders(), book.depth(Side::Bid)), (0, 0));
}

#[test]
fn events_restart_after_their_last_tick() {
    let mut book = Book::new(ROOMY);
    book.apply(&tick(add(Side::Bid, 1, 10, 5), 0));
    book.apply(&tick(add(Side::Ask, 2, 12, 7), flags::LAST));
    assert_eq!((book.event().ticks, book.event().added), (2, [Flow { count: 1, size: 5 }, Flow { count: 1, size: 7 }]));
    book.apply(&tick(Body::Status { trading: Some(false) }, 0));
    assert_eq!(book.event().ticks, 2, "a status record is part of no event");
    assert!(!book.trading());
    book.apply(&tick(Body::Nothing, flags::LAST | flags::SNAPSHOT));
    assert_eq!(*book.event(), Event { ticks: 1, snapshot: true, ..Event::default() });
}

#[test]
fn what_a_fill_took_is_not_cancelled_again() {
    let mut book = Book::new(ROOMY);
    let trade = Body::Trade { aggressor: Side::Bid, price: 12, size: 8 };
    let fill = |order_id, size| Body::Fill { resting: Side::Ask, order_id, price: 12, size };
    run(&mut book, &[add(Side::Ask, 1, 12, 5), add(Side::Ask, 2, 12, 7)]);
    book.apply(&tick(Body::Nothing, flags::LAST));
    run(&mut book, &[trade, fill(1, 5), fill(2, 3), cancel(1, 5)]);
    book.apply(&tick(modify(Side::Ask, 2, 12, 4), flags::LAST));
    let event = *book.event();
    assert_eq!(event.filled, [Flow::default(), Flow { count: 2, size: 8 }]);
    assert_eq!((event.cancelled, event.modified, event.added), Default::default());
    assert_eq!((event.trades, event.buy_volume, event.sell_volume, event.volume, event.notional), (1, 8, 0, 8, 96));
    assert_eq!(book.best(Side::Ask), Some(Level { price: 12, size: 4, orders: 1 }));
    // The same cancel in an event of its own is one.
    book.apply(&tick(cancel(2, 4), flags::LAST));
    assert_eq!(book.event().cancelled[Side::Ask as usize], Flow { count: 1, size: 4 });
}

#[test]
fn a_cancel_beyond_its_fill_counts_the_rest() {
    let mut book = Book::new(ROOMY);
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::LAST));
    run(&mut book, &[Body::Fill { resting: Side::Bid, order_id: 1, price: 10, size: 2 }, cancel(1, 9)]);
    assert_eq!(book.event().cancelled[Side::Bid as usize], Flow { count: 1, size: 7 });
    // A fill that no cancel followed is forgotten at its event's end.
    let mut book = Book::new(ROOMY);
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::LAST));
    book.apply(&tick(Body::Fill { resting: Side::Bid, order_id: 1, price: 10, size: 2 }, flags::LAST));
    book.apply(&tick(cancel(1, 9), flags::LAST));
    assert_eq!(book.event().cancelled[Side::Bid as usize], Flow { count: 1, size: 9 });
}

#[test]
fn suspicion_ends_at_a_clear_or_a_whole_snapshot() {
    let mut book = Book::new(ROOMY);
    run(&mut book, &[add(Side::Bid, 1, 10, 9)]);
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(add(Side::Bid, 2, 10, 9), flags::LAST));
    assert!(book.suspect());
    book.apply(&tick(Body::Clear, flags::LAST));
    assert!(!book.suspect(), "a clear is the whole truth");

    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(add(Side::Bid, 3, 10, 9), flags::SNAPSHOT | flags::LAST));
    assert!(book.suspect(), "a snapshot that lost its beginning is not whole");
    book.apply(&tick(Body::Clear, flags::SNAPSHOT));
    book.apply(&tick(add(Side::Bid, 4, 10, 9), flags::SNAPSHOT));
    assert!(book.suspect(), "a snapshot is not whole before its end");
    book.apply(&tick(add(Side::Bid, 5, 10, 9), flags::SNAPSHOT | flags::LAST));
    assert!(!book.suspect());

    book.apply(&tick(Body::Clear, flags::SNAPSHOT));
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(add(Side::Bid, 6, 10, 9), flags::SNAPSHOT | flags::LAST));
    assert!(book.suspect(), "a gap inside a snapshot spoils it");
    book.apply(&tick(Body::Clear, 0));
    book.apply(&tick(Body::Nothing, flags::MAYBE_BAD_BOOK));
    assert!(book.suspect(), "the venue's own gap counts too");
}

/// A recording that begins in the middle of a day begins with a snapshot, some of them without a clear or a last record.
#[test]
fn a_feed_may_begin_with_a_snapshot() {
    let waiting = || {
        let mut book = Book::new(ROOMY);
        book.await_beginning(NotWhole::Unseen);
        assert!(book.suspect());
        book
    };
    let mut book = waiting();
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::SNAPSHOT));
    book.apply(&tick(add(Side::Ask, 2, 12, 9), flags::SNAPSHOT));
    assert!(book.suspect(), "not before its end");
    book.apply(&tick(add(Side::Bid, 3, 10, 9), 0));
    assert!(!book.suspect(), "a live record: the snapshot is over");

    let mut book = waiting();
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::LAST));
    assert!(book.suspect(), "orders before the feed's first record were never seen");
    book.apply(&tick(add(Side::Bid, 2, 10, 9), flags::SNAPSHOT));
    book.apply(&tick(add(Side::Bid, 3, 10, 9), flags::LAST));
    assert!(!book.suspect(), "a snapshot behind it has them all");
    assert_eq!(book.orders(), 2, "and nothing else: it replaced what was there");

    let mut book = waiting();
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::SNAPSHOT));
    book.apply(&tick(add(Side::Bid, 2, 10, 9), flags::LAST));
    assert!(book.suspect(), "the beginning was lost");

    let mut book = waiting();
    book.apply(&tick(add(Side::Bid, 1, 10, 9), flags::SNAPSHOT));
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(add(Side::Bid, 2, 10, 9), flags::LAST));
    assert!(book.suspect(), "lost in the middle");
}

fn pair(bid_px: i64, ask_px: i64) -> BidAskPair {
    BidAskPair { bid_px, ask_px, bid_sz: 3, ask_sz: 4, bid_ct: 1, ask_ct: 2 }
}

fn quotes(levels: &[BidAskPair], action: u8, side: Side) -> Body<'_> {
    Body::Quotes { levels, action, side, price: 10, size: 6 }
}

#[test]
fn quotes_set_the_levels() {
    let mut book = Book::new(Limits { max_orders: 1, max_levels: 1 });
    let levels: Vec<BidAskPair> = (0..10).map(|i| pair(100 - i, 101 + i)).collect();
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(quotes(&levels, b'A', Side::Bid), flags::LAST));
    assert!(!book.suspect() && !book.is_order_book() && !book.degraded());
    assert_eq!((book.depth(Side::Bid), book.depth(Side::Ask)), (10, 10));
    assert_eq!(book.best(Side::Bid), Some(Level { price: 100, size: 3, orders: 1 }));
    assert_eq!(book.level(Side::Ask, 9), Some(Level { price: 110, size: 4, orders: 2 }));
    assert_eq!(book.event().added[0], Flow { count: 1, size: 6 });

    book.apply(&tick(quotes(&[pair(99, UNDEF_PRICE)], b'T', Side::Ask), flags::LAST));
    assert_eq!((book.depth(Side::Bid), book.depth(Side::Ask)), (1, 0));
    assert_eq!((book.event().trades, book.event().sell_volume, book.event().notional), (1, 6, 60));

    book.apply(&tick(quotes(&levels, b'A', Side::Bid), flags::LAST | flags::MAYBE_BAD_BOOK));
    assert!(book.suspect(), "levels in doubt mend nothing");
    book.apply(&tick(quotes(&[pair(99, UNDEF_PRICE)], b'N', Side::None), flags::LAST));
    assert!(!book.suspect());

    // The trades schema: no levels, no say about the book.
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(quotes(&[], b'T', Side::None), flags::LAST));
    assert!(book.suspect(), "a trade says nothing of the levels");
    assert_eq!((book.depth(Side::Bid), book.event().volume, book.event().buy_volume), (1, 6, 0));

    // Orders take over from quotes.
    book.apply(&tick(add(Side::Ask, 1, 50, 1), flags::LAST));
    assert!(book.is_order_book());
    assert_eq!((book.depth(Side::Bid), book.best(Side::Ask).unwrap().price), (0, 50));
    assert!(book.suspect(), "orders after quotes, without a clear, are some of a book");
    book.apply(&tick(Body::Clear, flags::LAST));
    assert!(!book.suspect());
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(quotes(&[], b'T', Side::None), flags::LAST));
    assert!(book.suspect(), "a trade does not mend an order book");
}

#[test]
fn trades_alone_end_their_own_gap_and_no_other() {
    let mut book = Book::new(ROOMY);
    book.mark_suspect(NotWhole::Gap);
    book.apply(&tick(quotes(&[], b'T', Side::None), flags::LAST));
    assert!(!book.suspect(), "a feed of trades has no book to rebuild");
    book.apply(&tick(add(Side::Ask, 1, 50, 1), flags::LAST));
    assert!(book.suspect(), "the orders before were never seen");
}

#[test]
fn sides_of_none_are_empty() {
    let book = Book::new(ROOMY);
    assert_eq!((book.best(Side::None), book.level(Side::None, 0), book.depth(Side::None)), (None, None, 0));
}

#[test]
fn outcomes_count_under_their_own_index() {
    for (i, outcome) in Applied::ALL.iter().enumerate() {
        assert_eq!(outcome.index(), i);
    }
}
