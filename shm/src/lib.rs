//! Shared-memory contract of Pillion: broadcast rings, a board of last values, a control page and one clock.
//!
//! One writer per region that never waits, any number of readers that cannot write. The protocol fits a page: see
//! this crate's `README.md`. [`ring`], [`seqlock`] and [`mailbox`] are protocols over atomic words that somebody
//! hands in, so that loom checks the code that ships; `region` alone maps memory and alone holds the unsafe for it.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

pub mod crash;
pub mod layout;
pub mod mailbox;
pub mod page;
pub mod records;
pub mod ring;
pub mod seqlock;
pub mod signal;
pub mod sync;
pub mod takeover;
pub mod text;
pub mod trust;

mod error;
pub use error::{Error, Maker, Result};

#[cfg(not(loom))]
mod board;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod cnc;
#[cfg(not(loom))]
mod files;
#[cfg(not(loom))]
mod header;
#[cfg(not(loom))]
mod lane;
#[cfg(not(loom))]
pub mod leftovers;
#[cfg(not(loom))]
mod owner;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod shared_ring;

#[cfg(not(loom))]
pub use board::{BoardReader, BoardSpec, BoardWriter, Reading};
#[cfg(not(loom))]
pub use clock::Clock;
#[cfg(not(loom))]
pub use cnc::{CncClient, CncOwner};
#[cfg(not(loom))]
pub use lane::{Access, Holder, Lane, LockMemory};
pub use layout::Kind;
pub use mailbox::{Command, Outcome, Request};
pub use page::{Counters, STAGES, StageBlock, StageSummary, State};
pub use ring::{Batch, From, Poll};
#[cfg(not(loom))]
pub use shared_ring::{RingReader, RingSpec, RingWriter};
pub use signal::{InstrumentEntry, ModelEntry, Signal, SignalTables, signal_flags};
pub use trust::{Distrust, Trust};
