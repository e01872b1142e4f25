//! Pillion's shared memory beside others of its kind: links behind one small interface, and how they are measured.

pub mod cpp;
pub mod iceoryx;
pub mod links;
pub mod measure;
pub mod plain;
