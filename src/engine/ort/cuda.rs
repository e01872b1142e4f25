//! ONNX Runtime on a GPU: fixed shapes at fixed addresses, captured once as a CUDA graph and replayed.
//!
//! A run copies the inputs of all its seats to the device in one copy, launches, copies the outputs back in one, and waits for the
//! stream. ONNX Runtime would do those copies itself for tensors of the host, but not when it replays a graph.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use ::ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA};
use ::ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ::ort::session::{NoSelectedOutputs, RunOptions, Session};
use serde::{Deserialize, Serialize};

use super::super::seats::Seats;
use super::super::{Engine, EngineError, EngineInfo, Runtime, Shape, adapt, check_harmless, check_length, runtime};
use super::cudart::{Cudart, Exchange, Named, Stream};
use super::shapes::{Layout, Port};
use super::{LARGEST_BATCH, OrtCpu, options};

/// ONNX Runtime's half of CUDA support, which must lie beside the library itself.
pub const PROVIDER: &str = "libonnxruntime_providers_cuda.so";
const SHARED: &str = "libonnxruntime_providers_shared.so";
const DRIVER: &str = "libcuda.so.1";
const CUDART: &str = "libcudart.so.13";
/// What the provider is linked to or loads by name.
const LIBRARIES: [&str; 5] =
    ["libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcufft.so.12", "libcudnn.so.9"];
const OR_CPU: &str = "or set on_missing = \"cpu\"";
const FETCH: &str = "run scripts/fetch-onnxruntime --gpu";
/// Runs before an engine is handed out: two for memory, one that is captured, and a replay.
const WARM_RUNS: usize = 4;
const _: () = assert!(WARM_RUNS >= 3, "two runs for memory, and one that is captured");

/// `lane.device`: `"cpu"`, or `"cuda:N"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// No GPU.
    #[default]
    Cpu,
    /// The GPU of this number, 0 to 63, as CUDA counts them.
    Cuda(i32),
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").filter(|n| n.len() <= 2 && n.bytes().all(|b| b.is_ascii_digit()));
        match number.and_then(|n| n.parse().ok()) {
            _ if text == "cpu" => Ok(Self::Cpu),
            Some(n @ 0..=63) => Ok(Self::Cuda(n)),
            _ => Err(format!("{text:?} is neither \"cpu\" nor a GPU from \"cuda:0\" to \"cuda:63\"")),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// `lane.on_missing`: what a lane that asks for a GPU gets where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// A refusal to start.
    #[default]
    Fail,
    /// ONNX Runtime on the CPU, with the reason printed.
    Cpu,
}

impl OnMissing {
    /// `Ok(None)`: the GPU serves. `Ok(Some(reason))`: the CPU does, and this is why.
    ///
    /// # Errors
    /// The GPU, its libraries or a kernel is missing and may not be: the reason, with what mends it.
    pub fn decide(self, available: Result<(), String>) -> Result<Option<String>, String> {
        match (self, available) {
            (_, Ok(())) => Ok(None),
            (Self::Cpu, Err(reason)) => Ok(Some(reason)),
            (Self::Fail, Err(reason)) => Err(reason),
        }
    }
}

/// How a GPU is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Number of the GPU.
    pub device: i32,
    /// Capture the run as a CUDA graph, and refuse a model with a node that the provider cannot run.
    pub graphs: bool,
    /// Multiply float32 matrices with 10 bits of mantissa: faster, and off from the CPU's answers by a part in a thousand.
    pub tf32: bool,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self { device: 0, graphs: true, tf32: false }
    }
}

impl CudaOptions {
    /// Keys and values for the provider. The stream is set beside them.
    #[must_use]
    pub fn provider(&self) -> Vec<(&'static str, String)> {
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        vec![
            ("device_id", self.device.to_string()),
            ("enable_cuda_graph", flag(self.graphs)),
            ("use_tf32", flag(self.tf32)),
            // The default times the algorithms and so may choose another one at the next start.
            ("cudnn_conv_algo_search", "HEURISTIC".into()),
            ("arena_extend_strategy", "kSameAsRequested".into()),
        ]
    }
}

/// Whether a GPU can be used at all: the provider beside the library, the driver, CUDA 13 and cuDNN 9, the device.
///
/// # Errors
/// What is missing, and what mends it.
pub fn available(runtime: &Runtime, device: i32) -> Result<(), String> {
    open(runtime, device, Path::new(CUDART)).map(|_| ())
}

