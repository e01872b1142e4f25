//! Pillion's parts beside others of their kind: links and engines behind small interfaces, and how they are measured.

pub mod cpp;
pub mod iceoryx;
pub mod links;
pub mod measure;
pub mod plain;
pub mod rivals;
