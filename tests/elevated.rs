//! Processes whose ids say less than they seem to: with file capabilities, and in a user namespace.

mod common;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;

const USER: [&str; 4] = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"];

/// A copy of the binary that every user can reach, on a file system that knows capabilities.
fn copy(dir: &Path) -> PathBuf {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exe = dir.join("pillion");
    std::fs::copy(env!("CARGO_BIN_EXE_pillion"), &exe).unwrap();
    exe
}

fn works(words: &[&str]) -> bool {
    let done = Command::new(words[0]).args(&words[1..]).output();
    let works = rustix::process::geteuid().is_root() && done.is_ok_and(|out| out.status.success());
    if !works {
        skip(&format!("`{}` does not work here", words.join(" ")));
    }
    works
}

fn as_user(exe: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(USER[0]);
    command.args(&USER[1..]).args(words).arg(exe).current_dir("/").stdin(std::process::Stdio::null());
    command
}

/// The user who starts a binary with capabilities chooses neither whom it believes nor what code it runs.
#[test]
fn the_environment_of_a_binary_with_capabilities_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let exe = copy(dir.path());
    let config = config(dir.path(), "");
    if !works(&["setcap", "cap_ipc_lock+ep", &exe.display().to_string()]) || !works(&[USER[0], USER[1], "true"]) {
        return;
    }
    chown(&config, Some(9_876), None).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    let check = |env: &str| output(as_user(&exe, &[]).arg("check").arg("--config").arg(&config).env(env, "9876"));
    assert!(stderr(&check("PILLION_TRUSTED_UIDS")).contains("it belongs to uid 9876"), "not read");
    // The library that the starter names is not so much as looked at; one that is his own is refused wherever it is named.
    let library = dir.path().join("libonnxruntime.so");
    std::fs::write(&library, "not a library").unwrap();
    chown(&library, Some(4_321), None).unwrap();
    let named =
        output(as_user(&exe, &[]).args(["model", "check"]).arg(model("mlp-k10")).env("ORT_DYLIB_PATH", &library));
    assert!(!stderr(&named).contains(&library.display().to_string()), "{}", stderr(&named));
    let (at, models) = (dir.path(), model("mlp-k10"));
    let process = format!("[process]\nstate_dir = {at:?}\nonnxruntime = {library:?}\nallow_unpinned = true\n");
    let text = format!("{process}[lane]\nmodels = [{models:?}]\n{INSTRUMENT}");
    std::fs::write(&config, text).unwrap();
    chown(&config, Some(4_321), None).unwrap();
    let checked = output(as_user(&exe, &[]).arg("check").arg("--config").arg(&config));
    assert!(stderr(&checked).contains("belongs to uid 4321"), "{}{}", stdout(&checked), stderr(&checked));
    assert!(stderr(&checked).contains("libonnxruntime.so"), "{}", stderr(&checked));
}

const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

/// There root's binary, and every other user's file, shows the same owner.
#[test]
fn the_outside_of_a_user_namespace_is_nobody_who_counts() {
    let dir = tempfile::tempdir().unwrap();
    let exe = copy(dir.path());
    let config = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    let inside = ["unshare", "-U", "-r"];
    if !works(&[&USER[..], &inside[..], &["true"]].concat()) {
        return;
    }
    chown(&config, Some(9_876), None).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    for words in [&inside[..], &inside[..2]] {
        let out = output(as_user(&exe, words).arg("check").arg("--config").arg(&config));
        assert_eq!(out.status.code(), Some(2), "{}", stdout(&out));
        assert!(stderr(&out).contains("every user outside of this user namespace"), "{}", stderr(&out));
    }
}
