//! Reading a whole .dbn or .dbn.zst file (DBN v1 to v3) into memory, as records in the layouts of DBN v3.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dbn::decode::dbn::Decoder;
use dbn::decode::{DbnMetadata, DynReader};
use dbn::{InstrumentDefMsg, Metadata, RecordRef, Schema, SymbolMappingMsg, VersionUpgradePolicy};
use pillion_shm::records::{MboMsg, Mbp1Msg, Mbp10Msg, StatusMsg, TradeMsg, rtype};

use super::definition::{Definition, Listed};
use super::identity::{Identities, Identity, kinds};
use super::source::{Boundaries, Hashing};
use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// What [`load`] takes, for messages.
const SUPPORTED: &str = "mbo, mbp-1, mbp-10, trades and status records in .dbn or .dbn.zst, DBN version 1 to 3";
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
    /// Schema, e.g. `mbo`; `mixed` when the file names none and its records are of several.
    pub schema: String,
    /// Every instrument that has records here, in ascending order of the venue's number. Symbols come from the file's mappings
    /// and definitions (the number in digits where it has none), tick size and size unit from definitions alone: a tick
    /// size of 0 and a size unit of 1 where there is none, until [`super::facts::Facts::settle`] has been asked.
    pub instruments: Vec<Instrument>,
    /// What each of them is in the file. Of several instruments that had one number, one after the other, the records of
    /// the first keep it; those of the others carry `instruments`' id here.
    pub identities: Vec<Identity>,
    /// The records, one after the other, each starting on a word. A record's first byte is its length in 4-byte words.
    pub words: Vec<u64>,
    /// Number of records in `words`.
    pub records: u64,
    /// Longest record in `words`, in 8-byte words.
    pub max_record_words: usize,
    /// Whether [`super::order::sort`] has put its events into another order than the file's.
    pub sorted: bool,
    /// Records of other types that a mixed file had between these (definitions, system messages ...), not in `words`.
    pub skipped: u64,
}

impl Feed {
    /// Its instruments, as [`super::writer::FileInfo`] lists them.
    pub fn listed(&self) -> Vec<Listed> {
        let both = self.instruments.iter().zip(&self.identities);
        both.map(|(instrument, identity)| identity.listed(instrument.clone())).collect()
    }

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
    let mut gather = Gather::new(decoder.metadata());
    let outcome = gather.all(&mut decoder);
    let broken = outcome.err().or_else(|| decoder.get_mut().broken());
    if let Some(problem) = broken {
        return Err(broke_off(path, &problem, gather.records + gather.skipped));
    }
    let blake3 = decoder.get_mut().get_mut().get_mut().get_mut().finish().map_err(|e| unreadable(path, e))?;
    gather.into_feed(path, blake3, version, decoder.metadata())
}

/// A decoder over readers that hash what they read and watch where its records end.
pub(super) type DecoderOf<R> = Decoder<Boundaries<DynReader<'static, BufReader<Hashing<R>>>>>;

/// A file's decoder.
pub(super) type Source = DecoderOf<File>;

/// Opens a file and reads its metadata; refuses what is no DBN of a supported schema.
pub(super) fn open(path: &Path) -> Result<Source> {
    let decoder = decoder(path)?;
    check_schema(path, decoder.metadata())?;
    Ok(decoder)
}

/// Opens a file of any schema and reads its metadata.
pub(super) fn decoder(path: &Path) -> Result<Source> {
    let file = File::open(path).map_err(|e| {
        Error::input(path.display(), format!("cannot be opened: {e}"), "give the path of a .dbn or .dbn.zst file")
    })?;
    decoder_of(path, file)
}

