//! Every bundled model loads, agrees with its golden file, and carries a complete manifest.
#![allow(missing_docs)]

mod model_support;

use pillion::engine::{Runtime, RuntimeConfig};
use pillion::hot::features::FeatureSet;
use pillion::models::{EngineChoice, Missing, Model};

#[test]
fn bundled_models_load_and_agree_with_their_golden_rows() {
    if !model_support::runtime_is_here() {
        return;
    }
    for dir in model_support::bundled() {
        let model = Model::load(&dir, &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
        let info = model.engine.info();
        assert_eq!(info.engine, "ort-cpu");
        assert_eq!((info.inputs, info.outputs), (model.manifest.features.len(), 3), "{}", dir.display());
        assert!(info.runtime.starts_with("onnxruntime 1.31."), "{}", info.runtime);
        println!("{}: {} on {} ({})", model.manifest.name, info.engine, info.runtime, info.isa);
    }
}

#[test]
fn bundled_manifests_say_what_the_numbers_mean() {
    for dir in model_support::bundled() {
        let model = Model::read(&dir).unwrap();
        let manifest = model.manifest();
        assert_eq!(dir.file_name().unwrap().to_str(), Some(manifest.name.as_str()));
        assert_eq!(manifest.outputs, ["down", "flat", "up"]);
        assert!(manifest.name.ends_with(&format!("-k{}", manifest.horizon_events)));
        assert_eq!(manifest.missing, Missing::Never);
        assert_eq!(manifest.scores.keys().collect::<Vec<_>>(), ["logistic", "majority", "model"]);
        assert!(manifest.training.as_ref().unwrap().rows.iter().all(|&rows| rows > 10_000));
    }
}

#[test]
fn of_each_horizon_one_model_is_above_both_baselines() {
    for horizon in [10, 50] {
        let dirs = model_support::bundled();
        let manifests = dirs.iter().map(|dir| Model::read(dir).unwrap().manifest().clone());
        let beats = |score: fn(&pillion::models::Scores) -> f64| {
            manifests.clone().filter(|m| m.horizon_events == horizon).any(|m| {
                let of = |name: &str| score(&m.scores[name]);
                of("model") > of("majority").max(of("logistic"))
            })
        };
        assert!(beats(|scores| scores.macro_f1), "macro-F1, k = {horizon}");
        assert!(beats(|scores| -scores.log_loss), "log-loss, k = {horizon}");
    }
}

#[test]
fn bundled_models_were_trained_on_the_bundled_set_as_it_is() {
    let set = FeatureSet::bundled("book").unwrap();
    for dir in model_support::bundled() {
        Model::read(&dir).unwrap().manifest().fits(set.name(), set.names(), &set.hash()).unwrap();
    }
}

/// The trainer held each graph against its estimator on every row of the day, and would not have written one that differs.
#[test]
fn bundled_models_answer_as_their_estimators_on_rows_of_every_event() {
    for dir in model_support::bundled() {
        let model = Model::read(&dir).unwrap();
        let manifest = model.manifest();
        assert_eq!(manifest.trigger, Some(pillion::hot::Trigger::EventEnd), "{}", manifest.name);
        let expected = manifest.expected.unwrap();
        assert_eq!((expected.rows, expected.differ, expected.decisions), (147_915, 0, 0), "{}", manifest.name);
        assert!(expected.largest <= 1e-6, "{}: {}", manifest.name, expected.largest);
    }
}

#[test]
fn the_readme_has_the_manifests_figures() {
    let readme = std::fs::read_to_string(model_support::root().join("models/README.md")).unwrap();
    for dir in model_support::bundled() {
        let model = Model::read(&dir).unwrap();
        for (name, scores) in &model.manifest().scores {
            let row = format!("| {:.4} | {:.4} | {:.4} |", scores.macro_f1, scores.accuracy, scores.log_loss);
            assert!(readme.contains(&row), "{}: {name} is not in models/README.md as {row}", dir.display());
        }
    }
}

#[test]
fn probabilities_sum_to_one_and_runs_repeat_to_the_bit() {
    if !model_support::runtime_is_here() {
        return;
    }
    for dir in model_support::bundled() {
        let mut model = Model::load(&dir, &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
        let input: Vec<f32> = (0..model.manifest.features.len()).map(|i| (i as f32 - 9.0) / 3.0).collect();
        let (mut first, mut again) = ([0.0; 3], [0.0; 3]);
        model.engine.run(&input, &mut first).unwrap();
        for _ in 0..100 {
            model.engine.run(&input, &mut again).unwrap();
            assert_eq!(first.map(f32::to_bits), again.map(f32::to_bits));
        }
        assert!((first.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{first:?}");
    }
}

#[test]
fn buffers_of_the_wrong_length_are_refused_not_run() {
    if !model_support::runtime_is_here() {
        return;
    }
    let mut model = Model::load(&model_support::bundled()[0], &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
    let inputs = model.manifest.features.len();
    let error = model.engine.run(&vec![0.0; inputs + 1], &mut [0.0; 3]).unwrap_err().to_string();
    assert_eq!(error, format!("input has {} values where the model has {inputs}", inputs + 1));
    let error = model.engine.run(&vec![0.0; inputs], &mut [0.0; 2]).unwrap_err().to_string();
    assert_eq!(error, "output has 2 values where the model has 3");
    model.engine.run(&vec![0.0; inputs], &mut [0.0; 3]).unwrap();
}

#[test]
fn nan_comes_back_as_the_engines_answer() {
    if !model_support::runtime_is_here() {
        return;
    }
    let dirs = model_support::bundled();
    let mlp = dirs.iter().find(|dir| dir.ends_with("mlp-k10")).unwrap();
    let mut model = Model::load(mlp, &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
    let mut output = [0.0; 3];
    model.engine.run(&vec![f32::NAN; model.manifest.features.len()], &mut output).unwrap();
    assert!(output.iter().all(|value| value.is_nan()), "{output:?}");
}

#[test]
fn one_runtime_serves_the_process() {
    if !model_support::runtime_is_here() {
        return;
    }
    let first = Runtime::open(&RuntimeConfig::default()).unwrap();
    let elsewhere = RuntimeConfig { onnxruntime: Some("/nowhere/at/all.so".into()), ..RuntimeConfig::default() };
    assert!(std::ptr::eq(first, Runtime::open(&elsewhere).unwrap()));
}
