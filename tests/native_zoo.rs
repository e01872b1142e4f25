//! Every file of `tests/zoo`, which `models/zoo.py` makes: the native engine on each instruction set against ONNX Runtime,
//! without a call to the heap; or the refusal that the index names.

#[path = "common/heap.rs"]
mod heap;
#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeMap;

use pillion::engine::native::{ISAS, Native};
use pillion::engine::{Engine, EngineError, EngineInfo, Options, OrtCpu, Runtime, RuntimeConfig, Shape, admission};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use skip::skip;

/// Golden rows of each file: as a model's features, brought to about one.
const ROWS: usize = 24;

#[derive(serde::Deserialize)]
struct Index {
    model: Vec<Model>,
    refused: Vec<Refused>,
}

#[derive(serde::Deserialize)]
struct Model {
    name: String,
    /// Values of a row.
    inputs: usize,
    /// Rows of a window.
    rows: Option<usize>,
    /// Further inputs, each with its next value's output.
    #[serde(default)]
    states: BTreeMap<String, String>,
    outputs: usize,
    /// ONNX Runtime does otherwise with NaN, or by chance so: what admission may say of it. Such a model is not admitted.
    nan_differs: Option<String>,
}

/// An engine that is never shown a NaN.
struct WithoutNan<'a>(&'a mut dyn Engine);

impl Engine for WithoutNan<'_> {
    fn info(&self) -> &EngineInfo {
        self.0.info()
    }

    fn seat(&mut self, instruments: usize) {
        self.0.seat(instruments);
    }

    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        let row: Vec<f32> = row.iter().map(|&x| if x.is_nan() { 0.25 } else { x }).collect();
        self.0.take(seat, &row)
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        self.0.infer(seats, outputs)
    }

    fn reset(&mut self, seat: usize) {
        self.0.reset(seat);
    }

    fn filled(&self, seat: usize) -> bool {
        self.0.filled(seat)
    }
}

#[derive(serde::Deserialize)]
struct Refused {
    name: String,
    inputs: usize,
    words: String,
}

