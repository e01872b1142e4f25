//! What a recording has of each instrument: in which schemas it comes, and whether its events end.
//!
//! One fact that comes in several schemas would count more than once. Trades are told apart where they are counted (see
//! [`crate::hot::book`]); a book has one schema, and a recording that mixes several for an instrument says so here.

use std::collections::BTreeMap;

use pillion_shm::records::{View, flags, rtype};

use super::feed::Feed;
use super::order::{Instrument, instrument};
use crate::{Error, Result};

/// Schemas that a book is built from, the richest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BookSchema {
    /// Every order.
    Mbo,
    /// The ten best levels.
    Mbp10,
    /// The best level.
    Mbp1,
}

impl BookSchema {
    /// Every one.
    pub const ALL: [BookSchema; 3] = [BookSchema::Mbo, BookSchema::Mbp10, BookSchema::Mbp1];

    /// Databento's name.
    pub fn name(self) -> &'static str {
        ["mbo", "mbp-10", "mbp-1"][self as usize]
    }

    /// The content of its records, for `--help`.
    pub fn meaning(self) -> &'static str {
        ["Every order", "The ten best levels", "The best level"][self as usize]
    }

    /// Schema of a record that a book is built from.
    pub fn of(record: &[u64]) -> Option<Self> {
        match record[0].to_le_bytes()[1] {
            rtype::MBO => Some(BookSchema::Mbo),
            rtype::MBP_10 => Some(BookSchema::Mbp10),
            rtype::MBP_1 => Some(BookSchema::Mbp1),
            _ => None,
        }
    }
}

/// What a recording has of one instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Number of the first record of each book schema, from 1; 0 where there is none.
    first: [u64; 3],
    /// Records of book schemas outside snapshots.
    pub live: u64,
    /// Those that end an event.
    pub ends: u64,
}

impl Held {
    fn schemas(&self) -> impl Iterator<Item = (BookSchema, u64)> + '_ {
        BookSchema::ALL.into_iter().map(|schema| (schema, self.first[schema as usize])).filter(|(_, first)| *first > 0)
    }

    /// Whether it has news, none of which ever comes to an end.
    pub fn never_ends(&self) -> bool {
        self.live > 0 && self.ends == 0
    }
}

/// Each instrument of a recording.
pub type Contents = BTreeMap<Instrument, Held>;

/// Looks at every record.
pub fn of(feed: &Feed) -> Contents {
    let mut contents = Contents::new();
    for (record, number) in feed.iter().zip(1..) {
        let Some(schema) = BookSchema::of(record) else { continue };
        let held = contents.entry(instrument(record)).or_default();
        let first = &mut held.first[schema as usize];
        *first = if *first == 0 { number } else { *first };
        if !View(record).is_snapshot() {
            held.live += 1;
            held.ends += u64::from(flags(record) & flags::LAST != 0);
        }
    }
    contents
}

/// The feed with one book schema for each instrument: `wanted` where the instrument has it. Also says how many records of
/// other book schemas are left out.
///
/// # Errors
/// When an instrument comes in several and not in `wanted`, or no instrument comes in `wanted`.
pub fn one_schema(mut feed: Feed, contents: &Contents, wanted: Option<BookSchema>) -> Result<(Feed, u64)> {
    let has = |held: &Held, schema: BookSchema| held.first[schema as usize] > 0;
    if let Some(schema) = wanted.filter(|&schema| !contents.values().any(|held| has(held, schema))) {
        let problem = format!("--schema asks for {}, and it has no such record", schema.name());
        return Err(Error::input(feed.path.display(), problem, "name a schema that it has, or none"));
    }
    let mixed = |held: &&Held| held.schemas().count() > 1;
    let left = |held: &&Held| wanted.is_none_or(|schema| !has(held, schema));
    if let Some((own, held)) = contents.iter().find(|(_, held)| mixed(held) && left(held)) {
        return Err(mix(&feed, *own, held));
    }
    let Some(schema) = wanted.filter(|_| contents.values().any(|held| mixed(&held))) else { return Ok((feed, 0)) };
    let kept = |record: &&[u64]| {
        BookSchema::of(record).is_none_or(|own| own == schema || !has(&contents[&instrument(record)], schema))
    };
    for (instrument, identity) in feed.instruments.iter().zip(&mut feed.identities) {
        if instrument
            .publisher
            .and_then(|own| contents.get(&(own, instrument.id)))
            .is_some_and(|held| has(held, schema))
        {
            identity.keep_book(schema);
        }
    }
    let (mut words, mut records, mut longest) = (Vec::with_capacity(feed.words.len()), 0, 0);
    for record in feed.iter().filter(kept) {
        words.extend_from_slice(record);
        records += 1;
        longest = longest.max(record.len());
    }
    let left_out = feed.records - records;
    Ok((Feed { words, records, max_record_words: longest, ..feed }, left_out))
}

