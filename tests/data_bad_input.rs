//! A file that is missing, cut, corrupt or something else is refused, with what was good before the break; and nothing
//! half-written ever has the output's name.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pillion::data::synth::{self, Plan};
use pillion::data::{DbnWriter, FileInfo, Listed, OutputFile, load};
use pillion_shm::records::{MboMsg, RecordHeader, rtype};
use proptest::prelude::*;
use tempfile::TempDir;

const PLAN: Plan = Plan { seed: 5, instruments: 2, events: 2_000, events_per_second: 1_000 };
const RECORD_BYTES: usize = size_of::<MboMsg>();
/// Ahead of its records the plan's file defines each instrument; those are records too.
const DEFINITIONS: u64 = PLAN.instruments as u64;

fn made(folder: &TempDir, name: &str) -> (PathBuf, Vec<u8>, u64) {
    let path = folder.path().join(name);
    let records = synth::write(&path, &PLAN).unwrap().records;
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes, records)
}

fn refusal(path: &Path) -> String {
    let error = load(path).unwrap_err();
    assert_eq!(error.exit_code, 2);
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("mend:"), "{text}");
    text
}

fn refusal_of(folder: &TempDir, bytes: &[u8]) -> String {
    let path = folder.path().join("bad.dbn");
    std::fs::write(&path, bytes).unwrap();
    refusal(&path)
}

/// The number before "records before that are good".
fn good(text: &str) -> u64 {
    let before = text.split(" records before that are good").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn missing_empty_and_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("none.dbn")).contains("cannot be opened"));
    assert!(refusal(folder.path()).contains("0 records"), "a folder");
    assert!(refusal_of(&folder, b"").contains("the file is empty"));
    assert!(refusal_of(&folder, b"PK\x03\x04 not market data").contains("neither DBN nor Zstandard"));
    assert!(refusal_of(&folder, b"DBN\x09\x00\x00\x00\x00").contains("DBN"), "a version to come");
}

/// Found by the fuzzer: the decoder would make room for 4 GiB because eight bytes say so.
#[test]
fn metadata_of_4_gib_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let text = refusal_of(&folder, b"DBN\x03\x08\x00\x00\xF8 and nothing more");
    assert!(text.contains("the metadata says that it is 4160749576 bytes long"), "{text}");
}

#[test]
fn a_cut_file_tells_how_much_of_it_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bytes, records) = made(&folder, "whole.dbn");
    let metadata = bytes.len() - records as usize * RECORD_BYTES;
    for (whole, part) in [(records - 1, 1), (records - 1, 55), (1_000, 16), (0, 8)] {
        let text = refusal_of(&folder, &bytes[..metadata + whole as usize * RECORD_BYTES + part]);
        assert!(text.contains("in the middle of a record"), "{text}");
        assert_eq!(good(&text), DEFINITIONS + whole, "{text}");
    }
    for cut in [4, 8, 60, metadata - DEFINITIONS as usize * 520 - 1] {
        assert_eq!(good(&refusal_of(&folder, &bytes[..cut])), 0);
    }
    // Cut between two records, a file of any length is whole: DBN does not state its own.
    let path = folder.path().join("short.dbn");
    std::fs::write(&path, &bytes[..metadata + 10 * RECORD_BYTES]).unwrap();
    assert_eq!(load(&path).unwrap().records, 10);
}

#[test]
fn a_cut_or_corrupt_compressed_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, records) = made(&folder, "whole.dbn.zst");
    assert_eq!(load(&path).unwrap().records, records);
    for cut in [bytes.len() - 1, bytes.len() / 2, 40, 5] {
        let text = refusal_of(&folder, &bytes[..cut]);
        assert!(good(&text) <= DEFINITIONS + records, "{text}");
    }
    let mut corrupt = bytes.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 64].fill(0xA5);
    let text = refusal_of(&folder, &corrupt);
    assert!(good(&text) <= DEFINITIONS + records, "{text}");
    let mut checksum = bytes;
    *checksum.last_mut().unwrap() ^= 1;
    refusal_of(&folder, &checksum);
}

