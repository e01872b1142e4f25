//! `pillion convert dbn`: any file that `load` takes as a plain one of version 3, record for record.

mod common;

use std::path::Path;

use common::{ES, output, pillion, shared, stderr, stdout};
use pillion::data::{Feed, load};

fn convert(input: &Path, to: &Path) -> std::process::Output {
    output(pillion().args(["convert", "dbn"]).arg(input).arg("-o").arg(to))
}

fn same(before: &Feed, after: &Feed) {
    let what = before.path.display();
    assert_eq!((&before.dataset, &before.schema), (&after.dataset, &after.schema), "{what}");
    assert_eq!((before.records, &before.instruments), (after.records, &after.instruments), "{what}");
    assert!(before.words == after.words, "{what}: the records differ");
    assert_eq!((after.version, after.skipped), (3, 0), "{what}");
}

#[test]
fn every_version_and_schema_keeps_its_records() {
    let Some(vectors) = shared("dbn-vectors") else { return };
    let folder = tempfile::tempdir().unwrap();
    for schema in ["mbo", "mbp-1", "mbp-10", "trades"] {
        for version in 1..=3 {
            let before = load(vectors.join(format!("test_data.{schema}.v{version}.dbn.zst"))).unwrap();
            assert_eq!((before.version, before.schema.as_str()), (version, schema));
            for name in ["out.dbn", "out.dbn.zst"] {
                let to = folder.path().join(name);
                let out = convert(&before.path, &to);
                assert!(out.status.success(), "{}", stderr(&out));
                let plain = std::fs::read(&to).unwrap().starts_with(b"DBN\x03");
                assert_eq!(plain, name == "out.dbn", "plain exactly when the name does not say .zst");
                same(&before, &load(&to).unwrap());
                let said = format!("{} {schema} records", before.records);
                assert!(stdout(&out).contains(&said), "{}", stdout(&out));
            }
        }
    }
}

#[test]
fn the_es_day_comes_out_plain() {
    let Some(es) = shared(ES) else { return };
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("es.dbn");
    let out = convert(&es, &to);
    assert!(stdout(&out).contains("68,792 mbo records of GLBX.MDP3"), "{}{}", stdout(&out), stderr(&out));
    same(&load(es).unwrap(), &load(&to).unwrap());
}

#[test]
fn what_cannot_be_read_or_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (text, to) = (folder.path().join("a.txt"), folder.path().join("out.dbn"));
    std::fs::write(&text, "no market data").unwrap();
    let refused = convert(&text, &to);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("neither DBN nor Zstandard"), "{}", stderr(&refused));
    let Some(vector) = shared("dbn-vectors/test_data.mbo.v3.dbn") else { return };
    let nowhere = convert(&vector, &folder.path().join("none/out.dbn"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the input is there");
}
