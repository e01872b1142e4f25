//! Model checks of the protocols that ship, over every interleaving and every value a relaxed load may return.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pillion-shm --release --test loom`
//!
//! Each ordering is also taken away in turn, and loom must find the violation: an ordering that nothing tests is one
//! that nobody needs.
#![cfg(loom)]

use loom::thread;
use pillion_shm::mailbox::{self, ANSWERS, Command, Outcome};
use pillion_shm::page::{PAGE_WORDS, Page, State};
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
    lapped(true);
}

/// The same, where a slot that seems scribbled over ends the reading.
fn whole() {
    lapped(false);
}

fn lapped(no_corrupt: bool) {
    loom::model(move || {
        let memory = memory(1 + 2 * 3);
        let mut reader = Consumer::new(memory.clone(), SHAPE, From::Next);
        let writer = thread::spawn(move || {
            let mut ring = Producer::new(memory, SHAPE);
            (0..WRITES).for_each(|n| assert_eq!(ring.publish(&[100 + n], 100 + n), Some(n)));
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
                Poll::Corrupt => {
                    assert!(!no_corrupt, "corrupt: without a scribbler");
                    break;
                }
            }
            assert_eq!(reader.cursor(), read + lost, "torn: miscounted");
        }
        writer.join().unwrap();
        assert!(reader.cursor() <= WRITES, "torn: ran ahead");
    });
}

