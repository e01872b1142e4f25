//! Writing ends: a feed of ticks, and the sidecar's ring and board for tests of what reads them.

use crate::fault::{Result, open};
use crate::place::{access, kind, place_to_write};
use numpy::PyReadonlyArray1;
use pillion_shm::{BoardSpec, RingSpec, Signal};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Mutex;

const SIGNAL_WORDS: usize = size_of::<Signal>() / 8;

/// The writing end of a ring.
#[pyclass(frozen)]
pub struct RingWriter {
    ring: Mutex<Option<pillion_shm::RingWriter>>,
}

#[pymethods]
impl RingWriter {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the Python side names them all")]
    fn new(
        kind_name: &str,
        lane: &str,
        dir: PathBuf,
        capacity: u64,
        record_bytes: usize,
        table: Vec<u8>,
        mode: u32,
        gid: Option<u32>,
        lock: &str,
    ) -> Result<Self> {
        let (kind, access) = (kind(kind_name)?, access(mode, gid, lock)?);
        let (lane, clock) = place_to_write(lane, dir)?;
        let spec = RingSpec { capacity, record_words: record_bytes.div_ceil(8), table };
        let ring = pillion_shm::RingWriter::create(&lane, kind, &spec, &clock, &access)?;
        Ok(Self { ring: Mutex::new(Some(ring)) })
    }

    /// Publishes records of `record_words` each, stamped with now or with `stamps`; returns the first one's number.
    fn publish(
        &self,
        py: Python<'_>,
        words: PyReadonlyArray1<'_, u64>,
        record_words: usize,
        stamps: Option<PyReadonlyArray1<'_, u64>>,
    ) -> Result<u64> {
        let words = words.as_slice().map_err(contiguous)?;
        let stamps = stamps.as_ref().map(|stamps| stamps.as_slice().map_err(contiguous)).transpose()?;
        let records = words.len().checked_div(record_words).unwrap_or(0);
        if stamps.is_some_and(|stamps| stamps.len() != records) {
            return Err(PyValueError::new_err(format!("{records} records need as many stamps")).into());
        }
        py.detach(|| {
            open(&self.ring, "writer", |ring| {
                if record_words > ring.record_words() {
                    let (given, most) = (record_words * 8, ring.record_words() * 8);
                    let text =
                        format!("records of {given} bytes do not fit this ring, whose records hold {most} bytes");
                    return Err(PyValueError::new_err(text).into());
                }
                let first = ring.published();
                for (i, record) in words.chunks_exact(record_words.max(1)).enumerate() {
                    match stamps {
                        Some(stamps) => ring.publish_at(record, stamps[i]),
                        None => ring.publish(record),
                    };
                }
                Ok(first)
            })?
        })
    }

    #[getter]
    fn published(&self) -> Result<u64> {
        open(&self.ring, "writer", |ring| ring.published())
    }

    #[getter]
    fn generation(&self) -> Result<u64> {
        open(&self.ring, "writer", |ring| ring.generation())
    }

    #[getter]
    fn capacity(&self) -> Result<u64> {
        open(&self.ring, "writer", |ring| ring.capacity())
    }

    #[getter]
    fn record_words(&self) -> Result<usize> {
        open(&self.ring, "writer", |ring| ring.record_words())
    }

    #[getter]
    fn path(&self) -> Result<PathBuf> {
        open(&self.ring, "writer", |ring| ring.path().to_owned())
    }

    /// Ends the ring, and removes its name if asked; the second call does nothing.
    fn close(&self, unlink: bool) -> Result<()> {
        match crate::fault::lock(&self.ring).take() {
            Some(ring) if unlink => Ok(ring.unlink()?),
            _ => Ok(()),
        }
    }
}

/// The writing end of a board.
#[pyclass(frozen)]
pub struct BoardWriter {
    board: Mutex<Option<pillion_shm::BoardWriter>>,
}

#[pymethods]
impl BoardWriter {
    #[new]
    fn new(
        lane: &str,
        dir: PathBuf,
        instruments: u32,
        models: u32,
        table: Vec<u8>,
        mode: u32,
        gid: Option<u32>,
    ) -> Result<Self> {
        let (lane, clock) = place_to_write(lane, dir)?;
        let access = access(mode, gid, "try")?;
        let spec = BoardSpec { instruments, models, table };
        let board = pillion_shm::BoardWriter::create(&lane, &spec, &clock, &access)?;
        Ok(Self { board: Mutex::new(Some(board)) })
    }

    /// Sets each signal's cell; the rows are checked against the board's size before.
    fn set(&self, words: PyReadonlyArray1<'_, u64>, instruments: u32, models: u32) -> Result<()> {
        let words = words.as_slice().map_err(contiguous)?;
        let signals: Vec<_> = words.as_chunks::<SIGNAL_WORDS>().0.iter().map(Signal::from_words).collect();
        if let Some(out) = signals.iter().find(|s| s.instrument >= instruments || u32::from(s.model) >= models) {
            let text = format!("no cell for instrument {}, model {}", out.instrument, out.model);
            return Err(PyValueError::new_err(format!("{text}: the board has {instruments} × {models}")).into());
        }
        open(&self.board, "board", |board| {
            for signal in &signals {
                board.set(signal.instrument, u32::from(signal.model), signal);
            }
        })
    }

    /// Ends the board, and removes its name if asked; the second call does nothing.
    fn close(&self, unlink: bool) -> Result<()> {
        match crate::fault::lock(&self.board).take() {
            Some(board) if unlink => Ok(board.unlink()?),
            _ => Ok(()),
        }
    }
}

fn contiguous(error: numpy::AsSliceError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
