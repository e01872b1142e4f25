//! One writer with 1, 2 and 4 readers: `readers [--rounds N] [--cores A,B,...] [--json FILE]`.
//!
//! With a CPU for each reader, each polls on its own thread. With fewer CPUs one thread polls all readers' handles in turn on
//! the second CPU, since a third spinning thread would ruin every number; the reply then waits for as many copies.

use pillion_peers::links::{Bench, CAPACITY};
use pillion_peers::measure::{Args, Figure, by_rounds, interleaved, median, pin, quantile};
use pillion_shm::{Poll, RingReader, RingWriter};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::time::Instant;

const READERS: [usize; 3] = [1, 2, 4];
const TRIPS: u64 = 2_000;
const STREAM: u64 = 20_000;
const WORDS: usize = 8;

/// Readers that one thread polls in turn, and the CPU it is pinned to.
struct Group {
    core: usize,
    readers: usize,
}

fn groups(readers: usize, cores: &[usize]) -> Vec<Group> {
    let seats = &cores[1..];
    if seats.len() >= readers {
        return seats[..readers].iter().map(|core| Group { core: *core, readers: 1 }).collect();
    }
    vec![Group { core: seats[0], readers }]
}

/// Polls until a record comes; losses are passed over.
fn wait_for(reader: &mut RingReader, words: &mut [u64; WORDS]) {
    while !matches!(reader.poll(words), Poll::Record { .. }) {
        spin_loop();
    }
}

/// Writes until the other end has shown that all readers have each record, and back: half a round trip, ns.
fn hop(bench: &Bench, readers: usize, cores: &[usize]) -> f64 {
    let lane = bench.fresh();
    let mut there = bench.writer(&lane, CAPACITY, 14);
    let groups = groups(readers, cores);
    let ready = Barrier::new(groups.len() + 1);
    std::thread::scope(|scope| {
        let mut back = Vec::new();
        for group in &groups {
            let (reply, far) = (bench.fresh(), (0..group.readers).map(|_| bench.reader(&lane)).collect::<Vec<_>>());
            let replies = bench.writer(&reply, CAPACITY, 14);
            back.push(bench.reader(&reply));
            bench.forget(&reply);
            let ready = &ready;
            scope.spawn(move || {
                pin(group.core);
                echo(far, replies, ready);
            });
        }
        bench.forget(&lane);
        pin(cores[0]);
        let mut words = [0; WORDS];
        ready.wait();
        let start = Instant::now();
        for trip in 0..TRIPS {
            there.publish_at(black_box(&[trip; WORDS]), trip);
            for back in &mut back {
                wait_for(back, &mut words);
                assert!(words == [trip; WORDS], "trip {trip} came back as {words:?}");
            }
        }
        start.elapsed().as_nanos() as f64 / (2 * TRIPS) as f64
    })
}

fn echo(mut far: Vec<RingReader>, mut replies: RingWriter, ready: &Barrier) {
    let mut words = [0; WORDS];
    ready.wait();
    for _ in 0..TRIPS {
        far.iter_mut().for_each(|reader| wait_for(reader, &mut words));
        replies.publish_at(black_box(&words), words[0]);
    }
}

/// The writer's ns per record while all readers poll; it waits for none of them.
fn publish(bench: &Bench, readers: usize, cores: &[usize]) -> f64 {
    let lane = bench.fresh();
    let mut writer = bench.writer(&lane, CAPACITY, 14);
    let groups = groups(readers, cores);
    let ready = Barrier::new(groups.len() + 1);
    std::thread::scope(|scope| {
        for group in &groups {
            let mut far: Vec<_> = (0..group.readers).map(|_| bench.reader(&lane)).collect();
            let ready = &ready;
            scope.spawn(move || {
                pin(group.core);
                let mut words = [0; WORDS];
                ready.wait();
                while far.iter().any(|reader| reader.cursor() < STREAM) {
                    far.iter_mut().for_each(|reader| _ = black_box(reader.poll(&mut words)));
                }
            });
        }
        bench.forget(&lane);
        pin(cores[0]);
        ready.wait();
        let start = Instant::now();
        for n in 1..=STREAM {
            writer.publish_at(black_box(&[n; WORDS]), n);
        }
        start.elapsed().as_nanos() as f64 / STREAM as f64
    })
}

fn table(title: &str, measure: fn(&Bench, usize, &[usize]) -> f64, bench: &Bench, args: &Args) -> std::io::Result<()> {
    let times = interleaved(args.rounds, &READERS, |readers| measure(bench, *readers, &args.cores));
    println!("\n{title}: ns over {} rounds, and this / one reader", args.rounds);
    println!("{:<34}{:>9}{:>9}{:>9}{:>12}", "", "p10", "p25", "median", "by rounds");
    for (readers, own) in READERS.iter().zip(&times) {
        let threads = groups(*readers, &args.cores).len();
        let name = format!("{readers} readers, on {threads} thread{}", if threads == 1 { "" } else { "s" });
        let [p10, p25, p50] = [0.1, 0.25, 0.5].map(|at| quantile(own, at));
        let ratio = by_rounds(own, &times[0]);
        println!("{name:<34}{p10:>9.1}{p25:>9.1}{p50:>9.1}{ratio:>12.2}");
        args.record(&Figure {
            name: &format!("{title}, {name}"),
            value: p50,
            unit: "ns",
            to: "one reader",
            ratio,
            quiet: p10 / quantile(&times[0], 0.1),
            of_medians: p50 / median(&times[0]),
            ..Figure::default()
        })?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse("readers", 101)?;
    let bench = Bench::new()?;
    let cpus = args.cores.len();
    if cpus < READERS[READERS.len() - 1] + 1 {
        println!("{cpus} CPUs: where readers outnumber the free ones, one thread polls all of them in turn");
    }
    table("hop to all readers", hop, &bench, &args)?;
    table("writer's cost of a record", publish, &bench, &args)?;
    Ok(())
}
