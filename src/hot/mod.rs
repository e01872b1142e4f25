//! The straight line: poll, decode, book, features, infer, publish.
pub mod book;
pub mod decode;
pub mod features;
pub mod state;
