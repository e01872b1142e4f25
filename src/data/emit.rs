//! One message's order-level records, collected so that exactly the last of them ends the event.

use pillion_shm::records::{MboMsg, RecordHeader, StatusMsg, UNDEF_PRICE, flags, rtype};

use super::calendar::Date;
use super::facts::{Facts, Wanted};
use super::writer::DbnWriter;
use crate::Result;
use crate::hot::decode::{Instrument, Side};
use crate::hot::grid::{Grid, OffGrid};

/// DBN's number of Nasdaq TotalView-ITCH, which LOBSTER is made from too.
const PUBLISHER_XNAS_ITCH: u16 = 2;
/// Smallest price step of an order in US stocks at $1 and above, in 1e-9: Rule 612 of Regulation NMS.
const RULE_612: i64 = 10_000_000;

/// A stock of Nasdaq's, with what is stated of it by its symbol, or the rule of its venue.
///
/// # Errors
/// Statements that contradict each other.
pub(super) fn nasdaq(symbol: String, id: u32, day_ns: u64, facts: &Facts) -> Result<Instrument> {
    let wanted = Wanted { id: None, publisher: None, symbol: Some(&symbol), reused: false, span_ns: (day_ns, day_ns) };
    let stated = facts.one(&symbol, wanted, None)?;
    let (tick_size, size_unit) = stated.map_or((RULE_612, 1.0), |fact| (fact.tick_size, fact.size_unit.unwrap_or(1.0)));
    Ok(Instrument { id, publisher: Some(PUBLISHER_XNAS_ITCH), symbol, tick_size, size_unit })
}

/// Whether Nasdaq told on that day which side of the book a hidden order was on that traded. Since 14 July 2014 it says
/// "buy" of every one, and LOBSTER repeats that.
pub(super) fn hidden_sides_told(day: Date) -> bool {
    Date::new(2014, 7, 14).is_some_and(|first_masked| day < first_masked)
}

/// What a venue says of an instrument's trading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trading {
    /// Stopped by the regulator or the venue.
    Halted,
    /// Stopped for a short while.
    Paused,
    /// Orders are taken, none trades.
    Quoting,
    /// As usual.
    On,
}

/// Collects the records of one event and writes them together.
pub(super) struct Emitter {
    header: RecordHeader,
    sequence: u32,
    snapshot: bool,
    doubt: bool,
    status: Option<StatusMsg>,
    records: Vec<MboMsg>,
    grid: Grid,
    /// Prices so far that are no multiple of their instrument's tick size.
    pub off_grid: OffGrid,
}

impl Emitter {
    pub fn new(instrument_id: u32, grid: Grid) -> Self {
        let header = RecordHeader {
            length: (size_of::<MboMsg>() / 4) as u8,
            rtype: rtype::MBO,
            publisher_id: PUBLISHER_XNAS_ITCH,
            instrument_id,
            ts_event: 0,
        };
        let records = Vec::with_capacity(64);
        let off_grid = OffGrid::default();
        Self { header, sequence: 0, snapshot: false, doubt: false, status: None, records, grid, off_grid }
    }

    pub fn begin(&mut self, ts_event: u64, sequence: u32) {
        self.header.ts_event = ts_event;
        self.sequence = sequence;
        self.snapshot = false;
        self.doubt = false;
        self.status = None;
        self.records.clear();
    }

    /// The event is of this instrument.
    pub fn of(&mut self, instrument_id: u32, grid: Grid) {
        self.header.instrument_id = instrument_id;
        self.grid = grid;
    }

    /// This event is a snapshot.
    pub fn snapshot(&mut self) {
        self.snapshot = true;
    }

    /// The book after this event may be wrong: its last record says so.
    pub fn doubt(&mut self) {
        self.doubt = true;
    }

    pub fn push(&mut self, action: u8, side: Side, order_id: u64, price: i64, size: u32) {
        match action {
            b'A' => self.off_grid.quotes += u64::from(!self.grid.holds(price)),
            b'T' => self.off_grid.trades += u64::from(!self.grid.holds(price)),
            _ => {}
        }
        // The files have no capture time: ts_recv repeats the event time, and says that it does.
        let snapshot = if self.snapshot { flags::SNAPSHOT } else { 0 };
        self.records.push(MboMsg {
            hd: self.header,
            order_id,
            price,
            size,
            flags: flags::BAD_TS_RECV | snapshot,
            channel_id: 0,
            action,
            side: side_byte(side),
            ts_recv: self.header.ts_event,
            ts_in_delta: 0,
            sequence: self.sequence,
        });
    }

    pub fn status(&mut self, trading: Trading) {
        // DBN's StatusAction: 8 halt, 9 pause, 3 quoting, 7 trading.
        let (action, is_trading, is_quoting) = match trading {
            Trading::Halted => (8, b'N', b'N'),
            Trading::Paused => (9, b'N', b'N'),
            Trading::Quoting => (3, b'N', b'Y'),
            Trading::On => (7, b'Y', b'Y'),
        };
        self.status = Some(StatusMsg {
            hd: RecordHeader { length: (size_of::<StatusMsg>() / 4) as u8, rtype: rtype::STATUS, ..self.header },
            ts_recv: self.header.ts_event,
            action,
            reason: 0,
            trading_event: 0,
            is_trading,
            is_quoting,
            is_short_sell_restricted: b'~',
            _reserved: [0; 7],
        });
    }

    /// Writes the event; one that changed nothing still ends, with a record that says so.
    pub fn end(&mut self, writer: &mut DbnWriter) -> Result<()> {
        if self.records.is_empty() {
            self.push(b'N', Side::None, 0, UNDEF_PRICE, 0);
        }
        if let Some(last) = self.records.last_mut() {
            last.flags |= flags::LAST | if self.doubt { flags::MAYBE_BAD_BOOK } else { 0 };
        }
        if let Some(status) = &self.status {
            writer.write(status)?;
        }
        self.records.iter().try_for_each(|record| writer.write(record))
    }
}

fn side_byte(side: Side) -> u8 {
    match side {
        Side::Bid => b'B',
        Side::Ask => b'A',
        Side::None => b'N',
    }
}
