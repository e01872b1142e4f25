//! ITCH conversion: what each message becomes, byte by byte; what is skipped and counted; the real snippet.

mod common;
mod itch_support;

use itch_support::*;
use pillion::data::itch::{Bad, Options, TYPES};
use pillion::hot::book::{Applied, Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};

#[test]
fn each_message_is_one_event() {
    let day = Day::new(&framed(&[
        directory(7, 1, "XYZ"),
        action(7, 2, "XYZ", b'T'),
        add(7, 3, 10, b'B', 100, 1_000_000),
        add(7, 4, 11, b'S', 50, 1_010_000),
        execute(7, 5, 10, 30),
        execute_at(7, 6, 11, 20, b'Y', 1_005_000),
        execute_at(7, 7, 11, 10, b'N', 1_004_000),
        reduce(7, 8, 10, 20),
        replace(7, 9, 10, 12, 80, 999_900),
        delete(7, 10, 12),
        message(
            b'P',
            7,
            11,
            &[&[0; 8], b"B", &25u32.to_be_bytes(), &symbol("XYZ"), &1_000_500u32.to_be_bytes(), &[0; 8]],
        ),
        message(b'Q', 7, 12, &[&9u64.to_be_bytes(), &symbol("XYZ"), &1_000_000u32.to_be_bytes(), &[0; 8], b"O"]),
        message(b'Q', 7, 13, &[&0u64.to_be_bytes(), &symbol("XYZ"), &[0; 4], &[0; 8], b"O"]),
        directory(7, 14, "XYZ"),
        message(b'B', 7, 15, &[&77u64.to_be_bytes()]),
        action(7, 16, "XYZ", b'H'),
    ]));
    let (summary, feed) = day.convert();
    assert_eq!(
        told(&feed),
        [
            "7 R .",
            "7 S Some(true)",
            "7 N .",
            "7 A Bid 10 1000000 100 .",
            "7 A Ask 11 1010000 50 .",
            "7 T Ask 1000000 30",
            "7 F Bid 10 1000000 30",
            "7 C Bid 10 1000000 30 .",
            "7 T Bid 1005000 20",
            "7 F Ask 11 1005000 20",
            "7 C Ask 11 1010000 20 .",
            "7 F Ask 11 1004000 10", // not printable: no trade
            "7 C Ask 11 1010000 10 .",
            "7 C Bid 10 1000000 20 .",
            "7 C Bid 10 1000000 50",
            "7 A Bid 12 999900 80 .",
            "7 C Bid 12 999900 80 .",
            "7 T Ask 1000500 25 .", // in 2012 the hidden order's side was told
            "7 T None 1000000 9 .",
            "7 N .",
            "7 S Some(false)",
            "7 N .",
        ]
    );
    assert_eq!((summary.events, summary.records, summary.instruments), (14, 22, 1));
    assert_eq!((summary.types[&'B'], summary.types[&'R'], summary.types[&'C']), (1, 2, 2));
    assert_eq!((summary.unlisted, summary.skipped.len(), summary.cut), (0, 0, None));
    assert_eq!((feed.instruments[0].symbol.as_str(), feed.schema.as_str()), ("XYZ", "mixed"));
    assert_eq!(feed.dataset, "XNAS.ITCH");
}

/// The bytes as the specification lays them out, written down one by one, and the record's bytes as DBN lays them out.
#[test]
fn an_add_is_these_bytes() {
    let bytes = [
        0, 36, b'A', 0x01, 0x02, 0, 0, 0x1F, 0x1A, 0xCE, 0xD9, 0xF0, 0xE6, 0, 0, 0, 0, 0, 0, 0x30, 0x39, b'S', 0, 0, 1,
        0x2C, b'A', b'B', b'.', b'C', b' ', b' ', b' ', b' ', 0, 0x12, 0xD6, 0x87,
    ];
    let day = Day::new(&bytes);
    let (_, feed) = day.convert();
    let record: &[u8] = bytemuck::cast_slice(&feed.words);
    let time = (MIDNIGHT_NS + 0x1F1A_CED9_F0E6).to_le_bytes();
    let mut expected = vec![14, 0xA0, 2, 0, 0x02, 0x01, 0, 0];
    expected.extend(time); // ts_event
    expected.extend(12_345u64.to_le_bytes()); // order
    expected.extend(123_456_700_000i64.to_le_bytes()); // 123.4567
    expected.extend(300u32.to_le_bytes());
    expected.extend([0x88, 0, b'A', b'A']); // F_LAST and bad ts_recv, channel, add, ask
    expected.extend(time); // ts_recv
    expected.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(record, expected);
    assert_eq!((feed.instruments[0].symbol.as_str(), feed.schema.as_str()), ("AB.C", "mbo"));
}

