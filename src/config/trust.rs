//! Whom a configuration lets this process take files from, and names that nobody may give.

use std::path::PathBuf;

use pillion_shm::text::{Shown, unprintable};
use pillion_shm::trust::Trust;

use super::{Config, Lane, Process};
use crate::engine::RuntimeConfig;
use crate::error::Result;

impl Config {
    /// Whose regions are used: besides [`Process::trust`] the configured group may write control pages.
    #[must_use]
    pub fn trust(&self) -> Trust {
        u32::try_from(self.process.shm_gid).into_iter().fold(self.process.trust(), Trust::with_gid)
    }

    /// The lane `name` in the directory of the regions, with [`Config::trust`].
    ///
    /// # Errors
    /// A name that no lane may have.
    pub fn place(&self, name: &str) -> Result<pillion_shm::Lane> {
        Ok(pillion_shm::Lane::in_dir(&self.process.shm_dir, name)?.with_trust(self.trust()))
    }
}

impl Process {
    /// Who may own what this process uses.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trusted_uids.iter().copied().fold(Trust::own(), Trust::with_uid)
    }

    /// Where ONNX Runtime comes from.
    #[must_use]
    pub fn runtime(&self) -> RuntimeConfig {
        let named = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        RuntimeConfig {
            onnxruntime: named(&self.onnxruntime),
            model_cache: named(&self.model_cache),
            allow_unpinned: self.allow_unpinned,
            trust: self.trust(),
        }
    }
}

/// A key of the lane whose name steers a terminal or cannot be seen, and what is wrong with it.
pub(super) fn unprintable_name(lane: &Lane) -> Option<(String, String)> {
    let symbols = lane.instruments.iter().map(|instrument| (&instrument.symbol, "symbol"));
    let (name, key) = symbols.chain([(&lane.features, "features")]).find(|(name, _)| unprintable(name).is_some())?;
    let c = unprintable(name)?;
    let problem = format!("\"{}\" has the character {c:?}, which steers a terminal or cannot be seen", Shown(name));
    Some((format!("lane {:?} {key}", lane.name), problem))
}
