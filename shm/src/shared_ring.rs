//! The ring of [`crate::ring`] in a region that processes share.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lane::{Access, Lane, LockMemory};
use crate::layout::{HEADER_BYTES, Kind, header, slot, stride_words};
use crate::region::{Plan, Region};
use crate::ring::{Batch, Consumer, From, Poll, Producer, Shape};
use std::path::Path;

/// Size of a new ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSpec {
    /// Slots, a power of two.
    pub capacity: u64,
    /// 8-byte words of the largest record: 14 makes slots of 128 bytes, 46 (MBP-10) of 384. Rounded up to fill lines.
    pub record_words: usize,
    /// Bytes kept in the region before the slots, for readers of [`RingReader::table`].
    pub table: Vec<u8>,
}

/// The writing end of a shared ring; it holds the region's lock for as long as it lives. `Send`, not `Sync`.
///
/// ```compile_fail
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<pillion_shm::RingWriter>();
/// ```
#[derive(Debug)]
pub struct RingWriter {
    ring: Producer<Region>,
    clock: Clock,
}

impl RingWriter {
    /// Makes the ring of `lane`, generation 1, or the next one when a dead owner's ring has the name.
    pub fn create(lane: &Lane, kind: Kind, spec: &RingSpec, clock: &Clock, access: &Access) -> Result<Self> {
        let path = lane.path(kind);
        let Some((stride, body_bytes)) = sizes(spec) else {
            let value = format!("{} slots of {} words", spec.capacity, spec.record_words);
            let must = "a power of two of slots, of 1 to 65536 words each";
            return Err(Error::Spec { path, what: "ring size", value, must });
        };
        clock.check_lane(lane)?;
        let plan = Plan {
            trust: lane.trust(),
            path,
            kind,
            clock_id: clock.id(),
            created_ns: clock.now_ns(),
            stride,
            capacity: spec.capacity,
            models: 0,
            table: &spec.table,
            body_bytes,
            access,
        };
        let mut region = Region::build(&plan)?;
        region.install(|_, _| true)?;
        let shape = shape(&region)?;
        Ok(Self { ring: Producer::new(region, shape), clock: *clock })
    }

    /// Publishes `record`, stamped with now, and returns its number; `None`, and nothing is published, when it is longer than
    /// [`RingWriter::record_words`]. Never waits, allocates or calls the system.
    #[inline]
    pub fn publish(&mut self, record: &[u64]) -> Option<u64> {
        self.publish_at(record, self.clock.now_ns())
    }

    /// [`RingWriter::publish`] with a stamp of the caller's, ns since the epoch on the ring's clock.
    #[inline]
    pub fn publish_at(&mut self, record: &[u64], stamp_ns: u64) -> Option<u64> {
        self.ring.publish(record, stamp_ns)
    }

    /// Records published so far.
    #[inline]
    pub fn published(&self) -> u64 {
        self.ring.published()
    }

    /// Life of this name, from 1.
    pub fn generation(&self) -> u64 {
        self.ring.memory().header().generation
    }

    /// Number of slots.
    pub fn capacity(&self) -> u64 {
        self.ring.shape().capacity
    }

    /// Words of the largest record.
    pub fn record_words(&self) -> usize {
        self.ring.shape().stride - slot::OWN / 8
    }

    /// Whether its pages are locked in memory.
    pub fn locked(&self) -> bool {
        self.ring.memory().locked()
    }

    /// The region's file.
    pub fn path(&self) -> &Path {
        self.ring.memory().path()
    }

    /// Removes the name and ends the ring: for tests and private lanes. Readers keep what they have mapped.
    pub fn unlink(self) -> Result<()> {
        self.ring.into_memory().unlink()
    }
}

/// A reading end of a shared ring, mapped read-only. `Send`, not `Sync`.
///
/// ```compile_fail
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<pillion_shm::RingReader>();
/// ```
#[derive(Debug)]
pub struct RingReader {
    ring: Consumer<Region>,
    kind: Kind,
    table: Vec<u8>,
}

impl RingReader {
    /// Attaches to the ring of `lane`, which must be of this layout, `kind` and `clock`.
    pub fn attach(lane: &Lane, kind: Kind, from: From, clock: &Clock) -> Result<Self> {
        Self::open(lane, kind, from, Some(clock.id()))
    }

    /// [`RingReader::attach`] whatever clock the ring is on, for who asks nothing about time: see [`RingReader::clock_id`].
    pub fn attach_any_clock(lane: &Lane, kind: Kind, from: From) -> Result<Self> {
        Self::open(lane, kind, from, None)
    }

    fn open(lane: &Lane, kind: Kind, from: From, clock_id: Option<u64>) -> Result<Self> {
        let region = Region::attach(&lane.path(kind), kind, clock_id, false, lane.trust())?;
        let (ring, table) = consumer(region, from)?;
        Ok(Self { ring, kind, table })
    }

    /// Id of the clock that the ring's stamps are on.
    pub fn clock_id(&self) -> u64 {
        self.ring.memory().header().clock_id
    }

    /// Takes the next record: copies min(`out.len()`, [`RingReader::record_words`]) words of its slot into `out`.
    ///
    /// Words past the record's own length are left over from earlier records.
    #[inline]
    pub fn poll(&mut self, out: &mut [u64]) -> Poll {
        self.ring.poll(out)
    }

