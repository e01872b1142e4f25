//! Which file ONNX Runtime is loaded from: one that only those who count can have put there, and that is byte for byte a
//! library of the pinned wheels.
#![forbid(unsafe_code)]

use std::env;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pillion_shm::trust::{Distrust, Trust, is_elevated};
use sha2::{Digest, Sha256};

use super::{FOLDER, LIBRARY, RuntimeConfig, RuntimeError};

/// Environment variable that does for commands without a configuration what `process.allow_unpinned = true` does. Like
/// `ORT_DYLIB_PATH`, it is not read in a process that may do more than whoever started it: see [`is_elevated`].
pub const ALLOW_UNPINNED: &str = "PILLION_ALLOW_UNPINNED";
/// Environment variable with the path of the library, or of its folder.
const ORT_DYLIB_PATH: &str = "ORT_DYLIB_PATH";
const CONFIG_KEY: &str = "config key `process.onnxruntime`";
/// Names under which a system may carry the library, most exact first.
const SYSTEM_NAMES: [&str; 3] = [LIBRARY, "libonnxruntime.so.1", "libonnxruntime.so"];
/// Where a system keeps libraries. A bare name would be looked for wherever LD_LIBRARY_PATH says.
const SYSTEM_FOLDERS: [&str; 5] =
    ["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// A library of a wheel that `scripts/fetch-onnxruntime` pins.
struct Pin {
    file: &'static str,
    wheel: &'static str,
    sha256: &'static str,
}

const CPU: &str = "onnxruntime 1.31.1 x86_64";
const CPU_ARM: &str = "onnxruntime 1.31.1 aarch64";
const GPU: &str = "onnxruntime-gpu 1.31.1 x86_64";
const SHARED: &str = "libonnxruntime_providers_shared.so";
const CUDA: &str = "libonnxruntime_providers_cuda.so";

const PINS: [Pin; 5] = [
    Pin { file: LIBRARY, wheel: CPU, sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3" },
    Pin { file: LIBRARY, wheel: CPU_ARM, sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467" },
    Pin { file: LIBRARY, wheel: GPU, sha256: "5104254339ecadae808da771bd0b63b240f0dbd466514234905e54372435c303" },
    Pin { file: SHARED, wheel: GPU, sha256: "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d" },
    Pin { file: CUDA, wheel: GPU, sha256: "8387867e857499e045caff5d13ac6a5de29571c801562fa2dde0e45f1f31de52" },
];

/// A library that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// The pinned wheel that it is of; none where it was let in without being of any.
    pub wheel: Option<&'static str>,
    /// Device, inode, size and time of change of the file that was hashed.
    file: [i64; 5],
}

impl Chosen {
    /// Whether the path still leads to the file that was hashed.
    pub fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| identity(&now) == self.file)
    }
}

/// The library to load: of the first of the places that has one. The two places that are named by a person are not passed
/// over when they fail.
pub(super) fn find(config: &RuntimeConfig) -> Result<Chosen, RuntimeError> {
    if let Some(named) = env::var_os(ORT_DYLIB_PATH).filter(|value| !value.is_empty() && !is_elevated()) {
        return named_by(ORT_DYLIB_PATH, whole_path(Path::new(&named))?, config);
    }
    if let Some(named) = &config.onnxruntime {
        return named_by(CONFIG_KEY, named, config);
    }
    let mut looked: Vec<String> = vec!["$ORT_DYLIB_PATH (not set)".into(), format!("{CONFIG_KEY} (not set)")];
    for path in folders_of_the_executable().into_iter().map(|folder| folder.join(LIBRARY)) {
        match open(&path, config) {
            Ok(file) => return chosen("the search", &path, &file, config),
            // Anybody may have put a folder of this name on the way up: it is passed over, and named if nothing is found.
            Err(distrust) => looked.push(passed_over(&path, &distrust)),
        }
    }
    for path in SYSTEM_FOLDERS.iter().flat_map(|folder| SYSTEM_NAMES.map(|name| Path::new(folder).join(name))) {
        match open(&path, config) {
            Ok(file) => return chosen("the search", &path, &file, config),
            Err(Distrust::Refused { .. }) => looked.push(format!("{} (not trusted)", path.display())),
            Err(_) => {}
        }
    }
    looked.push(format!("{} of the system, in {}", SYSTEM_NAMES.join(", "), SYSTEM_FOLDERS.join(", ")));
    Err(RuntimeError::Missing { looked })
}

/// `onnxruntime` beside the executable, and that of each folder above it: `target/release/pillion` lies in its repository.
/// Never that of the working directory, which may be anybody's.
fn folders_of_the_executable() -> Vec<PathBuf> {
    let exe = env::current_exe().unwrap_or_default();
    let folders = exe.ancestors().skip(1).map(|folder| folder.join(FOLDER)).enumerate();
    folders.filter(|(i, folder)| *i == 0 || folder.is_dir()).map(|(_, folder)| folder).collect()
}

