//! Files that state instruments: TOML with `[[instruments]]`, a lane's configuration, or DBN definitions.

use std::path::Path;

use dbn::InstrumentDefMsg;
use serde::Deserialize;
use toml::Value;

use super::calendar::Date;
use super::definition::Definition;
use super::facts::{Wanted, begin_ns};
use super::feed::decoder;
use super::instrument::{InstrumentEntry, TickSize};
use crate::{Error, Result, files};

/// Longest list of instruments, bytes: a hundred thousand of them fit.
const MOST_BYTES: u64 = 16 * files::MIB;

const MEND: &str = "write [[instruments]] with id and/or symbol, tick_size = \"0.01\" and, where a size of 1 is not one unit, \
                    size_unit; publisher, from and to (days, UTC, to not included) where they matter";

/// One instrument of a list.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The venue's number.
    pub id: Option<u32>,
    /// The venue's symbol.
    pub symbol: Option<String>,
    /// Whose records are meant; any publisher's when left out.
    pub publisher: Option<u16>,
    pub tick_size: TickSize,
    pub size_unit: Option<f64>,
    /// First day of which it is true.
    pub from: Option<Day>,
    /// First day of which it is true no more.
    pub to: Option<Day>,
}

/// A day as TOML may write it: `"2023-11-14"` or `2023-11-14`.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Day(pub Date);

impl TryFrom<Value> for Day {
    type Error = String;

    fn try_from(value: Value) -> std::result::Result<Self, String> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse().map(Day).map_err(|_| format!("{text} is no day like 2023-11-14"))
    }
}

impl Entry {
    /// A lane's instrument.
    pub fn of(entry: &InstrumentEntry) -> Entry {
        Entry {
            id: Some(entry.id),
            symbol: Some(entry.symbol.clone()),
            publisher: entry.publisher,
            tick_size: entry.tick_size,
            size_unit: Some(entry.size_unit),
            from: None,
            to: None,
        }
    }

    /// Whether this is the wanted instrument. Number and symbol must both be its own where both sides have them; with
    /// `by_id` the number is enough.
    pub fn means(&self, wanted: &Wanted<'_>, by_id: bool) -> bool {
        fn same<T: PartialEq>(mine: Option<T>, its: Option<T>) -> Option<bool> {
            Some(mine? == its?)
        }
        let id = same(self.id, wanted.id);
        let symbol = same(self.symbol.as_deref(), wanted.symbol).filter(|_| !(by_id && id.is_some()));
        (id.is_some() || symbol.is_some())
            && [id, symbol, same(self.publisher, wanted.publisher)].into_iter().flatten().all(|same| same)
            && self.from.is_none_or(|Day(day)| wanted.span_ns.1 >= begin_ns(day))
            && self.to.is_none_or(|Day(day)| wanted.span_ns.0 < begin_ns(day))
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.id.is_none() && self.symbol.is_none() {
            return Err("has neither id nor symbol".to_owned());
        }
        match self.size_unit {
            Some(unit) if !(unit.is_finite() && unit > 0.0) => Err(format!("size_unit is {unit}")),
            _ => Ok(()),
        }
    }
}

/// Reads what a file states.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>> {
    let refuse = |problem: String| Error::input(path.display(), problem, MEND);
    let mut start = [0; 4];
    let mut file = std::fs::File::open(path).map_err(|e| refuse(format!("cannot be opened: {e}")))?;
    let read = std::io::Read::read(&mut file, &mut start).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    if start[..read].starts_with(b"DBN") || start[..read] == [0x28, 0xB5, 0x2F, 0xFD] {
        return definitions(path);
    }
    let text = files::read(path, MOST_BYTES).map_err(|unread| unread.refuse(path.display(), MEND))?;
    let text = String::from_utf8(text).map_err(|e| refuse(format!("is no text: {e}")))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| refuse(e.to_string().trim_end().to_owned()))?;
    let Some(list) = table.get("instruments") else {
        let entries = of_lanes(&table).map_err(refuse)?;
        return if entries.is_empty() { Err(refuse("states no instruments".to_owned())) } else { Ok(entries) };
    };
    if let Some(key) = table.keys().find(|key| *key != "instruments") {
        return Err(refuse(format!("has the key `{key}` beside `instruments`")));
    }
    let list =
        list.as_array().filter(|list| !list.is_empty()).ok_or_else(|| refuse("instruments is no list".to_owned()))?;
    let entry = |(at, value): (usize, &Value)| {
        let entry: std::result::Result<Entry, _> = value.clone().try_into();
        let entry = entry.map_err(|e: toml::de::Error| e.to_string().trim_end().to_owned());
        let checked = entry.and_then(|entry| entry.check().map(|()| entry));
        checked.map_err(|problem| refuse(format!("instrument {} of the list: {problem}", at + 1)))
    };
    list.iter().enumerate().map(entry).collect()
}

