//! Where ONNX Runtime is looked for, and what is said when it is missing, foreign or of another version.
#![allow(missing_docs)]

mod model_support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use model_support::{child, compile, is_child, root, skip};
use pillion::cold::model::{EngineChoice, Model};
use pillion::engine::RuntimeConfig;

/// Loads a bundled model with the config of the environment and prints what came of it.
#[test]
#[ignore = "a child of the other tests"]
fn child_loads_a_model() {
    if !is_child() {
        return;
    }
    let onnxruntime = std::env::var_os("PILLION_TEST_ONNXRUNTIME").map(Into::into);
    let runtime = RuntimeConfig { onnxruntime, ..RuntimeConfig::default() };
    match Model::load(&root().join("models/mlp-k10"), &runtime, EngineChoice::OrtCpu) {
        Ok(model) => println!("loaded on {}", model.engine.info().runtime),
        Err(error) => println!("refused with {}: {error}", error.exit_code),
    }
}

fn outcome(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn this_exe() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn load() -> Command {
    child(&this_exe(), "child_loads_a_model")
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    assert!(text.contains("refused with 2: ONNX Runtime: "), "{text}");
    for part in parts.iter().chain(&["mend: run scripts/fetch-onnxruntime"]) {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_miss_names_every_place_and_the_command_that_mends_it() {
    // The executable is copied away: the folder of its repository is one of the places.
    let away = tempfile::tempdir().unwrap();
    let exe = away.path().join("test");
    fs::copy(this_exe(), &exe).unwrap();
    let text = outcome(child(&exe, "child_loads_a_model").current_dir(away.path()));
    if text.contains("loaded on") {
        return skip("this system carries an ONNX Runtime of its own");
    }
    let here = away.path().join("onnxruntime/libonnxruntime.so.1.31.1");
    refused(
        &text,
        &["looked for $ORT_DYLIB_PATH (not set)", "config key `process.onnxruntime`", &here.display().to_string()],
    );
}

#[test]
fn a_named_library_is_not_passed_over() {
    let text = outcome(load().env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"));
    refused(&text, &["ORT_DYLIB_PATH names /nowhere/libonnxruntime.so", "does not load"]);
    let text = outcome(load().env("PILLION_TEST_ONNXRUNTIME", "/nowhere/else.so"));
    refused(&text, &["config key `process.onnxruntime` names /nowhere/else.so", "does not load"]);
    let manifest = root().join("Cargo.toml");
    refused(&outcome(load().env("ORT_DYLIB_PATH", &manifest)), &["Cargo.toml, which does not load"]);
}

#[test]
fn the_variable_goes_before_the_config_and_a_folder_will_do() {
    if !model_support::runtime_is_here() {
        return;
    }
    let folder = pillion::engine::Runtime::open(&RuntimeConfig::default()).unwrap().path().parent().unwrap();
    let text = outcome(load().env("ORT_DYLIB_PATH", folder).env("PILLION_TEST_ONNXRUNTIME", "/nowhere/else.so"));
    assert!(text.contains("loaded on onnxruntime 1.31."), "{text}");
    let text = outcome(load().env("ORT_DYLIB_PATH", "").env("PILLION_TEST_ONNXRUNTIME", folder));
    assert!(text.contains("loaded on onnxruntime 1.31."), "{text}");
}

#[test]
fn other_versions_are_refused_by_both_names() {
    let dir = tempfile::tempdir().unwrap();
    for (version, said) in
        [("1.22.0", "1.22.0"), ("1.32.0", "1.32.0"), ("2.31.0", "2.31.0"), ("1.31.7", "1.31.7 (without that API)")]
    {
        let library = dir.path().join(format!("lib{version}.so"));
        let defines = [format!("-DVERSION=\"{version}\""), "-DENTRY=OrtGetApiBase".into()];
        if compile("runtime.c", &defines.each_ref().map(String::as_str), &library).is_none() {
            return;
        }
        let text = outcome(load().env("ORT_DYLIB_PATH", &library));
        refused(&text, &[&library.display().to_string(), &format!("is ONNX Runtime {said}; this build needs 1.31.x")]);
    }
}

#[test]
fn a_foreign_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libforeign.so");
    if compile("runtime.c", &["-DVERSION=\"1.31.1\"", "-DENTRY=something_else"], &library).is_none() {
        return;
    }
    let text = outcome(load().env("ORT_DYLIB_PATH", &library));
    refused(&text, &[&library.display().to_string(), "not ONNX Runtime"]);
}
