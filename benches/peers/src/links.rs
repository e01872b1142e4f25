//! The links: each made anew for a run, with a sending and a receiving end.

use crate::plain;
use crossbeam_queue::ArrayQueue;
use pillion_shm::{Access, Clock, From, Kind, Lane, Poll, RingReader, RingSpec, RingWriter};
use std::sync::Arc;

/// Slots or places of every link.
pub const CAPACITY: usize = 1024;

/// Sending end of records of `N` words.
pub trait Send<const N: usize>: std::marker::Send {
    /// Sends; waits only where the link has back-pressure.
    fn send(&mut self, words: &[u64; N]);
}

/// Receiving end of records of `N` words.
pub trait Receive<const N: usize>: std::marker::Send {
    /// Receives; false when nothing is there (or something was lost, which only broadcast rings do).
    fn receive(&mut self, words: &mut [u64; N]) -> bool;
}

/// A kind of link.
pub trait Link<const N: usize> {
    /// Its sending end.
    type Send: Send<N>;
    /// Its receiving end.
    type Receive: Receive<N>;
    /// Makes one.
    fn make(bench: &Bench) -> (Self::Send, Self::Receive);
}

/// Our ring in shared memory with records of `RECORD` words.
pub struct Ours<const RECORD: usize>;
/// The plain-copy ring with the same slots.
pub struct Plain<const RECORD: usize>;
/// rtrb: single producer, single consumer, one process.
pub struct Rtrb;
/// crossbeam's bounded queue.
pub struct Queue;

/// Where shared rings live during a run.
pub struct Bench {
    dir: tempfile::TempDir,
    clock: Clock,
    made: std::cell::Cell<u32>,
}

impl Bench {
    /// A private directory in /dev/shm, with a clock.
    pub fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir_in("/dev/shm")?;
        let clock = Clock::attach_or_create(dir.path())?;
        Ok(Self { dir, clock, made: std::cell::Cell::new(0) })
    }

    fn ours(&self, record_words: usize) -> pillion_shm::Result<(RingWriter, RingReader)> {
        self.made.set(self.made.get() + 1);
        let lane = Lane::in_dir(self.dir.path(), &format!("hop{}", self.made.get()))?;
        let spec = RingSpec { capacity: CAPACITY as u64, record_words, table: Vec::new() };
        let writer = RingWriter::create(&lane, Kind::Ticks, &spec, &self.clock, &Access::default())?;
        let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &self.clock)?;
        reader.touch_and_lock(pillion_shm::LockMemory::Try)?;
        std::fs::remove_file(writer.path()).ok();
        Ok((writer, reader))
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for Ours<RECORD> {
    type Send = RingWriter;
    type Receive = RingReader;
    fn make(bench: &Bench) -> (RingWriter, RingReader) {
        bench.ours(RECORD).expect("a ring in a private directory of /dev/shm")
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for Plain<RECORD> {
    type Send = plain::Writer<RECORD>;
    type Receive = plain::Reader<RECORD>;
    fn make(_: &Bench) -> (Self::Send, Self::Receive) {
        plain::ring(CAPACITY)
    }
}

impl<const N: usize> Link<N> for Rtrb {
    type Send = rtrb::Producer<[u64; N]>;
    type Receive = rtrb::Consumer<[u64; N]>;
    fn make(_: &Bench) -> (Self::Send, Self::Receive) {
        rtrb::RingBuffer::new(CAPACITY)
    }
}

impl<const N: usize> Link<N> for Queue {
    type Send = Arc<ArrayQueue<[u64; N]>>;
    type Receive = Arc<ArrayQueue<[u64; N]>>;
    fn make(_: &Bench) -> (Self::Send, Self::Receive) {
        let queue = Arc::new(ArrayQueue::new(CAPACITY));
        (queue.clone(), queue)
    }
}

impl<const N: usize> Send<N> for RingWriter {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        self.publish_at(words, words[0]);
    }
}

impl<const N: usize> Receive<N> for RingReader {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        matches!(self.poll(words), Poll::Record { .. })
    }
}

impl<const N: usize, const RECORD: usize> Send<N> for plain::Writer<RECORD> {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        self.publish(words, words[0]);
    }
}

impl<const N: usize, const RECORD: usize> Receive<N> for plain::Reader<RECORD> {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        self.poll(words)
    }
}

impl<const N: usize> Send<N> for rtrb::Producer<[u64; N]> {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        while self.push(*words).is_err() {
            std::hint::spin_loop();
        }
    }
}

impl<const N: usize> Receive<N> for rtrb::Consumer<[u64; N]> {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        self.pop().map(|record| *words = record).is_ok()
    }
}

impl<const N: usize> Send<N> for Arc<ArrayQueue<[u64; N]>> {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        while self.push(*words).is_err() {
            std::hint::spin_loop();
        }
    }
}

impl<const N: usize> Receive<N> for Arc<ArrayQueue<[u64; N]>> {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        self.pop().map(|record| *words = record).is_some()
    }
}
