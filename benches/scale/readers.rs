//! What readers cost the writer, and what a record costs who reads for several.
//!
//! Every reader's handle is polled by one other thread, in turn: with two CPUs a second spinning reader would take the writer's.
//! The writer then sees one CPU that shares its lines, however many handles there are; what more CPUs would cost it is not measured.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::measure::{Dimension, Line, Point, median, timed};
use pillion::host::cores;
use pillion_shm::{Access, Clock, From, Kind, Lane, LockMemory, Poll, RingReader, RingSpec, RingWriter};

/// Slots of the ring.
const SLOTS: u64 = 1_024;
/// Words of a tick (MBO) and of a signal.
const TICK: usize = 7;
const SIGNAL: usize = 14;
/// Records of a burst.
const BURST: usize = 20_000;
/// Pauses, and records on end behind each.
const PAUSES: usize = 1_000;
const ON_END: u64 = 8;
/// Length of a pause: readers of all handles have caught up by then, ns.
const PAUSE_NS: u64 = 1_500;
/// Records that lie ready for the reading thread.
const READY: usize = 512;

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// The writer's cost of a record, [`ON_END`] on end after a pause in which every reader has caught up. One alone is left to
    /// the CPU's store buffer and no clock shows it; more wait until the lines of those before are back from the reader's CPU.
    Paced { words: usize },
    /// The writer's cost of a record, one behind the other.
    Burst { words: usize },
    /// The reading thread's cost of a record that another CPU wrote, for all handles.
    Read { words: usize },
}

struct ReadersPoint {
    what: What,
    writer: RingWriter,
    readers: Vec<RingReader>,
    cpu: usize,
    clock_ns: f64,
    _folder: tempfile::TempDir,
}

impl ReadersPoint {
    fn new(what: What, readers: usize, cpu: usize) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("pillion-scale-").tempdir_in("/dev/shm");
        let folder = folder.map_err(|error| format!("/dev/shm: {error}"))?;
        let say = |error: pillion_shm::Error| error.to_string();
        let name = Lane::in_dir(folder.path(), "readers").map_err(say)?;
        let clock = Clock::attach_or_create(folder.path()).map_err(say)?;
        let spec = RingSpec { capacity: SLOTS, record_words: SIGNAL, table: Vec::new() };
        let access = Access { lock: LockMemory::No, ..Access::default() };
        let writer = RingWriter::create(&name, Kind::Ticks, &spec, &clock, &access).map_err(say)?;
        let reader = |_| RingReader::attach(&name, Kind::Ticks, From::Next, &clock).map_err(say);
        let readers = (0..readers).map(reader).collect::<Result<_, _>>()?;
        let clock_ns = median((0..2_000).map(|_| timed(|| ())).collect());
        Ok(Self { what, writer, readers, cpu, clock_ns, _folder: folder })
    }

    /// Runs `write` here while the other thread polls every reader in turn.
    fn beside(&mut self, write: impl FnOnce(&mut RingWriter) -> f64) -> f64 {
        let (ready, over) = (AtomicBool::new(self.readers.is_empty()), AtomicBool::new(false));
        let (cpu, readers, writer) = (self.cpu, &mut self.readers, &mut self.writer);
        std::thread::scope(|scope| {
            if !readers.is_empty() {
                scope.spawn(|| {
                    pin(cpu);
                    ready.store(true, Ordering::Release);
                    let mut words = [0; SIGNAL];
                    while !over.load(Ordering::Relaxed) {
                        readers.iter_mut().for_each(|reader| _ = black_box(reader.poll(&mut words)));
                    }
                });
            }
            wait(|| ready.load(Ordering::Acquire));
            let ns = write(writer);
            over.store(true, Ordering::Relaxed);
            ns
        })
    }

    /// The median over the pauses, less the clock.
    fn paced(&mut self, words: usize) -> f64 {
        let clock_ns = self.clock_ns;
        self.beside(|writer| {
            let mut some = || {
                pause();
                let publish = |n| _ = writer.publish_at(black_box(&[n; SIGNAL][..words]), n);
                timed(|| (0..ON_END).for_each(publish))
            };
            // A publish cannot take less than nothing, whatever the clock's own cost was this time.
            (median((0..PAUSES).map(|_| some()).collect()) - clock_ns).max(0.1) / ON_END as f64
        })
    }

    fn burst(&mut self, words: usize) -> f64 {
        self.beside(|writer| {
            let all = |writer: &mut RingWriter| {
                (0..BURST as u64).for_each(|n| _ = writer.publish_at(black_box(&[n; SIGNAL][..words]), n));
            };
            timed(|| all(writer)) / BURST as f64
        })
    }

    /// The other thread waits until the records are there, and takes each for every reader.
    fn read(&mut self, words: usize) -> f64 {
        let (step, cpu) = (AtomicUsize::new(0), self.cpu);
        let (readers, writer) = (&mut self.readers, &mut self.writer);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                pin(cpu);
                readers.iter_mut().for_each(|reader| _ = reader.skip_to_next());
                step.store(1, Ordering::Release);
                wait(|| step.load(Ordering::Acquire) == 2);
                timed(|| drain(readers, words)) / READY as f64
            });
            wait(|| step.load(Ordering::Acquire) == 1);
            (0..READY as u64).for_each(|n| _ = writer.publish_at(black_box(&[n; SIGNAL][..words]), n));
            step.store(2, Ordering::Release);
            reading.join().expect("the reading thread ends")
        })
    }
}

