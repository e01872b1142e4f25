//! A net of DeepLOB's kind that others exported (torch.onnx, opset 18), from the data that lie beside the repository.

#[path = "common/skip.rs"]
mod skip;

use pillion::engine::native::{ISAS, Native};
use pillion::engine::{Options, OrtCpu, Runtime, RuntimeConfig, Shape, admission};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use skip::skip;

/// A window: 100 rows of price and size at ten levels of both sides.
const ROWS: usize = 100;
const FEATURES: usize = 40;

#[test]
fn a_foreign_deeplob_answers_as_onnx_runtime_does() {
    let path = format!("{}/../shared/data/onnx/deeplob-style-b1.onnx", env!("CARGO_MANIFEST_DIR"));
    let Ok(onnx) = std::fs::read(&path) else { return skip(&format!("there is no {path}")) };
    let runtime = match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => runtime,
        Err(error) => return skip(&error.to_string()),
    };
    let shape = Shape::vector("lob_window", FEATURES, "logits", 3).window(ROWS);
    let mut rng = Pcg64::seed_from_u64(4);
    let mut window = || (0..ROWS * FEATURES).map(|_| rng.random_range(-2.0..2.0)).collect();
    let golden: Vec<Vec<f32>> = (0..8).map(|_| window()).collect();
    let mut ort = OrtCpu::new(runtime, &onnx, &shape).unwrap();
    let mut tried = 0;
    for isa in ISAS {
        let mut native = match Native::with(&onnx, &shape, Options { isa: Some(isa), ..Options::default() }) {
            Ok(native) => native,
            Err(refusal) if refusal.to_string().contains("this machine has no") => continue,
            Err(refusal) => panic!("{isa}: {refusal}"),
        };
        let agreement = admission::compare(&mut ort, &mut native, &golden, admission::Tolerance::default()).unwrap();
        println!("{isa}: {} windows, worst {:.1e}", agreement.rows, agreement.max_abs_err);
        assert!(agreement.rows > 250, "{isa}: {agreement:?}");
        tried += 1;
    }
    assert!(tried > 0);
}
