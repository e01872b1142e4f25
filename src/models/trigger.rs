//! On which events a model's rows are, and whether a lane's are those.

use super::Manifest;
use super::manifest::Takes;
use crate::error::{Error, Result};
use crate::hot::Trigger;

/// What a manifest without the key is taken to mean.
const UNSAID: Trigger = Trigger::EventEnd;

impl Manifest {
    /// Refuses a lane that runs models on other events than those of the model's rows, where that changes what the model is:
    /// a window or a state steps on triggered rows, so that another trigger gives it other rows.
    ///
    /// # Errors
    /// Another trigger under a window or a state model, or none in its manifest and one other than every event in the lane.
    pub fn fits_trigger(&self, lane: Trigger) -> Result<()> {
        if self.takes == Takes::Vector || self.trigger.unwrap_or(UNSAID) == lane {
            return Ok(());
        }
        let what = match self.window {
            Some(rows) => format!("takes the latest {rows} rows"),
            None => "carries a state from row to row".into(),
        };
        let (said, mend) = match self.trigger {
            Some(own) => (
                format!("of trigger \"{own}\""),
                format!(
                    "set the lane's trigger = \"{own}\", or train the model on rows of `pillion features --trigger {lane}`"
                ),
            ),
            None => (
                format!("of a trigger that its manifest does not say, which is taken as \"{UNSAID}\""),
                format!(
                    "set the lane's trigger = \"{UNSAID}\", or write trigger = \"{lane}\" into manifest.toml if the model was \
                     trained on rows of `pillion features --trigger {lane}`"
                ),
            ),
        };
        let problem = format!("{what} {said}; the lane runs its models on \"{lane}\", and so would give it other rows");
        Err(Error::input(format!("model `{}`", self.name), problem, mend))
    }

    /// What a person should know of the model's trigger beside the lane's, where the lane is not refused.
    #[must_use]
    pub fn trigger_remark(&self, lane: Trigger) -> Option<String> {
        match self.trigger {
            Some(own) if own == lane => None,
            Some(own) => {
                Some(format!("trained on rows of \"{own}\", run on \"{lane}\": other events than it has learnt from"))
            }
            None if self.takes == Takes::Vector && lane == UNSAID => None,
            None => Some(format!("the manifest does not say on which trigger its rows are; taken as \"{UNSAID}\"")),
        }
    }
}
