//! Files that state instruments: TOML with `[[instruments]]`, a lane's configuration, or DBN definitions.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use dbn::InstrumentDefMsg;
use pillion_shm::trust::Trust;
use serde::{Deserialize, Deserializer};
use toml::Value;

use super::calendar::Date;
use super::definition::Definition;
use super::facts::{Wanted, begin_ns};
use super::feed::{DecoderOf, decoder, decoder_of};
use super::instrument::{InstrumentEntry, TickSize};
use crate::{Error, Result, files};

/// Longest list of instruments, bytes: a hundred thousand of them fit.
const MOST_BYTES: u64 = 16 * files::MIB;
/// Longest list through a pipe, bytes: it may hold DBN definitions, of which a hundred thousand take 50 MiB.
const MOST_OF_PIPE: u64 = 256 * files::MIB;

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
    #[serde(default, deserialize_with = "unit")]
    pub size_unit: Option<f64>,
    /// Time from which it is true.
    pub from: Option<Moment>,
    /// Time from which it is true no more.
    pub to: Option<Moment>,
}

/// A time, ns since the epoch; in TOML the beginning of a day (UTC): `"2023-11-14"` or `2023-11-14`.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Moment(pub u64);

impl TryFrom<Value> for Moment {
    type Error = String;

    fn try_from(value: Value) -> std::result::Result<Self, String> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let day: Date = text.parse().map_err(|_| format!("{text} is no day like 2023-11-14"))?;
        Ok(Self(begin_ns(day)))
    }
}

/// A size unit as TOML may write it: `0.001` or, as exchanges do, `"0.001"`.
fn unit<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::String(text) => text.parse().ok(),
        Value::Integer(whole) => Some(*whole as f64),
        other => other.as_float(),
    };
    number.map(Some).ok_or_else(|| serde::de::Error::custom(format!("size_unit {value} is no number like 0.001")))
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

    /// True when the entry is about the wanted instrument. Number and symbol must both agree where both sides have
    /// them; with `by_id` the number is enough. A number that stands for several instruments tells none of them: then a
    /// symbol or days must.
    pub fn means(&self, wanted: &Wanted<'_>, by_id: bool) -> bool {
        fn same<T: PartialEq>(mine: Option<T>, its: Option<T>) -> Option<bool> {
            Some(mine? == its?)
        }
        let id = same(self.id, wanted.id);
        let symbol = same(self.symbol.as_deref(), wanted.symbol).filter(|_| !(by_id && id.is_some()));
        let vague = wanted.reused && symbol.is_none() && self.from.is_none() && self.to.is_none();
        (id.is_some() || symbol.is_some())
            && !vague
            && [id, symbol, same(self.publisher, wanted.publisher)].into_iter().flatten().all(|same| same)
            && self.from.is_none_or(|Moment(from_ns)| wanted.span_ns.1 >= from_ns)
            && self.to.is_none_or(|Moment(to_ns)| wanted.span_ns.0 < to_ns)
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
    let cannot = |e: std::io::Error| refuse(format!("cannot be opened: {e}"));
    if std::fs::metadata(path).map_err(cannot)?.is_file() {
        let mut start = Vec::new();
        let file = std::fs::File::open(path).map_err(cannot)?;
        file.take(4).read_to_end(&mut start).map_err(|e| refuse(format!("cannot be read: {e}")))?;
        // Definitions are market data, which may be anybody's.
        if is_dbn(&start) {
            return definitions(path, decoder(path)?);
        }
    }
    // A pipe can be read once. What a person writes decides as a configuration does, and is held to the same owners.
    let most = if path.is_file() { MOST_BYTES } else { MOST_OF_PIPE };
    let bytes = files::read_trusted(path, &Trust::own(), most).map_err(|unread| unread.refuse(path.display(), MEND))?;
    if is_dbn(&bytes) {
        return definitions(path, decoder_of(path, std::io::Cursor::new(bytes))?);
    }
    let text = String::from_utf8(bytes).map_err(|e| refuse(format!("is no text: {e}")))?;
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

fn is_dbn(start: &[u8]) -> bool {
    start.starts_with(b"DBN") || start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
}

/// Entries of a file of definition records; each holds until the next definition of its number that differs.
fn definitions<R: Read>(path: &Path, mut decoder: DecoderOf<R>) -> Result<Vec<Entry>> {
    // By number and publisher, in the order of their first ones: each statement with its time.
    let mut order: Vec<(u32, u16)> = Vec::new();
    let mut all: HashMap<(u32, u16), Vec<(u64, Entry)>> = HashMap::new();
    let broken = |e: String| Error::input(path.display(), e, "give a whole file of DBN definitions");
    while let Some(record) = decoder.decode_ref().map_err(|e| broken(format!("corrupt: {e}")))? {
        if record.header().rtype != dbn::rtype::INSTRUMENT_DEF {
            continue;
        }
        let record: &InstrumentDefMsg = record.try_get().map_err(|e| broken(format!("corrupt: {e}")))?;
        let Definition { symbol, tick_size: Some(tick_size), size_unit, guessed, .. } =
            Definition::read(record).map_err(broken)?
        else {
            continue;
        };
        let (key, size_unit) = ((record.hd.instrument_id, record.hd.publisher_id), size_unit.filter(|_| !guessed));
        let (id, tick_size) = (Some(key.0), TickSize(tick_size));
        let entry = Entry { id, symbol, publisher: None, tick_size, size_unit, from: None, to: None };
        let own = all.entry(key).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        if own.last().is_none_or(|(_, known)| *known != entry) {
            own.push((record.ts_recv, entry));
        }
    }
    if let Some(problem) = decoder.get_mut().broken() {
        return Err(broken(problem));
    }
    if order.is_empty() {
        return Err(broken("has no definition with a tick size".to_owned()));
    }
    let mut publishers: HashMap<u32, u32> = HashMap::new();
    order.iter().for_each(|(id, _)| *publishers.entry(*id).or_default() += 1);
    let of = |key: &(u32, u16)| {
        let publisher = (publishers[&key.0] > 1).then_some(key.1);
        dated(&all[key]).into_iter().map(move |entry| Entry { publisher, ..entry }).collect::<Vec<_>>()
    };
    Ok(order.iter().flat_map(of).collect())
}

/// Gives each of a number's definitions its span: from its own time up to the next definition's. Sessions do not begin
/// at midnight.
fn dated(entries: &[(u64, Entry)]) -> Vec<Entry> {
    let known = |time_ns: u64| Some(Moment(time_ns)).filter(|_| time_ns != u64::MAX);
    let one = |(at, (from_ns, entry)): (usize, &(u64, Entry))| {
        let from = if at > 0 { known(*from_ns) } else { None };
        let to = entries.get(at + 1).and_then(|(next, _)| known(*next));
        Entry { from, to, ..entry.clone() }
    };
    entries.iter().enumerate().map(one).collect()
}
