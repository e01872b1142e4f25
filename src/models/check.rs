//! `pillion model check`: what an exported file is, who runs it, how near and how fast.

mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use super::choose::{self, Case, Tried};
use super::expect::Found;
use super::guess::{self, Told};
use super::mallocs::{self, Counts};
use super::taken::{Taken, ports};
use super::{
    Expected, GOLDEN, Hash, MANIFEST, MOST_OF_ONNX, Manifest, Missing, Model, ONNX, evidence, exporters, refused,
};
use crate::engine::adapt::Fitting;
use crate::engine::admission::{Rules, Tolerance};
use crate::engine::inspect::{self, Port};
use crate::engine::native::{self, Survey, Work};
use crate::engine::{CudaOptions, Engine, Runtime, RuntimeConfig, Shape, Weights, adapt, cuda};
use crate::error::{Error, Result};
use crate::files;
use crate::host::cores;

/// Runs of each engine that are timed; fewer of a slow model.
const RUNS: usize = 40_000;
/// Rows made where there are no golden ones.
const ROWS: usize = 24;

/// What is to be checked, and what the user says of a file without a manifest.
#[derive(Clone, Debug)]
pub struct Request {
    /// A model directory or an ONNX file.
    pub target: PathBuf,
    /// The graph's shape where it does not tell.
    pub told: Told,
    /// Whether its rows may hold NaN.
    pub missing: Missing,
    /// How the native engine may store weights, beside f32.
    pub weights: Weights,
    /// Whether it prepares between rows.
    pub precompute: bool,
    /// How near narrower weights must be.
    pub tolerance: Tolerance,
    /// CPU to time on; the lowest this process may use when `None`.
    pub core: Option<usize>,
    /// Most instruments of a run.
    pub batch: usize,
    /// GPU to try.
    pub cuda: CudaOptions,
    /// Rows of the market to ask a model directory on.
    pub rows: Option<PathBuf>,
    /// The estimator's own answers to them.
    pub expect: Option<PathBuf>,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// The ONNX file.
    pub file: String,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// Name and revision in the manifest, where there is one.
    pub model: Option<String>,
    /// Which events have its rows, where its manifest says so.
    pub trigger: Option<String>,
    /// What its manifest says of the estimator's own answers.
    pub expected: Option<Expected>,
    /// What was found on rows of the market, where some were given.
    pub asked: Option<Found>,
    /// Inputs of the graph.
    pub inputs: Vec<Port>,
    /// Outputs of the graph.
    pub outputs: Vec<Port>,
    /// The input that takes the rows.
    pub input: String,
    /// Values of a row.
    pub features: usize,
    /// Rows of the window, 1 for a vector or a step.
    pub rows: usize,
    /// Which dimension of a window comes first in the file: `rows-first` or `channels-first`.
    pub layout: &'static str,
    /// Inputs of the file that have one value each and make up a row, in its order; none where one input takes the rows.
    pub columns: Vec<String>,
    /// States: input and the output that is its next value.
    pub states: Vec<(String, String)>,
    /// Outputs that are published.
    pub published: Vec<String>,
    /// Values of all of them.
    pub values: usize,
    /// Opset of the default domain.
    pub opset: Option<i64>,
    /// Operators with their counts; those of `ai.onnx.ml` as `ml.…`.
    pub operators: BTreeMap<String, usize>,
    /// Bytes of weights in the file.
    pub weight_bytes: u64,
    /// Arithmetic of a run; none where a run that shows every value of the graph failed.
    pub work: Option<Work>,
    /// Multiply-adds of f32 a nanosecond as measured here: one thread, all in registers, the widest instruction set.
    pub peak_macs_per_ns: f64,
    /// MACs and comparisons of a run at that rate, ns.
    pub floor_ns: Option<f64>,
    /// CPU that engines were timed on.
    pub core: usize,
    /// What an engine's answers are judged by.
    pub tolerance: Tolerance,
    /// Whether the largest value is a decision.
    pub decides: bool,
    /// The engine that `engine = "auto"` takes here.
    pub auto: String,
    /// Each engine.
    pub engines: BTreeMap<String, EngineFindings>,
}

