//! ONNX Runtime through the `ort` crate: on the CPU, one thread; and, in [`cuda`], on a GPU.
#![deny(unsafe_code)]

mod cache;
pub mod cuda;
#[allow(unsafe_code)]
mod cudart;
mod options;
pub(super) mod patience;
mod shapes;

use ::ort::memory::Allocator;
use ::ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ::ort::value::Tensor;

use std::path::Path;

pub use self::cache::Graph;
use self::patience::{LONGEST, within};
use self::shapes::Layout;
use super::seats::Seats;
use super::{Engine, EngineError, EngineInfo, Runtime, Shape, adapt, check_length, isa, runtime};

/// Runs before an engine is handed out: ONNX Runtime plans its memory on the second.
const WARM_RUNS: usize = 4;
/// Most seats of one run; as many as a lane may batch.
pub(super) const LARGEST_BATCH: usize = 1024;

/// One session on the calling thread: no pool, no spinning, input and output tensors made once and bound.
///
/// Where the graph's batch is open, seats that are asked for together go into one run: of the next power of two of them, up to
/// the number of seats that there are, on tensors made by [`Engine::seat`]. A row's answer may then differ in its last bits from that of a run
/// alone, since ONNX Runtime multiplies matrices of another height in another order.
pub struct OrtCpu {
    session: Session,
    options: RunOptions<NoSelectedOutputs>,
    layout: Layout,
    /// Tensors for a batch of 1, 2, 4 and so on.
    bound: Vec<Bound>,
    seats: Seats,
    info: EngineInfo,
    graph: Graph,
    remark: Option<String>,
    /// Whether it is known that seats answer alone as together.
    judged: bool,
}

impl OrtCpu {
    /// Compiles the model, holds its shape against `shape`, and warms it. The runtime's cache is used, if it has one.
    ///
    /// # Errors
    /// The file is not a model, or its inputs or outputs are not what `shape` says.
    pub fn new(runtime: &Runtime, onnx: &[u8], shape: &Shape) -> Result<Self, EngineError> {
        Self::cached(runtime, onnx, shape, runtime.model_cache())
    }

    /// [`OrtCpu::new`] with optimised graphs kept in this folder, or nowhere.
    ///
    /// # Errors
    /// Those of [`OrtCpu::new`]: a cache that cannot be used is none.
    pub fn cached(
        runtime: &Runtime,
        onnx: &[u8],
        shape: &Shape,
        model_cache: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let (mut session, mut graph) = cache::session(runtime, onnx, model_cache)?;
        let layout = probe(&mut session, shape)?;
        if shapes::contradicts(session.outputs(), &layout) {
            // The runtime holds tensors that are bound to what the file declares.
            (session, graph) = cache::session(runtime, &adapt::without_dims(onnx), model_cache)?;
        }
        let info = EngineInfo {
            engine: "ort-cpu",
            isa: isa().to_owned(),
            runtime: format!("onnxruntime {}, 1 thread, no spinning", runtime.version()),
            inputs: shape.features,
            outputs: shape.values,
            rows: shape.rows,
            stateful: !shape.states.is_empty(),
        };
        let options = RunOptions::new().map_err(EngineError::refused)?;
        let bound = vec![Bound::new(&session, &layout, 1)?];
        let seats = Seats::new(shape, layout.states);
        let remark = graph.said();
        let mut engine = Self { session, options, layout, bound, seats, info, graph, remark, judged: false };
        let Self { bound, session, options, .. } = &mut engine;
        let mut warm = || within(LONGEST, options, || bound[0].run(session, options));
        (0..WARM_RUNS).try_for_each(|_| warm())?;
        Ok(engine)
    }

