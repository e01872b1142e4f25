//! Read-only checks of the host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// A to F.
    pub grade: String,
    /// CPU that was looked at.
    pub core: usize,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Stable name.
    pub id: String,
    /// What was read.
    pub value: String,
    /// good, poor or unknown.
    pub verdict: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub mend: String,
}
