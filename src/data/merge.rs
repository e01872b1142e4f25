//! Several DBN files → one stream of all their instruments, by event time.
//!
//! Files are ordered by ts_event, since that is the time that features see; of equal times the file named first comes
//! first. What is taken from a file at a time is a whole event (see [`super::order`]), so that no record of another
//! file comes between its records; and an event counts as of its instrument's latest ts_event so far, so that the
//! events of an instrument keep the order of their file. A snapshot comes right before the live event that it stands
//! before in its file. Each file is read twice, first for its symbols and its order; nothing is held but one event of
//! each, unless a file's instruments must be sorted.

mod twice;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dbn::Schema;

use super::contents::BookSchema;
use super::definition::Listed;
use super::facts::{self, Facts};
use super::feed::{instrument, own_ids};
use super::identity::Identity;
use super::instrument::TickSize;
use super::load;
use super::order::{self, Order, Watch};
use super::stream::Stream;
use super::writer::{DbnWriter, FileInfo};
use crate::hot::decode::Instrument;
use crate::{Error, Result};

/// Longest event in words: 8 MiB. A file without F_LAST would be one event.
const MAX_EVENT_WORDS: usize = 1 << 20;

/// The mend for a number that stands for several instruments.
const MEND_RENUMBER: &str = "let --renumber give every instrument an id of its own";

/// How files are merged.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Number the instruments 1, 2 ... by dataset and symbol, in the order of the files.
    pub renumber: bool,
    /// Interleave the instruments of files that are out of order, each file whole in memory.
    pub sort: bool,
    /// What is stated of the instruments, beside the files' own definitions.
    pub facts: Facts,
}

/// What a file is, seen from its first reading.
#[derive(Clone, Debug)]
struct Survey {
    path: PathBuf,
    dataset: String,
    schema: Option<Schema>,
    /// Every instrument that has records, in the order of their first ones, under a number of its own; and what it is.
    instruments: Vec<Instrument>,
    identities: Vec<Identity>,
    /// Book schemas of each.
    schemas: Vec<BTreeSet<BookSchema>>,
    /// Capture times of the first and the last record outside snapshots of each, by kind of its records.
    lives: Vec<twice::Lives>,
    records: u64,
    skipped: u64,
    times_ns: Option<(u64, u64)>,
    /// Places of the runs of events of unknown time, see [`Watch::runs_ns`].
    runs_ns: Vec<u64>,
    order: Order,
}

/// Files that can be merged.
#[derive(Debug)]
pub struct Plan {
    files: Vec<Survey>,
    /// For each file, the output's id of each of its instruments.
    ids: Vec<Vec<u32>>,
    listed: Vec<Listed>,
}

impl Plan {
    /// Reads every file once.
    ///
    /// # Errors
    /// When a file cannot be read whole, has no event that ends, is out of order and not to be sorted; when an instrument id
    /// stands for different instruments and is not to be renumbered; and when two statements of an instrument's tick size or
    /// size unit contradict each other.
    pub fn new(inputs: &[PathBuf], options: Options) -> Result<Plan> {
        let mut files = inputs.iter().map(|path| Survey::read(path)).collect::<Result<Vec<_>>>()?;
        for file in &mut files {
            facts::steady(&file.path, &file.instruments, &file.identities, |_| true)?;
            options.facts.lay_on(&mut file.instruments, &mut file.identities)?;
        }
        if let Some(file) = files.iter().find(|file| file.order.between.count > 0 && !options.sort) {
            let at = file.order.between;
            let problem = format!(
                "its instruments are not in the order of their latest ts_event: the event at record {} is of {} ns, the \
                 event before it of {} ns ({} such events)",
                at.record, at.after_ns, at.before_ns, at.count
            );
            return Err(Error::input(
                file.path.display(),
                problem,
                "let --sort interleave them (each keeps the order of its own events): that takes the file's memory twice",
            ));
        }
        let (ids, listed) = if options.renumber { renumbered(&files)? } else { kept(&files)? };
        twice::refuse(&files, &ids)?;
        Ok(Plan { files, ids, listed })
    }

    /// Records that the output will have.
    pub fn records(&self) -> u64 {
        self.files.iter().map(|file| file.records).sum()
    }

    /// Records of other types, which are left out.
    pub fn skipped(&self) -> u64 {
        self.files.iter().map(|file| file.skipped).sum()
    }

    /// The instruments of the output.
    pub fn instruments(&self) -> &[Listed] {
        &self.listed
    }

