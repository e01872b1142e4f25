//! The take-over that ships, on a model of the kernel: names, files and locks, every call of it atomic.
//!
//! Creators, a follower and an operator's `rm` run in every order of their calls, and a creator may die before each of
//! them, which drops its locks. [`takeover::install`] is run anew for every step with the answers it had so far, so
//! that what is searched is the code itself. Each wrong kernel or wrong check below must be found.
#![cfg(not(loom))]

#[path = "takeover/kernel.rs"]
mod kernel;
#[path = "takeover/model.rs"]
mod model;

use kernel::Wrong;
use model::{World, search};

/// Three creators race for a name that nobody has.
fn nobody(wrong: Option<Wrong>) -> usize {
    search(World::new(3, wrong))
}

/// An owner that halts and dies, or does not; three creators; a follower.
fn heirs(wrong: Option<Wrong>) -> usize {
    search(World::new(3, wrong).with_owner().with_follower())
}

/// The same with somebody who removes the name once, and nobody dying in the middle of a call sequence.
fn removed(wrong: Option<Wrong>) -> usize {
    search(World::new(3, wrong).with_owner().with_remover())
}

fn counted(worlds: usize, at_least: usize) {
    eprintln!("{worlds} worlds");
    assert!(worlds > at_least, "{worlds} worlds are not all there are");
}

#[test]
fn one_creator_wins_a_free_name() {
    counted(nobody(None), 100);
}

#[test]
fn one_heir_wins_with_the_halt_and_the_next_generation() {
    counted(heirs(None), 1_000);
}

#[test]
fn a_removed_name_costs_no_living_owner_its_own() {
    counted(removed(None), 1_000);
}

macro_rules! must_fail {
    ($($name:ident: $world:ident with $wrong:ident, $message:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            $world(Some(Wrong::$wrong));
        }
    )*};
}

must_fail! {
    needs_the_lock: heirs with LockNotAsked, "lost its name";
    needs_the_name_looked_at_again: heirs with NameNotLookedAtAgain, "lost its name";
    needs_the_file_whole_before_it_is_linked: nobody with LinkedBeforeWhole, "half-made";
    needs_the_file_locked_before_it_is_linked: nobody with LinkedBeforeLocked, "lost its name";
    needs_link_to_refuse_a_taken_name: nobody with LinkReplaces, "two owners";
    needs_one_exchange: heirs with ExchangeInTwoSteps, "generation 1";
    needs_the_look_beside: removed with BesideNotLookedAt, "two owners";
    needs_the_way_back: removed with NotExchangedBack, "lost its name";
    needs_the_generation_to_grow: heirs with GenerationKept, "generation";
    needs_the_halt_read_under_the_lock: heirs with HaltReadBeforeLock, "HALT";
    needs_the_halt_carried: heirs with HaltNotCarried, "HALT";
}
