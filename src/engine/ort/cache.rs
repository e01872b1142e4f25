//! Optimised graphs on disk: what ONNX Runtime makes of a file is written once and loaded with optimisation off next time.
//!
//! A cached graph is one file: a line that says what it was made from and by what, with the SHA-256 of the rest; then the graph.
//! At this level of optimisation it suits one kind of processor only, which is why the instruction set is part of the line.
//! Whatever is wrong with a cache, the model loads: as without one, and [`Graph`] says so.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ::ort::session::Session;
use pillion_shm::trust::Trust;
use sha2::{Digest, Sha256};

use super::super::{EngineError, Runtime, check_harmless, check_whole, isa};
use super::options;
use crate::files;

/// Most bytes of a graph, those of the largest ONNX file.
const MOST_BYTES: u64 = 2048 * files::MIB;

/// Where a session's graph came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Graph {
    /// From the model file; no cache was asked for.
    Optimised,
    /// From the model file, and written to the cache.
    Written,
    /// From the cache.
    Cached,
    /// From the model file, since the cache could not be used.
    Uncached(String),
}

impl Graph {
    /// The banner's words for it.
    pub(super) fn said(&self) -> Option<String> {
        match self {
            Self::Optimised => None,
            Self::Written => Some("optimised graph written to model_cache".into()),
            Self::Cached => Some("optimised graph from model_cache".into()),
            Self::Uncached(reason) => Some(format!("model_cache not used: {reason}")),
        }
    }
}

/// A session for the model, through the cache in `folder` if there is one.
pub(super) fn session(runtime: &Runtime, onnx: &[u8], folder: Option<&Path>) -> Result<(Session, Graph), EngineError> {
    check_harmless(runtime, onnx)?;
    let plain = || options::builder(runtime, true)?.commit_from_memory(onnx).map_err(EngineError::refused);
    let Some(folder) = folder else { return Ok((plain()?, Graph::Optimised)) };
    let entry = Entry::new(runtime, onnx, folder);
    let problem = match entry.read() {
        Ok(None) => None,
        Ok(Some(graph)) if check_whole(&graph).is_err() => {
            Some(format!("{}: its weights are not all in it", entry.path.display()))
        }
        Ok(Some(graph)) => match options::builder(runtime, false)?.commit_from_memory(&graph) {
            Ok(session) => return Ok((session, Graph::Cached)),
            Err(error) => Some(format!("{}: {error}", entry.path.display())),
        },
        Err(problem) => Some(problem),
    };
    // A file that is not ours, or no longer whole, is left for a person to look at.
    if let Some(problem) = problem {
        return Ok((plain()?, Graph::Uncached(problem)));
    }
    match entry.write(runtime, onnx) {
        Ok(session) => Ok((session, Graph::Written)),
        Err(Failure::Model(error)) => Err(error),
        Err(Failure::Cache(problem)) => Ok((plain()?, Graph::Uncached(problem))),
    }
}

enum Failure {
    Model(EngineError),
    Cache(String),
}

/// One graph's place in the cache.
struct Entry {
    folder: PathBuf,
    path: PathBuf,
    trust: Trust,
    /// What the first line says before the graph's hash.
    made_of: String,
}

impl Entry {
    fn new(runtime: &Runtime, onnx: &[u8], folder: &Path) -> Self {
        let made_of = format!(
            "pillion graph of {} by onnxruntime {} for {}, {}",
            hex(onnx),
            runtime.version(),
            processor(),
            options::TEXT
        );
        let path = folder.join(format!("{}.graph", hex(made_of.as_bytes())));
        Self { folder: folder.to_owned(), path, trust: runtime.trust().clone(), made_of }
    }

    /// The graph, or none where there is no such file.
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let about = |problem: &str| format!("{}: {problem}", self.path.display());
        self.trusted()?;
        if fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let bytes = files::read_trusted(&self.path, &self.trust, MOST_BYTES);
        let mut bytes = bytes.map_err(|unread| about(&unread.to_string()))?;
        let line = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(|| about("not a graph of this cache"))?;
        let sha = std::str::from_utf8(&bytes[..line]).ok().and_then(|text| text.strip_prefix(&self.made_of));
        let sha = sha.and_then(|rest| rest.strip_prefix(", sha256 ")).map(str::to_owned);
        let sha = sha.ok_or_else(|| about("not a graph of this cache"))?;
        bytes.drain(..=line);
        if hex(&bytes) != sha {
            return Err(about("changed since it was written; remove it"));
        }
        Ok(Some(bytes))
    }

    /// A folder that others may write to, or that lies in one, could hand us any model.
    fn trusted(&self) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        let checked = self.trust.check_dir(&self.folder);
        checked
            .map(drop)
            .map_err(|distrust| format!("{}: {}", self.folder.display(), files::distrusted(&self.folder, distrust)))
    }

    /// Has the graph written beside its place, closes it with its hash, and only then gives it its name.
    fn write(&self, runtime: &Runtime, onnx: &[u8]) -> Result<Session, Failure> {
        let failed = |error: std::io::Error| Failure::Cache(format!("{}: {error}", self.folder.display()));
        let made = tempfile::Builder::new().prefix(".made-").tempfile_in(&self.folder).map_err(failed)?;
        let builder = options::builder(runtime, true).map_err(Failure::Model)?;
        let builder = builder.with_optimized_model_path(made.path());
        let mut builder = builder.map_err(|error| Failure::Model(EngineError::refused(error)))?;
        let session = match builder.commit_from_memory(onnx) {
            Ok(session) => session,
            // Whether the file or the folder is at fault shows when the file is loaded alone.
            Err(error) => return Err(Failure::Cache(format!("{}: {error}", self.folder.display()))),
        };
        let graph = fs::read(made.path()).map_err(failed)?;
        if graph.is_empty() {
            return Err(Failure::Cache(format!("{}: ONNX Runtime wrote no graph", self.folder.display())));
        }
        let mut whole = tempfile::Builder::new().prefix(".whole-").tempfile_in(&self.folder).map_err(failed)?;
        writeln!(whole, "{}, sha256 {}", self.made_of, hex(&graph)).map_err(failed)?;
        whole.write_all(&graph).map_err(failed)?;
        whole.as_file().sync_all().map_err(failed)?;
        whole.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(session)
    }
}

/// The instruction sets that ONNX Runtime's layouts and kernels choose by.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let more: Vec<&str> = [
        ("bw", is_x86_feature_detected!("avx512bw")),
        ("dq", is_x86_feature_detected!("avx512dq")),
        ("vnni", is_x86_feature_detected!("avx512vnni")),
        ("bf16", is_x86_feature_detected!("avx512bf16")),
        ("fp16", is_x86_feature_detected!("avx512fp16")),
    ]
    .into_iter()
    .filter_map(|(name, here)| here.then_some(name))
    .collect();
    #[cfg(not(target_arch = "x86_64"))]
    let more: Vec<&str> = Vec::new();
    format!("{} {}", isa(), more.join("+")).trim_end().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