    /// How many files will be sorted in memory.
    pub fn sorted(&self) -> usize {
        self.files.iter().filter(|file| file.order.between.count > 0).count()
    }

    /// Events whose ts_event is before an earlier one's of their instrument; they keep their place behind it.
    pub fn within(&self) -> u64 {
        self.files.iter().map(|file| file.order.within.count).sum()
    }

    /// The first instrument that the output will have in several book schemas, and their names.
    pub fn mixed(&self) -> Option<String> {
        let mut all: BTreeMap<order::Instrument, BTreeSet<BookSchema>> = BTreeMap::new();
        for (file, ids) in self.files.iter().zip(&self.ids) {
            for ((identity, &id), schemas) in file.identities.iter().zip(ids).zip(&file.schemas) {
                all.entry((identity.publisher, id)).or_default().extend(schemas);
            }
        }
        let ((publisher, id), schemas) = all.into_iter().find(|(_, schemas)| schemas.len() > 1)?;
        let names: Vec<_> = schemas.into_iter().map(BookSchema::name).collect();
        Some(format!("instrument {id} of publisher {publisher} comes as {}", names.join(" and ")))
    }

    /// Writes the merged file. `done` grows by the records written.
    ///
    /// # Errors
    /// When a file cannot be read again, has an event longer than 8 MiB, or the output cannot be written.
    pub fn write(&self, output: &Path, done: &AtomicU64) -> Result<()> {
        let mut writer = DbnWriter::create(output, &self.info())?;
        let heads = self.files.iter().zip(&self.ids).map(|(file, ids)| Head::open(file, ids));
        let mut heads = heads.collect::<Result<Vec<_>>>()?;
        let mut next = BinaryHeap::new();
        for (file, head) in heads.iter_mut().enumerate() {
            next.extend(head.advance()?.map(|time_ns| Reverse((time_ns, file))));
        }
        while let Some(Reverse((_, file))) = next.pop() {
            heads[file].write(&mut writer)?;
            done.store(writer.records(), Ordering::Relaxed);
            next.extend(heads[file].advance()?.map(|time_ns| Reverse((time_ns, file))));
        }
        writer.finish()
    }

    fn info(&self) -> FileInfo {
        let same = |f: &dyn Fn(&Survey, &Survey) -> bool| self.files.windows(2).all(|pair| f(&pair[0], &pair[1]));
        let dataset = match same(&|a, b| a.dataset == b.dataset) {
            true => self.files.first().map_or(String::new(), |file| file.dataset.clone()),
            false => "MIXED".to_owned(),
        };
        let schema = self.files.first().and_then(|file| file.schema).filter(|_| same(&|a, b| a.schema == b.schema));
        let times = || self.files.iter().filter_map(|file| file.times_ns);
        FileInfo {
            dataset,
            schema,
            start_ns: times().map(|(first, _)| first).min().unwrap_or(0),
            end_ns: times().map(|(_, last)| last).max().unwrap_or(0).saturating_add(1),
            instruments: self.listed.clone(),
        }
    }
}

impl Survey {
    fn read(path: &Path) -> Result<Survey> {
        let mut stream = Stream::open(path)?;
        let (mut watch, mut words, mut records) = (Watch::default(), Vec::new(), 0);
        let mut times_ns: Option<(u64, u64)> = None;
        let mut schemas: Vec<BTreeSet<BookSchema>> = Vec::new();
        let mut lives: Vec<twice::Lives> = Vec::new();
        while let Some(whose) = stream.next(&mut words)? {
            watch.record(&words);
            records += 1;
            schemas.resize_with(schemas.len().max(whose + 1), BTreeSet::new);
            schemas[whose].extend(BookSchema::of(&words));
            lives.resize_with(schemas.len(), BTreeMap::new);
            twice::note(&mut lives[whose], &words);
            let (first, last) = times_ns.unwrap_or((words[1], words[1]));
            times_ns = Some((first.min(words[1]), last.max(words[1])));
            words.clear();
        }
        watch.close();
        if records > 0 && !watch.ended {
            let problem = "no record has F_LAST: its events do not end";
            return Err(Error::input(path.display(), problem, "give files whose events end"));
        }
        let identities = stream.identities().to_vec();
        let ids = own_ids(&identities);
        Ok(Survey {
            path: path.to_owned(),
            dataset: stream.dataset().to_owned(),
            schema: stream.schema(),
            instruments: identities.iter().zip(ids).map(|(identity, id)| instrument(identity, id)).collect(),
            identities,
            schemas,
            lives,
            records,
            skipped: stream.skipped(),
            times_ns,
            runs_ns: watch.runs_ns,
            order: watch.order,
        })
    }
}

