//! Several DBN files → one stream of all their instruments, by event time.
//!
//! Files are ordered by ts_event, since that is the time that features see; of equal times the file named first comes
//! first. What is taken from a file at a time is a whole event (see [`super::order`]), so that no record of another
//! file comes between its records; and an event counts as of its instrument's latest ts_event so far, so that the
//! events of an instrument keep the order of their file. A snapshot comes right before the live event that it stands
//! before in its file. Each file is read twice, first for its symbols and its order; nothing is held but one event of
//! each, unless a file's instruments must be sorted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dbn::Schema;

use super::contents::BookSchema;
use super::load;
use super::order::{self, Instrument, Order, Watch};
use super::stream::Stream;
use super::writer::{DbnWriter, FileInfo};
use crate::{Error, Result};

/// Longest event in words: 8 MiB. A file without F_LAST would be one event.
const MAX_EVENT_WORDS: usize = 1 << 20;

/// How files are merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Number the instruments 1, 2 ... by dataset and symbol, in the order of the files.
    pub renumber: bool,
    /// Interleave the instruments of files that are out of order, each file whole in memory.
    pub sort: bool,
}

/// What a file is, seen from its first reading.
#[derive(Clone, Debug)]
struct Survey {
    path: PathBuf,
    dataset: String,
    schema: Option<Schema>,
    /// Symbol of each instrument that has records, by id.
    symbols: BTreeMap<u32, String>,
    schemas: BTreeMap<Instrument, BTreeSet<BookSchema>>,
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
    ids: Vec<BTreeMap<u32, u32>>,
    symbols: Vec<(String, u32)>,
}

impl Plan {
    /// Reads every file once.
    ///
    /// # Errors
    /// When a file cannot be read whole, has no event that ends, is out of order and not to be sorted, or when two
    /// files use an instrument id for different symbols and are not to be renumbered.
    pub fn new(inputs: &[PathBuf], options: Options) -> Result<Plan> {
        let files = inputs.iter().map(|path| Survey::read(path)).collect::<Result<Vec<_>>>()?;
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
        let (ids, symbols) = if options.renumber { renumbered(&files) } else { kept(&files)? };
        Ok(Plan { files, ids, symbols })
    }

    /// Records that the output will have.
    pub fn records(&self) -> u64 {
        self.files.iter().map(|file| file.records).sum()
    }

    /// Records of other types, which are left out.
    pub fn skipped(&self) -> u64 {
        self.files.iter().map(|file| file.skipped).sum()
    }

