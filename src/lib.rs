//! Pillion: market ticks in, model signals out, every nanosecond counted.

pub mod cold;
pub mod engine;
pub mod error;
pub mod hot;

pub use error::{Error, Result};