type Numbering = (Vec<Vec<u32>>, Vec<Listed>);

impl Survey {
    /// Its instruments with what they are.
    fn each(&self) -> impl Iterator<Item = (&Instrument, &Identity)> {
        self.instruments.iter().zip(&self.identities)
    }
}

/// Ids as they are.
fn kept(files: &[Survey]) -> Result<Numbering> {
    let mut known: BTreeMap<u32, (&Survey, &str)> = BTreeMap::new();
    let mut listed = Vec::new();
    for file in files {
        for (instrument, identity) in file.each() {
            let (id, symbol) = (identity.id, instrument.symbol.as_str());
            let (other, before) = *known.entry(id).or_insert((file, symbol));
            if before != symbol || other.dataset != file.dataset {
                let problem = format!(
                    "instrument id {id} is {symbol} of {}, but in {} it is {before} of {}",
                    file.dataset,
                    other.path.display(),
                    other.dataset
                );
                return Err(Error::input(file.path.display(), problem, MEND_RENUMBER));
            }
            if identity.era > 0 {
                let whose = facts::name(instrument, identity);
                let problem =
                    format!("its number {id} stands for several instruments, one after the other, the last is {whose}");
                return Err(Error::input(file.path.display(), problem, MEND_RENUMBER));
            }
            list(&mut listed, file, instrument, identity, id)?;
        }
    }
    let ids = files.iter().map(|file| file.identities.iter().map(|identity| identity.id).collect()).collect();
    Ok((ids, listed))
}

/// Ids from 1, the same for the same symbol of the same dataset, but never for two numbers of one file.
fn renumbered(files: &[Survey]) -> Result<Numbering> {
    let mut known: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut listed: Vec<Listed> = Vec::new();
    let mut ids = Vec::new();
    let mut last = 0;
    for file in files {
        // By the file's own numbers: publishers that share one keep sharing it.
        let mut own: BTreeMap<u32, u32> = BTreeMap::new();
        for (instrument, _) in in_order(file) {
            if own.contains_key(&instrument.id) {
                continue;
            }
            let number = *known.entry((&file.dataset, &instrument.symbol)).or_insert(last + 1);
            // A file may use several ids for one symbol; they stay apart.
            let number = if own.values().any(|&used| used == number) { last + 1 } else { number };
            last = last.max(number);
            own.insert(instrument.id, number);
        }
        for (instrument, identity) in in_order(file) {
            list(&mut listed, file, instrument, identity, own[&instrument.id])?;
        }
        ids.push(file.instruments.iter().map(|instrument| own[&instrument.id]).collect());
    }
    Ok((ids, listed))
}

/// A file's instruments in the order of their numbers.
fn in_order(file: &Survey) -> Vec<(&Instrument, &Identity)> {
    let mut all: Vec<_> = file.each().collect();
    all.sort_by_key(|(_, identity)| (identity.id, identity.era, identity.publisher));
    all
}

/// Adds an instrument to the output's list under its number there; one that is listed already must be stated alike.
fn list(listed: &mut Vec<Listed>, file: &Survey, instrument: &Instrument, identity: &Identity, id: u32) -> Result<()> {
    let new = Instrument { id, ..instrument.clone() };
    let known = listed.iter_mut().find(|l| l.instrument.id == id && l.instrument.publisher == new.publisher);
    let Some(known) = known else {
        listed.push(identity.listed(new));
        return Ok(());
    };
    // The levels of the shallowest file: deeper ones would be believed of all.
    known.depth = [known.depth, identity.definition.depth].into_iter().flatten().min();
    known.guessed |= identity.definition.guessed;
    let before = &known.instrument;
    let sized = |i: &Instrument| i.tick_size != 0 || i.size_unit != 1.0;
    let differ = sized(&new) && sized(before) && new.size_unit != before.size_unit;
    if (new.tick_size == 0 || before.tick_size == 0) && !differ {
        known.instrument = if before.tick_size == 0 { new } else { before.clone() };
        return Ok(());
    }
    if (new.tick_size, new.size_unit) != (before.tick_size, before.size_unit) {
        let said = |i: &Instrument| format!("tick size {}, size unit {}", TickSize(i.tick_size).text(), i.size_unit);
        let problem = format!("{}: {}, in a file before it {}", new.symbol, said(&new), said(before));
        return Err(Error::input(
            file.path.display(),
            problem,
            "convert the one that is wrong again, with --instruments",
        ));
    }
    Ok(())
}

