//! The straight line: poll, decode, book, features, infer, publish.
pub mod decode;
pub mod book;
pub mod features;
