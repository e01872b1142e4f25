//! What one hop between two pinned CPUs costs, ours beside others': `hop [--rounds N] [--cores A,B] [--json FILE]`.
//!
//! Rounds are interleaved (A B C A B C ...): read the ratios. "By rounds" is the median of the ratios within one round,
//! "of medians" the ratio of the medians. The stamp's clock read is left out (`publish_at`), for all links. The C++
//! ends are the public header's code behind a call each (see `cpp.rs`).

use pillion_peers::links::{
    Bench, CppToCpp, CppToRust, Iceoryx, Link, Ours, Plain, Queue, Receive, Rtrb, RustToCpp, Send,
};
use pillion_peers::measure::{Args, Figure, by_rounds, interleaved, median, pin, quantile};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::time::Instant;

// Short rounds and many: some of them fall into the quiet spells of a shared machine.
const TRIPS: u64 = 2_000;
const STREAM: u64 = 20_000;
const SOLO: u64 = 20_000;

/// A measurement of one link: ns per hop or record.
type Measure = fn(&Bench, &[usize]) -> f64;

/// One row: a link, the bytes it carries, and what it does.
struct Row {
    name: &'static str,
    bytes: usize,
    hop: Measure,
    stream: Measure,
    solo: Measure,
}

/// A ratio of two rows' hops that has an aim.
struct Aim {
    bytes: usize,
    this: &'static str,
    to: &'static str,
    at_most: f64,
}

const OURS: &str = "Rust to Rust";
const AIMS: [Aim; 7] = [
    Aim { bytes: 64, this: "C++ to Rust", to: OURS, at_most: 1.05 },
    Aim { bytes: 64, this: "Rust to C++", to: OURS, at_most: 0.0 },
    Aim { bytes: 64, this: "C++ to C++", to: OURS, at_most: 0.0 },
    Aim { bytes: 64, this: OURS, to: "rtrb 0.4", at_most: 0.8 },
    Aim { bytes: 64, this: OURS, to: "iceoryx2 0.10", at_most: 0.25 },
    Aim { bytes: 64, this: OURS, to: "plain copy", at_most: 1.1 },
    Aim { bytes: 368, this: "C++ to Rust", to: OURS, at_most: 1.05 },
];

fn row<const N: usize, L: Link<N>>(name: &'static str) -> Row {
    Row { name, bytes: N * 8, hop: hop::<N, L>, stream: stream::<N, L>, solo: solo::<N, L> }
}

fn rows() -> Vec<Row> {
    vec![
        row::<8, Ours<14>>(OURS),
        row::<8, CppToRust<14>>("C++ to Rust"),
        row::<8, RustToCpp<14>>("Rust to C++"),
        row::<8, CppToCpp<14>>("C++ to C++"),
        row::<8, Plain<14>>("plain copy"),
        row::<8, Rtrb>("rtrb 0.4"),
        row::<8, Queue>("crossbeam ArrayQueue"),
        row::<8, Iceoryx>("iceoryx2 0.10"),
        row::<6, Ours<6>>(OURS),
        row::<6, Rtrb>("rtrb 0.4"),
        row::<46, Ours<46>>(OURS),
        row::<46, CppToRust<46>>("C++ to Rust"),
        row::<46, RustToCpp<46>>("Rust to C++"),
        row::<46, Plain<46>>("plain copy"),
        row::<46, Rtrb>("rtrb 0.4"),
        row::<46, Iceoryx>("iceoryx2 0.10"),
    ]
}

fn wait_for<const N: usize>(link: &mut impl Receive<N>, words: &mut [u64; N]) {
    while !link.receive(words) {
        spin_loop();
    }
}

/// Ping-pong over two links, half a round trip.
fn hop<const N: usize, L: Link<N>>(bench: &Bench, cores: &[usize]) -> f64 {
    let (there, far) = L::make(bench);
    let (far_back, back) = L::make(bench);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores[1]);
            let (mut far, mut far_back) = (far(), far_back());
            let mut words = [0; N];
            ready.wait();
            for _ in 0..TRIPS {
                wait_for(&mut far, &mut words);
                far_back.send(black_box(&words));
            }
            // A reply is read before its sender goes.
            ready.wait();
        });
        pin(cores[0]);
        let (mut there, mut back) = (there(), back());
        let mut words = [0; N];
        ready.wait();
        let start = Instant::now();
        for trip in 0..TRIPS {
            words.fill(trip);
            there.send(black_box(&words));
            wait_for(&mut back, &mut words);
            assert!(words == [trip; N], "trip {trip} came back as {words:?}");
        }
        let took = start.elapsed();
        ready.wait();
        took.as_nanos() as f64 / (2 * TRIPS) as f64
    })
}

