//! C++ programs of the tests: compiled once, with every warning an error, by each compiler that is here.
#![allow(dead_code)]

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

// The root package's tests have it from their own `common` too.
#[allow(clippy::duplicate_mod)]
#[path = "../../../tests/common/skip.rs"]
mod skip;
pub use skip::skip;

/// What every C++ file of this repository compiles under.
pub const FLAGS: [&str; 9] =
    ["-std=c++20", "-O2", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"];

/// The folder of the shm crate, from its own tests and from the root package's.
pub fn shm_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = here.join("shm");
    if below.is_dir() { below } else { here.to_owned() }
}

/// A C++ compiler that is there.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The command's words: `$CXX` may have several.
    words: Vec<String>,
    /// What `--version` says first.
    pub version: String,
}

/// `$CXX`, else `c++`, else `g++`; or `None` with a line that says what is skipped.
pub fn compiler() -> Option<Compiler> {
    let asked = std::env::var("CXX").ok().filter(|cxx| !cxx.trim().is_empty());
    let found = match &asked {
        Some(cxx) => Compiler::find(cxx),
        None => Compiler::find("c++").or_else(|| Compiler::find("g++")),
    };
    if found.is_none() {
        let what =
            asked.map_or("neither c++ nor g++ runs".to_owned(), |cxx| format!("$CXX is {cxx:?}, which does not run"));
        skip(&format!("{what} (scripts/setup-toolchain installs g++)"));
    }
    found
}

/// `clang++`; or `None` with a line that says what is skipped.
pub fn clang() -> Option<Compiler> {
    let found = Compiler::find("clang++");
    if found.is_none() {
        skip("clang++ is not here (scripts/setup-toolchain installs it)");
    }
    found
}

/// [`compiler`] and [`clang`], each once.
pub fn compilers() -> Vec<Compiler> {
    let mut all: Vec<_> = compiler().into_iter().chain(clang()).collect();
    all.dedup_by(|a, b| a.version == b.version);
    all
}

impl Compiler {
    /// The compiler `command`, if it runs.
    pub fn find(command: &str) -> Option<Self> {
        let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        let out = Command::new(words.first()?).args(&words[1..]).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned();
        out.status.success().then_some(Self { words, version })
    }

    /// Its folder's name under target/cpp: the last word's file name.
    pub fn name(&self) -> String {
        let last = self.words.last().map_or("", String::as_str);
        Path::new(last).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The compiler's own command: the last of its words, behind a cache such as `ccache`.
    pub fn program(&self) -> String {
        self.words.last().cloned().unwrap_or_default()
    }

    /// A command with [`FLAGS`] and the header's folder, for tests that compile in their own way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(FLAGS).arg("-I").arg(shm_root().join("include"));
        command
    }

    /// The program of `source`, a path below the shm crate such as `tests/cpp/peer.cpp`; the compiler's words are the
    /// failure. `extra` are flags behind [`FLAGS`], such as `-fsanitize=address`.
    pub fn build(&self, source: &str, extra: &[&str]) -> PathBuf {
        self.try_build(source, extra).unwrap_or_else(|words| panic!("{} refuses {source}:\n{words}", self.version))
    }

    /// [`Compiler::build`] with the compiler's words when it refuses.
    ///
    /// A program is kept under the hash of all that it is made from, so that it is made again exactly when that changes.
    /// Whoever comes second waits for the first; a program gets its name when it is whole.
    pub fn try_build(&self, source: &str, extra: &[&str]) -> Result<PathBuf, String> {
        let path = shm_root().join(source);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("cpp").join(self.name());
        fs::create_dir_all(&folder).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy();
        let program = folder.join(format!("{stem}-{:016x}", self.hash(&path, extra)));
        let lock = File::create(program.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if program.exists() {
            return Ok(program);
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let half = program.with_extension(format!("half-{}-{number}", std::process::id()));
        let out = self.command().args(extra).arg(&path).arg("-o").arg(&half).output().unwrap();
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        fs::rename(&half, &program).unwrap();
        Ok(program)
    }

    /// Of the compiler, the flags, the source, and every header that it can include.
    fn hash(&self, source: &Path, extra: &[&str]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.words, &self.version, FLAGS, extra).hash(&mut hasher);
        let mut files = vec![source.to_owned()];
        headers(&shm_root().join("include"), &mut files);
        headers(source.parent().unwrap(), &mut files);
        files.sort();
        for file in files {
            let text = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            (file, text).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Adds the headers below `folder` to `files`.
fn headers(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            headers(&path, files);
        } else if path.extension().is_some_and(|e| e == "hpp" || e == "h") {
            files.push(path);
        }
    }
}
