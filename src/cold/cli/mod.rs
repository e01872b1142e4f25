//! One file per command; `main.rs` only parses and dispatches.

pub mod book;
pub mod convert;
pub mod ctl;
pub mod doctor;
pub mod features;
pub mod feed;
pub mod model;
pub mod replay;
pub mod report;
pub mod run;
pub mod shm;
pub mod status;
pub mod synth;
