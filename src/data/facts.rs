//! Tick size and size unit of instruments: data that somebody states, never inferred unless asked for.
//!
//! They are stated, in this order, by a file (`--instruments`), by the configuration of the lane that plays, and by the
//! definition records of the market data itself. Who states the same thing differently is refused: one of them is wrong, and
//! every feature that counts in ticks would be. A guess is made only where asked for, from prices up to the instrument's
//! first row, so that no row hangs on what comes after it.

mod refusal;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::Date;
use super::definition::Definition;
use super::feed::Feed;
use super::guess::guess;
use super::identity::{Identity, Naming};
use super::instrument::{InstrumentEntry, TickSize};
use super::stated::{Entry, read};
use crate::Result;
use crate::hot::decode::Instrument;

pub(super) use refusal::steady;

/// How many instruments a message lists.
const LISTED: usize = 12;

/// Who states a fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The file of `--instruments`, or a flag.
    Given(String),
    /// The lane's configuration.
    Configuration(String),
    /// Definition records of the file itself.
    Definition,
    /// A rule of the venue's.
    Rule(&'static str),
    /// Nobody.
    Guess,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(origin) => f.write_str(origin),
            Self::Configuration(origin) => write!(f, "configuration {origin}"),
            Self::Definition => f.write_str("definition"),
            Self::Rule(rule) => f.write_str(rule),
            Self::Guess => f.write_str("guess"),
        }
    }
}

/// What one source states of an instrument.
#[derive(Clone, PartialEq, Debug)]
pub struct Fact {
    /// Who.
    pub source: Source,
    /// Smallest price step, in 1e-9.
    pub tick_size: i64,
    /// Units per size 1, where it says so.
    pub size_unit: Option<f64>,
}

/// What is asked for: an instrument as a file or a converter knows it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The venue's number, where it has one of the venue's.
    pub id: Option<u32>,
    /// Its publisher.
    pub publisher: Option<u16>,
    /// Its symbol, where it is the venue's own.
    pub symbol: Option<&'a str>,
    /// Whether its number has stood for another instrument in the same file, so that only its symbol tells it.
    pub reused: bool,
    /// Times of its records, ns since the epoch.
    pub span_ns: (u64, u64),
}

/// Everything that is stated, by precedence.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    lists: Vec<(Source, Vec<Entry>)>,
    guess: bool,
}

impl Facts {
    /// Facts from the file of `--instruments`, if there is one; `guess` allows a guess where nothing is stated.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of what `--instruments` takes.
    pub fn read(instruments: Option<&Path>, guess: bool) -> Result<Facts> {
        let mut lists = Vec::new();
        if let Some(path) = instruments {
            lists.push((Source::Given(path.display().to_string()), read(path)?));
        }
        Ok(Facts { lists, guess })
    }

    /// Whether no file and no configuration states anything.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Guesses where nothing is stated.
    pub fn guessing() -> Facts {
        Facts { lists: Vec::new(), guess: true }
    }

