//! What is timed: the models of `target/bench-models`, the engines that take them, and what is aimed at.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use pillion::engine::{Engine, Native, Options, OrtCpu, Runtime, Shape, Weights};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::measure::{Figures, ROWS, Turn};

/// Instruments of a batch.
const BATCH: usize = 64;
/// The command that makes what is missing.
const MAKE: &str = "scripts/bench-models";

/// An aim of an engine for a model.
pub struct Target {
    pub engine: &'static str,
    aim: Aim,
}

enum Aim {
    /// At least so many times ONNX Runtime's speed.
    Ratio(f64),
    /// A p99 of at most so many nanoseconds.
    P99(f64),
}

impl Target {
    pub fn held(&self, figures: &Figures, ratio: f64) -> bool {
        match self.aim {
            Aim::Ratio(least) => ratio >= least,
            Aim::P99(most) => figures.p99 <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.aim {
            Aim::Ratio(least) => write!(f, "x ort >= {least}"),
            Aim::P99(most) => write!(f, "p99 <= {most:.0} ns"),
        }
    }
}

const fn ratio(engine: &'static str, least: f64) -> Target {
    Target { engine, aim: Aim::Ratio(least) }
}

fn targets(name: &str) -> Vec<Target> {
    let p99 = |engine, most| Target { engine, aim: Aim::P99(most) };
    match name {
        "mlp_small" => vec![ratio("native", 15.0)],
        "mlp_wide" => vec![ratio("native", 2.0)],
        "lstm_step" => vec![ratio("native", 6.0)],
        "lgbm_small" => vec![ratio("native", 4.0)],
        "lgbm_large" => vec![ratio("native", 2.0)],
        "lstm_window" => vec![ratio("native", 1.3)],
        "lstm_a" => vec![ratio("native", 1.5), p99("native bf16 sliding", 3_000.0)],
        _ => Vec::new(),
    }
}

/// A model and its aims.
pub struct Case {
    pub name: String,
    pub onnx: Vec<u8>,
    pub shape: Shape,
    pub targets: Vec<Target>,
}

#[derive(serde::Deserialize)]
struct Index {
    model: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    name: String,
    inputs: usize,
    rows: usize,
    outputs: usize,
    #[serde(default)]
    states: BTreeMap<String, String>,
}

/// The models that are there.
pub fn cases() -> Result<Vec<Case>, String> {
    let folder = Path::new("target/bench-models");
    let missing = |path: &Path| format!("{} is not there: {MAKE} makes it", path.display());
    let index = folder.join("index.toml");
    let text = std::fs::read_to_string(&index).map_err(|_| missing(&index))?;
    let index: Index = toml::from_str(&text).map_err(|error| format!("{}: {error}", index.display()))?;
    let mut cases = Vec::new();
    for entry in index.model {
        let path = folder.join(format!("{}.onnx", entry.name));
        let onnx = std::fs::read(&path).map_err(|_| missing(&path))?;
        let states: Vec<_> = entry.states.iter().map(|(input, next)| (input.as_str(), next.as_str())).collect();
        let shape = Shape::vector("x", entry.inputs, "y", entry.outputs).window(entry.rows).carrying(&states);
        cases.push(Case { targets: targets(&entry.name), name: entry.name, onnx, shape });
    }
    cases.extend(foreign());
    Ok(cases)
}

/// A net of DeepLOB's kind that others exported, from the data beside the repository.
fn foreign() -> Option<Case> {
    let path = Path::new("../shared/data/onnx/deeplob-style-b1.onnx");
    let shape = Shape::vector("lob_window", 40, "logits", 3).window(100);
    Some(Case { name: "deeplob_ext".into(), onnx: std::fs::read(path).ok()?, shape, targets: Vec::new() })
}

/// Engines to time, ONNX Runtime first, and those that do not take the model, with why.
pub type Turns = (Vec<Turn>, Vec<(String, String)>);

impl Case {
    /// Every engine and option that means something for this model.
    pub fn turns(&self, runtime: &Runtime) -> Result<Turns, String> {
        let ort = |seats| {
            let engine =
                OrtCpu::new(runtime, &self.onnx, &self.shape).map_err(|error| format!("{}: {error}", self.name))?;
            let name = if seats > 1 { format!("ort-cpu, {seats} rows") } else { "ort-cpu".into() };
            Ok::<_, String>(self.turn(name, Box::new(engine), seats, None))
        };
        let mut turns = vec![ort(1)?];
        let mut refused = Vec::new();
        let plain = self.native(Options::default());
        let bytes = plain.as_ref().map_or(0, Native::weight_bytes);
        let plain = plain.map(|native| self.native_turn("native", native, 1));
        let taken = plain.is_ok();
        add(plain, "native", &mut turns, &mut refused);
        if taken {
            self.options(bytes, &mut turns, &mut refused);
            turns.push(ort(BATCH)?);
        }
        Ok((turns, refused))
    }

