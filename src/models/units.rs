//! What the rows that a model was trained on count in, from the metadata of their file to a manifest.

use toml::{Table, Value};

use crate::data::facts::InstrumentUsed;

/// `[[instruments]]` of a manifest, from the key-value metadata of a Parquet file that `pillion features` wrote: its
/// `pillion.instruments`. `None` where there is none, as in files of other programs.
pub fn manifest_instruments<'a>(metadata: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Value> {
    let (_, text) = metadata.into_iter().find(|(key, _)| *key == "pillion.instruments")?;
    let used: Vec<InstrumentUsed> = serde_json::from_str(text).ok()?;
    let mut tables: Vec<Value> = Vec::new();
    for one in used {
        let mut table = Table::new();
        table.insert("symbol".into(), Value::String(one.symbol));
        table.insert("tick_size".into(), Value::String(one.tick_size));
        table.insert("size_unit".into(), Value::Float(one.size_unit));
        // One instrument may have rows of several publishers or days.
        let table = Value::Table(table);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    (!tables.is_empty()).then_some(Value::Array(tables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Trained;

    #[test]
    fn each_instrument_once_with_its_units() {
        let used = |symbol: &str, tick: &str, publisher| InstrumentUsed {
            symbol: symbol.into(),
            tick_size: tick.into(),
            size_unit: 0.001,
            publisher,
            ..InstrumentUsed::default()
        };
        let list = [used("A", "0.1", 1), used("A", "0.1", 2), used("B", "0.01", 1)];
        let text = serde_json::to_string(&list).unwrap();
        let found = manifest_instruments([("pillion.set", "book"), ("pillion.instruments", text.as_str())]).unwrap();
        let mut table = Table::new();
        table.insert("instruments".into(), found);
        let read: Vec<Trained> = table["instruments"].clone().try_into().unwrap();
        let units: Vec<_> = read.iter().map(|i| (&i.symbol[..], i.tick_size.text(), i.size_unit)).collect();
        assert_eq!(units, [("A", "0.1".to_owned(), 0.001), ("B", "0.01".to_owned(), 0.001)]);
        assert!(manifest_instruments([("pillion.set", "book")]).is_none());
        assert!(manifest_instruments([("pillion.instruments", "{")]).is_none());
    }
}