fn open(runtime: &Runtime, device: i32, cudart: &Path) -> Result<Arc<Cudart>, String> {
    let folder = runtime.path().parent().unwrap_or(Path::new(""));
    for name in [PROVIDER, SHARED] {
        if !folder.join(name).is_file() {
            let path = runtime.path().display();
            return Err(format!("{name} is not beside {path}, which serves the CPU only: {FETCH}, {OR_CPU}"));
        }
        runtime.check_provider(&folder.join(name)).map_err(|problem| format!("{problem}: {FETCH}, {OR_CPU}"))?;
    }
    runtime::load(Path::new(DRIVER))
        .map_err(|reason| format!("the NVIDIA driver does not load ({reason}): install it, {OR_CPU}"))?;
    let mend = "install CUDA 13 and cuDNN 9, or put their folders into LD_LIBRARY_PATH";
    let api = Cudart::open(cudart).map_err(|reason| format!("{reason}: {mend}, {OR_CPU}"))?;
    for name in LIBRARIES {
        let library = PathBuf::from(name);
        runtime::load(&library).map_err(|reason| format!("{name} does not load ({reason}): {mend}, {OR_CPU}"))?;
    }
    let count = api.devices().map_err(|reason| format!("no GPU answers ({reason}): mend the driver, {OR_CPU}"))?;
    if !(0..count).contains(&device) {
        return Err(format!(
            "device = \"cuda:{device}\" of {count}: name one from cuda:0 to cuda:{}, {OR_CPU}",
            count - 1
        ));
    }
    Ok(api)
}

/// One session on one GPU, with its own stream.
pub struct OrtCuda {
    /// Exchanges for a batch of 1, 2, 4 and so on. Before the session and the stream that they use.
    bound: Vec<Bound>,
    session: Session,
    stream: Arc<Stream>,
    api: Arc<Cudart>,
    memory: MemoryInfo<'static>,
    options: CudaOptions,
    layout: Layout,
    seats: Seats,
    info: EngineInfo,
    /// Graphs captured so far: each exchange has its own, and a new one never that of one that is gone.
    graphs: usize,
    /// ONNX Runtime keeps graphs, and handles that take long to make, for each thread.
    warm_on: ThreadId,
}

struct Bound {
    exchange: Exchange,
    options: RunOptions<NoSelectedOutputs>,
    n: usize,
}

impl OrtCuda {
    /// Compiles the model for the GPU, holds its shape against `shape`, and warms it on this thread; [`Engine::prepare`] does so on another.
    ///
    /// # Errors
    /// No such GPU, see [`available`]; the file is not a model, or not what `shape` says; a node that the GPU cannot run.
    pub fn new(runtime: &Runtime, onnx: &[u8], shape: &Shape, options: &CudaOptions) -> Result<Self, EngineError> {
        check_harmless(runtime, onnx)?;
        let api = open(runtime, options.device, Path::new(CUDART)).map_err(EngineError::Device)?;
        let memory =
            MemoryInfo::new(AllocationDevice::CUDA, options.device, AllocatorType::Device, MemoryType::Default);
        let memory = memory.map_err(EngineError::refused)?;
        Self::over(runtime, onnx, shape, *options, api, memory, |stream| {
            let provider = options
                .provider()
                .into_iter()
                .fold(CUDA::default(), |all, (key, value)| all.with_arbitrary_config(key, value));
            let build = || -> ::ort::Result<Session> {
                let builder = options::builder(runtime, true).map_err(|error| ::ort::Error::new(error.to_string()))?;
                let provider = stream.serve(provider).build().error_on_failure();
                let mut builder = builder.with_deterministic_compute(true)?.with_execution_providers([provider])?;
                if options.graphs {
                    builder = builder.with_disable_cpu_fallback()?;
                }
                // What is declared of outputs need not be what a run gives.
                builder.commit_from_memory(&adapt::without_dims(onnx))
            };
            build().map_err(|error| EngineError::Device(explained(&error.to_string())))
        })
    }

    /// The same over any session whose device memory is `memory`.
    fn over(
        runtime: &Runtime,
        onnx: &[u8],
        shape: &Shape,
        options: CudaOptions,
        api: Arc<Cudart>,
        memory: MemoryInfo<'static>,
        session: impl FnOnce(&Stream) -> Result<Session, EngineError>,
    ) -> Result<Self, EngineError> {
        let layout = OrtCpu::cached(runtime, onnx, shape, None)?.into_layout();
        api.use_device(options.device).map_err(EngineError::Device)?;
        let stream = Stream::new(&api).map_err(EngineError::Device)?;
        let session = session(&stream)?;
        let how = if options.graphs { "CUDA graphs" } else { "no CUDA graphs" };
        let tf32 = if options.tf32 { "TF32" } else { "no TF32" };
        let info = EngineInfo {
            engine: "ort-cuda",
            isa: Device::Cuda(options.device).to_string(),
            runtime: format!("onnxruntime {}, {how}, {tf32}", runtime.version()),
            inputs: shape.features,
            outputs: shape.values,
            rows: shape.rows,
            stateful: !shape.states.is_empty(),
        };
        let seats = Seats::new(shape, layout.states);
        let warm_on = thread::current().id();
        let bound = Vec::new();
        let mut engine = Self { bound, session, stream, api, memory, options, layout, seats, info, graphs: 0, warm_on };
        let first = engine.bind(1)?;
        engine.bound.push(first);
        engine.warm(0)?;
        Ok(engine)
    }