/// As fast as the producer goes while a reader polls on the other CPU; the producer's ns per record.
fn stream<const N: usize, L: Link<N>>(bench: &Bench, cores: &[usize]) -> f64 {
    let (send, receive) = L::make(bench);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores[1]);
            let mut receive = receive();
            let mut words = [0; N];
            ready.wait();
            while words[0] != STREAM {
                receive.receive(&mut words);
            }
            ready.wait();
        });
        pin(cores[0]);
        let mut send = send();
        ready.wait();
        let start = Instant::now();
        for n in 1..=STREAM {
            send.send(black_box(&[n; N]));
        }
        let took = start.elapsed();
        ready.wait();
        took.as_nanos() as f64 / STREAM as f64
    })
}

/// Send and receive on one CPU: the instructions alone.
fn solo<const N: usize, L: Link<N>>(bench: &Bench, cores: &[usize]) -> f64 {
    let (send, receive) = L::make(bench);
    pin(cores[0]);
    let (mut send, mut receive) = (send(), receive());
    let mut words = [0; N];
    let start = Instant::now();
    for n in 0..SOLO {
        words.fill(n);
        send.send(black_box(&words));
        assert!(receive.receive(black_box(&mut words)) && words[N - 1] == n);
    }
    start.elapsed().as_nanos() as f64 / SOLO as f64
}

/// Rows against ours with the same bytes, rounds interleaved; returns the values of each row.
fn table(title: &str, rows: &[Row], pick: fn(&Row) -> Measure, bench: &Bench, args: &Args) -> Vec<Vec<f64>> {
    let times = interleaved(args.rounds, rows, |row| pick(row)(bench, &args.cores));
    println!("\n{title}: ns over {} rounds, and ours / this", args.rounds);
    println!("{:<24}{:>6}{:>9}{:>9}{:>9}{:>12}{:>12}", "", "bytes", "p10", "p25", "median", "by rounds", "of medians");
    for (row, own) in rows.iter().zip(&times) {
        let ours = &times[place(rows, row.bytes, OURS)];
        let [p10, p25, p50] = [0.1, 0.25, 0.5].map(|at| quantile(own, at));
        let (name, bytes, rounds, medians) = (row.name, row.bytes, by_rounds(ours, own), median(ours) / p50);
        println!("{name:<24}{bytes:>6}{p10:>9.1}{p25:>9.1}{p50:>9.1}{rounds:>12.2}{medians:>12.2}");
    }
    times
}

fn place(rows: &[Row], bytes: usize, name: &str) -> usize {
    rows.iter().position(|row| row.bytes == bytes && row.name == name).expect("a row of that name")
}

fn record(rows: &[Row], hops: &[Vec<f64>], args: &Args) -> std::io::Result<()> {
    for (row, own) in rows.iter().zip(hops) {
        let name = format!("hop {} B, {}", row.bytes, row.name);
        let with_ratio = AIMS.iter().any(|aim| aim.bytes == row.bytes && aim.this == row.name);
        if !with_ratio {
            args.record(&Figure { name: &name, value: median(own), unit: "ns", ..Figure::default() })?;
        }
    }
    for aim in &AIMS {
        let [this, to] = [aim.this, aim.to].map(|name| &hops[place(rows, aim.bytes, name)]);
        args.record(&Figure {
            name: &format!("hop {} B, {}", aim.bytes, aim.this),
            value: median(this),
            unit: "ns",
            to: aim.to,
            ratio: by_rounds(this, to),
            quiet: quantile(this, 0.1) / quantile(to, 0.1),
            of_medians: median(this) / median(to),
            aim: aim.at_most,
            at_least: false,
        })?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("hop", 151)?;
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Error);
    let bench = Bench::new()?;
    let rows = rows();
    let hops = table("one-way hop between two CPUs", &rows, |row| row.hop, &bench, &args);
    record(&rows, &hops, &args)?;
    table("stream, producer's ns per record", &rows, |row| row.stream, &bench, &args);
    table("publish and poll on one CPU", &rows, |row| row.solo, &bench, &args);
    Ok(())
}
