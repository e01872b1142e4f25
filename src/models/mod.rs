//! A model directory: `manifest.toml`, `model.onnx`, `golden.json`. Read, verified, held against the lane, started.
//!
//! The contract of such a directory is in `models/README.md`. Every refusal names the file, what was found, and the mend.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use pillion_shm::trust::Trust;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::engine::admission::Tolerance;
use crate::engine::{Engine, EngineError, OrtCpu, Runtime, RuntimeConfig, RuntimeError, adapt, divisions, runtime};

use crate::error::{Error, Result};
use crate::files;
use choose::Case;

pub mod check;
mod choose;
mod columns;
mod evidence;
mod expect;
mod exporters;
pub mod guess;
mod mallocs;
mod manifest;
pub mod new;
mod rows_in;
mod table_in;
mod taken;
mod trigger;
mod units;
pub use crate::config::EngineChoice;
pub use choose::{Candidate, Serving};
pub use expect::{Compared, Difference, Found};
pub use manifest::{Decides, Expected, Hash, Layout, Manifest, Missing, Scores, Trained, Training};
pub use units::manifest_instruments;

/// File names inside a model directory.
const MANIFEST: &str = "manifest.toml";
const ONNX: &str = "model.onnx";
const GOLDEN: &str = "golden.json";

/// Most outputs a model may have: a signal carries 16 values.
pub const MAX_OUTPUTS: usize = 16;

/// Most bytes of a model, as the format has it, of golden rows, and of a manifest.
const MOST_OF_ONNX: u64 = 2048 * files::MIB;
const MOST_OF_GOLDEN: u64 = 64 * files::MIB;
const MOST_OF_MANIFEST: u64 = files::MIB;

const REEXPORT: &str =
    "export the model again and make its directory of the file: `pillion model new FILE.onnx --features SET -o DIR`";

/// A model directory whose files are whole and belong together. Needs no runtime.
#[derive(Clone, Debug)]
pub struct Model {
    dir: PathBuf,
    manifest: Manifest,
    /// The graph as engines take it.
    onnx: Vec<u8>,
    onnx_sha256: [u8; 32],
    golden: Golden,
}

/// A model that is loaded, has passed its golden check and is warm.
pub struct LoadedModel {
    /// Directory it came from.
    pub dir: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of `model.onnx`.
    pub onnx_sha256: [u8; 32],
    /// Runs it.
    pub engine: Box<dyn Engine>,
    /// The engines that were tried, in the order of preference at equal speed.
    pub candidates: Vec<Candidate>,
    /// What a person should know of how ONNX Runtime started, see [`Engine::remark`].
    pub remark: Option<String>,
}

/// Inputs with the outputs the exporter's own runtime gave.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    /// Largest difference taken, absolute below 1 and relative above.
    tolerance: f32,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Model {
    /// Reads the three files, and holds the model and golden files against the hashes in the manifest.
    ///
    /// # Errors
    /// A file missing, unreadable or changed since it was exported; an unknown or missing manifest key; a manifest or
    /// golden file that contradicts itself.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_trusted(dir, &Trust::own())
    }

    /// [`Model::read`] where more users count: none of the files is one that somebody else could have written.
    ///
    /// # Errors
    /// Those of [`Model::read`].
    pub fn read_trusted(dir: &Path, trust: &Trust) -> Result<Self> {
        let hashed = |file: &str, key: &str, wanted: &Hash, most: u64| -> Result<(Vec<u8>, [u8; 32])> {
            held_to(&dir.join(file), read_file(&dir.join(file), trust, most)?, key, wanted)
        };
        let manifest = Manifest::read(&dir.join(MANIFEST), trust)?;
        let (onnx, onnx_sha256) = hashed(ONNX, "onnx_sha256", &manifest.onnx_sha256, MOST_OF_ONNX)?;
        let (golden, _) = hashed(GOLDEN, "golden_sha256", &manifest.golden_sha256, MOST_OF_GOLDEN)?;
        let golden = Golden::parse(&dir.join(GOLDEN), &golden, &manifest)?;
        let plain = adapt::plain(&onnx).onnx;
        let onnx = adapt::fit(&plain, &manifest.fitting()).map(|fitted| fitted.into_owned());
        let onnx = onnx.map_err(|problem| Error::input(dir.join(ONNX).display(), problem, REEXPORT))?;
        Ok(Self { dir: dir.to_path_buf(), manifest, onnx, onnx_sha256, golden })
    }

    /// [`Model::read`], then [`Model::start`].
    ///
    /// # Errors
    /// Those of both.
    pub fn load(dir: &Path, runtime: &RuntimeConfig, serving: impl Into<Serving>) -> Result<LoadedModel> {
        Self::read_trusted(dir, &runtime.trust)?.start(runtime, serving)
    }

    /// What the model says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Starts it on ONNX Runtime, checks every golden row there, and lets another engine stand in for it as `serving` says.
    ///
    /// # Errors
    /// No usable ONNX Runtime; a file that is not a model; another shape than the manifest's; golden rows that differ; an engine
    /// that was forced and does not take the model.
    pub fn start(self, config: &RuntimeConfig, serving: impl Into<Serving>) -> Result<LoadedModel> {
        let serving = serving.into();
        let reference = self.reference(config)?;
        let remark = reference.remark().map(str::to_owned);
        let case = Case::of(&self.manifest, &self.onnx, &self.golden.inputs, serving.batch);
        let runtime = Runtime::open(config).map_err(|error| refused(&self.dir.join(ONNX), error.into()))?;
        let (mut engine, candidates) = choose::choose(serving, runtime, reference, &case)
            .map_err(|problem| Error::input(self.dir.join(ONNX).display(), problem, choose::MEND))?;
        self.golden.check(&self.dir.join(GOLDEN), engine.as_mut(), self.manifest.tolerance)?;
        let (dir, manifest, onnx_sha256) = (self.dir, self.manifest, self.onnx_sha256);
        Ok(LoadedModel { dir, manifest, onnx_sha256, engine, candidates, remark })
    }

    /// ONNX Runtime on the CPU with the golden rows checked: what every other engine is held against.
    fn reference(&self, config: &RuntimeConfig) -> Result<Box<dyn Engine>> {
        let started = Runtime::open(config).map_err(EngineError::from);
        let engine = started.and_then(|runtime| OrtCpu::new(runtime, &self.onnx, &self.manifest.shape()));
        let mut engine = Box::new(engine.map_err(|error| refused(&self.dir.join(ONNX), error))?);
        self.golden.check(&self.dir.join(GOLDEN), engine.as_mut(), Tolerance { absolute: 0.0, relative: 0.0 })?;
        Ok(engine)
    }
}

