//! The tables that name instruments and models, as tuples that the package makes objects of.

use crate::fault::Result;
use pillion_shm::{InstrumentEntry, ModelEntry, SignalTables};
use pyo3::prelude::*;

/// id, symbol, tick size in 1e-9, size unit.
type Instrument = (u32, String, i64, f64);
/// name, revision, SHA-256, features hash, outputs, meaning, engine, instruction set, runtime, horizon in events.
type Model = (String, u32, [u8; 32], [u8; 32], Vec<String>, String, String, String, String, u32);

/// The rows in a region's table bytes.
#[pyfunction]
pub fn table_rows(bytes: &[u8]) -> Result<(Vec<Instrument>, Vec<Model>)> {
    let SignalTables { instruments, models } = SignalTables::from_bytes(bytes)?;
    let instruments = instruments.into_iter().map(|i| (i.id, i.symbol, i.tick_size, i.size_unit)).collect();
    let model = |m: ModelEntry| {
        (m.name, m.revision, m.sha256, m.features_hash, m.outputs, m.meaning, m.engine, m.isa, m.runtime, m.horizon_events)
    };
    Ok((instruments, models.into_iter().map(model).collect()))
}

/// The table bytes of these rows.
#[pyfunction]
pub fn table_bytes(instruments: Vec<Instrument>, models: Vec<Model>) -> Result<Vec<u8>> {
    let instrument = |(id, symbol, tick_size, size_unit)| InstrumentEntry { id, symbol, tick_size, size_unit };
    let model = |(name, revision, sha256, features_hash, outputs, meaning, engine, isa, runtime, horizon_events): Model| ModelEntry {
        name,
        revision,
        sha256,
        features_hash,
        outputs,
        meaning,
        engine,
        isa,
        runtime,
        horizon_events,
    };
    let tables = SignalTables {
        instruments: instruments.into_iter().map(instrument).collect(),
        models: models.into_iter().map(model).collect(),
    };
    Ok(tables.to_bytes()?)
}
