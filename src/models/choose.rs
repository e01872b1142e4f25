//! Which engine serves a model.

use std::thread;

use super::{EngineChoice, Manifest};
use crate::engine::admission::{self, Agreement, Rules, Times};
use crate::engine::cuda::{self, OnMissing};
use crate::engine::native::Refusal;
use crate::engine::{CudaOptions, Engine, Native, Options, OrtCuda, Runtime, Shape, Weights};
use crate::host::cores;

pub(super) const MEND: &str =
    "mend that, or set the lane's engine to \"auto\" or \"ort-cpu\"; `pillion model check` says more of each engine";

/// What ONNX Runtime on a GPU is called.
pub(crate) const CUDA: &str = "ort-cuda";

/// Runs of each engine that are timed at start.
const RUNS: usize = 2000;

/// How a lane wants its models served.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// By which engine.
    pub engine: EngineChoice,
    /// CPU that engines are timed on: the lane's. Wherever this thread is when `None`.
    pub core: Option<usize>,
    /// Most instruments of a run, from 1.
    pub batch: usize,
    /// The lane's GPU.
    pub cuda: Option<CudaOptions>,
    /// What to do where it is missing.
    pub on_missing: OnMissing,
}

impl From<EngineChoice> for Serving {
    fn from(engine: EngineChoice) -> Self {
        Self { engine, core: None, batch: 1, cuda: None, on_missing: OnMissing::Fail }
    }
}

/// An engine that was tried.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub engine: &'static str,
    /// What the comparison with ONNX Runtime found, or why the engine may not serve.
    pub admitted: Result<Agreement, String>,
    /// Its speed at load, if it was timed.
    pub times: Option<Times>,
}

/// An engine that may serve, or why it may not.
pub(crate) struct Tried {
    pub name: &'static str,
    pub made: Result<(Box<dyn Engine>, Agreement), String>,
    pub times: Option<Times>,
    /// Whether the build, the machine and the file allow it at all.
    pub available: bool,
    /// Bytes of weights that a run reads, where the engine tells.
    pub weight_bytes: Option<u64>,
}

impl Tried {
    /// The engine that all others are held against.
    pub fn reference(engine: Box<dyn Engine>) -> Self {
        let name = engine.info().engine;
        Self { name, made: Ok((engine, Agreement::default())), times: None, available: true, weight_bytes: None }
    }

    /// One that was made is compared.
    fn judged(name: &'static str, made: Result<Box<dyn Engine>, String>, case: &Case<'_>, to: &mut dyn Engine) -> Self {
        let available = made.is_ok();
        let made = made.and_then(|mut engine| {
            let agreement = admission::compare(to, engine.as_mut(), case.golden, case.rules)?;
            Ok((engine, agreement))
        });
        Self { name, made, times: None, available, weight_bytes: None }
    }

    /// One that is not to be had.
    fn missing(name: &'static str, reason: String) -> Self {
        Self { name, made: Err(reason), times: None, available: false, weight_bytes: None }
    }

    fn p99(&self) -> Option<u64> {
        self.made.is_ok().then_some(self.times.map_or(u64::MAX, |times| times.p99_ns))
    }

    fn candidate(&self) -> Candidate {
        let admitted = match &self.made {
            Ok((_, agreement)) => Ok(*agreement),
            Err(reason) => Err(reason.clone()),
        };
        Candidate { engine: self.name, admitted, times: self.times }
    }
}

/// What a model's engines are made and judged by.
pub(crate) struct Case<'a> {
    pub onnx: &'a [u8],
    pub shape: Shape,
    pub golden: &'a [Vec<f32>],
    pub weights: Weights,
    pub precompute: bool,
    pub rules: Rules,
}

impl<'a> Case<'a> {
    /// As the manifest says.
    pub fn of(manifest: &Manifest, onnx: &'a [u8], golden: &'a [Vec<f32>], batch: usize) -> Self {
        let (weights, precompute) = (manifest.weights, manifest.precompute);
        Self { onnx, shape: manifest.shape(), golden, weights, precompute, rules: manifest.rules(batch) }
    }

    /// The native engine with the file's own weights, and with narrower ones where the manifest allows them: each admitted, or
    /// why not.
    pub fn natives(&self, reference: &mut dyn Engine) -> Vec<Tried> {
        self.storages().map(|weights| self.native(reference, weights)).collect()
    }

    /// How native engines store weights here.
    pub fn storages(&self) -> impl Iterator<Item = Weights> + use<> {
        let narrower = Some(self.weights).filter(|&weights| weights != Weights::F32);
        [Some(Weights::F32), narrower].into_iter().flatten()
    }

    fn native(&self, reference: &mut dyn Engine, weights: Weights) -> Tried {
        let made = self.make_native(weights).map_err(|refusal| refusal.to_string());
        let weight_bytes = made.as_ref().ok().map(|native| native.weight_bytes() as u64);
        let made = made.map(|native| Box::new(native) as Box<dyn Engine>);
        Tried { weight_bytes, ..Tried::judged(weights.engine(), made, self, reference) }
    }

