//! ITCH 5.0 files made by hand, and the converter run on them.
#![allow(dead_code)]

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use pillion::Error;
use pillion::data::itch::{self, Options, Summary};
use pillion::data::{Feed, load};
use pillion::hot::decode::{Body, Instruments, decode};
use tempfile::TempDir;

/// Bytes of a message: type, stock number, tracking number 9, time, and the rest.
pub fn message(kind: u8, locate: u16, time_ns: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(locate.to_be_bytes());
    bytes.extend([0, 9]);
    bytes.extend(&time_ns.to_be_bytes()[2..]);
    rest.iter().for_each(|part| bytes.extend(*part));
    bytes
}

pub fn symbol(text: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// Prices are in 0.0001.
pub fn add(locate: u16, time_ns: u64, id: u64, side: u8, shares: u32, price: u32) -> Vec<u8> {
    let stock = symbol(&format!("S{locate}"));
    let fields: [&[u8]; 5] = [&id.to_be_bytes(), &[side], &shares.to_be_bytes(), &stock, &price.to_be_bytes()];
    message(b'A', locate, time_ns, &fields)
}

pub fn execute(locate: u16, time_ns: u64, id: u64, shares: u32) -> Vec<u8> {
    message(b'E', locate, time_ns, &[&id.to_be_bytes(), &shares.to_be_bytes(), &77u64.to_be_bytes()])
}

pub fn execute_at(locate: u16, time_ns: u64, id: u64, shares: u32, printable: u8, price: u32) -> Vec<u8> {
    let (id, shares, price) = (id.to_be_bytes(), shares.to_be_bytes(), price.to_be_bytes());
    message(b'C', locate, time_ns, &[&id, &shares, &77u64.to_be_bytes(), &[printable], &price])
}

pub fn reduce(locate: u16, time_ns: u64, id: u64, shares: u32) -> Vec<u8> {
    message(b'X', locate, time_ns, &[&id.to_be_bytes(), &shares.to_be_bytes()])
}

pub fn delete(locate: u16, time_ns: u64, id: u64) -> Vec<u8> {
    message(b'D', locate, time_ns, &[&id.to_be_bytes()])
}

pub fn replace(locate: u16, time_ns: u64, old: u64, new: u64, shares: u32, price: u32) -> Vec<u8> {
    let (old, new) = (old.to_be_bytes(), new.to_be_bytes());
    message(b'U', locate, time_ns, &[&old, &new, &shares.to_be_bytes(), &price.to_be_bytes()])
}

pub fn directory(locate: u16, time_ns: u64, stock: &str) -> Vec<u8> {
    // Nasdaq Global Select, normal, round lot 100, no odd lots, common stock, live, no IPO, tier 1, no ETP.
    message(b'R', locate, time_ns, &[&symbol(stock), b"QN", &100u32.to_be_bytes(), b"NCZ PNN1N", &[0; 4], b"N"])
}

pub fn action(locate: u16, time_ns: u64, stock: &str, state: u8) -> Vec<u8> {
    message(b'H', locate, time_ns, &[&symbol(stock), &[state], b" ", b"T1  "])
}

/// Each message behind its length.
pub fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with one input file of a name that tells the day.
pub struct Day {
    pub folder: TempDir,
    pub input: PathBuf,
}

impl Day {
    pub fn new(bytes: &[u8]) -> Day {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("01032012.NASDAQ_ITCH50");
        std::fs::write(&input, bytes).unwrap();
        Day { folder, input }
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("out.dbn")
    }

    pub fn convert_with(&self, options: &Options) -> Result<(Summary, Feed), Error> {
        let summary = itch::convert_file(&self.input, &self.output(), options, &Default::default())?;
        Ok((summary, load(self.output())?))
    }

    pub fn convert(&self) -> (Summary, Feed) {
        self.convert_with(&Options::default()).unwrap()
    }

    /// The text of a refusal, which leaves no output.
    pub fn refusal(&self, options: &Options) -> String {
        let error = self.convert_with(options).map(drop).unwrap_err();
        assert_eq!(error.exit_code, 2);
        assert!(!self.output().exists());
        error.to_string()
    }
}

/// New York midnight of [`Day`]'s day, 5 hours behind UTC.
pub const MIDNIGHT_NS: u64 = 1_325_566_800_000_000_000;

/// The records as text: action, side, order, price in 0.0001, size; `.` ends an event, `?` says that the book may be bad.
pub fn told(feed: &Feed) -> Vec<String> {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let cents = |price: i64| price / 100_000;
    feed.iter()
        .map(|record| {
            let tick = decode(record, &instruments).unwrap();
            let id = instruments.get(tick.instrument).id;
            let text = match tick.body {
                Body::Add { side, order_id, price, size } => format!("A {side:?} {order_id} {} {size}", cents(price)),
                Body::Cancel { side, order_id, price, size } => {
                    format!("C {side:?} {order_id} {} {size}", cents(price))
                }
                Body::Trade { aggressor, price, size } => format!("T {aggressor:?} {} {size}", cents(price)),
                Body::Fill { resting, order_id, price, size } => {
                    format!("F {resting:?} {order_id} {} {size}", cents(price))
                }
                Body::Status { trading } => format!("S {trading:?}"),
                Body::Clear => "R".to_owned(),
                Body::Nothing => "N".to_owned(),
                other => panic!("{other:?}"),
            };
            let doubt = if tick.flags & pillion_shm::records::flags::MAYBE_BAD_BOOK != 0 { " ?" } else { "" };
            format!("{id} {text}{}{doubt}", if tick.is_last() { " ." } else { "" })
        })
        .collect()
}
