//! Bad input as a person meets it: exit code 2, a message that names the thing, the value, the place and the mend, and
//! nothing left behind.

mod common;

use std::path::Path;
use std::process::Command;

use common::*;

const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

/// Runs, expects a refusal, and looks for each of `texts` in it.
fn refused(command: &mut Command, texts: &[&str]) {
    let out = output(command);
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{command:?}: {said}{}", stdout(&out));
    for text in texts.iter().chain(&["mend: "]) {
        assert!(said.contains(text), "no {text:?} in: {said}");
    }
}

fn check_refuses(toml: &str, texts: &[&str]) {
    let dir = shm_dir();
    let path = config(dir.path(), toml);
    refused(pillion().arg("check").arg("--config").arg(&path), texts);
    // `run` refuses what `check` refuses, in the same words, and leaves no region behind.
    refused(pillion().arg("run").arg("--config").arg(&path), texts);
    let regions = std::fs::read_dir(dir.path()).unwrap().filter_map(|e| e.unwrap().file_name().into_string().ok());
    let left: Vec<_> = regions.filter(|f| f != "config.toml" && f != "pillion.clock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn configurations() {
    check_refuses("[lane\n", &["config.toml", "line 4"]);
    check_refuses("[lane]\ncor = 3\n", &["config.toml: line 5", "unknown key `lane.cor` = 3", "core"]);
    check_refuses("[lone]\n", &["unknown key `lone`", "lane"]);
    check_refuses("[lane]\nstamps = \"some\"\n", &["line 5: lane.stamps", "`some`", "`ends`"]);
    check_refuses("[lane]\ntrigger = \"every=0\"\n", &["lane.trigger", "\"every=0\"", "bbo-change"]);
    check_refuses("[lane]\ncore = -1\n", &["lane.core", "-1 is neither a CPU number nor \"auto\""]);
    check_refuses("[lane]\ncore = \"1\"\n", &["lane.core", "neither a CPU number"]);
    check_refuses("[feed]\nslots = 1000\n", &["feed.slots: 1000 is not a power of two"]);
    check_refuses("[lane]\nsignal_slots = 3\n", &["signal_slots: 3 is not a power of two"]);
    check_refuses("[lane]\nbatch = 0\n", &["batch: 0", "1 to 1024"]);
    check_refuses("[lane]\ntail_ns = 999\n", &["tail_ns: 999 ns", "1000 or more"]);
    check_refuses("sample_ms = 1001\n", &["process.sample_ms: 1001", "from 1 to 1000"]);
    check_refuses("[lane]\nmax_orders = 0\n", &["max_orders: 0"]);
    check_refuses("lanes = 3\n", &["lanes"]);
    check_refuses("[[lanes]]\nname = \"a\"\n[[lanes]]\nname = \"a\"\n", &["lanes[1].name", "\"a\" is taken"]);
    check_refuses("[lane]\n", &["lane \"main\" has no instruments"]);
    check_refuses(&format!("[lane]\nname = \"No Name\"\n{INSTRUMENT}"), &["\"No Name\"", "a-z"]);
    check_refuses("[lane]\ninstruments = [{ id = 1, symbol = \"A\", tick_size = \"0\" }]\n", &["tick_size \"0\""]);
    let twice = "{ id = 1, symbol = \"A\", tick_size = \"0.01\" }";
    check_refuses(&format!("[lane]\ninstruments = [{twice}, {twice}]\n"), &["1"]);
    check_refuses(&format!("[lane]\ncore = 4000\n{INSTRUMENT}"), &["core = 4000", "may run on CPUs ["]);
    check_refuses(&format!("[lane]\nfeatures = \"none\"\n{INSTRUMENT}"), &["none", "book"]);
    check_refuses(
        &format!("[lane]\nmodels = [\"no-model\"]\n{INSTRUMENT}"),
        &["no-model/manifest.toml", "No such file"],
    );
}

/// Nothing is ever writable for others, and a ring is not for its group either.
#[test]
fn permissions_of_regions() {
    let cases = [
        ("[process]\nshm_mode = 0o666\n", ["process.shm_mode", "0o666"]),
        ("[process]\nshm_mode = 0o660\n", ["process.shm_mode", "control_mode = 0o660"]),
        ("[process]\ncontrol_mode = 0o662\n", ["control_mode", "0o662 is none of"]),
        ("[process]\ncontrol_mode = \"open\"\n", ["control_mode", "\"open\" is none of"]),
        ("[feed]\nshm_mode = 0o644\n", ["feed.shm_mode", "0o644"]),
    ];
    for (keys, texts) in cases {
        let dir = shm_dir();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, format!("{keys}[lane]\n{INSTRUMENT}")).unwrap();
        refused(pillion().arg("check").arg("--config").arg(&path), &texts);
    }
}

