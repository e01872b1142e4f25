//! Binance captures as people have them: without stream names, without times, in other units, after reconnects, and with
//! sizes that DBN does not hold.

use pillion::Error;
use pillion::data::binance::{self, Bad, Options, Summary};
use pillion::data::{Feed, load};
use pillion::hot::book::{Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};
use proptest::prelude::*;

/// 2024-08-09 00:00:00 UTC in ms.
const DAY_MS: u64 = 1_723_161_600_000;

fn convert_with(text: &str, options: &Options) -> Result<(Summary, Feed), Error> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("capture"), folder.path().join("out.dbn"));
    std::fs::write(&input, text).unwrap();
    let summary = binance::convert_file(&input, &output, options, &Default::default()).inspect_err(|_| {
        assert!(!output.exists());
    })?;
    Ok((summary, load(output)?))
}

/// Units by the file's own prices and sizes: what these tests are about is something else.
fn guess() -> Options {
    Options { guess: true, ..Options::default() }
}

fn convert(text: &str) -> (Summary, Feed) {
    convert_with(text, &guess()).unwrap()
}

fn refusal(text: &str, options: &Options) -> String {
    let error = convert_with(text, options).map(drop).unwrap_err();
    assert_eq!(error.exit_code, 2);
    error.to_string()
}

/// A line captured `ms` after the day's start, by a clock 0.9 ms ahead.
fn at(ms: u64, json: &str) -> String {
    format!("{} {json}\n", (DAY_MS + ms) * 1_000_000 + 900_000)
}

