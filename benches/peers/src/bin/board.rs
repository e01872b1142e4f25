//! One read of the signal board: `board [--rounds N] [--cores A,B] [--json FILE]`.
//!
//! Unchanged: the cell stays in the reader's cache. Written: another CPU sets it, once a microsecond or without a pause, so
//! that most reads fetch the line anew, and some look twice.

use pillion_peers::cpp;
use pillion_peers::links::Bench;
use pillion_peers::measure::{Args, Figure, by_rounds, interleaved, median, pin, quantile};
use pillion_shm::{
    Access, BoardReader, BoardSpec, BoardWriter, InstrumentEntry, ModelEntry, Reading, Signal, SignalTables,
};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const READS: u64 = 20_000;

/// How often the other CPU sets the cell.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    Never,
    Every(Duration),
}

/// Reads so many times and says how many found a whole value.
type Reads = Box<dyn Fn(u64) -> u64 + Send>;

struct Case {
    name: &'static str,
    writes: Writes,
    reads: usize,
    aim: f64,
}

const CASES: [Case; 6] = [
    Case { name: "unchanged, Rust", writes: Writes::Never, reads: 0, aim: 30.0 },
    Case { name: "unchanged, C++", writes: Writes::Never, reads: 1, aim: 30.0 },
    Case { name: "set once a microsecond, Rust", writes: Writes::Every(Duration::from_micros(1)), reads: 0, aim: 0.0 },
    Case { name: "set once a microsecond, C++", writes: Writes::Every(Duration::from_micros(1)), reads: 1, aim: 0.0 },
    Case { name: "set without a pause, Rust", writes: Writes::Every(Duration::ZERO), reads: 0, aim: 0.0 },
    Case { name: "set without a pause, C++", writes: Writes::Every(Duration::ZERO), reads: 1, aim: 0.0 },
];

fn tables() -> SignalTables {
    let instrument = InstrumentEntry { id: 1, symbol: "ESH4".into(), tick_size: 250_000_000, size_unit: 1.0 };
    let model = ModelEntry {
        name: "mlp-k10".into(),
        revision: 1,
        sha256: [1; 32],
        features_hash: [2; 32],
        outputs: ["down", "flat", "up"].map(String::from).to_vec(),
        meaning: "class probabilities".into(),
        engine: "native".into(),
        isa: "avx512".into(),
        runtime: String::new(),
        horizon_events: 10,
    };
    SignalTables { instruments: vec![instrument], models: vec![model] }
}

fn signal(n: u64) -> Signal {
    let words = [n; size_of::<Signal>() / 8];
    Signal::from_words(&words)
}

fn rust_reads(board: BoardReader) -> Reads {
    Box::new(move |times| {
        let look = |_: &u64| match black_box(board.read(0, 0)) {
            Reading::Value(signal) => signal.ring_seq == signal.signal_ns,
            Reading::Never | Reading::Busy => false,
        };
        (0..times).filter(look).count() as u64
    })
}

/// ns per read, and a check that reads found whole values: all of them where nobody writes.
fn measure(case: &Case, readers: &[Reads], writer: &mut BoardWriter, cores: &[usize]) -> f64 {
    let (reads, done) = (&readers[case.reads], AtomicBool::new(false));
    let read = || {
        let start = Instant::now();
        let whole = reads(READS);
        let took = start.elapsed();
        assert!(whole == READS || (case.writes != Writes::Never && whole > 0), "{whole} of {READS} reads were whole");
        took.as_nanos() as f64 / READS as f64
    };
    writer.set(0, 0, &signal(1));
    let Writes::Every(pause) = case.writes else {
        pin(cores[1]);
        return read();
    };
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores[0]);
            ready.wait();
            let mut n = 1;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                writer.set(0, 0, black_box(&signal(n)));
                let start = (pause > Duration::ZERO).then(Instant::now);
                while start.is_some_and(|start| start.elapsed() < pause) {
                    spin_loop();
                }
            }
        });
        pin(cores[1]);
        ready.wait();
        let ns = read();
        done.store(true, Ordering::Relaxed);
        ns
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("board", 101)?;
    let bench = Bench::new()?;
    let name = bench.fresh();
    let lane = bench.lane(&name);
    let spec = BoardSpec { instruments: 1, models: 1, table: tables().to_bytes()? };
    let mut writer = BoardWriter::create(&lane, &spec, bench.clock(), &Access::default())?;
    let cpp = cpp::Board::attach(bench.dir(), &name);
    let readers: [Reads; 2] =
        [rust_reads(BoardReader::attach(&lane, bench.clock())?), Box::new(move |times| cpp.reads(times).records)];
    let times = interleaved(args.rounds, &CASES, |case| measure(case, &readers, &mut writer, &args.cores));
    println!("one read of the board: ns over {} rounds, and C++ / Rust", args.rounds);
    println!("{:<34}{:>9}{:>9}{:>9}{:>12}", "", "p10", "p25", "median", "by rounds");
    for (case, own) in CASES.iter().zip(&times) {
        let rust = CASES.iter().position(|c| c.writes == case.writes).expect("itself");
        let [p10, p25, p50] = [0.1, 0.25, 0.5].map(|at| quantile(own, at));
        println!("{:<34}{p10:>9.1}{p25:>9.1}{p50:>9.1}{:>12.2}", case.name, by_rounds(own, &times[rust]));
        args.record(&Figure {
            name: &format!("board, {}", case.name),
            value: median(own),
            unit: "ns",
            aim: case.aim,
            ..Figure::default()
        })?;
    }
    Ok(())
}
