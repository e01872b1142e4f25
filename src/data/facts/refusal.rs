//! Refusals of facts: who contradicts whom, and what nobody states with what to write.

use std::path::Path;

use super::{LISTED, Source, name, reused};
use crate::data::definition::Definition;
use crate::data::feed::Feed;
use crate::data::identity::{Identity, Naming};
use crate::data::instrument::TickSize;
use crate::data::stated::Entry;
use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// Refuses an instrument of which two statements contradict each other, with both values.
pub(super) fn contradiction(name: &str, what: &str, values: [String; 2], sources: [&Source; 2]) -> Error {
    let [one, two] = values;
    let problem = format!("{what} is {one} by {}, and {two} by {}", said(sources[0]), said(sources[1]));
    let mend = match sources[0] == sources[1] {
        true => {
            "the recording runs over the days of both: where one of them holds for all of it, state that one alone, without \
             from and to; where it changes on the way, cut the recording there, or give it definitions that say so"
        }
        false => "correct the one that is wrong; a converted file can be converted again with --instruments",
    };
    Error::input(name, problem, mend)
}

fn said(source: &Source) -> String {
    match source {
        Source::Definition => "the file's own definition".to_owned(),
        other => other.to_string(),
    }
}

/// Refuses a file because nothing states the tick sizes of the instruments at these places, and says what to write.
pub(super) fn unstated(lists: &[(Source, Vec<Entry>)], feed: &Feed, unknown: &[usize]) -> Error {
    let mut problem = format!("nothing states the tick size of {}", named(feed, unknown));
    let all = lists.iter().flat_map(|(source, list)| list.iter().map(move |entry| (source, entry)));
    let reused = reused(&feed.identities);
    let near = all.filter_map(|(source, entry)| Some(format!("; {source} {}", near(entry, feed, unknown, &reused)?)));
    problem.extend(near.take(1));
    let entries: Vec<_> = unknown.iter().take(LISTED).map(|&at| example(feed, at)).collect();
    let mend = format!(
        "state it: give --instruments a file with the smallest price steps of the venue in place of \"?\":\n{}\n  or let \
         --guess guess it from the first prices",
        entries.join("\n")
    );
    Error::input(feed.path.display(), problem, mend)
}

/// Refuses a file in which the units of an instrument that is `played` change while its orders rest on: no one tick size
/// holds for its records.
///
/// # Errors
/// Such an instrument, with both definitions.
pub(in crate::data) fn steady(
    path: &Path,
    instruments: &[Instrument],
    identities: &[Identity],
    played: impl Fn(&Identity) -> bool,
) -> Result<()> {
    let all = instruments.iter().zip(identities).filter(|(_, identity)| played(identity));
    let mut all = all.filter_map(|(instrument, identity)| Some((instrument, identity, identity.changed.as_ref()?)));
    let Some((instrument, identity, changed)) = all.next() else {
        return Ok(());
    };
    let said = |definition: &Definition| {
        let tick = definition.tick_size.map_or("unknown".to_owned(), |tick| TickSize(tick).text());
        definition.size_unit.map_or(tick.clone(), |unit| format!("{tick} (size unit {unit})"))
    };
    let problem = format!(
        "the tick size of {} changes from {} to {} by its definitions while its orders rest on: nothing counts in both",
        name(instrument, identity),
        said(&identity.definition),
        said(changed)
    );
    let mend = "cut the recording where the definition stands, and begin the second part with a snapshot; `pillion book` \
                needs no units";
    Err(Error::input(path.display(), problem, mend))
}

/// Refuses a file because the size units of the instruments at these places are a conversion's guess.
pub(super) fn unstated_sizes(feed: &Feed, guessed: &[usize]) -> Error {
    let (first, units) =
        (guessed[0], guessed.iter().take(LISTED).map(|&at| feed.instruments[at].size_unit.to_string()));
    let problem = format!(
        "nothing states the size unit of {}: {} in its definition is a guess of `pillion convert --guess`",
        named(feed, guessed),
        units.collect::<Vec<_>>().join(", ")
    );
    let (symbol, unit) = (&feed.instruments[first].symbol, feed.instruments[first].size_unit);
    let mend = format!(
        "convert the capture again with --size-unit (LOT_SIZE.stepSize of the exchange's exchangeInfo), or, where {unit} is \
         that of {symbol}, state size_unit = {unit} by --instruments; --guess lets the guess stand"
    );
    Error::input(feed.path.display(), problem, mend)
}

/// The instruments of a feed at these places, for messages.
fn named(feed: &Feed, places: &[usize]) -> String {
    let shown = places.iter().take(LISTED).map(|&at| name(&feed.instruments[at], &feed.identities[at]));
    let more = places.len().checked_sub(LISTED).filter(|&more| more > 0).map(|more| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

/// Why an entry is not about the instruments at these places, where it nearly is.
fn near(entry: &Entry, feed: &Feed, places: &[usize], reused: &[bool]) -> Option<String> {
    places.iter().find_map(|&at| {
        let (instrument, identity) = (&feed.instruments[at], &feed.identities[at]);
        let (id, symbol) = (identity.id, &instrument.symbol);
        match (&entry.symbol, identity.naming) {
            (Some(called), Naming::Other) if called == symbol => Some(format!(
                "has the symbol {called:?}, which is a request's name and no venue's: its id counts, {id}"
            )),
            (Some(called), _) if entry.id == Some(id) => {
                Some(format!("calls number {id} {called:?}, the file {symbol:?}"))
            }
            (None, _) if entry.id == Some(id) && reused[at] => Some(format!(
                "has number {id}, which stands for several instruments here: it needs a symbol, or from and to"
            )),
            _ => None,
        }
    })
}

/// An entry that only lacks the tick size. Of names that are not the venue's, none would be looked at.
fn example(feed: &Feed, at: usize) -> String {
    let (instrument, identity) = (&feed.instruments[at], &feed.identities[at]);
    let mut text = format!("    [[instruments]]\n    id = {}", identity.id);
    if identity.naming == Naming::Other {
        text += &format!(" # {}", instrument.symbol);
    } else {
        text += &format!("\n    symbol = {}", toml::Value::String(instrument.symbol.clone()));
    }
    if feed.identities.iter().any(|other| other.id == identity.id && other.publisher != identity.publisher) {
        text += &format!("\n    publisher = {}", identity.publisher);
    }
    text + "\n    tick_size = \"?\""
}
