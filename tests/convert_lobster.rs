//! LOBSTER conversion on small files: what each message becomes, halts, and bad input told by file and line.

use std::path::PathBuf;

use pillion::Error;
use pillion::data::lobster::{self, Options, Summary};
use pillion::data::{Feed, load};
use pillion::hot::book::{Book, Limits};
use pillion::hot::decode::{Body, Instruments, Side, decode};
use tempfile::TempDir;

/// Two levels per side: asks 101.00 × 10 and 102.00 × 20, bids 100.00 × 30 and 99.00 × 40.
const ROW: &str = "1010000,10,1000000,30,1020000,20,990000,40";

struct Day {
    folder: TempDir,
    input: Vec<PathBuf>,
}

impl Day {
    fn new(messages: &[&str], rows: &[&str]) -> Day {
        let folder = tempfile::tempdir().unwrap();
        let input = [("m.csv", messages), ("b.csv", rows)].map(|(name, lines)| {
            let path = folder.path().join(name);
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            path
        });
        Day { folder, input: input.to_vec() }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.dbn.zst")
    }

    fn convert(&self) -> Result<(Summary, Feed), Error> {
        self.convert_of("2012-01-03")
    }

    fn convert_of(&self, date: &str) -> Result<(Summary, Feed), Error> {
        let options = Options {
            symbol: Some("XYZ".to_owned()),
            date: Some(date.parse().unwrap()),
            instrument_id: 1,
            facts: Default::default(),
        };
        let summary = lobster::convert_file(&self.input, &self.output(), options)?;
        Ok((summary, load(self.output())?))
    }

    fn refusal(&self) -> String {
        let error = self.convert().map(drop).unwrap_err();
        assert_eq!(error.exit_code, 2);
        let left = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(left.len(), 2, "only the input is there: {left:?}");
        error.to_string()
    }
}

fn bodies(feed: &Feed) -> Vec<String> {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    feed.iter()
        .map(|record| {
            let tick = decode(record, &instruments).unwrap();
            let text = match tick.body {
                Body::Add { side, price, size, .. } => format!("A {side:?} {} {size}", price / 1_000_000_000),
                Body::Cancel { side, price, size, .. } => format!("C {side:?} {} {size}", price / 1_000_000_000),
                Body::Trade { aggressor, price, size } => format!("T {aggressor:?} {} {size}", price / 1_000_000_000),
                Body::Fill { resting, price, size, .. } => format!("F {resting:?} {} {size}", price / 1_000_000_000),
                Body::Status { trading } => format!("S {trading:?}"),
                Body::Clear => "R".to_owned(),
                Body::Nothing => "N".to_owned(),
                other => panic!("{other:?}"),
            };
            text + if tick.is_last() { " ." } else { "" }
        })
        .collect()
}

#[test]
fn each_message_is_one_event() {
    let day = Day::new(
        &["34200.5,1,7,10,1010000,-1", "34201,4,7,4,1010000,-1", "34202,3,7,6,1010000,-1", "34203,5,0,3,1000000,1"],
        &[
            ROW,
            "1010000,6,1000000,30,1020000,20,990000,40",
            "1020000,20,1000000,30,1030000,5,990000,40",
            "1020000,20,1000000,30,1030000,5,990000,40",
        ],
    );
    let (summary, feed) = day.convert().unwrap();
    assert_eq!((summary.messages, summary.unexplained, summary.revealed, summary.unlisted), (4, 0, 1, 0));
    assert_eq!(
        bodies(&feed),
        [
            "R",
            "A Bid 100 30",
            "A Bid 99 40",
            "A Ask 101 10",
            "A Ask 102 20 .", // the snapshot tells the first message
            "T Bid 101 4",
            "F Ask 101 4",
            "C Ask 101 4 .",
            "C Ask 101 6",
            "A Ask 103 5 .", // the delete reveals a level at the edge
            "T Ask 100 3 .",
        ]
    );
    // New York in January is 5 hours behind UTC.
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let first = decode(feed.iter().next().unwrap(), &instruments).unwrap().ts_event;
    assert_eq!(first, 1_325_566_800_000_000_000 + 34_200_500_000_000);
}

