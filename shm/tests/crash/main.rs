//! Kill -9 at every store of every role and at every system call of create and take-over, and from outside at random
//! moments: whoever is left goes on, nothing torn is ever accepted, and every loss is counted.
//!
//! `cargo test -p pillion-shm --features crash --test crash -- --nocapture` prints how many kills were done and where.
//! `PILLION_CRASH_ROUNDS=20` multiplies the random ones: for a soak.
#![cfg(not(loom))]

#[path = "../common/mod.rs"]
mod common;
mod names;
mod outside;
mod reuse;
mod roles;
mod sidecar;
#[path = "../../../tests/common/skip.rs"]
mod skip;
mod victim;
mod writers;

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    if let Ok(role) = std::env::var("PILLION_TEST_ROLE") {
        roles::play(&role);
    }
}
