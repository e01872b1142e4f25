//! One clock for all processes of a boot: the invariant counter, and one conversion to ns that everybody shares.
//!
//! Whoever makes the first region calibrates and leaves base, mult and shift in `pillion.clock`; the others read them. So
//! stamps of different processes differ by no more than their counters do, and a step of the wall clock moves nothing. The
//! conversion is fixed for the boot: its ns since the epoch drift from the wall clock by its error of about a ppm.
//!
//! Every rule about age rests on this file, so it is believed only of an owner who counts, and only if it runs as fast as
//! the kernel's clock does.

use crate::error::{Error, Result};
use crate::lane::{Access, Lane, LockMemory};
use crate::layout::{Kind, clock as at};
use crate::owner;
use crate::region::{Plan, Region};
use crate::sync::{Ordering, Words};
use crate::trust::Trust;
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Time between the two looks at the reference clock. At a look's error of some 30 ns, this is 0.2 ppm.
const CALIBRATION: Duration = Duration::from_millis(150);
/// Readings per look; the one least disturbed is kept.
const READINGS: usize = 200;
const ATTEMPTS: u32 = 100;
/// Readings per look at a clock that somebody else calibrated, and the time between the two looks.
const CHECK_READINGS: usize = 20;
const CHECK_SPAN: Duration = Duration::from_millis(2);
/// Largest deviation from CLOCK_MONOTONIC_RAW, as a part of the span. Calibration errs by some 1e-6, and two looks that are
/// 2 ms apart by some 1e-4; a counter whose rate changed when its machine moved to another host deviates not at all, since
/// the kernel's clock counts it too. What this finds is a clock that stands still, crawls or races.
const MOST_DEVIATION: f64 = 0.1;
/// Looks at the rate before a clock counts as wrong: each may have been disturbed.
const RATE_LOOKS: u32 = 3;

/// The conversion from the raw counter to ns since the epoch. Plain numbers, read once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    counter: &'static quanta::Clock,
    id: u64,
    base_raw: u64,
    base_ns: u64,
    mult: u64,
    shift: u32,
}

/// Numbers of the counters, as the clock region tells them.
const TSC: u64 = 1;
const CNTVCT: u64 = 2;
const MONOTONIC: u64 = 3;

