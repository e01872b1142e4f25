//! One clock for all processes of a boot: the invariant counter, and one conversion to ns that everybody shares.
//!
//! Whoever comes first calibrates and leaves base, mult and shift in `pillion.clock`; the others read them. So stamps
//! of different processes differ by no more than their counters do, and a step of the wall clock moves nothing. The
//! conversion is fixed for the boot: its ns since the epoch drift from the wall clock by its error of about a ppm.

use crate::error::{Error, Result};
use crate::lane::{Access, LockMemory};
use crate::layout::{Kind, clock as at};
use crate::owner;
use crate::region::{Plan, Region};
use crate::sync::{Ordering, Words};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Time between the two looks at the reference clock. At a look's error of some 30 ns, this is 0.2 ppm.
const CALIBRATION: Duration = Duration::from_millis(150);
/// Readings per look; the one least disturbed is kept.
const READINGS: usize = 200;
const ATTEMPTS: u32 = 100;

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
    /// The clock of this boot in `dir`, made if nobody has made it yet (which takes some 150 ms).
    pub fn attach_or_create(dir: &Path) -> Result<Self> {
        let path = dir.join("pillion.clock");
        let boot_id = owner::boot_id()?;
        let (mut own, mut refused) = (None, None);
        for _ in 0..ATTEMPTS {
            match Region::attach(&path, Kind::Clock, None, false) {
                Ok(region) if region.header().boot_id == boot_id => return Self::read(&region),
                // Left over from another boot, where the directory outlives one.
                Ok(_) => {}
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
            let clock = *own.get_or_insert_with(Self::calibrate);
            match clock.offer(&path, boot_id) {
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
        let from = look(counter, ClockId::MonotonicRaw);
        let wall = look(counter, ClockId::Realtime);
        std::thread::sleep(CALIBRATION);
        let to = look(counter, ClockId::MonotonicRaw);
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
    fn offer(&self, path: &Path, boot_id: [u8; 16]) -> Result<()> {
        // Readable for all: it is no secret, and every user's stamps must be on the same clock.
        let access = Access { mode: 0o644, gid: None, lock: LockMemory::No };
        let plan = Plan {
            path: path.to_owned(),
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
        Ok(clock)
    }
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
fn look(counter: &quanta::Clock, id: ClockId) -> (u64, u64) {
    let reading = || {
        let before = counter.raw();
        let time = clock_gettime(id);
        let after = counter.raw();
        let width = after.saturating_sub(before);
        (width, before + width / 2, time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    };
    let best = (0..READINGS).map(|_| reading()).min_by_key(|reading| reading.0);
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