/// An engine's refusal, with the file it concerns and what mends it.
fn refused(onnx: &Path, error: EngineError) -> Error {
    match error {
        EngineError::Runtime(error) => {
            let mend = error.downcast_ref::<RuntimeError>().map_or(runtime::MEND.into(), RuntimeError::mend);
            Error::input("ONNX Runtime", error, mend)
        }
        error => {
            let mend = divisions::mend(&error.to_string()).unwrap_or(REEXPORT);
            Error::input(onnx.display(), error, mend)
        }
    }
}

impl Golden {
    fn parse(path: &Path, bytes: &[u8], manifest: &Manifest) -> Result<Self> {
        let bad = |problem: String| Error::input(path.display(), problem, REEXPORT);
        let golden: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let (rows, wanted) = (golden.inputs.len(), golden.outputs.len());
        if rows == 0 || rows != wanted {
            return Err(bad(format!("{rows} input rows and {wanted} output rows; at least one of each, in pairs")));
        }
        if !(golden.tolerance > 0.0 && golden.tolerance <= 0.01) {
            return Err(bad(format!("tolerance {} is not within 0 (excluded) and 0.01", golden.tolerance)));
        }
        let finite = |rows: &[Vec<f32>]| rows.iter().flatten().all(|x| x.is_finite());
        if !finite(&golden.inputs) || !finite(&golden.outputs) {
            return Err(bad("holds a number that is no finite float32".into()));
        }
        check_widths(&golden.inputs, "inputs", manifest.features.len() * manifest.window.unwrap_or(1)).map_err(bad)?;
        check_widths(&golden.outputs, "outputs", manifest.outputs.len()).map_err(bad)?;
        Ok(golden)
    }

    /// Runs every row. `more`: what the manifest lets an engine that is not the reference differ by, on top.
    fn check(&self, path: &Path, engine: &mut dyn Engine, more: Tolerance) -> Result<()> {
        let mut got = vec![0.0; engine.info().outputs];
        let width = engine.info().inputs;
        // For a model with state the rows are the steps of one run.
        engine.reset(0);
        for (row, (input, wanted)) in self.inputs.iter().zip(&self.outputs).enumerate() {
            let taken = input.chunks(width).try_for_each(|row| engine.take(0, row));
            taken
                .and_then(|()| engine.infer(&[0], &mut got))
                .map_err(|error| Error::input(path.display(), format!("row {row}: {error}"), REEXPORT))?;
            // Written so that a NaN on either side is a difference.
            let near =
                |(got, want): (&f32, &f32)| (got - want).abs() <= self.tolerance * want.abs().max(1.0) + more.of(*want);
            if !got.iter().zip(wanted).all(near) {
                let problem = format!(
                    "row {row}: {} gives {got:?}, expected are {wanted:?} within {}",
                    engine.info().runtime,
                    self.tolerance
                );
                return Err(Error::input(path.display(), problem, REEXPORT));
            }
        }
        engine.reset(0);
        Ok(())
    }
}

fn check_widths(rows: &[Vec<f32>], what: &str, expected: usize) -> std::result::Result<(), String> {
    match rows.iter().position(|row| row.len() != expected) {
        None => Ok(()),
        Some(at) => Err(format!("{what}, row {at}: {} values where the manifest has {expected}", rows[at].len())),
    }
}

/// The file's bytes and SHA-256, which must be the one in the manifest.
fn held_to(path: &Path, bytes: Vec<u8>, key: &str, wanted: &Hash) -> Result<(Vec<u8>, [u8; 32])> {
    let found = sha256(&bytes);
    if found == *wanted {
        return Ok((bytes, found.0));
    }
    let problem = format!("its SHA-256 is {found}, {MANIFEST} says {key} = {wanted}");
    Err(Error::input(path.display(), problem, format!("restore the file, or {REEXPORT}")))
}

fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

fn read_file(path: &Path, trust: &Trust, most: u64) -> Result<Vec<u8>> {
    let bytes = files::read_trusted(path, trust, most);
    bytes.map_err(|unread| unread.refuse(path.display(), "name a directory as models/README.md describes"))
}