fn drain(readers: &mut [RingReader], words: usize) {
    let mut out = [0; SIGNAL];
    for _ in 0..READY {
        for reader in readers.iter_mut() {
            let found = reader.poll(&mut out[..words]);
            assert!(matches!(found, Poll::Record { .. }), "a record that was published is {found:?}");
        }
        black_box(&out);
    }
}

fn pause() {
    let start = Instant::now();
    while (start.elapsed().as_nanos() as u64) < PAUSE_NS {
        spin_loop();
    }
}

/// Spins, and lets others run where the other thread has no CPU of its own at the moment.
fn wait(until: impl Fn() -> bool) {
    let mut looks = 0u32;
    while !until() {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(4_096) { std::thread::yield_now() } else { spin_loop() }
    }
}

fn pin(cpu: usize) {
    cores::pin(cpu, "reading thread").expect("the CPU is one of those allowed");
}

impl Point for ReadersPoint {
    fn batch(&mut self) -> (f64, u64) {
        let ns = match self.what {
            What::Paced { words } => self.paced(words),
            What::Burst { words } => self.burst(words),
            What::Read { words } => self.read(words),
        };
        (ns, 1)
    }

    fn warm_batches(&self) -> usize {
        1
    }

    fn batches(&self, usual: usize) -> usize {
        usual.min(7)
    }

    fn working_set_bytes(&self) -> u64 {
        // The ring, whoever reads it: it is not what changes.
        0
    }
}

/// Writer's and reader's cost against readers; `cpu` is the other thread's.
pub fn readers(cpu: usize) -> Result<Dimension, String> {
    let lines = [
        ("writer, eight ticks on end after a pause", What::Paced { words: TICK }, 0),
        ("writer, eight signals on end after a pause", What::Paced { words: SIGNAL }, 0),
        ("writer, a burst of ticks", What::Burst { words: TICK }, 0),
        ("reading thread, a tick for all readers", What::Read { words: TICK }, 1),
        ("reading thread, a signal for all readers", What::Read { words: SIGNAL }, 1),
    ];
    let line = |what, from: usize| {
        (from..=4)
            .map(|n| Ok((n as f64, Box::new(ReadersPoint::new(what, n, cpu)?) as Box<dyn Point>)))
            .collect::<Result<Line, String>>()
    };
    Ok(Dimension {
        id: "readers",
        title: "A ring against its readers, all polled in turn by one thread on the other CPU (128-byte slots)".into(),
        x_label: "readers",
        y_label: "ns a record",
        x_log: false,
        y_log: false,
        series: lines
            .map(|(name, what, from)| Ok((name.to_owned(), line(what, from)?)))
            .into_iter()
            .collect::<Result<_, String>>()?,
    })
}
