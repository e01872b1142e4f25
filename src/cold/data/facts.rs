//! Tick size and size unit of instruments: data that somebody states, never inferred unless asked for.
//!
//! They are stated, in this order, by a file (`--instruments`), by the configuration of the lane that plays, and by the
//! definition records of the market data itself. Who states the same thing differently is refused: one of them is wrong, and
//! every feature that counts in ticks would be. A guess is made only where asked for, from prices up to the instrument's
//! first row, so that no row hangs on what comes after it.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::Date;
use super::feed::Feed;
use super::guess::guess;
use super::identity::{Identity, Naming};
use super::instrument::{InstrumentEntry, TickSize};
use super::stated::{Entry, read};
use crate::hot::decode::Instrument;
use crate::{Error, Result};

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
    /// What the file of `--instruments` states, if there is one; `guess` where nothing is stated.
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
                return Err(contradiction(name, "tick size", values, [&found.source, &other.source]));
            }
            match (found.size_unit, other.size_unit) {
                (Some(one), Some(two)) if one != two => {
                    let values = [one, two].map(|unit| unit.to_string());
                    return Err(contradiction(name, "size unit", values, [&found.source, &other.source]));
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
        let reused: Vec<bool> = identities
            .iter()
            .map(|one| identities.iter().any(|other| other.id == one.id && other.era != one.era))
            .collect();
        for ((instrument, identity), reused) in instruments.iter_mut().zip(identities).zip(reused) {
            let own = identity.definition.tick_size.map(|tick_size| Fact {
                source: Source::Definition,
                tick_size,
                size_unit: identity.definition.size_unit,
            });
            let wanted = Wanted {
                id: Some(identity.id),
                publisher: Some(identity.publisher),
                symbol: identity.symbol.as_deref().filter(|_| identity.naming == Naming::Raw),
                reused,
                span_ns: identity.span_ns,
            };
            if let Some(fact) = self.one(&name(instrument, identity), wanted, own)? {
                (instrument.tick_size, instrument.size_unit) = (fact.tick_size, fact.size_unit.unwrap_or(1.0));
                identity.source = Some(fact.source);
                if let (None, Some(symbol)) = (&identity.symbol, self.symbol(wanted)) {
                    instrument.symbol = symbol;
                }
            }
        }
        Ok(())
    }

    /// The symbol that a list has for a number.
    fn symbol(&self, wanted: Wanted<'_>) -> Option<String> {
        self.lists.iter().flat_map(|(_, entries)| entries).find(|entry| entry.means(&wanted, true))?.symbol.clone()
    }

    /// Makes tick size and size unit of every instrument of a file known.
    ///
    /// # Errors
    /// Statements that contradict each other; and an instrument of which nobody states the tick size, unless it may be
    /// guessed.
    pub fn settle(&self, feed: &mut Feed) -> Result<()> {
        self.lay_on(&mut feed.instruments, &mut feed.identities)?;
        let unknown: Vec<usize> =
            (0..feed.instruments.len()).filter(|&at| feed.instruments[at].tick_size == 0).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if !self.guess {
            return Err(self.unstated(feed, &unknown));
        }
        for (at, tick_size) in guess(feed, &unknown)? {
            feed.instruments[at].tick_size = tick_size;
            feed.identities[at].source = Some(Source::Guess);
        }
        Ok(())
    }

    fn unstated(&self, feed: &Feed, unknown: &[usize]) -> Error {
        let shown = || unknown.iter().take(LISTED).map(|&at| (&feed.instruments[at], &feed.identities[at]));
        let mut names: Vec<_> = shown().map(|(instrument, identity)| name(instrument, identity)).collect();
        if unknown.len() > LISTED {
            names.push(format!("{} more", unknown.len() - LISTED));
        }
        let mut problem = format!("nothing states the tick size of {}", names.join(", "));
        for (origin, entry) in
            self.lists.iter().flat_map(|(source, list)| list.iter().map(move |entry| (source, entry)))
        {
            if let Some((instrument, _)) = shown().find(|(_, identity)| entry.id == Some(identity.id))
                && let Some(called) = &entry.symbol
            {
                problem +=
                    &format!("; {origin} calls number {} {called:?}, the file {:?}", instrument.id, instrument.symbol);
                break;
            }
        }
        let entries: Vec<_> = shown().map(|(instrument, identity)| example(instrument, identity)).collect();
        let mend = format!(
            "state it: give --instruments a file with the smallest price steps of the venue in place of \"?\":\n{}\n  or let \
             --guess guess it from the first prices",
            entries.join("\n")
        );
        Error::input(feed.path.display(), problem, mend)
    }
}

fn contradiction(name: &str, what: &str, values: [String; 2], sources: [&Source; 2]) -> Error {
    let [one, two] = values;
    let problem = format!("{what} is {one} by {}, and {two} by {}", said(sources[0]), said(sources[1]));
    Error::input(
        name,
        problem,
        "correct the one that is wrong; a converted file can be converted again with --instruments",
    )
}

fn said(source: &Source) -> String {
    match source {
        Source::Definition => "the file's own definition".to_owned(),
        other => other.to_string(),
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

/// An entry that only lacks the tick size.
fn example(instrument: &Instrument, identity: &Identity) -> String {
    let symbol = toml::Value::String(instrument.symbol.clone());
    format!("    [[instruments]]\n    id = {}\n    symbol = {symbol}\n    tick_size = \"?\"", identity.id)
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
            Some(Source::Guess) => format!(
                "warning: {name}: tick size {tick} is a GUESS from the prices up to its first row; --instruments states it"
            ),
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
