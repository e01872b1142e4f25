//! Step 4, features: one row of numbers from the book and the flow of orders, in time that does not grow with the past.
//!
//! A [`FeatureSet`] is declared in TOML, expanded into named columns and compiled into a plan; [`Features`] is the state
//! of one instrument under that plan. [`Features::update`] is called once per event end, [`Features::write`] whenever a
//! row is wanted; both cost the same whatever came before, and allocate nothing. All arithmetic is `f64` or exact
//! integers, and uses no function of the C library, so that the same ticks give the same bits on every host.
//! [`kinds`] has every formula.

#![forbid(unsafe_code)]

pub mod column;
mod entry;
mod incremental;
mod input;
pub mod kinds;
mod math;
mod plan;
mod read;
mod set;
mod view;
mod window;

pub use column::{BookSide, Column, Memory};
pub use incremental::Features;
pub use kinds::{Kind, Series};
pub use set::{FeatureSet, MAX_COLUMNS};
