//! The C++ examples as their users run them: on the ES day and on small files of every DBN version, with a sidecar that
//! this test plays.
#![cfg(not(loom))]

mod common;
#[path = "common/cxx.rs"]
mod cxx;

use common::{Place, place};
use pillion_shm::records::{MboMsg, flags};
use pillion_shm::{
    Access, BoardSpec, BoardWriter, CncOwner, From, InstrumentEntry, Kind, ModelEntry, Poll, RingReader, RingSpec,
    RingWriter, Signal, SignalTables, State, signal_flags,
};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const ES: &str = "dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst";
/// Records of the ES day; and event ends outside the snapshot, that of the feed's clear among them.
const RECORDS: u64 = 68_792;
const EVENTS: u64 = 47_023;
const WARMING: u64 = 500;

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

/// A sidecar of this test's own: a signal for each event end outside snapshots, whose outputs follow from its number.
struct Sidecar {
    page: CncOwner,
    signals: RingWriter,
    board: BoardWriter,
    ticks: Option<RingReader>,
    consumed: u64,
    /// The model's revision: another after each restart.
    revision: u32,
    /// Signals there will be: the last of them turns round, so that whoever prints turns has read them all.
    all: u64,
}

impl Sidecar {
    fn start(place: &Place, all: u64) -> Self {
        let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
        let revision = 3 + page.generation() as u32;
        let tables = SignalTables {
            instruments: vec![InstrumentEntry {
                id: 17_077,
                symbol: "ESH4".into(),
                tick_size: 250_000_000,
                size_unit: 1.0,
            }],
            models: vec![ModelEntry {
                name: "mock".into(),
                revision,
                sha256: [0; 32],
                features_hash: [0; 32],
                outputs: vec!["down".into(), "flat".into(), "up".into()],
                meaning: "probability that the test goes down, stays or goes up".into(),
                engine: "test".into(),
                isa: "none".into(),
                runtime: "test".into(),
                horizon_events: 7,
            }],
        };
        let table = tables.to_bytes().unwrap();
        let spec = RingSpec { capacity: 1 << 16, record_words: 14, table: table.clone() };
        let signals = RingWriter::create(&place.lane, Kind::Signals, &spec, &place.clock, &Access::default()).unwrap();
        let spec = BoardSpec { instruments: 1, models: 1, table };
        let board = BoardWriter::create(&place.lane, &spec, &place.clock, &Access::default()).unwrap();
        page.beat(place.clock.now_ns());
        page.set_state(State::Run);
        Self { page, signals, board, ticks: None, consumed: 0, revision, all }
    }

    /// What output `up` less output `down` of signal `n` is: -1, 0 or 1.
    fn lean(n: u64, all: u64) -> i32 {
        let lean = (n / 100 % 3) as i32 - 1;
        if n + 1 < all { lean } else { 1 - 2 * i32::from(lean == 1) }
    }

    fn signal(&mut self, place: &Place, ring_seq: u64, ts_event: u64) {
        let n = self.signals.published();
        let mut signal: Signal = bytemuck::Zeroable::zeroed();
        (signal.ring_seq, signal.ts_event) = (ring_seq, ts_event);
        (signal.revision, signal.outputs_len) = (self.revision, 3);
        signal.flags = if n < WARMING { signal_flags::WARMING } else { 0 };
        signal.outputs[..3].copy_from_slice(&match Self::lean(n, self.all) {
            -1 => [1.0, 0.0, 0.0],
            0 => [0.0, 1.0, 0.0],
            _ => [0.0, 0.0, 1.0],
        });
        signal.tick_ns = place.clock.now_ns();
        signal.signal_ns = signal.tick_ns;
        self.signals.publish(signal.words());
        self.board.set(0, 0, &signal);
    }

    /// Takes the ticks that are there.
    fn turn(&mut self, place: &Place) {
        self.page.beat(place.clock.now_ns());
        if self.ticks.is_none() {
            self.ticks = place.reader(From::Start).ok();
            self.ticks.iter().for_each(|ring| self.page.set_ticks_ring(ring.generation(), 0));
        }
        let mut words = [0; 14];
        while let Some(Poll::Record { ring_seq, .. }) = self.ticks.as_mut().map(|ring| ring.poll(&mut words)) {
            let tick: MboMsg = bytemuck::pod_read_unaligned(&bytemuck::cast_slice::<u64, u8>(&words)[..56]);
            self.consumed += 1;
            if tick.flags & (flags::LAST | flags::SNAPSHOT) == flags::LAST {
                self.signal(place, ring_seq, tick.hd.ts_event);
            }
        }
        self.page.set_ticks_consumed(self.consumed);
    }
}

fn strategy(place: &Place, more: &[&str]) -> Option<Command> {
    let mut strategy = example("strategy")?;
    strategy.args(["--lane", "test", "--max-age", "600000", "--heartbeat", "600000", "--dir"]).arg(place.dir.path());
    strategy.args(more);
    Some(strategy)
}

