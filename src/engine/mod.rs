//! Inference engines behind one small interface: ONNX Runtime and our own kernels, and who of them may serve a model.
//! The interface itself and the kernels are the crate `pillion-engine`.

pub mod admission;
pub(crate) mod divisions;
pub mod inspect;
pub(crate) mod makeup;
pub mod ort;
mod proto;
pub mod runtime;

pub use pillion_engine::{Engine, EngineError, EngineInfo, Native, Options, Shape, Weights, adapt, isa, native};
use pillion_engine::{check_length, seats};

pub use self::ort::OrtCpu;
pub use self::ort::cuda::{self, CudaOptions, OrtCuda};
pub use self::runtime::{Runtime, RuntimeConfig, RuntimeError};

/// Refuses a file with weights outside itself. ONNX Runtime would take them from the working directory, and no hash of ours
/// covers them: it never sees such a file.
pub(crate) fn check_whole(onnx: &[u8]) -> Result<(), EngineError> {
    native::no_external_weights(onnx).map_err(EngineError::Graph)
}

/// [`check_whole`], and refuses a file with a node that may end the process.
pub(crate) fn check_harmless(runtime: &Runtime, onnx: &[u8]) -> Result<(), EngineError> {
    check_whole(onnx)?;
    divisions::check(onnx, || inspect::kinds(runtime, onnx))
}

impl From<RuntimeError> for EngineError {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error.into())
    }
}