#[test]
fn a_missing_configuration() {
    refused(pillion().args(["run", "--config", "no-such.toml"]), &["no-such.toml", "No such file"]);
}

fn replay(dir: &Path, input: &Path) -> Command {
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config(dir, "")).arg("--input").arg(input);
    command.arg("--json").arg(dir.join("report.json"));
    command
}

#[test]
fn recordings() {
    let dir = shm_dir();
    refused(&mut replay(dir.path(), Path::new("no-such.dbn")), &["no-such.dbn", "cannot be opened"]);
    let garbage = dir.path().join("garbage.dbn");
    std::fs::write(&garbage, b"this is not market data").unwrap();
    refused(&mut replay(dir.path(), &garbage), &["garbage.dbn", "dbn"]);
    if let Some(es) = shared(ES) {
        let bytes = std::fs::read(es).unwrap();
        let cut = dir.path().join("cut.dbn.zst");
        std::fs::write(&cut, &bytes[..100_000]).unwrap();
        refused(&mut replay(dir.path(), &cut), &["cut.dbn.zst", "records before that are good"]);
    }
    if let Some(legacy) = shared("dbn-vectors/test_data.mbo.dbz") {
        refused(&mut replay(dir.path(), &legacy), &["test_data.mbo.dbz", "DBN version 1 to 3"]);
    }
    if let Some(other) = shared("dbn-vectors/test_data.cmbp-1.dbn") {
        refused(&mut replay(dir.path(), &other), &["test_data.cmbp-1.dbn", "mbp-1"]);
    }
    assert!(!dir.path().join("report.json").exists(), "no report of a run that never was");
}

#[test]
fn instruments_that_the_recording_lacks() {
    let (Some(es), dir) = (shared(ES), shm_dir()) else { return };
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    refused(
        pillion().arg("replay").arg("--config").arg(path).arg("--input").arg(es),
        &["lane.instruments", "none of them is in"],
    );
}

/// An output that cannot be written is refused before the run, not after it.
#[test]
fn outputs() {
    let dir = shm_dir();
    let input = dir.path().join("synth.dbn");
    let plan = pillion::data::synth::Plan { seed: 1, instruments: 1, events: 10, events_per_second: 1_000 };
    pillion::data::synth::write(&input, &plan).unwrap();
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config(dir.path(), "")).arg("--input").arg(&input);
    let out = output(command.args(["--json", "/no/such/folder/r.json"]));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("/no/such/folder/r.json") && stdout(&out).is_empty(), "{}", stderr(&out));
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    refused(
        pillion().args(["run", "--report", "/no/such/folder/r.json", "--config"]).arg(&path),
        &["/no/such/folder/r.json"],
    );
}

/// Something else under a region's name: `check` says so, `run` does, and neither takes it away.
#[test]
fn a_foreign_file_under_a_regions_name() {
    let dir = shm_dir();
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    for kind in ["cnc", "signals", "board"] {
        let junk = dir.path().join(format!("pillion.main.{kind}"));
        std::fs::write(&junk, "junk\n").unwrap();
        for command in ["check", "run"] {
            refused(
                pillion().args([command, "--config"]).arg(&path),
                &[&format!("pillion.main.{kind}"), "not a Pillion region"],
            );
        }
        assert_eq!(std::fs::read_to_string(&junk).unwrap(), "junk\n");
        std::fs::remove_file(&junk).unwrap();
    }
}

