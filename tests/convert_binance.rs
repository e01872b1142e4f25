//! Binance captures: what each line becomes, when the book is whole, sizes that do not fit, and the real capture.

mod common;

use std::io::{Read, Write};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use pillion::Error;
use pillion::data::binance::{self, Bad, Kind, Options, Summary};
use pillion::data::{Feed, load};
use pillion::hot::book::{Book, Limits};
use pillion::hot::decode::{Body, Instruments, Side, decode};
use pillion_shm::records::{Mbp10Msg, UNDEF_PRICE, flags};
use tempfile::TempDir;

struct Capture {
    folder: TempDir,
    input: PathBuf,
}

impl Capture {
    fn new(lines: &[String]) -> Capture {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("capture");
        std::fs::write(&input, lines.join("\n") + "\n").unwrap();
        Capture { folder, input }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.dbn")
    }

    fn with(&self, kind: Kind, units: &[&str]) -> Result<(Summary, Feed), Error> {
        let size_units = units.iter().map(|unit| unit.parse().unwrap()).collect();
        let options = Options { kind, size_units, guess: true, ..Options::default() };
        let summary = binance::convert_file(&self.input, &self.output(), &options, &Default::default())?;
        Ok((summary, load(self.output())?))
    }

    fn convert(&self) -> (Summary, Feed) {
        self.with(Kind::Mbp10, &[]).unwrap()
    }

    fn refusal(&self, units: &[&str]) -> String {
        let error = self.with(Kind::Mbp10, units).map(drop).unwrap_err();
        assert_eq!(error.exit_code, 2);
        assert!(!self.output().exists());
        error.to_string()
    }
}

fn levels(list: &[(&str, &str)]) -> String {
    let list: Vec<_> = list.iter().map(|(price, size)| format!("[\"{price}\",\"{size}\"]")).collect();
    format!("[{}]", list.join(","))
}

/// Line number n: captured at n seconds, of exchange time n * 10 + 1 seconds.
fn line(n: u64, symbol: &str, stream: &str, data: &str) -> String {
    let (local, time) = (n * 1_000_000_000, n * 10_000 + 1_000);
    let lower = symbol.to_lowercase();
    format!(
        "{local} {{\"stream\":\"{lower}@{stream}\",\"data\":{{\"E\":{time},\"T\":{time},\"s\":\"{symbol}\",{data}}}}}"
    )
}

type Levels<'a> = &'a [(&'a str, &'a str)];

fn diff(n: u64, ids: [u64; 3], bids: Levels, asks: Levels) -> String {
    let [previous, first, last] = ids;
    let (bids, asks) = (levels(bids), levels(asks));
    let data = format!("\"e\":\"depthUpdate\",\"U\":{first},\"u\":{last},\"pu\":{previous},\"b\":{bids},\"a\":{asks}");
    line(n, "XUSDT", "depth@0ms", &data)
}

fn ticker(n: u64, update: u64, bid: (&str, &str), ask: (&str, &str)) -> String {
    let data = format!(
        "\"e\":\"bookTicker\",\"u\":{update},\"b\":\"{}\",\"B\":\"{}\",\"a\":\"{}\",\"A\":\"{}\"",
        bid.0, bid.1, ask.0, ask.1
    );
    line(n, "XUSDT", "bookTicker", &data)
}

fn trade(n: u64, symbol: &str, price: &str, size: &str, maker: bool, kind: &str) -> String {
    let data = format!("\"e\":\"trade\",\"t\":{n},\"p\":\"{price}\",\"q\":\"{size}\",\"X\":\"{kind}\",\"m\":{maker}");
    line(n, symbol, "trade", &data)
}

