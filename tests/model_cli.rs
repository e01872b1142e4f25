//! `pillion model check` and `pillion model new` as their user runs them.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use serde_json::Value;

fn zoo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo").join(format!("{name}.onnx"))
}

/// What `pillion model …` answers.
fn pillion_model(args: &[&str]) -> std::process::Output {
    output(pillion().arg("model").args(args))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

/// The findings of a file that is taken.
fn checked(target: &Path, more: &[&str]) -> Value {
    let out = pillion_model(&[&["check", path(target), "--json"], more].concat());
    assert!(out.status.success(), "{}: {}{}", target.display(), stdout(&out), stderr(&out));
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(&out)))
}

/// Refused with exit code 2: the words, and nothing on standard output.
#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let out = pillion_model(args);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {}{text}", stdout(&out));
    assert_eq!(stdout(&out), "");
    assert!(text.contains("mend: "), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_bundled_model_is_told_in_text() {
    if !has_onnxruntime() {
        return;
    }
    let out = pillion_model(&["check", path(&model("mlp-k10"))]);
    let text = stdout(&out);
    assert!(out.status.success(), "{text}{}", stderr(&out));
    for words in [
        "model      mlp-k10 r1",
        "input      `features` float32 [1, 41]: a row of 41 values",
        "output     `probabilities` float32 [1, 3]: published",
        "2 Gemm",
        // 41·32 + 32·3
        "1,408 MACs, 0 tree comparisons a run; floor ",
        "auto       native",
        "mallocs/run",
        "ort-cpu   reference",
        "native    yes",
        "ort-cuda",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
}

#[test]
fn a_file_without_a_manifest_is_told_in_json() {
    if !has_onnxruntime() {
        return;
    }
    let found = checked(&zoo("net_dense"), &["--batch", "4"]);
    assert_eq!(found["auto"], "native");
    assert_eq!((&found["decides"], &found["input"]), (&Value::Bool(true), &Value::String("x".into())));
    let engines = &found["engines"];
    for name in ["ort-cpu", "native", "ort-cuda"] {
        for key in ["available", "admitted", "reason", "p50_ns", "p99_ns", "p999_ns", "mallocs_per_run", "max_abs_err"]
        {
            assert!(engines[name].get(key).is_some(), "{name} has no {key}: {engines}");
        }
    }
    let (native, ort) = (&engines["native"], &engines["ort-cpu"]);
    assert!(native["admitted"] == true && ort["admitted"] == true, "{engines}");
    assert!(native["rows"].as_u64() > Some(200) && native["decisions"].as_u64() > Some(100), "{native}");
    assert!(native["max_abs_err"].as_f64() < Some(1e-3), "{native}");
    for engine in [native, ort] {
        let ns = |key: &str| engine[key].as_u64().unwrap();
        assert!(ns("p50_ns") <= ns("p99_ns") && ns("p99_ns") <= ns("p999_ns"), "{engine}");
        assert!(engine["floor_ratio"].as_f64() > Some(1.0), "nothing is faster than its arithmetic: {engine}");
    }
    assert!(found["work"]["macs"].as_u64() > Some(1000), "{found}");
}

#[test]
fn calls_to_the_allocator_are_counted() {
    if !has_onnxruntime() {
        return;
    }
    let found = checked(&model("lgbm-k10"), &[]);
    let count = |engine: &str| found["engines"][engine]["mallocs_per_run"].as_u64();
    if count("ort-cpu").is_none() {
        return skip("this build has no C compiler, so that allocations are not counted");
    }
    assert_eq!(count("native"), Some(0));
    assert!((1..=60).contains(&count("ort-cpu").unwrap()), "{found}");
    assert!(found["work"]["comparisons"].as_u64() > Some(231), "231 trees of more than a leaf: {}", found["work"]);
}

#[test]
fn what_an_engine_does_not_take_is_said_by_operator_and_node() {
    if !has_onnxruntime() {
        return;
    }
    let found = checked(&zoo("refused_contrib"), &[]);
    let native = &found["engines"]["native"];
    assert_eq!((&native["available"], &native["admitted"]), (&Value::Bool(false), &Value::Bool(false)));
    let reason = native["reason"].as_str().unwrap();
    assert!(reason.contains("operator com.microsoft.Gelu (node `"), "{reason}");
    assert_eq!(found["auto"], "ort-cpu");
    let text = stdout(&pillion_model(&["check", path(&zoo("refused_contrib"))]));
    assert!(text.contains("native    not to be had: operator com.microsoft.Gelu"), "{text}");
}

#[test]
fn every_zoo_file_is_told_or_refused() {
    if !has_onnxruntime() {
        return;
    }
    let folder = zoo("x").parent().unwrap().to_owned();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "onnx"));
    // ONNX Runtime begins to compute these, of sizes that no machine has.
    files.retain(|file| {
        !["refused_huge_product", "refused_many_huge_sums"].iter().any(|name| file.ends_with(format!("{name}.onnx")))
    });
    files.sort();
    // One in six, another kind of name each: the whole zoo is held against both engines by tests/native_zoo.rs.
    let (mut taken, mut turned_down) = (0, 0);
    for file in files.iter().step_by(6) {
        let mut out = pillion_model(&["check", path(file), "--json"]);
        let name = file.file_stem().unwrap().to_str().unwrap();
        // Rows before a batch of 1, as recurrent layers have them: that it is a window is for a person to say.
        let text = stderr(&out);
        if let Some((_, rest)) = text.split_once("say so with --window ") {
            out = pillion_model(&["check", path(file), "--json", "--window", rest.split_whitespace().next().unwrap()]);
        }
        match out.status.code() {
            Some(0) => {
                let found: Value = serde_json::from_slice(&out.stdout).expect("JSON");
                let native = found["engines"]["native"]["admitted"] == true;
                assert!(native || found["engines"]["native"]["reason"].is_string(), "{name}: {found}");
                taken += 1;
            }
            Some(2) => {
                assert!(name.starts_with("refused_"), "{name}: {}", stderr(&out));
                turned_down += 1;
            }
            other => panic!("{name}: {other:?} {}", stderr(&out)),
        }
    }
    assert!(taken > 40 && turned_down > 2, "{taken} taken, {turned_down} refused");
}

