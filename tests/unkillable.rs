//! What must not end a sidecar: full disks, readers that went away or never read, signals; and exit codes that are the
//! table's, whatever happens to a command's output or memory.

mod common;
#[path = "common/lanes.rs"]
mod lanes;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::*;
use lanes::*;
use pillion::report::SidecarReport;
use pillion_shm::State;

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

/// A pipe whose reader has gone.
fn deaf() -> std::io::PipeWriter {
    std::io::pipe().expect("a pipe").1
}

/// A pipe that is full, and its reader, who does not read.
fn stuffed() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let size = rustix::pipe::fcntl_getpipe_size(&writer).expect("a pipe has a size");
    writer.write_all(&vec![b'x'; size]).expect("it takes as much");
    (reader, writer)
}

fn ends_with(mut sidecar: Running, dir: &Path, lane: &str) {
    assert_eq!(sidecar.0.try_wait().unwrap(), None, "it lives");
    assert!(ctl(dir, &[lane, "stop"]).status.success());
    let ended = sidecar.finish();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// Banner, warnings and all: no place to write them to, from the start.
#[test]
fn a_sidecar_needs_no_output() {
    let dir = shm_dir();
    let (_reader, never_read) = stuffed();
    let outs: Vec<(Stdio, Stdio)> = vec![
        (full().into(), full().into()),
        (deaf().into(), deaf().into()),
        (never_read.try_clone().unwrap().into(), never_read.into()),
    ];
    for (i, (out, err)) in outs.into_iter().enumerate() {
        let name = format!("mute-{i}");
        let config = lanes(dir.path(), &[&name], "");
        let mut sidecar = Running(sidecar(&config).stdout(out).stderr(err).spawn().unwrap());
        cnc_of(&mut sidecar, dir.path(), &name, State::Boot);
        // Something to say: a signal is answered on standard error.
        send(&sidecar, rustix::process::Signal::HUP.as_raw());
        std::thread::sleep(std::time::Duration::from_millis(100));
        ends_with(sidecar, dir.path(), &name);
    }
    let config = lanes(dir.path(), &["closed"], "");
    let script = format!("exec {} run --config {} >&- 2>&-", env!("CARGO_BIN_EXE_pillion"), config.display());
    let mut sidecar = Running(Command::new("sh").args(["-c", &script]).spawn().unwrap());
    cnc_of(&mut sidecar, dir.path(), "closed", State::Boot);
    ends_with(sidecar, dir.path(), "closed");
}

/// A log pipe whose reader ends while the lane is in RUN, and then something to say.
#[test]
fn a_log_reader_that_ends_takes_no_lane_with_it() {
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let config = lanes(dir.path(), &["logged"], "");
    let script = format!("exec {} run --config {} 2>&1 | head -1", env!("CARGO_BIN_EXE_pillion"), config.display());
    let pipe = Running(Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap());
    cnc_in(dir.path(), "logged", State::Boot);
    let ticks = ring(dir.path(), "logged");
    let cnc = cnc_in(dir.path(), "logged", State::Run);
    junk_ring(dir.path(), "logged");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(cnc.owner_alive() && cnc.state() == State::Run);
    assert!(ctl(dir.path(), &["logged", "stop"]).status.success());
    assert_eq!(cnc.state(), State::Stopped);
    drop((pipe, ticks));
}

/// Whatever a tool, a timer or a lost terminal sends: the lane goes on, and says so where somebody reads.
#[test]
fn signals_do_not_end_a_sidecar() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["signalled"], "");
    let report = dir.path().join("report.json");
    let mut sidecar = Running::start(&mut heard(sidecar(&config).arg("--report").arg(&report)));
    cnc_of(&mut sidecar, dir.path(), "signalled", State::Boot);
    // HUP, USR1, USR2, PIPE, ALRM, STKFLT, XCPU, XFSZ, VTALRM, PROF, WINCH, IO, PWR, and real-time ones.
    for signal in [1, 10, 12, 13, 14, 16, 24, 25, 26, 27, 28, 29, 30, 34, 50, 64] {
        send(&sidecar, signal);
    }
    let so_far: SidecarReport =
        wait_for("the report so far", || serde_json::from_slice(&std::fs::read(&report).ok()?).ok());
    assert_eq!((so_far.lanes[0].lane.as_str(), so_far.lanes[0].end.as_str()), ("signalled", "boot"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(sidecar.0.try_wait().unwrap(), None, "it lives");
    // SIGQUIT is a clean stop.
    send(&sidecar, 3);
    let ended = sidecar.finish();
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    for word in ["SIGHUP: nothing to do", "SIGUSR1: the report so far is in", "SIGALRM", "signal 34"] {
        assert!(stderr(&ended).contains(word), "no {word:?} in {}", stderr(&ended));
    }
    let last: SidecarReport = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(last.lanes[0].end, "stopped");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

fn sh(script: &str) -> Output {
    let mut command = Command::new("sh");
    let own = format!("P={}; {script}", env!("CARGO_BIN_EXE_pillion"));
    output(command.args(["-c", &own]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()))
}

/// A full disk is an error of the write, a reader that has seen enough is none, and a refusal stays one with nobody to tell.
#[test]
fn exit_codes_do_not_hang_on_who_reads() {
    for (code, script) in [
        (1, "$P --help > /dev/full"),
        (1, "$P status --help > /dev/full"),
        (1, "$P --version > /dev/full"),
        (1, "$P report --schema > /dev/full"),
        (1, "$P features --list > /dev/full"),
        (1, "$P doctor --seconds 0 --at-least F > /dev/full"),
        (1, "$P shm ls --dir /dev/shm > /dev/full"),
        (2, "$P 2> /dev/full"),
        (2, "$P run 2> /dev/full"),
        (2, "$P check --config /no/such 2> /dev/full"),
        (2, "$P check --config /no/such --json > /dev/full 2> /dev/full"),
        (2, "$P no-such-command 2>&-"),
        (0, "$P report --schema >&-"),
    ] {
        let out = sh(script);
        assert_eq!(out.status.code(), Some(code), "{script}: {}{}", stdout(&out), stderr(&out));
        assert!(!stderr(&out).contains("panicked"), "{script}: {}", stderr(&out));
    }
    for script in ["$P report --schema", "$P --help", "$P features --list", "$P doctor --seconds 0 --at-least F"] {
        let mut command = Command::new("sh");
        let own = format!("P={}; exec {script}", env!("CARGO_BIN_EXE_pillion"));
        let out = output(command.args(["-c", &own]).stdout(deaf()).stderr(Stdio::piped()));
        assert_eq!((out.status.code(), stderr(&out).as_str()), (Some(0), ""), "{script}");
    }
}

/// What a watch shows is for whoever looks: nobody does, it ends.
#[test]
fn a_watch_ends_with_its_reader() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["watched"], "");
    let mut sidecar = run(&config);
    cnc_of(&mut sidecar, dir.path(), "watched", State::Boot);
    let mut watch = pillion();
    watch.args(["status", "watched", "--watch", "--shm-dir"]).arg(dir.path());
    let ended = Running(watch.stdout(deaf()).stderr(Stdio::piped()).spawn().unwrap()).finish();
    assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(0), ""));
    // A region that vanishes for a moment ends none, and there are no escape codes where there is no terminal.
    let log = dir.path().join("log");
    let mut watch = pillion();
    watch.args(["status", "watched", "--watch", "--shm-dir"]).arg(dir.path());
    let mut watch = Running(watch.stdout(File::create(&log).unwrap()).spawn().unwrap());
    let said = |word: &str| std::fs::read_to_string(&log).ok().filter(|text| text.contains(word));
    wait_for("the first look", || said("lane watched  BOOT"));
    let page = dir.path().join("pillion.watched.cnc");
    std::fs::rename(&page, dir.path().join("kept")).unwrap();
    wait_for("its absence", || said("does not exist"));
    std::fs::rename(dir.path().join("kept"), &page).unwrap();
    let before = std::fs::read_to_string(&log).unwrap().matches("lane watched  BOOT").count();
    wait_for("the next look", || {
        let looks = std::fs::read_to_string(&log).ok()?.matches("lane watched  BOOT").count();
        (looks > before).then_some(())
    });
    assert_eq!(watch.0.try_wait().unwrap(), None);
    assert!(said("\u{1b}").is_none());
    drop((watch, sidecar));
}