/// A snapshot of these levels and of twelve on each side far behind them, which [`told`] leaves out.
fn snapshot(n: u64, last: u64, bids: Levels, asks: Levels) -> String {
    let far = |from: u32| (0..12).map(|i| format!("{}.{}", (from + i) / 10, (from + i) % 10)).collect::<Vec<_>>();
    let (low, high) = (far(21), far(9_001));
    let deep = |near: Levels, far: &[String]| {
        let far = far.iter().map(|price| (price.as_str(), "1"));
        levels(&near.iter().copied().chain(far).collect::<Vec<_>>())
    };
    shallow_snapshot(n, last, &deep(bids, &low), &deep(asks, &high))
}

/// A snapshot of nothing but these levels.
fn shallow_snapshot(n: u64, last: u64, bids: &str, asks: &str) -> String {
    let time = n * 10_000 + 1_000;
    format!("{n}000000000 {{\"lastUpdateId\":{last},\"E\":{time},\"T\":{time},\"bids\":{bids},\"asks\":{asks}}}")
}

/// Records as text: action, side, price and size of the change, `|`, bids and asks in tenths; `?` where the book may be bad.
fn told(feed: &Feed) -> Vec<String> {
    let tenths = |price: i64| if price == UNDEF_PRICE { 0 } else { price / 100_000_000 };
    let text = |record: &[u64]| {
        let bytes: &[u8] = bytemuck::cast_slice(record);
        let event: &pillion_shm::records::TradeMsg = bytemuck::from_bytes(&bytes[..48]);
        assert_eq!(event.flags & flags::LAST, flags::LAST);
        let doubt = if event.flags & flags::MAYBE_BAD_BOOK != 0 { "?" } else { "" };
        let (action, side) = (event.action as char, event.side as char);
        let mut text = format!("{action}{side} {} {}{doubt}", tenths(event.price), event.size);
        if bytes.len() == size_of::<Mbp10Msg>() {
            let levels = bytemuck::from_bytes::<Mbp10Msg>(bytes).levels;
            let side = |of: &dyn Fn(&pillion_shm::records::BidAskPair) -> (i64, u32)| {
                let shown = levels.iter().map(of).filter(|level| level.0 != UNDEF_PRICE);
                let shown = shown.filter(|level| !matches!(tenths(level.0), 21..=32 | 9_001..=9_012));
                shown.map(|(price, size)| format!(" {}x{size}", tenths(price))).collect::<String>()
            };
            text += &format!(" |{} /{}", side(&|l| (l.bid_px, l.bid_sz)), side(&|l| (l.ask_px, l.ask_sz)));
        }
        text
    };
    feed.iter().map(text).collect()
}

#[test]
fn the_book_is_whole_from_its_snapshot_and_again_after_a_break() {
    let capture = Capture::new(&[
        diff(1, [9, 10, 12], &[("10.0", "1")], &[]),
        diff(2, [12, 13, 15], &[], &[("10.5", "2")]),
        diff(3, [15, 16, 18], &[("10.0", "3")], &[("10.6", "0")]),
        // As of update 14: the second diff overlaps it, and the third goes on top.
        snapshot(4, 14, &[("10.0", "1"), ("9.9", "4")], &[("10.5", "9"), ("10.6", "5"), ("10.7", "6")]),
        diff(5, [18, 19, 20], &[("10.0", "0")], &[("10.5", "0")]),
        trade(6, "XUSDT", "9.9", "2", true, "MARKET"),
        diff(7, [21, 22, 23], &[("9.8", "7")], &[]), // 21 is missing
        trade(8, "XUSDT", "10.7", "1", false, "INSURANCE_FUND"),
        snapshot(9, 25, &[("9.8", "7"), ("9.7", "1")], &[("10.7", "6")]),
        diff(10, [23, 24, 25], &[("9.8", "1")], &[]), // older than the snapshot
        diff(11, [25, 26, 27], &[("9.7", "2")], &[]),
        snapshot(12, 30, &[("1.0", "1")], &[]),
    ]);
    let (summary, feed) = capture.convert();
    assert_eq!(
        told(&feed),
        [
            "AB 100 1? | 100x1 /",
            "AA 105 2? | 100x1 / 105x2",
            "AB 100 2? | 100x3 / 105x2",
            "MN 0 0 | 100x3 99x4 / 105x2 107x6",
            "MN 0 0 | 99x4 / 107x6",
            "TA 99 2",
            "RN 0 0? | /",
            "AB 98 7? | 98x7 /",
            "TN 107 1",
            "MN 0 0 | 98x7 97x1 / 107x6",
            "AB 97 1 | 98x7 97x2 / 107x6",
        ]
    );
    let unit = &summary.units[0];
    assert_eq!((unit.whole_from_line, unit.breaks.count, unit.breaks.first), (Some(4), 1, 7));
    assert_eq!((summary.quotes, summary.trades, summary.unused_snapshots, summary.backwards), (9, 2, 1, 0));
    let first: &[u64] = feed.iter().next().unwrap();
    assert_eq!((first[1], first[4]), (11_000_000_000, 1_000_000_000), "both times are kept");
    assert_eq!(summary.behind_ns, (12 * 10 + 1 - 12) * 1_000_000_000);
    let mut book = Book::new(Limits { max_orders: 1, max_levels: 10 });
    let instruments = Instruments::new(&feed.instruments).unwrap();
    for record in &feed {
        book.apply(&decode(record, &instruments).unwrap());
    }
    assert_eq!((book.best(Side::Bid).unwrap().size, book.suspect()), (7, false));
}

