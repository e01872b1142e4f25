//! One `[[feature]]` table: checked key by key, then expanded into columns.

use toml::{Table, Value};

use super::column::{BookSide, Column, Memory};
use super::kinds::{Kind, Series, Takes};
use crate::error::{Error, Result};

/// Where in which file a key stands, for messages.
pub(super) struct Place {
    origin: String,
    entry: String,
}

impl Place {
    pub(super) fn new(origin: &str, entry: String) -> Self {
        Self { origin: origin.to_string(), entry }
    }

    /// `file: feature 3 (ofi): levels`, the problem and the mend.
    pub(super) fn refuse(&self, key: &str, problem: impl std::fmt::Display, mend: impl std::fmt::Display) -> Error {
        let parts = [self.origin.as_str(), self.entry.as_str(), key];
        let thing: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Error::input(thing.join(": "), problem, mend)
    }

    pub(super) fn only_keys(&self, table: &Table, known: &[&str]) -> Result<()> {
        match table.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, value)) => {
                let mend = format!("remove it; known here: {}", known.join(", "));
                Err(self.refuse(key, format!("unknown key (value {value})"), mend))
            }
        }
    }

    fn required<'t>(&self, table: &'t Table, key: &str, mend: &str) -> Result<&'t Value> {
        table.get(key).ok_or_else(|| self.refuse(key, "is missing", mend))
    }

    pub(super) fn string(&self, table: &Table, key: &str) -> Result<String> {
        match self.required(table, key, &format!("add {key} = \"...\""))? {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.refuse(key, format!("{other} is not a string"), format!("write {key} = \"...\""))),
        }
    }

    pub(super) fn integer(&self, table: &Table, key: &str, least: u64, most: u64) -> Result<u64> {
        let mend = format!("give a whole number from {least} to {most}");
        self.whole(key, self.required(table, key, &mend)?, least, most)
    }

    fn whole(&self, key: &str, value: &Value, least: u64, most: u64) -> Result<u64> {
        value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            let problem = format!("{value} is not a whole number from {least} to {most}");
            self.refuse(key, problem, format!("give numbers from {least} to {most}"))
        })
    }
}

/// The values of a list, or of a lone value; never none.
fn list<'t>(place: &Place, key: &str, value: &'t Value) -> Result<&'t [Value]> {
    match value {
        Value::Array(values) if values.is_empty() => {
            Err(place.refuse(key, "[] is empty", format!("name at least one value or remove {key}")))
        }
        Value::Array(values) => Ok(values),
        lone => Ok(std::slice::from_ref(lone)),
    }
}

/// Appends the columns of one entry: series, then sides, then levels, then memories, each in the order written.
pub(super) fn expand(entry: &Table, mut place: Place, columns: &mut Vec<Column>) -> Result<()> {
    let kind = kind(entry, &mut place)?;
    let takes = kind.spec().takes;
    place.only_keys(entry, &known_keys(takes))?;
    let all_of = if takes.of { self::series(entry, &place)? } else { vec![None] };
    let sides = if takes.sides { sides(entry, &place)? } else { vec![None] };
    let levels = match takes.levels {
        Some(range) => levels(entry, &place, range)?,
        None => vec![None],
    };
    let memories = memories(entry, &place, takes)?;
    let log = takes.scale && log(entry, &place)?;
    for &of in &all_of {
        for &side in &sides {
            for &level in &levels {
                columns.extend(memories.iter().map(|&memory| Column { kind, side, level, memory, log, of }));
            }
        }
    }
    Ok(())
}

fn kind(entry: &Table, place: &mut Place) -> Result<Kind> {
    let name = place.string(entry, "kind")?;
    place.entry = format!("{} ({name})", place.entry);
    Kind::ALL.iter().copied().find(|kind| kind.spec().name == name).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.spec().name).collect();
        place.refuse("kind", format!("\"{name}\" is no kind of feature"), format!("use one of {}", known.join(", ")))
    })
}

fn known_keys(takes: Takes) -> Vec<&'static str> {
    let keys = [
        ("kind", true),
        ("of", takes.of),
        ("sides", takes.sides),
        ("levels", takes.levels.is_some()),
        ("half_life_s", takes.time),
        ("half_life_events", takes.events),
        ("window_events", takes.window),
        ("scale", takes.scale),
    ];
    keys.into_iter().filter(|(_, taken)| *taken).map(|(key, _)| key).collect()
}