#[test]
fn halts_are_status_records_between_events() {
    let day =
        Day::new(&["34200,1,7,10,1010000,-1", "34201,7,0,0,-1,-1", "34202,7,0,0,0,-1", "34203,7,0,0,1,-1"], &[ROW; 4]);
    let (summary, feed) = day.convert().unwrap();
    assert_eq!((summary.messages, summary.unexplained, feed.schema.as_str()), (4, 0, "mixed"));
    assert_eq!(bodies(&feed)[5..], ["S Some(false)", "N .", "S Some(false)", "N .", "S Some(true)", "N ."]);
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 16, max_levels: 4 });
    let mut trading = Vec::new();
    for record in &feed {
        let tick = decode(record, &instruments).unwrap();
        book.apply(&tick);
        if tick.is_last() {
            trading.push(book.trading());
        }
    }
    assert_eq!(trading, [true, false, false, true]);
    assert_eq!(book.best(Side::Bid).unwrap().size, 30);
}

/// The venue has called every hidden order a buy since 14 July 2014.
#[test]
fn hidden_executions_have_a_side_until_july_2014() {
    let first = "34200,1,7,10,1010000,-1";
    let day = Day::new(&[first, "34201,5,0,40,1000500,1", "34202,5,0,30,1000400,-1"], &[ROW; 3]);
    for (date, sides) in [
        ("2012-06-21", ["Ask", "Bid"]),
        ("2014-07-13", ["Ask", "Bid"]),
        ("2014-07-14", ["None", "None"]),
        ("2017-01-03", ["None", "None"]),
    ] {
        let feed = day.convert_of(date).unwrap().1;
        let expected = [format!("T {} 100 40 .", sides[0]), format!("T {} 100 30 .", sides[1])];
        assert_eq!(bodies(&feed)[5..], expected, "{date}");
    }
    // Visible executions say the resting side on any day; the hidden one may also be the first message.
    let row = "1010000,6,1000000,30,1020000,20,990000,40";
    let day = Day::new(&["34200,5,0,9,1000500,1", "34201,4,7,4,1010000,-1"], &[ROW, row]);
    let told = bodies(&day.convert_of("2017-01-03").unwrap().1);
    assert_eq!((told[1].as_str(), told[6].as_str()), ("T None 100 9", "T Bid 101 4"));
}

/// Crosses carry -1 to -4 (or 0) for an order id, trade without a side at their price, and change no level.
#[test]
fn crosses_are_trades_without_a_side() {
    let crosses = ["34201,6,-1,5000,1000050,-1", "34202,6,-4,7,1010000,1", "34203,6,0,8,990000,0", "34204,6,-2,0,0,1"];
    let messages = [&["34200,1,7,10,1010000,-1"][..], &crosses, &["34205,1,12,20,1000000,1"]].concat();
    let last = "1010000,10,1000000,50,1020000,20,990000,40";
    let day = Day::new(&messages, &[&[ROW; 5][..], &[last]].concat());
    for date in ["2013-10-24", "2017-01-03"] {
        let (summary, feed) = day.convert_of(date).unwrap();
        assert_eq!((summary.unexplained, summary.unlisted), (0, 0));
        let expected = ["T None 100 5000 .", "T None 101 7 .", "T None 99 8 .", "N .", "A Bid 100 20 ."];
        assert_eq!(bodies(&feed)[5..], expected);
    }
    let price = |record: &[u64]| record[3] as i64;
    let feed = day.convert().unwrap().1;
    assert_eq!(price(feed.iter().nth(5).unwrap()), 100_005_000_000, "100.005");
}

/// Files that went through floats have times like 43002.632812672004.
#[test]
fn times_are_rounded_to_the_nanosecond_and_counted() {
    let times = ["34200.0151050740", "34200.2", "34200.215105073996", "43002.632812672004", "43003."];
    let messages: Vec<_> = times.iter().map(|time| format!("{time},5,0,1,1000500,1")).collect();
    let day = Day::new(&messages.iter().map(String::as_str).collect::<Vec<_>>(), &[ROW; 5]);
    let (summary, feed) = day.convert().unwrap();
    assert_eq!((summary.rounded.count, summary.rounded.first), (2, 3));
    let ends = feed.iter().filter(|record| record[4].to_le_bytes()[4] & 0x80 != 0);
    let midnight = 1_325_566_800_000_000_000;
    let ns: Vec<u64> = ends.map(|record| record[1] - midnight).collect();
    assert_eq!(
        ns,
        [34_200_015_105_074, 34_200_200_000_000, 34_200_215_105_074, 43_002_632_812_672, 43_003_000_000_000]
    );
}

