//! The native engine against ONNX Runtime: the bundled models, on random rows, for every instruction set.

mod common;

use pillion::engine::native::{ISAS, Native};
use pillion::engine::{Engine, Options, OrtCpu, Runtime, RuntimeConfig, Shape, admission};

#[test]
fn bundled_models_answer_as_onnx_runtime_does() {
    let runtime = Runtime::open(&RuntimeConfig::default()).unwrap();
    for name in ["mlp-k10", "mlp-k50", "lgbm-k10", "lgbm-k50"] {
        let dir = format!("{}/models/{name}", env!("CARGO_MANIFEST_DIR"));
        let manifest: toml::Table = std::fs::read_to_string(format!("{dir}/manifest.toml")).unwrap().parse().unwrap();
        let onnx = std::fs::read(format!("{dir}/model.onnx")).unwrap();
        let (input, output) = (manifest["input"].as_str().unwrap(), manifest["output"].as_str().unwrap());
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{dir}/golden.json")).unwrap()).unwrap();
        let rows: Vec<Vec<f32>> = serde_json::from_value(golden["inputs"].clone()).unwrap();
        let outputs = manifest["outputs"].as_array().unwrap().len();
        let shape = Shape::vector(input, rows[0].len(), output, outputs);
        let mut ort = OrtCpu::new(runtime, &onnx, &shape).unwrap();
        for isa in ISAS {
            let native = Native::with(&onnx, &shape, Options { isa: Some(isa), ..Options::default() });
            // Not every machine has the vector instructions.
            assert!(native.is_ok() || isa != "portable", "{name}: {:?}", native.err());
            let Ok(mut native) = native else { continue };
            let agreement = admission::compare(&mut ort, &mut native, &rows, admission::Tolerance::default()).unwrap();
            let worst = agreement.max_abs_err;
            let time = |engine: &mut dyn Engine| {
                let mut out = vec![0.0; outputs];
                let mut best = f64::MAX;
                for _ in 0..50 {
                    let t = std::time::Instant::now();
                    for i in 0..200 {
                        engine.run(&rows[i % rows.len()], &mut out).unwrap();
                    }
                    best = best.min(t.elapsed().as_nanos() as f64 / 200.0);
                }
                best
            };
            println!("{name} {isa}: worst {worst}, native {:.0} ns, ort {:.0} ns", time(&mut native), time(&mut ort));
            assert!(agreement.rows > 250, "{name} {isa}");
        }
    }
}