    /// Takes up to `stamps.len()` records at once; see [`Consumer::poll_batch`].
    ///
    /// # Panics
    /// If `out` is shorter than `stamps.len()` records.
    #[inline]
    pub fn poll_batch(&mut self, out: &mut [u64], stamps: &mut [u64]) -> Batch {
        self.ring.poll_batch(out, stamps)
    }

    /// Words of a record.
    #[inline]
    pub fn record_words(&self) -> usize {
        self.ring.record_words()
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.ring.capacity()
    }

    /// Number of the record that the next poll looks for.
    #[inline]
    pub fn cursor(&self) -> u64 {
        self.ring.cursor()
    }

    /// Records published so far.
    #[inline]
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// Life of the name that this reader attached to, from 1.
    pub fn generation(&self) -> u64 {
        self.ring.memory().header().generation
    }

    /// The bytes given as [`RingSpec::table`].
    pub fn table(&self) -> &[u8] {
        &self.table
    }

    /// Process id of the owner, in its own pid namespace: for messages.
    pub fn owner_pid(&self) -> u32 {
        self.ring.memory().header().owner_pid
    }

    /// Whether the owner lives: a look at its lock (system call).
    pub fn owner_alive(&self) -> bool {
        self.ring.memory().owner_alive()
    }

    /// Whether a successor has marked this ring (no system call). What is left here can still be read.
    #[inline]
    pub fn successor(&self) -> bool {
        self.ring.memory().successor()
    }

    /// Whether the name stands for another ring now, or for none (system call).
    pub fn superseded(&self) -> bool {
        self.successor() || self.ring.memory().renamed()
    }

    /// Once this ring is drained: goes over to the one that stands under its name now, from its first record, and says so
    /// with `true`; how much was lost in between is unknown. `false` while there is no other, and while something is left
    /// here: a dead writer's last record may have come after the poll that found none. Poll on and call again, or give it up
    /// with [`RingReader::skip_to_next`]. On an error nothing has changed (system calls).
    pub fn follow(&mut self) -> Result<bool> {
        if !self.superseded() || self.ring.pending() {
            return Ok(false);
        }
        let old = self.ring.memory();
        let region = match Region::attach(old.path(), self.kind, Some(old.header().clock_id), false, old.trust()) {
            // Its name is gone: the successor may still come.
            Err(Error::Absent { .. }) => return Ok(false),
            other => other?,
        };
        // A mark that no successor made leads back here, where everything has been read.
        if region.file_number() == old.file_number() {
            return Ok(false);
        }
        (self.ring, self.table) = consumer(region, From::Start)?;
        Ok(true)
    }

    /// Whether the ring agrees with itself and with this reader; see [`Consumer::check`]. For a cold look.
    pub fn check(&self) -> bool {
        self.ring.check()
    }

    /// Whether the next poll finds a record or a loss.
    pub fn pending(&self) -> bool {
        self.ring.pending()
    }

    /// Gives up what is left; see [`Consumer::skip_to_next`].
    pub fn skip_to_next(&mut self) -> u64 {
        self.ring.skip_to_next()
    }

    /// When the ring was made, ns since the epoch.
    pub fn created_ns(&self) -> u64 {
        self.ring.memory().header().created_ns
    }

    /// Inode of the file that is mapped, whatever its name stands for now (system call).
    pub fn file_number(&self) -> u64 {
        self.ring.memory().file_number()
    }

    /// Touches every page, so that none faults later, and locks them as asked (system calls).
    pub fn touch_and_lock(&mut self, lock: LockMemory) -> Result<()> {
        self.ring.memory_mut().touch_and_lock(lock)
    }

    /// Whether its pages are locked in memory.
    pub fn locked(&self) -> bool {
        self.ring.memory().locked()
    }

    /// The region's file.
    pub fn path(&self) -> &Path {
        self.ring.memory().path()
    }
}

/// Bytes of a slot and of all slots, if `spec` makes sense.
fn sizes(spec: &RingSpec) -> Option<(usize, usize)> {
    if !spec.capacity.is_power_of_two() || spec.record_words == 0 || spec.record_words > 1 << 16 {
        return None;
    }
    let stride = stride_words(spec.record_words) * 8;
    let bytes = usize::try_from(spec.capacity).ok()?.checked_mul(stride)?;
    (bytes <= isize::MAX as usize / 2).then_some((stride, bytes))
}

/// A reader of the ring in `region`, and the region's table.
fn consumer(region: Region, from: From) -> Result<(Consumer<Region>, Vec<u8>)> {
    let (shape, table) = (shape(&region)?, region.table());
    let ring = Consumer::new(region, shape, from);
    if ring.check() {
        return Ok((ring, table));
    }
    let region = ring.memory();
    let found = format!("a ring whose head says {} records and whose slots do not", ring.head());
    Err(region.header().unsound(region.path(), &found))
}

/// Where the ring lies in `region`, checked: its header comes from another process.
fn shape(region: &Region) -> Result<Shape> {
    let header = region.header();
    let stride = header.stride;
    if header.capacity.is_power_of_two() && stride.is_multiple_of(64) && stride > slot::OWN as u64 {
        const _: () = assert!(header::HEAD < HEADER_BYTES);
        return Ok(Shape {
            head: header::HEAD / 8,
            first: region.body_word(),
            stride: stride as usize / 8,
            capacity: header.capacity,
        });
    }
    let found = format!("a ring of {} slots of {stride} bytes", header.capacity);
    Err(header.unsound(region.path(), &found))
}
