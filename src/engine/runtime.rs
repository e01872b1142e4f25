//! Where ONNX Runtime comes from: found, hashed, asked its version, and loaded once per process, without its telemetry.

use std::env;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};

use ::ort::environment::Environment;
use ::ort::logging::LogLevel;
use ::ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ::ort::sys::OrtApiBase;
use ::ort::{AsPointer, api};
use pillion_shm::trust::Trust;

mod find;
pub use find::{ALLOW_UNPINNED, environment_allows_unpinned};
use find::{Chosen, find};

/// Folder that `scripts/fetch-onnxruntime` fills, under the repository root.
pub const FOLDER: &str = "onnxruntime";
/// File name of the version this build was tested with.
pub const LIBRARY: &str = "libonnxruntime.so.1.31.1";
/// The command that mends a missing or wrong runtime.
pub const MEND: &str = "run scripts/fetch-onnxruntime";

/// What ONNX Runtime asks before it sends anything: with "1" it neither opens a connection, nor writes a file, nor starts a
/// thread for it. The call of its interface with that purpose comes too late: an environment has started all that already.
pub const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// Where to look for ONNX Runtime beyond the usual places, and whom to take it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Config key `onnxruntime`: the library, or the folder it lies in. `ORT_DYLIB_PATH` goes before it.
    pub onnxruntime: Option<PathBuf>,
    /// Config key `model_cache`: folder of optimised graphs. As with the library, the first in a process is the one.
    pub model_cache: Option<PathBuf>,
    /// Config key `allow_unpinned`, or [`ALLOW_UNPINNED`] where there is no configuration: a library that is of no pinned
    /// wheel will do.
    pub allow_unpinned: bool,
    /// Who may own the library and the cache, and the folders on the way to them.
    pub trust: Trust,
}

/// That of a command without a configuration.
impl Default for RuntimeConfig {
    fn default() -> Self {
        let allow_unpinned = environment_allows_unpinned();
        Self { onnxruntime: None, model_cache: None, allow_unpinned, trust: Trust::own() }
    }
}

/// Why there is no usable ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// None of the usual places has it.
    #[error("ONNX Runtime is not here; looked for {}", looked.join(", "))]
    Missing {
        /// Places in the order they were tried.
        looked: Vec<String>,
    },
    /// A path that was asked for by name does not load.
    #[error("{named_by} names {path}, which does not load: {reason}", path = path.display())]
    Unloadable {
        /// Who asked for it: an environment variable, a config key, or the search.
        named_by: &'static str,
        /// What was asked for.
        path: PathBuf,
        /// The loader's own words.
        reason: String,
    },
    /// Somebody who does not count could have put the library there.
    #[error("{named_by} names {path}, and {problem}", path = path.display())]
    Untrusted {
        /// Who asked for it: an environment variable, a config key, or the search.
        named_by: &'static str,
        /// What was asked for.
        path: PathBuf,
        /// The file or folder that is not in order, with its owner and mode.
        problem: String,
        /// What to do about it.
        mend: String,
    },
    /// The library is of no wheel that is pinned.
    #[error("{} has SHA-256 {sha256}, which is that of no pinned wheel", path.display())]
    Unpinned {
        /// The library.
        path: PathBuf,
        /// SHA-256 of the file.
        sha256: String,
    },
    /// The path led to another file when the library was loaded than when it was hashed.
    #[error("{} was exchanged while it was being loaded", path.display())]
    Exchanged {
        /// The library.
        path: PathBuf,
    },
    /// The environment was changed after start, so that ONNX Runtime would send telemetry.
    #[error("{NO_TELEMETRY} is {found}: somebody changed it after the start, and ONNX Runtime would send telemetry")]
    Telemetry {
        /// What it is.
        found: String,
    },
    /// A shared library without ONNX Runtime's entry point.
    #[error("{} is a library, but not ONNX Runtime: OrtGetApiBase is missing or does not answer", path.display())]
    Foreign {
        /// The library.
        path: PathBuf,
    },
    /// ONNX Runtime of a version this build was not made for.
    #[error("{} is ONNX Runtime {found}; this build needs 1.{minor}.x", path.display(), minor = ::ort::MINOR_VERSION)]
    Version {
        /// The library.
        path: PathBuf,
        /// The version it says it has.
        found: String,
    },
    /// The library loaded, but could not be started; its own words.
    #[error("{} does not start: {reason}", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// The runtime's own words.
        reason: String,
    },
}

