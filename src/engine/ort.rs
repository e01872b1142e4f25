//! ONNX Runtime on the CPU, one thread, through the `ort` crate's safe interface.
#![forbid(unsafe_code)]

use ::ort::memory::Allocator;
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ::ort::value::{Outlet, Tensor, TensorElementType};

use std::collections::HashMap;

use super::seats::Seats;
use super::{Engine, EngineError, EngineInfo, Runtime, Shape, check_length, isa};

/// Runs before an engine is handed out: ONNX Runtime plans its memory on the second.
const WARM_RUNS: usize = 4;

/// One session on the calling thread: no pool, no spinning, input and output tensors made once and written in place.
pub struct OrtCpu {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
    /// Tensors in the graph's order of inputs.
    inputs: Vec<SessionInputValue<'static>>,
    /// For each input the first of its values in the seat's states; `None` for the window.
    parts: Vec<Option<usize>>,
    /// Selected outputs in the graph's order: where their values go.
    outputs: Vec<Target>,
    seats: Seats,
    info: EngineInfo,
}

/// Where an output's values go, from which place on, and how many they are.
#[derive(Clone, Copy)]
struct Target {
    state: bool,
    at: usize,
    len: usize,
}

impl OrtCpu {
    /// Compiles the model, holds its shape against `shape`, and warms it.
    ///
    /// # Errors
    /// The file is not a model, or its inputs or outputs are not what `shape` says.
    pub fn new(runtime: &Runtime, onnx: &[u8], shape: &Shape) -> Result<Self, EngineError> {
        let session = build(runtime, onnx)?;
        check_inputs(session.inputs(), shape)?;
        let wanted = shape.outputs.iter().chain(shape.states.iter().map(|(_, next)| next));
        wanted.clone().try_for_each(|name| check_output(session.outputs(), name))?;
        let info = EngineInfo {
            engine: "ort-cpu",
            isa: isa().to_owned(),
            runtime: format!("onnxruntime {}, 1 thread, no spinning", runtime.version()),
            inputs: shape.features,
            outputs: shape.values,
            rows: shape.rows,
            stateful: !shape.states.is_empty(),
        };
        let dims: Vec<Vec<i64>> = session.inputs().iter().map(|input| dims_of(input, shape)).collect();
        let (parts, states) = parts(session.inputs(), &dims, shape);
        let inputs = dims.into_iter().map(|dims| Ok(tensor(dims)?.into())).collect::<Result<_, EngineError>>()?;
        let selector = wanted.fold(OutputSelector::no_default(), OutputSelector::with);
        let options = RunOptions::new().map_err(EngineError::refused)?.with_outputs(selector);
        let seats = Seats::new(shape, states);
        let mut engine = Self { session, options, inputs, parts, outputs: Vec::new(), seats, info };
        engine.preallocate(shape)?;
        let mut outputs = vec![0.0; shape.values];
        (0..WARM_RUNS).try_for_each(|_| engine.infer(&[0], &mut outputs))?;
        engine.reset(0);
        Ok(engine)
    }

    /// Runs once to see the dimensions of the outputs, which exporters often leave open, and makes tensors for them.
    fn preallocate(&mut self, shape: &Shape) -> Result<(), EngineError> {
        let outputs = self.session.run_with_options(&self.inputs[..], &self.options).map_err(EngineError::run)?;
        let mut selector = OutputSelector::no_default();
        let mut lens = HashMap::new();
        for (name, output) in &outputs {
            let (dims, values) = output.try_extract_tensor::<f32>().map_err(EngineError::run)?;
            lens.insert(name.to_owned(), values.len());
            selector = selector.with(name).preallocate(name, tensor(dims.to_vec())?);
        }
        let order: Vec<String> = outputs.keys().map(str::to_owned).collect();
        drop(outputs);
        self.outputs = targets(&order, &lens, shape, &self.inputs, &self.parts, self.session.inputs())?;
        self.options = RunOptions::new().map_err(EngineError::refused)?.with_outputs(selector);
        Ok(())
    }

    fn infer_one(&mut self, seat: usize, output: &mut [f32]) -> Result<(), EngineError> {
        for (input, part) in self.inputs.iter_mut().zip(&self.parts) {
            let SessionInputValue::Owned(input) = input else { continue };
            let (_, tensor) = input.try_extract_tensor_mut::<f32>().map_err(EngineError::run)?;
            tensor.copy_from_slice(match part {
                None => self.seats.window(seat),
                Some(at) => &self.seats.states(seat)[*at..][..tensor.len()],
            });
        }
        let outputs = self.session.run_with_options(&self.inputs[..], &self.options).map_err(EngineError::run)?;
        for ((_, value), target) in outputs.iter().zip(&self.outputs) {
            let (_, values) = value.try_extract_tensor::<f32>().map_err(EngineError::run)?;
            check_length("output", target.len, values.len())?;
            let to = if target.state { self.seats.states_mut(seat) } else { &mut *output };
            to[target.at..][..target.len].copy_from_slice(values);
        }
        Ok(())
    }
}