/// A DBN decoder over `reader`; `path` names it in errors.
pub(super) fn decoder_of<R: Read>(path: &Path, reader: R) -> Result<DecoderOf<R>> {
    let mut source = BufReader::with_capacity(1 << 16, Hashing::new(reader));
    sniff(path, &mut source)?;
    let reader = DynReader::inferred_with_buffer(source).map_err(|e| unreadable(path, e))?;
    Decoder::with_upgrade_policy(Boundaries::new(reader), VersionUpgradePolicy::UpgradeToV3)
        .map_err(|e| unreadable(path, e))
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

/// Appends a record to `words` if it is of a type that is kept, and returns its length in words. What a mapping or a
/// definition says goes to `who`.
pub(super) fn keep(
    record: RecordRef<'_>,
    words: &mut Vec<u64>,
    who: &mut Identities,
) -> std::result::Result<Option<usize>, String> {
    let bytes: &[u8] = record.as_ref();
    let Some(keep) = kept_bytes(bytes[1]) else {
        // `get` would panic on a record of such a type that is too short.
        let corrupt = |e: dbn::Error| format!("corrupt: {e}");
        if bytes[1] == dbn::rtype::SYMBOL_MAPPING {
            let mapping: &SymbolMappingMsg = record.try_get().map_err(corrupt)?;
            who.mapped(mapping.hd.instrument_id, mapping.stype_out_symbol().map_err(corrupt)?);
        } else if bytes[1] == dbn::rtype::INSTRUMENT_DEF {
            let definition: &InstrumentDefMsg = record.try_get().map_err(corrupt)?;
            who.defined(definition.hd.publisher_id, definition.hd.instrument_id, Definition::read(definition)?);
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

struct Gather {
    words: Vec<u64>,
    records: u64,
    skipped: u64,
    max_record_words: usize,
    who: Identities,
    /// Records whose number had been another instrument's: where each starts, and whose it is.
    moved: Vec<(usize, usize)>,
}

impl Gather {
    fn new(metadata: &Metadata) -> Gather {
        let who = Identities::new(metadata);
        Gather { words: Vec::new(), records: 0, skipped: 0, max_record_words: 0, who, moved: Vec::new() }
    }

    fn all<R: Read>(&mut self, decoder: &mut Decoder<R>) -> std::result::Result<(), String> {
        while let Some(record) = decoder.decode_ref().map_err(|e| format!("corrupt: {e}"))? {
            self.one(record)?;
        }
        Ok(())
    }

    fn one(&mut self, record: RecordRef<'_>) -> std::result::Result<(), String> {
        let start = self.words.len();
        let Some(keep) = keep(record, &mut self.words, &mut self.who)? else {
            self.skipped += 1;
            return Ok(());
        };
        self.records += 1;
        self.max_record_words = self.max_record_words.max(keep);
        let whose = self.who.of(&self.words[start..]);
        if self.who.list()[whose].era > 0 {
            self.moved.push((start, whose));
        }
        Ok(())
    }

    fn into_feed(mut self, path: &Path, blake3: [u8; 32], version: u8, metadata: &Metadata) -> Result<Feed> {
        if self.records == 0 && self.skipped > 0 {
            let problem = format!("none of its {} records is of a supported type", self.skipped);
            return Err(Error::input(path.display(), problem, format!("give {SUPPORTED}")));
        }
        let list = self.who.into_list();
        let ids = own_ids(&list);
        for (start, whose) in self.moved {
            self.words[start] = self.words[start] & 0xFFFF_FFFF | u64::from(ids[whose]) << 32;
        }
        let mut known: Vec<(Instrument, Identity)> =
            list.into_iter().zip(ids).map(|(identity, id)| (instrument(&identity, id), identity)).collect();
        known.sort_by_key(|(_, identity)| (identity.id, identity.era, identity.publisher));
        let schema = schema_of(metadata, known.iter().map(|(_, identity)| identity));
        let (instruments, identities) = known.into_iter().unzip();
        Ok(Feed {
            path: path.to_owned(),
            blake3,
            version,
            dataset: metadata.dataset.clone(),
            schema,
            instruments,
            identities,
            words: self.words,
            records: self.records,
            max_record_words: self.max_record_words,
            sorted: false,
            skipped: self.skipped,
        })
    }
}

/// A number for each identity: the venue's for the first instrument that had it, another, from the top, for those after it.
pub(super) fn own_ids(list: &[Identity]) -> Vec<u32> {
    let mut used: BTreeSet<u32> = list.iter().map(|identity| identity.id).collect();
    let mut given: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let number = |identity: &Identity| match identity.era {
        0 => identity.id,
        era => *given.entry((identity.id, era)).or_insert_with(|| {
            let free = (0..u32::MAX).rev().find(|id| !used.contains(id)).unwrap_or(0);
            used.insert(free);
            free
        }),
    };
    list.iter().map(number).collect()
}

/// What the file itself says of an instrument.
pub(super) fn instrument(identity: &Identity, id: u32) -> Instrument {
    let Identity { definition, .. } = identity;
    Instrument {
        id,
        publisher: Some(identity.publisher),
        symbol: identity.symbol.clone().unwrap_or_else(|| identity.id.to_string()),
        tick_size: definition.tick_size.unwrap_or(0),
        size_unit: definition.size_unit.unwrap_or(1.0),
    }
}

/// The schema of the records: what the file says, or, where definitions stand between them, what they are.
fn schema_of<'a>(metadata: &Metadata, mut all: impl Iterator<Item = &'a Identity>) -> String {
    let first = all.next().map_or(0, |identity| identity.kinds);
    let kinds = all.fold(first, |kinds, identity| kinds | identity.kinds);
    let schema = metadata.schema.or(match kinds {
        kinds::MBO => Some(Schema::Mbo),
        kinds::MBP_1 => Some(Schema::Mbp1),
        kinds::MBP_10 => Some(Schema::Mbp10),
        kinds::TRADE => Some(Schema::Trades),
        kinds::STATUS => Some(Schema::Status),
        _ => None,
    });
    schema.map_or("mixed", |schema| schema.as_str()).to_owned()
}
