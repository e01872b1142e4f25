//! Copies of the C++ header with something changed: one thing taken away, which the tests must notice, or points to die at
//! put in.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// In this file, this text turned to that, wherever it stands there.
pub type Edit<'a> = (&'a str, &'a str, &'a str);

/// The header's files by name, edited.
fn edited(edits: &[Edit]) -> Vec<(OsString, String)> {
    let folder = crate::cxx::shm_root().join("include/pillion");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let edit = |path: PathBuf| {
        let mut text = fs::read_to_string(&path).unwrap();
        for (file, from, to) in edits.iter().filter(|(file, ..)| path.ends_with(file)) {
            assert!(text.contains(from), "{file} has no {from:?}: the mutation is out of date");
            text = text.replace(from, to);
        }
        (path.file_name().unwrap().to_owned(), text)
    };
    files.into_iter().map(edit).collect()
}

/// A folder that holds `pillion/` with these edits, kept under the hash of what is in it: for `-iquote`, with which
/// `#include "pillion/shm.hpp"` finds it before the header itself.
#[allow(dead_code)]
pub fn mutated_include(edits: &[Edit]) -> PathBuf {
    let files = edited(edits);
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("cpp").join(format!("header-{:016x}", hasher.finish()));
    fs::create_dir_all(folder.join("pillion")).unwrap();
    for (name, text) in files {
        let path = folder.join("pillion").join(name);
        // Another process may be reading it: the same bytes get the name whole.
        let half = path.with_extension(format!("half-{}", std::process::id()));
        fs::write(&half, text).unwrap();
        fs::rename(&half, &path).unwrap();
    }
    folder
}

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
        for (name, text) in edited(&[(file, from, to)]) {
            fs::write(copy.join(name), text).unwrap();
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
