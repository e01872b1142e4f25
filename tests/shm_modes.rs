//! The permissions of a sidecar's regions by configuration, and a sidecar in a container, with the real binary.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::*;
use pillion::data::{self, synth};
use pillion_shm::{CncClient, Kind, Lane, State};

const GROUP: u32 = 4242;
const MEMBER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=4242"];
const STRANGER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const CONTAINER: [&str; 4] = ["unshare", "-pf", "--mount-proc", "--kill-child=TERM"];

fn recording(dir: &Path) -> (PathBuf, data::Feed) {
    let path = dir.join("synth.dbn.zst");
    synth::write(&path, &synth::Plan { seed: 5, instruments: 1, events: 2_000, events_per_second: 20_000 }).unwrap();
    let feed = data::load(&path).unwrap();
    (path, feed)
}

fn works(wrapper: &[&str]) -> bool {
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status();
    let works = rustix::process::geteuid().is_root() && probe.is_ok_and(|status| status.success());
    if !works {
        skip(&format!("{} does not work for this user", wrapper[0]));
    }
    works
}

fn under(wrapper: &[&str], exe: &Path) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(exe).current_dir("/").stdin(std::process::Stdio::null());
    command
}

/// Ticks for their owner alone, signals and board for a group to read, the page for the group to halt by.
#[test]
fn each_region_has_the_mode_of_its_kind() {
    if !works(&MEMBER) {
        return;
    }
    let (_guard, dir, bin) = (one_at_a_time(), shm_dir(), tempfile::tempdir().unwrap());
    for folder in [dir.path(), bin.path()] {
        std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    let exe = bin.path().join("pillion");
    std::fs::copy(env!("CARGO_BIN_EXE_pillion"), &exe).unwrap();
    let (input, recorded) = recording(dir.path());
    let path = dir.path().join("config.toml");
    let text = format!(
        "[process]\nshm_dir = {:?}\nstate_dir = \"state\"\nshm_gid = {GROUP}\nshm_mode = 0o640\ncontrol_mode = 0o660\n[lane]\n{}",
        dir.path().display().to_string(),
        lane_keys("modes", &recorded, &[])
    );
    std::fs::write(&path, text).unwrap();
    let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&path));
    cnc_of(&mut sidecar, dir.path(), "modes", State::Boot);
    let mut feed = pillion();
    feed.arg("feed").arg("--config").arg(&path).arg("--input").arg(&input);
    let feed = Running::start(feed.args(["--lane", "modes", "--rate", "20000/s", "--linger"]));
    let cnc = cnc_of(&mut sidecar, dir.path(), "modes", State::Run);

    let lane = Lane::in_dir(dir.path(), "modes").unwrap();
    let modes = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc].map(|kind| {
        let metadata = std::fs::metadata(lane.path(kind)).unwrap();
        (metadata.mode() & 0o7777, metadata.gid())
    });
    assert_eq!(modes, [(0o600, GROUP), (0o640, GROUP), (0o640, GROUP), (0o660, GROUP)]);

    let ask = |wrapper: &[&str], args: &[&str]| -> Output { output(under(wrapper, &exe).args(args).arg(dir.path())) };
    let seen = ask(&MEMBER, &["status", "modes", "--shm-dir"]);
    assert!(seen.status.success() && stdout(&seen).contains("RUN"), "{}{}", stdout(&seen), stderr(&seen));
    let halted = ask(&MEMBER, &["ctl", "modes", "halt", "--shm-dir"]);
    assert!(halted.status.success(), "{}", stderr(&halted));
    assert!(cnc.halted());
    // A member may not write the record; the sidecar does, and takes it away again at the member's resume.
    let record = dir.path().join("state/modes.halt");
    assert!(stdout(&halted).contains(&record.display().to_string()), "{}", stdout(&halted));
    let listed = ask(&MEMBER, &["shm", "ls", "--dir"]);
    assert!(stdout(&listed).contains("not allowed to open it as uid 65534"), "{}", stdout(&listed));
    assert!(stdout(&listed).contains("HALT in force"), "{}", stdout(&listed));
    assert!(stdout(&listed).contains("not known: not allowed") && !stdout(&listed).contains("no region"), "{listed:?}");
    let seen = ask(&MEMBER, &["status", "modes", "--shm-dir"]);
    assert!(stdout(&seen).contains("feed      not known: not allowed to open"), "{}", stdout(&seen));
    let denied = ask(&STRANGER, &["shm", "rm", "modes", "--dir"]);
    assert!(stderr(&denied).contains("not allowed to open it as uid"), "{}", stderr(&denied));
    let kept = ask(&MEMBER, &["shm", "rm", "modes", "--halted", "--dir"]);
    assert_eq!(kept.status.code(), Some(2), "{}", stdout(&kept));

    for order in ["halt", "resume", "stop"] {
        let refused = ask(&STRANGER, &["ctl", "modes", order, "--shm-dir"]);
        assert_eq!(refused.status.code(), Some(2));
        for text in ["not allowed to open for writing", "pillion.modes.cnc", "uid 65534", "mend: "] {
            assert!(stderr(&refused).contains(text), "no {text:?} in {}", stderr(&refused));
        }
    }
    let unseen = ask(&STRANGER, &["status", "modes", "--shm-dir"]);
    assert_eq!(unseen.status.code(), Some(2), "{}", stdout(&unseen));
    assert!(cnc.halted() && cnc.state() == State::Halt, "no stranger resumed it");
    let resumed = ask(&MEMBER, &["ctl", "modes", "resume", "--shm-dir"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(!record.exists() && !cnc.halted());
    assert!(ask(&MEMBER, &["ctl", "modes", "stop", "--shm-dir"]).status.success());
    assert!(sidecar.finish().status.success());
    drop(feed);
}

/// The control page follows the signals' mode unless it is told otherwise.
#[test]
fn the_page_is_as_open_as_the_signals() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (_, recorded) = recording(dir.path());
    for (name, key, expected) in [("default", "", 0o600), ("group", "shm_mode = 0o640\n", 0o640)] {
        let path = dir.path().join("config.toml");
        let keys = lane_keys(name, &recorded, &[]);
        let text = format!("[process]\nshm_dir = {:?}\n{key}[lane]\n{keys}", dir.path().display().to_string());
        std::fs::write(&path, text).unwrap();
        let mut sidecar = Running::start(pillion().arg("run").arg("--config").arg(&path));
        cnc_of(&mut sidecar, dir.path(), name, State::Boot);
        let lane = Lane::in_dir(dir.path(), name).unwrap();
        for kind in [Kind::Cnc, Kind::Signals, Kind::Board] {
            let metadata = wait_for(kind.name(), || std::fs::metadata(lane.path(kind)).ok());
            assert_eq!(metadata.mode() & 0o7777, expected, "{kind:?}");
        }
        assert!(output(pillion().args(["ctl", name, "stop", "--shm-dir"]).arg(dir.path())).status.success());
        assert!(sidecar.finish().status.success());
    }
}

