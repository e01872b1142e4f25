//! What the tests of models and engines share.
#![allow(dead_code, missing_docs)]

#[path = "../common/skip.rs"]
mod skip;
pub use skip::skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pillion::engine::{Runtime, RuntimeConfig, RuntimeError};

/// Set for a test that runs again as a process of its own: ONNX Runtime is loaded once per process.
pub const CHILD: &str = "PILLION_TEST_CHILD";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/model_fixtures").join(name)
}

/// Directories of the bundled models, by name.
pub fn bundled() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("models")).expect("models/ is part of the repository");
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join("manifest.toml").is_file());
    dirs.sort();
    assert_eq!(dirs.len(), 4, "{dirs:?}");
    dirs
}

/// False, plainly said, where there is no ONNX Runtime on this machine. A broken one fails the test.
pub fn runtime_is_here() -> bool {
    match Runtime::open(&RuntimeConfig::default()) {
        Ok(_) => true,
        Err(error @ RuntimeError::Missing { .. }) => {
            skip(&format!("{error}; run scripts/fetch-onnxruntime"));
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Compiles a shared library from a fixture; none, plainly said, without a C compiler.
pub fn compile(source: &str, defines: &[&str], into: &Path) -> Option<()> {
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O2", "-o"]).arg(into).args(defines).arg(fixture(source));
    match command.status() {
        Ok(status) => {
            assert!(status.success(), "{command:?}");
            Some(())
        }
        Err(error) => {
            skip(&format!("no C compiler: {error}"));
            None
        }
    }
}

/// The command that runs one ignored test of this file as a process of its own.
pub fn child(exe: &Path, test: &str) -> Command {
    let mut command = Command::new(exe);
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(CHILD, "1").env_remove("ORT_DYLIB_PATH");
    command
}

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}