#[test]
fn refusals_of_check() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.onnx");
    std::fs::write(&broken, b"no model").unwrap();
    refused(&["check", path(&broken)], &["broken.onnx", "no engine takes it"]);
    std::fs::write(&broken, b"tree\nversion=v4\n").unwrap();
    refused(
        &["check", path(&broken)],
        &["is no ONNX model but a model in LightGBM's own text format", "convert_lightgbm"],
    );
    std::fs::write(&broken, b"\x80\x04\x95\x7f\x01\0\0\0").unwrap();
    refused(&["check", path(&broken)], &["a Python pickle", "skl2onnx"]);
    refused(&["check", path(&dir.path().join("none.onnx"))], &["none.onnx", "cannot be read"]);
    refused(&["check", path(dir.path())], &["manifest.toml"]);
    let dense = zoo("net_dense");
    refused(&["check", path(&dense), "--features", "7"], &["net_dense.onnx", "not 1 rows of 7 values", "--features"]);
    refused(&["check", path(&dense), "--output", "z"], &["has no output `z`"]);
    refused(&["check", path(&dense), "--core", "4000"], &["CPU 4000"]);
    let out = pillion_model(&["check", path(&dense), "--state", "h"]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("`h` is not INPUT=OUTPUT"), "{}", stderr(&out));
}

fn exported(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/as_exported").join(format!("{name}.onnx"))
}

