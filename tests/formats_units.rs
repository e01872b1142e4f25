//! What each format states of its instruments: the venue's tick, nothing at all, and how many levels.

mod common;
#[path = "common/orders.rs"]
mod orders;

use common::*;
use orders::*;
use pillion::data;

#[test]
fn an_itch_stub_leaves_the_venues_tick() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let message = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
    let order = |id: u64, side: u8, price: u32| {
        let mut body = vec![b'A', 0, 7, 0, 0];
        body.extend_from_slice(&(34_200_000_000_000_u64 + id).to_be_bytes()[2..]);
        body.extend_from_slice(&id.to_be_bytes());
        body.push(side);
        body.extend_from_slice(&100_u32.to_be_bytes());
        body.extend_from_slice(b"AAPL    ");
        body.extend_from_slice(&price.to_be_bytes());
        message(&body)
    };
    let bytes =
        [order(1, b'B', 1_500_000), order(2, b'S', 1_500_200), order(3, b'B', 1), order(4, b'B', 1_499_900)].concat();
    std::fs::write(at("stub_20191230.itch"), bytes).unwrap();
    let convert = |more: &[&str]| {
        let mut command = pillion();
        command.args(["convert", "itch"]).arg(at("stub_20191230.itch")).arg("-o").arg(at("out.dbn")).args(more);
        let out = output(&mut command);
        assert!(out.status.success(), "{}", stderr(&out));
        (stdout(&out), stderr(&out), data::load(at("out.dbn")).unwrap().instruments[0].tick_size)
    };
    let (said, noted, tick) = convert(&[]);
    assert_eq!(tick, CENT);
    assert!(said.contains("Rule 612"), "{said}");
    assert!(noted.contains("1 of orders or quotes, 0 of trades"), "{noted}");
    assert_eq!(features(&at("out.dbn"), &[]).0.column("spread").last(), Some(&"2.0"));
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"AAPL\"\ntick_size = \"0.0001\"\n").unwrap();
    assert_eq!(convert(&["--instruments", at("facts.toml").to_str().unwrap()]).2, CENT / 100);
}

#[test]
fn a_capture_of_binance_states_no_units() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let trade = |n: u64, price: &str, size: &str| {
        format!(
            "{n}000000000 {{\"stream\":\"x@trade\",\"data\":{{\"e\":\"trade\",\"E\":{n}000,\"T\":{n}000,\"s\":\"PEPEUSDT\",\
                 \"t\":{n},\"p\":\"{price}\",\"q\":\"{size}\",\"X\":\"MARKET\",\"m\":true}}}}"
        )
    };
    std::fs::write(at("capture"), [trade(1, "1.5", "12345678901"), trade(2, "1.75", "3")].join("\n")).unwrap();
    let convert = |more: &[&str]| {
        let mut command = pillion();
        command.args(["convert", "binance"]).arg(at("capture")).arg("-o").arg(at("out.dbn")).args(more);
        output(&mut command)
    };
    let fails = |more: &[&str], said: &[&str]| {
        let out = convert(more);
        let text = stderr(&out);
        assert!(out.status.code() == Some(2) && said.iter().all(|part| text.contains(part)), "{text}");
        assert!(!at("out.dbn").exists());
    };
    fails(
        &[],
        &["nothing states tick size and size unit of PEPEUSDT", "--tick-size", "--guess", "symbol = \"PEPEUSDT\""],
    );
    fails(&["--tick-size", "0.25"], &["nothing states tick size and size unit"]);
    // The mends that are named work, one after the other.
    let stated = ["--tick-size", "0.25", "--size-unit", "1"];
    fails(&stated, &["size 12345678901 of PEPEUSDT is more than", "--size-unit PEPEUSDT=10 --round-sizes"]);
    fails(
        &["--tick-size", "0.25", "--size-unit", "PEPEUSDT=10"],
        &["size 12345678901 of PEPEUSDT is no multiple", "--round-sizes"],
    );
    let out = convert(&["--tick-size", "0.25", "--size-unit", "PEPEUSDT=10", "--round-sizes"]);
    assert!(
        out.status.success() && stderr(&out).contains("2 sizes are rounded to the size unit 10"),
        "{}",
        stderr(&out)
    );
    let feed = data::load(at("out.dbn")).unwrap();
    assert_eq!((feed.instruments[0].tick_size, feed.instruments[0].size_unit), (25 * CENT, 10.0));
    let sizes: Vec<u32> = feed.iter().map(|record| record[3] as u32).collect();
    assert_eq!(sizes, [1_234_567_890, 1], "to the nearest, and never to nothing");
    std::fs::write(at("facts.toml"), "[[instruments]]\nsymbol = \"PEPEUSDT\"\ntick_size = \"0.5\"\nsize_unit = 10.0\n")
        .unwrap();
    let facts = at("facts.toml");
    let facts = ["--instruments", facts.to_str().unwrap(), "--round-sizes"];
    let out = convert(&facts);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("PEPEUSDT: no multiple of the tick size 0.5: 0 of orders or quotes, 1 of trades"));
    let out = convert(&[&facts[..], &["--tick-size", "0.25"]].concat());
    assert!(
        stderr(&out).contains("tick size is 0.5 by ") && stderr(&out).contains("0.25 by the flag"),
        "{}",
        stderr(&out)
    );
    let out = convert(&["--guess", "--size-unit", "10", "--round-sizes"]);
    assert!(stderr(&out).contains("warning: PEPEUSDT: tick size 0.25 is a GUESS"), "{}", stderr(&out));
}

