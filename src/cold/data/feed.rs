//! Reading a whole .dbn or .dbn.zst file (DBN v1 to v3) into memory, as records in the layouts of DBN v3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dbn::decode::dbn::Decoder;
use dbn::decode::{DbnMetadata, DynReader};
use dbn::{Metadata, RecordRef, SType, Schema, SymbolMappingMsg, VersionUpgradePolicy};
use pillion_shm::records::{self, BidAskPair, MboMsg, Mbp1Msg, Mbp10Msg, StatusMsg, TradeMsg, UNDEF_PRICE, rtype};

use super::source::{Boundaries, Hashing};
use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// What [`load`] takes, for messages.
const SUPPORTED: &str = "mbo, mbp-1, mbp-10, trades and status records in .dbn or .dbn.zst, DBN version 1 to 3";
/// Tick size of an instrument whose records show fewer than two prices, in 1e-9: 0.01.
pub const DEFAULT_TICK_SIZE: i64 = 10_000_000;
/// Magic number of a Zstandard frame, little-endian.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// A market data file in memory.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The file.
    pub path: PathBuf,
    /// BLAKE3 of the file's own bytes, compressed or not.
    pub blake3: [u8; 32],
    /// DBN version that the file is written in; the records here are version 3 whatever it says.
    pub version: u8,
    /// Dataset code, e.g. `GLBX.MDP3`.
    pub dataset: String,
    /// Schema, e.g. `mbo`; `mixed` when the file names none.
    pub schema: String,
    /// Every instrument that has records here, in ascending order of id. Symbols come from the file's mappings (the id in
    /// digits where it has none); the tick size is the greatest common divisor of the distances between the prices seen,
    /// or [`DEFAULT_TICK_SIZE`] where fewer than two were; the size unit is 1.
    pub instruments: Vec<Instrument>,
    /// The records, one after the other, each starting on a word. A record's first byte is its length in 4-byte words.
    pub words: Vec<u64>,
    /// Number of records in `words`.
    pub records: u64,
    /// Longest record in `words`, in 8-byte words.
    pub max_record_words: usize,
    /// Whether [`super::order::sort`] has put its events into another order than the file's.
    pub sorted: bool,
    /// Records of other types that a mixed file had between these (definitions, system messages ...), left out.
    pub skipped: u64,
}

impl Feed {
    /// The records in file order, each as its own words.
    pub fn iter(&self) -> Records<'_> {
        Records { words: &self.words }
    }
}

impl<'a> IntoIterator for &'a Feed {
    type Item = &'a [u64];
    type IntoIter = Records<'a>;
    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Iterator over the records of a [`Feed`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    words: &'a [u64],
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u64];

    #[inline]
    fn next(&mut self) -> Option<&'a [u64]> {
        let first = self.words.first()?;
        let (record, rest) = self.words.split_at((first.to_le_bytes()[0] / 2) as usize);
        self.words = rest;
        Some(record)
    }
}

/// Reads the file at `path` whole. The format is told by the file's first bytes, not by its name.
pub fn load(path: impl AsRef<Path>) -> Result<Feed> {
    let path = path.as_ref();
    let mut decoder = open(path)?;
    let version = decoder.get_ref().version();
    let mut gather = Gather::default();
    let outcome = gather.all(&mut decoder);
    let broken = outcome.err().or_else(|| decoder.get_mut().broken());
    if let Some(problem) = broken {
        return Err(broke_off(path, &problem, gather.records + gather.skipped));
    }
    let blake3 = decoder.get_mut().get_mut().get_mut().get_mut().finish().map_err(|e| unreadable(path, e))?;
    gather.into_feed(path, blake3, version, decoder.metadata())
}

/// A file's decoder, over readers that hash it and watch where its records end.
pub(super) type Source = Decoder<Boundaries<DynReader<'static, BufReader<Hashing<File>>>>>;

/// Opens a file and reads its metadata; refuses what is no DBN of a supported schema.
pub(super) fn open(path: &Path) -> Result<Source> {
    let file = File::open(path).map_err(|e| {
        Error::input(path.display(), format!("cannot be opened: {e}"), "give the path of a .dbn or .dbn.zst file")
    })?;
    let mut source = BufReader::with_capacity(1 << 16, Hashing::new(file));
    sniff(path, &mut source)?;
    let reader = DynReader::inferred_with_buffer(source).map_err(|e| unreadable(path, e))?;
    let decoder = Decoder::with_upgrade_policy(Boundaries::new(reader), VersionUpgradePolicy::UpgradeToV3)
        .map_err(|e| unreadable(path, e))?;
    check_schema(path, decoder.metadata())?;
    Ok(decoder)
}