    /// Narrow weights, what can be done ahead, and a batch, where they change anything.
    fn options(&self, bytes: usize, turns: &mut Vec<Turn>, refused: &mut Vec<(String, String)>) {
        let narrow = [(Weights::F32, ""), (Weights::Bf16, " bf16"), (Weights::F16, " f16"), (Weights::Int8, " int8")];
        for (weights, name) in narrow {
            let options = Options { weights, ..Options::default() };
            let smaller =
                weights == Weights::F32 || self.native(options).is_ok_and(|native| native.weight_bytes() < bytes);
            if !smaller {
                continue;
            }
            if weights != Weights::F32 {
                let name = format!("native{name}");
                let turn = self.native(options).map(|native| self.native_turn(&name, native, 1));
                add(turn, &name, turns, refused);
            }
            let name = format!("native{name} sliding");
            let ahead =
                self.native(Options { precompute: true, ..options }).map(|native| self.native_turn(&name, native, 1));
            if ahead.as_ref().is_ok_and(|turn| turn.prepares) {
                add(ahead, &name, turns, refused);
            }
        }
        let name = format!("native, {BATCH} rows");
        let batch = self.native(Options { batch: BATCH, ..Options::default() });
        add(batch.map(|native| self.native_turn(&name, native, BATCH)), &name, turns, refused);
    }

    fn native(&self, options: Options) -> Result<Native, String> {
        Native::with(&self.onnx, &self.shape, options).map_err(|refusal| refusal.to_string())
    }

    fn native_turn(&self, name: &str, native: Native, seats: usize) -> Turn {
        let bytes = native.weight_bytes();
        self.turn(name.to_owned(), Box::new(native), seats, Some(bytes))
    }

    fn turn(&self, name: String, mut engine: Box<dyn Engine>, seats: usize, weight_bytes: Option<usize>) -> Turn {
        let mut rng = Pcg64::seed_from_u64(4);
        let rows: Vec<f32> = (0..ROWS * self.shape.features).map(|_| rng.random_range(-1.5..1.5)).collect();
        engine.seat(seats);
        let mut output = vec![0.0; self.shape.values];
        // A window is filled before it is timed, and what is done ahead shows after a run.
        for seat in 0..seats {
            for row in rows.chunks_exact(self.shape.features).take(self.shape.rows) {
                engine.take(seat, row).expect("the row has the model's width");
            }
        }
        engine.infer(&[0], &mut output).expect("the engine has run at its making");
        let prepares = engine.prepare();
        Turn { name, engine, seats, weight_bytes, prepares, rows }
    }
}

fn add(turn: Result<Turn, String>, name: &str, turns: &mut Vec<Turn>, refused: &mut Vec<(String, String)>) {
    match turn {
        Ok(turn) => turns.push(turn),
        Err(why) => refused.push((name.to_owned(), why)),
    }
}
