//! Files that appear under their final name only when they are whole.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `path` through a temporary file beside it, renamed once `fill` has succeeded.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        Error::input(path.display(), format!("{what}: {e}"), "name a file in a folder you can write, with room on its disk")
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed("cannot be created", &e))?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 20, file.as_file_mut());
    fill(&mut buffered)?;
    buffered.flush().map_err(|e| failed("cannot be written", &e))?;
    drop(buffered);
    file.persist(path).map_err(|e| failed("cannot be renamed into place", &e.error))?;
    Ok(())
}
