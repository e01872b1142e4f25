//! Records what the binary was built from, for banners and reports, and compiles the counter of `pillion model check`.

use std::path::Path;
use std::process::Command;

fn main() {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = run("git", &["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "unknown".into());
    let rustc = run(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]);
    // A build that was made slow on purpose must be told apart wherever its revision stands.
    let planted = if std::env::var_os("CARGO_FEATURE_PLANTED_DELAY").is_some() { "+planted-delay" } else { "" };
    println!("cargo:rustc-env=PILLION_REVISION={revision}{planted}");
    println!("cargo:rustc-env=PILLION_RUSTC={}", rustc.unwrap_or_else(|| "unknown".into()));
    for (key, from) in [("PILLION_PROFILE", "PROFILE"), ("PILLION_TARGET", "TARGET")] {
        println!("cargo:rustc-env={key}={}", std::env::var(from).unwrap_or_else(|_| "unknown".into()));
    }
    // Without a git folder there is nothing to watch and the revision stays "unknown".
    for file in [".git/HEAD", ".git/index"].iter().filter(|f| std::path::Path::new(f).exists()) {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    count_mallocs();
}

/// The library that `model check` preloads into itself; an empty file where no C compiler makes one for the target.
fn count_mallocs() {
    const SOURCE: &str = "src/models/mallocs.c";
    let var = |key: &str| std::env::var(key).unwrap_or_default();
    let library = Path::new(&var("OUT_DIR")).join("mallocs.so");
    let ours =
        var("HOST") == var("TARGET") && var("CARGO_CFG_TARGET_OS") == "linux" && var("CARGO_CFG_TARGET_ENV") == "gnu";
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O2", "-fno-builtin", "-o"]).arg(&library).arg(SOURCE);
    if !ours || !command.output().is_ok_and(|output| output.status.success()) {
        std::fs::write(&library, []).expect("OUT_DIR can be written");
    }
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=CC");
}