    /// Most seats that one run takes, for as many seats as there are now; more are run one batch after the other.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.bound.last().map_or(1, |bound| bound.n)
    }

    fn bind(&mut self, n: usize) -> Result<Bound, EngineError> {
        self.graphs += 1;
        let named =
            |ports: &[Port]| -> Vec<Named> { ports.iter().map(|port| (port.name.clone(), port.dims(n))).collect() };
        let (inputs, outputs) = (named(&self.layout.inputs), named(&self.layout.outputs));
        let exchange = Exchange::new(&self.session, &self.stream, &self.memory, &inputs, &outputs);
        let exchange = exchange.map_err(EngineError::Device)?;
        let mut options = RunOptions::new().map_err(EngineError::refused)?;
        // We wait for the stream ourselves, once, after the copy back.
        options.disable_device_sync().map_err(EngineError::refused)?;
        if self.options.graphs {
            options.set("gpu_graph_id", self.graphs.to_string()).map_err(EngineError::refused)?;
        }
        Ok(Bound { exchange, options, n })
    }

    /// Runs exchange `i` until its graph is captured. One at a time in the process: a capture is spoilt by another one's allocations.
    fn warm(&mut self, i: usize) -> Result<(), EngineError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.api.use_device(self.options.device).map_err(EngineError::Run)?;
        let Bound { exchange, options, .. } = &mut self.bound[i];
        (0..WARM_RUNS)
            .try_for_each(|_| exchange.run(&mut self.session, options))
            .map_err(|e| EngineError::Run(explained(&e)))
    }

    fn infer_batch(&mut self, chosen: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let Bound { exchange, options, n } =
            &mut self.bound[chosen.len().next_power_of_two().trailing_zeros() as usize];
        for i in 0..self.layout.inputs.len() {
            self.layout.gather(i, *n, chosen, &self.seats, exchange.input_mut(i));
        }
        exchange.run(&mut self.session, options).map_err(EngineError::Run)?;
        for i in 0..self.layout.outputs.len() {
            self.layout.scatter(i, *n, chosen, &mut self.seats, exchange.output(i), outputs);
        }
        Ok(())
    }
}

impl Engine for OrtCuda {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn seat(&mut self, instruments: usize) {
        self.seats.seat(instruments);
        self.bound.truncate(1);
        let largest = if self.layout.batches { instruments.clamp(1, LARGEST_BATCH).next_power_of_two() } else { 1 };
        while self.batch() < largest {
            // Where the device has no memory for a larger batch, the smaller ones do its work.
            let Ok(next) = self.bind(1 << self.bound.len()) else { break };
            self.bound.push(next);
            if self.warm(self.bound.len() - 1).is_err() {
                self.bound.pop();
                break;
            }
        }
    }

    #[inline]
    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        self.seats.take(seat, row)
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let (n, most) = (self.info.outputs, self.batch());
        check_length("output", seats.len() * n, outputs.len())?;
        let mut batches = seats.chunks(most).zip(outputs.chunks_mut(most * n));
        batches.try_for_each(|(seats, outputs)| self.infer_batch(seats, outputs))
    }

    fn reset(&mut self, seat: usize) {
        self.seats.reset(seat);
    }

    fn filled(&self, seat: usize) -> bool {
        self.seats.filled(seat)
    }

    /// On a thread that this engine has not run on: its warm runs, before the first tick has to wait for them.
    fn prepare(&mut self) -> bool {
        let here = thread::current().id();
        if self.warm_on != here {
            self.warm_on = here;
            // What fails here fails in the next run too, which has somebody to tell.
            let _ = (0..self.bound.len()).try_for_each(|i| self.warm(i));
        }
        false
    }
}

/// ONNX Runtime's words, and what to do about those that come up.
fn explained(words: &str) -> String {
    if words.contains("not enabled in this build") {
        return format!("{words}; this library serves the CPU only: {FETCH}, {OR_CPU}");
    }
    if words.contains("CPU EP") || words.contains("disable_cpu_ep_fallback") {
        return format!(
            "{words}; the provider has no kernel for a node of this model: set graphs = false, which lets that node run on the CPU, or engine = \"ort-cpu\""
        );
    }
    words.to_owned()
}

#[cfg(test)]
#[path = "cuda_tests.rs"]
mod tests;
