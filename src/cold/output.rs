//! JSON files that appear under their final name only when they are whole.

use std::path::Path;

use serde::Serialize;

use super::data::OutputFile;
use crate::error::{Error, Result};

/// Writes `value` to `path` as indented JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut file = OutputFile::create(path)?;
    serde_json::to_writer_pretty(&mut file, value)
        .map_err(|e| Error::run(path.display(), e, "name a file on a disk with room"))?;
    file.commit()
}