/// What was found of an engine; times are ns.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineFindings {
    /// Whether it can be made here: the build, the machine and the file allow it.
    pub available: bool,
    /// Whether it answers as ONNX Runtime on the CPU does.
    pub admitted: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Rows compared.
    pub rows: Option<usize>,
    /// Largest absolute difference on golden and ordinary rows.
    pub max_abs_err: Option<f32>,
    /// The same on all rows: answers to rows far outside are large, and so is what rounding leaves of them.
    pub max_abs_err_of_all: Option<f32>,
    /// Decisions that were the same; none where the model does not decide.
    pub decisions: Option<usize>,
    /// Rows on which ONNX Runtime's two largest values are nearer to each other than the default tolerance.
    pub ties: Option<usize>,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p999_ns: Option<u64>,
    /// What is prepared between two runs, 99th percentile.
    pub prepare_p99_ns: Option<u64>,
    /// Calls to the C allocator in a run; none where they cannot be counted.
    pub mallocs_per_run: Option<u64>,
    /// Bytes of weights that a run reads.
    pub weight_bytes: Option<u64>,
    /// Median over the arithmetic floor.
    pub floor_ratio: Option<f64>,
}

/// What is checked, whatever it came from.
struct Subject {
    path: PathBuf,
    model: Option<String>,
    manifest: Option<Manifest>,
    /// The graph as engines take it, and the SHA-256 of the file that it is in.
    onnx: Vec<u8>,
    sha256: Hash,
    fitting: Fitting,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    shape: Shape,
    golden: Vec<Vec<f32>>,
    weights: Weights,
    precompute: bool,
    rules: Rules,
    cuda: CudaOptions,
}

/// Checks it and says what was found, as JSON or as text; in the process that counts, the counts.
///
/// # Errors
/// A file that no engine takes; one whose shape is unclear; a CPU that is not there.
pub fn run(request: &Request, json: bool) -> Result<String> {
    let (subject, mut reference) = Subject::of(request)?;
    let asked = subject.ask(request, reference.as_mut())?;
    if mallocs::is_counting() {
        return to_json(&count(&subject, reference.as_mut()));
    }
    let findings = Findings { asked, ..findings(subject, reference, request.core)? };
    if json { to_json(&findings) } else { Ok(text::text(&findings)) }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Error::run("model check", error, "report this as a bug"))
}

impl Subject {
    /// With the engine that all others are held against.
    fn of(request: &Request) -> Result<(Self, Box<dyn Engine>)> {
        let runtime = RuntimeConfig::default();
        if request.target.is_dir() { Self::dir(request, &runtime) } else { Self::file(request, &runtime) }
    }

    fn dir(request: &Request, config: &RuntimeConfig) -> Result<(Self, Box<dyn Engine>)> {
        let told = request.told != Told::default() || request.missing != Missing::Never;
        let allowed = request.weights != Weights::F32 || request.precompute;
        if told || allowed || request.tolerance != Tolerance::default() {
            let problem = "has a manifest, which says what flags say of a bare file";
            return Err(Error::input(
                request.target.display(),
                problem,
                "change manifest.toml, or name the .onnx file",
            ));
        }
        let model = Model::read(&request.target)?;
        let reference = model.reference(config)?;
        let path = request.target.join(ONNX);
        let (inputs, outputs) = ports(&path, &model.onnx, config)?;
        let manifest = &model.manifest;
        let subject = Self {
            path,
            model: Some(format!("{} r{}", manifest.name, manifest.revision)),
            manifest: Some(manifest.clone()),
            inputs,
            outputs,
            shape: manifest.shape(),
            weights: manifest.weights,
            precompute: manifest.precompute,
            rules: manifest.rules(request.batch),
            golden: model.golden.inputs,
            sha256: Hash(model.onnx_sha256),
            fitting: manifest.fitting(),
            onnx: model.onnx,
            cuda: request.cuda,
        };
        Ok((subject, reference))
    }