impl RuntimeError {
    /// What to do about it.
    #[must_use]
    pub fn mend(&self) -> String {
        match self {
            Self::Untrusted { mend, .. } => mend.clone(),
            Self::Unpinned { .. } => format!(
                "{MEND}, which fetches one that is; or, if you know where this one comes from, write allow_unpinned = true \
                 under [process] (commands without a configuration: {ALLOW_UNPINNED}=1 in the environment)"
            ),
            Self::Telemetry { .. } => format!("leave {NO_TELEMETRY} as it was at the start"),
            _ => format!("{MEND}, or name the library in ORT_DYLIB_PATH or the config key `process.onnxruntime`"),
        }
    }
}

/// Sets [`NO_TELEMETRY`] before `main`, whatever it was: in every program that this library is part of, and for its children.
/// Later would be too late, since another thread might be reading the environment.
extern "C" fn forbid_telemetry() {
    // SAFETY: both strings end in NUL; the loader runs this before `main`, when no thread has been started.
    unsafe { setenv(c"ORT_DISABLE_TELEMETRY".as_ptr(), c"1".as_ptr(), 1) };
}

#[used]
// SAFETY: the section is the C library's list of functions to call at start; this is one, and it needs nothing of Rust's.
#[unsafe(link_section = ".init_array")]
static FORBID_TELEMETRY: extern "C" fn() = forbid_telemetry;

/// ONNX Runtime, loaded. There is one per process: the first that loads is the one.
pub struct Runtime {
    environment: Environment,
    version: String,
    chosen: Chosen,
    config: RuntimeConfig,
}