#[test]
fn a_record_of_no_or_a_wrong_length_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bytes, records) = made(&folder, "whole.dbn");
    let metadata = bytes.len() - records as usize * RECORD_BYTES;
    for length in [0u8, 1, 3] {
        let mut corrupt = bytes.clone();
        corrupt[metadata + 100 * RECORD_BYTES] = length;
        let text = refusal_of(&folder, &corrupt);
        assert!(text.contains("corrupt") && good(&text) == DEFINITIONS + 100, "{text}");
    }
}

#[test]
fn a_record_too_short_for_its_type_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bytes, records) = made(&folder, "whole.dbn");
    let metadata = bytes.len() - records as usize * RECORD_BYTES;
    // An order record that claims to be a symbol mapping (0x16), or a record of ten levels (0x0A).
    for kind in [0x16, 0x0A] {
        let mut corrupt = bytes.clone();
        corrupt[metadata + 7 * RECORD_BYTES + 1] = kind;
        let text = refusal_of(&folder, &corrupt);
        assert!(text.contains("corrupt") && good(&text) == DEFINITIONS + 7, "{text}");
    }
}

#[test]
fn the_format_is_told_by_the_bytes_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, records) = made(&folder, "whole.dbn.zst");
    let other = folder.path().join("data.bin");
    std::fs::rename(&path, &other).unwrap();
    assert_eq!(load(&other).unwrap().records, records);
}

#[test]
fn written_records_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let hd = RecordHeader {
        length: 14,
        rtype: rtype::MBO,
        publisher_id: 3,
        instrument_id: 9,
        ts_event: 1_700_000_000_000_000_000,
    };
    let record = MboMsg {
        hd,
        order_id: 1,
        price: -5,
        size: 2,
        flags: 128,
        channel_id: 4,
        action: b'A',
        side: b'B',
        ts_recv: 6,
        ts_in_delta: -7,
        sequence: 8,
    };
    let info = FileInfo {
        dataset: "TEST".to_owned(),
        schema: Some(dbn::Schema::Mbo),
        start_ns: hd.ts_event,
        end_ns: hd.ts_event + 1,
        instruments: vec![Listed::named("ABC", 9)],
    };
    for name in ["a.dbn", "a.dbn.zst"] {
        let path = folder.path().join(name);
        let mut writer = DbnWriter::create(&path, &info).unwrap();
        writer.write(&record).unwrap();
        assert!(!path.exists(), "the name is given at the end");
        writer.finish().unwrap();
        let feed = load(&path).unwrap();
        assert_eq!(bytemuck::cast_slice::<u64, u8>(&feed.words), bytemuck::bytes_of(&record));
        assert_eq!((feed.instruments[0].symbol.as_str(), feed.instruments[0].tick_size), ("ABC", 0));
    }
}

#[test]
fn nothing_is_left_behind_by_a_write_that_ends_early() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    let mut out = OutputFile::create(&path).unwrap();
    out.write_all(b"half").unwrap();
    drop(out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    std::fs::write(&path, "old").unwrap();
    let mut out = OutputFile::create(&path).unwrap();
    out.write_all(b"new").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old", "the old file stands until the new one is whole");
    out.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let error = OutputFile::create(folder.path().join("no/such/folder.csv")).unwrap_err();
    assert_eq!(error.exit_code, 2);
    assert!(OutputFile::create(folder.path()).unwrap_err().to_string().contains("is a directory"));
}

/// Small files: one of our own, plain and compressed, and Databento's vectors of every version where they are there.
fn whole() -> &'static [Vec<u8>] {
    static WHOLE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = ["plain.dbn", "packed.dbn.zst"].map(|name| folder.path().join(name)).to_vec();
        for path in &paths {
            synth::write(path, &Plan { seed: 1, instruments: 1, events: 10, events_per_second: 10 }).unwrap();
        }
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/dbn-vectors");
        paths.extend(std::fs::read_dir(vectors).into_iter().flatten().map(|entry| entry.unwrap().path()));
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_048, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes changed anywhere, or any end cut off: a feed or a refusal, never a panic.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        damage in prop::collection::vec((0..600usize, any::<u8>()), 1..6),
        keep in 0..2_000usize,
        which in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.dbn");
        let mut bytes = which.get(whole()).clone();
        bytes.truncate(keep.max(1));
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        std::fs::write(&path, &bytes).unwrap();
        match load(&path) {
            Ok(feed) => prop_assert_eq!(feed.iter().count() as u64, feed.records),
            Err(e) => prop_assert_eq!(e.exit_code, 2),
        }
    }
}