/// The instruments of a lane's configuration: each lane's own, or those of `[lane]` where it has none. The other keys are the
/// sidecar's affair.
fn of_lanes(configuration: &toml::Table) -> std::result::Result<Vec<Entry>, String> {
    let shared = configuration.get("lane").and_then(|lane| lane.get("instruments"));
    let lists: Vec<&Value> = match configuration.get("lanes").and_then(Value::as_array) {
        Some(lanes) => lanes.iter().filter_map(|lane| lane.get("instruments").or(shared)).collect(),
        None => shared.into_iter().collect(),
    };
    let mut entries = Vec::new();
    for list in lists {
        let listed: std::result::Result<Vec<InstrumentEntry>, _> = list.clone().try_into();
        let listed = listed.map_err(|e: toml::de::Error| format!("instruments of a lane: {}", e.message()))?;
        entries.extend(listed.iter().map(Entry::of));
    }
    Ok(entries)
}

/// What definition records state, each as long as the next one says nothing else of its number.
fn definitions(path: &Path) -> Result<Vec<Entry>> {
    let mut decoder = decoder(path)?;
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    let broken = |e: String| Error::input(path.display(), e, "give a whole file of DBN definitions");
    while let Some(record) = decoder.decode_ref().map_err(|e| broken(format!("corrupt: {e}")))? {
        if record.header().rtype != dbn::rtype::INSTRUMENT_DEF {
            continue;
        }
        let record: &InstrumentDefMsg = record.try_get().map_err(|e| broken(format!("corrupt: {e}")))?;
        let Definition { symbol, tick_size: Some(tick_size), size_unit, .. } =
            Definition::read(record).map_err(broken)?
        else {
            continue;
        };
        let (id, tick_size) = (Some(record.hd.instrument_id), TickSize(tick_size));
        let entry = Entry { id, symbol, publisher: None, tick_size, size_unit, from: None, to: None };
        if entries.iter().rev().find(|(_, known)| known.id == id).is_none_or(|(_, known)| *known != entry) {
            entries.push((record.ts_recv, entry));
        }
    }
    if let Some(problem) = decoder.get_mut().broken() {
        return Err(broken(problem));
    }
    if entries.is_empty() {
        return Err(broken("has no definition with a tick size".to_owned()));
    }
    Ok(dated(entries))
}

/// Where a number has several definitions, each holds from its day on and up to the next one's.
fn dated(entries: Vec<(u64, Entry)>) -> Vec<Entry> {
    let date = |time_ns: u64| super::facts::day(time_ns).parse().ok().map(Day);
    let of = |at: usize, range: std::ops::Range<usize>, entries: &[(u64, Entry)]| {
        range
            .filter(|&other| other != at && entries[other].1.id == entries[at].1.id)
            .map(|other| entries[other].0)
            .collect::<Vec<_>>()
    };
    (0..entries.len())
        .map(|at| {
            let (before, after) = (of(at, 0..at, &entries), of(at, at..entries.len(), &entries));
            let (from_ns, entry) = &entries[at];
            let from = (!before.is_empty()).then(|| date(*from_ns)).flatten();
            let to = after.first().and_then(|&next| date(next));
            Entry { from, to, ..entry.clone() }
        })
        .collect()
}
