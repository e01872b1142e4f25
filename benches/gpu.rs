//! What a run costs on a GPU, with and without CUDA graphs, beside ONNX Runtime on one CPU: `cargo bench --bench gpu [-- --quick]
//! [--only NAME] [--device N] [--json FILE]`. The models are made by `scripts/bench-models`; `lstm_c` is timed where it is there.
//!
//! A run is from the rows in the engine's seats to its outputs there: copies, launch and wait included. Engines take turns in rounds;
//! the quantiles are over the samples of all rounds. Every answer is held against the CPU's first.

#[allow(dead_code)]
#[path = "engines/cases.rs"]
mod cases;
#[allow(dead_code)]
#[path = "engines/measure.rs"]
mod measure;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use cases::Case;
use measure::quantile;
use pillion::engine::{CudaOptions, Engine, OrtCpu, OrtCuda, Runtime, RuntimeConfig, Shape, cuda};
use serde_json::{Value, json};

const BATCHES: [usize; 3] = [1, 64, 1024];
const ROUNDS: usize = 5;
/// Runs of a round: at most, at least, and those at its start that are not counted.
const MOST: usize = 20_000;
const FEWEST: usize = 24;
const UNCOUNTED: usize = 4;
/// Seats whose answers are held against the CPU's.
const CHECKED: usize = 8;
/// Longest run on the CPU that is timed: a large batch of a large net keeps it busy for minutes.
const SLOW: Duration = Duration::from_millis(200);

struct Args {
    /// Time that a round gives an engine.
    slice: Duration,
    only: Option<String>,
    device: i32,
    json: Option<PathBuf>,
}

