//! Market data files: reading DBN, writing DBN, converting, synthesising.

pub mod binance;
pub mod book_csv;
#[cfg(feature = "parquet")]
pub mod book_parquet;
pub mod calendar;
#[cfg(feature = "parquet")]
pub mod columns;
pub mod contents;
pub mod definition;
mod emit;
pub mod facts;
pub mod feed;
mod guess;
pub mod identity;
pub mod instrument;
pub mod itch;
pub mod json;
pub mod limits;
pub mod lobster;
pub mod merge;
pub mod order;
pub mod output;
pub mod raw;
pub mod rows;
mod source;
mod stated;
pub mod stream;
pub mod synth;
mod unnamed;
pub mod writer;

pub use definition::Listed;
pub use facts::Facts;
pub use feed::{Feed, load};
pub use output::{OutputFile, write_failed};
pub use writer::{DbnWriter, FileInfo};
