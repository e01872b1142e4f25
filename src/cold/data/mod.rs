//! Market data files: reading DBN, writing DBN, converting, synthesising.

pub mod binance;
pub mod book_csv;
pub mod calendar;
pub mod contents;
mod emit;
pub mod feed;
pub mod itch;
pub mod limits;
pub mod lobster;
pub mod merge;
pub mod order;
pub mod output;
pub mod raw;
mod source;
pub mod stream;
pub mod synth;
pub mod writer;

pub use feed::{Feed, load};
pub use output::{OutputFile, write_failed};
pub use writer::{DbnWriter, FileInfo};
