//! ONNX Runtime on the CPU, one thread, through the `ort` crate's safe interface.
#![forbid(unsafe_code)]

use ::ort::memory::Allocator;
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ::ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::{Engine, EngineError, EngineInfo, Runtime, Shape, isa};

/// Runs before an engine is handed out: ONNX Runtime plans its memory on the second.
const WARM_RUNS: usize = 4;

/// One session on the calling thread: no pool, no spinning, input and output tensors made once and written in place.
pub struct OrtCpu {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
    input: Tensor<f32>,
    info: EngineInfo,
}

impl OrtCpu {
    /// Compiles the model, holds its shape against `shape`, and warms it.
    ///
    /// # Errors
    /// The file is not a model, or its input or output is not what `shape` says.
    pub fn new(runtime: &Runtime, onnx: &[u8], shape: Shape<'_>) -> Result<Self, EngineError> {
        let session = build(runtime, onnx)?;
        check_input(session.inputs(), shape)?;
        check_output(session.outputs(), shape)?;
        let info = EngineInfo {
            engine: "ort-cpu",
            isa: isa().to_owned(),
            runtime: format!("onnxruntime {}", runtime.version()),
            inputs: shape.inputs,
            outputs: shape.outputs,
        };
        let input = tensor(one_row(session.inputs()[0].dtype(), shape.inputs))?;
        let options = RunOptions::new().map_err(EngineError::refused)?;
        let options = options.with_outputs(OutputSelector::no_default().with(shape.output));
        let mut engine = Self { session, options, input, info };
        let dims = engine.dims_of_output(shape)?;
        engine.preallocate(shape.output, dims)?;
        engine.warm()?;
        Ok(engine)
    }

    /// Dimensions of the wanted output as a run really gives them: exporters often leave them open.
    fn dims_of_output(&mut self, shape: Shape<'_>) -> Result<Vec<i64>, EngineError> {
        let outputs =
            self.session.run_with_options(::ort::inputs![&self.input], &self.options).map_err(EngineError::run)?;
        let (dims, values) = outputs[0].try_extract_tensor::<f32>().map_err(EngineError::run)?;
        if values.len() == shape.outputs {
            return Ok(dims.to_vec());
        }
        let (name, got, expected) = (shape.output, values.len(), shape.outputs);
        Err(EngineError::Graph(format!("output `{name}` gives {got} values {dims:?}, {expected} are expected")))
    }

    fn preallocate(&mut self, name: &str, dims: Vec<i64>) -> Result<(), EngineError> {
        let selector = OutputSelector::no_default().with(name).preallocate(name, tensor(dims)?);
        self.options = RunOptions::new().map_err(EngineError::refused)?.with_outputs(selector);
        Ok(())
    }

    fn warm(&mut self) -> Result<(), EngineError> {
        let (input, mut output) = (vec![0.0; self.info.inputs], vec![0.0; self.info.outputs]);
        (0..WARM_RUNS).try_for_each(|_| self.run(&input, &mut output))
    }
}

impl Engine for OrtCpu {
    fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError> {
        let tensor = self.input.extract_tensor_mut().1;
        check_length("input", tensor.len(), input.len())?;
        tensor.copy_from_slice(input);
        let outputs =
            self.session.run_with_options(::ort::inputs![&self.input], &self.options).map_err(EngineError::run)?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>().map_err(EngineError::run)?;
        check_length("output", values.len(), output.len())?;
        output.copy_from_slice(values);
        Ok(())
    }

    fn info(&self) -> &EngineInfo {
        &self.info
    }
}

fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}

fn build(runtime: &Runtime, onnx: &[u8]) -> Result<Session, EngineError> {
    let builder = Session::builder(runtime.environment()).map_err(EngineError::refused)?;
    let mut builder = on_this_thread_only(builder).map_err(EngineError::refused)?;
    builder.commit_from_memory(onnx).map_err(EngineError::refused)
}

/// With more than one thread ONNX Runtime makes a pool that spins on the cores of others.
fn on_this_thread_only(builder: SessionBuilder) -> ::ort::Result<SessionBuilder> {
    let one_thread = builder.with_intra_threads(1)?.with_inter_threads(1)?.with_parallel_execution(false)?;
    let no_spinning = one_thread.with_intra_op_spinning(false)?.with_inter_op_spinning(false)?;
    Ok(no_spinning.with_memory_pattern(true)?.with_optimization_level(GraphOptimizationLevel::All)?)
}

fn tensor(dims: Vec<i64>) -> Result<Tensor<f32>, EngineError> {
    let mut tensor = Tensor::<f32>::new(&Allocator::default(), dims).map_err(EngineError::refused)?;
    tensor.extract_tensor_mut().1.fill(0.0);
    Ok(tensor)
}

/// Dimensions of one input row: the batch, where the graph has one, is 1.
fn one_row(dtype: &ValueType, inputs: usize) -> Vec<i64> {
    let rank = dtype.tensor_shape().map_or(1, |shape| shape.len());
    if rank == 2 { vec![1, inputs as i64] } else { vec![inputs as i64] }
}

fn check_input(graph: &[Outlet], shape: Shape<'_>) -> Result<(), EngineError> {
    let wanted = format!("`{}`, float32 [{n}] or [batch, {n}]", shape.input, n = shape.inputs);
    let refused =
        |got: String| Err(EngineError::Graph(format!("the model takes {got}, where one input {wanted} is expected")));
    let [input] = graph else {
        return refused(format!("{} inputs ({})", graph.len(), names(graph)));
    };
    let fits = input.name() == shape.input
        && input.dtype().tensor_type() == Some(TensorElementType::Float32)
        && input.dtype().tensor_shape().is_some_and(|dims| row_of(dims, shape.inputs));
    if fits { Ok(()) } else { refused(format!("`{}` of type {}", input.name(), input.dtype())) }
}

/// `[n]`, `[1, n]` or `[batch, n]`; an open dimension is −1.
fn row_of(dims: &[i64], n: usize) -> bool {
    match *dims {
        [width] => width == n as i64,
        [batch, width] => (batch == 1 || batch == -1) && width == n as i64,
        _ => false,
    }
}

fn check_output(graph: &[Outlet], shape: Shape<'_>) -> Result<(), EngineError> {
    let Some(output) = graph.iter().find(|output| output.name() == shape.output) else {
        return Err(EngineError::Graph(format!("the model has no output `{}`; it has {}", shape.output, names(graph))));
    };
    let dtype = output.dtype();
    if !dtype.is_tensor() {
        let text = format!(
            "output `{}` is {dtype}, a ZipMap that the exporter added; export with zipmap=False for a plain tensor",
            shape.output
        );
        return Err(EngineError::Graph(text));
    }
    if dtype.tensor_type() == Some(TensorElementType::Float32) {
        return Ok(());
    }
    let text =
        format!("output `{}` is {dtype}; a float32 tensor is expected (the outputs: {})", shape.output, names(graph));
    Err(EngineError::Graph(text))
}

fn names(outlets: &[Outlet]) -> String {
    let named: Vec<String> = outlets.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
    if named.is_empty() { "none".into() } else { named.join(", ") }
}
