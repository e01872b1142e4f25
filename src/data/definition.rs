//! What a DBN definition record says of an instrument, read and written.
//!
//! A converted file states its own units this way: tick size as `min_price_increment`, symbol as `raw_symbol`, and, under a
//! unit of measure that no venue uses, what a size of 1 stands for and how many levels of the book the records show.

use dbn::record::str_to_c_chars;
use dbn::{InstrumentDefMsg, RecordHeader, rtype};
use pillion_shm::records::UNDEF_PRICE;

use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// `unit_of_measure` of definitions whose `unit_of_measure_qty` is a size unit and whose `market_depth` is that of the records.
/// Venues put the size of a contract there, which is no unit of the records' sizes.
const SIZE_UNIT: &str = "PILLION SIZE UNIT";
/// `unit_of_measure` of a definition whose size unit a conversion has guessed from the sizes.
const GUESS: &str = "PILLION GUESS";
/// 1 as DBN writes it.
const ONE: f64 = 1e9;

/// What is known of an instrument from definition records.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Definition {
    /// The venue's symbol.
    pub symbol: Option<String>,
    /// Smallest price step, in 1e-9.
    pub tick_size: Option<i64>,
    /// Units per size 1; only where a conversion said so.
    pub size_unit: Option<f64>,
    /// The conversion that said so has guessed it.
    pub guessed: bool,
    /// Levels of a side that the records show; only where a conversion said so.
    pub depth: Option<usize>,
}

impl Definition {
    /// Reads a record; undefined and zero increments say nothing.
    pub(super) fn read(record: &InstrumentDefMsg) -> std::result::Result<Definition, String> {
        let corrupt = |e: dbn::Error| format!("corrupt: {e}");
        let symbol = record.raw_symbol().map_err(corrupt)?;
        let tick = record.min_price_increment;
        let mut read = Definition {
            symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
            tick_size: (tick > 0 && tick != UNDEF_PRICE).then_some(tick),
            ..Definition::default()
        };
        let unit = record.unit_of_measure().map_err(corrupt)?;
        if unit == SIZE_UNIT || unit == GUESS {
            read.guessed = unit == GUESS;
            let quantity = record.unit_of_measure_qty;
            read.size_unit = (quantity > 0 && quantity != UNDEF_PRICE).then(|| nearest(quantity));
            read.depth = usize::try_from(record.market_depth).ok().filter(|&depth| depth > 0 && depth < 1_000);
        }
        Ok(read)
    }

    /// True when the other definition has another symbol.
    pub(super) fn names_another(&self, other: &Definition) -> bool {
        differ(&self.symbol, &other.symbol)
    }

    /// Whether the other says anything else of the instrument itself.
    pub(super) fn contradicts(&self, other: &Definition) -> bool {
        self.names_another(other)
            || differ(&self.tick_size, &other.tick_size)
            || differ(&self.size_unit, &other.size_unit)
    }

    /// Takes over what the other says beyond it.
    pub(super) fn add(&mut self, other: Definition) {
        self.symbol = self.symbol.take().or(other.symbol);
        self.tick_size = self.tick_size.or(other.tick_size);
        self.guessed |= self.size_unit.is_none() && other.guessed;
        self.size_unit = self.size_unit.or(other.size_unit);
        self.depth = self.depth.or(other.depth);
    }
}

fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// A size unit by its decimal text, so that 0.001 reads as 0.001.
fn nearest(nanos: i64) -> f64 {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000).parse().unwrap_or(1.0)
}

/// An instrument of a file to be written.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// Number, symbol and units. A tick size of 0 is not known; a size unit other than 1 is the one that the records
    /// count in, known or not.
    pub instrument: Instrument,
    /// Levels of a side that its records show, where they show fewer than there are.
    pub depth: Option<usize>,
    /// True when the size unit is a conversion's guess.
    pub guessed: bool,
}

impl From<Instrument> for Listed {
    fn from(instrument: Instrument) -> Self {
        Self { instrument, depth: None, guessed: false }
    }
}

impl Listed {
    /// An instrument of which nothing but number and symbol is known.
    pub fn named(symbol: impl Into<String>, id: u32) -> Self {
        Instrument { id, publisher: None, symbol: symbol.into(), tick_size: 0, size_unit: 1.0 }.into()
    }

    /// The instrument's definition record of `time_ns`, or `None` where its units are not known.
    ///
    /// # Errors
    /// A size unit that DBN's 1e-9 cannot hold.
    pub(super) fn record(&self, time_ns: u64) -> Result<Option<InstrumentDefMsg>> {
        let Instrument { id, publisher, symbol, tick_size, size_unit } = &self.instrument;
        if *tick_size <= 0 && !self.guessed && *size_unit == 1.0 {
            return Ok(None);
        }
        let units = (size_unit * ONE).round();
        if !(1.0..9e18).contains(&units) || ((units / ONE - size_unit) / size_unit).abs() > 1e-9 {
            let problem = format!("size_unit {size_unit} is no multiple of 1e-9, which DBN counts in");
            return Err(Error::input(format!("instrument {symbol}"), problem, "give a size unit from 0.000000001 on"));
        }
        let text = |e: dbn::Error| Error::input(format!("instrument {symbol}"), e, "use 1 to 70 ASCII characters");
        Ok(Some(InstrumentDefMsg {
            hd: RecordHeader::new::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF, publisher.unwrap_or(0), *id, time_ns),
            ts_recv: time_ns,
            min_price_increment: if *tick_size > 0 { *tick_size } else { UNDEF_PRICE },
            display_factor: ONE as i64,
            raw_symbol: str_to_c_chars(symbol).map_err(text)?,
            raw_instrument_id: (*id).into(),
            unit_of_measure: str_to_c_chars(if self.guessed { GUESS } else { SIZE_UNIT }).map_err(text)?,
            unit_of_measure_qty: units as i64,
            market_depth: self.depth.and_then(|depth| i32::try_from(depth).ok()).unwrap_or(i32::MAX),
            ..InstrumentDefMsg::default()
        }))
    }
}
