//! The links: each made anew for a run, with a sending and a receiving end.

use crate::{cpp, iceoryx, plain};
use crossbeam_queue::ArrayQueue;
use pillion_shm::{Access, Clock, From, Kind, Lane, Poll, RingReader, RingSpec, RingWriter};
use std::path::Path;
use std::sync::Arc;

/// Slots or places of every link.
pub const CAPACITY: usize = 1024;

/// Makes an end in the thread that shall own it.
pub type Maker<T> = Box<dyn FnOnce() -> T + std::marker::Send>;

/// Sending end of records of `N` words.
pub trait Send<const N: usize> {
    /// Sends; waits only where the link has back-pressure.
    fn send(&mut self, words: &[u64; N]);
}

/// Receiving end of records of `N` words.
pub trait Receive<const N: usize> {
    /// Receives; false when nothing is there (or something was lost, which only broadcast rings do).
    fn receive(&mut self, words: &mut [u64; N]) -> bool;
}

/// A kind of link.
pub trait Link<const N: usize> {
    /// Its sending end.
    type Send: Send<N>;
    /// Its receiving end.
    type Receive: Receive<N>;
    /// Makes one: its ends, for any thread each.
    fn make(bench: &Bench) -> (Maker<Self::Send>, Maker<Self::Receive>);
}

fn ready<S: std::marker::Send + 'static, R: std::marker::Send + 'static>(
    (send, receive): (S, R),
) -> (Maker<S>, Maker<R>) {
    (Box::new(move || send), Box::new(move || receive))
}

/// Our ring in shared memory with records of `RECORD` words.
pub struct Ours<const RECORD: usize>;
/// Our ring, written by C++ and read by Rust.
pub struct CppToRust<const RECORD: usize>;
/// Our ring, written by Rust and read by C++.
pub struct RustToCpp<const RECORD: usize>;
/// Our ring, written and read by C++.
pub struct CppToCpp<const RECORD: usize>;
/// iceoryx2: publish-subscribe between processes.
pub struct Iceoryx;
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

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The clock of the directory.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A lane's name that nobody has used.
    pub fn fresh(&self) -> String {
        self.made.set(self.made.get() + 1);
        format!("lane{}", self.made.get())
    }

    /// The lane `name` here.
    pub fn lane(&self, name: &str) -> Lane {
        Lane::in_dir(self.dir(), name).expect("a lane name")
    }

    /// The Rust writer of `lane`'s tick ring.
    pub fn writer(&self, lane: &str, capacity: usize, record_words: usize) -> RingWriter {
        let spec = RingSpec { capacity: capacity as u64, record_words, table: Vec::new() };
        RingWriter::create(&self.lane(lane), Kind::Ticks, &spec, &self.clock, &Access::default())
            .expect("a ring in /dev/shm")
    }

    /// A Rust reader of `lane`'s tick ring.
    pub fn reader(&self, lane: &str) -> RingReader {
        let mut reader = RingReader::attach(&self.lane(lane), Kind::Ticks, From::Next, &self.clock).expect("just made");
        reader.touch_and_lock(pillion_shm::LockMemory::Try).expect("only tried");
        reader
    }

    /// Removes the name of `lane`'s tick ring; whoever has it mapped keeps it.
    pub fn forget(&self, lane: &str) {
        std::fs::remove_file(self.lane(lane).path(Kind::Ticks)).ok();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        iceoryx::clean();
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for Ours<RECORD> {
    type Send = RingWriter;
    type Receive = RingReader;
    fn make(bench: &Bench) -> (Maker<RingWriter>, Maker<RingReader>) {
        let lane = bench.fresh();
        let ends = (bench.writer(&lane, CAPACITY, RECORD), bench.reader(&lane));
        bench.forget(&lane);
        ready(ends)
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for CppToRust<RECORD> {
    type Send = cpp::Writer;
    type Receive = RingReader;
    fn make(bench: &Bench) -> (Maker<cpp::Writer>, Maker<RingReader>) {
        let lane = bench.fresh();
        ready((cpp::Writer::create(bench.dir(), &lane, CAPACITY as u64, RECORD), bench.reader(&lane)))
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for RustToCpp<RECORD> {
    type Send = RingWriter;
    type Receive = cpp::Reader;
    fn make(bench: &Bench) -> (Maker<RingWriter>, Maker<cpp::Reader>) {
        let lane = bench.fresh();
        let ends = (bench.writer(&lane, CAPACITY, RECORD), cpp::Reader::attach(bench.dir(), &lane));
        bench.forget(&lane);
        ready(ends)
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for CppToCpp<RECORD> {
    type Send = cpp::Writer;
    type Receive = cpp::Reader;
    fn make(bench: &Bench) -> (Maker<cpp::Writer>, Maker<cpp::Reader>) {
        let lane = bench.fresh();
        let writer = cpp::Writer::create(bench.dir(), &lane, CAPACITY as u64, RECORD);
        ready((writer, cpp::Reader::attach(bench.dir(), &lane)))
    }
}

impl<const N: usize> Link<N> for Iceoryx {
    type Send = iceoryx::Sender<N>;
    type Receive = iceoryx::Receiver<N>;
    fn make(bench: &Bench) -> (Maker<iceoryx::Sender<N>>, Maker<iceoryx::Receiver<N>>) {
        let (here, there) = (bench.dir().to_owned(), bench.dir().to_owned());
        let (name, same) = (bench.fresh(), bench.made.get());
        let again = format!("lane{same}");
        let send = move || iceoryx::sender(&here, &name).expect("an iceoryx2 publisher");
        (Box::new(send), Box::new(move || iceoryx::receiver(&there, &again).expect("an iceoryx2 subscriber")))
    }
}

impl<const N: usize, const RECORD: usize> Link<N> for Plain<RECORD> {
    type Send = plain::Writer<RECORD>;
    type Receive = plain::Reader<RECORD>;
    fn make(_: &Bench) -> (Maker<Self::Send>, Maker<Self::Receive>) {
        ready(plain::ring(CAPACITY))
    }
}

impl<const N: usize> Link<N> for Rtrb {
    type Send = rtrb::Producer<[u64; N]>;
    type Receive = rtrb::Consumer<[u64; N]>;
    fn make(_: &Bench) -> (Maker<Self::Send>, Maker<Self::Receive>) {
        ready(rtrb::RingBuffer::new(CAPACITY))
    }
}

impl<const N: usize> Link<N> for Queue {
    type Send = Arc<ArrayQueue<[u64; N]>>;
    type Receive = Arc<ArrayQueue<[u64; N]>>;
    fn make(_: &Bench) -> (Maker<Self::Send>, Maker<Self::Receive>) {
        let queue = Arc::new(ArrayQueue::new(CAPACITY));
        ready((queue.clone(), queue))
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

impl<const N: usize> Send<N> for cpp::Writer {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        self.publish(words);
    }
}

impl<const N: usize> Receive<N> for cpp::Reader {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        self.poll(words)
    }
}

impl<const N: usize> Send<N> for iceoryx::Sender<N> {
    #[inline]
    fn send(&mut self, words: &[u64; N]) {
        let sample = self.port.loan_uninit().expect("a free sample").write_payload(*words);
        sample.send().expect("a subscriber");
    }
}

impl<const N: usize> Receive<N> for iceoryx::Receiver<N> {
    #[inline]
    fn receive(&mut self, words: &mut [u64; N]) -> bool {
        self.port.receive().expect("a publisher").map(|sample| *words = *sample).is_some()
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
