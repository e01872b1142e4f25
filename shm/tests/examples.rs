//! The C++ examples as their users run them: on the ES day and on small files of every DBN version, with a sidecar that
//! this test plays.
#![cfg(not(loom))]

mod common;
#[path = "common/cxx.rs"]
mod cxx;
#[path = "examples/sidecar.rs"]
mod sidecar;
#[path = "examples/stand_aside.rs"]
mod stand_aside;
#[path = "examples/strategy.rs"]
mod strategy;

use common::{Place, place};
use pillion_shm::{From, Kind, Poll};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// What this binary does as a second process; nothing when the test harness runs it as one of its tests.
#[test]
fn child() {
    match std::env::var("PILLION_TEST_ROLE").as_deref() {
        Err(_) => {}
        Ok("sidecar") => stand_aside::child_sidecar(),
        Ok(role) => panic!("no role {role}"),
    }
}

const ES: &str = "dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst";

/// A file of the shared data as a plain one in `folder`, with all its records behind the metadata; or a skip.
fn plain(folder: &Path, name: &str) -> Option<(PathBuf, Vec<u8>)> {
    let from = cxx::shm_root().join("../../shared/data").join(name);
    if !from.exists() {
        cxx::skip(&format!("{name} is not in ../shared/data"));
        return None;
    }
    let mut bytes = Vec::new();
    dbn::decode::DynReader::from_file(&from).unwrap().read_to_end(&mut bytes).unwrap();
    let to = folder.join(from.file_stem().unwrap());
    std::fs::write(&to, &bytes).unwrap();
    let metadata = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    Some((to, bytes.split_off(8 + metadata)))
}

/// Records one behind the other, as the ring's words.
fn records(bytes: &[u8]) -> Vec<Vec<u64>> {
    let mut left = bytes;
    let mut all = Vec::new();
    while let Some(&length) = left.first() {
        let (record, rest) = left.split_at(4 * usize::from(length));
        all.push(record.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap())).collect());
        left = rest;
    }
    all
}

fn example(name: &str) -> Option<Command> {
    Some(Command::new(cxx::compiler()?.build(&format!("examples/{name}.cpp"), &[])))
}