    fn file(request: &Request, config: &RuntimeConfig) -> Result<(Self, Box<dyn Engine>)> {
        let path = request.target.clone();
        let taken = Taken::read(&path, &request.told, None, config)?;
        let reference = Box::new(taken.reference(&path, config)?);
        let Taken { onnx, inputs, outputs, shape, sha256, fitting, .. } = taken;
        let decides = shape.outputs.len() == 1 && shape.values > 1;
        let missing = request.missing == Missing::Nan;
        let subject = Self {
            path,
            model: None,
            manifest: None,
            golden: made_rows(&shape),
            onnx,
            sha256,
            fitting,
            inputs,
            outputs,
            shape,
            weights: request.weights,
            precompute: request.precompute,
            rules: Rules { tolerance: request.tolerance, decides, missing, batch: request.batch },
            cuda: request.cuda,
        };
        Ok((subject, reference))
    }

    /// The model asked on the rows that were named, and held against the estimator's answers.
    fn ask(&self, request: &Request, reference: &mut dyn Engine) -> Result<Option<Found>> {
        let Some(path) = request.rows.as_ref().filter(|_| !mallocs::is_counting()) else { return Ok(None) };
        let Some(manifest) = &self.manifest else {
            let mend = "name a model directory; `pillion model new` makes one, and takes --rows and --expect as well";
            return Err(Error::input(self.path.display(), "has no manifest that names the columns of --rows", mend));
        };
        evidence::of_manifest(manifest, &self.onnx, path, request.expect.as_deref(), reference).map(Some)
    }

    fn case(&self) -> Case<'_> {
        Case {
            onnx: &self.onnx,
            shape: self.shape.clone(),
            golden: &self.golden,
            weights: self.weights,
            precompute: self.precompute,
            rules: self.rules,
        }
    }

    /// A run on which every value of the graph shows its dimensions; none where that fails.
    fn work(&self, survey: &Survey) -> Option<Work> {
        let runtime = runtime().ok()?;
        let dims = guess::dims(&self.inputs, &self.shape);
        let mut known = inspect::dims_of_a_run(runtime, &survey.open_up(&self.onnx), &dims).ok()?;
        known.extend(self.inputs.iter().map(|port| port.name.clone()).zip(dims));
        Some(survey.work(&known))
    }
}

/// The bytes of a file that is no model directory.
pub(super) fn read_onnx(path: &Path) -> Result<Vec<u8>> {
    let bytes = files::read(path, MOST_OF_ONNX).map_err(|unread| {
        let mend = format!("name an .onnx file, or a folder with {MANIFEST}, {ONNX} and {GOLDEN}");
        unread.refuse(path.display(), mend)
    })?;
    match exporters::other_kind(&bytes) {
        None => Ok(bytes),
        Some((what, mend)) => Err(Error::input(path.display(), format!("is no ONNX model but {what}"), mend)),
    }
}

/// Rows of about one, the same for the same shape: a sum of uniform values is bell-shaped enough.
pub(super) fn made_rows(shape: &Shape) -> Vec<Vec<f32>> {
    let mut rng = Pcg64::seed_from_u64((shape.rows * shape.features) as u64);
    let mut value = || (0..6).map(|_| rng.random_range(-0.7..0.7_f32)).sum::<f32>();
    (0..ROWS).map(|_| (0..shape.rows * shape.features).map(|_| value()).collect()).collect()
}

/// Each engine's calls to the allocator, admitted or not.
fn count(subject: &Subject, reference: &mut dyn Engine) -> Counts {
    let own = mallocs::of(reference).map(|n| (reference.info().engine.to_owned(), n));
    let case = subject.case();
    let natives = case.storages().filter_map(|weights| {
        let mut native = case.make_native(weights).ok()?;
        Some((weights.engine().to_owned(), mallocs::of(&mut native)?))
    });
    let on_gpu =
        runtime().ok().and_then(|runtime| cuda::available(runtime, subject.cuda.device).ok().map(|()| runtime));
    let on_gpu = on_gpu.and_then(|runtime| {
        let mut engine = case.make_cuda(runtime, &subject.cuda).ok()?;
        Some((choose::CUDA.to_owned(), mallocs::of(engine.as_mut())?))
    });
    natives.chain(own).chain(on_gpu).collect()
}

