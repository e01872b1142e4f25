//! When a book is whole: against a venue that knows its own book, and case by case.

use std::collections::BTreeMap;

use super::*;

const S: u8 = flags::SNAPSHOT;
const L: u8 = flags::LAST;

/// A venue's resting orders by id: the truth.
type Truth = BTreeMap<u64, (Side, i64, u32)>;

fn levels_of(truth: &Truth, side: Side) -> Vec<Level> {
    let mut levels: BTreeMap<i64, Level> = BTreeMap::new();
    for &(s, price, size) in truth.values().filter(|order| order.0 == side) {
        let level = levels.entry(if s == Side::Bid { price } else { -price }).or_default();
        *level = Level { price, size: level.size + u64::from(size), orders: level.orders + 1 };
    }
    levels.into_values().collect()
}

/// What a feed does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An order comes or goes.
    Live(u64, Side, i64),
    /// The same, and the feed doubts its book.
    Doubt(u64, Side, i64),
    /// The whole book, with a clear or without.
    Snapshot { clear: bool },
    /// A clear at once, after which the book is empty.
    Clear,
    /// The next so many records are lost.
    Lose(usize),
    /// Another feed, which may begin with a snapshot.
    Restart { snapshot: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    let live = || (0..12u64, any_side(), 0..6i64);
    prop_oneof![
        12 => live().prop_map(|(id, side, price)| Step::Live(id, side, price)),
        1 => live().prop_map(|(id, side, price)| Step::Doubt(id, side, price)),
        4 => any::<bool>().prop_map(|clear| Step::Snapshot { clear }),
        1 => Just(Step::Clear),
        3 => (1..9usize).prop_map(Step::Lose),
        1 => any::<bool>().prop_map(|snapshot| Step::Restart { snapshot }),
    ]
}

/// A feed, its lossy line, and the book at the end of it.
struct Line {
    truth: Truth,
    marks_ends: bool,
    book: Book,
    lose: usize,
    lost: bool,
    claims: usize,
}

impl Line {
    fn send(&mut self, body: Body<'_>, flags: u8) {
        if self.lose > 0 {
            self.lose -= 1;
            self.lost = true;
            return;
        }
        if std::mem::take(&mut self.lost) {
            self.book.mark_suspect(NotWhole::Gap);
        }
        self.book.apply(&tick(body, flags));
        // Whoever claims to be whole holds what the venue holds, to the last order.
        if self.book.not_whole().is_none() {
            self.claims += 1;
            assert_eq!(self.book.orders(), self.truth.len());
            for side in Side::BOTH {
                assert_eq!(self.book.top(side), levels_of(&self.truth, side));
            }
        }
    }

    fn live(&mut self, id: u64, side: Side, price: i64, flags: u8) {
        match self.truth.remove(&id) {
            Some((side, price, size)) => {
                self.send(Body::Cancel { side, order_id: id, price, size }, flags);
            }
            None => {
                self.truth.insert(id, (side, price, 5));
                self.send(add(side, id, price, 5), flags);
            }
        }
    }

    fn snapshot(&mut self, clear: bool) {
        let orders: Vec<_> = self.truth.iter().map(|(id, order)| (*id, *order)).collect();
        let last = |at: usize| if self.marks_ends && at == orders.len() { S | L } else { S };
        let sent: Vec<_> = orders.iter().zip(1..).map(|(order, at)| (*order, last(at))).collect();
        let alone = last(0);
        if clear {
            self.send(Body::Clear, alone);
        }
        for ((id, (side, price, size)), flags) in sent {
            self.send(add(side, id, price, size), flags);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Live(id, side, price) => self.live(id, side, price, L),
            Step::Doubt(id, side, price) => self.live(id, side, price, L | flags::MAYBE_BAD_BOOK),
            Step::Snapshot { clear } => self.snapshot(clear),
            Step::Clear => {
                self.truth.clear();
                self.send(Body::Clear, L);
            }
            Step::Lose(records) => self.lose = records,
            Step::Restart { snapshot } => {
                (self.lose, self.lost) = (0, false);
                self.book.await_beginning(NotWhole::FeedRestart);
                if snapshot {
                    self.snapshot(false);
                }
            }
        }
    }
}

