//! `pillion_shm._native`: the rings, the board and the control page for the Python package around it.
//!
//! Rows come as NumPy arrays of `u64` words that this crate fills and hands over without a copy; the package gives them
//! their field names. Whatever copies many words or waits does so without the interpreter's lock. Each handle is behind a
//! mutex, since Python may call it from any thread and the handles are `Send` but not `Sync`.
#![forbid(unsafe_code)]

mod board;
mod clock;
mod control;
mod fault;
mod layout;
mod place;
mod ring;
mod tables;
mod writers;

/// The extension module.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::board::BoardReader;
    #[pymodule_export]
    use crate::clock::Clock;
    #[pymodule_export]
    use crate::control::{Control, ControlOwner};
    #[pymodule_export]
    use crate::layout::record_layout;
    #[pymodule_export]
    use crate::ring::RingReader;
    #[pymodule_export]
    use crate::tables::{table_bytes, table_rows};
    #[pymodule_export]
    use crate::writers::{BoardWriter, RingWriter};
}
