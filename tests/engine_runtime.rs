//! Where ONNX Runtime is looked for, and what is said when it is missing, foreign or of another version.
#![allow(missing_docs)]

mod model_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use model_support::{child, compile, is_child, root, skip};
use pillion::engine::RuntimeConfig;
use pillion::models::{EngineChoice, Model};
use pillion_shm::trust::Trust;

/// Loads a bundled model with the config of the environment and prints what came of it.
#[test]
#[ignore = "a child of the other tests"]
fn child_loads_a_model() {
    if !is_child() {
        return;
    }
    let onnxruntime = std::env::var_os("PILLION_TEST_ONNXRUNTIME").map(Into::into);
    let allow_unpinned = std::env::var_os("PILLION_TEST_UNPINNED").is_some();
    let trusted = std::env::var("PILLION_TEST_TRUSTED").ok().map(|uid| uid.parse().unwrap());
    let trust = trusted.into_iter().fold(Trust::own(), Trust::with_uid);
    let runtime = RuntimeConfig { onnxruntime, allow_unpinned, trust, ..RuntimeConfig::default() };
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
    let text = outcome(load().env("ORT_DYLIB_PATH", &manifest).env("PILLION_TEST_UNPINNED", "1"));
    refused(&text, &["Cargo.toml, which does not load"]);
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
        let text = outcome(load().env("ORT_DYLIB_PATH", &library).env("PILLION_TEST_UNPINNED", "1"));
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
    let text = outcome(load().env("ORT_DYLIB_PATH", &library).env("PILLION_TEST_UNPINNED", "1"));
    refused(&text, &[&library.display().to_string(), "not ONNX Runtime"]);
}

/// A library of the right version whose start-up code makes the file `mark`.
fn marking(mark: &Path, library: &Path) -> Option<()> {
    let mark = format!("-DMARK=\"{}\"", mark.display());
    compile("runtime.c", &["-DVERSION=\"1.31.1\"", "-DENTRY=OrtGetApiBase", &mark], library)
}

#[test]
fn nothing_of_an_unpinned_library_runs_unless_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (mark, library) = (dir.path().join("ran"), dir.path().join("libonnxruntime.so.1.31.1"));
    if marking(&mark, &library).is_none() {
        return;
    }
    let text = outcome(load().env("ORT_DYLIB_PATH", &library));
    refused(&text, &[&library.display().to_string(), "SHA-256", "no pinned wheel", "allow_unpinned = true"]);
    let text = outcome(load().env("PILLION_TEST_ONNXRUNTIME", dir.path()));
    refused(&text, &["no pinned wheel"]);
    assert!(!mark.exists(), "its start-up code ran");
    // The mark would show: allowed, the same file is loaded, and refused for what it is.
    refused(&outcome(load().env("ORT_DYLIB_PATH", &library).env("PILLION_TEST_UNPINNED", "1")), &["without that API"]);
    assert!(mark.exists());
}

#[test]
fn the_working_directory_is_not_searched() {
    let dir = tempfile::tempdir().unwrap();
    let (mark, folder) = (dir.path().join("ran"), dir.path().join("onnxruntime"));
    fs::create_dir(&folder).unwrap();
    if marking(&mark, &folder.join("libonnxruntime.so.1.31.1")).is_none() {
        return;
    }
    // Copied away from its repository, so that nothing else is found first; let in whatever is found.
    let away = tempfile::tempdir().unwrap();
    let exe = away.path().join("test");
    fs::copy(this_exe(), &exe).unwrap();
    let mut command = child(&exe, "child_loads_a_model");
    let text = outcome(command.current_dir(dir.path()).env("PILLION_TEST_UNPINNED", "1"));
    assert!(!mark.exists() && !text.contains(&folder.display().to_string()), "{text}");
}

#[test]
fn a_library_that_somebody_else_could_have_put_there_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lib");
    fs::create_dir(&folder).unwrap();
    let (mark, library) = (dir.path().join("ran"), folder.join("libonnxruntime.so.1.31.1"));
    if marking(&mark, &library).is_none() {
        return;
    }
    let asked = |uid: Option<&str>| {
        let mut command = load();
        command.env("ORT_DYLIB_PATH", &library).env("PILLION_TEST_UNPINNED", "1");
        command.envs(uid.map(|uid| ("PILLION_TEST_TRUSTED", uid)));
        outcome(&mut command)
    };
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let untrusted = |text: &str, parts: &[&str]| {
        assert!(text.contains("refused with 2: ONNX Runtime: ORT_DYLIB_PATH names"), "{text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in: {text}"));
        assert!(!mark.exists(), "its start-up code ran");
    };
    mode(&library, 0o666);
    untrusted(&asked(None), &[&format!("{} is not trusted", library.display()), "mode 0666", "chmod o-w"]);
    mode(&library, 0o755);
    mode(&folder, 0o777);
    untrusted(&asked(None), &[&format!("{} is not trusted", folder.display()), "mode 0777", "chmod o-w"]);
    mode(&folder, 0o755);
    if chown(&folder, Some(65_534), None).is_err() {
        return model_support::skip("only root gives folders away");
    }
    untrusted(&asked(None), &[&format!("{} is not trusted", folder.display()), "uid 65534", "trusted_uids = [65534]"]);
    assert!(asked(Some("65534")).contains("without that API"), "a configured user counts");
    assert!(mark.exists());
}

/// Telemetry is off before `main` in every program that the library is part of, whatever its environment said.
#[test]
fn telemetry_is_off_before_main() {
    let off = || std::env::var("ORT_DISABLE_TELEMETRY");
    assert_eq!(off().as_deref(), Ok("1"));
    if is_child() {
        return;
    }
    for value in ["0", "", "false"] {
        let mut command = Command::new(this_exe());
        command.args(["--exact", "telemetry_is_off_before_main"]).env(model_support::CHILD, "1");
        outcome(command.env("ORT_DISABLE_TELEMETRY", value));
    }
}