    /// Where its graph came from.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Most seats that one run takes, for as many seats as there are now; more are run one batch after the other.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.bound.last().map_or(1, |bound| bound.n)
    }

    /// What the graph takes and gives.
    fn into_layout(mut self) -> Layout {
        self.judge();
        self.layout
    }

    /// Allows batches only where seats answer alone as together. Ten runs: left until there is more than one seat.
    fn judge(&mut self) {
        if self.layout.batches && !self.judged {
            self.layout.batches = independent(&mut self.session, &self.options, &self.layout);
        }
        self.judged = true;
    }

    fn infer_batch(&mut self, chosen: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let bound = &mut self.bound[chosen.len().next_power_of_two().trailing_zeros() as usize];
        for (i, tensor) in bound.inputs.iter_mut().enumerate() {
            self.layout.gather(i, bound.n, chosen, &self.seats, tensor.extract_tensor_mut().1);
        }
        bound.run(&mut self.session, &self.options)?;
        for (i, tensor) in bound.outputs.iter().enumerate() {
            let values = tensor.extract_tensor().1;
            self.layout.scatter(i, bound.n, chosen, &mut self.seats, values, outputs);
        }
        Ok(())
    }
}

impl Engine for OrtCpu {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn seat(&mut self, instruments: usize) {
        self.seats.seat(instruments);
        self.bound.truncate(1);
        if instruments > 1 {
            self.judge();
        }
        let largest = if self.layout.batches { instruments.clamp(1, LARGEST_BATCH).next_power_of_two() } else { 1 };
        while self.bound.last().is_some_and(|bound| bound.n < largest) {
            // Where the runtime has no memory for a larger batch, the smaller ones do its work.
            let Ok(mut next) = Bound::new(&self.session, &self.layout, 1 << self.bound.len()) else { break };
            if (0..WARM_RUNS).any(|_| next.run(&mut self.session, &self.options).is_err()) {
                break;
            }
            self.bound.push(next);
        }
    }

    #[inline]
    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        self.seats.take(seat, row)
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let (n, most) = (self.info.outputs, self.batch());
        check_length("output", seats.len() * n, outputs.len())?;
        let batches = seats.chunks(most).zip(outputs.chunks_mut(most * n));
        batches.into_iter().try_for_each(|(seats, outputs)| self.infer_batch(seats, outputs))
    }

    fn reset(&mut self, seat: usize) {
        self.seats.reset(seat);
    }

    fn filled(&self, seat: usize) -> bool {
        self.seats.filled(seat)
    }

    fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }
}

/// Tensors for a batch of `n`, bound to the session once.
struct Bound {
    n: usize,
    inputs: Vec<Tensor<f32>>,
    outputs: Vec<Tensor<f32>>,
    binding: IoBinding,
}

impl Bound {
    fn new(session: &Session, layout: &Layout, n: usize) -> Result<Self, EngineError> {
        let tensors = |ports: &[shapes::Port]| -> Result<Vec<_>, EngineError> {
            ports.iter().map(|port| tensor(port.dims(n))).collect()
        };
        let (inputs, mut outputs) = (tensors(&layout.inputs)?, tensors(&layout.outputs)?);
        let mut binding = session.create_binding().map_err(EngineError::refused)?;
        for (port, tensor) in layout.inputs.iter().zip(&inputs) {
            binding.bind_input(&port.name, tensor).map_err(EngineError::refused)?;
        }
        for (port, tensor) in layout.outputs.iter().zip(&mut outputs) {
            binding.bind_output(&port.name, tensor).map_err(EngineError::refused)?;
        }
        Ok(Self { n, inputs, outputs, binding })
    }

    #[inline]
    fn run(&mut self, session: &mut Session, options: &RunOptions<NoSelectedOutputs>) -> Result<(), EngineError> {
        runtime::run_bound(session, options, &self.binding).map_err(EngineError::run)
    }
}

