//! Pillion: a low-latency tick-to-trade inference sidecar. Market ticks in, model signals out, over shared memory.
//!
//! Reading order: [`hot`] is the straight line a tick goes through, with the loop around it in [`hot::run`]; [`engine`] runs
//! the models. What stands around that line is a room a purpose, each importing only those behind it in this list: [`cli`]
//! (arguments in, words out), [`lab`] (replays and what they show), [`monitor`]
//! (looks at lanes of other processes), [`sidecar`] (what serves), [`models`] (model directories),
//! [`host`] (the machine), [`report`] (what is left behind), [`config`] and [`data`] (market data files).
//! `pillion_shm` is the public shared-memory contract.

pub mod cli;
pub mod config;
pub mod data;
pub mod engine;
pub mod error;
pub mod files;
pub mod host;
pub mod hot;
pub mod lab;
pub mod models;
pub mod monitor;
pub mod report;
pub mod sidecar;
pub mod stdio;

pub use error::{Error, Result};

/// Process exit codes, as `--help` prints them.
pub const EXIT_CODES: &str = "Exit codes:
  0    done
  1    a run that started and failed: a lane failed (others of its process may have gone on), a sidecar died, a replay was
       interrupted or lost its peer, an output could not be written whole, memory gave out; an order that was not carried
       out; a check that says no: status of a lane that is not well, doctor below its grade, shm rm --all that could
       remove nothing, compare or ab with B over its bound
  2    refused before it started: arguments, configuration, files, models, ONNX Runtime, regions, CPUs, memory, permissions
  101  a bug: pillion itself panicked
A command other than run, feed, replay and what replays that is ended by a signal ends by it (128 + its number in a shell).
With --json as a flag, an error is one line {\"error\": {thing, problem, mend, exit_code}} on standard output too";
