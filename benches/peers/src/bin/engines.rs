//! tract and rten on the models of benches/engines.rs: `engines [--rounds N] [--core N] [--json FILE]`.
//!
//! Measured as there: one pinned thread, engines in turns, rows that change with every run, each run between two reads of
//! the clock, of which the cost is taken off; p50 and p99 are those of the quietest round. `scripts/bench-engines` prints
//! them beside ours.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use pillion_peers::measure::{median, pin, quantile};
use pillion_peers::rivals::{Entry, Refusal, Run, rten, tract};

/// What a round gives each engine.
const ROUND: Duration = Duration::from_millis(20);
const LEAST: usize = 50;

#[derive(serde::Deserialize)]
struct Index {
    model: Vec<Entry>,
}

struct Args {
    rounds: usize,
    core: usize,
    json: Option<String>,
}

fn args() -> Result<Args, Refusal> {
    let mut args = Args { rounds: 12, core: std::thread::available_parallelism()?.get() - 1, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--rounds" => args.rounds = value.parse::<usize>()?.max(1),
            "--core" => args.core = value.parse()?,
            "--json" => args.json = Some(value),
            _ => return Err(format!("unknown argument {word}: --rounds N, --core N, --json FILE").into()),
        }
    }
    Ok(args)
}

fn main() -> Result<(), Refusal> {
    let args = args()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-models");
    let index = folder.join("index.toml");
    let text = std::fs::read_to_string(&index)
        .map_err(|_| format!("{} is not there: scripts/bench-models makes it", index.display()))?;
    let index: Index = toml::from_str(&text)?;
    pin(args.core);
    let clock = median(&(0..10_000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect::<Vec<_>>());
    println!(
        "two reads of the clock, {clock:.0} ns, are taken off\n{:<13}{:<8}{:>10}{:>10}",
        "model", "engine", "p50", "p99"
    );
    let mut lines = Vec::new();
    for entry in &index.model {
        let path = folder.join(format!("{}.onnx", entry.name));
        let mut engines = Vec::new();
        for (name, run) in [("tract", tract(&path, entry)), ("rten", rten(&path, entry))] {
            match run.and_then(|run| tried(run, entry)) {
                Ok(run) => engines.push((name, run, [f64::INFINITY; 2])),
                Err(why) => {
                    let why = why.to_string().lines().next().unwrap_or_default().to_owned();
                    println!("{:<13}{name:<8}not taken: {why}", entry.name);
                    lines.push(serde_json::json!({ "model": entry.name, "engine": name, "refused": why }));
                }
            }
        }
        for _ in 0..args.rounds {
            for (_, run, best) in &mut engines {
                let samples = round(run, entry, clock)?;
                let (p50, p99) = (quantile(&samples, 0.5), quantile(&samples, 0.99));
                if p50 * p99 < best[0] * best[1] {
                    *best = [p50, p99];
                }
            }
        }
        for (name, _, [p50, p99]) in engines {
            println!("{:<13}{name:<8}{p50:>10.0}{p99:>10.0}", entry.name);
            lines.push(serde_json::json!({ "model": entry.name, "engine": name, "p50_ns": p50, "p99_ns": p99 }));
        }
    }
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::json!({ "figures": lines }).to_string())?;
    }
    Ok(())
}

/// The engine, if a first run of it works: some take a file and fail on it.
fn tried(mut run: Run, entry: &Entry) -> Result<Run, Refusal> {
    run(&vec![0.5; entry.rows * entry.inputs])?;
    Ok(run)
}

/// Nanoseconds of single runs, as many as a round holds.
fn round(run: &mut Run, entry: &Entry, clock: f64) -> Result<Vec<f64>, Refusal> {
    let (mut window, mut samples) = (vec![0.25_f32; entry.rows * entry.inputs], Vec::new());
    let begun = Instant::now();
    while samples.len() < LEAST || begun.elapsed() < ROUND {
        let last = samples.len() % window.len();
        window[last] = (samples.len() % 97) as f32 / 50.0 - 1.0;
        let start = Instant::now();
        black_box(run(black_box(&window))?);
        samples.push((start.elapsed().as_nanos() as f64 - clock).max(0.0));
    }
    Ok(samples)
}