fn series(entry: &Table, place: &Place) -> Result<Vec<Option<Series>>> {
    let known: Vec<&str> = Series::ALL.iter().map(|(name, _)| *name).collect();
    let mend = format!("use some of {}", known.join(", "));
    let values = list(place, "of", place.required(entry, "of", &mend)?)?;
    let find = |value: &Value| Series::ALL.iter().find(|(name, _)| value.as_str() == Some(name)).map(|row| row.1);
    values
        .iter()
        .map(|value| find(value).map(Some).ok_or_else(|| place.refuse("of", format!("{value} is no series"), &mend)))
        .collect()
}

fn sides(entry: &Table, place: &Place) -> Result<Vec<Option<BookSide>>> {
    let Some(value) = entry.get("sides") else { return Ok(vec![Some(BookSide::Bid), Some(BookSide::Ask)]) };
    let side = |value: &Value| match value.as_str() {
        Some("bid") => Ok(Some(BookSide::Bid)),
        Some("ask") => Ok(Some(BookSide::Ask)),
        _ => Err(place.refuse("sides", format!("{value} is no side"), "use \"bid\" and \"ask\"")),
    };
    list(place, "sides", value)?.iter().map(side).collect()
}

fn levels(entry: &Table, place: &Place, (least, most): (u8, u8)) -> Result<Vec<Option<u8>>> {
    let mend = format!("add levels = [..], each from {least} to {most}");
    let value = place.required(entry, "levels", &mend)?;
    let level = |value| place.whole("levels", value, least.into(), most.into()).map(|n| Some(n as u8));
    list(place, "levels", value)?.iter().map(level).collect()
}

fn memories(entry: &Table, place: &Place, takes: Takes) -> Result<Vec<Memory>> {
    let mut memories = Vec::new();
    if let Some(value) = entry.get("half_life_s") {
        for value in list(place, "half_life_s", value)? {
            memories.push(Memory::Time { half_life_ns: half_life_ns(value, place)? });
        }
    }
    if let Some(value) = entry.get("half_life_events") {
        for value in list(place, "half_life_events", value)? {
            let half_life = place.whole("half_life_events", value, 1, Memory::MAX_HALF_LIFE_EVENTS.into())? as u32;
            memories.push(Memory::Events { half_life });
        }
    }
    if let Some(value) = entry.get("window_events") {
        for value in list(place, "window_events", value)? {
            let events = place.whole("window_events", value, 1, Memory::MAX_WINDOW_EVENTS.into())? as u32;
            memories.push(Memory::Window { events });
        }
    }
    if !memories.is_empty() {
        return Ok(memories);
    }
    if takes.plain {
        return Ok(vec![Memory::Plain]);
    }
    let keys: Vec<&str> =
        known_keys(takes).into_iter().filter(|key| key.contains("half") || key.contains("win")).collect();
    Err(place.refuse("", "says nothing of its memory", format!("add one of {}", keys.join(", "))))
}

fn half_life_ns(value: &Value, place: &Place) -> Result<u64> {
    let seconds = value.as_float().or(value.as_integer().map(|n| n as f64)).unwrap_or(f64::NAN);
    let ns = (seconds * 1e9).round();
    let range = Memory::MIN_HALF_LIFE_NS as f64..=Memory::MAX_HALF_LIFE_NS as f64;
    if range.contains(&ns) {
        return Ok(ns as u64);
    }
    let problem = format!("{value} is not a duration from 0.000001 to 86400 seconds");
    Err(place.refuse("half_life_s", problem, "give seconds, for example 0.5"))
}

fn log(entry: &Table, place: &Place) -> Result<bool> {
    match entry.get("scale").map(|value| (value, value.as_str())) {
        None | Some((_, Some("raw"))) => Ok(false),
        Some((_, Some("log"))) => Ok(true),
        Some((value, _)) => Err(place.refuse("scale", format!("{value} is no scale"), "use \"raw\" or \"log\"")),
    }
}