/// A conversion's guess is no statement to a reader of its file, and no later price has a say in any row.
#[test]
fn a_guess_of_a_conversion_reads_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let trade = |n: u64, price: &str, size: &str| {
        format!(
            "{n}000000000 {{\"e\":\"trade\",\"E\":{n}000,\"T\":{n}000,\"s\":\"XUSDT\",\"t\":{n},\"p\":\"{price}\",\
             \"q\":\"{size}\",\"m\":true}}\n"
        )
    };
    let first = trade(1, "10.0", "0.01") + &trade(2, "10.2", "0.02");
    let convert = |text: &str, more: &[&str]| {
        std::fs::write(at("capture"), text).unwrap();
        let mut command = pillion();
        let out = output(command.args(["convert", "binance"]).arg(at("capture")).arg("-o").arg(at("c.dbn")).args(more));
        assert!(out.status.success(), "{}", stderr(&out));
        stderr(&out)
    };
    let said = convert(&first, &["--guess"]);
    assert!(
        said.contains("tick size 0.2 and size unit 0.01 are GUESSES from the whole of this file, and no statement")
    );
    let read = |more: &[&str]| {
        let mut command = pillion();
        command.arg("features").arg(at("c.dbn")).args(more);
        command
    };
    refused(&mut read(&[]), &["nothing states the tick size of XUSDT"]);
    let (rows, said) = features(&at("c.dbn"), &["--guess"]);
    let guesses =
        "tick size 0.01 is a GUESS from the prices up to its first row, size unit 0.01 is a GUESS of its conversion";
    assert!(said.contains(guesses), "{said}");
    convert(&(first.clone() + &trade(3, "10.05", "0.001")), &["--guess", "--size-unit", "0.001"]);
    let (more, said) = features(&at("c.dbn"), &["--guess"]);
    assert!(said.contains("tick size 0.01 is a GUESS") && !said.contains("GUESS of its conversion"), "{said}");
    assert_eq!(rows.rows.len() + 1, more.rows.len());
    // A stated tick size leaves the size unit a guess, also through a copy and a merge; a statement of both ends it.
    convert(&first, &["--guess", "--tick-size", "0.1"]);
    refused(
        &mut read(&[]),
        &["nothing states the size unit of XUSDT", "0.01 in its definition is a guess", "exchangeInfo"],
    );
    let out = output(pillion().args(["convert", "dbn"]).arg(at("c.dbn")).arg("-o").arg(at("copy.dbn")));
    assert!(out.status.success(), "{}", stderr(&out));
    let other = write(&at("other.dbn"), vec![defined("B", 7, CENT, 1.0)], &[]);
    let merged =
        output(pillion().arg("merge").args([&at("copy.dbn"), &other]).args(["--renumber", "-o"]).arg(at("c.dbn")));
    assert!(merged.status.success(), "{}", stderr(&merged));
    refused(&mut read(&[]), &["nothing states the size unit of XUSDT"]);
    let list = |unit: &str| {
        std::fs::write(at("list.toml"), format!("[[instruments]]\nsymbol = \"XUSDT\"\ntick_size = \"0.1\"\n{unit}"))
            .unwrap();
        at("list.toml").display().to_string()
    };
    refused(&mut read(&["--instruments", &list("")]), &["nothing states the size unit of XUSDT"]);
    refused(
        &mut read(&["--instruments", &list("size_unit = 0.1\n")]),
        &["size unit is 0.1 by", "0.01 by the file's own definition"],
    );
    let (_, said) = features(&at("c.dbn"), &["--instruments", &list("size_unit = \"0.01\"\n")]);
    assert!(said.contains("XUSDT (id 1): tick size 0.1, size unit 0.01") && !said.contains("GUESS"), "{said}");
    // A list of instruments without a size unit states none.
    std::fs::write(at("capture"), &first).unwrap();
    let mut command = pillion();
    command
        .args(["convert", "binance"])
        .arg(at("capture"))
        .arg("-o")
        .arg(at("c.dbn"))
        .args(["--instruments", &list("")]);
    refused(&mut command, &["nothing states tick size and size unit of XUSDT"]);
}

