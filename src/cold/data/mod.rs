//! Market data files: reading DBN, writing DBN, converting, synthesising.

pub mod book_csv;
pub mod calendar;
pub mod feed;
pub mod limits;
pub mod lobster;
pub mod output;
mod source;
pub mod synth;
pub mod writer;

pub use feed::{Feed, load};
pub use output::{OutputFile, write_failed};
pub use writer::{DbnWriter, FileInfo};
