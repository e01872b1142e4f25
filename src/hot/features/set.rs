//! Feature sets: TOML in, an ordered list of columns and its hash out.

use std::collections::HashSet;
use std::sync::Arc;

use super::column::Column;
use super::entry::{self, Place};
use super::plan::Plan;
use crate::error::{Error, Result};

/// Bump when a formula changes: every hash changes with it, and models trained on the old one are refused.
const DEFINITIONS: u32 = 1;

/// Most columns that a set may have.
pub const MAX_COLUMNS: usize = 512;

/// The sets that the program carries: name and text.
const BUNDLED: &[(&str, &str)] = &[
    ("book", include_str!("../../../config/features/book.toml")),
    ("all", include_str!("../../../config/features/all.toml")),
];

/// A named, ordered list of features.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    name: String,
    warmup_events: u64,
    columns: Vec<Column>,
    names: Vec<String>,
    hash: [u8; 32],
    pub(super) plan: Arc<Plan>,
}

impl FeatureSet {
    /// Reads a set from TOML; `origin` (a path, or what the text is) stands in error messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::input(origin, format!("is not TOML: {error}"), "correct the text at that place")
        })?;
        let head = Place::new(origin, String::new());
        head.only_keys(&table, &["name", "warmup_events", "feature"])?;
        let name = head.string(&table, "name")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
        {
            return Err(head.refuse("name", format!("\"{name}\" is not a name"), "use a-z, 0-9, _ and -"));
        }
        let warmup_events = head.integer(&table, "warmup_events", 0, 1_000_000_000)?;
        let columns = columns(&head, &table, origin)?;
        Self::build(name, warmup_events, columns, &head)
    }

    fn build(name: String, warmup_events: u64, columns: Vec<Column>, head: &Place) -> Result<Self> {
        let names: Vec<String> = columns.iter().map(Column::name).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(head.refuse("feature", format!("column `{twice}` is declared twice"), "remove one of them"));
        }
        let plan = Arc::new(Plan::compile(&columns, warmup_events));
        let mut set = Self { name, warmup_events, columns, names, hash: [0; 32], plan };
        set.hash = *blake3::hash(set.canonical().as_bytes()).as_bytes();
        Ok(set)
    }

    /// A set that the program carries, by name.
    pub fn bundled(name: &str) -> Option<Self> {
        let (_, text) = BUNDLED.iter().find(|(bundled, _)| *bundled == name)?;
        Some(Self::parse(text, &format!("bundled set {name}")).expect("bundled sets are parsed by a test"))
    }

    /// Names of the sets that the program carries.
    pub fn bundled_names() -> impl Iterator<Item = &'static str> {
        BUNDLED.iter().map(|(name, _)| *name)
    }

    /// Name; it is not part of the hash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Never: a set has at least one column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Column names, unique, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Levels of a side that the set looks at: 0 where it looks at trades and times alone.
    pub fn depth(&self) -> usize {
        self.columns.iter().map(Column::depth).max().unwrap_or(0)
    }

    /// Names of the columns that look at more than so many levels of a side.
    pub fn deeper_than(&self, levels: usize) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .zip(&self.names)
            .filter(move |(column, _)| column.depth() > levels)
            .map(|(_, name)| &name[..])
    }

    /// Events after a reset until [`super::Features::warm`].
    pub fn warmup_events(&self) -> u64 {
        self.warmup_events
    }

    /// Everything that decides the values, one line each: the definitions' version, the warm-up, the columns in order.
    pub fn canonical(&self) -> String {
        let mut text = format!("pillion-features {DEFINITIONS}\nwarmup_events {}\n", self.warmup_events);
        for column in &self.columns {
            text.push_str(&column.canonical());
            text.push('\n');
        }
        text
    }

    /// BLAKE3 of [`FeatureSet::canonical`]: what a model names.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The hash in lower-case hex.
    pub fn hash_hex(&self) -> String {
        blake3::Hash::from_bytes(self.hash).to_hex().to_string()
    }
}

fn columns(head: &Place, table: &toml::Table, origin: &str) -> Result<Vec<Column>> {
    let mend = "write one [[feature]] table for each kind";
    let entries = match table.get("feature") {
        None => return Err(head.refuse("feature", "is missing", mend)),
        Some(toml::Value::Array(entries)) if !entries.is_empty() => entries,
        Some(other) => return Err(head.refuse("feature", format!("{other} is not a list of tables"), mend)),
    };
    let mut columns = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::new(origin, format!("feature {}", index + 1));
        let toml::Value::Table(entry) = entry else {
            return Err(place.refuse("", format!("{entry} is not a table"), mend));
        };
        entry::expand(entry, place, &mut columns)?;
    }
    if columns.len() > MAX_COLUMNS {
        let problem = format!("expands to {} columns, more than {MAX_COLUMNS}", columns.len());
        return Err(head.refuse("feature", problem, "leave some out"));
    }
    Ok(columns)
}
