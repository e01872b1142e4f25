//! Pillion: market ticks in, model signals out, every nanosecond counted.

pub mod error;
pub mod hot;
pub mod engine;
pub mod cold;

pub use error::{Error, Result};
