//! Everything that may block, allocate or log.
pub mod cli;
pub mod data;
pub mod offline;
pub mod rows;
