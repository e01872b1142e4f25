//! C++ and Rust on the same regions, both ways and mixed, by each compiler: every field of every record equal, losses
//! counted alike, a take-over noticed by both, one mailbox, one clock. The C++ side is tests/cpp/peer.cpp.
#![cfg(not(loom))]

mod common;
#[path = "common/cxx.rs"]
mod cxx;

use common::{Place, place, say, wait};
use pillion_shm::records::{BidAskPair, MboMsg, MbpMsg, RecordHeader, StatusMsg, TradeMsg, rtype};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Counters, From, InstrumentEntry,
    Kind, Lane, ModelEntry, Outcome, Poll, Reading, RingReader, RingSpec, RingWriter, STAGES, Signal, SignalTables,
    StageSummary, State,
};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const SLOTS: u64 = 64;
/// Words of the widest record, MBP-10.
const WIDE: usize = 46;

/// Field number `field` of record `n`, in both languages.
fn value(n: u64, field: u64) -> u64 {
    let x = (n * 128 + field + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

fn letter(n: u64, field: u64, of: &[u8]) -> u8 {
    of[(value(n, field) % of.len() as u64) as usize]
}

fn header(n: u64, rtype: u8, bytes: usize) -> RecordHeader {
    RecordHeader {
        length: (bytes / 4) as u8,
        rtype,
        publisher_id: value(n, 0) as u16,
        instrument_id: value(n, 1) as u32,
        ts_event: value(n, 2),
    }
}

fn trade(n: u64, rtype: u8, bytes: usize) -> TradeMsg {
    TradeMsg {
        hd: header(n, rtype, bytes),
        price: value(n, 4) as i64,
        size: value(n, 5) as u32,
        action: letter(n, 8, b"ACMRTFN"),
        side: letter(n, 9, b"BAN"),
        flags: value(n, 6) as u8,
        depth: value(n, 7) as u8,
        ts_recv: value(n, 10),
        ts_in_delta: value(n, 11) as i32,
        sequence: value(n, 12) as u32,
    }
}

fn quotes<const N: usize>(n: u64, rtype: u8) -> MbpMsg<N> {
    let level = |i: usize| {
        let field = |f: u64| value(n, 13 + 6 * i as u64 + f);
        BidAskPair {
            bid_px: field(0) as i64,
            ask_px: field(1) as i64,
            bid_sz: field(2) as u32,
            ask_sz: field(3) as u32,
            bid_ct: field(4) as u32,
            ask_ct: field(5) as u32,
        }
    };
    MbpMsg { event: trade(n, rtype, size_of::<MbpMsg<N>>()), levels: std::array::from_fn(level) }
}

fn mbo(n: u64) -> MboMsg {
    MboMsg {
        hd: header(n, rtype::MBO, size_of::<MboMsg>()),
        order_id: value(n, 3),
        price: value(n, 4) as i64,
        size: value(n, 5) as u32,
        flags: value(n, 6) as u8,
        channel_id: value(n, 7) as u8,
        action: letter(n, 8, b"ACMRTFN"),
        side: letter(n, 9, b"BAN"),
        ts_recv: value(n, 10),
        ts_in_delta: value(n, 11) as i32,
        sequence: value(n, 12) as u32,
    }
}

fn status(n: u64) -> StatusMsg {
    StatusMsg {
        hd: header(n, rtype::STATUS, size_of::<StatusMsg>()),
        ts_recv: value(n, 10),
        action: value(n, 3) as u16,
        reason: value(n, 4) as u16,
        trading_event: value(n, 5) as u16,
        is_trading: letter(n, 6, b"YN~"),
        is_quoting: letter(n, 7, b"YN~"),
        is_short_sell_restricted: letter(n, 8, b"YN~"),
        _reserved: [0; 7],
    }
}

/// Record `n`: the five types in turn.
fn record(n: u64) -> Vec<u64> {
    match n % 5 {
        0 => bytemuck::cast_slice(bytemuck::bytes_of(&mbo(n))).to_vec(),
        1 => bytemuck::cast_slice(bytemuck::bytes_of(&quotes::<1>(n, rtype::MBP_1))).to_vec(),
        2 => bytemuck::cast_slice(bytemuck::bytes_of(&quotes::<10>(n, rtype::MBP_10))).to_vec(),
        3 => bytemuck::cast_slice(bytemuck::bytes_of(&trade(n, rtype::TRADE, size_of::<TradeMsg>()))).to_vec(),
        _ => bytemuck::cast_slice(bytemuck::bytes_of(&status(n))).to_vec(),
    }
}

fn signal(n: u64) -> Signal {
    Signal {
        ring_seq: value(n, 0),
        ts_event: value(n, 1),
        tick_ns: value(n, 2),
        signal_ns: value(n, 3),
        instrument: (n % 2) as u32,
        model: (n / 2 % 2) as u16,
        outputs_len: (n % 17) as u16,
        revision: value(n, 4) as u32,
        flags: value(n, 5) as u32,
        outputs: std::array::from_fn(|i| (value(n, 6 + i as u64) % 100_000) as f32 / 7.0),
    }
}

fn tables() -> SignalTables {
    let instrument = |i: u32| InstrumentEntry {
        id: 17_077 + i,
        symbol: format!("ESH{i}"),
        tick_size: 250_000_000 - 7 * i64::from(i),
        size_unit: 0.5 + f64::from(i),
    };
    let model = |i: u32| ModelEntry {
        name: format!("model-{i}"),
        revision: 3 + i,
        sha256: std::array::from_fn(|byte| (byte * 5) as u8 + i as u8),
        features_hash: std::array::from_fn(|byte| (byte * 7) as u8 + i as u8),
        outputs: vec!["down".into(), "flat".into(), format!("up {i}")],
        meaning: format!("what µ means {i}"),
        engine: "engine".into(),
        isa: "avx512".into(),
        runtime: format!("runtime {i}"),
        horizon_events: 10 + i,
    };
    SignalTables { instruments: (0..2).map(instrument).collect(), models: (0..2).map(model).collect() }
}

/// The C++ process.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(compiler: &cxx::Compiler, dir: &Path) -> (Self, String) {
        let mut command = std::process::Command::new(compiler.build("tests/cpp/peer.cpp", &[]));
        let mut child = command.arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut peer = Self { child, input, output };
        let clock = peer.hear();
        (peer, clock)
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the C++ side ended without a word");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.hear()
    }

    fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `test` in a place of its own with each compiler's peer.
fn with_peers(test: impl Fn(&Place, &cxx::Compiler, Peer)) {
    for compiler in cxx::compilers() {
        let place = place();
        let (peer, clock) = Peer::start(&compiler, place.dir.path());
        assert_eq!(clock.split(' ').nth(1), Some(place.clock.id().to_string().as_str()), "{clock}");
        test(&place, &compiler, peer);
    }
}

fn writer(lane: &Lane, clock: &Clock, kind: Kind) -> RingWriter {
    let (record_words, table) = match kind {
        Kind::Signals => (14, tables().to_bytes().unwrap()),
        _ => (WIDE, Vec::new()),
    };
    let spec = RingSpec { capacity: SLOTS, record_words, table };
    RingWriter::create(lane, kind, &spec, clock, &Access::default()).unwrap()
}

/// Publishes `count` more of what `kind` carries.
fn publish(ring: &mut RingWriter, kind: Kind, count: u64) {
    for _ in 0..count {
        let n = ring.published();
        let words = if kind == Kind::Signals { signal(n).words().to_vec() } else { record(n) };
        ring.publish_at(&words, n + 7);
    }
}

fn reader(place: &Place, kind: Kind) -> RingReader {
    RingReader::attach(&place.lane, kind, From::Start, &place.clock).unwrap()
}

/// Reads what is there, checks it, and says it in the peer's words.
fn drain(reader: &mut RingReader, kind: Kind) -> String {
    let (mut read, mut lost, mut bad) = (0, 0, 0);
    let mut words = [0; WIDE];
    loop {
        match reader.poll(&mut words) {
            Poll::Empty => return format!("read {read} lost {lost} cursor {} bad {bad}", reader.cursor()),
            Poll::Lost(n) => lost += n,
            Poll::Corrupt => bad += 1,
            Poll::Record { ring_seq, stamp_ns } => {
                let wanted = if kind == Kind::Signals { signal(ring_seq).words().to_vec() } else { record(ring_seq) };
                read += 1;
                bad += u64::from(stamp_ns != ring_seq + 7 || words[..wanted.len()] != wanted[..]);
            }
        }
    }
}

const RINGS: [(Kind, &str); 2] = [(Kind::Ticks, "tick"), (Kind::Signals, "signal")];

/// One writer of each language, a reader of each: the same records, the same losses, to the last one.
#[test]
fn rings_go_both_ways() {
    with_peers(|place, _, mut peer| {
        for (kind, name) in RINGS {
            assert_eq!(peer.ask(&format!("{name}-writer {SLOTS}")), "generation 1");
            let mut ours = reader(place, kind);
            let attached = peer.ask(&format!("{name}-reader"));
            let more = if kind == Kind::Signals { " tables 1" } else { "" };
            assert_eq!(attached, format!("generation 1{more}"));
            if kind == Kind::Signals {
                assert_eq!(SignalTables::from_bytes(ours.table()).unwrap(), tables(), "C++ wrote them");
            }
            // Some, all that fit, one too many, many too many, and none.
            let mut total = 0;
            for count in [5, SLOTS, SLOTS + 1, 10 * SLOTS + 3, 0, 1] {
                total += count;
                assert_eq!(peer.ask(&format!("publish-{name}s {count}")), format!("published {total}"));
                let lost = count.saturating_sub(SLOTS);
                let expected = format!("read {} lost {lost} cursor {total} bad 0", count - lost);
                assert_eq!(drain(&mut ours, kind), expected, "{name}s from C++ to Rust");
                assert_eq!(peer.ask(&format!("drain-{name}s")), expected, "{name}s from C++ to C++");
            }
        }
    });
    with_peers(|place, _, mut peer| {
        for (kind, name) in RINGS {
            let mut ring = writer(&place.lane, &place.clock, kind);
            let mut ours = reader(place, kind);
            assert!(peer.ask(&format!("{name}-reader")).starts_with("generation 1"));
            for count in [5, SLOTS, SLOTS + 1, 10 * SLOTS + 3, 0, 1] {
                publish(&mut ring, kind, count);
                let here = drain(&mut ours, kind);
                assert!(here.ends_with("bad 0"), "{here}");
                assert_eq!(peer.ask(&format!("drain-{name}s")), here, "{name}s from Rust to C++");
            }
        }
    });
}

#[test]
fn boards_go_both_ways() {
    let spec = || BoardSpec { instruments: 2, models: 2, table: tables().to_bytes().unwrap() };
    with_peers(|place, _, mut peer| {
        assert_eq!(peer.ask("board-writer"), "generation 1");
        let board = BoardReader::attach(&place.lane, &place.clock).unwrap();
        assert_eq!(SignalTables::from_bytes(&board.table()).unwrap(), tables());
        for n in [0, 5, 2, 9, 4_000_000_000] {
            let wanted = signal(n);
            let read = || board.read(wanted.instrument, u32::from(wanted.model));
            assert_ne!(read(), Reading::Value(wanted));
            assert_eq!(peer.ask(&format!("set {n}")), "set 1");
            assert_eq!(read(), Reading::Value(wanted));
        }
        assert_eq!(board.read(1, 1), Reading::Never);
        drop(peer);
        assert!(!board.owner_alive());
        let mut ours = BoardWriter::create(&place.lane, &spec(), &place.clock, &Access::default()).unwrap();
        assert_eq!((ours.generation(), board.superseded()), (2, true));
        ours.set(0, 0, &signal(4));
    });
    with_peers(|place, _, mut peer| {
        let mut ours = BoardWriter::create(&place.lane, &spec(), &place.clock, &Access::default()).unwrap();
        assert_eq!(peer.ask("board"), "cells 4 tables 1");
        for n in [0, 5, 2, 9] {
            let wanted = signal(n);
            let before = peer.ask(&format!("latest {n}"));
            assert!(before == "never cell 1" || before == "other cell 1", "{before}");
            ours.set(wanted.instrument, u32::from(wanted.model), &wanted);
            assert_eq!(peer.ask(&format!("latest {n}")), "same cell 1");
        }
        assert_eq!(peer.ask("latest 3"), "never cell 1");
    });
}

/// What this binary does as a second process; nothing when the harness runs it as one of its tests.
#[test]
fn child() {
    let Ok(role) = std::env::var("PILLION_TEST_ROLE") else { return };
    let (lane, clock) = Place::of_parent();
    if role == "halted" {
        let page = CncOwner::create(&lane, &clock, &Access::default()).unwrap();
        page.set_state(State::Halt);
        say(page.start_halted());
        wait();
        return;
    }
    let (kind, _) = RINGS[usize::from(role == "signals")];
    let mut ring = writer(&lane, &clock, kind);
    publish(&mut ring, kind, 10);
    say(ring.generation());
    wait();
}

/// A writer of one language is killed, one of the other takes its name over: generation + 1, noticed by the readers of both,
/// who first drain what the dead one left.
#[test]
fn a_killed_writers_name_goes_to_the_other_language() {
    with_peers(|place, compiler, mut watcher| {
        for (kind, name) in RINGS {
            let notice = |watcher: &mut Peer, ours: &mut RingReader, generation: u64| {
                assert_eq!(watcher.ask(&format!("drain-{name}s")), "read 10 lost 0 cursor 10 bad 0");
                assert_eq!(drain(ours, kind), "read 10 lost 0 cursor 10 bad 0");
                assert!(ours.successor() && ours.superseded() && !ours.owner_alive());
                assert!(ours.follow().unwrap());
                assert_eq!(ours.generation(), generation);
                let followed = format!("marked 1 superseded 1 followed 1 generation {generation}");
                assert_eq!(watcher.ask(&format!("follow-{name}s")), followed);
            };
            let mut rust = place.child(if kind == Kind::Signals { "signals" } else { "ticks" });
            assert_eq!(rust.hear(), "1");
            let mut ours = reader(place, kind);
            assert!(watcher.ask(&format!("{name}-reader")).starts_with("generation 1"));
            assert!(!ours.superseded());
            let held = watcher.ask(&format!("{name}-writer {SLOTS}"));
            assert!(held.starts_with("error held") && held.contains(&rust.pid().to_string()), "{held}");
            rust.kill();

            let (mut cpp, _) = Peer::start(compiler, place.dir.path());
            assert_eq!(cpp.ask(&format!("{name}-writer {SLOTS}")), "generation 2");
            notice(&mut watcher, &mut ours, 2);
            assert_eq!(cpp.ask(&format!("publish-{name}s 10")), "published 10");
            let spec = RingSpec { capacity: SLOTS, record_words: WIDE, table: Vec::new() };
            let held = RingWriter::create(&place.lane, kind, &spec, &place.clock, &Access::default()).unwrap_err();
            let message = held.to_string();
            assert!(message.contains("held by") && message.contains(&cpp.child.id().to_string()), "{message}");
            cpp.kill9();

            let mut ring = writer(&place.lane, &place.clock, kind);
            assert_eq!(ring.generation(), 3);
            notice(&mut watcher, &mut ours, 3);
            publish(&mut ring, kind, 3);
            assert_eq!(watcher.ask(&format!("drain-{name}s")), "read 3 lost 0 cursor 3 bad 0");
            assert_eq!(drain(&mut ours, kind), "read 3 lost 0 cursor 3 bad 0");
        }
    });
}

fn stages(n: u64) -> [StageSummary; STAGES.len()] {
    std::array::from_fn(|i| {
        let at = |step: u64| n + step * i as u64;
        StageSummary { count: at(1), p50: at(10), p90: at(20), p99: at(30), p999: at(40), p9999: at(50), max: at(60) }
    })
}

fn counters(n: u64) -> Counters {
    bytemuck::cast::<[u64; 8], _>(std::array::from_fn(|i| n + i as u64))
}

/// The page in the peer's words.
fn page(page: &CncClient) -> String {
    let c: [u64; 8] = bytemuck::cast(page.counters());
    let words = |numbers: &[u64]| numbers.iter().map(|n| format!(" {n}")).collect::<String>();
    let stage = |(name, s): (&&str, &StageSummary)| format!(" {name}{}", words(bytemuck::cast_ref::<_, [u64; 7]>(s)));
    let stages = page.stages().map_or_else(String::new, |s| STAGES.iter().zip(&s).map(stage).collect());
    format!(
        "{} halted {} beat {} consumed {} of-2 {} counters{} stages{stages} pid {} alive {}",
        page.state(),
        u8::from(page.halted()),
        page.heartbeat_ns(),
        page.ticks_consumed(),
        page.consumed_of(2),
        words(&c),
        page.pid(),
        u8::from(page.owner_alive()),
    )
}

/// The next request; a minute without one is a failure.
fn request(ours: &CncOwner) -> pillion_shm::Request {
    let looks = (0..60_000).map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        ours.poll_mailbox()
    });
    looks.flatten().next().expect("a request")
}

