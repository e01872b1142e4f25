//! A process that dies at a point, the walk over all points, and what the dead leave in a ring.

use crate::common::Place;
use pillion_shm::layout::{header, slot};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SIGKILL: i32 = 9;

/// This test binary as another process, which kills itself at the point asked for.
pub struct Victim {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Victim {
    pub fn start(place: &Place, role: &str, at: Option<u64>) -> Self {
        Self::under(&[], place.dir.path(), role, at)
    }

    /// The same behind a wrapper such as `unshare`.
    pub fn under(wrapper: &[&str], dir: &Path, role: &str, at: Option<u64>) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut command = match wrapper.split_first() {
            None => Command::new(exe),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(exe);
                command
            }
        };
        command.args(["--exact", "child", "--nocapture"]);
        command.env("PILLION_TEST_ROLE", role).env("PILLION_TEST_DIR", dir);
        if let Some(at) = at {
            command.env("PILLION_CRASH_AT", at.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it said; none when it died before.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            // The test harness prints on the same line.
            if let Some((_, said)) = line.split_once("@@ ") {
                return Some(said.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Lets it go on from `wait`.
    pub fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// SIGKILL from outside, which must find it alive.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        // Behind a wrapper the process itself may die a moment later: its end of the pipe goes with it.
        while self.hear().is_some() {}
        assert_eq!(status.signal(), Some(SIGKILL), "it ended before: {status}\n{}", self.words());
    }

    /// Waits for its end: the point where it killed itself, or none when it passed them all.
    pub fn end(mut self) -> Option<String> {
        drop(self.input.take());
        let status = self.child.wait().unwrap();
        let words = self.words();
        if status.success() {
            return None;
        }
        assert_eq!(status.signal(), Some(SIGKILL), "{status}\n{words}");
        let point = words.lines().find_map(|line| line.strip_prefix("crash point ")?.split_once(": "));
        Some(point.unwrap_or_else(|| panic!("killed by another: {words}")).1.to_owned())
    }

    fn words(&mut self) -> String {
        let (mut words, mut out) = (String::new(), String::new());
        self.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut words));
        let _ = self.output.read_to_string(&mut out);
        words + &out
    }
}

/// A test that fails leaves no process behind.
impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a victim at its first point, its second, and so on, until one lives through them all. `survive` starts it with that
/// number, plays everybody else, and says where it died. Prints and returns how many points there were.
pub fn walk(role: &str, mut survive: impl FnMut(u64) -> Option<String>) -> u64 {
    let mut points: BTreeMap<String, u64> = BTreeMap::new();
    for at in 1.. {
        match survive(at) {
            Some(point) => *points.entry(point).or_default() += 1,
            None => break,
        }
    }
    let total = points.values().sum();
    let each: Vec<_> = points.iter().map(|(point, times)| format!("{point} × {times}")).collect();
    println!("killed {role:<24} at each of {total} points: {}", each.join(", "));
    total
}

/// Counts that the dead left in a ring's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Records committed, by the marks in the slots.
    pub committed: u64,
    /// Whether one more is half written.
    pub marked: bool,
    /// The head.
    pub head: u64,
    pub capacity: u64,
}

impl Left {
    pub fn of(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let word = |at: u64| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, at).unwrap();
            u64::from_ne_bytes(bytes)
        };
        let field = |at: usize| word(at as u64);
        let (capacity, stride) = (field(header::CAPACITY), field(header::STRIDE));
        let seq = |i: u64| word(field(header::BODY_OFFSET) + i * stride + slot::SEQ as u64);
        let seqs: Vec<u64> = (0..capacity).map(seq).collect();
        let committed = seqs.iter().filter(|seq| *seq % 2 == 0).max().unwrap_or(&0) / 2;
        let marks: Vec<u64> = seqs.into_iter().filter(|seq| seq % 2 == 1).collect();
        assert!(marks.is_empty() || marks == [2 * committed + 1], "{marks:?} beside {committed} records");
        let left = Self { committed, marked: !marks.is_empty(), head: field(header::HEAD), capacity };
        // A kill between commit and head leaves the head one behind, never ahead; a mark comes after the head.
        let behind = committed.checked_sub(left.head).unwrap_or_else(|| panic!("head ahead of its slots: {left:?}"));
        assert!(behind == 0 || (behind == 1 && !left.marked), "{left:?}");
        left
    }

    /// Whole records that a reader can still find.
    pub fn whole(&self) -> u64 {
        self.committed.min(self.capacity) - u64::from(self.marked && self.committed >= self.capacity)
    }

    /// Of them, those that a reader from further back finds at least: lapped a second time, by the record whose mark or
    /// commit is ahead of the head, it gives up half the ring.
    pub fn at_least(&self) -> u64 {
        let ahead = self.marked || self.head < self.committed;
        if ahead { self.whole().min(self.capacity / 2) } else { self.whole() }
    }
}