    /// And what the lanes of the configuration `origin` say.
    #[must_use]
    pub fn and_configuration<'a>(
        mut self,
        origin: &str,
        instruments: impl IntoIterator<Item = &'a InstrumentEntry>,
    ) -> Facts {
        let entries: Vec<_> = instruments.into_iter().map(Entry::of).collect();
        if !entries.is_empty() {
            self.lists.push((Source::Configuration(origin.to_owned()), entries));
        }
        self
    }

    /// Every statement about an instrument, by precedence.
    fn about<'a>(&'a self, wanted: Wanted<'a>) -> impl Iterator<Item = Fact> + 'a {
        self.lists.iter().flat_map(move |(source, entries)| {
            // A lane may call an instrument as it likes: its number is what counts.
            let by_id = matches!(source, Source::Configuration(_)) && !wanted.reused;
            entries.iter().filter(move |entry| entry.means(&wanted, by_id)).map(|entry| Fact {
                source: source.clone(),
                tick_size: entry.tick_size.0,
                size_unit: entry.size_unit,
            })
        })
    }

    /// What is stated about one instrument, with what the file itself says of it last.
    ///
    /// # Errors
    /// Two statements that contradict each other, with both values.
    pub fn one(&self, name: &str, wanted: Wanted<'_>, own: Option<Fact>) -> Result<Option<Fact>> {
        let mut all = self.about(wanted).chain(own);
        let Some(mut found) = all.next() else { return Ok(None) };
        for other in all {
            if other.tick_size != found.tick_size {
                let values = [found.tick_size, other.tick_size].map(|tick| TickSize(tick).text());
                return Err(refusal::contradiction(name, "tick size", values, [&found.source, &other.source]));
            }
            match (found.size_unit, other.size_unit) {
                (Some(one), Some(two)) if one != two => {
                    let values = [one, two].map(|unit| unit.to_string());
                    return Err(refusal::contradiction(name, "size unit", values, [&found.source, &other.source]));
                }
                (one, two) => found.size_unit = one.or(two),
            }
        }
        Ok(Some(found))
    }

    /// Writes what is stated into a file's instruments; of the others the tick size stays 0.
    ///
    /// # Errors
    /// Two statements that contradict each other, with both values.
    pub fn lay_on(&self, instruments: &mut [Instrument], identities: &mut [Identity]) -> Result<()> {
        let reused = reused(identities);
        for ((instrument, identity), reused) in instruments.iter_mut().zip(identities).zip(reused) {
            let wanted = wanted(identity, reused);
            let name = name(instrument, identity);
            let stated = self.one(&name, wanted, None)?;
            let Definition { tick_size, size_unit, .. } = identity.definition;
            // Records count in the size unit of their definition also where that leaves the tick size open.
            let tick_size = tick_size.or(stated.as_ref().map(|fact| fact.tick_size));
            let own = tick_size.map(|tick_size| Fact { source: Source::Definition, tick_size, size_unit });
            let Some(fact) = self.one(&name, wanted, own)? else { continue };
            if let (None, Some(symbol)) = (&identity.symbol, self.symbol(wanted)) {
                instrument.symbol = symbol;
            }
            (instrument.tick_size, instrument.size_unit) = (fact.tick_size, fact.size_unit.unwrap_or(1.0));
            identity.definition.guessed &= stated.is_none_or(|fact| fact.size_unit.is_none());
            identity.source = Some(fact.source);
        }
        Ok(())
    }

    /// The symbol that a list has for a number.
    fn symbol(&self, wanted: Wanted<'_>) -> Option<String> {
        self.lists.iter().flat_map(|(_, entries)| entries).find(|entry| entry.means(&wanted, true))?.symbol.clone()
    }

    /// [`Facts::lay_on`] for a file whose records are to be written with these units.
    ///
    /// # Errors
    /// Those of [`Facts::lay_on`]; an instrument whose units change while its orders rest on.
    pub fn lay_on_steady(&self, feed: &mut Feed) -> Result<()> {
        self.lay_on_played(feed, |_| true)
    }

    /// [`Facts::lay_on_steady`] for the instruments that are `played` alone: the others may change as they like.
    ///
    /// # Errors
    /// Those of [`Facts::lay_on_steady`].
    pub fn lay_on_played(&self, feed: &mut Feed, played: impl Fn(&Identity) -> bool) -> Result<()> {
        refusal::steady(&feed.path, &feed.instruments, &feed.identities, played)?;
        self.lay_on(&mut feed.instruments, &mut feed.identities)
    }

    /// Makes tick size and size unit of every instrument of a file known.
    ///
    /// # Errors
    /// Statements that contradict each other; and an instrument of which nobody states the tick size, unless it may be
    /// guessed.
    pub fn settle(&self, feed: &mut Feed) -> Result<()> {
        self.lay_on_steady(feed)?;
        let which =
            |open: &dyn Fn(usize) -> bool| (0..feed.instruments.len()).filter(|&at| open(at)).collect::<Vec<_>>();
        let unknown = which(&|at| feed.instruments[at].tick_size == 0);
        let guessed = which(&|at| feed.identities[at].definition.guessed);
        if !self.guess && !unknown.is_empty() {
            return Err(refusal::unstated(&self.lists, feed, &unknown));
        }
        if !self.guess && !guessed.is_empty() {
            return Err(refusal::unstated_sizes(feed, &guessed));
        }
        for (at, tick_size) in guess(feed, &unknown)? {
            feed.instruments[at].tick_size = tick_size;
            feed.identities[at].tick_guessed = true;
        }
        unknown.into_iter().chain(guessed).for_each(|at| feed.identities[at].source = Some(Source::Guess));
        Ok(())
    }
}