fn mix(feed: &Feed, own: Instrument, held: &Held) -> Error {
    let said = held.schemas().map(|(schema, first)| format!("{} (first record {first})", schema.name()));
    let problem = format!(
        "{} comes in several schemas, {}: a book is built from one",
        named(feed, own),
        said.collect::<Vec<_>>().join(" and ")
    );
    let richest = held.schemas().next().map_or("mbo", |(schema, _)| schema.name());
    Error::input(feed.path.display(), problem, format!("say which one counts, as with --schema {richest}"))
}

/// The instrument for messages, with its publisher where its number is several publishers'.
pub fn named(feed: &Feed, (publisher, id): Instrument) -> String {
    match feed.instruments.iter().find(|i| i.id == id && i.publisher == Some(publisher)).map(|i| i.symbol.as_str()) {
        Some(symbol) if symbol != id.to_string() => format!("instrument {id} ({symbol}) of publisher {publisher}"),
        _ => format!("instrument {id} of publisher {publisher}"),
    }
}

/// What to say of the instruments whose events never end.
pub fn unended(feed: &Feed, contents: &Contents) -> Option<String> {
    let mut never = contents.iter().filter(|(_, held)| held.never_ends());
    let (own, held) = never.next()?;
    let more = match never.count() {
        0 => String::new(),
        others => format!(", nor do those of {others} other instruments"),
    };
    let (path, records) = (feed.path.display(), held.live);
    let first = format!("{path}: none of the {records} records of {} has F_LAST (128 in `flags`)", named(feed, *own));
    Some(format!("{first}: its events never end, so they make no row and no signal{more}"))
}

/// Marks the last record of each event of instruments whose events never end, and says how many events that makes. An
/// event is taken to be the records of an instrument, one after the other, of one ts_event and one sequence; a snapshot
/// is one.
pub fn mark_last(feed: &mut Feed, contents: &Contents) -> u64 {
    /// ts_event and sequence of an instrument's record, or that it is a snapshot's; and where the record begins.
    type Latest = (Option<(u64, u32)>, usize);
    let (mut latest, mut last, mut at) = (BTreeMap::<Instrument, Latest>::new(), Vec::new(), 0);
    for record in feed.iter() {
        let own = instrument(record);
        if BookSchema::of(record).is_some() && contents[&own].never_ends() {
            let event = (!View(record).is_snapshot()).then(|| (record[1], sequence(record)));
            let before = latest.insert(own, (event, at));
            last.extend(before.filter(|(before, _)| *before != event).map(|(_, begins)| begins));
        }
        at += record.len();
    }
    last.extend(latest.into_values().map(|(_, begins)| begins));
    for &begins in &last {
        let at = flags_at(&feed.words[begins..]);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut feed.words[begins..]);
        bytes[at] |= flags::LAST;
    }
    last.len() as u64
}

/// Where the flags of a book schema's record stand.
fn flags_at(record: &[u64]) -> usize {
    if BookSchema::of(record) == Some(BookSchema::Mbo) { 36 } else { 30 }
}

fn flags(record: &[u64]) -> u8 {
    bytemuck::cast_slice::<u64, u8>(record)[flags_at(record)]
}

fn sequence(record: &[u64]) -> u32 {
    let at = if BookSchema::of(record) == Some(BookSchema::Mbo) { 6 } else { 5 };
    // Behind ts_in_delta.
    (record[at] >> 32) as u32
}
