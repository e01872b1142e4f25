//! A copy of the C++ header with one thing taken away, which the tests must notice.

use std::fs;
use std::path::{Path, PathBuf};
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
}
