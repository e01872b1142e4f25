//! Records what the binary was built from, for banners and reports.

use std::process::Command;

fn main() {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = run("git", &["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "unknown".into());
    let rustc = run(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]);
    println!("cargo:rustc-env=PILLION_REVISION={revision}");
    println!("cargo:rustc-env=PILLION_RUSTC={}", rustc.unwrap_or_else(|| "unknown".into()));
    for (key, from) in [("PILLION_PROFILE", "PROFILE"), ("PILLION_TARGET", "TARGET")] {
        println!("cargo:rustc-env={key}={}", std::env::var(from).unwrap_or_else(|_| "unknown".into()));
    }
    // Without a git folder there is nothing to watch and the revision stays "unknown".
    for file in [".git/HEAD", ".git/index"].iter().filter(|f| std::path::Path::new(f).exists()) {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
