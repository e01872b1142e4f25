//! `engine = "auto"` and forced engines: what serves, what the banner and the report say of it, and what ends a start.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use pillion::data;
use pillion::engine::RuntimeConfig;
use pillion::lab::replay::ReplayReport;
use pillion::models::{EngineChoice, Model};
use sha2::{Digest, Sha256};

const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

/// A configuration with one model; none of `engine` leaves the default.
fn lane(dir: &Path, model: &Path, engine: &str) -> PathBuf {
    let engine = if engine.is_empty() { String::new() } else { format!("engine = {engine:?}\n") };
    config(dir, &format!("[lane]\n{INSTRUMENT}{engine}models = [{:?}]\n", model.display().to_string()))
}

fn check(dir: &Path, model: &Path, engine: &str) -> std::process::Output {
    output(pillion().arg("check").arg("--config").arg(lane(dir, model, engine)))
}

/// A model directory of three features around a tiny fixture that the native engine does not take: a copy of the bundled
/// one's manifest, and the file `onnx`.
fn foreign(dir: &Path, onnx: &Path, inputs: usize, outputs: usize) -> PathBuf {
    let made = dir.join("foreign");
    std::fs::create_dir(&made).unwrap();
    let bytes = std::fs::read(onnx).unwrap();
    let runtime =
        pillion::engine::Runtime::open(&RuntimeConfig { onnxruntime: Some(onnxruntime()), ..Default::default() });
    let shape = pillion::engine::Shape::vector("x", inputs, "y", outputs);
    let mut engine = pillion::engine::OrtCpu::new(runtime.unwrap(), &bytes, &shape).unwrap();
    let (row, mut output) = (vec![0.5; inputs], vec![0.0; outputs]);
    pillion::engine::Engine::run(&mut engine, &row, &mut output).unwrap();
    let golden = serde_json::json!({ "tolerance": 1e-5, "inputs": [row], "outputs": [output] }).to_string();
    let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let set = pillion::hot::features::FeatureSet::bundled("book").unwrap();
    let mut table: toml::Table =
        std::fs::read_to_string(model("mlp-k10").join("manifest.toml")).unwrap().parse().unwrap();
    for (key, value) in [
        ("name", toml::Value::from("foreign")),
        ("onnx_sha256", hash(&bytes).into()),
        ("golden_sha256", hash(golden.as_bytes()).into()),
        ("features", set.names()[..inputs].to_vec().into()),
        ("input", "x".into()),
        ("output", "y".into()),
        ("outputs", (0..outputs).map(|i| format!("y{i}")).collect::<Vec<_>>().into()),
    ] {
        table.insert(key.into(), value);
    }
    std::fs::write(made.join("manifest.toml"), table.to_string()).unwrap();
    std::fs::write(made.join("golden.json"), golden).unwrap();
    std::fs::write(made.join("model.onnx"), bytes).unwrap();
    made
}

#[test]
fn auto_is_the_default_and_takes_our_own_kernels_for_the_bundled_models() {
    if !has_onnxruntime() {
        return;
    }
    let dir = shm_dir();
    for name in ["mlp-k10", "mlp-k50", "lgbm-k10", "lgbm-k50"] {
        let out = check(dir.path(), &model(name), "");
        let text = stdout(&out);
        assert!(out.status.success(), "{text}{}", stderr(&out));
        let manifest: toml::Table =
            std::fs::read_to_string(model(name).join("manifest.toml")).unwrap().parse().unwrap();
        let revision = manifest["revision"].as_integer().unwrap();
        assert!(text.contains(&format!("{name} r{revision} ")) && text.contains(" on native, "), "{text}");
        let lines: Vec<_> = text.lines().filter(|line| line.contains("  engine")).collect();
        assert_eq!(lines.len(), 2, "a line an engine: {text}");
        assert!(lines[0].contains("ort-cpu  admitted  p50") && lines[0].ends_with("the reference"), "{text}");
        assert!(lines[1].contains("native   admitted  p50") && lines[1].contains("max error"), "{text}");
        assert_eq!(lines[0].find("p99.9"), lines[1].find("p99.9"), "columns line up: {text}");
    }
}

#[test]
fn the_report_has_the_table() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = data::synth::Plan { seed: 1, instruments: 2, events: 300, events_per_second: 5_000 };
    data::synth::write(&input, &plan).expect("writable");
    let json = dir.path().join("report.json");
    let models = format!("[lane]\nmodels = [{:?}]\n", model("mlp-k10").display().to_string());
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config(dir.path(), &models)).arg("--input").arg(&input);
    let out = output(command.arg("--json").arg(&json));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let report: ReplayReport = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let tried = &report.lane.models[0].candidates;
    assert_eq!(tried.iter().map(|t| t.engine.as_str()).collect::<Vec<_>>(), ["ort-cpu", "native"]);
    for engine in tried {
        assert!(engine.admitted && engine.reason.is_none(), "{engine:?}");
        assert!(
            engine.p50_ns <= engine.p99_ns && engine.p99_ns <= engine.p999_ns && engine.p50_ns > Some(0),
            "{engine:?}"
        );
    }
    // At equal speed the later one, which does not allocate.
    let fastest = tried.iter().rev().min_by_key(|engine| engine.p99_ns).unwrap();
    assert_eq!(report.engine, fastest.engine, "the fastest serves: {tried:?}");
}