/// Sidecar in a container, feed and operator outside: /dev/shm is all that they share.
#[test]
fn a_sidecar_in_a_container() {
    if !works(&CONTAINER) {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let (input, recorded) = recording(dir.path());
    let config = config(dir.path(), &format!("[lane]\n{}", lane_keys("box", &recorded, &[])));
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_pillion"));
    let start = || {
        let mut command = under(&CONTAINER, &exe);
        Running::start(command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("run").arg("--config").arg(&config))
    };
    let mut boxed = start();
    cnc_of(&mut boxed, dir.path(), "box", State::Boot);
    let mut feed = pillion();
    feed.arg("feed").arg("--config").arg(&config).arg("--input").arg(&input);
    let feed = Running::start(feed.args(["--lane", "box", "--rate", "max", "--linger"]));
    let cnc = cnc_of(&mut boxed, dir.path(), "box", State::Run);
    wait_for("every tick", || (cnc.ticks_consumed() == recorded.records).then_some(()));
    assert_eq!(cnc.pid(), 1, "its own name for itself");
    assert_eq!(cnc.counters().lost, 0, "a feed at the sidecar's pace");

    // From here its name is taken, though no process of that number is a sidecar here.
    let second = output(pillion().arg("run").arg("--config").arg(&config));
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("is held by the live process 1"), "{}", stderr(&second));
    let kept = output(pillion().args(["shm", "rm", "box", "--dir"]).arg(dir.path()));
    assert!(kept.status.code() == Some(2) && stderr(&kept).contains("held by a live process"), "{}", stderr(&kept));
    let order = |word: &str| output(pillion().args(["ctl", "box", word, "--shm-dir"]).arg(dir.path()));
    assert!(order("halt").status.success());

    // Killed, and started again in another container, which is process 1 too.
    let lives = |cnc: &CncClient| cnc.owner_alive();
    boxed.kill9();
    wait_for("its end", || (!lives(&cnc)).then_some(()));
    let mut boxed = start();
    let next = cnc_of(&mut boxed, dir.path(), "box", State::Halt);
    assert_eq!((next.generation(), next.pid(), next.halted()), (2, 1, true));
    assert!(order("resume").status.success() && order("stop").status.success());
    assert!(boxed.finish().status.success());
    drop(feed);
}
