//! One file per command; `main.rs` only parses and dispatches.

pub mod ab;
pub mod args;
pub mod book;
pub mod child_of;
pub mod compare;
pub mod convert;
pub mod convert_binance;
pub mod convert_itch;
pub mod ctl;
pub mod demo;
pub mod doctor;
pub mod features;
pub mod feed;
pub mod lab;
pub mod merge;
pub mod model;
pub mod progress;
pub mod recording;
pub mod replay;
pub mod report;
pub mod run;
pub mod shm;
pub mod status;
pub mod sweep;
pub mod synth;
