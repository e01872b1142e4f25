//! `convert itch`, `convert binance` and their arguments: every refusal names the thing and the mend, has exit code 2 and
//! leaves nothing; what is odd but can be converted is said.

mod common;
mod itch_support;

use std::path::Path;

use common::{output, pillion, stderr, stdout};
use itch_support::{add, delete, directory, framed, gzip};
use pillion::config::Config;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// Runs a conversion to out.dbn; exit code, both outputs.
    fn convert(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let done = output(pillion().arg("convert").args(arguments).arg("-o").arg(self.0.path().join("out.dbn")));
        (done.status.code(), stdout(&done), stderr(&done))
    }

    fn refused(&self, arguments: &[&str], told: &str) {
        let before = std::fs::read_dir(self.0.path()).unwrap().count();
        let (code, _, text) = self.convert(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(told) && text.contains("mend:"), "{arguments:?}: {text}");
        assert_eq!(std::fs::read_dir(self.0.path()).unwrap().count(), before, "nothing is left");
    }
}

fn itch() -> Vec<u8> {
    framed(&[directory(1, 1, "AAA"), add(1, 2, 1, b'B', 5, 10_000), delete(1, 3, 1)])
}

#[test]
fn files_that_cannot_be_converted() {
    let place = Place::new();
    let folder = place.0.path().display().to_string();
    let missing = place.0.path().join("01032012.none").display().to_string();
    let empty = place.file("01032012.empty", b"");
    let text = place.file("01032012.gz", b"this is neither gzip nor ITCH");
    let cut = place.file("01032012.cut.gz", &gzip(&itch())[..40]);
    let wrong = place.file("01032012.wrong.gz", &[&gzip(&itch())[..], b"garbage behind it"].concat());
    for format in ["itch", "binance"] {
        place.refused(&[format, &missing], "cannot be opened");
        place.refused(&[format, &empty], "the file is empty");
        place.refused(&[format, &folder], "is a directory");
        place.refused(&[format, "/dev/null"], "is no regular file");
        place.refused(&[format, &cut], "the compressed data ends in the middle");
        place.refused(&[format, &wrong], "cannot be read on after");
    }
    place.refused(&["itch", &text], "holds no ITCH 5.0 message");
    place.refused(&["binance", &text], "has no event of a known kind");
    let quiet = place.file("01032012.quiet", &framed(&[directory(1, 1, "AAA")]));
    place.refused(&["itch", &quiet], "its 1 messages have neither an order nor a trade");
}

#[test]
fn days_and_symbols() {
    let place = Place::new();
    let nameless = place.file("day.itch", &itch());
    place.refused(&["itch", &nameless], "give it with --date");
    let named = place.file("13322012.itch", &itch());
    place.refused(&["itch", &named], "the name does not tell the date");
    let (code, _, text) = place.convert(&["itch", &nameless, "--date", "2012-02-30"]);
    assert!(code == Some(2) && text.contains("2012-02-30"), "{text}");
    place.refused(&["itch", &nameless, "--date", "2012-01-03", "--symbols", "AAA,ZZZ"], "--symbols names \"ZZZ\"");
    let (code, out, text) = place.convert(&["itch", &nameless, "--date", "2012-01-03", "--symbols", "AAA"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(out.contains("3 events as 3 records of 1 instruments") && out.contains("A 1, D 1, R 1"), "{out}");
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = Place::new();
    let input = place.file("01032012.itch", &itch());
    for to in [place.0.path().display().to_string(), "/no/such/folder/out.dbn".to_owned()] {
        let done = output(pillion().args(["convert", "itch", &input, "-o", &to]));
        let text = stderr(&done);
        assert_eq!(done.status.code(), Some(2), "{text}");
        assert!(text.contains(&to) && text.contains("mend:"), "{text}");
    }
}

#[test]
fn what_is_skipped_is_said_with_its_place() {
    let place = Place::new();
    let mut bytes = framed(&[add(1, 2, 1, b'B', 5, 10_000), b"zzz".to_vec(), delete(1, 3, 9)]);
    bytes.extend([0, 36, b'A']);
    let input = place.file("01032012.itch", &bytes);
    let (code, out, text) = place.convert(&["itch", &input]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 frames of no known type skipped, the first at byte 38"), "{text}");
    assert!(text.contains("ends inside the frame at byte 64"), "{text}");
    assert!(out.contains("messages on orders from before the file: 1"), "{out}");
    assert!(Path::new(&place.0.path().join("out.dbn")).exists());
}

#[test]
fn the_size_unit_is_printed_as_the_configuration_takes_it() {
    let place = Place::new();
    let trade = r#"5 {"stream":"x@trade","data":{"e":"trade","E":7,"T":7,"s":"X","t":1,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}"#;
    let input = place.file("capture", trade.as_bytes());
    let (code, out, text) = place.convert(&["binance", &input, "--guess"]);
    assert_eq!(code, Some(0), "{text}");
    let line = out.lines().find(|line| line.starts_with("instruments = ")).expect("the line to paste");
    let config = place.file("config.toml", format!("[lane]\nname = \"x\"\nmodels = []\n{line}\n").as_bytes());
    let config = Config::load(Path::new(&config)).unwrap_or_else(|e| panic!("{e}"));
    let instrument = &config.lanes[0].instruments[0];
    assert_eq!((instrument.symbol.as_str(), instrument.tick_size.0, instrument.size_unit), ("X", 100_000_000, 0.001));
    place.refused(&["binance", &input, "--guess", "--size-unit", "Y=1"], "--size-unit names \"Y\"");
    place.refused(&["binance", &input, "--guess", "--size-unit", "0.005"], "is no multiple of the size unit 0.005");
}