fn args() -> Result<Args, String> {
    let mut args = Args { slice: Duration::from_millis(600), only: None, device: 0, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--quick" => args.slice = Duration::from_millis(60),
            "--only" => args.only = Some(value()?),
            "--device" => args.device = value()?.parse().map_err(|_| "--device needs a number")?,
            "--json" => args.json = Some(value()?.into()),
            _ => return Err(format!("unknown argument {word}: --quick, --only NAME, --device N, --json FILE")),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every answer was near enough to the CPU's.
fn run() -> Result<bool, String> {
    let args = args()?;
    let runtime = match Runtime::open(&RuntimeConfig::default()).map_err(|error| error.to_string()) {
        Ok(runtime) => runtime,
        Err(reason) => return Ok(skipped(&reason)),
    };
    if let Err(reason) = cuda::available(runtime, args.device) {
        return Ok(skipped(&reason));
    }
    let mut cases = cases::cases()?;
    cases.extend(largest());
    cases.retain(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only)));
    let gpu = gpu(args.device);
    println!("cuda:{} {gpu}, onnxruntime {}\n", args.device, runtime.version());
    println!(
        "{:<14}{:>6}  {:<22}{:>10}{:>10}{:>10}{:>12}{:>11}  parity",
        "model", "batch", "engine", "p50 us", "p99 us", "p99.9 us", "us a row", "max error"
    );
    let (mut rows, mut near) = (Vec::new(), true);
    for case in &cases {
        for batch in BATCHES {
            for row in measured(runtime, case, batch, &args) {
                println!("{}", row.text(&case.name, batch));
                near &= row.near;
                rows.push(row.json(&case.name, batch));
            }
        }
    }
    if let Some(path) = &args.json {
        let whole = json!({ "gpu": gpu, "onnxruntime": runtime.version(), "host": host(), "rows": rows });
        let text = serde_json::to_string_pretty(&whole).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(near)
}

fn skipped(reason: &str) -> bool {
    println!("skipped: no GPU to measure: {reason}");
    true
}

/// The shape of a benchmark's largest net, which is over 100 MB and so made only when named.
fn largest() -> Option<Case> {
    let path = "target/bench-models/lstm_c.onnx";
    let shape = Shape::vector("x", 500, "y", 1).window(100);
    Some(Case { name: "lstm_c".into(), onnx: std::fs::read(path).ok()?, shape, targets: Vec::new() })
}

/// An engine, or why there is none.
type Made = Result<Box<dyn Engine>, String>;

/// One engine's figures, or why there are none.
struct Row {
    engine: &'static str,
    figures: Result<[f64; 3], String>,
    max_abs_err: f32,
    near: bool,
}

impl Row {
    fn text(&self, name: &str, batch: usize) -> String {
        let head = format!("{name:<14}{batch:>6}  {:<22}", self.engine);
        match &self.figures {
            Err(reason) => format!("{head}{reason}"),
            Ok([p50, p99, p999]) => {
                let parity = if self.near { "held" } else { "MISSED" };
                let each = p50 / batch as f64;
                format!("{head}{p50:>10.2}{p99:>10.2}{p999:>10.2}{each:>12.3}{:>11.1e}  {parity}", self.max_abs_err)
            }
        }
    }

    fn json(&self, name: &str, batch: usize) -> Value {
        let mut value = json!({ "model": name, "batch": batch, "engine": self.engine });
        match &self.figures {
            Err(reason) => value["refused"] = json!(reason),
            Ok([p50, p99, p999]) => {
                value["p50_us"] = json!(p50);
                value["p99_us"] = json!(p99);
                value["p999_us"] = json!(p999);
                value["max_abs_err"] = json!(self.max_abs_err);
                value["parity"] = json!(self.near);
            }
        }
        value
    }
}

/// The CPU and the GPU with and without graphs, at one batch size.
fn measured(runtime: &Runtime, case: &Case, batch: usize, args: &Args) -> Vec<Row> {
    let on_gpu = |graphs| {
        let options = CudaOptions { device: args.device, graphs, tf32: false };
        OrtCuda::new(runtime, &case.onnx, &case.shape, &options).map(boxed)
    };
    let on_cpu = || OrtCpu::new(runtime, &case.onnx, &case.shape).map(boxed);
    let wanted = on_cpu().map_err(|error| error.to_string()).and_then(|mut engine| {
        engine.seat(CHECKED);
        answers(&mut *engine, CHECKED)
    });
    let mut turns: Vec<(&'static str, Made)> = vec![
        ("ort-cpu", quick_enough(on_cpu().map_err(|error| error.to_string()), batch)),
        ("ort-cuda, graphs", on_gpu(true).map_err(|error| error.to_string())),
        ("ort-cuda, no graphs", on_gpu(false).map_err(|error| error.to_string())),
    ];
    let mut samples = vec![Vec::new(); turns.len()];
    let mut errors = vec![(0.0, true); turns.len()];
    for ((_, engine), error) in turns.iter_mut().zip(&mut errors) {
        let Ok(made) = engine else { continue };
        made.seat(batch);
        let got = answers(&mut **made, CHECKED.min(batch));
        match got.and_then(|got| Ok(difference(&got, wanted.as_ref().map_err(Clone::clone)?))) {
            Ok(found) => *error = found,
            Err(reason) => *engine = Err(reason),
        }
    }
    for _ in 0..ROUNDS {
        for ((_, engine), samples) in turns.iter_mut().zip(&mut samples) {
            if let Ok(engine) = engine {
                round(&mut **engine, batch, args.slice, samples);
            }
        }
    }
    let figures = turns.into_iter().zip(samples).zip(errors);
    let row = |(((engine, made), mut samples), (max_abs_err, near)): ((_, Vec<f64>), (f32, bool))| {
        let figures =
            Result::map(made, |_: Box<dyn Engine>| [0.5, 0.99, 0.999].map(|share| quantile(&mut samples, share)));
        Row { engine, figures, max_abs_err, near }
    };
    figures.map(row).collect()
}

fn boxed(engine: impl Engine + 'static) -> Box<dyn Engine> {
    Box::new(engine)
}

/// The engine where a run of the batch takes no longer than [`SLOW`], by what a run alone takes.
fn quick_enough(engine: Made, batch: usize) -> Made {
    let mut engine = engine?;
    let mut outputs = vec![0.0; engine.info().outputs];
    let begun = Instant::now();
    engine.infer(&[0], &mut outputs).map_err(|error| error.to_string())?;
    let whole = begun.elapsed() * batch as u32;
    if whole > SLOW { Err(format!("left out: about {:.1} s a run", whole.as_secs_f64())) } else { Ok(engine) }
}

/// Values that a feature may have, the same for every engine.
fn row(seat: usize, step: usize, width: usize) -> Vec<f32> {
    (0..width).map(|i| ((seat * 977 + step * 131 + i * 7 + 1) as f32 * 0.37).sin()).collect()
}

/// What the first seats answer on the last of some rows, those of a window and a few more.
fn answers(engine: &mut dyn Engine, seats: usize) -> Result<Vec<f32>, String> {
    let (width, steps) = (engine.info().inputs, engine.info().rows + 3);
    let mut outputs = vec![0.0; seats * engine.info().outputs];
    let chosen: Vec<usize> = (0..seats).collect();
    for step in 0..steps {
        for &seat in &chosen {
            engine.take(seat, &row(seat, step, width)).map_err(|error| error.to_string())?;
        }
        if engine.info().stateful || step + 1 == steps {
            engine.infer(&chosen, &mut outputs).map_err(|error| error.to_string())?;
        }
    }
    Ok(outputs)
}

/// The largest difference, and whether all are within what admission allows.
fn difference(got: &[f32], wanted: &[f32]) -> (f32, bool) {
    let pairs = || got.iter().zip(wanted);
    let near = pairs().all(|(a, b)| (a - b).abs() <= 1e-5 + 1e-4 * b.abs());
    (pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), near)
}

/// Runs for as long as `slice`, at least a few: microseconds of each.
fn round(engine: &mut dyn Engine, batch: usize, slice: Duration, samples: &mut Vec<f64>) {
    let (width, chosen) = (engine.info().inputs, (0..batch).collect::<Vec<_>>());
    let rows: Vec<Vec<f32>> = (0..64).map(|step| row(step, step, width)).collect();
    let mut outputs = vec![0.0; batch * engine.info().outputs];
    let begun = Instant::now();
    let mut runs = 0;
    while runs < FEWEST || (begun.elapsed() < slice && runs < MOST) {
        for &seat in &chosen {
            // A run that fails has failed when the answers were held against the CPU's.
            let _ = engine.take(seat, &rows[(seat + runs) % rows.len()]);
        }
        let begun = Instant::now();
        let _ = engine.infer(&chosen, &mut outputs);
        let taken = begun.elapsed();
        std::hint::black_box(&outputs);
        if runs >= UNCOUNTED {
            samples.push(taken.as_secs_f64() * 1e6);
        }
        runs += 1;
    }
}

/// Name and driver, as the driver's own tool says.
fn gpu(device: i32) -> String {
    let mut tool = Command::new("nvidia-smi");
    let out =
        tool.arg(format!("--id={device}")).args(["--query-gpu=name,driver_version", "--format=csv,noheader"]).output();
    out.map_or("GPU".into(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn host() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{}, {} CPUs", name.unwrap_or("CPU"), std::thread::available_parallelism().map_or(1, usize::from))
}
