//! A copy of the C++ header with one thing taken away, which the tests must notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The copy.
pub struct Mutant {
    dir: TempDir,
}

impl Mutant {
    /// The header with `from` in `file` turned to `to`, wherever it stands there.
    pub fn new(file: &str, from: &str, to: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("pillion");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/pillion")).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let mut text = fs::read_to_string(&path).unwrap();
            if path.ends_with(file) {
                assert!(text.contains(from), "{file} has no {from:?}: the mutation is out of date");
                text = text.replace(from, to);
            }
            fs::write(copy.join(path.file_name().unwrap()), text).unwrap();
        }
        Self { dir }
    }

    /// The folder to give to -I.
    pub fn include(&self) -> &Path {
        self.dir.path()
    }

    /// The program of `source` with this header; it is gone with the copy.
    #[allow(dead_code)]
    pub fn build(&self, source: &str, flags: &[&str]) -> PathBuf {
        let program = self.dir.path().join("program");
        let mut command = Command::new("c++");
        command.args(crate::cxx::FLAGS).args(flags).arg("-I").arg(self.include());
        let out = command.arg(crate::cxx::shm_root().join(source)).arg("-o").arg(&program).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        program
    }
}

/// `source` with a sanitizer in `flags`; `None`, with a line that says so, where its library is missing.
#[allow(dead_code)]
pub fn sanitized(compiler: &crate::cxx::Compiler, source: &str, flags: &[&str]) -> Option<PathBuf> {
    match compiler.try_build(source, flags) {
        Ok(program) => Some(program),
        Err(words) if words.contains("cannot find") || words.contains("libclang_rt") => {
            crate::cxx::skip(&format!("{} has no library for {}", compiler.version, flags[0]));
            None
        }
        Err(words) => panic!("{} refuses {source}:\n{words}", compiler.version),
    }
}
