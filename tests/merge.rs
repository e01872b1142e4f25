//! Merging DBN files: order, whole events, ids, refusals; and the order of a feed.

mod common;

use std::path::{Path, PathBuf};

use common::{output, pillion, shared, stderr};
use pillion::data::merge::{Options, Plan};
use pillion::data::order::Order;
use pillion::data::{DbnWriter, Feed, FileInfo, Listed, load, order};
use pillion_shm::records::{MboMsg, RecordHeader, flags, rtype};
use proptest::prelude::*;
use tempfile::TempDir;

const LAST: u8 = flags::LAST;
const SNAPSHOT: u8 = flags::SNAPSHOT;

/// A record of an instrument: id, ts_event, flags; its order number tells it from others.
fn record(id: u32, ts_event: u64, flags: u8, order_id: u64) -> MboMsg {
    let hd = RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: 1, instrument_id: id, ts_event };
    let zero: MboMsg = bytemuck::Zeroable::zeroed();
    MboMsg { hd, flags, order_id, action: b'A', side: b'B', price: 1_000_000_000, size: 1, ..zero }
}

fn write(path: &Path, symbols: &[(&str, u32)], records: &[MboMsg]) -> PathBuf {
    let info = FileInfo {
        dataset: "TEST".to_owned(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: 0,
        end_ns: 1,
        instruments: symbols.iter().map(|(symbol, id)| Listed::named(*symbol, *id)).collect(),
    };
    let mut writer = DbnWriter::create(path, &info).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap();
    path.to_owned()
}

/// Symbols with their ids, and records.
type Contents<'a> = (&'a [(&'a str, u32)], &'a [(u32, u64, u8)]);

struct Files {
    folder: TempDir,
    inputs: Vec<PathBuf>,
}

impl Files {
    /// One file of each list, whose records are (id, ts_event, flags); orders are numbered 100 × file + record.
    fn new(files: &[Contents]) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let mut inputs = Vec::new();
        for (n, (symbols, records)) in files.iter().enumerate() {
            let numbered = records.iter().zip(1..).map(|(&(id, ts, f), i)| record(id, ts, f, 100 * n as u64 + i));
            inputs.push(write(&folder.path().join(format!("{n}.dbn")), symbols, &numbered.collect::<Vec<_>>()));
        }
        Files { folder, inputs }
    }

    fn merge(&self, options: Options) -> Result<Feed, pillion::Error> {
        let to = self.folder.path().join("out.dbn.zst");
        Plan::new(&self.inputs, options)?.write(&to, &Default::default())?;
        load(to)
    }
}

/// (instrument id, order number) of each record.
fn orders(feed: &Feed) -> Vec<(u32, u64)> {
    feed.iter().map(|r| ((r[0] >> 32) as u32, r[2])).collect()
}

fn symbols(feed: &Feed) -> Vec<(u32, &str)> {
    feed.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect()
}

#[test]
fn events_stay_whole_and_equal_times_keep_the_order_of_the_files() {
    let files = Files::new(&[
        (&[("A", 1)], &[(1, 10, 0), (1, 30, LAST), (1, 40, LAST)]),
        (&[("B", 2)], &[(2, 10, LAST), (2, 20, LAST), (2, 40, LAST)]),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    // An event is known at its end: that of 10 to 30 comes behind those of 10 and 20.
    assert_eq!(orders(&feed), [(2, 101), (2, 102), (1, 1), (1, 2), (1, 3), (2, 103)]);
    assert_eq!(
        (symbols(&feed), feed.dataset.as_str(), feed.schema.as_str()),
        (vec![(1, "A"), (2, "B")], "TEST", "mbo")
    );
}

#[test]
fn overlapping_events_of_one_file_are_one() {
    let files = Files::new(&[
        (&[("A", 1), ("B", 2)], &[(1, 10, 0), (2, 11, 0), (1, 12, LAST), (2, 13, LAST), (2, 50, LAST)]),
        (&[("C", 3)], &[(3, 11, LAST), (3, 14, LAST)]),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    assert_eq!(orders(&feed), [(3, 101), (1, 1), (2, 2), (1, 3), (2, 4), (3, 102), (2, 5)]);
}

/// One event that never ends, live or a snapshot's, leaves all others in the order of their times.
#[test]
fn an_event_that_never_ends_holds_up_no_other() {
    let names: &[(&str, u32)] = &[("A", 1), ("B", 2), ("Q", 9)];
    let events = |id, first: u64| (0..4).map(move |n| (id, first + 10 * n, LAST));
    for open in [0, SNAPSHOT] {
        let quiet: Vec<_> = [(9, 1, open), (9, 2, open)].into_iter().chain(events(1, 10)).collect();
        let joined: Vec<_> = quiet.iter().copied().chain(events(2, 25)).collect();
        let other: Vec<_> = events(2, 25).collect();
        let files = Files::new(&[(names, &quiet), (names, &other), (names, &joined)]);
        let expected = [9, 9, 1, 1, 2, 1, 2, 1, 2, 2];
        let sorted = order::sort(load(&files.inputs[2]).unwrap());
        assert_eq!(orders(&sorted).iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected, "sorted, {open}");
        Plan::new(&files.inputs[..2], Options::default())
            .unwrap()
            .write(&files.folder.path().join("out.dbn"), &Default::default())
            .unwrap();
        let merged = load(files.folder.path().join("out.dbn")).unwrap();
        assert_eq!(orders(&merged).iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected, "merged, {open}");
    }
}

/// An instrument without F_LAST, whose records never stop, holds up the others for some thousand events at most.
#[test]
fn an_instrument_without_ends_holds_up_no_other() {
    let names: &[(&str, u32)] = &[("A", 1), ("B", 2), ("C", 3)];
    let endless: Vec<_> = (0..9_000).flat_map(|n| [(1, 2 * n, 0), (2, 2 * n + 1, LAST)]).collect();
    let files = Files::new(&[(names, &endless), (names, &[(3, 9_000, LAST)])]);
    let feed = files.merge(Options::default()).unwrap();
    let place = orders(&feed).iter().position(|(id, _)| *id == 3).unwrap();
    assert!((8_000..9_500).contains(&place), "{place} of {}", feed.records);
}

#[test]
fn a_snapshot_comes_before_the_live_event_that_it_stands_before() {
    let files = Files::new(&[
        (&[("A", 1)], &[(1, 10, LAST), (1, 20, LAST), (1, 90, LAST)]),
        (
            &[("B", 2)],
            &[(2, 1, SNAPSHOT), (2, 99, SNAPSHOT | LAST), (2, 15, LAST), (2, 3, SNAPSHOT | LAST), (2, 80, LAST)],
        ),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    assert_eq!(orders(&feed).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [1, 101, 102, 103, 2, 104, 105, 3]);
    assert_eq!(order::check(&feed), Order::default());
}

#[test]
fn ids_that_clash_are_refused_or_renumbered() {
    let clash = Files::new(&[
        (&[("A", 1), ("B", 7)], &[(1, 10, LAST), (7, 11, LAST)]),
        (&[("B", 1), ("C", 9)], &[(1, 12, LAST), (9, 13, LAST)]),
    ]);
    let text = clash.merge(Options::default()).unwrap_err().to_string();
    assert!(
        text.contains("1.dbn") && text.contains("instrument id 1 is B of TEST") && text.contains("it is A"),
        "{text}"
    );
    let feed = clash.merge(Options { renumber: true, ..Options::default() }).unwrap();
    assert_eq!(orders(&feed), [(1, 1), (2, 2), (2, 101), (3, 102)]);
    assert_eq!(symbols(&feed), [(1, "A"), (2, "B"), (3, "C")]);
}

#[test]
fn ids_of_one_symbol_in_one_file_stay_apart() {
    let files = Files::new(&[
        (&[("A", 1), ("A", 2)], &[(1, 10, LAST), (2, 11, LAST)]),
        (&[("A", 7), ("B", 8)], &[(7, 12, LAST), (8, 13, LAST)]),
    ]);
    let feed = files.merge(Options { renumber: true, ..Options::default() }).unwrap();
    assert_eq!(orders(&feed), [(1, 1), (2, 2), (1, 101), (3, 102)]);
    assert_eq!(symbols(&feed), [(1, "A"), (2, "A"), (3, "B")]);
}

#[test]
fn a_file_whose_events_never_end_is_refused() {
    let files = Files::new(&[(&[("A", 1)], &[(1, 10, 0), (1, 20, 0)]), (&[("B", 2)], &[(2, 15, LAST)])]);
    let error = files.merge(Options::default()).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code, 2);
    assert!(text.contains("0.dbn") && text.contains("no record has F_LAST: its events do not end"), "{text}");
    // A file without records has no event to end.
    let files = Files::new(&[(&[("A", 1)], &[]), (&[("B", 2)], &[(2, 15, LAST)])]);
    assert_eq!(files.merge(Options::default()).unwrap().records, 1);
}

#[test]
fn files_out_of_order_are_refused_or_sorted() {
    let names: &[(&str, u32)] = &[("A", 1), ("B", 2)];
    let files = Files::new(&[
        (names, &[(1, 5, LAST), (1, 30, 0), (1, 31, LAST), (2, 20, LAST), (2, 10, LAST), (1, 40, LAST)]),
        (&[("C", 3)], &[(3, 25, LAST)]),
    ]);
    let error = files.merge(Options::default()).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code, 2);
    assert!(
        text.contains("0.dbn") && text.contains("record 4 is of 20 ns, the event before it of 31 ns (1 such"),
        "{text}"
    );
    assert!(text.contains("latest ts_event") && text.contains("--sort"), "{text}");
    let feed = files.merge(Options { sort: true, ..Options::default() }).unwrap();
    // B's event of 10 stays behind its own of 20.
    assert_eq!(orders(&feed).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [1, 4, 5, 101, 2, 3, 6]);
}

/// Databento's ts_event may step back within an instrument: what is first there is first.
#[test]
fn a_cancel_stays_behind_its_add() {
    let folder = tempfile::tempdir().unwrap();
    let order = |ts, id, action, price: i64, size, sequence| MboMsg {
        action,
        price: price * 100_000_000,
        size,
        sequence,
        ..record(1, ts, LAST, id)
    };
    let own = [
        order(1_000, 1, b'A', 1_000, 5, 1),
        order(9_000, 3, b'A', 1_005, 4, 2),
        order(8_000, 3, b'C', 1_005, 4, 3), // 1 us before its add
    ];
    let other = [record(2, 500, LAST, 7), record(2, 8_500, LAST, 8), record(2, 9_500, LAST, 9)];
    let back = write(&folder.path().join("back.dbn"), &[("A", 1)], &own);
    let plain = write(&folder.path().join("other.dbn"), &[("B", 2)], &other);
    let both = write(&folder.path().join("both.dbn"), &[("A", 1), ("B", 2)], &[&own[..], &other].concat());
    let to = folder.path().join("merged.dbn");
    let merged = |args: &[&Path]| {
        let done = output(pillion().arg("merge").args(args).arg("-o").arg(&to));
        assert!(done.status.success(), "{}", stderr(&done));
        (orders(&load(&to).unwrap()), stderr(&done))
    };
    let expected = vec![(2, 7), (1, 1), (2, 8), (1, 3), (1, 3), (2, 9)];
    let (have, said) = merged(&[&back, &plain]);
    assert_eq!(have, expected);
    assert!(said.contains("1 events are of an earlier ts_event than one before them of their instrument"), "{said}");
    assert_eq!(merged(&[&back, &plain, Path::new("--sort")]).0, expected);
    assert_eq!(orders(&order::sort(load(&both).unwrap())), expected);
    let rows = output(pillion().arg("book").arg(&to).args(["--levels", "1"]));
    let rows = common::stdout(&rows);
    let last = rows.lines().rfind(|row| row.split(',').nth(2) == Some("1")).unwrap();
    assert_eq!(last, "8000,1,1,A,3,4,100000000000,5,1,,,", "the cancel has taken its add off");
}

/// Two venues under one number are two instruments: neither waits for the other's time.
#[test]
fn publishers_are_ordered_each_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let from = |publisher_id, ts, order_id| {
        let record = record(1, ts, LAST, order_id);
        MboMsg { hd: RecordHeader { publisher_id, ..record.hd }, ..record }
    };
    let records = [from(41, 50, 1), from(42, 10, 2), from(41, 40, 3), from(42, 30, 4)];
    let path = write(&folder.path().join("venues.dbn"), &[("A", 1)], &records);
    let feed = load(path).unwrap();
    let order = order::check(&feed);
    assert_eq!((order.between.count, order.between.record, order.within.count, order.within.record), (2, 2, 1, 3));
    assert_eq!(orders(&order::sort(feed)).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [2, 4, 1, 3]);
}

/// A snapshot's own times are old, and it is known only when it comes: never before what its instrument has shown.
#[test]
fn a_snapshot_in_the_middle_is_never_early() {
    let files = Files::new(&[
        (&[("A", 1)], &[(1, 10, LAST), (1, 3, SNAPSHOT | LAST), (1, 1_005, LAST)]),
        (&[("B", 2)], &[(2, 20, LAST), (2, 1_000, LAST)]),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    assert_eq!(orders(&feed).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [1, 101, 102, 2, 3]);
}

/// A file twice, or two that overlap in time, would count every fact twice; files that were cut by time or by schema do not.
#[test]
fn what_two_files_tell_is_refused() {
    let names: &[(&str, u32)] = &[("A", 1)];
    let day = |from: u64| [(1, from, LAST), (1, from + 5, LAST), (1, from + 9, LAST)];
    let (first, second, between) = (day(10), day(19), day(15));
    let start = [(1, 2, SNAPSHOT), (1, 12, SNAPSHOT | LAST)];
    let second = [&start[..], &second].concat();
    let merged = |a: &[(u32, u64, u8)], b: &[(u32, u64, u8)]| {
        Files::new(&[(names, a), (names, b)]).merge(Options::default()).map(|feed| feed.records)
    };
    for (a, b) in [(&first, &first), (&first, &between), (&between, &first)] {
        let error = merged(a, b).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code, 2);
        assert!(text.contains("1.dbn: its records of A (id 1, publisher 1)") && text.contains("count twice"), "{text}");
    }
    let one = [(1, 10, LAST)];
    assert!(merged(&one, &one).unwrap_err().to_string().contains("count twice"));
    assert_eq!(merged(&first, &second).unwrap(), 8, "one begins where the other ends, with a snapshot of before");
    assert_eq!(merged(&second, &first).unwrap(), 8);
    // Two instruments that renumbering gives one id are told apart by time too.
    let files = Files::new(&[(names, &first), (&[("A", 7)], &[(7, 12, LAST)])]);
    let error = files.merge(Options { renumber: true, ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("count twice"), "{error}");
}

#[test]
fn what_is_not_whole_is_refused_and_nothing_is_left() {
    let files = Files::new(&[(&[("A", 1)], &[(1, 5, LAST)]), (&[("B", 2)], &[(2, 25, LAST)])]);
    let to = files.folder.path().join("out.dbn");
    let run = |a: &Path, b: &Path, to: &Path| {
        let done = output(pillion().arg("merge").args([a, b]).arg("-o").arg(to));
        (done.status.code(), stderr(&done))
    };
    let bytes = std::fs::read(&files.inputs[1]).unwrap();
    let cut = files.folder.path().join("cut.dbn");
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    let empty = files.folder.path().join("empty.dbn");
    std::fs::write(&empty, b"").unwrap();
    let good = &files.inputs[0];
    for (input, told) in [
        (cut.as_path(), "in the middle of a record"),
        (&empty, "the file is empty"),
        (&files.folder.path().join("none.dbn"), "cannot be opened"),
        (files.folder.path(), "0 records before that are good"),
    ] {
        let (code, text) = run(good, input, &to);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(told) && text.contains("mend:") && !to.exists(), "{text}");
    }
    assert!(run(good, &files.inputs[1], files.folder.path()).1.contains("is a directory"));
    let (code, text) = run(good, &files.inputs[1], &to);
    assert_eq!((code, load(&to).unwrap().records), (Some(0), 2), "{text}");
}

#[test]
fn real_files_merge_with_all_their_records() {
    let Some(es) = shared("dbn-es/es-20240508.mbo.dbn.zst") else { return };
    let files = Files::new(&[(&[("A", 1)], &[(1, 5, LAST), (1, u64::MAX - 1, LAST)])]);
    let original = load(&es).unwrap();
    let inputs = vec![es, files.inputs[0].clone()];
    let to = files.folder.path().join("out.dbn");
    let plan =
        Plan::new(&inputs, Options { sort: order::check(&original).between.count > 0, ..Options::default() }).unwrap();
    plan.write(&to, &Default::default()).unwrap();
    let merged = load(&to).unwrap();
    assert_eq!((merged.records, merged.instruments.len()), (original.records + 2, original.instruments.len() + 1));
    assert_eq!(order::check(&merged).between.count, 0);
}

fn any_records() -> impl Strategy<Value = Vec<(u32, u64, u8)>> {
    let flags = prop_oneof![6 => Just(LAST), 2 => Just(0), 1 => Just(SNAPSHOT | LAST), 1 => Just(SNAPSHOT)];
    let records = prop::collection::vec((1u32..4, 1u64..30, flags), 1..40);
    // A file in which no event ends is refused.
    records.prop_filter("an event ends", |records| records.iter().any(|(.., flags)| flags & LAST != 0))
}

/// An event, read the slow way: its records' places in the list, its instruments, and its time unless that is unknown.
struct Event {
    records: Vec<usize>,
    time: Option<u64>,
}

/// An event begins where none is open, and is live unless that record is a snapshot's. A snapshot
/// that is open ends before news. What else is open ends before another instrument's record where each has been passed:
/// behind its last record an event has begun, and ended at a later time. Also says whether every event has an end.
fn naive_events(records: &[(u32, u64, u8)]) -> (Vec<Event>, bool) {
    // Instrument → first and last record and latest time of the event that has not ended.
    let (mut open, mut events) = (std::collections::BTreeMap::<u32, (usize, usize, u64)>::new(), Vec::<Event>::new());
    // (first record, time) of every event that has ended.
    let mut ended = Vec::<(usize, u64)>::new();
    let mut all_end = true;
    for (at, &(id, ts, flags)) in records.iter().enumerate() {
        let passed = |last: usize, latest: u64| ended.iter().any(|&(begun, time)| begun > last && time > latest);
        let news = events.last().is_some_and(|event| event.time.is_none()) && flags & SNAPSHOT == 0;
        let over = || open.values().all(|&(_, last, latest)| passed(last, latest));
        if news || !open.contains_key(&id) && over() {
            all_end &= open.is_empty();
            open.clear();
        }
        if open.is_empty() {
            events.push(Event { records: vec![], time: (flags & SNAPSHOT == 0).then_some(0) });
        }
        let event = events.last_mut().unwrap();
        event.records.push(at);
        event.time = event.time.map(|time| time.max(ts));
        let (begun, _, latest) = open.remove(&id).unwrap_or((at, at, 0));
        if flags & LAST != 0 {
            ended.push((begun, latest.max(ts)));
        } else {
            open.insert(id, (begun, at, latest.max(ts)));
        }
    }
    (events, all_end && open.is_empty())
}

fn holds(records: &[(u32, u64, u8)], event: &Event, id: u32) -> bool {
    event.records.iter().any(|&at| records[at].0 == id)
}

/// An event's time; where that is unknown, that of the next event of an instrument of its.
fn naive_time(records: &[(u32, u64, u8)], events: &[Event], n: usize) -> Option<u64> {
    let next = |id| (n + 1..events.len()).find(|&later| holds(records, &events[later], id));
    let ids = (1..4).filter(|&id| holds(records, &events[n], id));
    events[n].time.or_else(|| ids.filter_map(next).filter_map(|later| naive_time(records, events, later)).min())
}

/// Each event's place by the rule: no earlier than its time, nor than any earlier event that shares an instrument with it.
fn naive_places(records: &[(u32, u64, u8)], events: &[Event]) -> Vec<u64> {
    let mut places = Vec::<u64>::new();
    for (n, event) in events.iter().enumerate() {
        let shares =
            |before: &usize| (1..4).any(|id| holds(records, event, id) && holds(records, &events[*before], id));
        let shared = (0..n).filter(shares).map(|before| places[before]).max().unwrap_or(0);
        places.push(naive_time(records, events, n).unwrap_or(0).max(shared));
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_sorted_feed_interleaves_instruments_and_no_more(records in any_records()) {
        let files = Files::new(&[(&[("A", 1), ("B", 2), ("C", 3)], &records)]);
        let feed = load(&files.inputs[0]).unwrap();
        let (events, all_end) = naive_events(&records);
        let places = naive_places(&records, &events);
        let live: Vec<u64> = (0..events.len()).filter(|&n| events[n].time.is_some()).map(|n| places[n]).collect();
        let order = order::check(&feed);
        prop_assert_eq!(order.between.count, live.windows(2).filter(|w| w[1] < w[0]).count() as u64);
        let back = (0..events.len()).filter(|&n| events[n].time.is_some_and(|time| time < places[n]));
        prop_assert_eq!(order.within.count, back.count() as u64);
        let mut turns: Vec<usize> = (0..events.len()).collect();
        turns.sort_by_key(|&n| places[n]);
        let expected: Vec<u64> = turns.iter().flat_map(|&n| &events[n].records).map(|&at| at as u64 + 1).collect();
        let before = orders(&feed);
        let sorted = order::sort(feed);
        let after = orders(&sorted);
        prop_assert_eq!(after.iter().map(|(_, order)| *order).collect::<Vec<_>>(), expected);
        for id in 1..4 {
            let own = |list: &[(u32, u64)]| list.iter().copied().filter(|(other, _)| *other == id).collect::<Vec<_>>();
            prop_assert_eq!(own(&after), own(&before), "instrument {} keeps its order", id);
        }
        prop_assert_eq!(order::check(&sorted).between.count, 0);
        let again = orders(&order::sort(sorted));
        prop_assert!(!all_end || again == after, "sorting again changes nothing where events end");
    }

    #[test]
    fn a_merge_has_every_record_in_its_files_order(a in any_records(), b in any_records()) {
        let names: &[(&str, u32)] = &[("A", 1), ("B", 2), ("C", 3)];
        let others: Vec<_> = b.iter().map(|&(id, ts, flags)| (id + 3, ts, flags)).collect();
        let files = Files::new(&[(names, &a), (&[("D", 4), ("E", 5), ("F", 6)], &others)]);
        let own_order = |path: &PathBuf| {
            let feed = load(path).unwrap();
            orders(&if order::check(&feed).between.count > 0 { order::sort(feed) } else { feed })
        };
        let expected: Vec<_> = files.inputs.iter().map(own_order).collect();
        let merged = files.merge(Options { sort: true, ..Options::default() }).unwrap();
        for (n, expected) in expected.iter().enumerate() {
            let own: Vec<_> = orders(&merged).into_iter().filter(|(_, order)| order / 100 == n as u64).collect();
            prop_assert_eq!(&own, expected);
        }
        prop_assert_eq!(merged.records as usize, a.len() + b.len());
    }
}
