//! Identities: the instrument that each record of a file belongs to.
//!
//! A number stands for an instrument only at one publisher and only for a time: venues give numbers anew each day, and
//! several publishers use one number for books of their own. An identity is a number at one publisher as long as it means
//! one instrument; where the file's symbology or the publisher's definitions give the number to another, the next identity
//! begins. So it does where a definition says other units of the same instrument, but only as its book begins anew: one
//! book cannot count in two units, and orders that rest are not thrown away.

use std::collections::BTreeMap;

use dbn::{Metadata, SType};
use pillion_shm::records::{View, rtype};

use super::contents::BookSchema;
use super::definition::{Definition, Listed};
use super::facts::Source;
use super::order::{recv_ns, trusted_recv_ns};
use crate::hot::decode::Instrument;

/// Kinds of records, as bits of [`Identity::kinds`].
pub(super) mod kinds {
    pub const MBO: u8 = 1;
    pub const MBP_1: u8 = 2;
    pub const MBP_10: u8 = 4;
    pub const TRADE: u8 = 8;
    pub const STATUS: u8 = 16;
}

/// Origin of a file's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// The venue's own symbols: another symbol is another instrument.
    Raw,
    /// Names of a request, such as a continuous contract's: one instrument may have several.
    Other,
    /// None: the number in digits.
    None,
}

/// One instrument of a file.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The venue's number, as in the file's records.
    pub id: u32,
    /// The publisher of its records.
    pub publisher: u16,
    /// Number of instruments that had the number before this one in the file.
    pub era: u32,
    /// The instrument's name, where the file has one.
    pub symbol: Option<String>,
    /// Origin of that name.
    pub naming: Naming,
    /// Statement of the file's definition records about the instrument.
    pub definition: Definition,
    /// A later definition with other units that came while the instrument's orders rested: no units hold throughout.
    pub changed: Option<Definition>,
    /// Source of the tick size, once [`super::Facts`] has been asked.
    pub source: Option<Source>,
    /// True when the tick size is a guess from the prices.
    pub tick_guessed: bool,
    /// Receive times of its first and last record of a known time, ns since the epoch; 0 where none has one.
    pub span_ns: (u64, u64),
    /// Kinds of its records, of [`kinds`].
    pub(super) kinds: u8,
}

impl Identity {
    /// For a file to be written, where it is this instrument.
    pub(super) fn listed(&self, instrument: Instrument) -> Listed {
        let Definition { depth, guessed, .. } = self.definition;
        Listed { instrument, depth, guessed }
    }

    /// Forgets the kinds of book schemas other than `schema`, whose records were left out.
    pub(super) fn keep_book(&mut self, schema: BookSchema) {
        let own = match schema {
            BookSchema::Mbo => kinds::MBO,
            BookSchema::Mbp10 => kinds::MBP_10,
            BookSchema::Mbp1 => kinds::MBP_1,
        };
        self.kinds &= own | kinds::TRADE | kinds::STATUS;
    }

    /// Levels of a side that its records show: `None` where they show all there are.
    pub fn levels(&self) -> Option<usize> {
        match self.kinds {
            k if k & kinds::MBO != 0 => self.definition.depth,
            k if k & kinds::MBP_10 != 0 => Some(10),
            k if k & kinds::MBP_1 != 0 => Some(1),
            k if k & kinds::TRADE != 0 => Some(0),
            _ => None,
        }
    }
}

/// Follows a file's records and tells the identity of each.
#[derive(Debug, Default)]
pub(super) struct Identities {
    ids: BTreeMap<u32, Number>,
    list: Vec<Identity>,
    /// Number, publisher and identity of the record before, where nothing is to come that could change it.
    last: Option<(u64, usize)>,
}

/// State of one number, over all publishers.
#[derive(Debug, Default)]
struct Number {
    /// Names by the metadata, each with the time from which it holds.
    names: Vec<(u64, String)>,
    at: usize,
    raw: bool,
    /// Name by mapping records.
    mapped: Option<String>,
    /// Number of instruments that had this number before, by metadata and mapping records: at every publisher.
    era: u32,
    venues: Vec<Venue>,
}

/// State of a number at one publisher.
#[derive(Debug)]
struct Venue {
    publisher: u16,
    /// The publisher's own definition, or that of the only publisher with one.
    definition: Option<Definition>,
    /// True when the publisher has had a definition of its own.
    defined: bool,
    /// A definition with other units, which hold from where the book begins anew.
    next: Option<Definition>,
    /// Name by a definition that took the number over, until the metadata has another.
    renamed: Option<String>,
    /// Number of further instruments that had the number before, by the publisher's definitions.
    era: u32,
    /// Identity of the era, once it has records.
    now: Option<usize>,
}

