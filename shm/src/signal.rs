//! What the sidecar publishes: one [`Signal`] per trigger, instrument and model, and the tables that name both.

use crate::error::{Error, Result};
use crate::text::{Shown, unprintable};
use bytemuck::{Pod, Zeroable};

/// Outputs that a signal carries at most.
pub const MAX_OUTPUTS: usize = 16;

/// Bits of [`Signal::flags`].
pub mod signal_flags {
    /// Features have not seen enough events yet.
    pub const WARMING: u32 = 1;
    /// The book is not whole: its beginning was never seen, ticks were lost, the feed restarted or doubts it, or it overflowed.
    pub const AFTER_GAP: u32 = 2;
    /// An output was not finite; such outputs are 0.
    pub const INVALID: u32 = 4;
    /// The sidecar is halted.
    pub const HALTED: u32 = 8;
    /// It took longer than its budget. Depends on time, so it is left out of a run's hash.
    pub const OVER_BUDGET: u32 = 16;
    /// Ticks were skipped before it, to catch up.
    pub const CONFLATED: u32 = 32;
    /// From a model that only shadows.
    pub const SHADOW: u32 = 64;
    /// About a tick that was published before the sidecar started: history that it works through. Depends on time, so it is
    /// left out of a run's hash.
    pub const CATCHING_UP: u32 = 128;

    /// Every flag with its name in reports, by rising bit: flag i is bit i.
    pub const NAMES: [&str; 8] =
        ["warming", "after_gap", "invalid", "halted", "over_budget", "conflated", "shadow", "catching_up"];
}

/// A signal, 112 bytes: what 14 words of a ring slot hold.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Signal {
    /// Number in the tick ring of the event's last record.
    pub ring_seq: u64,
    /// That record's `ts_event`, ns since the epoch.
    pub ts_event: u64,
    /// That record's publish stamp, ns since the epoch.
    pub tick_ns: u64,
    /// This signal's publish stamp, ns since the epoch.
    pub signal_ns: u64,
    /// Row in [`SignalTables::instruments`].
    pub instrument: u32,
    /// Row in [`SignalTables::models`].
    pub model: u16,
    /// How many of `outputs` count.
    pub outputs_len: u16,
    /// Revision of the model.
    pub revision: u32,
    /// Bits of [`signal_flags`].
    pub flags: u32,
    /// The model's outputs in its own order; 0 past `outputs_len`.
    pub outputs: [f32; MAX_OUTPUTS],
}

const _: () = assert!(size_of::<Signal>() == 112);

impl Signal {
    /// Flags of a signal that nobody may trade on.
    const UNTRADABLE: u32 = signal_flags::WARMING
        | signal_flags::AFTER_GAP
        | signal_flags::INVALID
        | signal_flags::HALTED
        | signal_flags::SHADOW
        | signal_flags::CATCHING_UP;

    /// Whether nothing in the flags forbids trading on it. Staleness and budget are the reader's to judge.
    #[inline]
    pub fn tradable(&self) -> bool {
        self.flags & Self::UNTRADABLE == 0
    }

    /// The signal without what depends on the time of the run: stamps and time-dependent flags are 0.
    #[inline]
    pub fn normalised(&self) -> Self {
        let timed = signal_flags::OVER_BUDGET | signal_flags::CATCHING_UP;
        Self { tick_ns: 0, signal_ns: 0, flags: self.flags & !timed, ..*self }
    }

    /// The outputs that count.
    #[inline]
    pub fn outputs(&self) -> &[f32] {
        &self.outputs[..usize::from(self.outputs_len).min(MAX_OUTPUTS)]
    }

    /// Its words, as a ring or board takes them.
    #[inline]
    pub fn words(&self) -> &[u64; 14] {
        bytemuck::cast_ref(self)
    }

    /// The signal in a ring slot's words.
    #[inline]
    pub fn from_words(words: &[u64; 14]) -> Self {
        bytemuck::cast(*words)
    }
}

/// One instrument of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentEntry {
    /// Venue's number of the instrument.
    pub id: u32,
    /// Symbol, at most 71 bytes.
    pub symbol: String,
    /// Tick size in 1e-9 of the price unit.
    pub tick_size: i64,
    /// Units of the underlying per size 1.
    pub size_unit: f64,
}

