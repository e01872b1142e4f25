//! What the fuzzer drives, and what `tests/fuzz_replay.rs` drives again on stable: bytes in, and nothing but a refusal
//! with a reason or a sound result may come of them.

pub mod attach;
#[cfg(feature = "records")]
pub mod dbn;
#[cfg(feature = "records")]
pub mod decode;
pub mod input;
#[cfg(feature = "records")]
pub mod itch;
#[cfg(feature = "records")]
pub mod onnx;
pub mod regions;
pub mod tables;