impl Runtime {
    /// The process's runtime: loaded on the first call, in the order `ORT_DYLIB_PATH`, config, `onnxruntime/` beside the
    /// executable or in a folder above it, system; never from the working directory. Before anything of it runs, its owner
    /// and the way to it are looked at, and its SHA-256 is held against the pinned wheels'. The two places that are named
    /// by a person are not passed over when they fail.
    ///
    /// # Errors
    /// See [`RuntimeError`]. A failure is not remembered: a later call looks again.
    pub fn open(config: &RuntimeConfig) -> Result<&'static Self, RuntimeError> {
        static LOADING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let runtime = Self::start(find(config)?, config.clone())?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    /// The process's runtime, if one has been loaded.
    #[must_use]
    pub fn opened() -> Option<&'static Self> {
        RUNTIME.get()
    }

    /// Version the library says it has: `1.31.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library in use.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.chosen.path
    }

    /// SHA-256 of the library's file, 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.chosen.sha256
    }

    /// The pinned wheel that the library is of: `onnxruntime 1.31.1 x86_64`. None where it is of none and was allowed.
    #[must_use]
    pub fn wheel(&self) -> Option<&'static str> {
        self.chosen.wheel
    }

    /// Where optimised graphs are kept, if anywhere.
    #[must_use]
    pub fn model_cache(&self) -> Option<&Path> {
        self.config.model_cache.as_deref()
    }

    /// Who may own what is loaded.
    pub(super) fn trust(&self) -> &Trust {
        &self.config.trust
    }

    /// Holds a library that ONNX Runtime loads from beside itself to the same rules.
    pub(super) fn check_provider(&self, path: &Path) -> Result<(), String> {
        find::check_provider(path, &self.config)
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn start(chosen: Chosen, config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let path = chosen.path.clone();
        let found = env::var_os(NO_TELEMETRY);
        if found.as_ref().is_none_or(|value| value != "1") {
            let found = found.map_or("not set".into(), |value| format!("{value:?}"));
            return Err(RuntimeError::Telemetry { found });
        }
        let version = probe(&path)?;
        if !chosen.is_unchanged() {
            return Err(RuntimeError::Exchanged { path });
        }
        let failed = |reason: String| RuntimeError::Start { path: path.clone(), reason };
        let builder = ::ort::init_from(&path).map_err(|error| failed(error.to_string()))?;
        let environment =
            builder.with_name("pillion").with_telemetry(false).build().map_err(|error| failed(error.to_string()))?;
        // What the runtime has to say comes back as an error; the hot thread must not find itself writing a log.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Self { environment, version, chosen, config })
    }
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

unsafe extern "C" {
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int;
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}
const RTLD_NOW: c_int = 2;

/// Loads the library and asks it what version it is, before `ort` does: `ort` panics on a foreign API table and takes any
/// later version. The handle stays open, since `ort` loads the same file next.
fn probe(path: &Path) -> Result<String, RuntimeError> {
    let handle = open_library(path)?;
    // SAFETY: the handle is open and the name ends in NUL.
    let entry = unsafe { dlsym(handle, c"OrtGetApiBase".as_ptr()) };
    if entry.is_null() {
        return Err(RuntimeError::Foreign { path: path.to_path_buf() });
    }
    let path = path.to_path_buf();
    match ask_version(entry) {
        None => Err(RuntimeError::Foreign { path }),
        Some((found, _)) if !is_ours(&found) => Err(RuntimeError::Version { path, found }),
        Some((found, false)) => Err(RuntimeError::Version { path, found: format!("{found} (without that API)") }),
        Some((version, true)) => Ok(version),
    }
}

/// True for `1.<minor>` and `1.<minor>.<anything>`, where `<minor>` is what `ort` was compiled for.
fn is_ours(version: &str) -> bool {
    let mut parts = version.split('.');
    parts.next() == Some("1") && parts.next().and_then(|minor| minor.parse().ok()) == Some(::ort::MINOR_VERSION)
}

fn open_library(path: &Path) -> Result<*mut c_void, RuntimeError> {
    let unloadable =
        |reason: String| RuntimeError::Unloadable { named_by: "the search", path: path.to_path_buf(), reason };
    let name = CString::new(OsStr::as_bytes(path.as_os_str())).map_err(|error| unloadable(error.to_string()))?;
    // SAFETY: the name ends in NUL; what runs at load is the library's own start-up code, which we were told to trust.
    let handle = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: called on the thread that failed, before any other call of the loader.
    let reason = unsafe { dlerror() };
    if reason.is_null() {
        return Err(unloadable("no reason given".into()));
    }
    // SAFETY: not null, so it is a string that ends in NUL and stands until the next failure on this thread.
    Err(unloadable(unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned()))
}

/// A library that [`load`] opened, which nobody closes.
#[derive(Clone, Copy)]
pub(super) struct Loaded(*mut c_void);

/// Loads a library for good, by path or by name: the loader's own words where it does not.
pub(super) fn load(path: &Path) -> Result<Loaded, String> {
    open_library(path).map(Loaded).map_err(|error| match error {
        RuntimeError::Unloadable { reason, .. } => reason,
        other => other.to_string(),
    })
}

/// A function or datum of a library.
pub(super) fn symbol(Loaded(library): Loaded, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the handle is open and the name ends in NUL.
    NonNull::new(unsafe { dlsym(library, name.as_ptr()) })
}

/// The version string, and whether our API is served; none where the library does not answer at all.
fn ask_version(entry: *mut c_void) -> Option<(String, bool)> {
    // SAFETY: ONNX Runtime has exported this name with this signature in every version.
    let get_base: unsafe extern "C" fn() -> *const OrtApiBase = unsafe { std::mem::transmute(entry) };
    // SAFETY: takes nothing and returns a table that lives as long as the library, or null.
    let base = unsafe { get_base().as_ref() }?;
    // SAFETY: the table's layout is fixed; the function takes nothing.
    let version = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return None;
    }
    // SAFETY: not null, so it is a static string that ends in NUL.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    // SAFETY: any number may be asked for; null means that this API is not served.
    let served = !unsafe { (base.GetApi)(::ort::MINOR_VERSION) }.is_null();
    Some((version, served))
}

/// Runs what is bound and fetches nothing. [`Session::run_binding`] makes a list of the bound outputs on every call; who bound
/// tensors of his own reads them where they are.
#[inline]
pub(super) fn run_bound(
    session: &mut Session,
    options: &RunOptions<NoSelectedOutputs>,
    binding: &IoBinding,
) -> ::ort::Result<()> {
    // SAFETY: all three are alive; the session is ours alone for the call, and the binding keeps what it binds.
    let status = unsafe { (api().RunWithBinding)(session.ptr().cast_mut(), options.ptr(), binding.ptr()) };
    // SAFETY: the status comes from the call just made and is freed here only.
    unsafe { ::ort::Error::result_from_status(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_minor_version_is_ours() {
        assert_eq!(::ort::MINOR_VERSION, 31);
        assert!(LIBRARY.ends_with(".1.31.1"));
        for (version, ours) in [("1.31.1", true), ("1.31.0", true), ("1.31", true), ("1.30.9", false)] {
            assert_eq!(is_ours(version), ours, "{version}");
        }
        for version in ["1.32.0", "2.31.0", "1.310.0", "1", "", "nonsense"] {
            assert!(!is_ours(version), "{version}");
        }
    }
}
