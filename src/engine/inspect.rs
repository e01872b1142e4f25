//! What ONNX Runtime says of a file: its inputs and outputs, and the dimensions that a run gives. Cold: for tools.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use ::ort::memory::Allocator;
use ::ort::session::builder::GraphOptimizationLevel;
use ::ort::session::{RunOptions, Session, SessionInputValue};
use ::ort::value::{Outlet, Tensor, TensorElementType};

pub use pillion_engine::Port;

use super::native::Survey;
use super::ort::patience::{LONGEST, within};
use super::{EngineError, Runtime};

/// Inputs and outputs of a file.
///
/// # Errors
/// The runtime does not take it.
pub fn ports(runtime: &Runtime, onnx: &[u8]) -> Result<(Vec<Port>, Vec<Port>), EngineError> {
    let session = open(runtime, onnx)?;
    let all = |outlets: &[Outlet]| outlets.iter().map(port).collect();
    Ok((all(session.inputs()), all(session.outputs())))
}

/// Kinds of all values that a run computes, by name, and of the file's inputs; nothing is run.
pub(super) fn kinds(runtime: &Runtime, onnx: &[u8]) -> Result<HashMap<String, String>, EngineError> {
    let all =
        Survey::read(onnx).map(|survey| survey.open_up(onnx)).map_err(|why| EngineError::Graph(why.to_string()))?;
    // Some values cannot leave a graph: then its own inputs and outputs are told.
    let session = session(runtime, &all).or_else(|_| session(runtime, onnx))?;
    let ports = session.inputs().iter().chain(session.outputs()).map(port);
    Ok(ports.map(|port| (port.name, port.kind)).collect())
}

/// What the file's metadata says under `key`, if anything.
///
/// # Errors
/// The runtime does not take the file.
pub fn fact(runtime: &Runtime, onnx: &[u8], key: &str) -> Result<Option<String>, EngineError> {
    let session = open(runtime, onnx)?;
    Ok(session.metadata().map_err(EngineError::refused)?.custom(key))
}

fn port(outlet: &Outlet) -> Port {
    let dtype = outlet.dtype();
    let kind = dtype.tensor_type().map_or_else(|| dtype.to_string(), kind);
    let dims = dtype.tensor_shape().map_or(Vec::new(), |dims| dims.iter().map(|&d| usize::try_from(d).ok()).collect());
    Port { name: outlet.name().to_owned(), kind, dims }
}

/// NumPy's names.
fn kind(of: TensorElementType) -> String {
    use TensorElementType as T;
    let name = match of {
        T::Float32 => "float32",
        T::Float64 => "float64",
        T::Float16 => "float16",
        T::Bfloat16 => "bfloat16",
        T::Int8 => "int8",
        T::Int16 => "int16",
        T::Int32 => "int32",
        T::Int64 => "int64",
        T::Uint8 => "uint8",
        T::Uint16 => "uint16",
        T::Uint32 => "uint32",
        T::Uint64 => "uint64",
        T::Bool => "bool",
        T::String => "string",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// Runs the file once on inputs of these dimensions, in the graph's order, every value a half: the dimensions of each output
/// that is a tensor, by name.
///
/// # Errors
/// The runtime does not take the file, or its run fails.
pub fn dims_of_a_run(
    runtime: &Runtime,
    onnx: &[u8],
    inputs: &[Vec<usize>],
) -> Result<HashMap<String, Vec<usize>>, EngineError> {
    let mut session = open(runtime, onnx)?;
    let tensor = |dims: &Vec<usize>| -> Result<SessionInputValue<'static>, EngineError> {
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let mut tensor = Tensor::<f32>::new(&Allocator::default(), dims).map_err(EngineError::refused)?;
        tensor.extract_tensor_mut().1.fill(0.5);
        Ok(tensor.into())
    };
    let inputs = inputs.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    let options = RunOptions::new().map_err(EngineError::refused)?;
    let outputs =
        within(LONGEST, &options, || session.run_with_options(&inputs[..], &options).map_err(EngineError::run))?;
    let dims = |value: &::ort::value::DynValue| -> Option<Vec<usize>> {
        Some(value.dtype().tensor_shape()?.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect())
    };
    Ok(outputs.iter().filter_map(|(name, value)| Some((name.to_owned(), dims(&value)?))).collect())
}

/// As the file stands, on this thread only: nothing is fused, so that every value is there to be asked for.
fn open(runtime: &Runtime, onnx: &[u8]) -> Result<Session, EngineError> {
    super::check_harmless(runtime, onnx)?;
    session(runtime, onnx)
}

/// A session of a file that is known to be harmless, or is not run.
fn session(runtime: &Runtime, onnx: &[u8]) -> Result<Session, EngineError> {
    let builder = Session::builder(runtime.environment()).map_err(EngineError::refused)?;
    let one = builder.with_intra_threads(1).map_err(EngineError::refused)?;
    let mut plain = one.with_optimization_level(GraphOptimizationLevel::Disable).map_err(EngineError::refused)?;
    plain.commit_from_memory(onnx).map_err(EngineError::refused)
}
