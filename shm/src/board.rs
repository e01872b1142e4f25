//! The signal board: the last signal of every instrument and model, one cell each.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lane::{Access, Lane, LockMemory};
use crate::layout::{Kind, slot};
use crate::region::{Plan, Region};
use crate::seqlock::{self, Look, RETRIES};
use crate::signal::Signal;
use crate::sync::{AtomicU64, Words};
use bytemuck::Zeroable;
use std::cell::Cell;
use std::marker::PhantomData;

const CELL_BYTES: usize = slot::OWN + size_of::<Signal>();
const CELL_WORDS: usize = CELL_BYTES / 8;
const RECORD: usize = slot::RECORD / 8;

/// Size of a new board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardSpec {
    /// Rows.
    pub instruments: u32,
    /// Cells of a row.
    pub models: u32,
    /// What the numbers stand for: the bytes of [`crate::SignalTables::to_bytes`], as in the signal ring.
    pub table: Vec<u8>,
}

/// What a reader found in a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// No signal was ever set.
    Never,
    /// The last one.
    Value(Signal),
    /// Being written at each of a thousand looks: the writer was descheduled or died in the middle.
    Busy,
}

/// The writing end; it holds the region's lock for as long as it lives. `Send`, not `Sync`.
#[derive(Debug)]
pub struct BoardWriter {
    board: Board,
    not_sync: PhantomData<Cell<()>>,
}

impl BoardWriter {
    /// Makes the board of `lane`, empty, taking it over from a dead owner if need be.
    pub fn create(lane: &Lane, spec: &BoardSpec, clock: &Clock, access: &Access) -> Result<Self> {
        let path = lane.path(Kind::Board);
        let (instruments, models) = (spec.instruments, spec.models);
        let cells = u64::from(instruments) * u64::from(models);
        if cells == 0 || cells > 1 << 32 {
            let value = format!("{instruments} instruments × {models} models");
            return Err(Error::Spec { path, what: "board size", value, must: "1 to 2^32 cells" });
        }
        clock.check_lane(lane)?;
        let plan = Plan {
            trust: lane.trust(),
            path,
            kind: Kind::Board,
            clock_id: clock.id(),
            created_ns: clock.now_ns(),
            stride: CELL_BYTES,
            capacity: cells,
            models,
            table: &spec.table,
            body_bytes: cells as usize * CELL_BYTES,
            access,
        };
        let mut region = Region::build(&plan)?;
        region.install(|_, _| true)?;
        Ok(Self { board: Board::new(region)?, not_sync: PhantomData })
    }

    /// Sets the last signal. Never waits, allocates or calls the system.
    ///
    /// # Panics
    /// If there is no such instrument or model.
    #[inline]
    pub fn set(&mut self, instrument: u32, model: u32, signal: &Signal) {
        let cell = self.board.cell(instrument, model);
        let cell = cell.unwrap_or_else(|| panic!("board has no instrument {instrument}, model {model}"));
        seqlock::write(cell, RECORD, signal.words());
    }

    /// Life of this name, from 1.
    pub fn generation(&self) -> u64 {
        self.board.region.header().generation
    }

    /// Whether its pages are locked in memory.
    pub fn locked(&self) -> bool {
        self.board.region.locked()
    }

    /// Removes the name and ends the board: for tests and private lanes.
    pub fn unlink(self) -> Result<()> {
        self.board.region.unlink()
    }
}

/// A reading end, mapped read-only. `Send`, not `Sync`.
#[derive(Debug)]
pub struct BoardReader {
    board: Board,
    not_sync: PhantomData<Cell<()>>,
}

impl BoardReader {
    /// Attaches to the board of `lane`, which must be of this layout and `clock`.
    pub fn attach(lane: &Lane, clock: &Clock) -> Result<Self> {
        let region = Region::attach(&lane.path(Kind::Board), Kind::Board, Some(clock.id()), false, lane.trust())?;
        Ok(Self { board: Board::new(region)?, not_sync: PhantomData })
    }

    /// The last signal; `None` when none was ever set, or there is no such cell, or a dead writer left it half done.
    #[inline]
    pub fn get(&self, instrument: u32, model: u32) -> Option<Signal> {
        match self.read(instrument, model) {
            Reading::Value(signal) => Some(signal),
            Reading::Never | Reading::Busy => None,
        }
    }

    /// [`BoardReader::get`], which says why there is no value.
    #[inline]
    pub fn read(&self, instrument: u32, model: u32) -> Reading {
        let Some(cell) = self.board.cell(instrument, model) else { return Reading::Never };
        let mut words = [0; size_of::<Signal>() / 8];
        match seqlock::read(cell, RECORD, &mut words, RETRIES) {
            Look::Never => Reading::Never,
            Look::Value => Reading::Value(Signal::from_words(&words)),
            Look::Busy => Reading::Busy,
        }
    }

    /// The bytes given as [`BoardSpec::table`]; empty in a board of layout version 1.
    pub fn table(&self) -> Vec<u8> {
        self.board.region.table()
    }

    /// Instruments it has cells for.
    pub fn instruments(&self) -> u32 {
        self.board.instruments
    }

    /// Models it has cells for.
    pub fn models(&self) -> u32 {
        self.board.models
    }

    /// Life of the name that this reader attached to, from 1.
    pub fn generation(&self) -> u64 {
        self.board.region.header().generation
    }

    /// Whether the owner lives: a look at its lock (system call).
    pub fn owner_alive(&self) -> bool {
        self.board.region.owner_alive()
    }

    /// Whether the name stands for another board now, or for none (system call).
    pub fn superseded(&self) -> bool {
        self.board.region.successor() || self.board.region.renamed()
    }

    /// Touches every page, so that none faults later, and locks them as asked (system calls).
    pub fn touch_and_lock(&mut self, lock: LockMemory) -> Result<()> {
        self.board.region.touch_and_lock(lock)
    }
}

/// Cells in row order: all models of the first instrument, then the next.
#[derive(Debug)]
struct Board {
    region: Region,
    instruments: u32,
    models: u32,
}

impl Board {
    fn new(region: Region) -> Result<Self> {
        let header = region.header();
        let instruments = header.capacity.checked_div(u64::from(header.models)).and_then(|n| u32::try_from(n).ok());
        match instruments {
            Some(instruments @ 1..) if header.stride == CELL_BYTES as u64 => {
                let models = header.models;
                Ok(Self { region, instruments, models })
            }
            _ => {
                let (cells, models, stride) = (header.capacity, header.models, header.stride);
                let found = format!("a board of {cells} cells for {models} models, {stride} bytes each");
                Err(header.unsound(region.path(), &found))
            }
        }
    }

    #[inline]
    fn cell(&self, instrument: u32, model: u32) -> Option<&[AtomicU64]> {
        if instrument >= self.instruments || model >= self.models {
            return None;
        }
        let index = instrument as usize * self.models as usize + model as usize;
        let start = self.region.body_word() + index * CELL_WORDS;
        self.region.words().get(start..start + CELL_WORDS)
    }
}

const _: () = assert!(CELL_BYTES == 128 && CELL_BYTES.is_multiple_of(64));
// A zeroed signal is a valid one: cells start as zeros.
const _: fn() -> Signal = Signal::zeroed;
