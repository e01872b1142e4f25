//! JSON files that appear under their final name only when they are whole.

use serde::Serialize;

use crate::data::OutputFile;
use crate::error::{Error, Result};

/// Writes `value` as indented JSON and gives the file its name. The file is opened before the work that fills it, so that
/// a name that cannot be written is refused before and not after.
pub fn write_json(mut file: OutputFile, value: &impl Serialize) -> Result<()> {
    let target = file.target().display().to_string();
    serde_json::to_writer_pretty(&mut file, value)
        .map_err(|e| Error::run(target, e, "name a file on a disk with room"))?;
    file.commit()
}