#[test]
fn shapes_that_the_graph_leaves_open_are_told_by_flags() {
    if !has_onnxruntime() {
        return;
    }
    for name in ["open", "open_row"] {
        refused(&["check", path(&exported(name))], &["how long is a row?", "--features N"]);
        let found = checked(&exported(name), &["--features", "6"]);
        assert_eq!((&found["features"], &found["values"]), (&6.into(), &2.into()), "{name}");
        assert_eq!(found["engines"]["native"]["admitted"], true, "{name}: {}", found["engines"]["native"]);
    }
    // A fixed batch is a window only where somebody says so.
    let batch = exported("batch_of_4");
    refused(&["check", path(&batch)], &["its first dimension is fixed at 4", "--window 4", "batch of 1"]);
    let found = checked(&batch, &["--window", "4"]);
    assert_eq!((&found["rows"], &found["features"], &found["values"]), (&4.into(), &6.into(), &8.into()));
    // Which dimension is which is declared.
    let channels = exported("channels_first");
    let rows_first = checked(&channels, &[]);
    assert_eq!((&rows_first["rows"], &rows_first["features"]), (&6.into(), &8.into()));
    let found = checked(&channels, &["--layout", "channels-first"]);
    assert_eq!(
        (&found["rows"], &found["features"], &found["layout"]),
        (&8.into(), &6.into(), &"channels-first".into())
    );
    assert_eq!(found["engines"]["native"]["admitted"], true, "{}", found["engines"]["native"]);
}

#[test]
fn what_a_file_became_is_said() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (set, out) = (set_of(dir.path(), 6), dir.path().join("made"));
    let made = pillion_model(&["new", path(&exported("frame")), "--features", path(&set), "-o", path(&out)]);
    let text = stdout(&made);
    assert!(made.status.success(), "{}", stderr(&made));
    for words in [
        "takes      the latest row of 6 features; its inputs are the features, by name",
        "gives      2 values of output_probability: 0, 1",
        "engines    ort-cpu, native",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    let text = stdout(&pillion_model(&["check", path(&out)]));
    assert!(text.contains("each of 6 inputs, `ofi_scaled_1_1e`, "), "{text}");
    let other = dir.path().join("other");
    let made = pillion_model(&["new", path(&exported("square")), "--features", path(&set), "-o", path(&other)]);
    assert!(
        stdout(&made).contains("the latest 6 rows of 6 features, rows first"),
        "{}{}",
        stdout(&made),
        stderr(&made)
    );
    assert!(stdout(&made).contains("does not name its columns"), "{}", stdout(&made));
}

/// A set of as many features as the model has inputs.
fn set_of(dir: &Path, features: usize) -> PathBuf {
    let path = dir.join("set.toml");
    let windows: Vec<usize> = (1..=features).collect();
    let entry = format!("[[feature]]\nkind = \"ofi_scaled\"\nlevels = [1]\nhalf_life_events = {windows:?}\n");
    std::fs::write(&path, format!("name = \"made\"\nwarmup_events = 100\n{entry}")).unwrap();
    path
}

