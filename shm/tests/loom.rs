//! Model checks of the protocols that ship, over every interleaving and every value a relaxed load may return.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pillion-shm --release --test loom`
//!
//! Each ordering is also taken away in turn, and loom must find the violation: an ordering that nothing tests is one
//! that nobody needs.
#![cfg(loom)]

use loom::thread;
use pillion_shm::mailbox::{self, ANSWERS, Command, Outcome};
use pillion_shm::ring::{Consumer, From, Poll, Producer, Shape};
use pillion_shm::seqlock::{self, Look};
use pillion_shm::sync::{AtomicU64, Ordering, Site, without};
use std::sync::Arc;

const WRITES: u64 = 3;
const SHAPE: Shape = Shape { head: 0, first: 1, stride: 3, capacity: 2 };

fn memory(words: usize) -> Arc<Vec<AtomicU64>> {
    Arc::new((0..words).map(|_| AtomicU64::new(0)).collect())
}

/// One writer laps a ring of two slots; a reader must get whole records in order and count the rest.
fn ring() {
    loom::model(|| {
        let memory = memory(1 + 2 * 3);
        let mut reader = Consumer::new(memory.clone(), SHAPE, From::Next);
        let writer = thread::spawn(move || {
            let mut ring = Producer::new(memory, SHAPE);
            (0..WRITES).for_each(|n| assert_eq!(ring.publish(&[100 + n], 100 + n), n));
        });
        let (mut read, mut lost) = (0, 0);
        for _ in 0..WRITES {
            let mut word = [0];
            match reader.poll(&mut word) {
                Poll::Empty => break,
                Poll::Record { ring_seq, stamp_ns } => {
                    assert_eq!(ring_seq, read + lost, "torn: out of order");
                    assert_eq!((stamp_ns, word[0]), (100 + ring_seq, 100 + ring_seq), "torn: record {ring_seq}");
                    read += 1;
                }
                Poll::Lost(n) => lost += n,
                Poll::Corrupt => panic!("torn: corrupt without a scribbler"),
            }
            assert_eq!(reader.cursor(), read + lost, "torn: miscounted");
        }
        writer.join().unwrap();
        assert!(reader.cursor() <= WRITES, "torn: ran ahead");
    });
}

/// Who sees a head finds every record below it.
fn head() {
    loom::model(|| {
        let memory = memory(1 + 2 * 3);
        let mut reader = Consumer::new(memory.clone(), SHAPE, From::Next);
        let mut ring = Producer::new(memory, SHAPE);
        let start = reader.cursor();
        let writer = thread::spawn(move || (0..2).for_each(|n| _ = ring.publish(&[n], n)));
        for _ in start..reader.head() {
            assert_ne!(reader.poll(&mut [0]), Poll::Empty, "head: promised a record that is not there");
        }
        writer.join().unwrap();
    });
}

/// A cell written twice gives whole values only.
fn cell() {
    loom::model(|| {
        let cell = memory(3);
        let shared = cell.clone();
        let writer = thread::spawn(move || (1..3).for_each(|n| seqlock::write(&shared, 1, &[n, n])));
        // loom weighs an access only against the last one to the same word: the writer's look at its own number hides its
        // mark. Yielding lets the writer go first; what the reader then sees of it is every choice of a relaxed load.
        thread::yield_now();
        let mut value = [0; 2];
        if seqlock::read(&cell, 1, &mut value, 2) == Look::Value {
            assert!(value[0] == value[1] && value[0] != 0, "torn: cell {value:?}");
        }
        writer.join().unwrap();
    });
}

/// Two operators race for the mailbox: no ticket is given twice, and an answer shows what was done before it.
fn two_operators() {
    loom::model(|| {
        let (page, tickets) = (memory(2 + ANSWERS), memory(2));
        let operator = |me: usize| {
            let (page, tickets) = (page.clone(), tickets.clone());
            thread::spawn(move || {
                let Some(ticket) = mailbox::ask(&page[0], &page[2..], Command::Halt) else { return };
                tickets[me].store(ticket, Ordering::Relaxed);
                thread::yield_now();
                if let Ok(outcome) = mailbox::answered(&page[2..], ticket) {
                    assert_eq!(outcome, Outcome::Done);
                    assert!(page[1].load(Ordering::Relaxed) >= ticket, "answer: came before what it says");
                }
            })
        };
        let operators = [operator(0), operator(1)];
        let mut last = 0;
        for _ in 0..2 {
            thread::yield_now();
            if let Some(request) = mailbox::poll(&page[0], last) {
                assert_eq!((request.ticket, request.command), (last + 1, Some(Command::Halt)));
                page[1].store(request.ticket, Ordering::Relaxed);
                mailbox::answer(&page[2..], request.ticket, Outcome::Done);
                last = request.ticket;
            }
        }
        operators.into_iter().for_each(|operator| operator.join().unwrap());
        let (first, second) = (tickets[0].load(Ordering::Relaxed), tickets[1].load(Ordering::Relaxed));
        assert!(first == 0 || first != second, "claim: ticket {first} was given twice");
    });
}

#[test]
fn ring_holds() {
    ring();
}

#[test]
fn head_holds() {
    head();
}

#[test]
fn cell_holds() {
    cell();
}

#[test]
fn mailbox_holds() {
    two_operators();
}

macro_rules! must_fail {
    ($($name:ident: $model:ident without $site:ident, $message:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            without(Site::$site, $model);
        }
    )*};
}

must_fail! {
    ring_needs_mark: ring without Mark, "torn";
    ring_needs_mark_fence: ring without MarkFence, "torn";
    ring_needs_commit: ring without Commit, "torn";
    ring_needs_look_fence: ring without LookFence, "torn";
    ring_needs_recheck_fence: ring without RecheckFence, "torn";
    ring_needs_recheck: ring without Recheck, "torn";
    head_needs_store: head without HeadStore, "head";
    head_needs_load: head without HeadLoad, "head";
    cell_needs_mark: cell without Mark, "torn";
    cell_needs_mark_fence: cell without MarkFence, "torn";
    cell_needs_commit: cell without Commit, "torn";
    cell_needs_look_fence: cell without LookFence, "torn";
    cell_needs_recheck_fence: cell without RecheckFence, "torn";
    cell_needs_recheck: cell without Recheck, "torn";
    mailbox_needs_claim: two_operators without Claim, "claim";
    mailbox_needs_answer: two_operators without Answer, "answer";
    mailbox_needs_answer_load: two_operators without AnswerLoad, "answer";
}