#[test]
fn every_type_is_known_by_its_length() {
    assert_eq!(TYPES.len(), 23);
    let order = add(1, 1, 1, b'B', 1, 1);
    for (kind, length) in TYPES {
        // Text where the type has a symbol, a one where it has a number: a good message of each type.
        let good = match kind {
            b'R' => directory(1, 1, "S1"),
            b'H' => action(1, 1, "S1", b'Q'),
            b'A' => add(1, 1, 2, b'S', 1, 1),
            b'F' => [&add(1, 1, 2, b'S', 1, 1)[..], b"MPID"].concat(),
            b'E' => execute(1, 1, 1, 1),
            b'C' => execute_at(1, 1, 1, 1, b'Y', 1),
            b'X' => reduce(1, 1, 1, 1),
            b'U' => replace(1, 1, 1, 3, 1, 1),
            b'P' => message(b'P', 1, 1, &[&[0; 8], b"B", &[0, 0, 0, 1], &symbol("S1"), &[0; 4], &[0; 8]]),
            b'Q' => message(b'Q', 1, 1, &[&[0; 8], &symbol("S1"), &[0; 4], &[0; 8], b"O"]),
            _ => message(kind, 1, 1, &[&vec![0; length - 11]]),
        };
        let good = [&[kind], &good[1..]].concat();
        assert_eq!(good.len(), length, "{}", kind as char);
        let day = Day::new(&framed(&[order.clone(), good.clone()]));
        let (summary, _) = day.convert();
        assert!(summary.skipped.is_empty(), "{} {:?}", kind as char, summary.skipped);
        assert_eq!(summary.types[&(kind as char)], if kind == b'A' { 2 } else { 1 });
        for wrong in [&good[..length - 1], &[&good[..], &[0]].concat()] {
            let (summary, feed) = Day::new(&framed(&[order.clone(), wrong.to_vec(), delete(1, 9, 1)])).convert();
            let skipped = summary.skipped[&Bad::Length];
            assert_eq!((skipped.count, skipped.first, summary.skipped.len()), (1, 38, 1), "{}", kind as char);
            assert_eq!(told(&feed), ["1 A Bid 1 1 1 .", "1 C Bid 1 1 1 ."]);
        }
    }
}

#[test]
fn frames_that_are_no_messages_are_counted_and_skipped() {
    let (good, last) = (add(1, 5, 1, b'B', 5, 10_000), delete(1, 6, 1));
    let cases = [
        (vec![], Bad::Empty),
        (b"z".to_vec(), Bad::Type),
        (add(1, 5, 2, b'X', 5, 1), Bad::Value),
        (add(1, 5, 2, b'B', 0, 1), Bad::Value),
        (add(1, 5, 2, b'B', u32::MAX, 1), Bad::Value),
        (add(1, 86_400_000_000_000, 2, b'B', 1, 1), Bad::Value),
        (action(1, 5, "S1", b'?'), Bad::Value),
        (directory(1, 5, ""), Bad::Value),
        (execute_at(1, 5, 1, 1, b'?', 1), Bad::Value),
        (replace(1, 5, 1, 2, 0, 1), Bad::Value),
        // Found by random bytes: a record for each 4 billion shares would have filled the memory.
        (message(b'Q', 1, 5, &[&[0x7F; 8], &symbol("S1"), &[0; 4], &[0; 8], b"O"]), Bad::Value),
    ];
    for (bad, reason) in cases {
        let (summary, feed) = Day::new(&framed(&[good.clone(), bad.clone(), bad, last.clone()])).convert();
        assert_eq!((summary.skipped[&reason].count, summary.skipped[&reason].first), (2, 38), "{reason:?}");
        assert_eq!(told(&feed), ["1 A Bid 1 10000 5 .", "1 C Bid 1 10000 5 ."], "{reason:?}");
    }
}

#[test]
fn a_file_that_ends_inside_a_frame_is_converted_up_to_there() {
    let whole = framed(&[add(1, 5, 1, b'B', 5, 10_000), delete(1, 6, 1)]);
    for cut in [39, 40, 41, whole.len() - 1] {
        let (summary, feed) = Day::new(&whole[..cut]).convert();
        assert_eq!((summary.cut, feed.records), (Some(38), 1), "cut at {cut}");
    }
    assert_eq!(Day::new(&whole[..38]).convert().0.cut, None);
}

