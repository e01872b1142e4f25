//! Looks at lanes of other processes, through their regions alone and without disturbing them: what `pillion status` shows, and
//! what any watch or exporter reads.

mod look;

pub use look::{Before, Halt, Lanes, Look};