/// Refuses a file whose records end or break because of `problem` after `good` of them.
pub(super) fn broke_off(path: &Path, problem: &str, good: u64) -> Error {
    Error::input(
        path.display(),
        format!("{problem}; {good} records before that are good"),
        "fetch or write the file again: a file that breaks off is not replayed in part",
    )
}

fn unreadable(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::input(
        path.display(),
        format!("not readable as DBN: {problem}; 0 records before that are good"),
        format!("give a whole file of {SUPPORTED}"),
    )
}

/// Tells by the first bytes what the file is, before any decoder sees it.
fn sniff<R: Read>(path: &Path, source: &mut BufReader<R>) -> Result<()> {
    let start = source.fill_buf().map_err(|e| unreadable(path, e))?;
    let refuse = |problem: String| Err(Error::input(path.display(), problem, format!("give {SUPPORTED}")));
    if start.starts_with(b"DBN") || start.starts_with(&ZSTD_MAGIC) {
        return Ok(());
    }
    if start.is_empty() {
        return refuse("the file is empty".to_owned());
    }
    if start.get(8..11) == Some(b"DBZ") {
        return refuse("legacy DBZ, which came before DBN and is not read".to_owned());
    }
    refuse(format!("neither DBN nor Zstandard: it starts with the bytes {:02x?}", &start[..start.len().min(4)]))
}

fn check_schema(path: &Path, metadata: &Metadata) -> Result<()> {
    let refuse = |problem: String| Err(Error::input(path.display(), problem, format!("give {SUPPORTED}")));
    match metadata.schema {
        None | Some(Schema::Mbo | Schema::Mbp1 | Schema::Mbp10 | Schema::Trades | Schema::Status) => Ok(()),
        Some(other) => refuse(format!("schema {other} is not supported")),
    }
}

/// Length in bytes of a record that is kept; `None` for other types.
fn kept_bytes(kind: u8) -> Option<usize> {
    Some(match kind {
        rtype::MBO => size_of::<MboMsg>(),
        rtype::MBP_1 => size_of::<Mbp1Msg>(),
        rtype::MBP_10 => size_of::<Mbp10Msg>(),
        rtype::TRADE => size_of::<TradeMsg>(),
        rtype::STATUS => size_of::<StatusMsg>(),
        _ => return None,
    })
}

/// What the file shows of one instrument.
#[derive(Default)]
struct Seen {
    first_price: Option<i64>,
    /// Greatest common divisor of the distances to the first price.
    step: u64,
    /// Distances of traded prices, used only where no order or level shows a price: hidden trades print off the grid.
    first_trade: Option<i64>,
    trade_step: u64,
    symbol: Option<String>,
}

/// Appends a record to `words` if it is of a type that is kept, and returns its length in words. The symbol of a mapping
/// goes into `symbols`.
pub(super) fn keep(
    record: RecordRef<'_>,
    words: &mut Vec<u64>,
    symbols: &mut BTreeMap<u32, String>,
) -> std::result::Result<Option<usize>, String> {
    let bytes: &[u8] = record.as_ref();
    let Some(keep) = kept_bytes(bytes[1]) else {
        if bytes[1] == dbn::rtype::SYMBOL_MAPPING {
            // `get` would panic on a record of this type that is too short.
            let mapping: &SymbolMappingMsg = record.try_get().map_err(|e| format!("corrupt: {e}"))?;
            let symbol = mapping.stype_out_symbol().map_err(|e| format!("corrupt: {e}"))?;
            symbols.insert(mapping.hd.instrument_id, symbol.to_owned());
        }
        return Ok(None);
    };
    if bytes.len() < keep {
        return Err(format!("corrupt: a record of type 0x{:02x} is only {} bytes long", bytes[1], bytes.len()));
    }
    let start = words.len();
    words.extend(bytes[..keep].chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().expect("8 bytes"))));
    // A live capture appends its own sending time to each record; it goes, and the length says so.
    words[start] = words[start] & !0xFF | (keep / 4) as u64;
    Ok(Some(keep / 8))
}

#[derive(Default)]
struct Gather {
    words: Vec<u64>,
    records: u64,
    skipped: u64,
    max_record_words: usize,
    seen: BTreeMap<u32, Seen>,
    symbols: BTreeMap<u32, String>,
}

