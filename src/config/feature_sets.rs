//! Feature sets from files: the part of loading a set that touches the disk.

use std::path::Path;

use pillion_shm::trust::Trust;

use crate::error::{Error, Result};
use crate::files;
use crate::hot::features::FeatureSet;

/// Longest file of a set, bytes.
const MOST_BYTES: u64 = files::MIB;

impl FeatureSet {
    /// A bundled set by name, or a file by path (anything with a `/` or ending in `.toml`).
    ///
    /// # Errors
    /// No such set; a file that cannot be read, is longer than 1 MiB, could have been written by somebody who does not
    /// count, or holds no set.
    pub fn load(name_or_path: &str) -> Result<Self> {
        Self::load_trusted(name_or_path, &Trust::own())
    }

    /// [`FeatureSet::load`] where more users count.
    ///
    /// # Errors
    /// Those of [`FeatureSet::load`].
    pub fn load_trusted(name_or_path: &str, trust: &Trust) -> Result<Self> {
        if let Some(set) = Self::bundled(name_or_path) {
            return Ok(set);
        }
        let bundled: Vec<&str> = Self::bundled_names().collect();
        let mend = format!("give the path of a TOML file or a bundled set: {}", bundled.join(", "));
        if !name_or_path.contains('/') && !name_or_path.ends_with(".toml") {
            return Err(Error::input(format!("feature set {name_or_path}"), "is not a bundled set", mend));
        }
        let text = files::read_trusted_text(Path::new(name_or_path), trust, MOST_BYTES)
            .map_err(|unread| unread.refuse(format!("feature set {name_or_path}"), mend))?;
        Self::parse(&text, name_or_path)
    }
}