#[test]
fn depth_that_the_records_do_not_show_is_said_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let es = es_instruments();
    let es = ["--instruments", es.to_str().unwrap()];
    for (file, said) in [
        ("dbn-es/es-20240701.mbp-1.dbn.zst", "ESU4: the records show 1 level of a side, and "),
        ("dbn-es/es-20240701.trades.dbn.zst", "ESU4: the records show no levels (trades alone), and "),
    ] {
        let Some(file) = shared(file) else { return };
        let (_, text) = features(&file, &es);
        assert!(text.contains(said) && text.contains("columns of set `book` look at more"), "{text}");
    }
    let (message, book) = (folder.path().join("message.csv"), folder.path().join("orderbook.csv"));
    std::fs::write(&message, "34200.1,1,1,5,1000000,1\n34200.2,1,2,5,1000200,-1\n").unwrap();
    std::fs::write(&book, "9999999999,0,1000000,5\n1000200,5,1000000,5\n").unwrap();
    let to = folder.path().join("one.dbn");
    let mut command = pillion();
    command.args(["convert", "lobster"]).args([&message, &book]).arg("-o").arg(&to);
    let out = output(command.args(["--symbol", "ONE", "--date", "2012-06-21"]));
    assert!(out.status.success() && stdout(&out).contains("tick size: 0.01 by NASDAQ's rule"), "{}", stderr(&out));
    let (rows, text) = features(&to, &[]);
    assert!(text.contains("ONE: the records show 1 level of a side") && text.contains("imbalance_5"), "{text}");
    assert_eq!(rows.column("spread"), ["2.0"]);
    let Some(deep) = shared("dbn-vectors/test_data.mbp-10.v3.dbn.zst") else { return };
    assert!(!features(&deep, &es).1.contains("levels of a side"));
}

#[test]
fn a_lane_says_that_its_feed_shows_too_few_levels() {
    let Some(input) = shared("dbn-es/es-20240701.mbp-1.dbn.zst") else { return };
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let json = dir.path().join("report.json");
    let mut command = pillion();
    command
        .arg("replay")
        .arg("--config")
        .arg(config(dir.path(), ""))
        .arg("--input")
        .arg(input)
        .arg("--json")
        .arg(&json);
    let out = output(command.arg("--instruments").arg(es_instruments()));
    let text = stderr(&out);
    assert!(out.status.success() && text.contains("the records show 1 level of a side"), "{text}");
    let report: pillion::lab::replay::ReplayReport = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(report.events > 0 && report.lane.shallow_events == report.events, "{} events", report.events);
}
