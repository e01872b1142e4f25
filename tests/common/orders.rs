//! Small files of orders, what is stated of them, and what the commands say.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use pillion::data::{DbnWriter, FileInfo, Listed};
use pillion::hot::decode::Instrument;
use pillion_shm::records::{MboMsg, RecordHeader, flags, rtype};

use crate::common::{output, pillion, stderr, stdout};

/// A cent in 1e-9.
pub const CENT: i64 = 10_000_000;
/// 2023-11-14 22:13:20 UTC.
pub const START: u64 = 1_700_000_000_000_000_000;
pub const DAY: u64 = 86_400_000_000_000;

/// An add that is an event of its own.
pub fn add(at: u64, publisher: u16, order: (u64, u8), price: i64, size: u32) -> MboMsg {
    let hd =
        RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: publisher, instrument_id: 1, ts_event: START + at };
    let zero: MboMsg = bytemuck::Zeroable::zeroed();
    let (order_id, side) = order;
    MboMsg { hd, order_id, price, size, flags: flags::LAST, action: b'A', side, ts_recv: START + at, ..zero }
}

pub fn write(path: &Path, instruments: Vec<Listed>, records: &[MboMsg]) -> PathBuf {
    let info = FileInfo {
        dataset: "XNAS.ITCH".to_owned(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: START,
        end_ns: START + DAY,
        instruments,
    };
    let mut writer = DbnWriter::create(path, &info).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap();
    path.to_owned()
}

pub fn defined(symbol: &str, id: u32, tick_size: i64, size_unit: f64) -> Listed {
    Instrument { id, publisher: Some(1), symbol: symbol.to_owned(), tick_size, size_unit }.into()
}

/// A bid and an ask two cents apart, and again; with `stub` a bid at a hundredth of a cent between them.
pub fn quotes(stub: bool) -> Vec<MboMsg> {
    let mut all = vec![add(1, 1, (1, b'B'), 15_000 * CENT, 5), add(2, 1, (2, b'A'), 15_002 * CENT, 5)];
    if stub {
        all.push(add(3, 1, (3, b'B'), CENT / 100, 5));
    }
    all.push(add(4, 1, (4, b'B'), 14_999 * CENT, 5));
    all
}

pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    pub fn of(text: &str) -> Rows {
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        Rows { columns: lines.next().unwrap(), rows: lines.collect() }
    }

    pub fn column(&self, name: &str) -> Vec<&str> {
        let at = self.columns.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
        self.rows.iter().map(|row| row[at].as_str()).collect()
    }
}

/// Orders behind metadata in which number 1 has these names, each from a day of November 2023 up to another, not included.
pub fn named_by_days(path: &Path, kind: dbn::SType, names: &[(&str, u8, u8)], orders: &[MboMsg]) -> PathBuf {
    let date = |day| time::Date::from_calendar_date(2023, time::Month::November, day).unwrap();
    let mapping = |&(name, from, to): &(&str, u8, u8)| dbn::SymbolMapping {
        raw_symbol: name.to_owned(),
        intervals: vec![dbn::MappingInterval { start_date: date(from), end_date: date(to), symbol: "1".to_owned() }],
    };
    let mut metadata = dbn::Metadata::builder()
        .dataset("GLBX.MDP3")
        .schema(Some(dbn::Schema::Mbo))
        .start(START)
        .stype_in(Some(kind))
        .stype_out(dbn::SType::InstrumentId)
        .build();
    metadata.mappings = names.iter().map(mapping).collect();
    let mut bytes = Vec::new();
    dbn::encode::dbn::MetadataEncoder::new(&mut bytes).encode(&metadata).unwrap();
    orders.iter().for_each(|order| bytes.extend_from_slice(bytemuck::bytes_of(order)));
    std::fs::write(path, bytes).unwrap();
    path.to_owned()
}

pub fn features(file: &Path, more: &[&str]) -> (Rows, String) {
    let out = output(pillion().arg("features").arg(file).args(more));
    assert!(out.status.success(), "{}", stderr(&out));
    (Rows::of(&stdout(&out)), stderr(&out))
}

pub fn refused(command: &mut std::process::Command, said: &[&str]) {
    let out = output(command);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    for part in said {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}
