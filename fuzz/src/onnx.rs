//! ONNX files from any bytes: read, compiled and run by the native engine on what its graph seems to take.

use pillion::engine::native::Survey;
use pillion::engine::{Engine, Native, Options, Shape, Weights};
use pillion::models::guess::{self, Told};

/// Larger windows are a matter of time only.
const MOST_VALUES: usize = 1 << 14;

/// Refused with a reason, or run with the same answers twice.
pub fn run(file: &[u8]) {
    let survey = match Survey::read(file) {
        Ok(survey) => survey,
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
    };
    let (inputs, outputs) = survey.ports();
    let known = inputs.iter().chain(&outputs).map(|port| {
        let dims = port.dims.iter().map(|dim| dim.unwrap_or(1)).collect();
        (port.name.clone(), dims)
    });
    let _ = (survey.operators(), survey.weight_bytes(), survey.open_up(file), survey.work(&known.collect()));
    let tolds = [(None, None), (Some(7), None), (Some(6), Some(5))];
    for (features, window) in tolds {
        let told = Told { features, window, ..Told::default() };
        let Ok(shape) = guess::shape(&inputs, &outputs, &told) else { continue };
        if shape.features * shape.rows > MOST_VALUES {
            continue;
        }
        for weights in [Weights::F32, Weights::Bf16, Weights::F16, Weights::Int8] {
            let options = Options { weights, precompute: shape.rows > 1, batch: 2, ..Options::default() };
            compiled(file, &shape, options);
        }
    }
}

/// The refusal of a plan for no value says how many there are.
fn compiled(file: &[u8], shape: &Shape, options: Options) {
    let values = match Native::with(file, &Shape { values: 0, ..shape.clone() }, options) {
        Ok(_) => 0,
        Err(refusal) => {
            let text = refusal.to_string();
            let count = text.split_once(" give ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            count.unwrap_or(0)
        }
    };
    let shape = Shape { values, ..shape.clone() };
    if values == 0 || values > MOST_VALUES {
        return;
    }
    let Ok(mut native) = Native::with(file, &shape, options) else { return };
    native.seat(2);
    assert_eq!(answers(&mut native, &shape), answers(&mut native, &shape), "the same rows, another answer");
}

/// Bits of the answers to a few rows, NaN among them.
fn answers(native: &mut Native, shape: &Shape) -> Vec<u32> {
    let mut output = vec![0.0; shape.values * 2];
    let mut bits = Vec::new();
    (0..2).for_each(|seat| native.reset(seat));
    for step in 0..3_u8 {
        for seat in 0..2 {
            let value = |i: usize| if step == 2 && i == 1 { f32::NAN } else { 0.25 * f32::from(step) + i as f32 * 0.1 };
            let row: Vec<f32> = (0..shape.features).map(value).collect();
            native.take(seat, &row).expect("a row of the model's width");
        }
        native.infer(&[1, 0], &mut output).expect("a run of its own plan");
        bits.extend(output.iter().map(|x| x.to_bits()));
        while native.prepare() {}
    }
    bits
}