impl Identities {
    /// With the names that the metadata has.
    pub fn new(metadata: &Metadata) -> Identities {
        let inverse = metadata.stype_in == Some(SType::InstrumentId);
        let names = if inverse { metadata.stype_out } else { metadata.stype_in.unwrap_or(SType::RawSymbol) };
        let raw = names == SType::RawSymbol;
        let mut all = Identities::default();
        for mapping in &metadata.mappings {
            for interval in &mapping.intervals {
                let (id, name) = if inverse {
                    (&mapping.raw_symbol, &interval.symbol)
                } else {
                    (&interval.symbol, &mapping.raw_symbol)
                };
                if let (Ok(id), false) = (id.parse(), name.is_empty()) {
                    let from_ns = interval.start_date.midnight().assume_utc().unix_timestamp_nanos();
                    let number = all.ids.entry(id).or_default();
                    number.names.push((u64::try_from(from_ns).unwrap_or(0), name.clone()));
                    number.raw = raw;
                }
            }
        }
        all.ids.values_mut().for_each(Number::tidy);
        all
    }

    /// Of a record as [`super::Feed`] holds it. One of no known time is of whatever instrument the number stands for.
    pub fn of(&mut self, record: &[u64]) -> usize {
        let [_, kind, publisher @ .., _, _, _, _] = record[0].to_le_bytes();
        let (publisher, id) = (u16::from_le_bytes(publisher), (record[0] >> 32) as u32);
        let time_ns = known_time_ns(record);
        let key = record[0] & !0xFFFF;
        let at = match self.last.filter(|(last, _)| *last == key) {
            Some((_, at)) => at,
            None => {
                let number = self.ids.entry(id).or_default();
                if let Some(time_ns) = time_ns {
                    number.reach(time_ns);
                }
                let venue = number.venue(publisher);
                number.venues[venue].turn(record, &mut self.list);
                let at = number.venues[venue].now.unwrap_or_else(|| {
                    self.list.push(number.identity(id, venue));
                    self.list.len() - 1
                });
                let own = &mut number.venues[venue];
                own.now = Some(at);
                let settled = own.next.is_none() && number.at + 1 >= number.names.len();
                self.last = settled.then_some((key, at));
                at
            }
        };
        let identity = &mut self.list[at];
        identity.kinds |= kind_bit(kind);
        if let Some(time_ns) = time_ns {
            let (first, last) = identity.span_ns;
            identity.span_ns = if last == 0 { (time_ns, time_ns) } else { (first, last.max(time_ns)) };
        }
        at
    }

    /// A mapping record: from here on the number has this name.
    pub fn mapped(&mut self, id: u32, name: &str) {
        self.last = None;
        let number = self.ids.entry(id).or_default();
        if number.mapped.as_deref().is_some_and(|before| before != name) {
            number.next(name);
        }
        number.mapped = Some(name.to_owned());
        number.tell(&mut self.list);
    }

    /// A definition record: from here on the number is this instrument at its publisher; at others too, unless more than
    /// one publisher defines what its own number stands for.
    pub fn defined(&mut self, publisher: u16, id: u32, definition: Definition) {
        self.last = None;
        let number = self.ids.entry(id).or_default();
        let own = number.venue(publisher);
        let first = !std::mem::replace(&mut number.venues[own].defined, true);
        let alone = number.venues.iter().filter(|venue| venue.defined).count() == 1;
        for venue in number.venues.iter_mut().filter(|venue| venue.publisher == publisher || !venue.defined) {
            match () {
                // The definition before was another publisher's.
                () if first && venue.publisher == publisher => {
                    venue.begin(definition.clone());
                }
                () if venue.defined || alone => venue.define(definition.clone()),
                () => (venue.definition, venue.next) = (None, None),
            }
        }
        number.tell(&mut self.list);
    }

    /// Every instrument that has records, in the order of their first ones.
    pub fn list(&self) -> &[Identity] {
        &self.list
    }

    /// The same, for good.
    pub fn into_list(self) -> Vec<Identity> {
        self.list
    }
}