fn feed(place: &Place, file: &Path, more: &[&str]) -> Option<Command> {
    let mut feed = example("feed")?;
    feed.arg(file).args(["--lane", "test", "--dir"]).arg(place.dir.path()).args(more);
    Some(feed)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(mut command: Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}\n{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// The words of a refusal, which must come with exit code 2.
fn refusal(mut command: Command) -> String {
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{command:?}\n{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stderr)
}

/// An example that runs beside the test; killed when the test ends early.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn finish(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything in a tick ring, from its first record.
fn published(place: &Place) -> Vec<Vec<u64>> {
    let mut reader = place.reader(From::Start).unwrap();
    let (mut all, mut words) = (Vec::new(), vec![0; reader.record_words()]);
    while let Poll::Record { .. } = reader.poll(&mut words) {
        let length = usize::from(words[0].to_le_bytes()[0]) / 2;
        all.push(words[..length].to_vec());
    }
    all
}

#[test]
fn the_feed_publishes_the_es_day() {
    let place = place();
    let Some((file, bytes)) = plain(place.dir.path(), ES) else { return };
    let Some(feed) = feed(&place, &file, &["--rate", "400000/s", "--slots", "131072"]) else { return };
    let said = run(feed);
    for words in [
        "es.dbn: DBN version 1 of GLBX.MDP3, 68,792 records, 0 more of types that are left out"
            .replace("es.dbn", &file.display().to_string()),
        format!("ring       {}, generation 1: 131,072 slots", place.lane.path(Kind::Ticks).display()),
        "published  68,792 records in ".to_owned(),
        "a second; 8,725 of a snapshot, not paced".to_owned(),
        " ms behind it".to_owned(),
    ] {
        assert!(said.contains(&words), "no {words:?} in\n{said}");
    }
    assert!(published(&place) == records(&bytes), "the ring holds the file's records, each byte");
}

/// Each version and schema, by each compiler; types that no ring carries are counted, live captures trimmed.
#[test]
fn the_feed_takes_every_version_and_schema() {
    for compiler in cxx::compilers() {
        for schema in ["mbo", "mbp-1", "mbp-10", "trades"] {
            for version in 1..=3 {
                let place = place();
                let name = format!("dbn-vectors/test_data.{schema}.v{version}.dbn.zst");
                let Some((file, bytes)) = plain(place.dir.path(), &name) else { return };
                let mut feed = Command::new(compiler.build("examples/feed.cpp", &[]));
                feed.arg(&file).args(["--lane", "test", "--rate", "max", "--dir"]).arg(place.dir.path());
                let said = run(feed);
                assert!(said.contains(&format!("DBN version {version} of ")), "{said}");
                assert_eq!(published(&place), records(&bytes), "{name}");
            }
        }
    }
}

/// One record of 64 bytes where an MBO record has 56: the capture's sending time goes. One of an unknown type is left out.
#[test]
fn the_feed_trims_and_leaves_out() {
    let place = place();
    let Some((file, bytes)) = plain(place.dir.path(), "dbn-vectors/test_data.mbo.v3.dbn.zst") else { return };
    let whole = std::fs::read(&file).unwrap();
    let (metadata, first) = (&whole[..whole.len() - bytes.len()], &bytes[..56]);
    let mut made = [metadata, first, &7_u64.to_le_bytes(), first].concat();
    made[metadata.len()] = 64 / 4;
    let other = made.len() - 56;
    made[other + 1] = 0x13;
    std::fs::write(&file, made).unwrap();
    let Some(feed) = feed(&place, &file, &["--rate", "max"]) else { return };
    let said = run(feed);
    assert!(said.contains("1 records, 1 more of types that are left out"), "{said}");
    assert_eq!(published(&place), records(first));
}

#[test]
fn the_feed_refuses_with_a_mend_and_publishes_nothing() {
    let place = place();
    let Some((file, _)) = plain(place.dir.path(), "dbn-vectors/test_data.mbo.v3.dbn.zst") else { return };
    let whole = std::fs::read(&file).unwrap();
    let broken = |name: &str, bytes: &[u8]| {
        let path = place.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let zero = [&whole[..whole.len() - 112], &[0; 112]].concat();
    let version = [b"DBN\x09", &whole[4..]].concat();
    for (path, why) in [
        (broken("cut.dbn", &whole[..whole.len() - 5]), "is broken at byte"),
        (broken("zero.dbn", &zero), "a record of 0 bytes"),
        (broken("new.dbn", &version), "is DBN version 9"),
        (broken("head.dbn", &whole[..30]), "ends inside its metadata"),
        (broken("text.dbn", b"ts_event,price\n1,2,3,4,5,6\n"), "is no DBN file"),
        (broken("empty.dbn", b""), "is no DBN file"),
        (broken("packed.dbn", b"\x28\xB5\x2F\xFDxxxxxxxxxxxxxxxxxxxxxxxx"), "pillion convert dbn"),
        (place.dir.path().join("none.dbn"), "cannot be opened"),
    ] {
        let Some(feed) = feed(&place, &path, &["--rate", "max"]) else { return };
        let said = refusal(feed);
        assert!(said.contains(why) && said.contains("mend: "), "{said}");
    }
    for (more, why) in [
        (&["--rate", "fast"][..], "is no rate"),
        (&["--rate", "0/s"], "would never end"),
        (&["--rate"], "--rate has no value"),
        (&["--slots", "100", "--rate", "max"], "a power of two"),
        (&["--slots", "1e18"], "--slots wants a number from 0 to 1099511627776, not \"1e18\""),
        (&["--sloth", "1"], "\"--sloth\" is not understood"),
    ] {
        let said = refusal(feed(&place, &file, more).unwrap());
        assert!(said.contains(why), "{said}");
    }
    assert!(place.reader(From::Start).is_err(), "no ring was made");
}

/// A rate of 200 a second takes its time, never less: record n is due n / 200 s after the start.
#[test]
fn the_feed_keeps_its_pace() {
    let place = place();
    let Some((file, bytes)) = plain(place.dir.path(), "dbn-vectors/test_data.mbo.v3.dbn.zst") else { return };
    let many = [std::fs::read(&file).unwrap(), bytes.repeat(30)].concat();
    std::fs::write(&file, many).unwrap();
    let Some(feed) = feed(&place, &file, &["--rate", "200/s"]) else { return };
    run(feed);
    let mut reader = place.reader(From::Start).unwrap();
    let (mut words, mut stamps) = ([0; 14], Vec::new());
    while let Poll::Record { stamp_ns, .. } = reader.poll(&mut words) {
        stamps.push(stamp_ns);
    }
    assert_eq!(stamps.len(), 2 * 31);
    // The ring was made before the first record was due.
    let early = stamps.iter().enumerate().find(|(n, stamp)| **stamp < reader.created_ns() + *n as u64 * 5_000_000);
    assert_eq!(early, None, "{stamps:?}");
}

#[test]
fn latency_measures_and_leaves_nothing() {
    for (more, words) in [
        (&["--count", "2000"][..], "two processes, 2,000 round trips of 56 bytes, not pinned"),
        (&["--count", "1000", "--threads", "--mbp-10"], "two threads, 1,000 round trips of 368 bytes"),
    ] {
        let place = place();
        let Some(mut latency) = example("latency") else { return };
        latency.args(more).arg("--dir").arg(place.dir.path());
        let said = run(latency);
        assert!(said.contains(words), "{said}");
        for name in ["there", "back", "round trip"] {
            let line =
                said.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{said}"));
            let numbers = line[11..].split_whitespace().map(|n| n.replace(',', "").parse::<u64>().unwrap());
            let numbers: Vec<_> = numbers.collect();
            assert!(numbers.len() == 6 && numbers.is_sorted() && numbers[0] > 0, "{line}");
        }
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
    let Some(mut latency) = example("latency") else { return };
    latency.args(["--pin", "0,1000"]);
    assert!(refusal(latency).contains("cannot run on CPU 1000; mend: "));
}

/// No number is cut or wraps round: what is meant otherwise than it is written is refused.
#[test]
fn numbers_out_of_range_are_refused() {
    for (name, option, number, why) in [
        ("latency", "--pin", "1e18,2", "--pin wants a number from 0 to 1023, not \"1e18\""),
        ("latency", "--pin", "0,4294967296", "--pin wants a number from 0 to 1023"),
        ("latency", "--pin", "0,1.5", "--pin wants a whole number, not \"1.5\""),
        ("latency", "--pin", "0,nan", "--pin wants a number"),
        ("latency", "--pin", "-1,0", "--pin wants a number"),
        ("latency", "--pin", "0,", "--pin wants a number"),
        ("latency", "--count", "1e15", "--count wants a number from 0 to 100000000"),
        ("strategy", "--for", "1e18", "--for wants a number from 0 to 1000000000, not \"1e18\""),
        ("strategy", "--max-age", "1e18", "--max-age wants a number from 0 to 1000000000000"),
        ("strategy", "--heartbeat", "inf", "--heartbeat wants a number"),
        ("strategy", "--show", "2.5", "--show wants a whole number"),
    ] {
        let Some(mut command) = example(name) else { return };
        let said = refusal({
            command.args([option, number]);
            command
        });
        assert!(said.contains(why), "{name} {option} {number}: {said}");
    }
}

/// Where no process can be made it says so, instead of waiting for one.
#[test]
fn latency_needs_a_second_process() {
    let place = place();
    let Some(mut latency) = example("latency") else { return };
    let no_fork = cxx::compiler().unwrap().build("tests/cpp/no_fork.cpp", &["-shared", "-fPIC"]);
    latency.env("LD_PRELOAD", no_fork).arg("--dir").arg(place.dir.path());
    let out = latency.output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("no second process: fork says "), "{}", text(&out.stderr));
    assert!(place.files().is_empty(), "{:?}", place.files());
}