#[test]
fn a_new_directory_is_taken_by_check_and_by_the_sidecar() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("fresh");
    let onnx = model("mlp-k10").join("model.onnx");
    let args = ["new", path(&onnx), "--features", "book", "-o", path(&made)];
    let more = ["--outputs", "down,flat,up", "--meaning", "where the mid goes", "--horizon", "10", "--revision", "3"];
    let out = pillion_model(&[&args[..], &more].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    let manifest: toml::Table = std::fs::read_to_string(made.join("manifest.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["name"].as_str(), Some("fresh"));
    assert_eq!(manifest["revision"].as_integer(), Some(3));
    assert_eq!(manifest["outputs"].as_array().unwrap().len(), 3);
    let found = checked(&made, &[]);
    assert_eq!((found["model"].as_str(), found["auto"].as_str()), (Some("fresh r3"), Some("native")));
    let config = config(dir.path(), &format!("[lane]\n{INSTRUMENT}models = [{:?}]\n", path(&made)));
    let out = output(pillion().arg("check").arg("--config").arg(config));
    assert!(out.status.success() && stdout(&out).contains("fresh r3"), "{}{}", stdout(&out), stderr(&out));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
    // Never over what is there, not even an empty folder.
    refused(&args, &["fresh", "is there already"]);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&["new", path(&onnx), "--features", "book", "-o", path(&empty)], &["empty", "is there already"]);
}

const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

#[test]
fn golden_rows_may_come_from_a_file() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("synth.dbn.zst");
    let plan = pillion::data::synth::Plan { seed: 1, instruments: 1, events: 2_000, events_per_second: 5_000 };
    pillion::data::synth::write(&input, &plan).expect("writable");
    let rows = dir.path().join("rows.csv");
    let out = output(pillion().arg("features").arg(&input).args(["--set", "book", "-o", path(&rows)]));
    assert!(out.status.success(), "{}", stderr(&out));
    let (onnx, made) = (model("mlp-k10").join("model.onnx"), dir.path().join("made"));
    let out = pillion_model(&["new", path(&onnx), "--features", "book", "-o", path(&made), "--rows", path(&rows)]);
    assert!(out.status.success(), "{}", stderr(&out));
    let golden: Value = serde_json::from_slice(&std::fs::read(made.join("golden.json")).unwrap()).unwrap();
    let count = golden["inputs"].as_array().unwrap().len();
    assert!((10..=64).contains(&count), "{count} rows");
    let text = std::fs::read_to_string(&rows).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == "spread").unwrap();
    let spreads: Vec<f64> =
        text.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect();
    let spread = golden["inputs"][0][0].as_f64().unwrap();
    assert!(spreads.iter().any(|&s| (s - spread).abs() <= 1e-6 * s.abs()), "{spread} is no spread of the file");
    let made = dir.path().join("other");
    let foreign = dir.path().join("foreign.csv");
    std::fs::write(&foreign, "a,b\n1,2\n").unwrap();
    refused(
        &["new", path(&onnx), "--features", "book", "-o", path(&made), "--rows", path(&foreign)],
        &["foreign.csv", "has no column `spread`"],
    );
    assert!(!made.exists());
}

#[test]
fn windows_and_refusals_of_new() {
    if !has_onnxruntime() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let onnx = model("mlp-k10").join("model.onnx");
    let set = set_of(dir.path(), 5);
    refused(&["new", path(&onnx), "--features", path(&set), "-o", path(&out)], &["41", "5"]);
    refused(&["new", path(&onnx), "--features", "nosuch", "-o", path(&out)], &["nosuch"]);
    let args = ["new", path(&onnx), "--features", "book", "-o", path(&out)];
    refused(&[&args[..], &["--outputs", "a,b"]].concat(), &["3 values", "--outputs names 2"]);
    refused(&[&args[..], &["--outputs", "a,a,b"]].concat(), &["outputs names `a` twice"]);
    refused(
        &["new", path(&onnx), "--features", "book", "-o", "/nowhere/at/all"],
        &["/nowhere/at/all", "cannot be made"],
    );
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["set.toml"], "nothing is left of what was refused");
    // A window net of the zoo: its input tells its rows.
    let net = zoo("net_tcn");
    let found = checked(&net, &[]);
    let (rows, features) = (found["rows"].as_u64().unwrap(), found["features"].as_u64().unwrap());
    let set = set_of(dir.path(), features as usize);
    let made = pillion_model(&["new", path(&net), "--features", path(&set), "-o", path(&out)]);
    assert!(made.status.success(), "{}", stderr(&made));
    let again = checked(&out, &[]);
    assert_eq!((again["rows"].as_u64(), again["features"].as_u64()), (Some(rows), Some(features)));
    assert_eq!(again["engines"]["native"]["admitted"], true, "{again}");
}
