//! What one hop between two pinned cores costs, ours beside others': `hop [--rounds N] [--cores A,B]`.
//!
//! Rounds are interleaved (A B C A B C ...), since a shared machine is quiet only in spells: read the ratios. "By rounds"
//! is the median of the ratios within one round, "by p10" the ratio of each side's quiet rounds. The stamp's clock read is left out (`publish_at`), for all links.

use pillion_peers::links::{Bench, Link, Ours, Plain, Queue, Receive, Rtrb, Send};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::time::Instant;

// Short rounds and many: some of them fall into the quiet spells of a shared machine.
const TRIPS: u64 = 2_000;
const STREAM: u64 = 20_000;
const SOLO: u64 = 20_000;

/// A measurement of one link: ns per hop or record.
type Measure = fn(&Bench, Cores) -> f64;

#[derive(Clone, Copy)]
struct Cores(usize, usize);

/// One row: a link, the bytes it carries, and what it does.
struct Row {
    name: &'static str,
    bytes: usize,
    hop: Measure,
    stream: Measure,
    solo: Measure,
}

fn row<const N: usize, L: Link<N>>(name: &'static str) -> Row {
    Row { name, bytes: N * 8, hop: hop::<N, L>, stream: stream::<N, L>, solo: solo::<N, L> }
}

fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

fn wait_for<const N: usize>(link: &mut impl Receive<N>, words: &mut [u64; N]) {
    while !link.receive(words) {
        spin_loop();
    }
}

/// Ping-pong over two links, half a round trip.
fn hop<const N: usize, L: Link<N>>(bench: &Bench, cores: Cores) -> f64 {
    let (mut there, mut far) = L::make(bench);
    let (mut far_back, mut back) = L::make(bench);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.1);
            let mut words = [0; N];
            ready.wait();
            for _ in 0..TRIPS {
                wait_for(&mut far, &mut words);
                far_back.send(black_box(&words));
            }
        });
        pin(cores.0);
        let mut words = [0; N];
        ready.wait();
        let start = Instant::now();
        for trip in 0..TRIPS {
            words.fill(trip);
            there.send(black_box(&words));
            wait_for(&mut back, &mut words);
            assert!(words == [trip; N], "trip {trip} came back as {words:?}");
        }
        start.elapsed().as_nanos() as f64 / (2 * TRIPS) as f64
    })
}

/// As fast as the producer goes while a reader polls on the other core; ns per record until the last one arrived.
fn stream<const N: usize, L: Link<N>>(bench: &Bench, cores: Cores) -> f64 {
    let (mut send, mut receive) = L::make(bench);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.1);
            let mut words = [0; N];
            ready.wait();
            while words[0] != STREAM {
                receive.receive(&mut words);
            }
        });
        pin(cores.0);
        ready.wait();
        let start = Instant::now();
        for n in 1..=STREAM {
            send.send(black_box(&[n; N]));
        }
        start.elapsed().as_nanos() as f64 / STREAM as f64
    })
}

/// Send and receive on one core: the instructions alone.
fn solo<const N: usize, L: Link<N>>(bench: &Bench, cores: Cores) -> f64 {
    let (mut send, mut receive) = L::make(bench);
    pin(cores.0);
    let mut words = [0; N];
    let start = Instant::now();
    for n in 0..SOLO {
        words.fill(n);
        send.send(black_box(&words));
        assert!(receive.receive(black_box(&mut words)) && words[N - 1] == n);
    }
    start.elapsed().as_nanos() as f64 / SOLO as f64
}

/// The value that a share `at` of `values` lies below.
fn quantile(values: &[f64], at: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * at) as usize]
}

/// Rows against ours with the same bytes, rounds interleaved.
fn table(title: &str, rows: &[Row], pick: fn(&Row) -> Measure, bench: &Bench, cores: Cores, rounds: usize) {
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for (row, times) in rows.iter().zip(&mut times) {
            times.push(pick(row)(bench, cores));
        }
    }
    println!("\n{title}: ns over {rounds} rounds, and ours / this");
    println!("{:<34}{:>6}{:>9}{:>9}{:>9}{:>12}{:>12}", "", "bytes", "p10", "p25", "median", "by rounds", "by p10");
    for (row, own) in rows.iter().zip(&times) {
        let ours = &times[rows.iter().position(|ours| ours.bytes == row.bytes).unwrap_or(0)];
        let by_rounds: Vec<f64> = ours.iter().zip(own).map(|(ours, this)| ours / this).collect();
        let [p10, p25, p50] = [0.1, 0.25, 0.5].map(|at| quantile(own, at));
        let ratios = (quantile(&by_rounds, 0.5), quantile(ours, 0.1) / p10);
        let (name, bytes) = (row.name, row.bytes);
        println!("{name:<34}{bytes:>6}{p10:>9.1}{p25:>9.1}{p50:>9.1}{:>12.2}{:>12.2}", ratios.0, ratios.1);
    }
}

fn rows() -> Vec<Row> {
    vec![
        row::<8, Ours<14>>("ours, 128 B slots"),
        row::<8, Plain<14>>("plain copy, 128 B slots"),
        row::<8, Rtrb>("rtrb"),
        row::<8, Queue>("crossbeam ArrayQueue"),
        row::<6, Ours<6>>("ours, 64 B slots"),
        row::<6, Plain<6>>("plain copy, 64 B slots"),
        row::<6, Rtrb>("rtrb (48 B)"),
        row::<46, Ours<46>>("ours, 384 B slots (MBP-10)"),
        row::<46, Plain<46>>("plain copy, 384 B slots (MBP-10)"),
        row::<46, Rtrb>("rtrb (MBP-10)"),
    ]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rounds, mut cores) = (151, Cores(0, 1));
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value: hop [--rounds N] [--cores A,B]"))?;
        match arg.as_str() {
            "--rounds" => rounds = value.parse::<usize>()?.max(1),
            "--cores" => {
                let (a, b) = value.split_once(',').ok_or_else(|| format!("--cores {value:?} is not A,B"))?;
                cores = Cores(a.parse()?, b.parse()?);
            }
            _ => return Err(format!("unknown argument {arg}: hop [--rounds N] [--cores A,B]").into()),
        }
    }
    let bench = Bench::new()?;
    let rows = rows();
    table("one-way hop between two cores", &rows, |row| row.hop, &bench, cores, rounds);
    table("stream, producer's ns per record", &rows, |row| row.stream, &bench, cores, rounds);
    table("publish and poll on one core", &rows, |row| row.solo, &bench, cores, rounds);
    Ok(())
}