/// JSON of spot's diff of exchange time `ms`.
fn diff(ms: u64, first: u64, last: u64, bids: &str, asks: &str) -> String {
    let time = DAY_MS + ms;
    format!(r#"{{"e":"depthUpdate","E":{time},"s":"XUSDT","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}"#)
}

/// JSON of spot's snapshot, which has neither time nor symbol; its partial depth looks the same.
fn whole(last: u64, bids: &str, asks: &str) -> String {
    format!(r#"{{"lastUpdateId":{last},"bids":[{bids}],"asks":[{asks}]}}"#)
}

/// A message of these levels, and of twelve on each side far behind them, which [`book`] leaves out.
fn deep(last: u64, bids: &str, asks: &str) -> String {
    let far = |near: &str, from: u32| {
        let far = (from..from + 12).map(|tenths| format!(r#"["{}.{}","1"]"#, tenths / 10, tenths % 10));
        [near.to_owned()].into_iter().chain(far).collect::<Vec<_>>().join(",")
    };
    whole(last, &far(bids, 21), &far(asks, 9_001))
}

fn trade(ms: u64, symbol: &str, price: &str, size: &str) -> String {
    let time = DAY_MS + ms;
    format!(r#"{{"e":"trade","E":{time},"T":{time},"s":"{symbol}","t":1,"p":"{price}","q":"{size}","m":false}}"#)
}

fn ticker(update: u64, bid: &str, ask: &str) -> String {
    format!(r#"{{"u":{update},"s":"XUSDT","b":"{bid}","B":"1","a":"{ask}","A":"1"}}"#)
}

/// ms of ts_event since the day's start, in tenths.
fn tenths_of_ms(feed: &Feed) -> Vec<u64> {
    feed.iter().map(|record| (record[1] - DAY_MS * 1_000_000) / 100_000).collect()
}

/// The book behind the last record: bids / asks, price in tenths x size, and whether it is trusted.
fn book(feed: &Feed) -> (String, bool) {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 1, max_levels: 10 });
    feed.iter().for_each(|record| {
        book.apply(&decode(record, &instruments).unwrap());
    });
    let side = |side| {
        let levels = (0..book.depth(side)).filter_map(|i| book.level(side, i));
        let near = levels.filter(|l| !matches!(l.price / 100_000_000, 21..=32 | 9_001..=9_012));
        near.map(|l| format!("{}x{}", l.price / 100_000_000, l.size)).collect::<Vec<_>>().join(" ")
    };
    (format!("{} / {}", side(Side::Bid), side(Side::Ask)), !book.suspect())
}

/// Spot's best quotes have no time: they get the latest that they can have had, and never one before what was known.
#[test]
fn a_ticker_without_a_time_is_not_early() {
    let text = at(0, &diff(0, 2, 3, r#"["100.0","2"]"#, r#"["100.1","2"]"#))
        + &at(1, &whole(3, r#"["100.0","2"]"#, r#"["100.1","2"]"#))
        + &at(95, &ticker(9, "100.5", "100.6"))
        + &at(100, &diff(100, 4, 9, r#"["100.5","1"],["100.0","0"]"#, r#"["100.6","1"],["100.1","0"]"#));
    let (summary, feed) = convert(&text);
    // Captured at 95.9 by a clock that has been 0.9 ahead: +95.0. The last diff tells nothing new.
    assert_eq!((tenths_of_ms(&feed), summary.untimed), (vec![0, 950, 1_000], 2));
    // An event that took 40 ms shows a clock 40 ms behind; later tickers do not become earlier for it.
    let slow = at(0, &trade(0, "XUSDT", "1", "1")) + &at(140, &trade(100, "YUSDT", "1", "1"));
    let (_, feed) =
        convert(&(slow + &at(150, &ticker(9, "100.5", "100.6")) + &at(150, &trade(130, "YUSDT", "1", "1"))));
    assert_eq!(tenths_of_ms(&feed), [0, 1_000, 1_500, 1_300]);
    // Nor earlier than what another symbol has shown before, if that was faster.
    let fast = at(0, &trade(0, "XUSDT", "1", "1")) + &at(10, &trade(30, "YUSDT", "1", "1"));
    let (_, feed) = convert(&(fast + &at(11, &ticker(9, "100.5", "100.6")) + &at(95, &ticker(10, "100.4", "100.6"))));
    assert_eq!(tenths_of_ms(&feed), [0, 300, 310, 1_150]);
}

/// One line that was captured long before the exchange's time of it moves all that have none: that is said.
#[test]
fn a_step_of_the_captures_clock_is_told() {
    let first = diff(0, 2, 3, r#"["100.0","2"]"#, r#"["100.1","2"]"#);
    let early = format!("{} {first}\n", (DAY_MS - 600_000) * 1_000_000);
    let (summary, _) =
        convert(&(early + &at(1_000, &ticker(9, "100.5", "100.6")) + &at(2_000, &ticker(10, "100.4", "100.6"))));
    assert_eq!((summary.ahead_of_capture, summary.ahead_of_capture_ns), (2, 600_000_000_000));
    let (summary, _) = convert(&(at(0, &first) + &at(1_000, &ticker(9, "100.5", "100.6"))));
    assert_eq!((summary.untimed, summary.ahead_of_capture), (1, 0));
}

/// What comes before any time is known is kept; a capture of tickers alone goes by its own clock.
#[test]
fn events_before_the_first_time_are_kept() {
    let early = at(10, &ticker(9, "100.5", "100.6")) + &at(20, &ticker(10, "100.4", "100.6"));
    let (summary, feed) = convert(&(early.clone() + &at(30, &trade(31, "XUSDT", "1", "1"))));
    assert_eq!((tenths_of_ms(&feed), summary.untimed, summary.skipped.len()), (vec![110, 210, 310], 2, 0));
    let (summary, feed) = convert(&early);
    assert_eq!((tenths_of_ms(&feed), summary.untimed), (vec![109, 209], 2));
}

/// Spot's partial depth over a connection to one stream looks like snapshots. Without diffs each is the whole book.
#[test]
fn partial_depth_without_a_stream_name_is_the_book() {
    let text = at(0, &trade(0, "XUSDT", "100", "1"))
        + &at(100, &whole(10, r#"["99.9","1"],["99.8","2"]"#, r#"["100.1","1"]"#))
        + &at(200, &whole(14, r#"["101.9","3"]"#, r#"["102.1","4"],["102.2","5"]"#))
        + &at(250, &whole(14, r#"["101.9","3"]"#, r#"["102.1","4"],["102.2","5"]"#))
        + &at(300, &whole(20, r#"["105.0","6"]"#, r#"["105.1","7"]"#));
    let (summary, feed) = convert(&text);
    let unit = &summary.units[0];
    assert_eq!((unit.wholes_alone, unit.whole_from_line, summary.quotes), (true, Some(2), 3));
    assert_eq!(book(&feed), ("1050x6 / 1051x7".to_owned(), true));
    assert_eq!(tenths_of_ms(&feed), [0, 1_000, 2_000, 3_000]);
    // The same with the stream's name, and in the shape that futures send.
    let named = text.replace(r#"{"lastUpdateId""#, r#"{"stream":"xusdt@depth5","data":{"lastUpdateId""#);
    let named: String =
        named.lines().map(|line| line.to_owned() + if line.contains("depth5") { "}\n" } else { "\n" }).collect();
    let (summary, other) = convert(&named);
    assert_eq!((summary.events["partial depth"], &other.words), (4, &feed.words));
    let five = |from: u64, by: i64| {
        (0..5).map(|i| format!(r#"["{}","1"]"#, from as i64 + i * by)).collect::<Vec<_>>().join(",")
    };
    let futures = |n: u64| at(n, &diff(n, n * 10, n * 10 + 5, &five(100 + n, -1), &five(110 + n, 1)));
    let (summary, feed) = convert(&(futures(1) + &futures(2) + &futures(9)));
    assert_eq!((summary.units[0].wholes_alone, summary.units[0].breaks.count), (true, 0));
    assert_eq!(book(&feed).0, "1090x1 1080x1 1070x1 1060x1 1050x1 / 1190x1 1200x1 1210x1 1220x1 1230x1");
    // Beside a snapshot they are diffs, whatever they look like: levels that they leave out stay.
    let snapshot = at(0, &whole(9, r#"["99","1"],["90","4"]"#, r#"["112","1"],["120","4"]"#));
    let (summary, feed) = convert(
        &(snapshot
            + &at(1, &diff(1, 10, 15, &five(100, -1), &five(110, 1)))
            + &at(2, &diff(2, 16, 25, &five(100, -1), &five(110, 1)))),
    );
    assert!(!summary.units[0].wholes_alone && book(&feed).0.contains("900x4 / ") && book(&feed).0.ends_with("1200x4"));
}

/// A capture of one stream of depth names no symbol anywhere: it is asked for, and taken.
#[test]
fn a_symbol_can_be_told() {
    let text = at(0, r#"{"result":null,"id":1}"#) + &at(100, &whole(10, r#"["99.9","1"]"#, r#"["100.1","1"]"#));
    let said = refusal(&text, &guess());
    assert!(
        said.contains("capture:2: ") && said.contains("a snapshot without a symbol") && said.contains("--symbol"),
        "{said}"
    );
    let options = Options { symbol: Some("XUSDT".to_owned()), ..guess() };
    let (summary, feed) = convert_with(&text, &options).unwrap();
    assert_eq!((summary.units[0].symbol.as_str(), book(&feed).0.as_str()), ("XUSDT", "999x1 / 1001x1"));
}

/// A snapshot needs no time for its place: update numbers tell it.
#[test]
fn a_snapshot_may_be_the_first_line() {
    let text = at(0, &deep(10, r#"["99","1"],["98","1"]"#, r#"["101","1"],["102","1"]"#))
        + &at(100, &diff(100, 11, 12, r#"["99.5","2"]"#, ""))
        + &at(200, &diff(200, 13, 14, "", r#"["100.5","3"]"#));
    let (summary, feed) = convert(&text);
    assert_eq!(
        (summary.units[0].whole_from_line, summary.units[0].breaks.count, summary.skipped.len()),
        (Some(1), 0, 0)
    );
    assert_eq!(book(&feed), ("995x2 990x1 980x1 / 1005x3 1010x1 1020x1".to_owned(), true));
}

/// After a reconnect, or with two speeds of one stream, diffs overlap. Nothing is missing.
#[test]
fn overlapping_diffs_are_no_break() {
    let start = at(0, &deep(100, r#"["99","1"],["98","1"]"#, r#"["101","1"],["102","1"]"#))
        + &at(100, &diff(100, 99, 105, r#"["99.5","2"]"#, ""))
        + &at(200, &diff(200, 106, 110, "", r#"["100.5","3"]"#));
    let overlap = at(300, &diff(300, 108, 114, r#"["99.6","4"]"#, r#"["100.5","0"],["100.4","5"]"#));
    let (summary, feed) = convert(&(start.clone() + &overlap));
    assert_eq!(summary.units[0].breaks.count, 0);
    assert_eq!(book(&feed), ("996x4 995x2 990x1 980x1 / 1004x5 1010x1 1020x1".to_owned(), true));
    // Futures say what came before: pu. One update later there is a hole, in either market.
    for (first, previous, breaks) in
        [(108, Some(107), 0), (109, Some(110), 0), (112, Some(111), 1), (111, None, 0), (112, None, 1)]
    {
        let previous = previous.map_or(String::new(), |pu: u64| format!(r#""pu":{pu},"#));
        let overlap = overlap.replace(r#""U":108,"#, &format!(r#""U":{first},{previous}"#));
        let (summary, feed) = convert(&(start.clone() + &overlap));
        assert_eq!((summary.units[0].breaks.count, book(&feed).1), (breaks, breaks == 0), "{first} {previous}");
    }
}

fn diffs_twice() -> impl Strategy<Value = (Vec<u64>, Vec<bool>)> {
    (prop::collection::vec(1u64..4, 1..30), prop::collection::vec(any::<bool>(), 30))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Two streams of one symbol cut the same updates in different places, and either may be ahead: the book is that of the
    /// updates themselves.
    #[test]
    fn two_speeds_of_one_stream_make_one_book((cuts, turns) in diffs_twice()) {
        // Update n sets one of seven bids to size n.
        let price = |n: u64| n * 5 % 7;
        let span = |first: u64, last: u64| {
            let mut levels = std::collections::BTreeMap::new();
            (first..=last).for_each(|n| {
                levels.insert(price(n), n);
            });
            levels.iter().map(|(price, size)| format!(r#"["{}","{size}"]"#, 100 + price)).collect::<Vec<_>>().join(",")
        };
        let (mut fast, mut slow, mut reached, mut cuts) = (0, 0, 0, cuts.into_iter());
        let mut text = at(0, &whole(0, "", r#"["200","1"]"#));
        for turn in turns {
            let (stream, by) = match if turn { cuts.next() } else { None } {
                Some(cut) => (&mut slow, cut),
                None => (&mut fast, 1),
            };
            let last = *stream + by;
            text += &at(last + 1, &diff(last + 1, *stream + 1, last, &span(*stream + 1, last), ""));
            *stream = last;
            reached = reached.max(last);
        }
        let (summary, feed) = convert(&text);
        let mut expected = [0u64; 7];
        (1..=reached).for_each(|n| expected[price(n) as usize] = n);
        let best: Vec<_> = (0..7).rev().filter(|&i| expected[i] > 0).map(|i| format!("{}x{}", 1_000 + i * 10, expected[i])).collect();
        prop_assert_eq!(summary.units[0].breaks.count, 0);
        prop_assert_eq!(book(&feed).0, format!("{} / 2000x1", best.join(" ")));
    }
}

/// The capture's clock may count in any unit, with decimals too, the exchange's in ms or us.
#[test]
fn units_of_time_are_recognised() {
    type Captured = fn(u64) -> String;
    let cases: [(&str, Captured, [u64; 2]); 6] = [
        ("nanoseconds", |ms| format!("{}", ms * 1_000_000 + 7), [7, 100_000_007]),
        ("microseconds", |ms| format!("{}", ms * 1_000 + 123), [123_000, 100_123_000]),
        ("milliseconds", |ms| format!("{}", ms + 1), [1_000_000, 101_000_000]),
        ("milliseconds", |ms| format!("{ms}.25"), [250_000, 100_250_000]),
        ("seconds", |ms| format!("{}", ms / 1_000), [0, 0]),
        ("seconds", |ms| format!("{}.{:03}5", ms / 1_000, ms % 1_000), [500_000, 100_500_000]),
    ];
    for (name, captured, expected) in cases {
        let json = [diff(0, 1, 2, r#"["99.9","1"]"#, r#"["100.0","1"]"#), trade(100, "XUSDT", "100.0", "1")];
        let fine = json.clone().map(|json| json.replace(",\"s\"", "456,\"s\"").replace(",\"T\"", "456,\"T\""));
        for (json, tenths, fine) in [(json, [0, 1_000], 0), (fine, [4, 1_004], 2)] {
            let line = |(json, ms): (&String, u64)| format!("{} {json}\n", captured(DAY_MS + ms));
            let (summary, feed) = convert(&json.iter().zip([0, 100]).map(line).collect::<String>());
            let recv: Vec<_> = feed.iter().map(|record| record[4] - DAY_MS * 1_000_000).collect();
            assert_eq!((summary.clock_unit, recv), (name, expected.to_vec()));
            assert_eq!((tenths_of_ms(&feed), summary.fine_times), (tenths.to_vec(), fine));
            assert!(summary.behind_ns.max(summary.ahead_ns) < 1_000_000_000, "{summary:?}");
        }
    }
}

#[test]
fn sizes_that_dbn_does_not_hold_have_a_mend_that_works() {
    let text = at(0, &diff(0, 1, 2, r#"["0.1","12345678901.00"]"#, r#"["0.2","1.00"]"#))
        + &at(1, &trade(1, "XUSDT", "0.2", "15000001.00"));
    let said = refusal(&text, &guess());
    assert!(said.contains("capture:1") && said.contains("size 12345678901 of XUSDT"), "{said}");
    assert!(said.contains("--size-unit XUSDT=10 --round-sizes"), "{said}");
    let options = |unit: &str, round_sizes| Options { size_units: vec![unit.parse().unwrap()], round_sizes, ..guess() };
    let (summary, feed) = convert_with(&text, &options("XUSDT=10", true)).unwrap();
    assert_eq!(
        (book(&feed).0.as_str(), summary.units[0].rounded),
        ("1x1234567890 / 2x1", 3),
        "no level is rounded away"
    );
    assert_eq!(feed.iter().last().unwrap()[3] as u32, 1_500_000);
    // Without --round-sizes a coarse unit is still refused, and a fine one does not help.
    assert!(refusal(&text, &options("XUSDT=1000", false)).contains("no multiple of the size unit 1000"));
    assert!(refusal(&text, &options("XUSDT=0.01", true)).contains("--size-unit XUSDT=10 --round-sizes"));
    // Where every size allows it, the coarser unit is found: nothing is rounded.
    let round =
        text.replace("12345678901.00", "12345678900").replace("\"1.00\"", "\"100\"").replace("15000001.00", "15000000");
    let (summary, feed) = convert(&round);
    assert_eq!(
        (summary.units[0].size_unit.as_str(), summary.units[0].rounded, book(&feed).0.as_str()),
        ("10", 0, "1x1234567890 / 2x10")
    );
}

#[test]
fn levels_may_have_further_members() {
    let text = at(0, &diff(0, 1, 2, r#"["0.5","3",[]]"#, r#"["0.6","4",[],"x",{"y":1}]"#));
    assert_eq!(book(&convert(&text).1).0, "5x3 / 6x4");
    let said = refusal(&at(0, &diff(0, 1, 2, r#"["0.5"]"#, "")), &guess());
    assert!(said.contains("a level: price and size as text"), "{said}");
}

/// A file without any event says what is wrong with the first line that is none: line, field and value.
#[test]
fn refusals_name_the_line_and_the_value() {
    let good = diff(0, 1, 2, r#"["0.5","3"]"#, "");
    for (json, told) in [
        (good.replace("\"3\"", "\"3e5\""), "size \"3e5\" is no decimal number"),
        (good.replace("\"0.5\"", "0.5"), "invalid type: floating point `0.5`"),
        (good.replace("\"U\":1,", ""), "field \"U\" is missing"),
        (good.replace(&format!("{DAY_MS}"), "99999999999999999"), "time 99999999999999999 is no time"),
        (good.replace("depthUpdate", "kline"), "kind \"kline\""),
        (good.replace("\"s\":\"XUSDT\",", ""), "without a symbol"),
        (good.replace("}", ""), "no JSON behind its time"),
        (good.replace("\"e\":\"depthUpdate\"", "\"e\":\"\\u001b[31m\""), "kind \"\\u{1b}[31m\""),
    ] {
        let said = refusal(&at(0, &json), &guess());
        assert!(said.contains("capture:1: ") && said.contains(told), "{said}");
        let (summary, _) =
            convert(&(at(0, &trade(0, "YUSDT", "1", "1")) + &at(0, &trade(0, "ZUSDT", "1", "1")) + &at(0, &json)));
        assert!(
            told.contains("kline") || told.contains("1b") || summary.reasons.values().any(|what| what.contains(told)),
            "{told}"
        );
    }
    let (summary, _) = convert(&(at(0, &trade(0, "YUSDT", "1", "1")) + "17e5 {}\n"));
    assert_eq!(summary.reasons[&Bad::Shape], "its time is \"17e5\", which is no number");
}
