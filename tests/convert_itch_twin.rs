//! Random ITCH days: a naive book agrees with Pillion's after each message, and no spoiled byte loses a later good frame.

mod itch_support;

use std::collections::{BTreeMap, HashMap};

use itch_support::*;
use pillion::data::itch::Options;
use pillion::hot::book::{Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};
use proptest::prelude::*;

/// Orders by number: side, price in 0.0001, shares.
#[derive(Default)]
struct Twin(HashMap<u64, (u8, u32, u32)>);

#[derive(Clone, Debug)]
enum Step {
    Add(bool, u32, u32),
    Execute(usize, u32),
    ExecuteAt(usize, u32, bool),
    Reduce(usize, u32),
    Delete(usize),
    Replace(usize, u32, u32),
    Hidden,
}

fn step() -> impl Strategy<Value = Step> {
    let (at, shares, price) = (0usize..64, 1u32..50, 1u32..20);
    prop_oneof![
        4 => (any::<bool>(), shares.clone(), price.clone()).prop_map(|(b, s, p)| Step::Add(b, s, p)),
        2 => (at.clone(), shares.clone()).prop_map(|(a, s)| Step::Execute(a, s)),
        1 => (at.clone(), shares.clone(), any::<bool>()).prop_map(|(a, s, p)| Step::ExecuteAt(a, s, p)),
        1 => (at.clone(), shares.clone()).prop_map(|(a, s)| Step::Reduce(a, s)),
        1 => at.clone().prop_map(Step::Delete),
        2 => (at, shares, price).prop_map(|(a, s, p)| Step::Replace(a, s, p)),
        1 => Just(Step::Hidden),
    ]
}

impl Twin {
    /// The message of a step, if there is one, and the twin after it. No order is taken more off than it has.
    fn take(&mut self, step: &Step, now: u64, next_id: u64) -> Option<Vec<u8>> {
        let mut ids: Vec<_> = self.0.keys().copied().collect();
        ids.sort_unstable();
        let pick = |at: usize| ids.get(at % ids.len().max(1)).copied();
        let cents = |side: u8, price: u32| if side == b'B' { 10_000 + price * 100 } else { 20_000 + price * 100 };
        Some(match *step {
            Step::Add(bid, shares, price) => {
                let side = if bid { b'B' } else { b'S' };
                self.0.insert(next_id, (side, cents(side, price), shares));
                add(5, now, next_id, side, shares, cents(side, price))
            }
            Step::Hidden => {
                message(b'P', 5, now, &[&[0; 8], b"B", &[0, 0, 0, 3], &symbol("S5"), &[0, 0, 9, 9], &[0; 8]])
            }
            Step::Delete(at) => {
                let id = pick(at)?;
                self.0.remove(&id);
                delete(5, now, id)
            }
            Step::Replace(at, shares, price) => {
                let id = pick(at)?;
                let (side, ..) = self.0.remove(&id)?;
                self.0.insert(next_id, (side, cents(side, price), shares));
                replace(5, now, id, next_id, shares, cents(side, price))
            }
            Step::Execute(at, shares) => {
                let (id, taken) = self.less(pick(at)?, shares);
                execute(5, now, id, taken)
            }
            Step::ExecuteAt(at, shares, printable) => {
                let (id, taken) = self.less(pick(at)?, shares);
                execute_at(5, now, id, taken, if printable { b'Y' } else { b'N' }, 15_000)
            }
            Step::Reduce(at, shares) => {
                let (id, taken) = self.less(pick(at)?, shares);
                reduce(5, now, id, taken)
            }
        })
    }

    fn less(&mut self, id: u64, shares: u32) -> (u64, u32) {
        let order = self.0.get_mut(&id).unwrap();
        let taken = shares.min(order.2);
        order.2 -= taken;
        if order.2 == 0 {
            self.0.remove(&id);
        }
        (id, taken)
    }

    /// Price in 1e-9 → (size, orders), of a side.
    fn levels(&self, side: u8) -> BTreeMap<i64, (u64, u32)> {
        let mut levels = BTreeMap::new();
        for (_, price, shares) in self.0.values().filter(|order| order.0 == side) {
            let level: &mut (u64, u32) = levels.entry(i64::from(*price) * 100_000).or_default();
            *level = (level.0 + u64::from(*shares), level.1 + 1);
        }
        levels
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_book_is_a_naive_ones(steps in prop::collection::vec(step(), 1..80)) {
        let (mut twin, mut messages, mut states) = (Twin::default(), vec![directory(5, 0, "S5")], vec![]);
        for (step, n) in steps.iter().zip(1u64..) {
            if let Some(message) = twin.take(step, n, 1000 + n) {
                messages.push(message);
                states.push([twin.levels(b'B'), twin.levels(b'S')]);
            }
        }
        prop_assume!(!states.is_empty());
        let (summary, feed) = Day::new(&framed(&messages)).convert();
        prop_assert_eq!((summary.events, summary.excess, summary.unlisted), (messages.len() as u64, 0, 0));
        let instruments = Instruments::new(&feed.instruments).unwrap();
        let mut book = Book::new(Limits { max_orders: 256, max_levels: 64 });
        let mut states = [Default::default()].into_iter().chain(states);
        for record in &feed {
            let tick = decode(record, &instruments).unwrap();
            book.apply(&tick);
            if tick.is_last() {
                let have = Side::BOTH.map(|side| {
                    let level = |l: &pillion::hot::book::Level| (l.price, (l.size, l.orders));
                    book.top(side).iter().map(level).collect::<BTreeMap<_, _>>()
                });
                prop_assert_eq!(have, states.next().unwrap());
            }
        }
        prop_assert!(states.next().is_none());
    }

    /// A byte of a message (not of a length) is spoiled: whatever it does to its own, the others stand.
    #[test]
    fn no_spoiled_byte_loses_another_frame(at in 0usize..10_000, byte: u8) {
        let messages: Vec<_> = (0..40u64).map(|n| add(3, n, n, b'S', 5, 10_000)).collect();
        let mut bytes = framed(&messages);
        let within = at % bytes.len();
        prop_assume!(within % 38 >= 2);
        bytes[within] = byte;
        let (summary, feed) = Day::new(&bytes).convert();
        prop_assert!(summary.types.values().sum::<u64>() >= 39);
        let ids: Vec<u64> = feed.iter().map(|r| r[2]).collect();
        for n in (0..40).filter(|n| *n != within as u64 / 38) {
            prop_assert!(ids.contains(&n), "order {} is lost", n);
        }
        prop_assert_eq!(summary.cut, None);
    }
}

/// Any byte, lengths included, with any of several values: no panic, and a file or a refusal with a reason.
#[test]
fn every_byte_of_a_small_file_may_be_wrong() {
    let messages =
        [directory(3, 1, "AAA"), add(3, 2, 1, b'B', 5, 10_000), execute(3, 3, 1, 2), action(3, 4, "AAA", b'H')];
    let good = framed(&messages);
    for at in 0..good.len() {
        for value in [0, 1, 0x7F, 0xFF, good[at] ^ 0x20] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let day = Day::new(&bytes);
            if let Err(error) = day.convert_with(&Options::default()) {
                assert!(error.to_string().contains("mend:") && !day.output().exists(), "{error}");
            }
        }
    }
}
