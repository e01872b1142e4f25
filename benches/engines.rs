//! What a run costs on each engine, beside ONNX Runtime's best in the same minutes: `cargo bench --bench engines [-- --quick]
//! [--only NAME] [--core N] [--json FILE]`. The models are made by `scripts/bench-models`.
//!
//! One pinned thread. The engines of a model take turns in short rounds, on rows that change with every run, each run between
//! two reads of the counter; what those cost by themselves is taken off and said. A shared machine is quiet only in spells:
//! p50, p99 and p99.9 of an engine are those of its quietest round, the one of the least p50 · p99, and its ratio to ONNX
//! Runtime is the median of the rounds' ratios of medians. Preparation between runs is not in the run: its own median stands
//! beside it, under `ahead`.

#[path = "engines/cases.rs"]
mod cases;
#[path = "engines/measure.rs"]
mod measure;

use std::path::PathBuf;

use cases::{Case, Target};
use measure::{Clock, Figures, Turn};
use pillion::engine::{Runtime, RuntimeConfig};

/// Interleaved rounds, and nanoseconds that a round gives each engine.
const FULL: (usize, u64) = (24, 20_000_000);
const QUICK: (usize, u64) = (6, 5_000_000);

struct Args {
    rounds: (usize, u64),
    only: Option<String>,
    core: usize,
    json: Option<PathBuf>,
}

impl Args {
    fn parse() -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut args = Self { rounds: FULL, only: None, core: cores - 1, json: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--quick" => args.rounds = QUICK,
                "--only" => args.only = Some(value()?),
                "--core" => args.core = value()?.parse().map_err(|_| "--core needs a number")?,
                "--json" => args.json = Some(value()?.into()),
                _ => return Err(format!("unknown argument {word}: --quick, --only NAME, --core N, --json FILE")),
            }
        }
        Ok(args)
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn run() -> Result<(), String> {
    let args = Args::parse()?;
    let runtime = Runtime::open(&RuntimeConfig::default()).map_err(|error| error.to_string())?;
    let all = cases::cases()?;
    let cases: Vec<_> =
        all.into_iter().filter(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only))).collect();
    if cases.is_empty() {
        return Err(format!("no model is called {}", args.only.unwrap_or_default()));
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: args.core }) {
        return Err(format!("this thread cannot be pinned to CPU {}", args.core));
    }
    let clock = Clock::new();
    println!("{}", host());
    println!(
        "CPU {}, {} rounds; two reads of the clock, {:.0} ns, are taken off\n",
        args.core,
        args.rounds.0,
        clock.cost_ns()
    );
    println!(
        "{:<13}{:<24}{:>9}{:>9}{:>9}{:>7}{:>7}{:>9}{:>9}  target",
        "model", "engine", "p50", "p99", "p99.9", "p99/50", "x ort", "ahead", "kB"
    );
    let mut lines = Vec::new();
    for case in cases {
        lines.extend(table(&case, runtime, &clock, args.rounds)?);
    }
    if let Some(path) = &args.json {
        let text = serde_json::json!({ "host": host(), "clock_ns": clock.cost_ns(), "rounds": args.rounds.0, "figures": lines });
        std::fs::write(path, format!("{text:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Measures one model, prints its rows, and gives them for the record.
fn table(
    case: &Case,
    runtime: &Runtime,
    clock: &Clock,
    rounds: (usize, u64),
) -> Result<Vec<serde_json::Value>, String> {
    let (mut turns, refused) = case.turns(runtime)?;
    let figures = measure::interleaved(&mut turns, clock, rounds);
    let reference = &figures[0];
    let mut lines = Vec::new();
    for (turn, figures) in turns.iter().zip(&figures) {
        let ratio = figures.ratio_to(reference);
        let target = case.targets.iter().find(|target| target.engine == turn.name);
        print_row(case, turn, figures, ratio, target);
        lines.push(serde_json::json!({
            "model": case.name, "engine": turn.name, "rows": turn.seats, "p50_ns": figures.p50, "p99_ns": figures.p99,
            "p999_ns": figures.p999, "ratio_to_ort": ratio, "ahead_ns": figures.ahead, "weight_bytes": turn.weight_bytes,
            "unprepared": turn.engine.unprepared(), "isa": turn.engine.info().isa, "runtime": turn.engine.info().runtime,
            "target": target.map(Target::to_string), "held": target.map(|target| target.held(figures, ratio)),
        }));
    }
    for (name, why) in refused {
        println!("{:<13}{name:<24}not taken: {why}", case.name);
        lines.push(serde_json::json!({ "model": case.name, "engine": name, "refused": why }));
    }
    println!();
    Ok(lines)
}

fn print_row(case: &Case, turn: &Turn, figures: &Figures, ratio: f64, target: Option<&Target>) {
    let bytes = turn.weight_bytes.map_or(String::new(), |bytes| format!("{:.0}", bytes as f64 / 1e3));
    let ahead = figures.ahead.map_or(String::new(), |ns| format!("{ns:.0}"));
    let verdict = target.map_or(String::new(), |target| {
        format!("{target}: {}", if target.held(figures, ratio) { "held" } else { "missed" })
    });
    println!(
        "{:<13}{:<24}{:>9.0}{:>9.0}{:>9.0}{:>7.2}{ratio:>7.2}{ahead:>9}{bytes:>9}  {verdict}",
        case.name,
        turn.name,
        figures.p50,
        figures.p99,
        figures.p999,
        figures.p99 / figures.p50,
    );
}

/// What ran it.
fn host() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {} CPUs, Linux {}, load {load}", info.matches("processor\t:").count(), kernel.trim())
}