#[test]
fn what_our_kernels_do_not_take_onnx_runtime_serves_and_says_why() {
    if !has_onnxruntime() {
        return;
    }
    let dir = shm_dir();
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo");
    // Twelve values in and out.
    let made = foreign(dir.path(), &zoo.join("refused_contrib.onnx"), 12, 12);
    let runtime = RuntimeConfig { onnxruntime: Some(onnxruntime()), ..Default::default() };
    let loaded = Model::load(&made, &runtime, EngineChoice::Auto).unwrap();
    assert_eq!(loaded.engine.info().engine, "ort-cpu");
    let reason = loaded.candidates.iter().find(|c| c.engine == "native").unwrap().admitted.as_ref().unwrap_err();
    assert!(reason.contains("operator com.microsoft.Gelu (node `"), "{reason}");
    let refused = Model::load(&made, &runtime, EngineChoice::Native).err().expect("forced and refused");
    assert_eq!(refused.exit_code, 2);
    let text = refused.to_string();
    assert!(
        text.contains("the native engine does not take it: operator com.microsoft.Gelu") && text.contains("mend: "),
        "{text}"
    );
}

#[test]
fn a_forced_engine_serves_or_ends_the_start() {
    if !has_onnxruntime() {
        return;
    }
    let dir = shm_dir();
    for (engine, says) in [("ort-cpu", " on ort-cpu, "), ("native", " on native, ")] {
        let out = check(dir.path(), &model("lgbm-k10"), engine);
        assert!(out.status.success() && stdout(&out).contains(says), "{engine}: {}{}", stdout(&out), stderr(&out));
    }
    let out = check(dir.path(), &model("lgbm-k10"), "fastest");
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    assert!(stderr(&out).contains("fastest"), "{}", stderr(&out));
}

/// Where there is no GPU: a refusal that names what is missing, or the CPU and the reason, as the lane says.
#[test]
fn a_gpu_that_is_missing() {
    if !has_onnxruntime() {
        return;
    }
    let runtime = RuntimeConfig { onnxruntime: Some(onnxruntime()), ..Default::default() };
    let runtime = pillion::engine::Runtime::open(&runtime).unwrap();
    let Err(reason) = pillion::engine::cuda::available(runtime, 0) else {
        return skip("there is a GPU, which tests/engine_cuda.rs uses");
    };
    let dir = shm_dir();
    let check = |keys: &str| {
        let models = format!("models = [{:?}]\n", model("mlp-k10").display().to_string());
        let config = config(dir.path(), &format!("[lane]\n{INSTRUMENT}{models}{keys}"));
        let out = output(pillion().arg("check").arg("--config").arg(config));
        (out.status.code(), stdout(&out), stderr(&out))
    };
    let (code, _, text) = check("engine = \"ort-cuda\"\n");
    assert!(code == Some(2) && text.contains("name the GPU in device"), "{text}");
    for engine in ["ort-cuda", "auto"] {
        let keys = format!("engine = {engine:?}\ndevice = \"cuda:0\"\n");
        let (code, _, text) = check(&keys);
        assert!(code == Some(2) && text.contains(&reason), "{engine}: {text}, where `{reason}` is expected");
        let (code, text, error) = check(&format!("{keys}on_missing = \"cpu\"\n"));
        assert_eq!(code, Some(0), "{engine}: {error}");
        let serves = if engine == "auto" { " on native, " } else { " on ort-cpu, " };
        assert!(text.contains(serves) && text.contains(&format!("ort-cuda  refused: {reason}")), "{engine}: {text}");
    }
}

/// A manifest that allows nothing leaves ONNX Runtime in place: it is the manifest's tolerance that counts.
#[test]
fn the_manifests_tolerance_decides() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for file in ["manifest.toml", "model.onnx", "golden.json"] {
        std::fs::copy(model("mlp-k10").join(file), dir.path().join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(dir.path().join("manifest.toml")).unwrap();
    std::fs::write(dir.path().join("manifest.toml"), manifest + "\n[tolerance]\nabsolute = 0.0\nrelative = 0.0\n")
        .unwrap();
    let runtime = RuntimeConfig { onnxruntime: Some(onnxruntime()), ..Default::default() };
    let loaded = Model::load(dir.path(), &runtime, EngineChoice::Auto).unwrap();
    assert_eq!(loaded.engine.info().engine, "ort-cpu");
    let reason = loaded.candidates[1].admitted.as_ref().unwrap_err();
    assert!(reason.contains("of a row that is golden: native says"), "{reason}");
}