/// One model of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// Name, at most 63 bytes.
    pub name: String,
    /// Revision.
    pub revision: u32,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// Hash of the feature set it was trained on.
    pub features_hash: [u8; 32],
    /// Names of its outputs, at most 16 of 31 bytes.
    pub outputs: Vec<String>,
    /// What the outputs mean, at most 255 bytes.
    pub meaning: String,
    /// Engine that runs it, at most 31 bytes.
    pub engine: String,
    /// Instruction set the engine uses, at most 31 bytes.
    pub isa: String,
    /// Runtime and version, at most 63 bytes.
    pub runtime: String,
    /// How far ahead it looks, in book events; 0 where that is not said, as in layout version 1.
    pub horizon_events: u32,
}

/// The tables of a signal ring: what instrument and model numbers stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalTables {
    /// Rows by [`Signal::instrument`].
    pub instruments: Vec<InstrumentEntry>,
    /// Rows by [`Signal::model`].
    pub models: Vec<ModelEntry>,
}

/// Row counts and sizes in front of the rows, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TablesHead {
    instruments: u32,
    instrument_bytes: u32,
    models: u32,
    model_bytes: u32,
}

/// An [`InstrumentEntry`] as it lies in memory; texts end at the first 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct InstrumentRow {
    /// See [`InstrumentEntry::tick_size`].
    pub tick_size: i64,
    /// See [`InstrumentEntry::size_unit`].
    pub size_unit: f64,
    /// See [`InstrumentEntry::id`].
    pub id: u32,
    /// Zero.
    pub reserved: u32,
    /// See [`InstrumentEntry::symbol`].
    pub symbol: [u8; 72],
}

/// A [`ModelEntry`] as it lies in memory; texts end at the first 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ModelRow {
    /// See [`ModelEntry::name`].
    pub name: [u8; 64],
    /// See [`ModelEntry::sha256`].
    pub sha256: [u8; 32],
    /// See [`ModelEntry::features_hash`].
    pub features_hash: [u8; 32],
    /// See [`ModelEntry::revision`].
    pub revision: u32,
    /// How many of `outputs` count.
    pub outputs_len: u32,
    /// See [`ModelEntry::outputs`].
    pub outputs: [[u8; 32]; MAX_OUTPUTS],
    /// See [`ModelEntry::meaning`].
    pub meaning: [u8; 256],
    /// See [`ModelEntry::engine`].
    pub engine: [u8; 32],
    /// See [`ModelEntry::isa`].
    pub isa: [u8; 32],
    /// See [`ModelEntry::runtime`].
    pub runtime: [u8; 64],
    /// See [`ModelEntry::horizon_events`].
    pub horizon_events: u32,
    /// Zero.
    pub reserved2: u32,
}

/// Bytes of a [`ModelRow`] in layout version 1, which ends before the horizon.
const V1_MODEL_BYTES: usize = 1032;

const _: () = assert!(size_of::<InstrumentRow>() == 96 && size_of::<ModelRow>() == 1040);

impl SignalTables {
    /// The bytes of [`crate::RingSpec::table`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let head = TablesHead {
            instruments: count("instruments", self.instruments.len(), u32::MAX as usize)?,
            instrument_bytes: size_of::<InstrumentRow>() as u32,
            models: count("models", self.models.len(), 1 << 16)?,
            model_bytes: size_of::<ModelRow>() as u32,
        };
        let mut bytes = bytemuck::bytes_of(&head).to_vec();
        for (i, entry) in self.instruments.iter().enumerate() {
            bytes.extend_from_slice(bytemuck::bytes_of(&entry.row(i)?));
        }
        for (i, entry) in self.models.iter().enumerate() {
            bytes.extend_from_slice(bytemuck::bytes_of(&entry.row(i)?));
        }
        Ok(bytes)
    }

    /// Reads what [`SignalTables::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let refused = || Error::Table {
            what: "the table's length".to_owned(),
            value: format!("{} bytes", bytes.len()),
            limit: "only what this version wrote, whole,".to_owned(),
        };
        let (head, rows) = bytes.split_at_checked(size_of::<TablesHead>()).ok_or_else(refused)?;
        let head: TablesHead = bytemuck::pod_read_unaligned(head);
        let sizes = (head.instrument_bytes as usize, head.model_bytes as usize);
        let split = (head.instruments as usize).checked_mul(sizes.0).and_then(|at| rows.split_at_checked(at));
        let (instruments, models) = split.ok_or_else(refused)?;
        let known = sizes.0 == size_of::<InstrumentRow>() && [size_of::<ModelRow>(), V1_MODEL_BYTES].contains(&sizes.1);
        if !known || (head.models as usize).checked_mul(sizes.1) != Some(models.len()) {
            return Err(refused());
        }
        let instruments = instruments.chunks_exact(sizes.0).map(bytemuck::pod_read_unaligned);
        // What a shorter row does not have is 0.
        let models = models.chunks_exact(sizes.1).map(|bytes| {
            let mut row = ModelRow::zeroed();
            bytemuck::bytes_of_mut(&mut row)[..bytes.len()].copy_from_slice(bytes);
            row
        });
        Ok(Self {
            instruments: instruments.map(|row: InstrumentRow| row.entry()).collect(),
            models: models.map(|row: ModelRow| row.entry()).collect(),
        })
    }
}