/// A snapshot has as many levels as were asked for: behind its worst price, levels may be missing that no diff tells.
#[test]
fn a_snapshot_is_whole_down_to_its_worst_price() {
    let side = |from: f64, by: f64, count: usize| {
        let prices: Vec<_> = (0..count).map(|i| format!("{:.1}", from + by * i as f64)).collect();
        levels(&prices.iter().map(|price| (price.as_str(), "1")).collect::<Vec<_>>())
    };
    let shown = |n, last, bids, asks| shallow_snapshot(n, last, &side(20.0, -0.1, bids), &side(20.1, 0.1, asks));
    let doubts = |lines: &[String]| -> Vec<bool> {
        let (_, feed) = Capture::new(lines).convert();
        feed.iter().map(|record| bytemuck::cast_slice::<u64, u8>(record)[30] & flags::MAYBE_BAD_BOOK != 0).collect()
    };
    let gone = |n: u64, price: &str| diff(n, [9 + n, 10 + n, 10 + n], &[(price, "0")], &[]);
    let moved = [gone(1, "20.0"), gone(2, "19.9")];
    let with = |first: String| [&[first][..], &moved].concat();
    assert_eq!(doubts(&with(shown(0, 10, 3, 3))), [true; 3], "never ten levels");
    assert_eq!(doubts(&with(shown(0, 10, 11, 11))), [false, false, true], "the tenth bid is one more than was shown");
    assert_eq!(doubts(&with(shown(0, 10, 11, 20))), [false; 3], "fewer than asks: there are no more");
    // The next snapshot makes it whole again, before or behind the latest diff; one that does not meet the diffs does not.
    for (last, whole) in [(12, true), (14, true), (8, false)] {
        let again = shallow_snapshot(3, last, &side(19.8, -0.1, 20), &side(20.1, 0.1, 20));
        let lines =
            [with(shown(0, 10, 11, 11)), vec![again, diff(4, [last.max(12), 15, 15], &[("19.8", "5")], &[])]].concat();
        let doubts = doubts(&lines);
        assert_eq!((doubts[2], *doubts.last().unwrap()), (true, !whole), "{last}");
    }
    // A partial depth stream without a name, beside diffs, is a snapshot of few levels again and again.
    let lines: Vec<_> = (0..4).flat_map(|n| [shown(2 * n, 10 + n, 5, 5), gone(n + 1, "18.0")]).collect();
    assert!(doubts(&lines).iter().all(|doubt| *doubt));
}

