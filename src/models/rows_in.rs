//! Rows of the market from a file, as a model takes them: the set's columns by name, and whose row each is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::table_in::{As, Table};
use super::{Hash, manifest_instruments};
use crate::engine::EngineError;
use crate::error::{Error, Result};
use crate::hot::Trigger;

/// Columns that say whose row it is, where the file has them.
const KEYS: [&str; 2] = ["publisher_id", "instrument_id"];
/// The column that says whether features had seen enough.
const WARM: &str = "warm";
const MEND: &str = "give a file that `pillion features` wrote with the same set, as Parquet or CSV";

/// A file of rows, held to the names and, where it says so, to the hash of a feature set.
pub(super) struct Rows {
    path: PathBuf,
    /// Columns of the features, then of the keys, then `warm`.
    places: Vec<usize>,
    features: usize,
    keys: usize,
    warm: bool,
    count: u64,
    trigger: Option<Trigger>,
    instruments: Option<toml::Value>,
}

/// One row.
pub(super) struct Row<'a> {
    /// Values of the features, in the set's order.
    pub(super) features: &'a [f64],
    /// Whose it is.
    pub(super) key: Key,
    /// Whether features had seen enough; none where the file does not say.
    pub(super) warm: Option<bool>,
}

/// Publisher and instrument, as far as the file names them: the bits of their numbers.
pub(super) type Key = [u64; 2];

impl Rows {
    /// Opens it once: head and number of rows.
    ///
    /// # Errors
    /// No such file, or of no kind that is read; a feature without a column; rows of another set.
    pub(super) fn open(path: &Path, set: &str, names: &[String], hash: &[u8; 32]) -> Result<Self> {
        let bad = |problem: String| Error::input(path.display(), problem, MEND);
        let table = Table::open(path, As::Single)?;
        let head = table.head();
        if let Some(found) = head.facts.get("pillion.features_hash").filter(|found| **found != Hash(*hash).to_string())
        {
            let other = head.facts.get("pillion.set").map_or("another", String::as_str);
            let problem =
                format!("holds rows of feature set `{other}` {found}; the model's is `{set}` {}", Hash(*hash));
            return Err(bad(problem));
        }
        let trigger = head.facts.get("pillion.trigger").map(|text| text.parse::<Trigger>()).transpose();
        let trigger = trigger.map_err(|problem| bad(format!("pillion.trigger in its metadata: {problem}")))?;
        let facts = head.facts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let instruments = manifest_instruments(facts);
        let Some(columns) = &head.names else {
            return Err(bad("has no names of columns".into()));
        };
        let place = |name: &str| columns.iter().position(|column| column == name);
        let needed = |name: &String| place(name).ok_or_else(|| bad(format!("has no column `{name}`")));
        let mut places = names.iter().map(needed).collect::<Result<Vec<_>>>()?;
        let keys: Vec<usize> = KEYS.into_iter().filter_map(place).collect();
        places.extend(&keys);
        let warm = place(WARM);
        places.extend(warm);
        let count = head.rows;
        let mut rows = Self {
            path: path.to_owned(),
            places,
            features: names.len(),
            keys: keys.len(),
            warm: warm.is_some(),
            count: count.unwrap_or(0),
            trigger,
            instruments,
        };
        if count.is_none() {
            let mut pass = rows.pass()?;
            while pass.next()?.is_some() {
                rows.count += 1;
            }
        }
        if rows.count == 0 {
            return Err(bad("has no rows".into()));
        }
        Ok(rows)
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a graph that fails on one of the rows, counted from 0.
    pub(super) fn unanswered(&self, row: u64, error: &EngineError) -> Error {
        let mend = "look at that row in the file: change what the node computes of it, in the model, or leave such rows out of \
                    the file where a lane will not see them";
        Error::input(self.path.display(), format!("row {row} of it is not answered: {error}"), mend)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The trigger on whose events the file has its rows, where it says so.
    pub(super) fn trigger(&self) -> Option<Trigger> {
        self.trigger
    }

    /// `[[instruments]]` of a manifest, where the file says what its features count in.
    pub(super) fn instruments(&self) -> Option<&toml::Value> {
        self.instruments.as_ref()
    }

    /// From the first row on.
    ///
    /// # Errors
    /// The file is no longer there, or a column holds no numbers.
    pub(super) fn pass(&self) -> Result<Pass> {
        let mut table = Table::open(&self.path, As::Single)?;
        table.select(self.places.clone())?;
        Ok(Pass { table, features: self.features, keys: self.keys, warm: self.warm })
    }

    /// Whose rows there are.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn owners(&self) -> Result<Vec<Key>> {
        let mut table = Table::open(&self.path, As::Single)?;
        let keys = self.places[self.features..self.features + self.keys].to_vec();
        if keys.is_empty() {
            return Ok(vec![[0; 2]]);
        }
        table.select(keys)?;
        let mut owners = BTreeSet::new();
        while let Some(row) = table.row()? {
            owners.insert(key(row));
        }
        Ok(owners.into_iter().collect())
    }

    /// Something about the file that stands in the way.
    pub(super) fn bad(&self, problem: String) -> Error {
        Error::input(self.path.display(), problem, MEND)
    }
}

fn key(values: &[f64]) -> Key {
    let bits = |at: usize| values.get(at).map_or(0, |value| value.to_bits());
    [bits(0), bits(1)]
}

/// One pass over the rows.
pub(super) struct Pass {
    table: Table,
    features: usize,
    keys: usize,
    warm: bool,
}

impl Pass {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// A cell that is no number; a file that cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>> {
        let (features, keys, warm) = (self.features, self.keys, self.warm);
        Ok(self.table.row()?.map(|row| {
            let (values, rest) = row.split_at(features);
            let warm = if warm { rest.last().map(|&warm| warm != 0.0) } else { None };
            Row { features: values, key: key(&rest[..keys]), warm }
        }))
    }
}
