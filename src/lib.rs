//! Pillion: a low-latency tick-to-trade inference sidecar. Market ticks in, model signals out, over shared memory.
//!
//! Reading order: [`hot`] is the straight line a tick goes through; [`run`] is the loop around it; [`engine`] runs the
//! models; [`cold`] is everything that may block, allocate or log. `pillion_shm` is the public shared-memory contract.

pub mod cold;
pub mod engine;
pub mod error;
pub mod files;
pub mod hot;
pub mod run;
pub mod stdio;

pub use error::{Error, Result};

/// Process exit codes, as `--help` prints them.
pub const EXIT_CODES: &str = "Exit codes:
  0    done
  1    a run that started and failed: a sidecar died, a lane panicked, a replay was interrupted or lost its peer;
     compare or ab found B over its bound
  2    refused before it started: arguments, configuration, files, models, ONNX Runtime, regions, CPUs, permissions
  101  a bug: pillion itself panicked";