#[test]
fn orders_from_before_the_file_are_told_and_doubted() {
    let day = Day::new(&framed(&[
        delete(1, 1, 90),
        execute(1, 2, 91, 5),
        execute_at(1, 3, 92, 6, b'Y', 10_000),
        replace(1, 4, 93, 94, 7, 20_000),
        execute(1, 5, 94, 3),
        delete(1, 6, 94),
        add(2, 7, 95, b'B', 1, 1),
        delete(1, 8, 95), // of another stock
    ]));
    let (summary, feed) = day.convert();
    assert_eq!(
        told(&feed),
        [
            "1 N . ?",
            "1 N . ?",
            "1 T None 10000 6",
            "1 N . ?",
            "1 N",
            "1 N . ?",
            "1 T None 20000 3",
            "1 N . ?",
            "1 N . ?",
            "2 A Bid 95 1 1 .",
            "1 N . ?",
        ]
    );
    assert_eq!((summary.unlisted, summary.sideless), (5, 2));
    let names: Vec<_> = feed.instruments.iter().map(|i| i.symbol.as_str()).collect();
    assert_eq!(names, ["1", "S2"], "a stock that no message names has its number");
    let books =
        |words: &[u64]| bytemuck::from_bytes::<pillion_shm::records::MboMsg>(bytemuck::cast_slice(words)).order_id;
    assert_eq!(feed.iter().map(books).collect::<Vec<_>>(), [90, 91, 0, 92, 93, 94, 0, 94, 94, 95, 95]);
}

#[test]
fn contradictions_are_counted_and_the_book_stays_sound() {
    let (summary, feed) = Day::new(&framed(&[
        add(1, 1, 1, b'B', 5, 10_000),
        add(1, 2, 1, b'B', 6, 20_000),
        execute(1, 3, 1, 9),
        delete(1, 2, 1),
    ]))
    .convert();
    assert_eq!((summary.duplicates, summary.excess, summary.unlisted, summary.backwards), (1, 1, 1, 1));
    assert_eq!(
        told(&feed)[1..],
        [
            "1 C Bid 1 10000 5",
            "1 A Bid 1 20000 6 .",
            "1 T Ask 20000 9",
            "1 F Bid 1 20000 9",
            "1 C Bid 1 20000 6 .",
            "1 N . ?"
        ]
    );
}

/// One number in two stocks is two orders: neither touches the other.
#[test]
fn a_stocks_orders_are_its_own() {
    let (summary, feed) = Day::new(&framed(&[
        add(1, 1, 9, b'B', 5, 10_000),
        add(2, 2, 9, b'S', 6, 20_000),
        execute(1, 3, 9, 2),
        delete(2, 4, 9),
        delete(1, 5, 9),
    ]))
    .convert();
    assert_eq!((summary.duplicates, summary.unlisted, summary.excess), (0, 0, 0));
    let last = ["2 C Ask 9 20000 6 .", "1 C Bid 9 10000 3 ."];
    assert_eq!(told(&feed)[5..], last);
}

#[test]
fn gzip_gives_the_same_bytes() {
    let messages: Vec<_> = (1..50).map(|n| add(1 + n as u16 % 3, n, n, b'B', 5, 10_000 + n as u32)).collect();
    let plain = framed(&messages);
    let day = Day::new(&plain);
    day.convert();
    let expected = std::fs::read(day.output()).unwrap();
    let members = [gzip(&plain[..100]), gzip(b""), gzip(&plain[100..])].concat();
    for packed in [gzip(&plain), members] {
        let day = Day::new(&packed);
        day.convert();
        assert!(std::fs::read(day.output()).unwrap() == expected);
    }
    let cut = gzip(&plain);
    let text = Day::new(&cut[..cut.len() - 9]).refusal(&Options::default());
    assert!(text.contains("the compressed data ends in the middle") && text.contains("fetch the file again"), "{text}");
}

#[test]
fn symbols_choose_stocks_and_keep_their_numbers() {
    let day = Day::new(&framed(&[
        directory(1, 1, "AAA"),
        directory(2, 1, "BBB"),
        directory(3, 1, "CCC"),
        add(2, 2, 1, b'B', 1, 1),
        add(1, 2, 2, b'B', 1, 1),
    ]));
    let (summary, feed) = day.convert();
    assert_eq!((summary.instruments, summary.quiet, feed.instruments.len()), (2, 1, 2));
    let only =
        |symbols: &[&str]| Options { symbols: symbols.iter().map(|s| (*s).to_owned()).collect(), ..Options::default() };
    let (summary, feed) = day.convert_with(&only(&["BBB"])).unwrap();
    assert_eq!((told(&feed), summary.types[&'A']), (vec!["2 R .".to_owned(), "2 A Bid 1 1 1 .".to_owned()], 2));
    std::fs::remove_file(day.output()).unwrap();
    let text = day.refusal(&only(&["BBB", "aaa"]));
    assert!(text.contains("--symbols names \"aaa\"") && text.contains("its 3 stocks: AAA, BBB, CCC"), "{text}");
}