/// Where a file's records come from.
enum Records {
    File(Box<Stream>),
    /// With the output's id of each of the loaded file's publishers and numbers.
    Sorted {
        words: Vec<u64>,
        at: usize,
        ids: BTreeMap<(u16, u32), u32>,
    },
}

/// A file being merged, with its next event.
struct Head<'a> {
    file: &'a Survey,
    /// The output's id of each instrument.
    ids: &'a [u32],
    records: Records,
    watch: Watch,
    event: Vec<u64>,
    /// The record behind the event, where that was over without an end; and the output's id of it.
    ahead: Option<(Vec<u64>, u32)>,
    runs_ns: Vec<u64>,
}

impl<'a> Head<'a> {
    fn open(file: &'a Survey, ids: &'a [u32]) -> Result<Head<'a>> {
        if file.order.between.count == 0 {
            let records = Records::File(Box::new(Stream::open(&file.path)?));
            let (watch, runs_ns) = (Watch::default(), file.runs_ns.clone());
            return Ok(Head { file, ids, records, watch, event: Vec::new(), ahead: None, runs_ns });
        }
        let sorted = order::sort(load(&file.path)?);
        let mut watch = Watch::default();
        sorted.iter().for_each(|record| {
            watch.record(record);
        });
        watch.close();
        let number = |identity: &Identity| {
            let same =
                |own: &Identity| (own.id, own.era, own.publisher) == (identity.id, identity.era, identity.publisher);
            file.identities.iter().position(same).map_or(identity.id, |at| ids[at])
        };
        let own = sorted.instruments.iter().zip(&sorted.identities);
        let own_ids = own.map(|(i, identity)| ((identity.publisher, i.id), number(identity))).collect();
        let records = Records::Sorted { words: sorted.words, at: 0, ids: own_ids };
        let (runs_ns, watch) = (watch.runs_ns, Watch::default());
        Ok(Head { file, ids, records, watch, event: Vec::new(), ahead: None, runs_ns })
    }

    /// Reads the next event and returns its place in time; `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>> {
        self.event.clear();
        loop {
            let start = self.event.len();
            let id = self.read()?;
            // The run of unknown times that the event is of, if it is of one.
            let run = self.watch.runs_ns.len();
            let more = id.is_some();
            let ended = match id {
                Some(id) if start > 0 && self.watch.cut(&self.event[start..]) => {
                    self.ahead = Some((self.event.split_off(start), id));
                    true
                }
                Some(id) => {
                    let ended = self.watch.record(&self.event[start..]);
                    self.event[start] = self.event[start] & 0xFFFF_FFFF | u64::from(id) << 32;
                    ended
                }
                None => self.watch.close(),
            };
            if self.event.len() > MAX_EVENT_WORDS {
                let problem =
                    format!("has an event longer than {} bytes: no record with F_LAST ends it", MAX_EVENT_WORDS * 8);
                return Err(Error::input(self.file.path.display(), problem, "give files whose events end"));
            }
            if ended || !more {
                let run_ns = || self.runs_ns.get(run).copied();
                return Ok(ended.then(|| self.watch.place_ns().or_else(run_ns).unwrap_or(0)));
            }
        }
    }

    /// Appends the next record to the event and returns the output's id of its instrument; `None` at the end.
    fn read(&mut self) -> Result<Option<u32>> {
        if let Some((record, id)) = self.ahead.take() {
            self.event.extend(record);
            return Ok(Some(id));
        }
        let start = self.event.len();
        Ok(match &mut self.records {
            Records::File(stream) => stream.next(&mut self.event)?.map(|whose| self.ids[whose]),
            Records::Sorted { words, at, ids } => {
                let length = words.get(*at).map_or(0, |first| (first & 0xFF) as usize / 2);
                self.event.extend_from_slice(&words[*at..*at + length]);
                *at += length;
                self.event.get(start).map(|first| {
                    let own = ((first >> 16) as u16, (first >> 32) as u32);
                    ids.get(&own).copied().unwrap_or(own.1)
                })
            }
        })
    }

    fn write(&mut self, writer: &mut DbnWriter) -> Result<()> {
        let mut rest = &self.event[..];
        while let Some(first) = rest.first() {
            let (record, behind) = rest.split_at((*first & 0xFF) as usize / 2);
            writer.write_words(record)?;
            rest = behind;
        }
        Ok(())
    }
}