/// A file over the limit is refused like a full disk; no signal, and nothing left.
#[test]
fn a_file_size_limit_is_an_error_of_the_write() {
    let dir = tempfile::tempdir().unwrap();
    let out = sh(&format!("ulimit -f 8; $P synth -o {}/big.dbn --events 20000", dir.path().display()));
    assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
    assert!(stderr(&out).contains("writing failed"), "{}", stderr(&out));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Whatever ends a command while it writes, there is no half of a file under any name, at any time.
#[test]
fn a_killed_command_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [1, 2, 9, 15] {
        let target = dir.path().join("day.dbn");
        let mut command = pillion();
        command.args(["synth", "--events", "50000000", "-o"]).arg(&target);
        let mut running = Running::start(&mut heard(&command));
        wait_for("the file to be open", || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", running.0.id())).ok()?;
            let open = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
            open.into_iter().any(|path| path.starts_with(dir.path())).then_some(())
        });
        assert_eq!(running.0.try_wait().unwrap(), None, "it is still writing");
        send(&running, signal);
        assert!(!running.finish().status.success());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.is_empty(), "signal {signal}: {left:?}");
    }
}

/// Memory is counted before it is taken: a refusal, not a process that the allocator or the kernel ends.
#[test]
fn memory_that_is_not_there_is_refused() {
    let dir = shm_dir();
    let rows: Vec<_> =
        (1..=2_500).map(|id| format!("{{ id = {id}, symbol = \"S{id}\", tick_size = \"0.01\" }}")).collect();
    let text = format!("lock = \"no\"\n[lane]\nname = \"large\"\ninstruments = [{}]\n", rows.join(","));
    let path = config(dir.path(), &text);
    for command in ["check", "run"] {
        let out = sh(&format!("ulimit -v 2000000; $P {command} --config {}", path.display()));
        assert_eq!(out.status.code(), Some(2), "{command}: {}{}", stdout(&out), stderr(&out));
        for word in ["of memory (books 2", "RLIMIT_AS", "max_orders", "ulimit -v", "mend: "] {
            assert!(stderr(&out).contains(word), "{command}: no {word:?} in {}", stderr(&out));
        }
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("pillion.large")), "{left:?}");
}

