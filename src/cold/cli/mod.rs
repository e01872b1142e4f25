//! One file per command; `main.rs` only parses and dispatches.

pub mod book;
pub mod convert;
pub mod convert_binance;
pub mod convert_itch;
pub mod ctl;
pub mod features;
pub mod feed;
pub mod merge;
pub mod model;
pub mod replay;
pub mod run;
pub mod shm;
pub mod status;
pub mod synth;
