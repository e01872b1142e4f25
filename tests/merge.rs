//! Merging DBN files: order, whole events, ids, refusals; and the order of a feed.

mod common;

use std::path::{Path, PathBuf};

use common::{output, pillion, shared, stderr};
use pillion::cold::data::merge::{Options, Plan};
use pillion::cold::data::{DbnWriter, Feed, FileInfo, Listed, load, order};
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
    assert_eq!(orders(&feed), [(1, 1), (1, 2), (2, 101), (2, 102), (1, 3), (2, 103)]);
    assert_eq!(
        (symbols(&feed), feed.dataset.as_str(), feed.schema.as_str()),
        (vec![(1, "A"), (2, "B")], "TEST", "mbo")
    );
}

#[test]
fn overlapping_events_of_one_file_are_one() {
    let files = Files::new(&[
        (&[("A", 1), ("B", 2)], &[(1, 10, 0), (2, 11, 0), (1, 12, LAST), (2, 13, LAST), (2, 50, LAST)]),
        (&[("A", 1)], &[(1, 11, LAST), (1, 14, LAST)]),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    assert_eq!(orders(&feed), [(1, 1), (2, 2), (1, 3), (2, 4), (1, 101), (1, 102), (2, 5)]);
}

#[test]
fn a_snapshot_at_the_start_comes_before_the_first_live_event_and_a_later_one_behind_its_own() {
    let files = Files::new(&[
        (&[("A", 1)], &[(1, 10, LAST), (1, 20, LAST), (1, 90, LAST)]),
        (
            &[("B", 2)],
            &[(2, 1, SNAPSHOT), (2, 99, SNAPSHOT | LAST), (2, 15, LAST), (2, 3, SNAPSHOT | LAST), (2, 80, LAST)],
        ),
    ]);
    let feed = files.merge(Options::default()).unwrap();
    assert_eq!(orders(&feed).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [1, 101, 102, 103, 104, 2, 105, 3]);
    assert_eq!(order::check(&feed), None);
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
    let files = Files::new(&[
        (&[("A", 1)], &[(1, 5, LAST), (1, 30, 0), (1, 31, LAST), (1, 20, LAST), (1, 10, LAST)]),
        (&[("B", 2)], &[(2, 25, LAST)]),
    ]);
    let error = files.merge(Options::default()).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code, 2);
    assert!(
        text.contains("0.dbn") && text.contains("record 4 is of 20 ns, the event before it of 30 ns (2 such"),
        "{text}"
    );
    assert!(text.contains("--sort"), "{text}");
    let feed = files.merge(Options { sort: true, ..Options::default() }).unwrap();
    assert_eq!(orders(&feed).iter().map(|(_, o)| *o).collect::<Vec<_>>(), [1, 5, 4, 101, 2, 3]);
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
    assert!(run(good, good, files.folder.path()).1.contains("is a directory"));
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
    let plan = Plan::new(&inputs, Options { sort: order::check(&original).is_some(), ..Options::default() }).unwrap();
    plan.write(&to, &Default::default()).unwrap();
    let merged = load(&to).unwrap();
    assert_eq!((merged.records, merged.instruments.len()), (original.records + 2, original.instruments.len() + 1));
    assert_eq!(order::check(&merged), None);
}

fn any_records() -> impl Strategy<Value = Vec<(u32, u64, u8)>> {
    let flags = prop_oneof![6 => Just(LAST), 2 => Just(0), 1 => Just(SNAPSHOT | LAST), 1 => Just(SNAPSHOT)];
    let records = prop::collection::vec((1u32..4, 1u64..30, flags), 1..40);
    // A file in which no event ends is refused.
    records.prop_filter("an event ends", |records| records.iter().any(|(.., flags)| flags & LAST != 0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sorted_feed_is_in_order_and_has_every_record(records in any_records()) {
        let files = Files::new(&[(&[("A", 1), ("B", 2), ("C", 3)], &records)]);
        let feed = load(&files.inputs[0]).unwrap();
        // A naive reading of the rule: an event begins where none is open, and is live unless that record is a snapshot's.
        let (mut open, mut times) = (std::collections::BTreeSet::new(), Vec::new());
        for &(id, ts, flags) in &records {
            if open.is_empty() && flags & SNAPSHOT == 0 {
                times.push(ts);
            }
            if flags & LAST != 0 { open.remove(&id); } else { open.insert(id); }
        }
        let back = times.windows(2).filter(|w| w[1] < w[0]).count() as u64;
        prop_assert_eq!(order::check(&feed).map_or(0, |found| found.count), back);
        let before = orders(&feed);
        let sorted = order::sort(feed);
        prop_assert_eq!(order::check(&sorted), None);
        let after = orders(&sorted);
        if back == 0 {
            prop_assert_eq!(&after, &before);
        }
        let mut all = [before, after];
        all.iter_mut().for_each(|list| list.sort_unstable());
        prop_assert_eq!(&all[0], &all[1]);
    }

    #[test]
    fn a_merge_has_every_record_in_its_files_order(a in any_records(), b in any_records()) {
        let names: &[(&str, u32)] = &[("A", 1), ("B", 2), ("C", 3)];
        let files = Files::new(&[(names, &a), (names, &b)]);
        let sorted: Vec<_> = files.inputs.iter().map(|path| orders(&order::sort(load(path).unwrap()))).collect();
        let merged = files.merge(Options { sort: true, ..Options::default() }).unwrap();
        for (n, expected) in sorted.iter().enumerate() {
            let own: Vec<_> = orders(&merged).into_iter().filter(|(_, order)| order / 100 == n as u64).collect();
            prop_assert_eq!(&own, expected);
        }
        prop_assert_eq!(merged.records as usize, a.len() + b.len());
    }
}
