//! Shared-memory contract of Pillion.
pub mod records;
