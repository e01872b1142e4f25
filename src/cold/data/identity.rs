//! Which instrument a record is of.
//!
//! A number stands for an instrument only at one publisher and only for a time: venues give numbers anew each day, and
//! several publishers use one number for books of their own. An identity is a number at one publisher as long as it means
//! one instrument; where the file's symbology or definitions give the number to another, the next identity begins.

use std::collections::BTreeMap;

use dbn::{Metadata, SType};
use pillion_shm::records::rtype;

use super::contents::BookSchema;
use super::definition::Definition;
use super::facts::Source;

/// Kinds of records, as bits of [`Identity::kinds`].
pub(super) mod kinds {
    pub const MBO: u8 = 1;
    pub const MBP_1: u8 = 2;
    pub const MBP_10: u8 = 4;
    pub const TRADE: u8 = 8;
    pub const STATUS: u8 = 16;
}

/// What the names of a file are.
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
    /// How many instruments had the number before it in this file.
    pub era: u32,
    /// Its name, where the file has one.
    pub symbol: Option<String>,
    /// What the name is.
    pub naming: Naming,
    /// What definition records say of it.
    pub definition: Definition,
    /// Who states its tick size, once [`super::Facts`] has been asked.
    pub source: Option<Source>,
    /// Receive times of its first and last record, ns since the epoch.
    pub span_ns: (u64, u64),
    /// Kinds of its records, of [`kinds`].
    pub(super) kinds: u8,
}

impl Identity {
    /// Its records of other book schemas were left out.
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

/// What is known of one number.
#[derive(Debug, Default)]
struct Number {
    /// Names by the metadata, each with the time from which it holds.
    names: Vec<(u64, String)>,
    at: usize,
    raw: bool,
    /// Name by mapping records.
    mapped: Option<String>,
    /// Name by a definition that took the number over, until the metadata has another.
    renamed: Option<String>,
    /// By publisher.
    definitions: Vec<(u16, Definition)>,
    era: u32,
    /// Identities of the era, by publisher.
    now: Vec<(u16, usize)>,
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

    /// Of a record as [`super::Feed`] holds it.
    pub fn of(&mut self, record: &[u64]) -> usize {
        let [_, kind, publisher @ .., _, _, _, _] = record[0].to_le_bytes();
        let (publisher, id) = (u16::from_le_bytes(publisher), (record[0] >> 32) as u32);
        let (bit, received) = kind_and_time(kind, record);
        let time_ns = if received == 0 || received == u64::MAX { record[1] } else { received };
        let key = record[0] & !0xFFFF;
        let at = match self.last.filter(|(last, _)| *last == key) {
            Some((_, at)) => at,
            None => {
                let number = self.ids.entry(id).or_default();
                number.reach(time_ns);
                let at = number.now.iter().find(|(of, _)| *of == publisher).map(|(_, at)| *at);
                let at = at.unwrap_or_else(|| {
                    number.now.push((publisher, self.list.len()));
                    self.list.push(number.identity(id, publisher, time_ns));
                    self.list.len() - 1
                });
                self.last = (number.at + 1 >= number.names.len()).then_some((key, at));
                at
            }
        };
        let identity = &mut self.list[at];
        identity.kinds |= bit;
        identity.span_ns.1 = identity.span_ns.1.max(time_ns);
        at
    }

    /// A mapping record: from here on the number has this name.
    pub fn mapped(&mut self, id: u32, name: &str) {
        self.last = None;
        let number = self.ids.entry(id).or_default();
        if number.mapped.as_deref().is_some_and(|before| before != name) {
            number.next();
            number.renamed = None;
            number.definitions.retain(|(_, definition)| definition.symbol.as_deref() == Some(name));
        }
        number.mapped = Some(name.to_owned());
        number.tell(&mut self.list);
    }

    /// A definition record: from here on the number is this instrument.
    pub fn defined(&mut self, publisher: u16, id: u32, definition: Definition) {
        self.last = None;
        let number = self.ids.entry(id).or_default();
        let known = number.definitions.iter_mut().find(|(of, _)| *of == publisher);
        match known {
            Some((_, before)) if before.contradicts(&definition) => {
                if before.symbol != definition.symbol {
                    number.renamed.clone_from(&definition.symbol);
                }
                number.next();
                number.definitions = vec![(publisher, definition)];
            }
            Some((_, before)) => before.add(definition),
            None => number.definitions.push((publisher, definition)),
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
    /// last one stands.
    fn tidy(&mut self) {
        self.names.sort_by_key(|(from_ns, _)| *from_ns);
        self.names.dedup_by(|later, before| later.1 == before.1);
        if !self.raw {
            self.names.drain(..self.names.len().saturating_sub(1));
        }
    }

    /// Goes on to the name that holds at `time_ns`; never back, since records of a snapshot may be of any time.
    fn reach(&mut self, time_ns: u64) {
        while self.names.get(self.at + 1).is_some_and(|(from_ns, _)| time_ns >= *from_ns) {
            self.next();
            self.at += 1;
            self.renamed = None;
            let name = &self.names[self.at].1;
            self.mapped = self.mapped.take().filter(|mapped| mapped == name);
            self.definitions.retain(|(_, definition)| definition.symbol.as_ref() == Some(name));
        }
    }

    /// From here on it is another instrument, if it has been one.
    fn next(&mut self) {
        if !self.now.is_empty() {
            self.era += 1;
            self.now.clear();
        }
    }

    fn name(&self, definition: &Definition) -> (Option<String>, Naming) {
        if let Some(name) = &self.renamed {
            return (Some(name.clone()), Naming::Raw);
        }
        if let Some((_, name)) = self.names.get(self.at) {
            return (Some(name.clone()), if self.raw { Naming::Raw } else { Naming::Other });
        }
        match self.mapped.clone().or_else(|| definition.symbol.clone()) {
            Some(name) => (Some(name), Naming::Raw),
            None => (None, Naming::None),
        }
    }

    /// The publisher's own definition; another's where there is but one.
    fn definition(&self, publisher: u16) -> Definition {
        let own = self.definitions.iter().find(|(of, _)| *of == publisher);
        let only = self.definitions.first().filter(|_| self.definitions.len() == 1);
        own.or(only).map_or(Definition::default(), |(_, definition)| definition.clone())
    }

    fn identity(&self, id: u32, publisher: u16, time_ns: u64) -> Identity {
        let definition = self.definition(publisher);
        let (symbol, naming) = self.name(&definition);
        let span_ns = (time_ns, time_ns);
        Identity { id, publisher, era: self.era, symbol, naming, definition, source: None, span_ns, kinds: 0 }
    }

    /// News for instruments whose records came first.
    fn tell(&self, list: &mut [Identity]) {
        for &(publisher, at) in &self.now {
            list[at].definition = self.definition(publisher);
            (list[at].symbol, list[at].naming) = self.name(&list[at].definition);
        }
    }
}

/// A record's kind as a bit, and its `ts_recv`.
fn kind_and_time(kind: u8, record: &[u64]) -> (u8, u64) {
    match kind {
        rtype::MBO => (kinds::MBO, record[5]),
        rtype::MBP_1 => (kinds::MBP_1, record[4]),
        rtype::MBP_10 => (kinds::MBP_10, record[4]),
        rtype::TRADE => (kinds::TRADE, record[4]),
        _ => (kinds::STATUS, record[2]),
    }
}
