//! What the tests share: private directories, self-checking records, and this test binary as a second process.
#![allow(dead_code)]

use pillion_shm::{Access, Clock, Kind, Lane, Poll, Result, RingReader, RingSpec, RingWriter};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

pub const WORDS: usize = 14;

/// A lane in a directory of its own, with its clock.
pub struct Place {
    pub dir: TempDir,
    pub lane: Lane,
    pub clock: Clock,
}

pub fn place() -> Place {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let lane = Lane::in_dir(dir.path(), "test").unwrap();
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    Place { dir, lane, clock }
}

impl Place {
    /// The place that the parent process made.
    pub fn of_parent() -> (Lane, Clock) {
        let dir = std::env::var("PILLION_TEST_DIR").unwrap();
        let clock = Clock::attach_or_create(dir.as_ref()).unwrap();
        (Lane::in_dir(dir, "test").unwrap(), clock)
    }

    pub fn writer(&self, capacity: u64) -> Result<RingWriter> {
        RingWriter::create(&self.lane, Kind::Ticks, &spec(capacity), &self.clock, &Access::default())
    }

    pub fn reader(&self, from: pillion_shm::From) -> Result<RingReader> {
        RingReader::attach(&self.lane, Kind::Ticks, from, &self.clock)
    }

    /// Files of the directory, sorted, without the clock.
    pub fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "pillion.clock").collect();
        names.sort();
        names
    }

    /// This test binary as process `role`.
    pub fn child(&self, role: &str) -> Process {
        Process::start(Command::new(std::env::current_exe().unwrap()), self, role)
    }

    /// The same behind a wrapper such as `setpriv`, from a copy that every user can reach.
    pub fn child_under(&self, wrapper: &[&str], exe: &std::path::Path, role: &str) -> Process {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(exe);
        Process::start(command, self, role)
    }
}

pub fn spec(capacity: u64) -> RingSpec {
    RingSpec { capacity, record_words: WORDS, table: Vec::new() }
}

/// Record `n`, every word of which tells a torn copy.
pub fn record(n: u64) -> [u64; WORDS] {
    std::array::from_fn(|i| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 * 4))
}

/// Reads until nothing is left; checks every record and that they come in order. Returns (read, lost).
pub fn drain(reader: &mut RingReader) -> (u64, u64) {
    let (mut read, mut lost) = (0, 0);
    let mut words = [0; WORDS];
    loop {
        let cursor = reader.cursor();
        match reader.poll(&mut words) {
            Poll::Empty => return (read, lost),
            Poll::Corrupt => panic!("corrupt at {}", reader.cursor()),
            Poll::Lost(n) => {
                assert_eq!(reader.cursor(), cursor + n);
                lost += n;
            }
            Poll::Record { ring_seq, stamp_ns } => {
                assert_eq!((ring_seq, stamp_ns), (cursor, cursor + 7));
                assert_eq!(words, record(ring_seq), "torn record {ring_seq}");
                read += 1;
            }
        }
    }
}

/// A second process: this test binary, running its test `child` as some role.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(mut command: Command, place: &Place, role: &str) -> Self {
        command.args(["--exact", "child", "--nocapture"]);
        command.env("PILLION_TEST_ROLE", role).env("PILLION_TEST_DIR", place.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it said with [`say`].
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child ended without a word");
            // The test harness prints on the same line.
            if let Some((_, said)) = line.split_once("@@ ") {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Lets it go on from [`wait`].
    pub fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops it, and waits until it stands still: the signal alone returns before that.
    pub fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        while !stat().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            std::thread::yield_now();
        }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A test that fails leaves no process behind, which would also hold its output open.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn say(text: impl std::fmt::Display) {
    println!("@@ {text}");
    std::io::stdout().flush().unwrap();
}

/// Waits for the parent's word; false when the parent is done with us.
pub fn wait() -> bool {
    std::io::stdin().lock().lines().next().is_some_and(|line| line.is_ok())
}