#[test]
fn a_ticker_ahead_of_the_diffs_says_the_best_quotes() {
    let capture = Capture::new(&[
        snapshot(1, 10, &[("10.0", "1"), ("9.9", "2"), ("9.8", "3")], &[("10.1", "4"), ("10.2", "5")]),
        ticker(2, 12, ("9.9", "2"), ("10.1", "4")), // the best bid is gone
        ticker(3, 13, ("10.0", "7"), ("10.2", "5")),
        ticker(4, 13, ("1.0", "1"), ("2.0", "1")),    // told already
        diff(5, [10, 11, 12], &[("10.0", "0")], &[]), // behind the ticker
        diff(6, [12, 13, 14], &[("10.0", "6")], &[("10.1", "0")]),
    ]);
    assert_eq!(
        told(&capture.convert().1),
        [
            "MN 0 0 | 100x1 99x2 98x3 / 101x4 102x5",
            "CB 100 1 | 99x2 98x3 / 101x4 102x5",
            "MN 0 0 | 100x7 99x2 98x3 / 102x5",
            "CB 100 1 | 100x6 99x2 98x3 / 102x5",
        ]
    );
}

#[test]
fn a_diff_that_comes_again_changes_nothing() {
    let capture = Capture::new(&[
        snapshot(1, 10, &[("10.0", "1")], &[("10.5", "1")]),
        diff(2, [10, 11, 12], &[("10.0", "2")], &[]),
        diff(3, [12, 13, 14], &[("10.0", "3")], &[]),
        diff(4, [12, 13, 14], &[("10.0", "3")], &[]), // again
        diff(5, [10, 11, 12], &[("10.0", "2")], &[]), // older
        diff(6, [14, 15, 16], &[("10.0", "4")], &[]),
    ]);
    let (summary, feed) = capture.convert();
    assert_eq!(
        told(&feed),
        ["MN 0 0 | 100x1 / 105x1", "AB 100 1 | 100x2 / 105x1", "AB 100 1 | 100x3 / 105x1", "AB 100 1 | 100x4 / 105x1",]
    );
    assert_eq!(summary.units[0].breaks.count, 0);
}

#[test]
fn a_snapshot_before_the_diff_that_breaks_makes_the_book_whole_again() {
    let capture = |last: u64| {
        Capture::new(&[
            snapshot(1, 10, &[("10.0", "1")], &[("10.5", "1")]),
            diff(2, [10, 11, 12], &[("10.0", "2")], &[]),
            snapshot(3, last, &[("9.0", "5")], &[("9.5", "6")]),
            diff(4, [19, 20, 21], &[("9.0", "4")], &[]), // 13 to 19 are missing
        ])
    };
    let before = ["MN 0 0 | 100x1 / 105x1", "AB 100 1 | 100x2 / 105x1", "RN 0 0? | /"];
    for (last, after) in [
        (20, "MN 0 0 | 90x4 / 95x6"),
        (21, "MN 0 0 | 90x5 / 95x6"), // the diff is in it
        (18, "AB 90 4? | 90x4 /"),    // 19 is missing still
        (12, "AB 90 4? | 90x4 /"),    // no newer than the book
    ] {
        let (summary, feed) = capture(last).convert();
        let told = told(&feed);
        assert_eq!((&told[..3], &told[3..]), (&before.map(str::to_owned)[..], &[after.to_owned()][..]), "{last}");
        assert_eq!((summary.units[0].breaks.count, summary.unused_snapshots), (1, 1), "{last}");
    }
}

#[test]
fn a_book_is_never_earlier_than_what_it_contains() {
    let capture = Capture::new(&[
        snapshot(1, 10, &[("10.0", "1")], &[("10.5", "1")]),
        diff(5, [10, 11, 12], &[("10.0", "2")], &[]),
        ticker(3, 13, ("10.0", "7"), ("10.5", "1")), // of an earlier time than the diff
        trade(4, "XUSDT", "10.0", "1", true, "MARKET"),
        ticker(6, 14, ("10.0", "8"), ("10.5", "1")),
    ]);
    let (summary, feed) = capture.convert();
    let seconds: Vec<_> = feed.iter().map(|record| record[1] / 1_000_000_000).collect();
    assert_eq!((seconds, summary.backwards), (vec![11, 51, 51, 41, 61], 1));
}