fn line(marks_ends: bool) -> Line {
    let mut book = Book::new(ROOMY);
    book.await_beginning(NotWhole::Unseen);
    Line { truth: Truth::new(), marks_ends, book, lose: 0, lost: false, claims: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A feed whose snapshots stand together, with clears or without, their ends marked or not, records lost anywhere: a book
    /// that says it is whole is; and after one more snapshot behind a live record it says so.
    #[test]
    fn a_book_is_never_called_whole_that_is_not(
        marks_ends in any::<bool>(),
        clear in any::<bool>(),
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut line = line(marks_ends);
        steps.into_iter().for_each(|step| line.step(step));
        (line.lose, line.lost) = (0, std::mem::take(&mut line.lost));
        // Two orders at least, and one live record, so that the snapshot is one.
        (100..103).for_each(|id| line.live(id, Side::Bid, 1, L));
        line.snapshot(clear);
        line.live(103, Side::Ask, 9, L);
        prop_assert_eq!(line.book.not_whole(), None);
    }
}

/// The same feeds, without a property: enough claims are made for the property to mean something.
#[test]
fn claims_are_made() {
    for marks_ends in [false, true] {
        let mut line = line(marks_ends);
        for round in 0..50 {
            for id in 0..8 {
                line.step(Step::Live(id + round % 3, Side::Bid, id as i64));
            }
            line.step(Step::Snapshot { clear: round % 2 == 0 });
            line.step(Step::Lose(if round % 4 == 3 { 3 } else { 0 }));
        }
        assert!(line.claims > 200, "{} claims", line.claims);
    }
}

/// Applies ticks and says whether the book is whole after each.
fn whole_after(book: &mut Book, ticks: &[(Body<'static>, u8)]) -> Vec<Option<NotWhole>> {
    let one = |(body, flags): &(Body<'static>, u8)| {
        book.apply(&tick(*body, *flags));
        book.not_whole()
    };
    ticks.iter().map(one).collect()
}

fn order(id: u64) -> Body<'static> {
    add(Side::Bid, id, 10 + id as i64, 1)
}

fn lost() -> Book {
    let mut book = Book::new(ROOMY);
    whole_after(&mut book, &[(Body::Clear, L), (order(1), L), (order(2), L)]);
    book.mark_suspect(NotWhole::Gap);
    book
}

#[test]
fn a_snapshot_in_mid_stream_replaces_the_book() {
    let (gap, under_way) = (Some(NotWhole::Gap), Some(NotWhole::Snapshot));
    // With a clear and a marked end.
    let mut book = lost();
    let whole = whole_after(&mut book, &[(Body::Clear, S), (order(7), S), (order(8), S | L), (order(9), L)]);
    assert_eq!((whole, book.orders()), (vec![gap, gap, None, None], 3));
    // Without either: a live record shows where it begins, and one where it ends.
    let mut book = lost();
    let whole = whole_after(&mut book, &[(order(3), L), (order(7), S), (order(8), S), (order(9), L)]);
    assert_eq!((whole, book.orders()), (vec![gap, gap, gap, None], 3));
    // Of a whole book it is a refresh: what was there is gone, even an order that the snapshot does not have.
    let whole = whole_after(&mut book, &[(order(7), S), (order(11), S), (order(12), L)]);
    assert_eq!((whole, book.orders()), (vec![under_way, under_way, None], 3));
    assert_eq!(book.level(Side::Bid, 0).map(|level| level.price), Some(22));
}

#[test]
fn half_a_snapshot_mends_nothing() {
    let gap = Some(NotWhole::Gap);
    // Its beginning is lost, its end is not; marked or not.
    let mut book = lost();
    assert_eq!(whole_after(&mut book, &[(order(7), S), (order(8), S | L), (order(9), L)]), vec![gap; 3]);
    let mut book = lost();
    assert_eq!(whole_after(&mut book, &[(order(7), S), (order(8), S), (order(9), L)]), vec![gap; 3]);
    // A gap tears it, with a clear or without.
    for first in [Body::Clear, order(6)] {
        let mut book = lost();
        whole_after(&mut book, &[(order(5), L), (first, S), (order(7), S)]);
        book.mark_suspect(NotWhole::Gap);
        assert_eq!(whole_after(&mut book, &[(order(8), S), (order(9), S | L), (order(10), L)]), vec![gap; 3]);
        // The next whole one mends it.
        assert_eq!(whole_after(&mut book, &[(order(7), S), (order(8), S | L)]), [gap, None]);
    }
    // A doubt tears it.
    let mut book = lost();
    let said = Some(NotWhole::FeedSaid);
    let doubt = flags::MAYBE_BAD_BOOK;
    let whole = whole_after(&mut book, &[(Body::Clear, S), (order(7), S | doubt), (order(8), S | L), (order(9), L)]);
    assert_eq!(whole, [gap, said, said, said]);
}

/// Behind half of a snapshot another may follow at once: it begins with a record that is not its last. A feed that flags every
/// record as the last has snapshots that cannot be told from halves, unless they begin with a clear.
#[test]
fn a_snapshot_may_follow_the_half_of_another() {
    let gap = Some(NotWhole::Gap);
    let mut book = lost();
    whole_after(&mut book, &[(order(7), S), (order(8), S | L)]);
    assert_eq!(whole_after(&mut book, &[(order(7), S), (order(8), S), (order(9), S | L)]), [gap, gap, None]);
    assert_eq!(book.orders(), 3);
    let mut book = lost();
    assert_eq!(whole_after(&mut book, &[(order(7), S | L), (order(8), S | L), (order(9), S | L)]), vec![gap; 3]);
    let whole = whole_after(&mut book, &[(Body::Clear, S), (order(7), S | L), (order(8), S | L)]);
    assert_eq!((whole, book.orders()), (vec![gap, None, None], 2), "its records add up");
}

/// Nothing but the first live record ends a snapshot whose end is not marked. Where ends are marked, a live record in its
/// middle is seen: at once, or at the marked end of the rest.
#[test]
fn a_live_record_in_the_middle_tears_a_snapshot() {
    let torn = Some(NotWhole::TornSnapshot);
    let mut book = lost();
    whole_after(&mut book, &[(Body::Clear, S), (order(1), S | L), (order(2), L)]);
    // Its ends are marked, so this is no end.
    let whole = whole_after(&mut book, &[(Body::Clear, S), (order(3), S), (order(4), L), (order(5), S)]);
    assert_eq!(whole[2..], [torn, torn]);
    assert_eq!(whole_after(&mut book, &[(order(6), S | L), (order(7), L)]), [torn, torn], "nor is the rest a snapshot");
    assert_eq!(whole_after(&mut book, &[(order(1), S), (order(2), S | L)]), [torn, None], "the next one is");
    // Ends were not marked so far: the rest shows that this one's was not there yet.
    let mut book = Book::new(ROOMY);
    book.await_beginning(NotWhole::Unseen);
    let unseen = Some(NotWhole::Unseen);
    let whole =
        whole_after(&mut book, &[(order(1), S), (order(2), S), (order(3), L), (order(4), S), (order(5), S | L)]);
    assert_eq!((whole[1], whole[2], whole[4]), (unseen, None, torn));
    // A clear at its beginning leaves no doubt.
    assert_eq!(whole_after(&mut book, &[(Body::Clear, S), (order(1), S), (order(2), S | L)]), [torn, torn, None]);
}

#[test]
fn the_latest_cause_is_the_reason_and_what_overflowed_comes_last() {
    let mut book = Book::new(Limits { max_orders: 2, max_levels: 1 });
    assert_eq!(book.not_whole(), None);
    whole_after(&mut book, &[(add(Side::Bid, 1, 10, 1), L), (add(Side::Bid, 2, 11, 1), L)]);
    assert_eq!(book.not_whole(), Some(NotWhole::LevelsOverflow));
    whole_after(&mut book, &[(add(Side::Bid, 3, 10, 1), L), (add(Side::Bid, 4, 10, 1), L)]);
    assert_eq!(book.not_whole(), Some(NotWhole::OrdersOverflow));
    book.mark_suspect(NotWhole::Gap);
    book.mark_suspect(NotWhole::CorruptRing);
    assert_eq!(book.not_whole(), Some(NotWhole::CorruptRing));
    book.await_beginning(NotWhole::FeedRestart);
    assert_eq!(book.not_whole(), Some(NotWhole::FeedRestart));
    whole_after(&mut book, &[(Body::Nothing, L | flags::MAYBE_BAD_BOOK)]);
    assert_eq!(book.not_whole(), Some(NotWhole::FeedSaid));
    // The snapshot replaces what overflowed, too.
    assert_eq!(whole_after(&mut book, &[(add(Side::Bid, 1, 10, 1), S), (Body::Nothing, L)])[1], None);
    book.apply(&tick(quotes(&[pair(10, 12)], b'N', Side::None), L));
    whole_after(&mut book, &[(add(Side::Bid, 1, 10, 1), L)]);
    assert_eq!(book.not_whole(), Some(NotWhole::OtherSchema));
}

/// Quotes stand for themselves, flagged as a snapshot or not, and so do trades where there is nothing else.
#[test]
fn quotes_and_trades_need_no_snapshot() {
    for snapshot in [0, S] {
        let mut book = Book::new(ROOMY);
        book.await_beginning(NotWhole::Unseen);
        book.apply(&tick(quotes(&[pair(10, 12)], b'A', Side::Bid), L | snapshot));
        assert_eq!(book.not_whole(), None);
        for why in [NotWhole::Gap, NotWhole::CorruptRing] {
            book.mark_suspect(why);
            assert_eq!(book.not_whole(), Some(why));
            book.apply(&tick(quotes(&[pair(10, 12)], b'A', Side::Bid), L | snapshot));
            assert_eq!(book.not_whole(), None);
        }
        book.await_beginning(NotWhole::FeedRestart);
        book.apply(&tick(quotes(&[], b'T', Side::Bid), L));
        assert_eq!(book.not_whole(), Some(NotWhole::FeedRestart), "a trade beside quotes mends no book");
        book.apply(&tick(quotes(&[pair(10, 12)], b'A', Side::Bid), L));
        assert_eq!(book.not_whole(), None);
    }
    // A trade of a schema of its own neither begins nor ends a snapshot of orders.
    let mut book = lost();
    whole_after(&mut book, &[(order(3), L), (order(7), S)]);
    book.apply(&tick(quotes(&[], b'T', Side::Bid), L));
    assert_eq!(book.not_whole(), Some(NotWhole::Gap));
    assert_eq!(whole_after(&mut book, &[(order(8), S | L)]), [None]);
    assert_eq!(book.orders(), 2);
}

#[test]
fn reasons_count_under_their_own_index() {
    for (i, why) in NotWhole::ALL.iter().enumerate() {
        assert_eq!(why.index(), i);
    }
}

/// Notes and trades of a snapshot are none by themselves: a book is not emptied by them, and not mended.
#[test]
fn only_orders_and_clears_begin_a_snapshot() {
    let gap = Some(NotWhole::Gap);
    let trade = Body::Trade { aggressor: Side::Bid, price: 10, size: 1 };
    let mut book = lost();
    assert_eq!(
        whole_after(&mut book, &[(order(3), L), (Body::Nothing, S | L), (trade, S | L), (order(4), L)]),
        vec![gap; 4]
    );
    assert_eq!(book.orders(), 4);
    // Before the first order they change nothing.
    assert_eq!(whole_after(&mut book, &[(trade, S), (order(7), S), (trade, S), (order(8), S | L)])[3], None);
    assert_eq!(book.orders(), 2);
}
