//! Synthetic order flow: seeded, the same bytes on every machine, with bursts, for machines that have no data.
//!
//! Arrivals are self-exciting (`arrivals`); each arrival is one event of one instrument's market (`market`): an add,
//! a cancel, a modify, or a market order that trades through the queue as DBN tells it (`T`, `F` ..., then `C` or `M`).

mod arrivals;
mod market;
mod random;

pub(crate) use random::Random;

use std::path::Path;

use dbn::Schema;
use pillion_shm::records::{MboMsg, RecordHeader, flags, rtype};

use super::calendar::Date;
use super::definition::Listed;
use super::writer::{DbnWriter, FileInfo};
use crate::hot::decode::Instrument;
use crate::{Error, Result};
use arrivals::Arrivals;
use market::{Market, Report};

/// Smallest price step of every instrument, in 1e-9: 0.01.
pub const TICK_SIZE: i64 = 10_000_000;
/// Most instruments that one file may have.
pub const MAX_INSTRUMENTS: u32 = 10_000;

/// What to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Same seed, same bytes.
    pub seed: u64,
    /// Number of instruments, with ids 1, 2, ... and symbols SYN0001, SYN0002, ...
    pub instruments: u32,
    /// Live events over all instruments, after the snapshots.
    pub events: u64,
    /// Mean arrivals per second over all instruments.
    pub events_per_second: u32,
}

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Records of the snapshots.
    pub snapshot_records: u64,
    /// Records in all.
    pub records: u64,
    /// Live events.
    pub events: u64,
    /// Trades.
    pub trades: u64,
    /// From the first to the last live event, ns.
    pub span_ns: u64,
}

impl Plan {
    fn check(&self) -> Result<()> {
        if !(1..=MAX_INSTRUMENTS).contains(&self.instruments) {
            let problem = format!("{} instruments asked for", self.instruments);
            return Err(Error::input("synth", problem, format!("ask for 1 to {MAX_INSTRUMENTS}")));
        }
        if self.events_per_second == 0 {
            return Err(Error::input("synth", "a rate of 0 events per second asked for", "ask for at least 1"));
        }
        let days = self.events / u64::from(self.events_per_second) / 86_400;
        if days > 3_650 {
            let problem = format!("{} events at {} a second last {days} days", self.events, self.events_per_second);
            return Err(Error::input("synth", problem, "ask for fewer events or a higher rate"));
        }
        Ok(())
    }

    fn listed(&self) -> Vec<Listed> {
        let one = |id| {
            Instrument { id, publisher: Some(0), symbol: format!("SYN{id:04}"), tick_size: TICK_SIZE, size_unit: 1.0 }
                .into()
        };
        (1..=self.instruments).map(one).collect()
    }
}

/// Writes the file at `path`.
pub fn write(path: impl AsRef<Path>, plan: &Plan) -> Result<Summary> {
    plan.check()?;
    let opening_ns = opening_ns();
    let expected_ns = plan.events.saturating_mul(1_000_000_000) / u64::from(plan.events_per_second);
    let info = FileInfo {
        dataset: "SYNTH".to_owned(),
        schema: Some(Schema::Mbo),
        start_ns: opening_ns,
        end_ns: opening_ns + 2 * expected_ns + 86_400_000_000_000,
        instruments: plan.listed(),
    };
    let mut writer = DbnWriter::create(path, &info)?;
    let summary = Maker::new(plan, opening_ns).run(plan, &mut writer)?;
    writer.finish()?;
    Ok(summary)
}

/// 09:30 in New York on a Tuesday in January 2024, ns since the epoch.
fn opening_ns() -> u64 {
    let date = Date::new(2024, 1, 9).expect("a day that exists");
    date.new_york_midnight_ns() + 34_200_000_000_000
}

struct Maker {
    random: Random,
    arrivals: Arrivals,
    markets: Vec<Market>,
    next_order: u64,
    sequence: u32,
    opening_ns: u64,
    reports: Vec<Report>,
    summary: Summary,
}

impl Maker {
    fn new(plan: &Plan, opening_ns: u64) -> Self {
        let mut random = Random::new(plan.seed);
        let markets = (0..plan.instruments).map(|_| Market::new(&mut random)).collect();
        Self {
            arrivals: Arrivals::new(plan.instruments, plan.events_per_second, &mut random),
            random,
            markets,
            next_order: 1,
            sequence: 0,
            opening_ns,
            reports: Vec::new(),
            summary: Summary::default(),
        }
    }

    fn run(mut self, plan: &Plan, writer: &mut DbnWriter) -> Result<Summary> {
        for instrument in 0..plan.instruments {
            self.markets[instrument as usize].open(&mut self.random, &mut self.next_order, &mut self.reports);
            self.flush(writer, instrument, self.opening_ns, flags::SNAPSHOT | flags::BAD_TS_RECV)?;
        }
        self.summary.snapshot_records = writer.records();
        while self.summary.events < plan.events {
            let (after_ns, instrument) = self.arrivals.next(&mut self.random);
            self.markets[instrument as usize].turn(&mut self.random, &mut self.next_order, &mut self.reports);
            self.flush(writer, instrument, self.opening_ns + 1_000_000_000 + after_ns, 0)?;
            self.summary.events += 1;
            self.summary.span_ns = after_ns;
        }
        self.summary.records = writer.records();
        Ok(self.summary)
    }

    /// Writes the reports of one event.
    fn flush(&mut self, writer: &mut DbnWriter, instrument: u32, ts_event: u64, common_flags: u8) -> Result<()> {
        let latency_ns = 20_000 + self.random.below(30_000);
        let count = self.reports.len();
        for (i, report) in self.reports.drain(..).enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            self.summary.trades += u64::from(report.action == b'T');
            let last = if i + 1 == count { flags::LAST } else { 0 };
            writer.write(&MboMsg {
                hd: RecordHeader {
                    length: (size_of::<MboMsg>() / 4) as u8,
                    rtype: rtype::MBO,
                    publisher_id: 0,
                    instrument_id: instrument + 1,
                    ts_event,
                },
                order_id: report.order_id,
                price: report.price,
                size: report.size,
                flags: common_flags | last,
                channel_id: 0,
                action: report.action,
                side: report.side,
                ts_recv: ts_event + latency_ns,
                ts_in_delta: 12_000,
                sequence: self.sequence,
            })?;
        }
        Ok(())
    }
}