fn path(file: &str) -> String {
    format!("{}/tests/zoo/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn index() -> Index {
    toml::from_str(&std::fs::read_to_string(path("index.toml")).unwrap()).unwrap()
}

fn onnx(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.onnx"))).unwrap()
}

fn shape(inputs: usize, outputs: usize) -> Shape {
    Shape::vector("x", inputs, "y", outputs)
}

impl Model {
    fn shape(&self) -> Shape {
        let states: Vec<_> = self.states.iter().map(|(input, next)| (input.as_str(), next.as_str())).collect();
        shape(self.inputs, self.outputs).window(self.rows.unwrap_or(1)).carrying(&states)
    }
}

fn options(isa: &'static str) -> Options {
    Options { isa: Some(isa), ..Options::default() }
}

/// An instruction set that this machine has.
fn is_here(isa: &'static str) -> bool {
    Native::with(&onnx("relu"), &shape(19, 24), options(isa)).is_ok()
}

fn golden(model: &Model) -> Vec<Vec<f32>> {
    let mut rng = Pcg64::seed_from_u64(model.name.bytes().map(u64::from).sum());
    // A sum of uniform values is bell-shaped enough.
    let mut value = || (0..6).map(|_| rng.random_range(-0.7..0.7_f32)).sum::<f32>();
    (0..ROWS).map(|_| (0..model.inputs * model.rows.unwrap_or(1)).map(|_| value()).collect()).collect()
}

#[test]
fn every_model_answers_as_onnx_runtime_does() {
    let runtime = match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => runtime,
        Err(error) => return skip(&error.to_string()),
    };
    let index = index();
    assert!(index.model.len() > 200, "{} models", index.model.len());
    let isas: Vec<_> = ISAS.into_iter().filter(|isa| is_here(isa)).collect();
    assert!(isas.contains(&"portable"));
    let mut wrong = Vec::new();
    for model in &index.model {
        let (onnx, shape, rows) = (onnx(&model.name), model.shape(), golden(model));
        let mut ort = OrtCpu::new(runtime, &onnx, &shape).unwrap_or_else(|error| panic!("{}: {error}", model.name));
        for isa in &isas {
            match parity(&mut ort, &onnx, &shape, isa, &rows, model.nan_differs.as_deref()) {
                Ok(text) => println!("{:34} {isa:9} {text}", model.name),
                Err(why) => wrong.push(format!("{} {isa}: {why}", model.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), index.model.len() * isas.len(), wrong.join("\n"));
}

fn parity(
    ort: &mut OrtCpu,
    onnx: &[u8],
    shape: &Shape,
    isa: &'static str,
    rows: &[Vec<f32>],
    nan_differs: Option<&str>,
) -> Result<String, String> {
    let mut native = Native::with(onnx, shape, options(isa)).map_err(|refusal| refusal.to_string())?;
    let tolerance = admission::Tolerance::default();
    let agreement = match admission::compare(ort, &mut native, rows, tolerance) {
        // In all else they agree.
        Err(why) if nan_differs.is_some_and(|words| why.contains(words)) => {
            admission::compare(&mut WithoutNan(ort), &mut WithoutNan(&mut native), rows, tolerance)?
        }
        other => other?,
    };
    if agreement.rows < 200 + rows.len() {
        return Err(format!("only {} rows were compared", agreement.rows));
    }
    let mut output = vec![0.0; shape.values];
    let before = heap::requests();
    let begun = std::time::Instant::now();
    for row in rows.iter().flat_map(|rows| rows.chunks(shape.features)) {
        native.run(row, &mut output).map_err(|error| error.to_string())?;
    }
    let ns = begun.elapsed().as_nanos() / (rows.len() * shape.rows) as u128;
    let requests = heap::requests() - before;
    if requests > 0 {
        return Err(format!("{requests} calls to the heap in {} runs", rows.len()));
    }
    Ok(format!("{:>9.1e} {ns:>7} ns", agreement.max_abs_err))
}

/// What is right where ONNX Runtime, or an earlier kernel, is not to be trusted: on each instruction set.
#[test]
fn values_at_the_edges_are_the_right_ones() {
    const LOW: f32 = f32::NEG_INFINITY;
    let small = [1e-38_f32, 1e-40, 1e-45, 1.2e-38, 0.0, -1e-40];
    let mut log = vec![1.0; 19];
    log[..6].copy_from_slice(&small);
    let logs: Vec<f32> = small.iter().map(|&x| f64::from(x).ln() as f32).collect();
    let cases: [(&str, Vec<f32>, Vec<f32>); 8] = [
        ("mean_scalar", vec![3.0, 5.0, 7.0, 9.0], vec![2.0, 3.0, 4.0, 5.0]),
        ("mean_of_one", vec![3.0, 5.0, 7.0, 9.0], vec![3.0, 5.0, 7.0, 9.0]),
        ("log_raw_of_negative", log, logs),
        ("maxpool_2d", vec![LOW; 60], vec![LOW; 24]),
        ("maxpool_1d", vec![LOW; 18], vec![LOW; 14]),
        ("globalmaxpool", vec![LOW; 24], vec![LOW; 3]),
        ("argmax_row", vec![1.0, 5.0, 2.0, 5.0, LOW, 0.0, 5.0], vec![1.0]),
        ("cast_int64", vec![0.5, -0.5, 1.0, -1e30, 1e30, 0.1], vec![1.0, -1.0, 3.0, -9.223_372e18, -9.223_372e18, 0.0]),
    ];
    let index = index();
    for (name, row, wanted) in cases {
        let shape = index.model.iter().find(|model| model.name == name).unwrap().shape();
        for isa in ISAS.into_iter().filter(|isa| is_here(isa)) {
            let mut got = vec![0.0; shape.values];
            Native::with(&onnx(name), &shape, options(isa)).unwrap().run(&row, &mut got).unwrap();
            let near = |(got, wanted): (&f32, &f32)| {
                got == wanted || (got.is_nan() && wanted.is_nan()) || (got - wanted).abs() <= 1e-6 * wanted.abs()
            };
            assert!(got.iter().zip(&wanted).all(near), "{name} {isa}: {got:?}, not {wanted:?}");
        }
    }
}

/// Compiles what may be a broken file, and runs what comes of it: neither may panic.
fn try_out(onnx: &[u8], shape: &Shape) -> Result<(), String> {
    let mut native = Native::new(onnx, shape).map_err(|refusal| refusal.to_string())?;
    native.run(&vec![0.5; shape.features], &mut vec![0.0; shape.values]).map_err(|error| error.to_string())
}

#[test]
fn broken_files_are_refused_and_never_a_panic() {
    let mut rng = Pcg64::seed_from_u64(4);
    let (mut tried, mut refused) = (0, 0);
    for model in &index().model {
        let whole = onnx(&model.name);
        for _ in 0..40 {
            let mut broken = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..broken.len());
                broken[at] ^= 1 << rng.random_range(0..8);
            }
            tried += 1;
            refused += usize::from(try_out(&broken, &model.shape()).is_err());
        }
    }
    println!("{refused} of {tried} files with flipped bits are refused");
    assert!(tried > 10_000 && refused > tried / 10, "{refused} of {tried}");
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for name in ["net_dense", "trees_mixed_modes", "conv_1d"] {
        let index = index();
        let model = index.model.iter().find(|model| model.name == name).unwrap();
        let whole = onnx(name);
        let taken = (0..whole.len()).filter(|&cut| try_out(&whole[..cut], &model.shape()).is_ok());
        assert_eq!(taken.count(), 0, "{name}");
        assert_eq!(try_out(&whole, &model.shape()), Ok(()));
    }
}

#[test]
fn what_is_not_taken_is_refused_by_operator_and_node() {
    let index = index();
    assert!(index.refused.len() > 30, "{} refusals", index.refused.len());
    for file in index.refused {
        let refusal = Native::new(&onnx(&file.name), &shape(file.inputs, 1)).map(drop);
        let text = refusal.expect_err(&file.name).to_string();
        assert!(text.contains(&file.words), "{}: {text}, where `{}` is expected", file.name, file.words);
    }
}
