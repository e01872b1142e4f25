//! Inference engines behind one small interface: fixed-shape f32 in, f32 out, caller-owned buffers.

pub mod admission;
pub mod native;
pub mod ort;
pub mod runtime;

use std::fmt::Display;

pub use self::native::Native;
pub use self::ort::OrtCpu;
pub use self::runtime::{Runtime, RuntimeConfig, RuntimeError};

/// One model, ready to run. An engine belongs to one hot thread.
pub trait Engine: Send {
    /// Runs the model once. `input.len()` is [`EngineInfo::inputs`] and `output.len()` is [`EngineInfo::outputs`].
    ///
    /// Allocates nothing on our side. What the model answers is handed on as it is, NaN and infinities included: they
    /// are the caller's to flag.
    ///
    /// # Errors
    /// Lengths that differ from the info, or a run that the engine itself refuses. `output` is then not meaningful.
    fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError>;

    /// What runs, on what, and its shape.
    fn info(&self) -> &EngineInfo;
}

/// What an engine is, for the banner, the tables of the signal region and the reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Engine by name: `"ort-cpu"`.
    pub engine: &'static str,
    /// Instruction set the engine may choose from on this machine, as in [`isa`].
    pub isa: String,
    /// Library and version: `"onnxruntime 1.31.1"`.
    pub runtime: String,
    /// Values a run takes.
    pub inputs: usize,
    /// Values a run gives.
    pub outputs: usize,
}

/// Shape a model must have, and which of its outputs is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Name of the graph's only input: a float tensor of `[inputs]` or `[batch, inputs]`.
    pub input: &'a str,
    /// Number of input values.
    pub inputs: usize,
    /// Name of the wanted float output; every other output is dropped.
    pub output: &'a str,
    /// Number of output values.
    pub outputs: usize,
}

/// Why an engine could not be made, or a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime is missing, foreign or of the wrong version.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The runtime does not take the model file; its own words.
    #[error("ONNX Runtime does not take the file: {0}")]
    Refused(String),
    /// The graph does not have the input or output it was said to have.
    #[error("{0}")]
    Graph(String),
    /// A buffer of the wrong length was handed to a run.
    #[error("{what} has {got} values where the model has {expected}")]
    Length {
        /// `"input"` or `"output"`.
        what: &'static str,
        /// Length the model has.
        expected: usize,
        /// Length that was given.
        got: usize,
    },
    /// A run failed; the runtime's own words.
    #[error("the run failed: {0}")]
    Run(String),
}

impl EngineError {
    fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }

    fn run(error: impl Display) -> Self {
        Self::Run(error.to_string())
    }
}

/// The widest vector instruction set of this machine that numeric kernels choose by, as recorded with a run: results
/// are the same bytes only for one engine and one instruction set.
#[must_use]
pub fn isa() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            return "x86_64 avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "x86_64 avx2+fma";
        }
        "x86_64"
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}