impl InstrumentEntry {
    fn row(&self, i: usize) -> Result<InstrumentRow> {
        Ok(InstrumentRow {
            tick_size: self.tick_size,
            size_unit: self.size_unit,
            id: self.id,
            reserved: 0,
            symbol: text(&format!("symbol of instrument {i}"), &self.symbol)?,
        })
    }
}

impl InstrumentRow {
    fn entry(&self) -> InstrumentEntry {
        InstrumentEntry {
            id: self.id,
            symbol: string(&self.symbol),
            tick_size: self.tick_size,
            size_unit: self.size_unit,
        }
    }
}

impl ModelEntry {
    fn row(&self, i: usize) -> Result<ModelRow> {
        let what = |field: &str| format!("{field} of model {i} ({:?})", self.name);
        let outputs_len = count(&what("outputs"), self.outputs.len(), MAX_OUTPUTS)?;
        let mut outputs = [[0; 32]; MAX_OUTPUTS];
        for (cell, name) in outputs.iter_mut().zip(&self.outputs) {
            *cell = text(&what("an output name"), name)?;
        }
        Ok(ModelRow {
            name: text(&what("name"), &self.name)?,
            sha256: self.sha256,
            features_hash: self.features_hash,
            revision: self.revision,
            outputs_len,
            outputs,
            meaning: text(&what("meaning"), &self.meaning)?,
            engine: text(&what("engine"), &self.engine)?,
            isa: text(&what("isa"), &self.isa)?,
            runtime: text(&what("runtime"), &self.runtime)?,
            horizon_events: self.horizon_events,
            reserved2: 0,
        })
    }
}

impl ModelRow {
    fn entry(&self) -> ModelEntry {
        let outputs = self.outputs.iter().take(self.outputs_len as usize);
        ModelEntry {
            name: string(&self.name),
            revision: self.revision,
            sha256: self.sha256,
            features_hash: self.features_hash,
            outputs: outputs.map(|name| string(name)).collect(),
            meaning: string(&self.meaning),
            engine: string(&self.engine),
            isa: string(&self.isa),
            runtime: string(&self.runtime),
            horizon_events: self.horizon_events,
        }
    }
}

fn count(what: &str, value: usize, limit: usize) -> Result<u32> {
    match u32::try_from(value) {
        Ok(count) if value <= limit => Ok(count),
        _ => Err(Error::Table { what: what.to_owned(), value: value.to_string(), limit: limit.to_string() }),
    }
}

/// `value` with a 0 behind it; refused when it is too long, or holds a 0 or another character that steers a terminal.
fn text<const N: usize>(what: &str, value: &str) -> Result<[u8; N]> {
    if value.len() >= N || unprintable(value).is_some() {
        let limit = format!("{} bytes without a 0 or another control character", N - 1);
        let value = format!("\"{}\", {} bytes", Shown(value), value.len());
        return Err(Error::Table { what: what.to_owned(), value, limit });
    }
    let mut bytes = [0; N];
    bytes[..value.len()].copy_from_slice(value.as_bytes());
    Ok(bytes)
}

fn string(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
