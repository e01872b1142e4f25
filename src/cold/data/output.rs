//! Output files that appear under their name only when they are whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::unnamed::Unnamed;
use crate::{Error, Result};

/// A buffered file that is written beside its target and renamed over it by [`OutputFile::commit`]. Dropped before
/// that, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    writer: BufWriter<Unnamed>,
    target: PathBuf,
}

impl OutputFile {
    /// Opens the temporary file; refuses a target that could not be written in the end.
    pub fn create(target: impl AsRef<Path>) -> Result<Self> {
        let target = target.as_ref();
        if target.is_dir() || target.file_name().is_none() {
            return Err(Error::input(target.display(), "is a directory", "give the name of a file to write"));
        }
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = Unnamed::in_folder(folder).map_err(|e| {
            let problem = format!("cannot be written: {e}");
            Error::input(
                target.display(),
                problem,
                format!("name a file in a folder that can be written, not in {}", folder.display()),
            )
        })?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 16, file), target: target.to_owned() })
    }

    /// The name that the file will get.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Flushes, syncs and renames: from here on the file is there under its name, whole.
    pub fn commit(self) -> Result<()> {
        let target = self.target;
        let failed = |e: io::Error| write_failed(&target, e);
        let file = self.writer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_data().map_err(failed)?;
        file.persist(&target).map_err(failed)?;
        Ok(())
    }

    /// The file below the buffer, for writers that need one.
    pub fn as_file(&self) -> &File {
        self.writer.get_ref().as_file()
    }
}

/// The error of a write to `target` that failed under way.
pub fn write_failed(target: &Path, e: io::Error) -> Error {
    Error::run(
        target.display(),
        format!("writing failed: {e}; nothing is left under this name"),
        "check space and permissions",
    )
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