impl Number {
    /// Sorts the names by time, and joins those that say the same. Names that are not the venue's own mean nothing: the
    /// last one stands. Two names from one time on are two publishers', and do not say whose they are.
    fn tidy(&mut self) {
        self.names.sort_by_key(|(from_ns, _)| *from_ns);
        self.names.dedup_by(|later, before| later.1 == before.1);
        if !self.raw {
            self.names.drain(..self.names.len().saturating_sub(1));
        }
        if self.names.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            self.names.clear();
        }
    }

    /// Goes on to the name that holds at `time_ns`; never back, since records of a snapshot may be of any time.
    fn reach(&mut self, time_ns: u64) {
        while self.names.get(self.at + 1).is_some_and(|(from_ns, _)| time_ns >= *from_ns) {
            self.at += 1;
            let name = self.names[self.at].1.clone();
            self.next(&name);
            self.mapped = self.mapped.take().filter(|mapped| *mapped == name);
        }
    }

    /// From here on it is an instrument of this name at every publisher, and another one if it has been one.
    fn next(&mut self, name: &str) {
        self.era += u32::from(self.venues.iter().any(|venue| venue.now.is_some()));
        for venue in &mut self.venues {
            let own = |definition: &Definition| definition.symbol.as_deref() == Some(name);
            let newest = venue.next.take().or(venue.definition.take());
            (venue.now, venue.renamed, venue.definition) = (None, None, newest.filter(own));
        }
    }

    /// Place of what is known of it at a publisher.
    fn venue(&mut self, publisher: u16) -> usize {
        self.venues.iter().position(|venue| venue.publisher == publisher).unwrap_or_else(|| {
            let mut definers = self.venues.iter().filter(|venue| venue.defined);
            let only = definers.next().filter(|_| definers.next().is_none());
            let definition = only.and_then(|only| only.next.as_ref().or(only.definition.as_ref())).cloned();
            let renamed = only.and_then(|only| only.renamed.clone());
            self.venues.push(Venue { publisher, definition, defined: false, next: None, renamed, era: 0, now: None });
            self.venues.len() - 1
        })
    }

    fn name(&self, venue: &Venue) -> (Option<String>, Naming) {
        if let Some(name) = &venue.renamed {
            return (Some(name.clone()), Naming::Raw);
        }
        if let Some((_, name)) = self.names.get(self.at) {
            return (Some(name.clone()), if self.raw { Naming::Raw } else { Naming::Other });
        }
        let defined = || venue.definition.as_ref().and_then(|definition| definition.symbol.clone());
        match self.mapped.clone().or_else(defined) {
            Some(name) => (Some(name), Naming::Raw),
            None => (None, Naming::None),
        }
    }

    fn identity(&self, id: u32, venue: usize) -> Identity {
        let venue = &self.venues[venue];
        let (symbol, naming) = self.name(venue);
        let definition = venue.definition.clone().unwrap_or_default();
        let (era, publisher) = (self.era + venue.era, venue.publisher);
        Identity {
            id,
            publisher,
            era,
            symbol,
            naming,
            definition,
            changed: None,
            source: None,
            tick_guessed: false,
            span_ns: (0, 0),
            kinds: 0,
        }
    }

    /// News for instruments whose records came first.
    fn tell(&self, list: &mut [Identity]) {
        for venue in &self.venues {
            let Some(at) = venue.now else { continue };
            list[at].definition = venue.definition.clone().unwrap_or_default();
            (list[at].symbol, list[at].naming) = self.name(venue);
        }
    }
}

impl Venue {
    /// Takes its first own definition, for what the number has stood for all along.
    fn begin(&mut self, definition: Definition) {
        (self.definition, self.next, self.renamed) = (Some(definition), None, None);
    }

    /// Takes a definition: another symbol is another instrument, other units wait for the book to begin anew.
    fn define(&mut self, new: Definition) {
        let Some(before) = &mut self.definition else {
            self.definition = Some(new);
            return;
        };
        match () {
            () if before.names_another(&new) => {
                self.renamed.clone_from(&new.symbol);
                self.over(new);
            }
            () if before.contradicts(&new) => self.next = Some(new),
            () => {
                before.add(new);
                self.next = None;
            }
        }
    }

    /// A record follows: whether units that wait hold from here. Where orders rest on, they cannot.
    fn turn(&mut self, record: &[u64], list: &mut [Identity]) {
        let Some(next) = self.next.take() else { return };
        let kind = record[0].to_le_bytes()[1];
        match self.now.map(|at| &mut list[at]) {
            Some(_) if kind == rtype::STATUS => self.next = Some(next),
            Some(identity) if identity.kinds & kinds::MBO != 0 && !begins_anew(record) => {
                identity.changed.get_or_insert_with(|| next.clone());
                self.next = Some(next);
            }
            _ => self.over(next),
        }
    }

    /// From here on the number is another instrument, if it has been one.
    fn over(&mut self, definition: Definition) {
        (self.definition, self.next) = (Some(definition), None);
        self.era += u32::from(self.now.take().is_some());
    }
}

/// True when no earlier order can rest behind the record: the record is a clear, or belongs to a snapshot.
fn begins_anew(record: &[u64]) -> bool {
    let bytes: &[u8] = bytemuck::cast_slice(record);
    bytes[1] == rtype::MBO && bytes[38] == b'R' || View(record).is_snapshot()
}

/// When a record was captured; when it happened, where the capture time is not to be trusted. A snapshot's record tells
/// when its order was placed, which may be days before: its capture time counts although it is flagged as not exact.
pub(super) fn known_time_ns(record: &[u64]) -> Option<u64> {
    if View(record).is_snapshot() {
        return Some(recv_ns(record)).filter(|&ns| ns != 0);
    }
    let ns = match trusted_recv_ns(record) {
        0 => record[1],
        recv_ns => recv_ns,
    };
    Some(ns).filter(|&ns| ns != u64::MAX)
}

/// A record's kind as a bit.
fn kind_bit(kind: u8) -> u8 {
    match kind {
        rtype::MBO => kinds::MBO,
        rtype::MBP_1 => kinds::MBP_1,
        rtype::MBP_10 => kinds::MBP_10,
        rtype::TRADE => kinds::TRADE,
        _ => kinds::STATUS,
    }
}
