//! One message's order-level records, collected so that exactly the last of them ends the event.

use pillion_shm::records::{MboMsg, RecordHeader, StatusMsg, UNDEF_PRICE, flags, rtype};

use super::calendar::Date;
use super::writer::DbnWriter;
use crate::Result;
use crate::hot::decode::Side;

/// DBN's number of Nasdaq TotalView-ITCH, which LOBSTER is made from too.
const PUBLISHER_XNAS_ITCH: u16 = 2;

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
}

impl Emitter {
    pub fn new(instrument_id: u32) -> Self {
        let header = RecordHeader {
            length: (size_of::<MboMsg>() / 4) as u8,
            rtype: rtype::MBO,
            publisher_id: PUBLISHER_XNAS_ITCH,
            instrument_id,
            ts_event: 0,
        };
        Self { header, sequence: 0, snapshot: false, doubt: false, status: None, records: Vec::with_capacity(64) }
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
    pub fn of(&mut self, instrument_id: u32) {
        self.header.instrument_id = instrument_id;
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