#[test]
fn sizes_are_exact_or_refused() {
    let capture = |size: &str| {
        Capture::new(&[trade(1, "XUSDT", "1", "0.5", true, "MARKET"), trade(2, "XUSDT", "1", size, true, "MARKET")])
    };
    for (size, unit, units) in [("0.25", "0.01", 25), ("3", "0.1", 30), ("0.000000001", "0.000000001", 1)] {
        let (summary, feed) = capture(size).convert();
        assert_eq!(summary.units[0].size_unit, unit);
        let sizes: Vec<_> = told(&feed).iter().map(|t| t.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).collect();
        assert_eq!(sizes[1], units);
    }
    let text = capture("0.25").refusal(&["0.1"]);
    assert!(
        text.contains("capture:2") && text.contains("size 0.25 of XUSDT is no multiple of the size unit 0.1"),
        "{text}"
    );
    let text = capture("429496729.5").refusal(&[]);
    assert!(
        text.contains("capture:2") && text.contains("size 429496729.5") && text.contains("4,294,967,294"),
        "{text}"
    );
    assert_eq!(capture("429496729.4").convert().0.trades, 2);
    let text = capture("1").refusal(&["YUSDT=1"]);
    assert!(text.contains("--size-unit names \"YUSDT\"") && text.contains("name one of XUSDT"), "{text}");
    for bad in ["", "0", "-1", "x", "XUSDT=", "0.0000000001"] {
        assert!(bad.parse::<binance::StatedUnit>().unwrap_err().contains("is no unit"), "{bad}");
    }
}

#[test]
fn each_symbol_is_an_instrument_with_its_own_unit() {
    let aggregate = line(3, "BUSDT", "aggTrade", "\"e\":\"aggTrade\",\"a\":1,\"p\":\"2\",\"q\":\"0.5\",\"m\":false");
    let again = line(4, "AUSDT", "aggTrade", "\"e\":\"aggTrade\",\"a\":1,\"p\":\"2\",\"q\":\"5\",\"m\":false");
    let capture = Capture::new(&[trade(1, "AUSDT", "1", "2", true, "MARKET"), aggregate, again]);
    let (summary, feed) = capture.with(Kind::Trades, &["AUSDT=0.1"]).unwrap();
    assert_eq!((told(&feed), feed.schema.as_str()), (vec!["TA 10 20".to_owned(), "TB 20 5".to_owned()], "trades"));
    let ids: Vec<_> = feed.instruments.iter().map(|i| (i.id, i.symbol.as_str())).collect();
    assert_eq!((ids, summary.aggregates), (vec![(1, "AUSDT"), (2, "BUSDT")], 1));
}

#[test]
fn lines_that_are_no_events_are_counted_and_left_out() {
    let good = trade(1, "XUSDT", "1", "1", true, "MARKET");
    for (bad, reason) in [
        ("hello".to_owned(), Bad::Shape),
        ("12 {\"stream\":".to_owned(), Bad::Shape),
        ("x {}".to_owned(), Bad::Shape),
        (String::new(), Bad::Shape),
        (good.replace("\"p\":\"1\"", "\"p\":\"1e5\""), Bad::Value),
        (good.replace("\"p\":\"1\"", "\"p\":1"), Bad::Value),
        (good.replace("\"q\":\"1\",", ""), Bad::Value),
        (good.replace("\"T\":11000", "\"T\":99999999999999999"), Bad::Value),
        (diff(2, [1, 2, 3], &[("1", "-1")], &[]), Bad::Value),
    ] {
        let (summary, feed) = Capture::new(&[good.clone(), bad.clone(), good.clone()]).convert();
        let skipped = summary.skipped.get(&reason).copied().unwrap_or_default();
        assert_eq!((skipped.count, skipped.first, feed.records), (1, 2, 2), "{bad}");
    }
    let other = line(2, "XUSDT", "markPrice", "\"e\":\"markPriceUpdate\",\"p\":\"1\"");
    let best = diff(2, [1, 2, 3], &[("1", "1")], &[("2", "1")]).replace("depth@0ms", "depth20@100ms");
    let (summary, feed) = Capture::new(&[good.clone(), diff(2, [1, 2, 3], &[], &[]), best]).convert();
    assert_eq!((summary.events["partial depth"], feed.records), (1, 1), "beside diffs");
    let nameless = snapshot(2, 1, &[], &[]);
    let two = trade(3, "YUSDT", "1", "1", true, "MARKET");
    let (summary, _) = Capture::new(&[good, other, nameless, two]).convert();
    assert_eq!((summary.events["markPriceUpdate"], summary.skipped[&Bad::Nameless].first), (1, 3));
    let text = Capture::new(&["nothing".to_owned()]).refusal(&[]);
    assert!(text.contains("capture:1: has no event of a known kind") && text.contains("\"nothing\""), "{text}");
}