/// feed → this test as the sidecar → strategy: every decision and every count of the summary follows from the numbers.
#[test]
fn the_strategy_follows_the_es_day() {
    let place = place();
    let Some((file, _)) = plain(place.dir.path(), ES) else { return };
    let Some(mut feed) = feed(&place, &file, &["--rate", "max", "--lossless", "--clear"]) else { return };
    let mut strategy = Strategy::start(strategy(&place, &["--oldest", "--show", "100000", "--for", "120"]).unwrap());
    let mut sidecar = Sidecar::start(&place, EVENTS);
    let mut feed = Running::start(&mut feed);
    while !feed.ended() {
        sidecar.turn(&place);
        std::thread::sleep(Duration::from_micros(200));
    }
    let fed = feed.finish();
    assert!(
        text(&fed.stdout).contains("consumed   68,793 by the sidecar"),
        "{}{}",
        text(&fed.stdout),
        text(&fed.stderr)
    );
    assert!(text(&fed.stdout).contains("not paced; 1 clear records before them\n"), "{}", text(&fed.stdout));
    assert_eq!((sidecar.consumed, sidecar.signals.published()), (RECORDS + 1, EVENTS));
    let leans: Vec<_> = (WARMING..EVENTS).map(|n| Sidecar::lean(n, EVENTS)).collect();
    let turns =
        |to: i32| leans.windows(2).filter(|w| w[0] != to && w[1] == to).count() as u64 + u64::from(leans[0] == to);
    let all_turns = 1 + turns(-1) + turns(0) + turns(1);
    (0..all_turns).for_each(|_| strategy.hear("ESH4 mock: "));
    // Not before it has read all: once STOPPED it rightly stands aside.
    sidecar.page.set_state(State::Stopped);
    let said = strategy.finish();
    for words in [
        "model      mock revision 4, test none: probability that the test goes down, stays or goes up\n".to_owned(),
        "instrument ESH4, id 17077, tick size 0.25\n".to_owned(),
        "ESH4 mock: stand aside, up 0.000 down 1.000, ".to_owned(),
        "ignored: features are still warming up".to_owned(),
        "ESH4 mock: SELL, up 0.000 down 1.000, ".to_owned(),
        format!("summary    {} signals read, 0 lost, 0 of no concern, 0 restarts of the sidecar\n", thousands(EVENTS)),
        format!("           {} fresh\n", thousands(EVENTS - WARMING)),
        "           500 ignored: features are still warming up\n".to_owned(),
        format!("would      buy {} times, sell {}, go flat {}, stand aside 1\n", turns(1), turns(-1), turns(0)),
        "age        when used: half below ".to_owned(),
    ] {
        assert!(said.contains(&words), "no {words:?} in\n{said}");
    }
    assert_eq!(said.matches("ESH4 mock: ").count() as u64, all_turns);
}

/// The strategy beside the test, heard line by line. `--for` bounds its life.
struct Strategy {
    process: Running,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Strategy {
    fn start(mut command: Command) -> Self {
        let mut process = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = BufReader::new(process.0.stdout.take().unwrap());
        Self { process, output, said: String::new() }
    }

    /// Waits for the next line with these words.
    fn hear(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended before {words:?}:\n{}", self.said);
            self.said += &line;
        }
    }

    /// Its end by itself, and all that it said.
    fn finish(mut self) -> String {
        self.output.read_to_string(&mut self.said).unwrap();
        assert!(self.process.0.wait().unwrap().success());
        self.said
    }
}

fn thousands(n: u64) -> String {
    format!("{},{:03}", n / 1_000, n % 1_000)
}

/// A sidecar that dies and comes again: the strategy stands aside, goes over to the new ring and looks names up again; one
/// that it does not know is of no concern.
#[test]
fn the_strategy_follows_a_restart() {
    let place = place();
    let Some(command) = strategy(&place, &["--oldest", "--model", "mock", "--for", "120"]) else { return };
    let mut first = Sidecar::start(&place, 0);
    (0..WARMING + 10).for_each(|n| first.signal(&place, n, n));
    let mut strategy = Strategy::start(command);
    strategy.hear("stand aside");
    drop(first);
    let mut second = Sidecar::start(&place, WARMING + 20);
    (0..WARMING + 20).for_each(|n| second.signal(&place, n, n));
    for words in ["restart    signals of generation 2: rows and outputs looked up again", "stand aside", "BUY", "SELL"]
    {
        strategy.hear(words);
    }
    second.page.set_state(State::Stopped);
    let said = strategy.finish();
    let summary =
        format!("summary    {} signals read, 0 lost, 0 of no concern, 1 restarts", thousands(2 * WARMING + 30));
    assert!(said.contains(&summary), "no {summary:?} in\n{said}");
}

#[test]
fn the_strategy_watches_the_board() {
    let place = place();
    let mut sidecar = Sidecar::start(&place, WARMING + 150);
    let board = ["--board", "--symbol", "ESH4", "--for", "1", "--model"];
    let Some(mut wrong) = strategy(&place, &[&board[..], &["mlp"]].concat()) else { return };
    let out = wrong.output().unwrap();
    assert!(text(&out.stderr).contains("the board has no cell of these: ESH4, mlp"), "{}", text(&out.stderr));
    (0..WARMING + 150).for_each(|n| sidecar.signal(&place, n, n));
    let said = run(strategy(&place, &[&board[..], &["mock"]].concat()).unwrap());
    assert!(said.contains("ESH4 mock: BUY, up 1.000 down 0.000, "), "{said}");
    assert!(said.contains(" fresh\n") && said.contains(" 0 lost, 0 of no concern, 0 restarts"), "{said}");
    // HALT stands above any score: flagged on the page even if nothing new is published.
    sidecar.page.set_state(State::Halt);
    let said = run(strategy(&place, &[&board[..], &["mock"]].concat()).unwrap());
    assert!(said.contains("stand aside") && said.contains("HALT is in force") && !said.contains("fresh"), "{said}");
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
