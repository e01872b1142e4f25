//! Everything that may block, allocate or log.

pub mod banner;
pub mod cli;
pub mod clock_words;
#[cfg(feature = "parquet")]
pub mod columns;
pub mod config;
pub mod cores;
pub mod data;
pub mod depth;
pub mod doctor;
mod feature_sets;
pub mod halt;
pub mod hot_threads;
pub mod inject;
pub mod kernel_signals;
pub mod lab;
pub mod memory;
pub mod model;
pub mod offline;
pub mod output;
pub mod pace;
pub mod prepare;
pub mod progress;
pub mod replay;
pub mod report;
pub mod rows;
pub mod sampler;
pub mod seat;
pub mod sidecar;
pub mod signals;
pub mod standing;
pub mod table;
pub mod tail;
pub mod tail_text;
mod tick_watch;
mod unended;