#[test]
fn the_snippet_replays_without_rejects() {
    let Some(input) = common::shared("itch50/12302019_SNIPPET.NASDAQ_ITCH50") else { return };
    let day = Day { folder: tempfile::tempdir().unwrap(), input };
    let (summary, feed) = day.convert();
    let types: Vec<_> = summary.types.iter().map(|(kind, count)| format!("{kind}{count}")).collect();
    assert_eq!(types.join(" "), "A367 C1 D167 E28 F193 I4 P4 Q4 S1 U225 X6");
    assert_eq!((summary.unlisted, summary.skipped.len(), summary.cut, summary.backwards), (394, 0, None, 0));
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut books = vec![Book::new(Limits { max_orders: 1024, max_levels: 256 }); instruments.len()];
    let mut ends = 0;
    for record in &feed {
        let tick = decode(record, &instruments).expect("no rejects");
        let applied = books[tick.instrument as usize].apply(&tick);
        assert!(matches!(applied, Applied::Unchanged | Applied::Changed), "{applied:?}");
        ends += u64::from(tick.is_last());
    }
    assert_eq!(ends, summary.events);
    assert_eq!(summary.events, 1_000 - 5, "all but S and I");
    assert!(books.iter().any(|book| book.best(Side::Bid).is_some()));
    assert!(feed.instruments.iter().any(|i| i.symbol == "QQQ"), "symbols come from the orders themselves");
}

fn operational(locate: u16, time_ns: u64, market: u8, action: u8) -> Vec<u8> {
    message(b'h', locate, time_ns, &[&symbol("XYZ"), &[market, action]])
}

/// A stock trades when neither the regulator nor the market itself stops it.
#[test]
fn an_operational_halt_stops_the_stock() {
    let day = Day::new(&framed(&[
        directory(7, 1, "XYZ"),
        add(7, 2, 10, b'B', 100, 1_000_000),
        operational(7, 3, b'Q', b'H'),
        add(7, 4, 11, b'B', 100, 999_000),
        operational(7, 5, b'Q', b'T'),
        action(7, 6, "XYZ", b'H'),
        operational(7, 7, b'Q', b'H'),
        action(7, 8, "XYZ", b'T'), // the market is still not able to
        operational(7, 9, b'Q', b'T'),
        operational(7, 10, b'Q', b'H'),
        action(7, 11, "XYZ", b'P'),
        operational(7, 12, b'Q', b'T'), // the pause is still on
        action(7, 13, "XYZ", b'T'),
        operational(7, 14, b'B', b'H'), // of another market
        operational(7, 15, b'Q', b'?'),
    ]));
    let (summary, feed) = day.convert();
    let (stopped, on) = ("7 S Some(false)", "7 S Some(true)");
    let told = told(&feed);
    let status: Vec<_> = told.iter().map(String::as_str).filter(|text| text.contains(" S ")).collect();
    let expected = [stopped, on, stopped, stopped, stopped, on, stopped, stopped, stopped, on];
    assert_eq!(status, expected);
    assert_eq!((summary.types[&'h'], summary.skipped[&Bad::Value].count), (7, 1));
    assert_eq!(feed.schema, "mixed");
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut book = Book::new(Limits { max_orders: 8, max_levels: 8 });
    let mut trading = Vec::new();
    for record in &feed {
        let tick = decode(record, &instruments).unwrap();
        book.apply(&tick);
        if tick.is_last() {
            trading.push((tick.ts_event - MIDNIGHT_NS, book.trading()));
        }
    }
    let halted: Vec<u64> = trading.iter().filter(|(_, trading)| !trading).map(|(ns, _)| *ns).collect();
    assert_eq!(halted, [3, 4, 6, 7, 8, 10, 11, 12]);
}

/// The venue has called every hidden order a buy since 14 July 2014.
#[test]
fn trades_with_hidden_orders_have_a_side_until_july_2014() {
    let hidden = |time_ns, side: u8| {
        let (shares, price) = (25u32.to_be_bytes(), 1_000_500u32.to_be_bytes());
        message(b'P', 7, time_ns, &[&[0; 8], &[side], &shares, &symbol("XYZ"), &price, &[0; 8]])
    };
    let day = Day::new(&framed(&[directory(7, 1, "XYZ"), hidden(2, b'B'), hidden(3, b'S')]));
    for (date, sides) in [("2014-07-13", ["Ask", "Bid"]), ("2014-07-14", ["None", "None"])] {
        let options = Options { date: Some(date.parse().unwrap()), ..Options::default() };
        let feed = day.convert_with(&options).unwrap().1;
        assert_eq!(told(&feed)[1..], sides.map(|side| format!("7 T {side} 1000500 25 .")), "{date}");
    }
}