#[test]
fn rates() {
    let out = output(pillion().args(["replay", "--config", "x", "--input", "y", "--rate", "fast"]));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("\"fast\" is no rate: write max, flood, closed, realtime"), "{}", stderr(&out));
}

#[test]
fn lanes_that_are_not_there() {
    let dir = shm_dir();
    refused(pillion().args(["status", "--shm-dir"]).arg(dir.path()), &["no lane has a control page"]);
    refused(pillion().args(["status", "gone", "--shm-dir"]).arg(dir.path()), &["pillion.gone.cnc does not exist"]);
    for order in ["resume", "stop"] {
        refused(
            pillion().args(["ctl", "gone", order, "--shm-dir"]).arg(dir.path()),
            &["pillion.gone.cnc does not exist"],
        );
    }
    refused(pillion().args(["ctl", "--all", "halt", "--shm-dir"]).arg(dir.path()), &["has a control page here"]);
    for reason in ["a\nb", "\u{1b}[31m", &"x".repeat(401)] {
        let out = output(pillion().args(["ctl", "gone", "halt", "--reason", reason, "--shm-dir"]).arg(dir.path()));
        assert_eq!(out.status.code(), Some(2), "{reason:?}");
    }
}

/// Wraps the binary in another program that changes the world it runs in; skips where that program may not.
fn wrapped(wrapper: &[&str], script: &str) -> Option<std::process::Output> {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["sh", "-c", script]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if !probe.is_ok_and(|p| p.status.success()) {
        skip(&format!("{} is not allowed or not there", wrapper.join(" ")));
        return None;
    }
    Some(command.output().expect("it just worked"))
}

/// A tmpfs that is too small is found before any region is made, not by a fault later.
#[test]
fn a_full_tmpfs() {
    let dir = shm_dir();
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    let text = std::fs::read_to_string(&path).unwrap().replace(&dir.path().display().to_string(), "/mnt");
    std::fs::write(&path, text).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none /mnt && {} run --config {}",
        env!("CARGO_BIN_EXE_pillion"),
        path.display()
    );
    let Some(out) = wrapped(&["unshare", "-m"], &script) else { return };
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    assert!(stderr(&out).contains("bytes free") && stderr(&out).contains("signal_slots"), "{}", stderr(&out));
}

/// Another user's folder, and memory that may not be locked.
#[test]
fn another_user() {
    use std::os::unix::fs::PermissionsExt;
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let binary = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir_in("/tmp").unwrap();
    let copy = binary.path().join("pillion");
    std::fs::copy(env!("CARGO_BIN_EXE_pillion"), &copy).unwrap();
    let dir = shm_dir();
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    let place = binary.path().join("config.toml");
    std::fs::copy(&path, &place).unwrap();
    let home = format!("cd / && export HOME={:?} && ", binary.path());
    let script = format!("{home}{} run --config {}", copy.display(), place.display());
    if let Some(out) = wrapped(&nobody, &script) {
        assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
        assert!(stderr(&out).contains("regions cannot be made here"), "{}", stderr(&out));
    }
    let own = binary.path().join("shm");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(
        &place,
        format!("[process]\nlock = \"require\"\nshm_dir = {:?}\n[lane]\n{INSTRUMENT}", own.display().to_string()),
    )
    .unwrap();
    let script = format!("{home}ulimit -l 64 && {} run --config {}", copy.display(), place.display());
    if let Some(out) = wrapped(&nobody, &script) {
        assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
        assert!(stderr(&out).contains("lock") && stderr(&out).contains("ulimit"), "{}", stderr(&out));
        let left: Vec<_> = std::fs::read_dir(&own).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|f| f == "pillion.clock"), "no region is left behind: {left:?}");
    }
}