/// Where the reckoning falls short, the allocator aborts, which is SIGABRT: a run that failed, by the table.
#[test]
fn an_abort_is_a_run_that_failed() {
    let dir = shm_dir();
    let mut sidecar = run(&lanes(dir.path(), &["aborted"], ""));
    cnc_of(&mut sidecar, dir.path(), "aborted", State::Boot);
    send(&sidecar, 6);
    assert_eq!(sidecar.finish().status.code(), Some(1));
}

/// A terminal stops no sidecar in its background: not by what the sidecar prints there (`stty tostop`), nor by Ctrl-Z.
#[test]
fn a_terminal_stops_no_sidecar() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["behind"], "");
    // Its own session, whose terminal is a new one; the sidecar is a job in the background that prints there.
    let script = format!(
        "import os, pty, sys\npid, fd = pty.fork()\nif pid == 0:\n os.execvp('bash', ['bash', '--norc', '-mc', \
         'stty tostop; {} run --config {} --child-of $$ & echo $! > {}/pid; sleep 60'])\nwhile True:\n try: os.read(fd, 1024)\n except OSError: break\n",
        env!("CARGO_BIN_EXE_pillion"),
        config.display(),
        dir.path().display()
    );
    let mut python = Command::new("python3");
    let terminal = Running::start(python.args(["-c", &script]));
    let cnc = cnc_in(dir.path(), "behind", State::Boot);
    let pid = wait_for("its number", || {
        std::fs::read_to_string(dir.path().join("pid")).ok().filter(|pid| pid.ends_with('\n'))
    });
    for signal in ["USR2", "TTOU", "TTIN", "TSTP"] {
        assert!(Command::new("kill").args(["-s", signal, pid.trim()]).status().unwrap().success());
        let before = cnc.heartbeat_ns();
        wait_for("the next heartbeats", || (cnc.heartbeat_ns() > before + 300_000_000).then_some(()));
    }
    assert!(ctl(dir.path(), &["behind", "stop"]).status.success());
    drop(terminal);
}

/// `nohup`: what a command was started to ignore does not end it.
#[test]
fn what_is_ignored_from_the_start_stays_ignored() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["nohup"], "");
    let script = format!("trap '' HUP; exec {} run --config {}", env!("CARGO_BIN_EXE_pillion"), config.display());
    let mut sidecar = Running::start(Command::new("sh").args(["-c", &script]));
    cnc_of(&mut sidecar, dir.path(), "nohup", State::Boot);
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.0.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 1, 1, "{mask}");
    send(&sidecar, 15);
    assert!(sidecar.finish().status.success());
}

/// A report goes to standard output or into a pipe as well, at the end; a pipe that nobody reads is refused before a region is made.
#[test]
fn a_report_goes_to_whatever_is_named() {
    let dir = shm_dir();
    let config = lanes(dir.path(), &["told"], "");
    let mut running = Running::start(sidecar(&config).args(["--report", "-"]));
    cnc_of(&mut running, dir.path(), "told", State::Boot);
    send(&running, 10);
    send(&running, 15);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    let report: SidecarReport =
        serde_json::from_slice(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {}", stdout(&ended)));
    assert!(report.ended && stderr(&ended).contains("takes it only at the end"), "{}", stderr(&ended));
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let out = Running::start(sidecar(&config).arg("--report").arg(&pipe)).finish();
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    assert!(stderr(&out).contains("start its reader first"), "{}", stderr(&out));
}
