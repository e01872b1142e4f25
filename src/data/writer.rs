//! Writing DBN v3 files.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use dbn::encode::dbn::MetadataEncoder;
use dbn::{MappingInterval, Metadata, SType, Schema, SymbolMapping};

use pillion_shm::text::unprintable;

use super::definition::Listed;
use super::output::{OutputFile, write_failed};
use crate::{Error, Result};

/// What stands in a file's metadata.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// Dataset code, at most 15 bytes.
    pub dataset: String,
    /// The one schema of all records; `None` when types are mixed.
    pub schema: Option<Schema>,
    /// First instant, ns since the epoch.
    pub start_ns: u64,
    /// Instant after the last, ns since the epoch.
    pub end_ns: u64,
    /// Every instrument. Those whose tick size is known are defined ahead of all records, so that the file states its own
    /// units.
    pub instruments: Vec<Listed>,
}

/// A DBN file being written: compressed when its name ends in `.zst`, and under its name only once finished.
pub struct DbnWriter {
    stream: Stream,
    target: PathBuf,
    records: u64,
}

enum Stream {
    Plain(OutputFile),
    Zstd(zstd::Encoder<'static, OutputFile>),
}

impl DbnWriter {
    /// Opens the file and writes its metadata and definitions.
    ///
    /// # Errors
    /// When it cannot be written, or a symbol or a size unit does not fit DBN.
    pub fn create(path: impl AsRef<Path>, info: &FileInfo) -> Result<Self> {
        let target = path.as_ref().to_owned();
        let definitions = info.instruments.iter().map(|listed| listed.record(info.start_ns));
        let definitions: Vec<_> = definitions.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let metadata = metadata(&target, info, definitions.is_empty())?;
        let file = OutputFile::create(&target)?;
        let stream = if target.extension().is_some_and(|e| e == "zst") {
            Stream::Zstd(compressor(file).map_err(|e| write_failed(&target, e))?)
        } else {
            Stream::Plain(file)
        };
        let mut writer = Self { stream, target, records: 0 };
        MetadataEncoder::new(&mut writer.stream).encode(&metadata).map_err(|e| {
            Error::input(writer.target.display(), format!("metadata cannot be written: {e}"), "check symbols and space")
        })?;
        for definition in &definitions {
            writer.stream.write_all(definition.as_ref()).map_err(|e| write_failed(&writer.target, e))?;
        }
        Ok(writer)
    }

    /// Appends one record, given as one of [`pillion_shm::records`]: those are DBN's own bytes.
    pub fn write<T: Pod>(&mut self, record: &T) -> Result<()> {
        self.records += 1;
        self.stream.write_all(bytemuck::bytes_of(record)).map_err(|e| write_failed(&self.target, e))
    }

    /// Appends one record as [`super::Feed`] holds it.
    pub fn write_words(&mut self, record: &[u64]) -> Result<()> {
        self.records += 1;
        self.stream.write_all(bytemuck::cast_slice(record)).map_err(|e| write_failed(&self.target, e))
    }

    /// Records written so far, definitions not counted.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Ends the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        let file = match self.stream {
            Stream::Plain(file) => file,
            Stream::Zstd(encoder) => encoder.finish().map_err(|e| write_failed(&self.target, e))?,
        };
        file.commit()
    }
}

fn compressor(file: OutputFile) -> io::Result<zstd::Encoder<'static, OutputFile>> {
    let mut encoder = zstd::Encoder::new(file, 3)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Of a file in which definitions stand before the records, readers of DBN expect several schemas.
fn metadata(target: &Path, info: &FileInfo, one_schema: bool) -> Result<Metadata> {
    let refuse = |problem: String, mend: &str| Err(Error::input(target.display(), problem, mend));
    // One name for a number, however many publishers use it.
    let named: BTreeSet<_> = info.instruments.iter().map(|l| (l.instrument.id, &l.instrument.symbol)).collect();
    let named = || named.iter().map(|&(id, symbol)| (symbol, id));
    let unfit = |s: &str| s.is_empty() || s.len() > 70 || !s.is_ascii() || unprintable(s).is_some();
    if let Some((symbol, _)) = named().find(|(s, _)| unfit(s)) {
        return refuse(
            format!("symbol \"{symbol}\" does not fit DBN"),
            "use 1 to 70 ASCII characters, none of control",
        );
    }
    let mut metadata = Metadata::builder()
        .dataset(&info.dataset)
        .schema(info.schema.filter(|_| one_schema))
        .start(info.start_ns)
        .end(NonZeroU64::new(info.end_ns))
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .symbols(named().map(|(symbol, _)| symbol.clone()).collect())
        .build();
    let (from, to) = (metadata.start().date(), metadata.end().map_or(metadata.start(), |end| end).date());
    let until = to.next_day().unwrap_or(to);
    metadata.mappings = named()
        .map(|(symbol, id)| SymbolMapping {
            raw_symbol: symbol.clone(),
            intervals: vec![MappingInterval { start_date: from, end_date: until, symbol: id.to_string() }],
        })
        .collect();
    Ok(metadata)
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(file) => file.write(bytes),
            Stream::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(file) => file.flush(),
            Stream::Zstd(encoder) => encoder.flush(),
        }
    }
}