/// The best quotes after each ticker of the real capture are what the ticker says, read another way.
#[test]
fn the_real_capture_follows_its_tickers() {
    let Some(input) = common::shared("binance/usdm_btcusdt_20240808.gz") else { return };
    let capture = Capture { folder: tempfile::tempdir().unwrap(), input };
    let (summary, feed) = capture.convert();
    let unit = &summary.units[0];
    assert_eq!((unit.whole_from_line, unit.breaks.count, unit.symbol.as_str()), (Some(55), 0, "BTCUSDT"));
    assert_eq!(
        (unit.tick_size.as_str(), unit.size_unit.as_str(), feed.instruments[0].tick_size),
        ("0.1", "0.001", 0),
        "a guess from the whole capture is no statement"
    );
    assert_eq!((summary.trades, summary.events["bookTicker"], summary.skipped.len()), (21_313, 66_089, 0));
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(&capture.input).unwrap()).read_to_string(&mut text).unwrap();
    let scaled = |text: &str, by: f64| (text.parse::<f64>().unwrap() * by).round() as i64;
    let mut tickers = std::collections::HashMap::new();
    for line in text.lines() {
        let (local, json) = line.split_once(' ').unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        if json["data"]["e"] == "bookTicker" {
            let of = |key: &str| json["data"][key].as_str().unwrap().to_owned();
            let quotes = [scaled(&of("b"), 10.0), scaled(&of("B"), 1e3), scaled(&of("a"), 10.0), scaled(&of("A"), 1e3)];
            let update = json["data"]["u"].as_u64().unwrap() as u32;
            tickers.insert((local.parse::<u64>().unwrap(), update), quotes);
        }
    }
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let (mut compared, mut crossed) = (0, 0);
    for record in &feed {
        let tick = decode(record, &instruments).expect("no rejects");
        let Body::Quotes { levels: [best, ..], .. } = tick.body else { continue };
        crossed += u32::from(best.bid_px >= best.ask_px);
        if let Some(quotes) = tickers.get(&(record[4], tick.sequence)) {
            let have = [best.bid_px / 100_000_000, best.bid_sz.into(), best.ask_px / 100_000_000, best.ask_sz.into()];
            assert_eq!(have, *quotes, "captured at {}", record[4]);
            compared += 1;
        }
    }
    eprintln!("{compared} records compared with their tickers, {crossed} crossed");
    assert!(compared > 60_000, "{compared}");
    assert_eq!(crossed, 0);
}

#[test]
fn gzip_gives_the_same_bytes() {
    let capture = Capture::new(&[trade(1, "XUSDT", "1", "1", true, "MARKET")]);
    capture.convert();
    let expected = std::fs::read(capture.output()).unwrap();
    let plain = std::fs::read(&capture.input).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).unwrap();
    std::fs::write(&capture.input, encoder.finish().unwrap()).unwrap();
    capture.convert();
    assert!(std::fs::read(capture.output()).unwrap() == expected);
}