impl Gather {
    fn all<R: Read>(&mut self, decoder: &mut Decoder<R>) -> std::result::Result<(), String> {
        while let Some(record) = decoder.decode_ref().map_err(|e| format!("corrupt: {e}"))? {
            self.one(record)?;
        }
        Ok(())
    }

    fn one(&mut self, record: RecordRef<'_>) -> std::result::Result<(), String> {
        let start = self.words.len();
        let Some(keep) = keep(record, &mut self.words, &mut self.symbols)? else {
            self.skipped += 1;
            return Ok(());
        };
        self.records += 1;
        self.max_record_words = self.max_record_words.max(keep);
        note_prices(&mut self.seen, &self.words[start..]);
        Ok(())
    }

    fn into_feed(mut self, path: &Path, blake3: [u8; 32], version: u8, metadata: &Metadata) -> Result<Feed> {
        if self.records == 0 && self.skipped > 0 {
            let problem = format!("none of its {} records is of a supported type", self.skipped);
            return Err(Error::input(path.display(), problem, format!("give {SUPPORTED}")));
        }
        self.symbols.extend(mapped_symbols(metadata));
        for (id, seen) in &mut self.seen {
            seen.symbol = self.symbols.remove(id);
        }
        Ok(Feed {
            path: path.to_owned(),
            blake3,
            version,
            dataset: metadata.dataset.clone(),
            schema: metadata.schema.map_or("mixed", |s| s.as_str()).to_owned(),
            instruments: self.seen.into_iter().map(instrument).collect(),
            words: self.words,
            records: self.records,
            max_record_words: self.max_record_words,
            sorted: false,
            skipped: self.skipped,
        })
    }
}

fn instrument((id, seen): (u32, Seen)) -> Instrument {
    let step = if seen.first_price.is_some() { seen.step } else { seen.trade_step };
    Instrument {
        id,
        symbol: seen.symbol.unwrap_or_else(|| id.to_string()),
        tick_size: i64::try_from(step).ok().filter(|&step| step > 0).unwrap_or(DEFAULT_TICK_SIZE),
        size_unit: 1.0,
    }
}

/// Instrument id → symbol, whichever way round the file maps them.
pub(super) fn mapped_symbols(metadata: &Metadata) -> Vec<(u32, String)> {
    let inverse = metadata.stype_in == Some(SType::InstrumentId);
    let mut symbols = Vec::new();
    for mapping in &metadata.mappings {
        for interval in &mapping.intervals {
            let (id, symbol) =
                if inverse { (&mapping.raw_symbol, &interval.symbol) } else { (&interval.symbol, &mapping.raw_symbol) };
            if let Ok(id) = id.parse() {
                symbols.push((id, symbol.clone()));
            }
        }
    }
    symbols
}

fn note_prices(seen: &mut BTreeMap<u32, Seen>, words: &[u64]) {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let header: &records::RecordHeader = bytemuck::from_bytes(&bytes[..size_of::<records::RecordHeader>()]);
    let seen = seen.entry(header.instrument_id).or_default();
    match header.rtype {
        rtype::MBO => {
            let m: &MboMsg = bytemuck::from_bytes(bytes);
            match m.action {
                b'A' | b'M' => seen.quote(m.price),
                b'T' => seen.trade(m.price),
                _ => {}
            }
        }
        rtype::MBP_1 => seen.levels(&bytemuck::from_bytes::<Mbp1Msg>(bytes).levels),
        rtype::MBP_10 => seen.levels(&bytemuck::from_bytes::<Mbp10Msg>(bytes).levels),
        rtype::TRADE => seen.trade(bytemuck::from_bytes::<TradeMsg>(bytes).price),
        _ => {}
    }
}

impl Seen {
    fn quote(&mut self, price: i64) {
        widen(&mut self.first_price, &mut self.step, price);
    }

    fn trade(&mut self, price: i64) {
        widen(&mut self.first_trade, &mut self.trade_step, price);
    }

    fn levels(&mut self, levels: &[BidAskPair]) {
        for level in levels {
            self.quote(level.bid_px);
            self.quote(level.ask_px);
        }
    }
}

fn widen(first: &mut Option<i64>, step: &mut u64, price: i64) {
    if price != UNDEF_PRICE {
        *step = gcd(*step, price.abs_diff(*first.get_or_insert(price)));
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
