//! Reading end of the signal board.

use crate::fault::{Fault, Result, lock};
use crate::place::place;
use numpy::{IntoPyArray, PyArray1};
use pillion_shm::Reading;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::Mutex;

/// Words of a row: the status, then the signal.
const ROW_WORDS: usize = 1 + size_of::<pillion_shm::Signal>() / 8;

/// A reader of the board.
#[pyclass(frozen)]
pub struct BoardReader {
    board: Mutex<pillion_shm::BoardReader>,
}

/// Status (0 never, 1 value, 2 busy) and signal of one cell.
fn row(board: &pillion_shm::BoardReader, instrument: u32, model: u32) -> [u64; ROW_WORDS] {
    let mut row = [0; ROW_WORDS];
    match board.read(instrument, model) {
        Reading::Never => {}
        Reading::Value(signal) => {
            row[0] = 1;
            row[1..].copy_from_slice(signal.words());
        }
        Reading::Busy => row[0] = 2,
    }
    row
}

#[pymethods]
impl BoardReader {
    #[new]
    fn new(py: Python<'_>, lane: &str, dir: PathBuf) -> Result<Self> {
        let board = py.detach(|| {
            let (lane, clock) = place(lane, dir)?;
            Ok::<_, Fault>(pillion_shm::BoardReader::attach(&lane, &clock)?)
        })?;
        Ok(Self { board: Mutex::new(board) })
    }

    /// Words of one row.
    fn one<'py>(&self, py: Python<'py>, instrument: u32, model: u32) -> Bound<'py, PyArray1<u64>> {
        row(&lock(&self.board), instrument, model).to_vec().into_pyarray(py)
    }

    /// Words of all rows: all models of the first instrument, then the next.
    fn all<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        let rows = py.detach(|| {
            let board = lock(&self.board);
            let cells = (0..board.instruments()).flat_map(|i| (0..board.models()).map(move |m| (i, m)));
            cells.flat_map(|(instrument, model)| row(&board, instrument, model)).collect::<Vec<_>>()
        });
        rows.into_pyarray(py)
    }

    /// The bytes that name instruments and models; none before layout version 2.
    fn table<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.board).table())
    }

    #[getter]
    fn instruments(&self) -> u32 {
        lock(&self.board).instruments()
    }

    #[getter]
    fn models(&self) -> u32 {
        lock(&self.board).models()
    }

    #[getter]
    fn generation(&self) -> u64 {
        lock(&self.board).generation()
    }

    fn owner_alive(&self) -> bool {
        lock(&self.board).owner_alive()
    }

    fn superseded(&self) -> bool {
        lock(&self.board).superseded()
    }
}