    /// ONNX Runtime on a GPU, admitted or why not.
    pub fn cuda(&self, reference: &mut dyn Engine, runtime: &Runtime, options: &CudaOptions) -> Tried {
        let made = cuda::available(runtime, options.device).and_then(|()| self.make_cuda(runtime, options));
        Tried::judged(CUDA, made, self, reference)
    }

    /// The same, not yet judged.
    pub fn make_cuda(&self, runtime: &Runtime, options: &CudaOptions) -> Result<Box<dyn Engine>, String> {
        let engine = OrtCuda::new(runtime, self.onnx, &self.shape, options).map_err(|error| error.to_string())?;
        Ok(Box::new(engine))
    }

    /// The native engine with weights stored so, not yet judged.
    pub fn make_native(&self, weights: Weights) -> Result<Native, Refusal> {
        let options = Options { weights, precompute: self.precompute, batch: self.rules.batch, ..Options::default() };
        Native::with(self.onnx, &self.shape, options)
    }
}

/// Times all that were admitted, by turns, on a thread of its own that is pinned to `core`.
pub(crate) fn time(
    tried: &mut [Tried],
    golden: &[Vec<f32>],
    runs: usize,
    core: Option<usize>,
) -> crate::error::Result<()> {
    let on_core = || {
        core.map_or(Ok(()), |cpu| cores::pin(cpu, "the timing of engines"))?;
        let mut admitted: Vec<&mut Tried> = tried.iter_mut().filter(|tried| tried.made.is_ok()).collect();
        let engines = admitted.iter_mut().filter_map(|tried| tried.made.as_mut().ok());
        let mut engines: Vec<&mut dyn Engine> = engines.map(|(engine, _)| engine.as_mut() as &mut dyn Engine).collect();
        let times = admission::time(&mut engines, golden, runs);
        admitted.iter_mut().zip(times).for_each(|(tried, times)| tried.times = Some(times));
        Ok(())
    };
    thread::scope(|scope| scope.spawn(on_core).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The place of the fastest at the 99th percentile; at equal speed the later one, since those behind the reference do not
/// allocate.
pub(crate) fn fastest(tried: &[Tried]) -> usize {
    let admitted = tried.iter().enumerate().filter_map(|(i, tried)| Some((tried.p99()?, std::cmp::Reverse(i))));
    admitted.min().map_or(0, |(_, std::cmp::Reverse(i))| i)
}

/// The engine that serves, and all that were tried. With ONNX Runtime on the CPU forced nothing else is.
pub(super) fn choose(
    serving: Serving,
    runtime: &Runtime,
    mut reference: Box<dyn Engine>,
    case: &Case<'_>,
) -> Result<(Box<dyn Engine>, Vec<Candidate>), String> {
    let mut tried = others(serving, runtime, reference.as_mut(), case)?;
    tried.insert(0, Tried::reference(reference));
    let admitted = |tried: &[Tried]| tried.iter().filter(|tried| tried.made.is_ok()).count();
    if admitted(&tried) > 1 {
        time(&mut tried, case.golden, RUNS, serving.core).map_err(|error| error.to_string())?;
    }
    // An engine forced by name serves though the reference be faster.
    let first = usize::from(serving.engine != EngineChoice::Auto && admitted(&tried[1..]) > 0);
    let chosen = first + fastest(&tried[first..]);
    let candidates = tried.iter().map(Tried::candidate).collect();
    let (mut engine, _) = tried.swap_remove(chosen).made?;
    engine.reset(0);
    Ok((engine, candidates))
}

/// What is tried beside the reference. Of what is forced by name one must be admitted, but for a GPU that is missing and may be.
fn others(
    serving: Serving,
    runtime: &Runtime,
    reference: &mut dyn Engine,
    case: &Case<'_>,
) -> Result<Vec<Tried>, String> {
    let mut tried = match serving.engine {
        EngineChoice::OrtCpu => return Ok(Vec::new()),
        EngineChoice::OrtCuda => Vec::new(),
        EngineChoice::Auto | EngineChoice::Native => case.natives(reference),
    };
    match (serving.engine, serving.cuda) {
        (EngineChoice::OrtCuda, None) => {
            return Err("engine = \"ort-cuda\" and device = \"cpu\": name the GPU in device, as \"cuda:0\"".into());
        }
        (EngineChoice::Auto | EngineChoice::OrtCuda, Some(options)) => {
            if let Some(reason) = serving.on_missing.decide(cuda::available(runtime, options.device))? {
                tried.push(Tried::missing(CUDA, reason));
                return Ok(tried);
            }
            tried.push(case.cuda(reference, runtime, &options));
        }
        _ => {}
    }
    if serving.engine == EngineChoice::Auto || tried.iter().any(|tried| tried.made.is_ok()) {
        return Ok(tried);
    }
    let reasons: Vec<_> = tried.iter().filter_map(|tried| tried.made.as_ref().err()).map(String::as_str).collect();
    let name = if serving.engine == EngineChoice::Native { "the native engine" } else { CUDA };
    Err(format!("{name} does not take it: {}", reasons.join("; ")))
}