impl Clock {
    /// The clock of this boot in `dir`: for whoever reads. Who makes a region makes the clock: wait for one, or say that
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Absent`] when nobody has made one since the machine started; [`Error::Untrusted`] when it is not of
    /// [`Trust::own`] or of the directory's owner; [`Error::NotARegion`] when it is none, or does not run as fast as
    /// CLOCK_MONOTONIC_RAW does; [`Error::Mismatch`] when it is on another counter.
    pub fn attach(dir: &Path) -> Result<Self> {
        Self::attach_by(dir, &Trust::own())
    }

    /// [`Clock::attach`] of those whom `trust` names.
    pub fn attach_by(dir: &Path, trust: &Trust) -> Result<Self> {
        let path = file(dir);
        match Self::find(&path, trust)? {
            Some(region) => Self::read(&region),
            None => Err(Error::Absent { path }),
        }
    }

    /// The clock of this boot in `dir`, made if nobody has made it yet (which takes some 150 ms): for whoever makes regions.
    ///
    /// # Errors
    /// As [`Clock::attach`], and what making a region may meet.
    pub fn attach_or_create(dir: &Path) -> Result<Self> {
        Self::attach_or_create_by(dir, &Trust::own())
    }

    /// [`Clock::attach_or_create`] by those whom `trust` names.
    pub fn attach_or_create_by(dir: &Path, trust: &Trust) -> Result<Self> {
        let path = file(dir);
        let boot_id = owner::boot_id()?;
        let (mut own, mut refused) = (None, None);
        for _ in 0..ATTEMPTS {
            if let Some(region) = Self::find(&path, trust)? {
                return Self::read(&region);
            }
            let clock = *own.get_or_insert_with(Self::calibrate);
            match clock.offer(&path, boot_id, trust) {
                Ok(()) => {}
                // Another process, perhaps another user's, has just made it: the next look finds it.
                Err(error @ (Error::Held { .. } | Error::Denied { .. })) => {
                    refused = Some(error);
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(Error::Contended { path, attempts: ATTEMPTS }))
    }

    /// Whether the clock that stands in the lane's directory now is this one.
    ///
    /// # Errors
    /// [`Error::Absent`] when it is gone, [`Error::Mismatch`] when another has its place, or as [`Clock::attach`].
    pub fn check_lane(&self, lane: &Lane) -> Result<()> {
        let path = lane.path(Kind::Clock);
        let Some(region) = Self::find(&path, lane.trust())? else { return Err(Error::Absent { path }) };
        let found = region.header().clock_id;
        if found == self.id {
            return Ok(());
        }
        let (found, wanted) = (format!("{found:#018x}"), format!("{:#018x}", self.id));
        let mend = "take the clock of the lane's directory; restart whoever started before it was replaced";
        Err(region.header().mismatch(&path, "clock id", found, wanted, mend))
    }

    /// ns that this clock is ahead of the wall clock now; less than 0 behind it. It was set by the wall clock when it was
    /// made, and steps of that since show here.
    pub fn offset_ns(&self) -> i64 {
        let (raw, wall_ns) = look(self.counter, ClockId::Realtime, CHECK_READINGS);
        i64::try_from(i128::from(self.ns(raw)) - i128::from(wall_ns)).unwrap_or(i64::MAX)
    }

    /// Id of the conversion, in the header of every region whose stamps are on it.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The counter now.
    #[inline]
    pub fn raw(&self) -> u64 {
        self.counter.raw()
    }

    /// `raw` in ns since the epoch; never less for a later `raw`, and the base for any before it.
    #[inline]
    pub fn ns(&self, raw: u64) -> u64 {
        self.base_ns.wrapping_add(self.scale(raw.saturating_sub(self.base_raw)))
    }

    /// Now, in ns since the epoch.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.ns(self.raw())
    }

    /// ns from `raw_from` to `raw_to`, 0 when they are the wrong way round.
    #[inline]
    pub fn span_ns(&self, raw_from: u64, raw_to: u64) -> u64 {
        self.scale(raw_to.saturating_sub(raw_from))
    }

    /// Counts of the raw clock in `ns`, to the nearest few: for comparing spans without converting each.
    pub fn raw_span(&self, ns: u64) -> u64 {
        let per_ms = u128::from(self.span_ns(0, 1_000_000).max(1));
        u64::try_from(u128::from(ns) * 1_000_000 / per_ms).unwrap_or(u64::MAX)
    }

    /// 64 × 64 bits never overflow 128, and the result fits 64 bits for as long as ns since the epoch do (until 2554).
    #[inline]
    fn scale(&self, counts: u64) -> u64 {
        ((u128::from(counts) * u128::from(self.mult)) >> self.shift) as u64
    }

    fn calibrate() -> Self {
        let counter = counter();
        let from = look(counter, ClockId::MonotonicRaw, READINGS);
        let wall = look(counter, ClockId::Realtime, READINGS);
        std::thread::sleep(CALIBRATION);
        let to = look(counter, ClockId::MonotonicRaw, READINGS);
        let (mult, shift) = conversion(to.0.saturating_sub(from.0), to.1.saturating_sub(from.1));
        let mut clock = Self { counter, id: 0, base_raw: wall.0, base_ns: wall.1, mult, shift };
        clock.id = clock.fingerprint();
        clock
    }

    /// Never 0: FNV-1a over its numbers.
    fn fingerprint(&self) -> u64 {
        let numbers = [self.base_raw, self.base_ns, self.mult, u64::from(self.shift)];
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
    }

    /// Puts this clock under `path`, unless one of this boot is there.
    fn offer(&self, path: &Path, boot_id: [u8; 16], trust: &Trust) -> Result<()> {
        // Readable for all: it is no secret, and every user's stamps must be on the same clock.
        let access = Access { mode: 0o644, gid: None, lock: LockMemory::No };
        let plan = Plan {
            path: path.to_owned(),
            trust,
            kind: Kind::Clock,
            clock_id: self.id,
            created_ns: self.now_ns(),
            stride: 0,
            capacity: 0,
            models: 0,
            table: &[],
            body_bytes: at::BYTES,
            access: &access,
        };
        let mut region = Region::build(&plan)?;
        let body = &region.words()[region.body_word()..];
        let numbers = [(at::BASE_RAW, self.base_raw), (at::BASE_NS, self.base_ns), (at::MULT, self.mult)];
        let rest = [(at::SHIFT, u64::from(self.shift)), (at::COUNTER, counter_number())];
        for (offset, number) in numbers.into_iter().chain(rest) {
            // Relaxed: readers come through the name, which the region gets only now.
            body[offset / 8].store(number, Ordering::Relaxed);
        }
        region.install(|_, old| old.is_none_or(|old| old.header.boot_id != boot_id)).map(drop)
    }

    fn read(region: &Region) -> Result<Self> {
        let refused = |found: &str| region.header().unsound(region.path(), found);
        let body = region.words().get(region.body_word()..region.body_word() + at::BYTES / 8);
        let body = body.ok_or_else(|| refused("a clock without a body"))?;
        let word = |offset: usize| body[offset / 8].load(Ordering::Relaxed);
        let (mult, shift) = (word(at::MULT), word(at::SHIFT));
        let clock = Self {
            counter: counter(),
            id: region.header().clock_id,
            base_raw: word(at::BASE_RAW),
            base_ns: word(at::BASE_NS),
            mult,
            shift: shift.min(127) as u32,
        };
        if mult == 0 || shift > 64 || clock.fingerprint() != clock.id {
            return Err(refused(&format!("a clock whose numbers do not make its id {:#018x}: {clock:?}", clock.id)));
        }
        // Version 1 did not say which counter it was.
        let (found, own) = (word(at::COUNTER), counter_number());
        if found != 0 && found != own {
            let (found, wanted) = (counter_name(found).to_owned(), counter_name(own).to_owned());
            let mend = "run all processes of a boot on one kind of virtual machine, or remove the file once none runs";
            return Err(region.header().mismatch(region.path(), "counter", found, wanted, mend));
        }
        clock.check_rate(region)?;
        Ok(clock)
    }

    /// The clock's region, if it was made since the machine started.
    fn find(path: &Path, trust: &Trust) -> Result<Option<Region>> {
        let boot_id = owner::boot_id()?;
        match Region::attach(path, Kind::Clock, None, false, trust) {
            Ok(region) if region.header().boot_id == boot_id => Ok(Some(region)),
            // Left over from another boot, where the directory outlives one.
            Ok(_) => Ok(None),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses a conversion that does not run as fast as CLOCK_MONOTONIC_RAW: by it a dead sidecar would look alive.
    fn check_rate(&self, region: &Region) -> Result<()> {
        let mut rate = 0.0;
        for _ in 0..RATE_LOOKS {
            let from = look(self.counter, ClockId::MonotonicRaw, CHECK_READINGS);
            std::thread::sleep(CHECK_SPAN);
            let to = look(self.counter, ClockId::MonotonicRaw, CHECK_READINGS);
            let (own, raw) = (self.ns(to.0).wrapping_sub(self.ns(from.0)), to.1.saturating_sub(from.1));
            rate = own as f64 / raw.max(1) as f64;
            if (rate - 1.0).abs() <= MOST_DEVIATION {
                return Ok(());
            }
        }
        let found = format!("a clock that runs {rate:.6} times as fast as CLOCK_MONOTONIC_RAW");
        Err(region.header().unsound(region.path(), &found))
    }
}

/// The clock's file in `dir`.
fn file(dir: &Path) -> PathBuf {
    dir.join("pillion.clock")
}

/// The counter of this process; quanta looks once whether it is invariant and falls back to the monotonic clock.
fn counter() -> &'static quanta::Clock {
    static COUNTER: OnceLock<quanta::Clock> = OnceLock::new();
    COUNTER.get_or_init(quanta::Clock::new)
}

/// Which counter that is. quanta falls back to the monotonic clock, in ns, by itself; told apart by what it counts.
fn counter_number() -> u64 {
    static NUMBER: OnceLock<u64> = OnceLock::new();
    *NUMBER.get_or_init(|| {
        let monotonic = || {
            let time = clock_gettime(ClockId::Monotonic);
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        let (before, raw, after) = (monotonic(), counter().raw(), monotonic());
        match (before..=after).contains(&raw) {
            true => MONOTONIC,
            false if cfg!(target_arch = "aarch64") => CNTVCT,
            false => TSC,
        }
    })
}

fn counter_name(number: u64) -> &'static str {
    match number {
        TSC => "the time stamp counter (TSC)",
        CNTVCT => "the virtual counter (CNTVCT)",
        MONOTONIC => "CLOCK_MONOTONIC",
        _ => "an unknown counter",
    }
}

/// Counter and clock at the same moment, as well as one can tell: the reading with the least time around it.
fn look(counter: &quanta::Clock, id: ClockId, readings: usize) -> (u64, u64) {
    let reading = || {
        let before = counter.raw();
        let time = clock_gettime(id);
        let after = counter.raw();
        let width = after.saturating_sub(before);
        (width, before + width / 2, time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    };
    let best = (0..readings).map(|_| reading()).min_by_key(|reading| reading.0);
    best.map_or((0, 0), |(_, raw, ns)| (raw, ns))
}

/// `ns / counts` as mult / 2^shift with as many bits as mult holds.
fn conversion(counts: u64, ns: u64) -> (u64, u32) {
    let counts = u128::from(counts.max(1));
    for shift in (1..=64).rev() {
        let mult = ((u128::from(ns.max(1)) << shift) + counts / 2) / counts;
        if let Ok(mult) = u64::try_from(mult) {
            return (mult, shift);
        }
    }
    (1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(mult: u64, shift: u32) -> Clock {
        Clock { counter: counter(), id: 1, base_raw: 1_000, base_ns: 5_000, mult, shift }
    }

    #[test]
    fn conversion_is_exact_to_a_ppb_and_holds_for_decades() {
        for (counts, ns) in [(390_000_000, 150_000_000), (150_000_000, 150_000_000), (3_750_000, 150_000_000)] {
            let (mult, shift) = conversion(counts, ns);
            let clock = clock(mult, shift);
            let thirty_years_ns = 30 * 365 * 86_400 * 1_000_000_000_u64;
            let raw = (u128::from(thirty_years_ns) * u128::from(counts) / u128::from(ns)) as u64;
            assert!(clock.span_ns(0, raw).abs_diff(thirty_years_ns) <= thirty_years_ns / 1_000_000_000);
            assert!(clock.ns(raw + 1_000).abs_diff(thirty_years_ns + 5_000) <= thirty_years_ns / 1_000_000_000);
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let (mult, shift) = conversion(390_000_007, 150_000_000);
        let clock = clock(mult, shift);
        let mut last = clock.ns(0);
        for raw in (0..1 << 60).step_by(1 << 45).flat_map(|raw| [raw, raw + 1, raw + 2]) {
            assert!(clock.ns(raw) >= last);
            last = clock.ns(raw);
        }
        assert_eq!(clock.ns(0), 5_000);
        assert_eq!(clock.span_ns(9, 3), 0);
    }
}
