//! Weights stored as bf16, f16 and int8: how near to f32 they answer, the same on each instruction set, and what admission
//! says of them.

#[path = "common/heap.rs"]
mod heap;
#[path = "common/skip.rs"]
mod skip;

use pillion::engine::admission::{self, Tolerance};
use pillion::engine::native::{ISAS, Native};
use pillion::engine::{Engine, Options, OrtCpu, Runtime, RuntimeConfig, Shape, Weights};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use skip::skip;

/// Largest difference from f32 as a share of the largest answer, the engine's name, and most bytes as a share of f32's.
const FORMS: [(Weights, f32, &str, f64); 3] = [
    (Weights::Bf16, 1e-2, "native-bf16", 0.56),
    (Weights::F16, 1.5e-3, "native-f16", 0.56),
    (Weights::Int8, 2e-2, "native-int8", 0.4),
];

/// Odd widths, deep nets and convolutions; values of a row and of the answer as in the index.
const FILES: [&str; 6] = ["gemm_to_255", "gemm_to_100", "gemm_to_31", "net_dense", "net_tcn", "conv_2d_dilated_groups"];

fn onnx(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/zoo/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn shape(name: &str) -> Shape {
    let index = std::fs::read_to_string(format!("{}/tests/zoo/index.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let index: toml::Table = index.parse().unwrap();
    let model = index["model"].as_array().unwrap().iter().find(|model| model["name"].as_str() == Some(name)).unwrap();
    let width = |key: &str| usize::try_from(model[key].as_integer().unwrap()).unwrap();
    Shape::vector("x", width("inputs"), "y", width("outputs"))
}

fn native(name: &str, isa: &'static str, weights: Weights) -> Option<Native> {
    Native::with(&onnx(name), &shape(name), Options { isa: Some(isa), weights, ..Options::default() }).ok()
}

fn rows(width: usize) -> Vec<Vec<f32>> {
    let mut rng = Pcg64::seed_from_u64(7);
    (0..24).map(|_| (0..width).map(|_| rng.random_range(-1.5..1.5)).collect()).collect()
}

fn answers(engine: &mut Native, rows: &[Vec<f32>]) -> Vec<f32> {
    let mut all = vec![0.0; rows.len() * engine.info().outputs];
    let outputs = engine.info().outputs;
    let before = heap::requests();
    for (row, y) in rows.iter().zip(all.chunks_exact_mut(outputs)) {
        engine.run(row, y).unwrap();
    }
    assert_eq!(heap::requests(), before, "a run calls the heap");
    all
}

/// Largest difference as a share of the largest value.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
    a.iter().zip(b).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[test]
fn each_form_is_as_near_to_f32_as_its_digits_and_smaller() {
    for name in FILES {
        let rows = rows(shape(name).features);
        for isa in ISAS {
            let Some(mut exact) = native(name, isa, Weights::F32) else { continue };
            let wanted = answers(&mut exact, &rows);
            for (form, near, engine, share) in FORMS {
                let mut stored = native(name, isa, form).unwrap();
                let worst = apart(&answers(&mut stored, &rows), &wanted);
                let bytes = stored.weight_bytes() as f64 / exact.weight_bytes() as f64;
                println!("{name} {isa} {form:?}: {worst:.1e} of the largest answer, {bytes:.2} of the bytes");
                assert!(worst <= near && worst > 0.0, "{name} {isa} {form:?}: {worst}");
                assert!(name.starts_with("conv") || bytes <= share, "{name} {form:?}: {bytes}");
                assert_eq!(stored.info().engine, engine);
                assert!(!stored.info().runtime.contains("kept"), "{}", stored.info().runtime);
            }
        }
    }
}

#[test]
fn the_same_values_are_stored_for_each_instruction_set() {
    for name in FILES {
        let rows = rows(shape(name).features);
        for (form, ..) in FORMS {
            let wanted = answers(&mut native(name, "portable", form).unwrap(), &rows);
            for isa in ISAS {
                let Some(mut engine) = native(name, isa, form) else { continue };
                let worst = apart(&answers(&mut engine, &rows), &wanted);
                assert!(worst <= 2e-6, "{name} {isa} {form:?}: {worst}");
            }
        }
    }
}

#[test]
fn admission_takes_what_the_manifest_allows_and_no_more() {
    let runtime = match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => runtime,
        Err(error) => return skip(&error.to_string()),
    };
    for name in ["net_dense", "gemm_to_255"] {
        let (shape, rows) = (shape(name), rows(shape(name).features));
        let mut ort = OrtCpu::new(runtime, &onnx(name), &shape).unwrap();
        for (form, ..) in FORMS {
            let mut stored = native(name, "portable", form).unwrap();
            let allowed = Tolerance { absolute: 0.05, relative: 0.05 };
            let agreement = admission::compare(&mut ort, &mut stored, &rows[..], allowed);
            // Rows far outside are no matter of rounding an answer, but of large sums that cancel: see below.
            let ordinary = agreement.as_ref().map_or_else(|why| why.contains("far outside"), |found| found.rows > 250);
            assert!(ordinary, "{name} {form:?}: {agreement:?}");
            let refused = admission::compare(&mut ort, &mut stored, &rows, Tolerance::default());
            assert!(refused.is_err(), "{name} {form:?}: the default admits {refused:?}");
        }
    }
}