/// Learns the layout from runs on zeros: exporters often leave the dimensions of outputs open.
fn probe(session: &mut Session, shape: &Shape) -> Result<Layout, EngineError> {
    let mut wanted: Vec<&String> = shape.outputs.iter().collect();
    let carried: Vec<&String> =
        shape.states.iter().map(|(_, next)| next).filter(|name| !wanted.contains(name)).collect();
    wanted.extend(carried);
    let (inputs, states) = shapes::inputs(session.inputs(), session.outputs(), shape)?;
    wanted.iter().try_for_each(|name| shapes::check_output(session.outputs(), name))?;
    let one = dims_of_a_run(session, &inputs, &wanted, 1)?;
    let open = inputs.iter().all(|input| input.dims(2) != input.dims(1));
    let two = if open { dims_of_a_run(session, &inputs, &wanted, 2).ok() } else { None };
    let outputs = shapes::outputs(&one, two.as_deref(), &inputs, shape)?;
    let batches = open && outputs.iter().all(|output| output.dims(2) != output.dims(1));
    Ok(Layout { inputs, outputs, states, batches })
}

/// Name and dimensions of each output of a run on zeros.
fn dims_of_a_run(
    session: &mut Session,
    inputs: &[shapes::Port],
    wanted: &[&String],
    n: usize,
) -> Result<Vec<(String, Vec<i64>)>, EngineError> {
    let zeros: Vec<SessionInputValue<'_>> =
        inputs.iter().map(|input| Ok(tensor(input.dims(n))?.into())).collect::<Result<_, EngineError>>()?;
    // Options that name the wanted outputs cannot be ended from another thread: these name none.
    let options = RunOptions::new().map_err(EngineError::refused)?;
    let outputs =
        within(LONGEST, &options, || session.run_with_options(&zeros[..], &options).map_err(EngineError::run))?;
    let dims = |name: &&String| {
        let value = outputs.get(name.as_str()).ok_or_else(|| EngineError::run(format!("it gave no `{name}`")))?;
        let (dims, _) = value.try_extract_tensor::<f32>().map_err(EngineError::run)?;
        Ok(((*name).clone(), dims.to_vec()))
    };
    wanted.iter().map(dims).collect()
}

/// Whether a seat's answer is its own: the same beside a seat of NaN and beside one of large values, on either side of it.
fn independent(session: &mut Session, options: &RunOptions<NoSelectedOutputs>, layout: &Layout) -> bool {
    let mut answers = |n: usize, at: usize, other: fn(f32) -> f32| {
        let mut bound = Bound::new(session, layout, n)?;
        for (port, tensor) in layout.inputs.iter().zip(&mut bound.inputs) {
            let tensor = tensor.extract_tensor_mut().1;
            let own: Vec<f32> = (0..port.values).map(|i| (i as f32 * 0.7 + 1.0).sin()).collect();
            let beside: Vec<f32> = own.iter().map(|&x| other(x)).collect();
            (0..n).for_each(|b| port.put(n, b, tensor, if b == at { &own } else { &beside }));
        }
        bound.run(session, options)?;
        let mut all = Vec::new();
        for (port, tensor) in layout.outputs.iter().zip(&bound.outputs) {
            let mut values = vec![0.0; port.values];
            port.get(n, at, tensor.extract_tensor().1, &mut values);
            all.extend(values);
        }
        Ok::<_, EngineError>(all)
    };
    let Ok(alone) = answers(1, 0, |x| x) else { return false };
    let beside: [fn(f32) -> f32; 2] = [|_| f32::NAN, |x| 1e3 * x];
    beside.iter().all(|&other| {
        (0..2).all(|at| answers(2, at, other).is_ok_and(|values| values.iter().zip(&alone).all(|(&a, &b)| near(a, b))))
    })
}

/// Within what another order of additions explains; NaN is near NaN.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 + 1e-4 * b.abs() || (a.is_nan() && b.is_nan()) || a == b
}

fn tensor(dims: Vec<i64>) -> Result<Tensor<f32>, EngineError> {
    let mut tensor = Tensor::<f32>::new(&Allocator::default(), dims).map_err(EngineError::refused)?;
    tensor.extract_tensor_mut().1.fill(0.0);
    Ok(tensor)
}
