//! Feature sets from files: the part of loading a set that touches the disk.

use crate::error::{Error, Result};
use crate::hot::features::FeatureSet;

impl FeatureSet {
    /// A bundled set by name, or a file by path (anything with a `/` or ending in `.toml`).
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some(set) = Self::bundled(name_or_path) {
            return Ok(set);
        }
        let bundled: Vec<&str> = Self::bundled_names().collect();
        let mend = format!("give the path of a TOML file or a bundled set: {}", bundled.join(", "));
        if !name_or_path.contains('/') && !name_or_path.ends_with(".toml") {
            return Err(Error::input(format!("feature set {name_or_path}"), "is not a bundled set", mend));
        }
        let text = std::fs::read_to_string(name_or_path)
            .map_err(|error| Error::input(format!("feature set {name_or_path}"), error, mend))?;
        Self::parse(&text, name_or_path)
    }
}
