//! How a session is built: on the calling thread alone.
//!
//! Measured on ONNX Runtime 1.31.1 (xeon, 2 CPUs, p50 of interleaved rounds): a run of what is bound takes 2,390 ns where one with
//! selected outputs takes 2,700 (dense net 32-64-32-3), 3,590 against 3,790 (200 trees), 3,930 against 4,220 (LSTM), and asks
//! the heap for one block less. Without memory patterns the dense net loses 18 % and the others win 3 %; without the arena the
//! LSTM wins 14 % at the median and its 99th percentile is four times as high; packed weights win 3 %. Denormals stay: setting
//! them to 0 would change answers.
#![forbid(unsafe_code)]

use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::super::{EngineError, Runtime};

/// What the options are, for a key that must change with them.
pub(super) const TEXT: &str = "1 thread, sequential, memory patterns, all optimisations";

/// A builder with all optimisations on, or, for a graph that has been through them, off.
///
/// With more than one thread ONNX Runtime makes a pool that spins on the cores of others.
pub(super) fn builder(runtime: &Runtime, optimise: bool) -> Result<SessionBuilder, EngineError> {
    let level = if optimise { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
    let build = || -> ::ort::Result<SessionBuilder> {
        let builder = ::ort::session::Session::builder(runtime.environment())?;
        let one_thread = builder.with_intra_threads(1)?.with_inter_threads(1)?.with_parallel_execution(false)?;
        let no_spinning = one_thread.with_intra_op_spinning(false)?.with_inter_op_spinning(false)?;
        Ok(no_spinning.with_memory_pattern(true)?.with_optimization_level(level)?)
    };
    build().map_err(EngineError::refused)
}