#[test]
fn rows_that_nothing_explains_are_counted_and_followed() {
    let day = Day::new(
        &["34200,1,7,10,1010000,-1", "34201,2,7,1,1010000,-1"],
        &[ROW, "1010000,8,1000000,30,1020000,20,990000,40"],
    );
    let (summary, feed) = day.convert().unwrap();
    assert_eq!((summary.unexplained, summary.first_unexplained_line), (1, 2));
    assert_eq!(bodies(&feed)[5..], ["C Ask 101 1", "C Ask 101 9", "A Ask 101 8 ."]);
}

#[test]
fn absent_levels_are_left_out() {
    // The least price that there is has no absolute value of its own kind; it is no level either.
    let day = Day::new(&["34200,1,7,10,1010000,-1"], &["1010000,10,-9999999999,0,9999999999,0,-9223372036854775808,0"]);
    let (summary, feed) = day.convert().unwrap();
    assert_eq!((summary.levels, bodies(&feed)), (2, vec!["R".to_owned(), "A Ask 101 10 .".to_owned()]));
}

#[test]
fn bad_values_are_told_by_file_line_and_column() {
    let good = "34200,1,7,10,1010000,-1";
    for (line, column, told) in [
        ("x,1,7,10,1010000,-1", 1, "\"x\""),
        ("34201.12e-3,1,7,10,1010000,-1", 1, "34201.12e-3"),
        ("86400,1,7,10,1010000,-1", 1, "86400"),
        ("34201,9,7,10,1010000,-1", 2, "\"9\""),
        ("34201,1,-7,10,1010000,-1", 3, "\"-7\""),
        ("34201,1,7,0,1010000,-1", 4, "\"0\""),
        ("34201,1,7,99999999999,1010000,-1", 4, "99999999999"),
        ("34201,1,7,10,10.5,-1", 5, "\"10.5\""),
        ("34201,1,7,10,1010000,0", 6, "\"0\""),
        ("34201,1,7,10,1010000", 6, "missing"),
    ] {
        let text = Day::new(&[good, line], &[ROW, ROW]).refusal();
        assert!(
            text.contains("m.csv:2") && text.contains(&format!("column {column}")) && text.contains(told),
            "{text}"
        );
    }
    for (row, told) in [
        ("1010000,10,1000000,30", "4 columns where 8 are expected"),
        ("1010000,ten,1000000,30,1020000,20,990000,40", "column 2 is \"ten\""),
        ("1010000,10,1000000,-30,1020000,20,990000,40", "column 4 is \"-30\""),
        ("1010000,10,1000000,30,1010000,20,990000,40", "not best first"),
    ] {
        let text = Day::new(&[good, good], &[ROW, row]).refusal();
        assert!(text.contains("b.csv:2") && text.contains(told), "{text}");
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let good = "34200,1,7,10,1010000,-1";
    assert!(Day::new(&[good, good], &[ROW]).refusal().contains("ends after 1 rows, but"));
    assert!(Day::new(&[good], &[ROW, ROW]).refusal().contains("ends after 1 rows, but"));
    let mut missing = Day::new(&[good], &[ROW]);
    missing.input[1] = missing.folder.path().join("none.csv");
    assert!(missing.refusal().contains("cannot be opened"));
    let mut not_a_zip = Day::new(&[good], &[ROW]);
    not_a_zip.input.truncate(1);
    assert!(not_a_zip.refusal().contains("cannot be read as a zip"));
    let nameless = Day::new(&[good], &[ROW]);
    let options = Options { symbol: None, date: None, instrument_id: 1, facts: Default::default() };
    let error = lobster::convert_file(&nameless.input, &nameless.output(), options).unwrap_err();
    assert!(error.to_string().contains("--symbol"), "{error}");
}