/// Every number of a page, the mailbox, and a HALT that outlives its owner, whichever language that is.
#[test]
fn control_pages_go_both_ways() {
    with_peers(|place, compiler, mut operator| {
        let ours = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
        let client = CncClient::attach(&place.lane, &place.clock).unwrap();
        assert_eq!(operator.ask("operator"), "generation 1");
        assert_eq!(operator.ask("page"), page(&client));
        ours.beat(1_000);
        ours.set_ticks_consumed(1_100);
        ours.set_ticks_ring(2, 40);
        ours.set_counters(&counters(1_000));
        ours.publish_stages(&stages(1_000));
        let told = operator.ask("page");
        assert_eq!(told, page(&client));
        assert!(
            told.contains("consumed 1100 of-2 1060 counters 1000 1001") && told.contains("tick_to_signal 1006 1060")
        );
        for (order, command, state, halted) in [
            ("halt", Command::Halt, State::Halt, 1),
            ("resume", Command::Resume, State::Run, 0),
            ("halt", Command::Halt, State::Halt, 1),
        ] {
            operator.tell(order);
            let request = request(&ours);
            assert_eq!(request.command, Some(command));
            ours.set_state(state);
            ours.answer(&request, Outcome::Done);
            assert_eq!(operator.hear(), format!("done {state} halted {halted}"));
        }
        drop(ours);
        // Nobody lives to answer: the word itself is set.
        assert_eq!(operator.ask("halt"), "done HALT halted 1");

        // C++ takes the halted page over, and is killed halted.
        let (mut cpp, _) = Peer::start(compiler, place.dir.path());
        assert_eq!(cpp.ask("owner"), "generation 2 halted 1");
        assert_eq!(cpp.ask("fill 5000"), "filled");
        let client = CncClient::attach_operator(&place.lane).unwrap();
        assert_eq!(operator.ask("operator"), "generation 2");
        assert_eq!(operator.ask("page"), page(&client));
        assert_eq!((client.counters(), client.stages()), (counters(5_000), Some(stages(5_000))));
        assert_eq!((client.heartbeat_ns(), client.ticks_consumed(), client.consumed_of(2)), (5_000, 5_100, 5_060));
        for (command, state) in [(Command::Resume, State::Run), (Command::Halt, State::Halt)] {
            cpp.tell("serve");
            assert_eq!(client.request(command, SOON).unwrap(), Outcome::Done);
            assert_eq!((client.state(), client.halted()), (state, state == State::Halt));
            assert_eq!(cpp.hear(), format!("served {state}"));
        }
        cpp.kill9();
        assert!(!client.owner_alive());
        let mut rust = place.child("halted");
        assert_eq!(rust.hear(), "true", "the HALT of a killed C++ owner is in force");
        rust.kill();
        let (mut cpp, _) = Peer::start(compiler, place.dir.path());
        assert_eq!(cpp.ask("owner"), "generation 4 halted 1");
        assert!(client.superseded());
    });
}

/// Whoever comes first makes the clock; the other language's processes have the same, to the ns.
#[test]
fn one_clock_whoever_comes_first() {
    for compiler in cxx::compilers() {
        for cpp_first in [true, false] {
            let dir = tempfile::tempdir_in("/dev/shm").unwrap();
            let early = (!cpp_first).then(|| Clock::attach_or_create(dir.path()).unwrap());
            let (mut peer, told) = Peer::start(&compiler, dir.path());
            let ours = early.unwrap_or_else(|| Clock::attach_or_create(dir.path()).unwrap());
            assert!(told.starts_with(&format!("clock {} counter ", ours.id())), "{told}, ours {}", ours.id());
            let before = ours.now_ns();
            let theirs: u64 = peer.ask("now").parse().unwrap();
            let after = ours.now_ns();
            assert!(before <= theirs && theirs <= after, "{before} {theirs} {after}");
            let raw = ours.raw();
            for raw in [0, 1, raw - 1, raw, raw + 1, raw + 86_400_000_000_007, u64::MAX / 1_000] {
                assert_eq!(peer.ask(&format!("ns {raw}")), ours.ns(raw).to_string(), "counter {raw}");
            }
        }
    }
}
