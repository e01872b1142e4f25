//! Records per second from one writer to one reader: `rate [--rounds N] [--cores A,B] [--json FILE]`.
//!
//! A writer that never waits laps a slower reader, so there are two figures: the highest rate at which a burst of many
//! times the ring loses nothing (found by halving between a rate that holds and one that does not), and what gets
//! through when the writer goes as fast as it can, losses counted. The reader takes batches of 64. Every burst checks
//! that records read and records lost add up, and the content of what was read.

use pillion_peers::cpp;
use pillion_peers::links::Bench;
use pillion_peers::measure::{Args, Figure, by_rounds, interleaved, median, pin, quantile};
use pillion_shm::{RingReader, RingWriter};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::time::Instant;

/// Slots of the ring, of 128 B: 2 MiB.
const SLOTS: usize = 16_384;
/// Records of a burst: many times the ring, so that a reader that is but 4 % too slow is lapped; and short, since a reader
/// that is interrupted for a millisecond on a shared machine is lapped too.
const BURST: u64 = 1 << 19;
/// Records between two looks at the clock of a paced writer.
const STRIDE: u64 = 16;
const BATCH: usize = 64;
/// Rates searched, records per second.
const SLOWEST: f64 = 5e6;
const STEPS: usize = 5;
/// Bursts tried at one rate; it holds once one of them loses nothing: an interruption is no property of the ring.
const TRIES: usize = 3;
/// The rate of the aim, records per second.
const AIM: f64 = 20e6;

trait Write: Send {
    /// Publishes a record of 64 bytes; stamped with now if asked.
    fn write(&mut self, words: &[u64; 8], stamped: bool);
}

trait Read: Send {
    /// Takes a batch: (records, lost, sum of first words).
    fn batch(&mut self) -> (u64, u64, u64);
}

struct RustReader {
    ring: RingReader,
    words: Vec<u64>,
    stamps: Vec<u64>,
}

impl Write for RingWriter {
    #[inline]
    fn write(&mut self, words: &[u64; 8], stamped: bool) {
        _ = if stamped { self.publish(words) } else { self.publish_at(words, words[0]) };
    }
}

impl Write for cpp::Writer {
    #[inline]
    fn write(&mut self, words: &[u64; 8], stamped: bool) {
        if stamped { self.publish_stamped(words) } else { self.publish(words) }
    }
}

impl Read for RustReader {
    #[inline]
    fn batch(&mut self) -> (u64, u64, u64) {
        let record_words = self.ring.record_words();
        let batch = self.ring.poll_batch(&mut self.words, &mut self.stamps);
        let first = |record: &[u64]| record[0];
        let sum = self.words.chunks_exact(record_words).take(batch.records).map(first).sum();
        (batch.records as u64, batch.lost, sum)
    }
}

impl Read for cpp::Reader {
    #[inline]
    fn batch(&mut self) -> (u64, u64, u64) {
        let taken = cpp::Reader::batch(self);
        (taken.records, taken.lost, taken.sum)
    }
}

/// A pair of languages, and how it makes its ends.
#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    burst: fn(&Bench, &[usize], Option<f64>, bool) -> Burst,
}

/// What came of a burst.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// Records per second that the writer published.
    rate: f64,
    /// Records lost.
    lost: u64,
}

impl Burst {
    /// Records per second that got through.
    fn through(&self) -> f64 {
        self.rate * (BURST - self.lost) as f64 / BURST as f64
    }
}

const PAIRS: [Pair; 3] = [
    Pair {
        name: "Rust to Rust",
        burst: |bench, cores, rate, stamped| {
            let lane = bench.fresh();
            let writer = bench.writer(&lane, SLOTS, 14);
            let reader = rust_reader(bench, &lane);
            bench.forget(&lane);
            burst(writer, reader, cores, rate, stamped)
        },
    },
    Pair {
        name: "C++ to C++",
        burst: |bench, cores, rate, stamped| {
            let lane = bench.fresh();
            let writer = cpp::Writer::create(bench.dir(), &lane, SLOTS as u64, 14);
            let reader = cpp::Reader::attach(bench.dir(), &lane);
            burst(writer, reader, cores, rate, stamped)
        },
    },
    Pair {
        name: "C++ to Rust",
        burst: |bench, cores, rate, stamped| {
            let lane = bench.fresh();
            let writer = cpp::Writer::create(bench.dir(), &lane, SLOTS as u64, 14);
            let reader = rust_reader(bench, &lane);
            burst(writer, reader, cores, rate, stamped)
        },
    },
];

fn rust_reader(bench: &Bench, lane: &str) -> RustReader {
    let ring = bench.reader(lane);
    RustReader { words: vec![0; ring.record_words() * BATCH], stamps: vec![0; BATCH], ring }
}

