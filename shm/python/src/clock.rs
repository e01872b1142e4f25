//! The clock that all stamps are on.

use crate::fault::Result;
use pyo3::prelude::*;
use std::path::PathBuf;

/// The clock of this boot in a directory.
#[pyclass(frozen)]
pub struct Clock {
    clock: pillion_shm::Clock,
}

#[pymethods]
impl Clock {
    #[new]
    fn new(py: Python<'_>, dir: PathBuf) -> Result<Self> {
        // Detached: its rate is looked at for some ms.
        let clock = py.detach(|| pillion_shm::Clock::attach(&dir))?;
        Ok(Self { clock })
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn offset_ns(&self) -> i64 {
        self.clock.offset_ns()
    }

    #[getter]
    fn id(&self) -> u64 {
        self.clock.id()
    }
}