/// The same in batches of two: what stands between losses is whole and in order.
fn batches() {
    loom::model(|| {
        let memory = memory(1 + 2 * 3);
        let mut reader = Consumer::new(memory.clone(), SHAPE, From::Next);
        let writer = thread::spawn(move || {
            let mut ring = Producer::new(memory, SHAPE);
            (0..WRITES).for_each(|n| assert_eq!(ring.publish(&[100 + n], 100 + n), Some(n)));
        });
        for _ in 0..2 {
            let (cursor, mut words, mut stamps) = (reader.cursor(), [0; 2], [0; 2]);
            let batch = reader.poll_batch(&mut words, &mut stamps);
            assert!(!batch.corrupt, "corrupt: without a scribbler");
            assert_eq!(batch.first, cursor + batch.lost, "torn: miscounted");
            for (i, n) in (batch.first..).take(batch.records).enumerate() {
                assert_eq!((words[i], stamps[i]), (100 + n, 100 + n), "torn: record {n}");
            }
        }
        writer.join().unwrap();
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

/// A RESUME that is withdrawn leaves the lane halted; one that is not ends the HALT.
fn withdrawn() {
    loom::model(|| {
        let body = memory(PAGE_WORDS);
        let operator = page(&body);
        operator.set_halted(true);
        let ticket = mailbox::ask(operator.request(), operator.answers(), Command::Resume).expect("nobody else asks");
        let owner = thread::spawn(move || {
            let page = page(&body);
            let mut answered = false;
            for _ in 0..2 {
                let Some(request) = mailbox::poll(page.request(), 0).filter(|_| !answered) else { continue };
                if mailbox::take(page.request(), &request) {
                    page.set_halted(request.command == Some(Command::Halt));
                    let outcome = if request.withdrawn { Outcome::Refused } else { Outcome::Done };
                    mailbox::answer(page.answers(), request.ticket, outcome);
                    answered = true;
                }
            }
        });
        let withdrawn = mailbox::withdraw(operator.request(), ticket);
        owner.join().unwrap();
        assert_eq!(operator.halted(), withdrawn, "withdrawn: and the lane was resumed, or the other way round");
        let outcome = if withdrawn { Outcome::Refused } else { Outcome::Done };
        assert_eq!(mailbox::answered(operator.answers(), ticket), Ok(outcome), "withdrawn: answered otherwise");
    });
}

fn page(memory: &Arc<Vec<AtomicU64>>) -> Page<Arc<Vec<AtomicU64>>> {
    Page::new(memory.clone(), 0).expect("a whole page")
}

/// Who sees how many ticks are done with finds their signals in the ring.
fn consumed() {
    loom::model(|| {
        let (body, slots) = (memory(PAGE_WORDS), memory(1 + 2 * 3));
        let (client, mut signals) = (page(&body), Consumer::new(slots.clone(), SHAPE, From::Next));
        let owner = thread::spawn(move || {
            let (page, mut ring) = (page(&body), Producer::new(slots, SHAPE));
            for tick in 1..3 {
                ring.publish(&[tick], tick);
                page.set_ticks_consumed(tick);
            }
        });
        for _ in 0..client.ticks_consumed() {
            assert!(matches!(signals.poll(&mut [0]), Poll::Record { .. }), "consumed: a tick without its signal");
        }
        owner.join().unwrap();
    });
}

/// Nobody takes ticks of one generation of the tick ring for those of another.
fn ticks_ring() {
    loom::model(|| {
        let body = memory(PAGE_WORDS);
        let client = page(&body);
        let before = page(&body);
        before.set_ticks_ring(1, 0);
        before.set_ticks_consumed(5);
        let owner = thread::spawn(move || {
            let page = page(&body);
            page.set_ticks_ring(2, 5);
            page.set_ticks_consumed(6);
        });
        let of_second = client.consumed_of(2);
        assert!(of_second <= 1, "ticks ring: {of_second} of generation 2, where at most 1 was read");
        assert!(client.consumed_of(1) <= 6 && client.consumed_of(3) == 0, "ticks ring: of another generation");
        owner.join().unwrap();
    });
}

/// Who sees the answer to HALT sees the page halted, in its state and in the word that outlives the sidecar.
fn halt() {
    loom::model(|| {
        let body = memory(PAGE_WORDS);
        let operator = page(&body);
        page(&body).set_state(State::Run);
        let ticket = mailbox::ask(operator.request(), operator.answers(), Command::Halt).expect("nobody else asks");
        let owner = thread::spawn(move || {
            let page = page(&body);
            let request = mailbox::poll(page.request(), 0).expect("asked before");
            page.set_state(State::Halt);
            mailbox::answer(page.answers(), request.ticket, Outcome::Done);
        });
        if mailbox::answered(operator.answers(), ticket) == Ok(Outcome::Done) {
            assert!(operator.halted() && operator.state() == State::Halt, "halt: answered before it was so");
        }
        owner.join().unwrap();
    });
}

#[test]
fn ring_holds() {
    ring();
}

#[test]
fn batches_hold() {
    batches();
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

#[test]
fn withdrawn_holds() {
    withdrawn();
}

#[test]
fn consumed_holds() {
    consumed();
}

#[test]
fn ticks_ring_holds() {
    ticks_ring();
}

#[test]
fn halt_holds() {
    halt();
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
    ring_needs_mark_fence: whole without MarkFence, "torn";
    ring_needs_mark_fence_for_the_head: ring without MarkFence, "corrupt";
    ring_needs_commit: ring without Commit, "torn";
    ring_needs_look_fence: ring without LookFence, "torn";
    ring_needs_recheck_fence: ring without RecheckFence, "torn";
    ring_needs_recheck: ring without Recheck, "torn";
    ring_needs_skip_fence: ring without SkipFence, "corrupt";
    batches_need_recheck: batches without Recheck, "torn";
    batches_need_look_fence: batches without LookFence, "torn";
    batches_need_skip_fence: batches without SkipFence, "corrupt";
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
    mailbox_needs_take: withdrawn without Take, "withdrawn";
    consumed_needs_store: consumed without ConsumedStore, "consumed";
    consumed_needs_load: consumed without ConsumedLoad, "consumed";
    ticks_ring_needs_store: ticks_ring without TicksRingStore, "ticks ring";
    ticks_ring_needs_load: ticks_ring without TicksRingLoad, "ticks ring";
    halt_needs_answer: halt without Answer, "halt";
    halt_needs_answer_load: halt without AnswerLoad, "halt";
}