/// An instrument for people: symbol, number, and what else tells it from others.
pub(super) fn name(instrument: &Instrument, identity: &Identity) -> String {
    let mut text = format!("{} (id {}", instrument.symbol, identity.id);
    if identity.publisher != 0 {
        text += &format!(", publisher {}", identity.publisher);
    }
    if identity.era > 0 {
        text += &format!(", from {}", day(identity.span_ns.0));
    }
    text + ")"
}

/// For each identity, true when its number stands for another instrument of the file as well, one after the other.
fn reused(identities: &[Identity]) -> Vec<bool> {
    let mut eras: BTreeMap<(u32, u16), (u32, bool)> = BTreeMap::new();
    for one in identities {
        let (era, several) = eras.entry((one.id, one.publisher)).or_insert((one.era, false));
        *several |= *era != one.era;
    }
    identities.iter().map(|one| eras[&(one.id, one.publisher)].1).collect()
}

/// The question to the facts about one instrument of a file.
fn wanted(identity: &Identity, reused: bool) -> Wanted<'_> {
    Wanted {
        id: Some(identity.id),
        publisher: Some(identity.publisher),
        symbol: identity.symbol.as_deref().filter(|_| identity.naming == Naming::Raw),
        reused,
        span_ns: identity.span_ns,
    }
}

/// The day (UTC) of a time, like 2023-11-14.
pub(super) fn day(time_ns: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(time_ns.into());
    time.map_or_else(|_| time_ns.to_string(), |time| time.date().to_string())
}

/// The times that a day begins and ends at, ns since the epoch.
pub(super) fn begin_ns(date: Date) -> u64 {
    (date.days_since_epoch() * 86_400_000_000_000).unsigned_abs()
}

/// What was used for an instrument, for reports and metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstrumentUsed {
    /// The venue's number.
    pub id: u32,
    /// Publisher of its records.
    pub publisher: u16,
    /// Symbol.
    pub symbol: String,
    /// Smallest price step, as decimal text.
    pub tick_size: String,
    /// Units that a size of 1 stands for.
    pub size_unit: f64,
    /// Who states them: the file that was given, the configuration, `definition` (the market data itself) or `guess`.
    pub source: String,
    /// Days (UTC) of its first and last record.
    pub days: [String; 2],
    /// Levels of a side that its records show; `None`: all there are.
    pub levels: Option<usize>,
}

/// What was used for every instrument of a file, in its order.
pub fn used(feed: &Feed) -> Vec<InstrumentUsed> {
    let one = |(instrument, identity): (&Instrument, &Identity)| InstrumentUsed {
        id: identity.id,
        publisher: identity.publisher,
        symbol: instrument.symbol.clone(),
        tick_size: TickSize(instrument.tick_size).text(),
        size_unit: instrument.size_unit,
        source: identity.source.as_ref().map_or("nobody".to_owned(), Source::to_string),
        days: [identity.span_ns.0, identity.span_ns.1].map(day),
        levels: identity.levels(),
    };
    feed.instruments.iter().zip(&feed.identities).map(one).collect()
}

/// The same for people, one instrument a line, guesses as warnings.
pub fn tell(feed: &Feed) -> Vec<String> {
    let all = feed.instruments.iter().zip(&feed.identities);
    let line = |(instrument, identity): (&Instrument, &Identity)| {
        let tick = TickSize(instrument.tick_size).text();
        let (name, unit) = (name(instrument, identity), instrument.size_unit);
        match &identity.source {
            Some(Source::Guess) => {
                let prices = format!("tick size {tick} is a GUESS from the prices up to its first row");
                let sizes = format!("size unit {unit} is a GUESS of its conversion, from every size of the capture");
                let what = match (identity.tick_guessed, identity.definition.guessed) {
                    (true, true) => format!("{prices}, {sizes}"),
                    (true, false) => prices,
                    (false, _) => sizes,
                };
                format!("warning: {name}: {what}; --instruments states it")
            }
            Some(source) => format!("{name}: tick size {tick}, size unit {unit} ({source})"),
            None => format!("{name}: tick size not known"),
        }
    };
    let mut lines: Vec<_> = all.map(line).collect();
    if lines.len() > LISTED {
        let more = lines.len() - LISTED;
        // Warnings first: they must not be what is left out.
        lines.sort_by_key(|line| !line.starts_with("warning"));
        lines.truncate(LISTED);
        lines.push(format!("... and {more} more instruments"));
    }
    lines
}