/// The runtime that is open by now.
fn runtime() -> Result<&'static Runtime> {
    Runtime::open(&RuntimeConfig::default()).map_err(|error| refused(Path::new(ONNX), error.into()))
}

fn findings(subject: Subject, mut reference: Box<dyn Engine>, core: Option<usize>) -> Result<Findings> {
    let core = core.or_else(|| cores::allowed().first().copied()).unwrap_or(0);
    let survey = Survey::read(&subject.onnx);
    let again = || exporters::again(&adapt::origin(&subject.onnx).producer);
    let survey = survey.map_err(|error| Error::input(subject.path.display(), error, again()))?;
    let mut tried = subject.case().natives(reference.as_mut());
    tried.push(subject.case().cuda(reference.as_mut(), runtime()?, &subject.cuda));
    tried.insert(0, Tried::reference(reference));
    choose::time(&mut tried, &subject.golden, RUNS, Some(core))?;
    let peak = thread::scope(|scope| {
        let on_core = || cores::pin(core, "the timing of engines").map(|()| native::peak_macs_per_ns());
        scope.spawn(on_core).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let work = subject.work(&survey);
    let floor = work.map(|work| (work.macs + work.comparisons) as f64 / peak).filter(|&ns| ns > 0.0);
    let auto = tried[choose::fastest(&tried)].name.to_owned();
    let counts = mallocs::ask().unwrap_or_default();
    let engines = tried
        .iter()
        .map(|tried| (tried.name.to_owned(), of_engine(tried, &subject, &survey, floor, &counts)))
        .collect();
    let Shape { input, features, rows, outputs: published, values, states, .. } = subject.shape;
    Ok(Findings {
        file: subject.path.display().to_string(),
        sha256: subject.sha256.to_string(),
        model: subject.model,
        trigger: subject.manifest.as_ref().and_then(|manifest| manifest.trigger).map(|trigger| trigger.to_string()),
        expected: subject.manifest.as_ref().and_then(|manifest| manifest.expected),
        asked: None,
        inputs: subject.inputs,
        outputs: subject.outputs,
        input,
        features,
        rows,
        layout: if subject.fitting.channels_first { "channels-first" } else { "rows-first" },
        columns: subject.fitting.columns,
        states,
        published,
        values,
        opset: survey.opset(),
        operators: survey.operators(),
        weight_bytes: survey.weight_bytes(),
        work,
        peak_macs_per_ns: peak,
        floor_ns: floor,
        core,
        tolerance: subject.rules.tolerance,
        decides: subject.rules.decides,
        auto,
        engines,
    })
}

fn of_engine(tried: &Tried, subject: &Subject, survey: &Survey, floor: Option<f64>, counts: &Counts) -> EngineFindings {
    let times = tried.times;
    let mut findings = EngineFindings {
        available: tried.available,
        admitted: tried.made.is_ok(),
        reason: tried.made.as_ref().err().cloned(),
        p50_ns: times.map(|t| t.p50_ns),
        p99_ns: times.map(|t| t.p99_ns),
        p999_ns: times.map(|t| t.p999_ns),
        prepare_p99_ns: times.map(|t| t.prepare_p99_ns).filter(|&ns| ns > 0),
        mallocs_per_run: counts.get(tried.name).copied(),
        weight_bytes: tried.weight_bytes.or(tried.made.is_ok().then(|| survey.weight_bytes())),
        floor_ratio: times.zip(floor).map(|(times, floor)| times.p50_ns as f64 / floor),
        ..EngineFindings::default()
    };
    if let Ok((_, agreement)) = &tried.made {
        let others = tried.name != "ort-cpu";
        findings.rows = others.then_some(agreement.rows);
        findings.max_abs_err = Some(agreement.plain_max_abs_err);
        findings.max_abs_err_of_all = Some(agreement.max_abs_err);
        findings.decisions = (others && subject.rules.decides).then_some(agreement.decisions);
        findings.ties = (others && subject.rules.decides).then_some(agreement.ties);
    }
    findings
}
