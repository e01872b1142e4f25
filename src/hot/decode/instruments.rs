//! The instruments of a lane, fixed at start.

use pillion_shm::text::unprintable;

use super::Reject;
use crate::{Error, Result};

/// One instrument as the configuration or the scanned file states it.
#[derive(Clone, PartialEq, Debug)]
pub struct Instrument {
    /// Venue's number, as in the records.
    pub id: u32,
    /// The publisher whose records are meant: several publishers may use one number, each for a book of its own. `None`:
    /// whichever publisher's record comes first; those of others are refused from then on.
    pub publisher: Option<u16>,
    /// Symbol, at most 71 bytes.
    pub symbol: String,
    /// Smallest price step, in 1e-9; 0 where nobody has stated it, which is enough for a book and not for features.
    pub tick_size: i64,
    /// Units per size 1 (0.001 where sizes come in thousandths).
    pub size_unit: f64,
}

/// Longest symbol that the signal region's tables can hold, in bytes.
const MAX_SYMBOL_BYTES: usize = 71;
/// Index of an empty cell of the hash table.
const EMPTY: u32 = u32::MAX;

/// Publisher of a cell that takes every publisher's records: no `u16`.
const ANY: u32 = u32::MAX;

/// Maps a record's publisher and instrument id to the instrument's dense index, in O(1) and without allocating after
/// [`Instruments::new`].
#[derive(Clone, Debug)]
pub struct Instruments {
    list: Vec<Instrument>,
    /// Open-addressed cells; a power of two, at most half full.
    cells: Vec<Cell>,
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    id: u32,
    publisher: u32,
    index: u32,
}

impl Instruments {
    /// Takes the list in order: the first instrument gets index 0.
    pub fn new(list: &[Instrument]) -> Result<Self> {
        let cells = (list.len() * 2).next_power_of_two().max(2);
        let shift = 32 - cells.trailing_zeros();
        let empty = Cell { id: 0, publisher: ANY, index: EMPTY };
        let mut table = Self { list: list.to_vec(), cells: vec![empty; cells], shift };
        for (index, instrument) in list.iter().enumerate() {
            check(instrument)?;
            let publisher = instrument.publisher.map_or(ANY, u32::from);
            if table
                .cells_of(instrument.id)
                .any(|cell| cell.publisher == publisher || cell.publisher.max(publisher) == ANY)
            {
                return Err(Error::input(
                    format!("instrument {}", instrument.id),
                    format!("listed twice (the second time as \"{}\")", instrument.symbol),
                    "list every instrument id once, or once for each publisher, with publisher = N in each entry",
                ));
            }
            table.insert(instrument.id, publisher, index as u32);
        }
        Ok(table)
    }

    /// Dense index of the instrument of this publisher and id.
    #[inline]
    pub fn index(&self, publisher: u16, id: u32) -> Option<u32> {
        let mask = self.cells.len() - 1;
        let mut at = self.home(id);
        loop {
            let cell = self.cells[at & mask];
            if cell.index == EMPTY {
                return None;
            }
            if cell.id == id && (cell.publisher == u32::from(publisher) || cell.publisher == ANY) {
                return Some(cell.index);
            }
            at += 1;
        }
    }

    /// Why [`Instruments::index`] has nothing for a record of this id.
    #[cold]
    pub fn stranger(&self, id: u32) -> Reject {
        if self.cells_of(id).next().is_some() { Reject::OtherPublisher } else { Reject::UnknownInstrument }
    }

    /// The cells of an id, one for each of its publishers.
    fn cells_of(&self, id: u32) -> impl Iterator<Item = Cell> {
        let (mask, home) = (self.cells.len() - 1, self.home(id));
        let probed = (home..).map(move |at| self.cells[at & mask]).take_while(|cell| cell.index != EMPTY);
        probed.filter(move |cell| cell.id == id)
    }

    /// The instrument with this dense index, which must be below [`Instruments::len`].
    pub fn get(&self, index: u32) -> &Instrument {
        &self.list[index as usize]
    }

    /// Every instrument in index order.
    pub fn iter(&self) -> std::slice::Iter<'_, Instrument> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there are none: every record is then rejected.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn insert(&mut self, id: u32, publisher: u32, index: u32) {
        let mask = self.cells.len() - 1;
        let mut at = self.home(id);
        while self.cells[at & mask].index != EMPTY {
            at += 1;
        }
        self.cells[at & mask] = Cell { id, publisher, index };
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        (id.wrapping_mul(0x9E37_79B9) >> self.shift) as usize
    }
}

fn check(instrument: &Instrument) -> Result<()> {
    let thing = || format!("instrument {}", instrument.id);
    if instrument.symbol.len() > MAX_SYMBOL_BYTES {
        let problem = format!("symbol \"{}\" is {} bytes long", instrument.symbol, instrument.symbol.len());
        return Err(Error::input(thing(), problem, format!("use a symbol of at most {MAX_SYMBOL_BYTES} bytes")));
    }
    if let Some(c) = unprintable(&instrument.symbol) {
        let problem = format!(
            "symbol \"{}\" has the character {c:?}, which steers a terminal or cannot be seen",
            instrument.symbol
        );
        return Err(Error::input(thing(), problem, "use a symbol without it"));
    }
    if instrument.tick_size < 0 {
        let problem = format!("tick_size is {}", instrument.tick_size);
        return Err(Error::input(thing(), problem, "give the smallest price step in 1e-9, e.g. 10000000 for 0.01"));
    }
    if !(instrument.size_unit.is_finite() && instrument.size_unit > 0.0) {
        let problem = format!("size_unit is {}", instrument.size_unit);
        return Err(Error::input(thing(), problem, "give the units per size 1, e.g. 1.0"));
    }
    Ok(())
}
