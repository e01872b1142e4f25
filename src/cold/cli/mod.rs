//! One file per command; `main.rs` only parses and dispatches.
pub mod book;
pub mod convert;
pub mod features;
pub mod synth;