    /// Symbol and id of each instrument of the output.
    pub fn symbols(&self) -> &[(String, u32)] {
        &self.symbols
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
        let mut all: BTreeMap<Instrument, BTreeSet<BookSchema>> = BTreeMap::new();
        for (file, ids) in self.files.iter().zip(&self.ids) {
            for (&(publisher, id), schemas) in &file.schemas {
                let id = ids.get(&id).copied().unwrap_or(id);
                all.entry((publisher, id)).or_default().extend(schemas);
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
        let mut heads = self.files.iter().map(Head::open).collect::<Result<Vec<_>>>()?;
        let mut next = BinaryHeap::new();
        for (file, head) in heads.iter_mut().enumerate() {
            next.extend(head.advance()?.map(|time_ns| Reverse((time_ns, file))));
        }
        while let Some(Reverse((_, file))) = next.pop() {
            heads[file].write(&self.ids[file], &mut writer)?;
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
            symbols: self.symbols.clone(),
        }
    }
}

impl Survey {
    fn read(path: &Path) -> Result<Survey> {
        let mut stream = Stream::open(path)?;
        let (mut watch, mut words, mut records, mut ids) = (Watch::default(), Vec::new(), 0, BTreeSet::new());
        let mut times_ns: Option<(u64, u64)> = None;
        let mut schemas: BTreeMap<Instrument, BTreeSet<BookSchema>> = BTreeMap::new();
        while stream.next(&mut words)? {
            watch.record(&words);
            records += 1;
            ids.insert((words[0] >> 32) as u32);
            if let Some(schema) = BookSchema::of(&words) {
                schemas.entry(order::instrument(&words)).or_default().insert(schema);
            }
            let (first, last) = times_ns.unwrap_or((words[1], words[1]));
            times_ns = Some((first.min(words[1]), last.max(words[1])));
            words.clear();
        }
        watch.close();
        if records > 0 && !watch.ended {
            let problem = "no record has F_LAST: its events do not end";
            return Err(Error::input(path.display(), problem, "give files whose events end"));
        }
        let mut known = stream.symbols();
        Ok(Survey {
            path: path.to_owned(),
            dataset: stream.dataset().to_owned(),
            schema: stream.schema(),
            symbols: ids.into_iter().map(|id| (id, known.remove(&id).unwrap_or_else(|| id.to_string()))).collect(),
            schemas,
            records,
            skipped: stream.skipped(),
            times_ns,
            runs_ns: watch.runs_ns,
            order: watch.order,
        })
    }
}

type Numbering = (Vec<BTreeMap<u32, u32>>, Vec<(String, u32)>);

/// Ids as they are.
fn kept(files: &[Survey]) -> Result<Numbering> {
    let mut known: BTreeMap<u32, (&Survey, &str)> = BTreeMap::new();
    for file in files {
        for (&id, symbol) in &file.symbols {
            let (other, before) = *known.entry(id).or_insert((file, symbol));
            if before != symbol || other.dataset != file.dataset {
                let problem = format!(
                    "instrument id {id} is {symbol} of {}, but in {} it is {before} of {}",
                    file.dataset,
                    other.path.display(),
                    other.dataset
                );
                return Err(Error::input(
                    file.path.display(),
                    problem,
                    "let --renumber give every instrument an id of its own",
                ));
            }
        }
    }
    let ids = files.iter().map(|file| file.symbols.keys().map(|&id| (id, id)).collect()).collect();
    Ok((ids, known.into_iter().map(|(id, (_, symbol))| (symbol.to_owned(), id)).collect()))
}

/// Ids from 1, the same for the same symbol of the same dataset, but never twice in one file.
fn renumbered(files: &[Survey]) -> Numbering {
    let mut known: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut symbols: Vec<(String, u32)> = Vec::new();
    let mut ids = Vec::new();
    for file in files {
        let mut own = BTreeMap::new();
        for (&id, symbol) in &file.symbols {
            let new = symbols.len() as u32 + 1;
            let number = *known.entry((&file.dataset, symbol)).or_insert(new);
            // A file may use several ids for one symbol; they stay apart.
            let number = if own.values().any(|&used| used == number) { new } else { number };
            if number == new {
                symbols.push((symbol.clone(), new));
            }
            own.insert(id, number);
        }
        ids.push(own);
    }
    (ids, symbols)
}

/// Where a file's records come from.
enum Records {
    File(Box<Stream>),
    Sorted { words: Vec<u64>, at: usize },
}

/// A file being merged, with its next event.
struct Head<'a> {
    file: &'a Survey,
    records: Records,
    watch: Watch,
    event: Vec<u64>,
    runs_ns: Vec<u64>,
}

impl<'a> Head<'a> {
    fn open(file: &'a Survey) -> Result<Head<'a>> {
        if file.order.between.count == 0 {
            let records = Records::File(Box::new(Stream::open(&file.path)?));
            let (watch, runs_ns) = (Watch::default(), file.runs_ns.clone());
            return Ok(Head { file, records, watch, event: Vec::new(), runs_ns });
        }
        let sorted = order::sort(load(&file.path)?);
        let mut watch = Watch::default();
        sorted.iter().for_each(|record| {
            watch.record(record);
        });
        watch.close();
        let records = Records::Sorted { words: sorted.words, at: 0 };
        Ok(Head { file, records, watch: Watch::default(), event: Vec::new(), runs_ns: watch.runs_ns })
    }

    /// Reads the next event and returns its place in time; `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>> {
        self.event.clear();
        loop {
            let start = self.event.len();
            let more = match &mut self.records {
                Records::File(stream) => stream.next(&mut self.event)?,
                Records::Sorted { words, at } => {
                    let length = words.get(*at).map_or(0, |first| (first & 0xFF) as usize / 2);
                    self.event.extend_from_slice(&words[*at..*at + length]);
                    *at += length;
                    length > 0
                }
            };
            // The run of unknown times that the event is of, if it is of one.
            let run = self.watch.runs_ns.len();
            let ended = match more {
                true => self.watch.record(&self.event[start..]),
                false => self.watch.close(),
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

    fn write(&mut self, ids: &BTreeMap<u32, u32>, writer: &mut DbnWriter) -> Result<()> {
        let mut rest = &mut self.event[..];
        while let Some(first) = rest.first_mut() {
            let id = (*first >> 32) as u32;
            *first = *first & 0xFFFF_FFFF | u64::from(ids.get(&id).copied().unwrap_or(id)) << 32;
            let length = (*first & 0xFF) as usize / 2;
            let (record, behind) = rest.split_at_mut(length);
            writer.write_words(record)?;
            rest = behind;
        }
        Ok(())
    }
}