/// One burst, paced at `rate` records per second or as fast as the writer goes.
fn burst(mut writer: impl Write, mut reader: impl Read, cores: &[usize], rate: Option<f64>, stamped: bool) -> Burst {
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        let ready = &ready;
        let reading = scope.spawn(move || {
            pin(cores[1]);
            ready.wait();
            drain(&mut reader)
        });
        pin(cores[0]);
        ready.wait();
        let start = Instant::now();
        let ns_each = rate.map_or(0.0, |rate| 1e9 / rate);
        for at in (0..BURST).step_by(STRIDE as usize) {
            let due = (at as f64 * ns_each) as u128;
            while rate.is_some() && start.elapsed().as_nanos() < due {
                spin_loop();
            }
            (at..at + STRIDE).for_each(|n| writer.write(black_box(&[n; 8]), stamped));
        }
        let took = start.elapsed();
        let lost = reading.join().expect("the reader's checks hold");
        Burst { rate: BURST as f64 / took.as_secs_f64(), lost }
    })
}

/// Reads the whole burst; records and losses add up to it, and without a loss the content does too.
fn drain(reader: &mut impl Read) -> u64 {
    let (mut records, mut lost, mut sum) = (0, 0, 0_u64);
    while records + lost < BURST {
        let batch = reader.batch();
        if batch.0 + batch.1 == 0 {
            spin_loop();
        }
        records += batch.0;
        lost += batch.1;
        sum = sum.wrapping_add(batch.2);
    }
    assert_eq!(records + lost, BURST, "{records} read, {lost} lost");
    assert!(lost > 0 || sum == BURST * (BURST - 1) / 2, "records of another content");
    lost
}

/// The highest rate at which a burst loses nothing; 0 when none does.
fn sustained(pair: &Pair, stamped: bool, bench: &Bench, cores: &[usize]) -> f64 {
    let go = |rate| {
        let bursts = (0..TRIES).map(|_| (pair.burst)(bench, cores, rate, stamped));
        let mut fastest = 0.0_f64;
        for burst in bursts {
            if burst.lost == 0 {
                return Ok(burst.rate);
            }
            fastest = fastest.max(burst.rate);
        }
        Err(fastest)
    };
    let (mut holds, mut fails): (f64, f64) = match go(None) {
        Ok(rate) => return rate,
        Err(rate) => (0.0, rate),
    };
    for _ in 0..STEPS {
        match go(Some((holds.max(SLOWEST) * fails).sqrt())) {
            Ok(rate) => holds = rate,
            Err(rate) => fails = rate,
        }
    }
    holds
}

fn row(name: &str, values: &[f64], ratio: f64) {
    let [p10, p50, p90] = [0.1, 0.5, 0.9].map(|at| quantile(values, at) / 1e6);
    println!("{name:<34}{p10:>9.1}{p50:>9.1}{p90:>9.1}{ratio:>12.2}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("rate", 7)?;
    let bench = Bench::new()?;
    println!("bursts of {BURST} records of 64 B into a ring of {SLOTS} slots, read in batches of {BATCH}");
    let measures = [
        ("highest rate without loss", AIM / 1e6),
        ("highest rate without loss, stamped", 0.0),
        ("through at full speed, losses counted", 0.0),
        ("through at 20 million/s, losses counted", 0.0),
    ];
    let cases: Vec<_> = (0..measures.len()).flat_map(|m| PAIRS.map(|pair| (m, pair))).collect();
    let values = interleaved(args.rounds, &cases, |(measure, pair)| match measure {
        0 => sustained(pair, false, &bench, &args.cores),
        1 => sustained(pair, true, &bench, &args.cores),
        2 => (pair.burst)(&bench, &args.cores, None, false).through(),
        _ => (pair.burst)(&bench, &args.cores, Some(AIM), false).through(),
    });
    for (i, ((measure, pair), own)) in cases.iter().zip(&values).enumerate() {
        let (title, aim) = measures[*measure];
        if i % PAIRS.len() == 0 {
            println!("\n{title}: million records/s over {} rounds, and this / Rust to Rust", args.rounds);
            println!("{:<34}{:>9}{:>9}{:>9}{:>12}", "", "p10", "median", "p90", "by rounds");
        }
        let rust = &values[measure * PAIRS.len()];
        row(pair.name, own, by_rounds(own, rust));
        args.record(&Figure {
            name: &format!("{title}, {}", pair.name),
            value: median(own) / 1e6,
            unit: "M records/s",
            aim,
            at_least: true,
            ..Figure::default()
        })?;
    }
    Ok(())
}
