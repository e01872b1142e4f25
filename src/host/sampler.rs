//! A sleeping witness of each hot thread: what the kernel counts for it and its CPU, read every few milliseconds. The
//! thread itself is never asked and never stopped.

pub mod parse;

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryIter, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use pillion_shm::Clock;

use crate::hot::run::Link;
use crate::report::HostTotals;

/// Looks that may wait to be taken. A look counts from the thread's start, so one that finds no room costs only fineness.
const WAITING: usize = 1024;

/// A file longer than this is not one that we know, bytes: 4,096 CPUs and as many interrupts stay below.
const LONGEST: usize = 1 << 28;

/// How long a hot thread that has ended waits for the last look at it.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// What was counted up to a moment between two stamps of the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Before the first file was read, ns.
    pub before_ns: u64,
    /// After the last was, ns.
    pub after_ns: u64,
    /// Since the thread's start, or the CPU's.
    pub counts: HostTotals,
}

/// The files of one thread and CPU, kept open.
pub struct Probe {
    schedstat: Option<File>,
    status: Option<File>,
    stat: Option<File>,
    interrupts: Option<File>,
    cpus: Option<File>,
    cpu: usize,
    hz: u64,
    buffer: Vec<u8>,
}

impl Probe {
    /// Opens what can be opened below `proc`, which is `/proc`; what cannot is `None` in every look. `tid` is a thread of
    /// this process, by the kernel's number.
    pub fn open(proc: &Path, tid: u32, cpu: usize) -> Self {
        let task = proc.join(format!("self/task/{tid}"));
        let open = |path: &Path| File::open(path).ok();
        Self {
            schedstat: open(&task.join("schedstat")),
            status: open(&task.join("status")),
            stat: open(&task.join("stat")),
            interrupts: open(&proc.join("interrupts")),
            cpus: open(&proc.join("stat")),
            cpu,
            hz: rustix::param::clock_ticks_per_second(),
            buffer: vec![0; 16 << 10],
        }
    }

    /// Reads them all, in some tens of µs.
    pub fn look(&mut self, clock: &Clock) -> Look {
        let before_ns = clock.now_ns();
        let (cpu, hz, buffer) = (self.cpu, self.hz, &mut self.buffer);
        let runqueue_wait_ns = read(&self.schedstat, buffer).and_then(|text| parse::runqueue_wait_ns(&text));
        let (voluntary_switches, involuntary_switches) =
            read(&self.status, buffer).map_or((None, None), |text| parse::switches(&text));
        let (minor_faults, major_faults) = read(&self.stat, buffer).map_or((None, None), |text| parse::faults(&text));
        let interrupts = read(&self.interrupts, buffer).map(|text| parse::interrupts(&text, cpu)).unwrap_or_default();
        let steal_ms = read(&self.cpus, buffer).and_then(|text| parse::steal_ms(&text, cpu, hz));
        let counts = HostTotals {
            voluntary_switches,
            involuntary_switches,
            minor_faults,
            major_faults,
            timer_ticks: interrupts.timer,
            interrupts: interrupts.device,
            tlb_shootdowns: interrupts.tlb,
            ipis: interrupts.ipis,
            steal_ms,
            runqueue_wait_ns,
        };
        Look { before_ns, after_ns: clock.now_ns(), counts }
    }
}

/// A file from its start, in the buffer that grows to the longest.
fn read<'a>(file: &Option<File>, buffer: &'a mut Vec<u8>) -> Option<Cow<'a, str>> {
    let (file, mut len) = (file.as_ref()?, 0);
    loop {
        if len == buffer.len() {
            if len >= LONGEST {
                return None;
            }
            buffer.resize(2 * len.max(4096), 0);
        }
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // A thread that has ended has no counts any more.
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&buffer[..len]))
}

/// How a sampler is told to end, and says that it has.
#[derive(Default)]
struct End {
    wanted: AtomicBool,
    done: AtomicBool,
}

/// The thread that looks at one hot thread.
pub struct Sampler {
    looks: Receiver<Look>,
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts it. It looks every `period` from when the hot thread has told its number in `link`, and inherits the
    /// caller's CPUs, which are the cold side's.
    pub fn start(link: &Arc<Link>, cpu: usize, clock: Clock, period: Duration, name: &str) -> Self {
        let (to, looks) = sync_channel(WAITING);
        let end = Arc::new(End::default());
        let (link, ours) = (Arc::clone(link), Arc::clone(&end));
        let sample = move || {
            if let Some(tid) = tid(&link, &ours) {
                sample(Probe::open(Path::new("/proc"), tid, cpu), &clock, period, &ours, &to);
            }
            ours.done.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name(format!("look-{name}"));
        Self { looks, end, thread: Some(thread.spawn(sample).expect("the system starts a thread")) }
    }

    /// Looks that have come since the last call.
    pub fn looks(&self) -> TryIter<'_, Look> {
        self.looks.try_iter()
    }

    /// For the hot thread to ask for a last look once it has ended: its counts go with it.
    pub fn last_look(&self) -> Option<LastLook> {
        let thread = self.thread.as_ref()?.thread().clone();
        Some(LastLook { end: Arc::clone(&self.end), thread })
    }

    /// Ends it; looks that have come can still be taken.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.end.wanted.store(true, Ordering::Release);
        thread.thread().unpark();
        // It cannot panic but by a fault of ours, which its message has told by now.
        let _ = thread.join();
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks for a last look.
pub struct LastLook {
    end: Arc<End>,
    thread: Thread,
}

impl LastLook {
    /// Asks, and waits for it up to 100 ms. Spins meanwhile: sleep would be counted as a switch of the thread's.
    pub fn ask(self) {
        self.end.wanted.store(true, Ordering::Release);
        self.thread.unpark();
        let since = Instant::now();
        while !self.end.done.load(Ordering::Acquire) && since.elapsed() < LAST_LOOK {
            std::hint::spin_loop();
        }
    }
}

/// The hot thread's number, once it has told it; `None` where it never did.
fn tid(link: &Link, end: &End) -> Option<u32> {
    loop {
        let over = end.wanted.load(Ordering::Acquire);
        match link.tid.load(Ordering::Acquire) {
            0 if over => return None,
            0 => std::thread::park_timeout(Duration::from_millis(1)),
            tid => return Some(tid),
        }
    }
}

fn sample(mut probe: Probe, clock: &Clock, period: Duration, end: &End, to: &SyncSender<Look>) {
    loop {
        // Asked for before the look, so that the last look comes after whatever it was asked for.
        let over = end.wanted.load(Ordering::Acquire);
        // No room: see `WAITING`. Nobody there: the seat has gone, and says so by `end`.
        let _ = to.try_send(probe.look(clock));
        if over {
            return;
        }
        std::thread::park_timeout(period);
    }
}

#[cfg(test)]
mod tests;