/// Where the selected outputs, in the order that a run gives them, belong.
fn targets(
    order: &[String],
    lens: &HashMap<String, usize>,
    shape: &Shape,
    inputs: &[SessionInputValue<'static>],
    parts: &[Option<usize>],
    graph: &[Outlet],
) -> Result<Vec<Target>, EngineError> {
    let total: usize = shape.outputs.iter().map(|name| lens.get(name).copied().unwrap_or(0)).sum();
    if total != shape.values {
        let each: Vec<String> =
            shape.outputs.iter().map(|name| format!("`{name}` {}", lens.get(name).copied().unwrap_or(0))).collect();
        let text = format!("the outputs give {total} values ({}), {} are expected", each.join(", "), shape.values);
        return Err(EngineError::Graph(text));
    }
    let target = |name: &String| {
        let len = lens[name];
        if let Some(place) = shape.outputs.iter().position(|output| output == name) {
            let at = shape.outputs[..place].iter().map(|name| lens[name]).sum();
            return Ok(Target { state: false, at, len });
        }
        let state = shape.states.iter().find(|(_, next)| next == name).map_or("", |(input, _)| input);
        let place = graph.iter().position(|input| input.name() == state).unwrap_or(0);
        let wanted = inputs[place].shape().num_elements();
        if wanted != len {
            let text = format!("output `{name}` gives {len} values, and is to be the next `{state}` of {wanted}");
            return Err(EngineError::Graph(text));
        }
        Ok(Target { state: true, at: parts[place].unwrap_or(0), len })
    };
    order.iter().map(target).collect()
}

impl Engine for OrtCpu {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn seat(&mut self, instruments: usize) {
        self.seats.seat(instruments);
    }

    #[inline]
    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        self.seats.take(seat, row)
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let n = self.info.outputs;
        check_length("output", seats.len() * n, outputs.len())?;
        seats.iter().zip(outputs.chunks_exact_mut(n)).try_for_each(|(&seat, output)| self.infer_one(seat, output))
    }

    fn reset(&mut self, seat: usize) {
        self.seats.reset(seat);
    }

    fn filled(&self, seat: usize) -> bool {
        self.seats.filled(seat)
    }
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

/// Dimensions of an input: open ones, which only the batch may be, are 1.
fn dims_of(input: &Outlet, shape: &Shape) -> Vec<i64> {
    let dims = input.dtype().tensor_shape().map_or(Vec::new(), |dims| dims.to_vec());
    let open_rows = input.name() == shape.input && fixed(&dims) != (shape.rows * shape.features) as i64;
    let rows = dims.iter().rposition(|&dim| dim == -1);
    let dim = |(i, &dim): (usize, &i64)| {
        if dim == -1 && open_rows && Some(i) == rows { shape.rows as i64 } else { dim.abs() }
    };
    dims.iter().enumerate().map(dim).collect()
}

/// Product of the dimensions, open ones counted as 1.
fn fixed(dims: &[i64]) -> i64 {
    dims.iter().map(|dim| dim.abs()).product()
}

/// For each input where its values lie in a seat's states, and how many these are in all.
fn parts(graph: &[Outlet], dims: &[Vec<i64>], shape: &Shape) -> (Vec<Option<usize>>, usize) {
    let mut states = 0;
    let part = |(input, dims): (&Outlet, &Vec<i64>)| {
        (input.name() != shape.input).then(|| {
            states += fixed(dims) as usize;
            states - fixed(dims) as usize
        })
    };
    (graph.iter().zip(dims).map(part).collect(), states)
}

fn check_inputs(graph: &[Outlet], shape: &Shape) -> Result<(), EngineError> {
    let (n, rows) = (shape.features, shape.rows);
    let wanted = match rows {
        1 => format!("`{}`, float32 [{n}] or [batch, {n}]", shape.input),
        _ => format!("`{}`, float32 [{rows}, {n}] or [batch, {rows}, {n}]", shape.input),
    };
    let refused =
        |got: String| Err(EngineError::Graph(format!("the model takes {got}, where one input {wanted} is expected")));
    if graph.len() != 1 + shape.states.len() {
        return refused(format!("{} inputs ({})", graph.len(), names(graph)));
    }
    for input in graph {
        let float = input.dtype().tensor_type() == Some(TensorElementType::Float32);
        let dims = dims_of(input, shape);
        let open = input.dtype().tensor_shape().map_or(0, |dims| dims.iter().filter(|&&dim| dim == -1).count());
        let fits = if input.name() == shape.input {
            open <= 2 && fixed(&dims) == (n * rows) as i64 && row_of(&dims, n, rows)
        } else {
            shape.states.iter().any(|(state, _)| state == input.name())
        };
        if !(float && fits) {
            return refused(format!("`{}` of type {}", input.name(), input.dtype()));
        }
    }
    Ok(())
}

/// `[n]`, `[1, n]`, and with a window `[rows, n]`, `[1, rows, n]`, or any order of 1 among them, as `[1, 1, rows, n]`.
fn row_of(dims: &[i64], n: usize, rows: usize) -> bool {
    let long: Vec<i64> = dims.iter().copied().filter(|&dim| dim != 1).collect();
    let wanted: Vec<i64> = [rows as i64, n as i64].into_iter().filter(|&dim| dim != 1).collect();
    long == wanted || long == [(rows * n) as i64]
}

fn check_output(graph: &[Outlet], name: &str) -> Result<(), EngineError> {
    let Some(output) = graph.iter().find(|output| output.name() == name) else {
        return Err(EngineError::Graph(format!("the model has no output `{name}`; it has {}", names(graph))));
    };
    let dtype = output.dtype();
    if !dtype.is_tensor() {
        let text = format!(
            "output `{name}` is {dtype}, a ZipMap that the exporter added; export with zipmap=False for a plain tensor"
        );
        return Err(EngineError::Graph(text));
    }
    if dtype.tensor_type() == Some(TensorElementType::Float32) {
        return Ok(());
    }
    let text = format!("output `{name}` is {dtype}; a float32 tensor is expected (the outputs: {})", names(graph));
    Err(EngineError::Graph(text))
}

fn names(outlets: &[Outlet]) -> String {
    let named: Vec<String> = outlets.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
    if named.is_empty() { "none".into() } else { named.join(", ") }
}
