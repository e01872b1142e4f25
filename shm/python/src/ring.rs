//! Reading ends of the tick and signal rings.

use crate::fault::{Result, lock};
use crate::place::{kind, place, start};
use numpy::{IntoPyArray, PyArray1};
use pillion_shm::Poll;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::Mutex;

/// Words before the record in a row: its number in the ring, and its publish stamp.
pub const ROW_OWN: usize = 2;
/// Losses in a row after which a read gives up until the next call: the writer outruns it.
const MAX_LOSSES: u32 = 64;

/// Rows of one read, not yet in Python's hands.
struct Rows {
    words: Vec<u64>,
    lost: u64,
    corrupt: bool,
}

/// A ring and what a read found but could not report yet.
struct Reader {
    ring: pillion_shm::RingReader,
    /// A loss behind the rows of the last read: it belongs before the next ones.
    pending_lost: u64,
}

impl Reader {
    /// At most `max` rows; a loss ends the read unless it stands before the first row.
    fn read(&mut self, max: usize) -> Rows {
        let row_words = ROW_OWN + self.ring.record_words();
        // At least one look, whatever the head says: it may be scribbled over.
        let waiting = self.ring.head().saturating_sub(self.ring.cursor()).clamp(1, self.ring.capacity());
        let mut words = vec![0; row_words * max.min(waiting as usize)];
        let mut rows = Rows { words: Vec::new(), lost: std::mem::take(&mut self.pending_lost), corrupt: false };
        let (mut filled, mut losses) = (0, 0);
        while filled + row_words <= words.len() && losses < MAX_LOSSES {
            let row = &mut words[filled..filled + row_words];
            match self.ring.poll(&mut row[ROW_OWN..]) {
                Poll::Record { ring_seq, stamp_ns } => {
                    (row[0], row[1]) = (ring_seq, stamp_ns);
                    filled += row_words;
                }
                Poll::Empty => break,
                Poll::Corrupt => {
                    rows.corrupt = true;
                    break;
                }
                Poll::Lost(lost) if filled == 0 => {
                    rows.lost += lost;
                    losses += 1;
                }
                Poll::Lost(lost) => {
                    self.pending_lost = lost;
                    break;
                }
            }
        }
        words.truncate(filled);
        rows.words = words;
        rows
    }
}

/// A reader of ticks or signals.
#[pyclass(frozen)]
pub struct RingReader {
    reader: Mutex<Reader>,
}

#[pymethods]
impl RingReader {
    #[new]
    fn new(py: Python<'_>, kind_name: &str, lane: &str, dir: PathBuf, start_name: &str) -> Result<Self> {
        let (kind, start) = (kind(kind_name)?, start(start_name)?);
        let ring = py.detach(|| {
            let (lane, clock) = place(lane, dir)?;
            Ok::<_, crate::fault::Fault>(pillion_shm::RingReader::attach(&lane, kind, start, &clock)?)
        })?;
        Ok(Self { reader: Mutex::new(Reader { ring, pending_lost: 0 }) })
    }

    /// (words of whole rows, records lost before them, whether the ring contradicts itself).
    fn read<'py>(&self, py: Python<'py>, max: usize) -> (Bound<'py, PyArray1<u64>>, u64, bool) {
        let rows = py.detach(|| lock(&self.reader).read(max));
        (rows.words.into_pyarray(py), rows.lost, rows.corrupt)
    }

    fn follow(&self, py: Python<'_>) -> Result<bool> {
        Ok(py.detach(|| lock(&self.reader).ring.follow())?)
    }

    /// Whether the ring agrees with itself and with this reader.
    fn check(&self) -> bool {
        lock(&self.reader).ring.check()
    }

    /// Over to the next record to be published; returns how many it passed, which are lost.
    fn skip_to_next(&self) -> u64 {
        let mut reader = lock(&self.reader);
        std::mem::take(&mut reader.pending_lost) + reader.ring.skip_to_next()
    }

    fn successor(&self) -> bool {
        lock(&self.reader).ring.successor()
    }

    fn superseded(&self) -> bool {
        lock(&self.reader).ring.superseded()
    }

    fn owner_alive(&self) -> bool {
        lock(&self.reader).ring.owner_alive()
    }

    fn table<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, lock(&self.reader).ring.table())
    }

    #[getter]
    fn path(&self) -> PathBuf {
        lock(&self.reader).ring.path().to_owned()
    }

    #[getter]
    fn cursor(&self) -> u64 {
        lock(&self.reader).ring.cursor()
    }

    #[getter]
    fn head(&self) -> u64 {
        lock(&self.reader).ring.head()
    }

    #[getter]
    fn capacity(&self) -> u64 {
        lock(&self.reader).ring.capacity()
    }

    #[getter]
    fn record_words(&self) -> usize {
        lock(&self.reader).ring.record_words()
    }

    #[getter]
    fn generation(&self) -> u64 {
        lock(&self.reader).ring.generation()
    }

    #[getter]
    fn owner_pid(&self) -> u32 {
        lock(&self.reader).ring.owner_pid()
    }

    #[getter]
    fn created_ns(&self) -> u64 {
        lock(&self.reader).ring.created_ns()
    }
}
