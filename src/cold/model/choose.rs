//! Which engine serves a model.

use std::thread;

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::cold::cores;
use crate::engine::admission::{self, Agreement, Rules, Times};
use crate::engine::native::Refusal;
use crate::engine::{Engine, Native, Options, Shape, Weights};

pub(super) const MEND: &str =
    "set the lane's engine to \"auto\" or \"ort-cpu\"; `pillion model check` says more of each engine";

/// Runs of each engine that are timed at start.
const RUNS: usize = 2000;

/// The configuration's word for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// The fastest at the 99th percentile of those that agree with ONNX Runtime.
    #[default]
    Auto,
    /// ONNX Runtime on the CPU.
    OrtCpu,
    /// Our own kernels, or a refusal.
    Native,
}

/// How a lane wants its models served.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// By which engine.
    pub engine: EngineChoice,
    /// CPU that engines are timed on: the lane's. Wherever this thread is when `None`.
    pub core: Option<usize>,
    /// Most instruments of a run, from 1.
    pub batch: usize,
}

impl From<EngineChoice> for Serving {
    fn from(engine: EngineChoice) -> Self {
        Self { engine, core: None, batch: 1 }
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
    /// Bytes of weights that a run reads, where the engine tells.
    pub weight_bytes: Option<u64>,
}

impl Tried {
    /// The engine that all others are held against.
    pub fn reference(engine: Box<dyn Engine>) -> Self {
        Self { name: engine.info().engine, made: Ok((engine, Agreement::default())), times: None, weight_bytes: None }
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
        let made = made.and_then(|mut native| {
            let agreement = admission::compare(reference, &mut native, self.golden, self.rules)?;
            Ok((Box::new(native) as Box<dyn Engine>, agreement))
        });
        Tried { name: native_name(weights), made, times: None, weight_bytes }
    }

    /// The native engine with weights stored so, not yet judged.
    pub fn make_native(&self, weights: Weights) -> Result<Native, Refusal> {
        let options = Options { weights, precompute: self.precompute, batch: self.rules.batch, ..Options::default() };
        Native::with(self.onnx, &self.shape, options)
    }
}

/// What candidates are called.
pub(crate) const fn native_name(weights: Weights) -> &'static str {
    match weights {
        Weights::F32 => "native",
        Weights::Bf16 => "native-bf16",
        Weights::F16 => "native-f16",
        Weights::Int8 => "native-int8",
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

/// The engine that serves, and all that were tried. With ONNX Runtime forced nothing else is.
pub(super) fn choose(
    serving: Serving,
    mut reference: Box<dyn Engine>,
    case: &Case<'_>,
) -> Result<(Box<dyn Engine>, Vec<Candidate>), String> {
    let mut tried = match serving.engine {
        EngineChoice::OrtCpu => Vec::new(),
        EngineChoice::Auto | EngineChoice::Native => case.natives(reference.as_mut()),
    };
    if serving.engine == EngineChoice::Native && tried.iter().all(|tried| tried.made.is_err()) {
        let reasons = tried.iter().filter_map(|tried| tried.made.as_ref().err());
        let reasons: Vec<_> = reasons.map(String::as_str).collect();
        return Err(format!("the native engine does not take it: {}", reasons.join("; ")));
    }
    tried.insert(0, Tried::reference(reference));
    if tried.iter().filter(|tried| tried.made.is_ok()).count() > 1 {
        time(&mut tried, case.golden, RUNS, serving.core).map_err(|error| error.to_string())?;
    }
    let first = usize::from(serving.engine == EngineChoice::Native);
    let chosen = first + fastest(&tried[first..]);
    let candidates = tried.iter().map(Tried::candidate).collect();
    let (mut engine, _) = tried.swap_remove(chosen).made?;
    engine.reset(0);
    Ok((engine, candidates))
}
