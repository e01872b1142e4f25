//! One-way links between two threads behind one small interface: ours, and others of their kind.

pub mod links;
pub mod plain;
