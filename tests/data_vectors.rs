//! Every version of every supported schema decodes, from Databento's own vectors; what is not supported is refused by name.

#[path = "common/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};

use pillion::data::{Facts, load};
use pillion::hot::decode::{Instruments, decode};

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        skip::skip(&format!("{} is not there", folder.display()));
        return Vec::new();
    };
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains(".db")).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_vector_decodes_or_is_refused_by_name() {
    let (mut read, mut refused) = (0, 0);
    for path in folder("dbn-vectors") {
        let name = name(&path);
        match load(&path) {
            Ok(feed) => {
                let instruments = Instruments::new(&feed.instruments).unwrap();
                let ticks = feed.iter().map(|record| decode(record, &instruments).map(|tick| tick.ts_event));
                assert_eq!(ticks.filter(Result::is_ok).count() as u64, feed.records, "{name}");
                assert!(feed.records >= 2, "{name}");
                assert!(name.contains(&format!(".{}.", feed.schema)), "{name}: {}", feed.schema);
                let stated =
                    ["v1", "v2", "v3"].iter().position(|v| name.contains(&format!(".{v}."))).map(|i| i as u8 + 1);
                assert_eq!(stated.unwrap_or(feed.version), feed.version, "{name}");
                assert_eq!(feed.blake3, *blake3::hash(&std::fs::read(&path).unwrap()).as_bytes(), "{name}");
                read += 1;
            }
            Err(e) => {
                let expected = if name.ends_with(".dbz") { "legacy DBZ" } else { "schema cmbp-1 is not supported" };
                assert!(e.to_string().contains(expected), "{name}: {e}");
                assert!(e.to_string().contains("mbp-10"), "what is supported is named: {e}");
                assert_eq!(e.exit_code, 2);
                refused += 1;
            }
        }
    }
    assert!((read, refused) == (17, 7) || (read, refused) == (0, 0), "{read} read, {refused} refused");
}

#[test]
fn versions_of_one_vector_hold_the_same_records() {
    for schema in ["mbo", "mbp-1", "mbp-10", "trades"] {
        let prefix = format!("test_data.{schema}.");
        let files =
            folder("dbn-vectors").into_iter().filter(|p| name(p).starts_with(&prefix) && !name(p).ends_with(".dbz"));
        let feeds: Vec<_> = files.map(|path| load(path).unwrap()).collect();
        let lengths = |feed: &pillion::data::Feed| feed.iter().map(<[u64]>::len).collect::<Vec<_>>();
        for pair in feeds.windows(2) {
            assert_eq!(lengths(&pair[0]), lengths(&pair[1]), "{schema}");
            assert_eq!(pair[0].words, pair[1].words, "{schema}");
        }
    }
}

#[test]
fn every_es_file_decodes() {
    let files = folder("dbn-es");
    for path in &files {
        let feed = load(path).unwrap();
        let instruments = Instruments::new(&feed.instruments).unwrap();
        assert!(feed.iter().all(|record| decode(record, &instruments).is_ok()), "{}", path.display());
        assert_eq!(feed.iter().count() as u64, feed.records);
        assert!(feed.instruments.iter().all(|i| i.tick_size == 0), "nothing states it: {:?}", feed.instruments);
        let stated = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/instruments/es.toml"));
        let facts = Facts::read(Some(&stated), false).unwrap();
        let mut feed = feed;
        facts.settle(&mut feed).unwrap();
        assert!(feed.instruments.iter().all(|i| i.tick_size == 250_000_000), "{:?}", feed.instruments);
    }
    assert!(files.len() == 4 || files.is_empty());
}
