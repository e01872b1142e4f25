//! Where ONNX Runtime comes from: found, asked its version, and loaded once per process.

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

/// Folder that `scripts/fetch-onnxruntime` fills, under the repository root.
pub const FOLDER: &str = "onnxruntime";
/// File name of the version this build was tested with.
pub const LIBRARY: &str = "libonnxruntime.so.1.31.1";
/// The command that mends a missing or wrong runtime.
pub const MEND: &str = "run scripts/fetch-onnxruntime";
/// Names under which a system may carry the library, most exact first.
const SYSTEM_NAMES: [&str; 3] = [LIBRARY, "libonnxruntime.so.1", "libonnxruntime.so"];

/// Where to look for ONNX Runtime beyond the usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Config key `onnxruntime`: the library, or the folder it lies in. `ORT_DYLIB_PATH` goes before it.
    pub onnxruntime: Option<PathBuf>,
    /// Config key `model_cache`: folder of optimised graphs. As with the library, the first in a process is the one.
    pub model_cache: Option<PathBuf>,
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

/// ONNX Runtime, loaded. There is one per process: the first that loads is the one.
pub struct Runtime {
    environment: Environment,
    version: String,
    path: PathBuf,
    model_cache: Option<PathBuf>,
}

impl Runtime {
    /// The process's runtime: loaded on the first call, in the order `ORT_DYLIB_PATH`, config, `./onnxruntime/`,
    /// `onnxruntime/` of the repository the executable lies in, system. The two that are named by a person are not
    /// passed over when they fail.
    ///
    /// # Errors
    /// See [`RuntimeError`]. A failure is not remembered: a later call looks again.
    pub fn open(config: &RuntimeConfig) -> Result<&'static Self, RuntimeError> {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let runtime = Self::start(find(config)?, config.model_cache.clone())?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    /// Version the library says it has: `1.31.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library in use.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where optimised graphs are kept, if anywhere.
    #[must_use]
    pub fn model_cache(&self) -> Option<&Path> {
        self.model_cache.as_deref()
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn start(Library { path, version }: Library, model_cache: Option<PathBuf>) -> Result<Self, RuntimeError> {
        let failed = |reason: String| RuntimeError::Start { path: path.clone(), reason };
        let builder = ::ort::init_from(&path).map_err(|error| failed(error.to_string()))?;
        let environment =
            builder.with_name("pillion").with_telemetry(false).build().map_err(|error| failed(error.to_string()))?;
        // What the runtime has to say comes back as an error; the hot thread must not find itself writing a log.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Self { environment, version, path, model_cache })
    }
}

/// A library that loads, is ONNX Runtime and has the right version.
#[derive(Debug)]
struct Library {
    path: PathBuf,
    version: String,
}

fn find(config: &RuntimeConfig) -> Result<Library, RuntimeError> {
    if let Some(named) = env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()) {
        return open_named("ORT_DYLIB_PATH", Path::new(&named));
    }
    if let Some(named) = &config.onnxruntime {
        return open_named("config key `process.onnxruntime`", named);
    }
    let folders = usual_folders();
    if let Some(found) = folders.iter().map(|folder| folder.join(LIBRARY)).find(|path| path.is_file()) {
        return open_named("the search", &found);
    }
    for name in SYSTEM_NAMES {
        match probe(Path::new(name)) {
            Err(RuntimeError::Unloadable { .. }) => {}
            found_or_refused => return found_or_refused,
        }
    }
    let mut looked: Vec<String> =
        vec!["$ORT_DYLIB_PATH (not set)".into(), "config key `process.onnxruntime` (not set)".into()];
    looked.extend(folders.iter().map(|folder| folder.join(LIBRARY).display().to_string()));
    looked.push(format!("{} of the system", SYSTEM_NAMES.join(", ")));
    Err(RuntimeError::Missing { looked })
}

/// `./onnxruntime`, and that of each folder above the executable: `target/release/pillion` lies in its repository.
fn usual_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::current_dir().map(|here| here.join(FOLDER)).into_iter().collect();
    let exe = env::current_exe().unwrap_or_default();
    for above in exe.ancestors().skip(1).map(|folder| folder.join(FOLDER)) {
        if above.is_dir() && !folders.contains(&above) {
            folders.push(above);
        }
    }
    folders
}

fn open_named(named_by: &'static str, path: &Path) -> Result<Library, RuntimeError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let path = if path.is_dir() { path.join(LIBRARY) } else { path };
    probe(&path).map_err(|error| match error {
        RuntimeError::Unloadable { path, reason, .. } => RuntimeError::Unloadable { named_by, path, reason },
        other => other,
    })
}

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}
const RTLD_NOW: c_int = 2;

/// Loads the library and asks it what it is, before `ort` does: `ort` panics on a foreign API table and takes any
/// later version. The handle stays open, since `ort` loads the same file next.
fn probe(path: &Path) -> Result<Library, RuntimeError> {
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
        Some((version, true)) => Ok(Library { path, version }),
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