/// `path`, unless it is a bare name: a loader would look for that among the system's libraries, and here it would be the file
/// of that name in the working directory, which may be anybody's.
fn whole_path(path: &Path) -> Result<&Path, RuntimeError> {
    if path.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Ok(path);
    }
    let reason =
        "it is a bare name, and the working directory is not looked in: give a path, such as /opt/ort/lib".into();
    Err(RuntimeError::Unloadable { named_by: ORT_DYLIB_PATH, path: path.to_path_buf(), reason })
}

/// A process that may do more than whoever started it runs no code of his, whatever his configuration says.
fn open(path: &Path, config: &RuntimeConfig) -> Result<File, Distrust> {
    if is_elevated() { Trust::of_binary().open(path) } else { config.trust.open(path) }
}

fn passed_over(path: &Path, distrust: &Distrust) -> String {
    match distrust {
        Distrust::Refused { path: at, found, .. } => {
            format!("{} (not taken: {} is not trusted: {found})", path.display(), at.display())
        }
        _ => path.display().to_string(),
    }
}

fn named_by(named_by: &'static str, path: &Path, config: &RuntimeConfig) -> Result<Chosen, RuntimeError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let path = if path.is_dir() { path.join(LIBRARY) } else { path };
    let file = open(&path, config).map_err(|distrust| refused(named_by, &path, distrust))?;
    chosen(named_by, &path, &file, config)
}

fn refused(named_by: &'static str, path: &Path, distrust: Distrust) -> RuntimeError {
    let path = path.to_path_buf();
    match distrust {
        Distrust::Refused { path: at, found, mend } => {
            let problem = format!("{} is not trusted: {found}", at.display());
            RuntimeError::Untrusted { named_by, path, problem, mend }
        }
        Distrust::Io { source, .. } => RuntimeError::Unloadable { named_by, path, reason: source.to_string() },
        other => RuntimeError::Unloadable { named_by, path, reason: other.to_string() },
    }
}

/// Hashes the file and holds the hash against the pinned ones: before anything of it runs.
fn chosen(named_by: &'static str, path: &Path, file: &File, config: &RuntimeConfig) -> Result<Chosen, RuntimeError> {
    let hashed = sha256(file).and_then(|sha256| Ok((sha256, file.metadata()?)));
    let (sha256, metadata) = hashed.map_err(|error| RuntimeError::Unloadable {
        named_by,
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    let wheel = PINS.iter().find(|pin| pin.file == LIBRARY && pin.sha256 == sha256).map(|pin| pin.wheel);
    if wheel.is_none() && !config.allow_unpinned {
        return Err(RuntimeError::Unpinned { path: path.to_path_buf(), sha256 });
    }
    Ok(Chosen { path: path.to_path_buf(), sha256, wheel, file: identity(&metadata) })
}

/// True when the environment lets in a library of no pinned wheel: for commands without a configuration.
pub fn environment_allows_unpinned() -> bool {
    !is_elevated() && env::var_os(ALLOW_UNPINNED).is_some_and(|value| value == "1")
}

/// Holds what ONNX Runtime loads from beside itself to the same: for its half of CUDA support.
///
/// # Errors
/// What is wrong with the file, with the mend.
pub(super) fn check_provider(path: &Path, config: &RuntimeConfig) -> Result<(), String> {
    /// Those that were held to it already: some have hundreds of megabytes, and every engine asks.
    static KNOWN: Mutex<Vec<[i64; 5]>> = Mutex::new(Vec::new());
    let file = open(path, config).map_err(|distrust| distrust.to_string())?;
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    let this = identity(&file.metadata().map_err(cannot)?);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if config.allow_unpinned || known.contains(&this) {
        return Ok(());
    }
    let (sha256, name) = (sha256(&file).map_err(cannot)?, path.file_name().unwrap_or_default());
    if PINS.iter().any(|pin| name == pin.file && pin.sha256 == sha256) {
        known.push(this);
        return Ok(());
    }
    Err(format!("{} has SHA-256 {sha256}, which is of no pinned wheel", path.display()))
}

fn sha256(mut file: &File) -> io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn identity(metadata: &Metadata) -> [i64; 5] {
    let number = |n: u64| n.cast_signed();
    [number(metadata.dev()), number(metadata.ino()), number(metadata.size()), metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_whole_and_differ() {
        for (i, pin) in PINS.iter().enumerate() {
            assert!(pin.sha256.len() == 64 && pin.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{}", pin.wheel);
            assert!(PINS[..i].iter().all(|other| other.sha256 != pin.sha256));
        }
        // The script that fetches pins the same versions.
        let script = include_str!("../../../scripts/fetch-onnxruntime");
        let version = LIBRARY.rsplit_once(".so.").unwrap().1;
        assert!(script.contains(&format!("VERSION = \"{version}\"")));
        assert!(PINS.iter().all(|pin| pin.wheel.contains(version)));
    }

    #[test]
    fn the_working_directory_is_no_place_to_look() {
        let exe = env::current_exe().unwrap();
        for folder in folders_of_the_executable() {
            assert!(exe.starts_with(folder.parent().unwrap()), "{}", folder.display());
        }
    }
}
